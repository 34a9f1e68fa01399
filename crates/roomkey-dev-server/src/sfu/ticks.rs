//! What a room does because time passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::participant_info::State;
use proto::signal_response::Message;

use super::Context;
use super::participant::{ParticipantId, Target};
use super::room::{Announce, Room, TICK};
use super::speakers;

/// A client whose media never comes up is let go after this.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// A client without a websocket, whose media is silent for this long, is gone.
const AWAY_PATIENCE: Duration = Duration::from_secs(15);
/// The same for one whose websocket is there: it is told to begin anew.
const SILENT_PATIENCE: Duration = Duration::from_secs(30);
/// How often a token is refreshed.
const TOKEN_REFRESH: Duration = Duration::from_secs(300);
/// The score that goes with an excellent connection.
const EXCELLENT: f32 = 4.5;

impl Room {
    /// When something is due.
    pub(super) fn timeout(&self) -> Instant {
        let connections = self.participants.values().filter_map(super::participant::Participant::timeout);
        connections.chain([self.next_tick, self.next_speakers]).min().unwrap_or(self.next_tick)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.instant;
        for (id, participant) in &mut self.participants {
            for target in [Target::Publisher, Target::Subscriber] {
                if let Some(peer) = participant.peer_mut(target)
                    && peer.timeout.is_none_or(|at| at <= now)
                {
                    peer.connection.handle_timeout(now);
                    self.dirty.insert(*id);
                }
            }
        }
        if self.next_speakers <= now {
            self.next_speakers = now + speakers::INTERVAL;
            self.update_speakers(cx);
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tick(cx);
        }
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        self.let_go_of_the_absent(cx);
        self.history.forget_old(cx.now.instant);
        for participant in self.participants.values_mut() {
            if cx.now.instant.saturating_duration_since(participant.token_refreshed) >= TOKEN_REFRESH {
                participant.send_refreshed_token(cx);
            }
        }
        for (publisher, publication) in self.videos() {
            self.update_subscribed_quality(publisher, publication, cx);
        }
        if std::mem::take(&mut self.counts_changed) {
            self.tell_counts(cx);
            self.tell_quality(cx);
        }
        self.end_if_empty(cx);
    }

    fn videos(&self) -> Vec<(ParticipantId, u64)> {
        let all = self.participants.iter().flat_map(|(id, participant)| {
            participant.publications.iter().filter(|found| found.is_video()).map(move |found| (*id, found.id))
        });
        all.collect()
    }

    fn let_go_of_the_absent(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.instant;
        let since = |at: Instant| now.saturating_duration_since(at);
        let mut gone = Vec::new();
        for (id, participant) in &self.participants {
            if self.echo.as_ref().is_some_and(|echo| echo.participant == *id) {
                continue;
            }
            let silence = since(participant.heard().unwrap_or(participant.joined_at));
            if participant.state != State::Active {
                if since(participant.joined_at) >= CONNECT_PATIENCE {
                    gone.push((*id, DisconnectReason::JoinFailure));
                }
            } else if participant.away_since.is_some_and(|at| since(at) >= AWAY_PATIENCE && silence >= AWAY_PATIENCE) {
                gone.push((*id, DisconnectReason::SignalClose));
            } else if silence >= SILENT_PATIENCE {
                gone.push((*id, DisconnectReason::ConnectionTimeout));
            }
        }
        for (id, reason) in gone {
            self.remove(id, reason, Announce::Yes, cx);
        }
    }

    fn tell_counts(&mut self, cx: &mut Context<'_>) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let is_publisher = |participant: &&super::participant::Participant| {
            participant.publications.iter().any(|publication| publication.is_public)
        };
        self.info.num_participants =
            count(self.participants.values().filter(|participant| !participant.is_agent()).count());
        self.info.num_publishers = count(self.participants.values().filter(is_publisher).count());
        for participant in self.participants.values() {
            participant.send(Message::RoomUpdate(proto::RoomUpdate { room: Some(self.info.clone()) }), cx);
        }
    }

    /// The server does not measure: on one machine the connection is as good as it gets.
    fn tell_quality(&self, cx: &mut Context<'_>) {
        let updates: Vec<_> = self
            .participants
            .values()
            .filter(|participant| participant.state == State::Active && !participant.permission.hidden)
            .map(|participant| proto::ConnectionQualityInfo {
                participant_sid: participant.sid.clone(),
                quality: proto::ConnectionQuality::Excellent as i32,
                score: EXCELLENT,
            })
            .collect();
        for participant in self.participants.values() {
            let update = proto::ConnectionQualityUpdate { updates: updates.clone() };
            participant.send(Message::ConnectionQuality(update), cx);
        }
    }

    /// Each is told what has changed of those whose tracks it gets, and of itself.
    fn update_speakers(&mut self, cx: &mut Context<'_>) {
        let mut speaking = BTreeMap::new();
        for (id, participant) in &mut self.participants {
            let levels = participant.publications.iter_mut().filter_map(|found| found.levels.take());
            if let Some(loudest) = levels.max_by(f32::total_cmp) {
                speaking.insert(*id, loudest);
            }
        }
        let sids: BTreeMap<_, _> = self.participants.iter().map(|(id, found)| (*id, found.sid.clone())).collect();
        for (id, participant) in &mut self.participants {
            let heard: BTreeMap<_, _> = speaking
                .iter()
                .filter(|(speaker, _)| participant.hears(*id, **speaker))
                .map(|(id, at)| (*id, *at))
                .collect();
            let before = std::mem::replace(&mut participant.speakers, heard);
            let heard = &participant.speakers;
            let begun =
                heard.iter().filter(|(id, level)| before.get(id) != Some(level)).map(|(id, level)| (id, *level, true));
            let ended = before.keys().filter(|id| !heard.contains_key(id)).map(|id| (id, 0.0, false));
            let info = |(id, level, active)| Some(proto::SpeakerInfo { sid: sids.get(id)?.clone(), level, active });
            let speakers: Vec<_> = begun.chain(ended).filter_map(info).collect();
            if !speakers.is_empty() {
                participant.send(Message::SpeakersChanged(proto::SpeakersChanged { speakers }), cx);
            }
        }
    }

    /// A room that nobody joined ends after its empty timeout, one that everybody left after its departure timeout.
    fn end_if_empty(&mut self, cx: &mut Context<'_>) {
        let Some(since) = self.empty_since else { return };
        let seconds = if self.had_participants { self.info.departure_timeout } else { self.info.empty_timeout };
        if cx.now.instant.saturating_duration_since(since) >= Duration::from_secs(u64::from(seconds)) {
            self.close(DisconnectReason::RoomClosed, cx);
        }
    }
}
