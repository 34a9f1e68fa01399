//! What the user says before the agent can hear it.
//!
//! It is recorded from the start on. When the agent is ready and the microphone is published, so that its sid is known, the
//! recording is sent to the agent, and ends when the agent receives the track itself. An agent that sees the feature of the
//! publication holds the live audio back for it, at most 3 s.

use std::time::{Duration, Instant};

use roomkey_room::{Participant, ParticipantIdentity, ParticipantState, TrackSid};

use crate::clock::later;

#[derive(Default)]
pub(crate) struct Preconnect {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Off,
    Recording {
        sid: Option<TrackSid>,
        is_received: bool,
        until: Option<Instant>,
    },
    Sending {
        sid: TrackSid,
        until: Instant,
    },
}

/// What is to be done with the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PreconnectOutput {
    /// Begin to record.
    Start,
    /// Send what has been recorded, and what is, as that of this track to this agent.
    Send { track: TrackSid, agent: ParticipantIdentity },
    /// Record no more; what has been recorded is sent to its end.
    Finish,
    /// Throw the recording away.
    Drop,
}

impl Preconnect {
    pub(crate) fn start(&mut self) -> PreconnectOutput {
        self.state = State::Recording { sid: None, is_received: false, until: None };
        PreconnectOutput::Start
    }

    /// Whether the user can speak although no agent listens.
    pub(crate) fn is_recording(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// The microphone is published. Only a first publication counts; one that is published again has its sid changed by a
    /// full reconnect, and its recording is long over.
    pub(crate) fn handle_published(&mut self, published: &TrackSid) {
        if let State::Recording { sid: sid @ None, .. } = &mut self.state {
            *sid = Some(published.clone());
        }
    }

    /// Somebody receives the microphone.
    pub(crate) fn handle_received(&mut self, received: &TrackSid) -> Option<PreconnectOutput> {
        match &mut self.state {
            State::Recording { sid: Some(sid), is_received, .. } if sid == received => {
                *is_received = true;
                None
            }
            State::Sending { sid, .. } if sid == received => self.finish(),
            State::Off | State::Recording { .. } | State::Sending { .. } => None,
        }
    }

    /// The room is there: an agent has this long to come.
    pub(crate) fn handle_room(&mut self, now: Instant, patience: Duration) {
        if let State::Recording { until, .. } = &mut self.state {
            *until = Some(later(now, patience));
        }
    }

    /// The agent is this one now, or none, or time has passed. To be called until there is nothing to do.
    pub(crate) fn update(&mut self, agent: Option<&Participant>, now: Instant) -> Option<PreconnectOutput> {
        match &self.state {
            State::Recording { sid: Some(sid), is_received, .. }
                if agent.is_some_and(|agent| agent.state == ParticipantState::Active) =>
            {
                let agent = agent?.identity.clone();
                let track = sid.clone();
                // Where the track is received already, what has been recorded is all.
                let until = if *is_received { now } else { now + LONGEST_STREAM };
                self.state = State::Sending { sid: track.clone(), until };
                Some(PreconnectOutput::Send { track, agent })
            }
            State::Recording { until: Some(until), .. } if *until <= now => self.abandon(),
            State::Sending { until, .. } if *until <= now => self.finish(),
            State::Off | State::Recording { .. } | State::Sending { .. } => None,
        }
    }

    fn finish(&mut self) -> Option<PreconnectOutput> {
        match std::mem::take(&mut self.state) {
            State::Sending { .. } => Some(PreconnectOutput::Finish),
            State::Off | State::Recording { .. } => None,
        }
    }

    /// There is nobody to send it to.
    pub(crate) fn abandon(&mut self) -> Option<PreconnectOutput> {
        match std::mem::take(&mut self.state) {
            State::Recording { .. } | State::Sending { .. } => Some(PreconnectOutput::Drop),
            State::Off => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Off => None,
            State::Recording { until, .. } => *until,
            State::Sending { until, .. } => Some(*until),
        }
    }
}

/// How long the stream of a recording lasts at most: an agent drops one that has not ended 3 s after it began.
const LONGEST_STREAM: Duration = Duration::from_millis(2_500);
