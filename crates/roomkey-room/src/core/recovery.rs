//! Coming back: the same stay taken up again, or the room joined anew.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use roomkey_signal::SendErrorKind;

use super::backoff;
use super::link::{Dial, Link};
use super::transport::Transport;
use super::{Core, Effect, Happened, Phase};
use crate::connection_state::{ConnectionState, DisconnectReason};

/// How long media may take to come back once the server has taken the session up.
const RESUME_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a join anew may take from the websocket to media.
const RESTART_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the server has to say why it has closed a peer connection, before the room is joined anew.
const CLOSE_REASON_WAIT: Duration = Duration::from_secs(1);
/// A session that media does not come back to so often is joined anew.
const MAX_MEDIA_FAILURES: u32 = 2;

/// How long a connection has to hold for the next loss to be another matter.
const STEADY: Duration = Duration::from_secs(10);

/// How often in a row a connection that was back was lost again at once.
#[derive(Debug, Default)]
pub(crate) struct Relapses {
    count: u32,
    back_at: Option<Instant>,
}

impl Relapses {
    /// The connection is lost: the number of times before this that it did not hold.
    fn lost(&mut self, now: Instant) -> u32 {
        let has_held = self.back_at.is_none_or(|back_at| now.saturating_duration_since(back_at) >= STEADY);
        self.count = if has_held { 0 } else { self.count.saturating_add(1) };
        self.count
    }

    pub(super) fn back(&mut self, now: Instant) {
        self.back_at = Some(now);
    }

    /// What comes next is the application's wish.
    fn forget(&mut self) {
        *self = Self::default();
    }
}

/// What is being tried.
#[derive(Debug)]
pub(crate) struct Recovery {
    kind: Kind,
    reason: proto::ReconnectReason,
    attempt: u32,
    /// When the next attempt begins, or the one under way is given up.
    next: Next,
    media_failures: u32,
    /// New sockets come with the next attempt: the old ones may be of a network that is gone.
    wants_sockets: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Resume,
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Begin(Instant),
    GiveUp(Instant),
}

impl Recovery {
    pub(crate) fn timeout(&self) -> Option<Instant> {
        match self.next {
            Next::Begin(at) | Next::GiveUp(at) => Some(at),
        }
    }

    /// How many attempts at a resume have failed, between two of them.
    pub(crate) fn failed_resumes(&self) -> Option<u32> {
        (self.kind == Kind::Resume && matches!(self.next, Next::Begin(_))).then_some(self.attempt)
    }

    /// Whether a join anew is about to be tried.
    pub(crate) fn awaits_restart(&self) -> bool {
        self.kind == Kind::Restart && matches!(self.next, Next::Begin(_))
    }

    /// Whether the room is being joined anew, rather than about to be.
    pub(crate) fn is_restart_under_way(&self) -> bool {
        self.kind == Kind::Restart && matches!(self.next, Next::GiveUp(_))
    }
}

impl Core {
    /// Takes the stay up again over another websocket, unless there is none to take up.
    pub(super) fn resume(&mut self, reason: proto::ReconnectReason, now: Instant) {
        self.recover(Kind::Resume, reason, now);
    }

    /// Joins anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.recover(Kind::Restart, proto::ReconnectReason::RrUnknown, now);
    }

    /// The server has closed a peer connection. It does so as well when it ends the stay, and what it says then on the
    /// websocket may come later than the end of the connection.
    pub(super) fn restart_unless_told(&mut self, now: Instant) {
        let was_connected = matches!(self.phase, Phase::Connected);
        self.restart(now);
        if let Phase::Recovering(Recovery { next: Next::Begin(at), .. }) = &mut self.phase
            && was_connected
        {
            *at = (*at).max(now + CLOSE_REASON_WAIT);
        }
    }

    /// No more checks of a connection are answered.
    pub(super) fn path_lost(&mut self, reason: proto::ReconnectReason, now: Instant) {
        match &mut self.phase {
            Phase::Connected => {
                self.recover(Kind::Resume, reason, now);
                if let Phase::Recovering(recovery) = &mut self.phase {
                    recovery.wants_sockets = true;
                }
            }
            Phase::Recovering(recovery) => recovery.wants_sockets = true,
            Phase::Connecting(_) | Phase::Leaving | Phase::Over => {}
        }
    }

    /// The machine's network is another one: new sockets, and a resume at once.
    pub(crate) fn network_changed(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Connected => {
                self.relapses.forget();
                self.recover(Kind::Resume, proto::ReconnectReason::RrSwitchCandidate, now);
            }
            Phase::Recovering(recovery) => {
                (recovery.attempt, recovery.next) = (0, Next::Begin(now));
            }
            Phase::Connecting(_) | Phase::Leaving | Phase::Over => return,
        }
        if let Phase::Recovering(recovery) = &mut self.phase {
            recovery.wants_sockets = true;
        }
        self.settle(now);
    }

    fn recover(&mut self, kind: Kind, reason: proto::ReconnectReason, now: Instant) {
        let (attempt, wait) = match &self.phase {
            Phase::Connecting(_) => return self.over(DisconnectReason::JoinFailure),
            Phase::Connected => {
                let relapses = self.relapses.lost(now);
                if relapses >= self.settings.max_reconnect_attempts {
                    return self.over(DisconnectReason::SignalClose);
                }
                self.publishing.lose();
                (0, backoff::wait(relapses, &mut self.rng))
            }
            Phase::Recovering(recovery) if recovery.kind == Kind::Resume && kind == Kind::Restart => {
                (recovery.attempt, Duration::ZERO)
            }
            // A server that always says so does not make the client hurry.
            Phase::Recovering(_) => return self.attempt_failed(now),
            Phase::Leaving | Phase::Over => return,
        };
        self.phase = Phase::Recovering(Recovery {
            kind,
            reason,
            attempt,
            next: Next::Begin(now + wait),
            media_failures: 0,
            wants_sockets: false,
        });
        self.link.is_resumed = false;
        self.link.transports_mut().for_each(Transport::excuse_answer);
        if kind == Kind::Restart {
            self.abandon_stay();
        }
        let state = if kind == Kind::Resume { ConnectionState::Resuming } else { ConnectionState::Restarting };
        self.told.push(Happened::StateChanged(state));
    }

    /// Nothing of the stay in the room is of use any more, nor is it to be taken for the next one.
    fn abandon_stay(&mut self) {
        self.link.join = None;
        self.close_transports();
        self.members.media_lost();
    }

    /// Whether the room is to be joined anew, and is not yet.
    pub(super) fn is_joining_anew(&self) -> bool {
        matches!(&self.phase, Phase::Recovering(recovery) if recovery.kind == Kind::Restart) && !self.link.is_joined()
    }

    /// The attempt under way has failed; another one follows.
    pub(super) fn attempt_failed(&mut self, now: Instant) {
        let max = self.settings.max_reconnect_attempts;
        let wait = match &self.phase {
            Phase::Recovering(recovery) => backoff::wait(recovery.attempt + 1, &mut self.rng),
            Phase::Connecting(_) | Phase::Connected | Phase::Leaving | Phase::Over => return,
        };
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        recovery.attempt += 1;
        if recovery.attempt >= max {
            return self.over(DisconnectReason::SignalClose);
        }
        recovery.next = Next::Begin(now + wait);
        let (kind, attempt) = (recovery.kind, recovery.attempt);
        match kind {
            Kind::Restart => {
                self.abandon_stay();
                self.restart_elsewhere(now);
            }
            Kind::Resume if self.leaves_region(attempt, now) => return self.restart(now),
            Kind::Resume => {}
        }
        self.link.dial = Dial::Idle;
        self.link.is_resumed = false;
        self.link.transports_mut().for_each(Transport::excuse_answer);
        self.effects.push_back(Effect::CloseWebsocket);
    }

    pub(super) fn handle_recovery_timeout(&mut self, now: Instant) {
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        match recovery.next {
            Next::Begin(at) if at <= now => self.attempt(now),
            Next::GiveUp(at) if at <= now => {
                recovery.media_failures += 1;
                recovery.wants_sockets = true;
                if recovery.kind == Kind::Resume && recovery.media_failures >= MAX_MEDIA_FAILURES {
                    self.restart(now);
                } else {
                    self.attempt_failed(now);
                }
            }
            Next::Begin(_) | Next::GiveUp(_) => {}
        }
    }

    fn attempt(&mut self, now: Instant) {
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        let (kind, reason) = (recovery.kind, recovery.reason);
        // A dial that hangs ends by its own time.
        recovery.next = Next::GiveUp(now + RESTART_TIMEOUT);
        let wants_sockets = std::mem::take(&mut recovery.wants_sockets);
        match kind {
            Kind::Resume => {
                if wants_sockets {
                    let all: Vec<_> = self.link.transports().map(|transport| transport.sockets).collect();
                    self.effects.extend(all.into_iter().map(|sockets| Effect::Bind { sockets }));
                }
                if !self.dial_resume(reason, now) {
                    self.restart(now);
                }
            }
            Kind::Restart => {
                self.effects.push_back(Effect::CloseWebsocket);
                self.new_link(self.link.is_single(), now);
            }
        }
    }

    /// Another stay begins.
    pub(super) fn new_link(&mut self, is_single: bool, now: Instant) {
        let unix_time = self.unix_time.1 + now.saturating_duration_since(self.unix_time.0);
        self.link = Link::new(self.token.clone(), is_single, now, unix_time);
        self.open_transports(now);
    }

    /// The server has taken the session up.
    pub(super) fn handle_resumed(&mut self, now: Instant) {
        self.link.is_resumed = true;
        self.members.resumed(&mut self.told);
        if let Phase::Recovering(recovery) = &mut self.phase {
            recovery.next = Next::GiveUp(now + RESUME_TIMEOUT);
        }
        let sync = self.sync_state();
        self.request_now(Request::SyncState(sync));
        // A new path, in any case: the server sees which connection it is that comes back.
        if let Some(transport) = &mut self.link.publisher {
            transport.restart_ice(now);
            match transport.offer_again(now) {
                Some(offer) => {
                    transport.want_offer();
                    self.request_now(Request::Offer(offer));
                }
                None => self.negotiate(now),
            }
        }
    }

    /// Sends what belongs to the resume itself. Without a websocket it is of no use.
    fn request_now(&mut self, request: Request) {
        if let Err(error) = self.link.signal.send(request) {
            debug_assert!(error.why != SendErrorKind::QueueFull);
            tracing::debug!(%error, "a resume broke off");
        }
    }

    fn sync_state(&self) -> proto::SyncState {
        let remote = if self.link.is_single() { &self.link.publisher } else { &self.link.subscriber };
        let (answer, offer) = match remote {
            Some(transport) if transport.is_subscriber() => {
                (transport.last_local.clone(), transport.last_remote.clone())
            }
            Some(transport) => (transport.last_remote.clone(), transport.last_local.clone()),
            None => (None, None),
        };
        let publisher = self.link.publisher.as_ref();
        let channels = [
            ("_reliable", publisher.and_then(|transport| transport.reliable)),
            ("_lossy", publisher.and_then(|transport| transport.lossy)),
        ];
        let data_channels = (channels.iter())
            .filter(|(_, channel)| channel.is_some())
            .map(|(label, _)| proto::DataChannelInfo {
                label: (*label).to_owned(),
                id: 0,
                target: proto::SignalTarget::Publisher.into(),
            })
            .collect();
        proto::SyncState {
            answer,
            offer,
            subscription: Some(self.wishes()),
            publish_tracks: self.publishing.responses(),
            data_channels,
            datachannel_receive_states: self.packets.receive_states(),
            track_sids_disabled: self.members.disabled_tracks(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::signal_response::Message as Response;
    use roomkey_rtc::Event;
    use roomkey_signal::{ParticipantToken, ServerUrl};

    use super::*;
    use crate::options::RoomBuilder;

    fn receive(core: &mut Core, message: Response, now: Instant) {
        core.handle_message(&proto::SignalResponse { message: Some(message) }.encode_to_vec(), now);
    }

    /// A room that is joined, with a connection that the server has just closed.
    fn closed(now: Instant) -> Core {
        let url = ServerUrl::parse("ws://localhost").unwrap();
        let settings = RoomBuilder::default().settings();
        let mut core = Core::new(settings, url, ParticipantToken::new("token"), 1, now, Duration::ZERO);
        core.link.signal.handle_opened(now);
        let own = proto::ParticipantInfo { sid: "PA_1".into(), identity: "alice".into(), ..Default::default() };
        let join = proto::JoinResponse { participant: Some(own), ..Default::default() };
        receive(&mut core, Response::Join(join), now);
        core.phase = Phase::Connected;
        core.handle_event(false, Event::Closed, now);
        core.settle(now);
        core
    }

    fn effects(core: &mut Core) -> Vec<Effect> {
        std::iter::from_fn(|| core.poll_effect()).collect()
    }

    #[test]
    fn what_the_server_says_after_it_closed_a_connection_counts() {
        let now = crate::clock::now();
        let mut core = closed(now);
        let mut leave = proto::LeaveRequest::default();
        leave.set_reason(proto::DisconnectReason::DuplicateIdentity);
        leave.set_action(proto::leave_request::Action::Disconnect);
        let later = now + CLOSE_REASON_WAIT / 2;
        core.handle_timeout(later);
        receive(&mut core, Response::Leave(leave), later);
        let over = ConnectionState::Disconnected(DisconnectReason::DuplicateIdentity);
        let is_over =
            |effect: &Effect| matches!(effect, Effect::Happened(Happened::StateChanged(state)) if *state == over);
        assert!(effects(&mut core).iter().any(is_over));
    }

    #[test]
    fn a_room_whose_connection_the_server_closed_without_a_word_is_joined_anew() {
        let now = crate::clock::now();
        let mut core = closed(now);
        let is_bind = |effect: &Effect| matches!(effect, Effect::Bind { .. });
        assert_eq!(effects(&mut core).iter().filter(|effect| is_bind(effect)).count(), 1, "that of the join");
        core.handle_timeout(now + CLOSE_REASON_WAIT);
        assert!(effects(&mut core).iter().any(is_bind));
    }
}
