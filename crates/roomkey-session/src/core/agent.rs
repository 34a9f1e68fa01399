//! Which participant is the agent, and what it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomkey_room::{
    DisconnectReason, Participant, ParticipantIdentity, ParticipantKind, ParticipantState, Participants, TrackSource,
};

use crate::agent_expectation::{AgentExpectation, AgentSelector};
use crate::agent_state::{AgentFailure, AgentSnapshot, AgentState};
use crate::clock::later;
use crate::session_state::SessionState;
use crate::track_ref::TrackRef;

pub(crate) struct Agent {
    expectation: AgentExpectation,
    timeout: Duration,
    grace: Duration,
    last_session: SessionState,
    chosen: Option<Chosen>,
    left_because: Option<DisconnectReason>,
    /// When it is given up that an agent comes, begins to work, or comes again.
    deadline: Option<Instant>,
    /// Whether the deadline is that of one which was there and is not.
    is_awaited_back: bool,
}

struct Chosen {
    identity: ParticipantIdentity,
    was_active: bool,
}

/// What the agent's state depends on beside the agent.
pub(crate) struct Surroundings<'a> {
    pub(crate) session: SessionState,
    pub(crate) participants: &'a Participants,
    /// Whether the token dispatches an agent.
    pub(crate) dispatches: bool,
    /// Whether what the user says is kept for the agent.
    pub(crate) is_buffering: bool,
    pub(crate) now: Instant,
}

impl Agent {
    pub(crate) fn new(expectation: AgentExpectation, timeout: Duration, grace: Duration) -> Self {
        Self {
            expectation,
            timeout,
            grace,
            last_session: SessionState::Disconnected(None),
            chosen: None,
            left_because: None,
            deadline: None,
            is_awaited_back: false,
        }
    }

    /// A participant has left, for this reason.
    pub(crate) fn handle_left(&mut self, identity: &ParticipantIdentity, reason: DisconnectReason) {
        if self.chosen.as_ref().is_some_and(|chosen| chosen.identity == *identity) {
            self.left_because = Some(reason);
        }
    }

    /// When to [update](Self::update) although nothing has happened.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.deadline.filter(|deadline| self.last_session == SessionState::Connected && *deadline > now)
    }

    /// Whether that no agent comes is a failure.
    pub(crate) fn is_certain(&self, dispatches: bool) -> bool {
        match self.expectation {
            AgentExpectation::Auto => dispatches,
            AgentExpectation::Expected(_) => true,
            AgentExpectation::None => false,
        }
    }

    pub(crate) fn is_expected(&self) -> bool {
        self.expectation != AgentExpectation::None
    }

    pub(crate) fn update(&mut self, surroundings: &Surroundings<'_>) -> AgentSnapshot {
        let Surroundings { session, participants, now, .. } = *surroundings;
        let before = std::mem::replace(&mut self.last_session, session);
        match session {
            SessionState::Disconnected(_) => {
                self.forget();
                return AgentSnapshot::new(AgentState::Disconnected);
            }
            SessionState::Connecting => {
                self.forget();
                return AgentSnapshot::new(self.waiting(surroundings));
            }
            SessionState::Restarting => {
                let mut snapshot = self.look(participants);
                snapshot.state =
                    if self.chosen.is_some() { AgentState::Reconnecting } else { self.waiting(surroundings) };
                return snapshot;
            }
            SessionState::Connected | SessionState::Resuming => {}
        }

        let mut snapshot = self.look(participants);
        let is_new = self.is_awaited_back || self.chosen.is_none();
        match before {
            SessionState::Disconnected(_) | SessionState::Connecting => self.deadline = Some(later(now, self.timeout)),
            // Whoever is missing after a restart has as much time as at first.
            SessionState::Restarting if snapshot.participant.is_none() => {
                self.deadline = Some(later(now, self.timeout));
                self.is_awaited_back = self.chosen.is_some();
            }
            // What ran out while nothing could come is given a moment.
            SessionState::Resuming if session == SessionState::Connected => {
                self.deadline = self.deadline.map(|deadline| deadline.max(later(now, self.grace)));
            }
            SessionState::Restarting | SessionState::Resuming | SessionState::Connected => {}
        }
        let is_late = session == SessionState::Connected && self.deadline.is_some_and(|deadline| deadline <= now);
        snapshot.state = match &snapshot.participant {
            Some(agent) => {
                let agent = Arc::clone(agent);
                self.present(&agent, is_new, is_late, surroundings)
            }
            None => self.absent(is_late, surroundings),
        };
        snapshot
    }

    fn present(
        &mut self,
        agent: &Participant,
        is_new: bool,
        is_late: bool,
        surroundings: &Surroundings<'_>,
    ) -> AgentState {
        let is_same = self.chosen.as_ref().is_some_and(|chosen| chosen.identity == agent.identity);
        // The first to come has what is left of the time for coming. One that comes after that has as much for itself.
        let is_late_comer = is_new && is_late || self.is_awaited_back || self.chosen.is_some() && !is_same;
        if is_late_comer {
            self.deadline = Some(later(surroundings.now, self.timeout));
        }
        let is_late = is_late && !is_late_comer;
        let is_active = agent.state == ParticipantState::Active;
        let was_active = is_same && self.chosen.as_ref().is_some_and(|chosen| chosen.was_active);
        self.chosen = Some(Chosen { identity: agent.identity.clone(), was_active: was_active || is_active });
        self.is_awaited_back = false;
        self.left_because = None;

        let said = agent.attribute("lk.agent.state").filter(|state| !state.is_empty());
        match said.map_or(AgentState::Initializing, AgentState::read) {
            AgentState::Initializing if is_late && self.is_certain(surroundings.dispatches) => {
                AgentState::Failed(AgentFailure::InitTimeout)
            }
            AgentState::Initializing if surroundings.is_buffering => AgentState::Buffering,
            AgentState::Initializing => AgentState::Initializing,
            state @ (AgentState::Idle
            | AgentState::Listening
            | AgentState::Thinking
            | AgentState::Speaking
            | AgentState::Other(_)
            | AgentState::Disconnected
            | AgentState::Connecting
            | AgentState::Buffering
            | AgentState::Reconnecting
            | AgentState::Failed(_)) => {
                self.deadline = None;
                state
            }
        }
    }

    fn absent(&mut self, is_late: bool, surroundings: &Surroundings<'_>) -> AgentState {
        if self.chosen.is_none() {
            let is_failure = is_late && self.is_certain(surroundings.dispatches);
            return if is_failure { AgentState::Failed(AgentFailure::JoinTimeout) } else { self.waiting(surroundings) };
        }
        if !self.is_expected() {
            return AgentState::Disconnected;
        }
        if !self.is_awaited_back {
            self.is_awaited_back = true;
            self.deadline = Some(later(surroundings.now, self.grace));
            return AgentState::Reconnecting;
        }
        if is_late { AgentState::Failed(AgentFailure::Left(self.left_because)) } else { AgentState::Reconnecting }
    }

    /// What is shown while no agent is there and none has been.
    fn waiting(&self, surroundings: &Surroundings<'_>) -> AgentState {
        if surroundings.is_buffering {
            AgentState::Buffering
        } else if self.is_expected() || surroundings.session == SessionState::Connecting {
            AgentState::Connecting
        } else {
            AgentState::Disconnected
        }
    }

    fn look(&self, participants: &Participants) -> AgentSnapshot {
        let mut snapshot = AgentSnapshot::new(AgentState::Connecting);
        let Some(agent) = self.choose(participants) else {
            snapshot.others = participants.remote().filter(|other| is_agent(other)).cloned().collect();
            return snapshot;
        };
        let worker = participants.remote().find(|other| {
            other.kind == ParticipantKind::Agent && other.attribute(ON_BEHALF) == Some(agent.identity.as_str())
        });
        let track = |source| {
            [Some(agent), worker].into_iter().flatten().find_map(|participant| {
                let publication = participant.publication_of(source)?;
                Some(TrackRef::new(Arc::clone(participant), Arc::clone(publication)))
            })
        };
        snapshot.audio = track(TrackSource::Microphone);
        snapshot.video = track(TrackSource::Camera);
        snapshot.others = participants
            .remote()
            .filter(|other| is_agent(other) && other.identity != agent.identity)
            .cloned()
            .collect();
        snapshot.participant = Some(Arc::clone(agent));
        snapshot.worker = worker.cloned();
        snapshot
    }

    fn choose<'a>(&self, participants: &'a Participants) -> Option<&'a Arc<Participant>> {
        let any = AgentSelector::Any;
        let selector = match &self.expectation {
            AgentExpectation::Expected(selector) => selector,
            AgentExpectation::Auto | AgentExpectation::None => &any,
        };
        let candidates = || participants.remote().filter(|other| is_agent(other) && selector.matches(other));
        let first_active = candidates().find(|candidate| candidate.state == ParticipantState::Active);
        let same = self.chosen.as_ref().and_then(|chosen| {
            let same = candidates().find(|candidate| candidate.identity == chosen.identity)?;
            (chosen.was_active || first_active.is_none()).then_some(same)
        });
        same.or(first_active).or_else(|| candidates().next())
    }

    fn forget(&mut self) {
        self.chosen = None;
        self.left_because = None;
        self.deadline = None;
        self.is_awaited_back = false;
    }
}

/// Whether a participant is an agent, and nobody who publishes for one.
fn is_agent(participant: &Participant) -> bool {
    participant.kind == ParticipantKind::Agent
        && participant.state != ParticipantState::Disconnected
        && participant.attribute(ON_BEHALF).unwrap_or_default().is_empty()
}

const ON_BEHALF: &str = "lk.publish_on_behalf";
