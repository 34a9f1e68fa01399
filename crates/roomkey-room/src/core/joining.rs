//! From a URL and a token to a joined room, for the first time or anew.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use roomkey_signal::{ClientEvent, ClientOutput, ConnectParameters, DisconnectCause, HandshakeStep, LeaveAction};

use super::fail_over::Otherwise;
use super::link::{Dial, Join};
use super::refusal::{Refusal, WORDS_TIMEOUT};
use super::transport::{Polled, Role, Transport};
use super::{Core, DialId, Effect, Happened, Phase, SocketId};
use crate::connect_error::{ConnectError, ConnectErrorKind};
use crate::connection_state::{ConnectionState, DisconnectReason};
use crate::ice_server::{Allowed, IceServer};

/// How long a websocket may take to open, for a join.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// For a resume: an outage swallows what TCP sends, so that another try is soon better than this one.
const RESUME_DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// What is looked at of the ICE servers that a server names.
const MAX_ICE_SERVERS: usize = 16;
const MAX_ICE_URLS: usize = 16;

impl Core {
    /// The connections that the endpoint asks for, and sockets for them.
    pub(super) fn open_transports(&mut self, now: Instant) {
        self.close_transports();
        let roles: &[Role] = if self.link.is_single() { &[Role::Single] } else { &[Role::Publisher, Role::Subscriber] };
        let allowed = Allowed::by(self.settings.ice_transport_policy);
        for role in roles {
            self.last_sockets += 1;
            let sockets = self.last_sockets;
            let transport = Box::new(Transport::new(*role, sockets, allowed, now));
            if *role == Role::Subscriber {
                self.link.subscriber = Some(transport);
            } else {
                self.link.publisher = Some(transport);
            }
            self.effects.push_back(Effect::Bind { sockets });
        }
        self.link.dial = Dial::Preparing;
    }

    /// What was lent is given back, and what closing says to the other side is sent.
    pub(super) fn close_transports(&mut self) {
        for mut transport in [self.link.publisher.take(), self.link.subscriber.take()].into_iter().flatten() {
            let (sockets, now) = (transport.sockets, transport.gathering.now());
            loop {
                match transport.poll(now) {
                    Ok(_) => {}
                    Err(Polled::Idle) if transport.gathering.is_closed() => break,
                    Err(Polled::Idle) => transport.gathering.close(),
                    Err(polled @ (Polled::Transmit(_) | Polled::Errand(_))) => {
                        self.carry(transport.is_subscriber(), sockets, polled);
                    }
                    Err(Polled::Candidate(_) | Polled::Lost) => {}
                }
            }
            self.effects.push_back(Effect::Unbind { sockets });
        }
    }

    /// Sockets are bound to these addresses.
    pub(crate) fn handle_bound(&mut self, sockets: SocketId, addresses: Vec<SocketAddr>, now: Instant) {
        let Some(transport) = self.link.transports_mut().find(|transport| transport.sockets == sockets) else { return };
        transport.set_addresses(addresses, now);
        if self.link.dial == Dial::Preparing && self.link.transports().all(Transport::has_addresses) {
            self.dial(now);
        }
        self.settle(now);
    }

    /// There is no address to bind to.
    pub(crate) fn handle_bind_failed(&mut self, error: std::io::Error, now: Instant) {
        if let Phase::Connecting(_) = self.phase {
            self.connect_failed(ConnectError::no_address(error));
        } else {
            // A machine that changes its network has none for a moment.
            self.attempt_failed(now);
        }
        self.settle(now);
    }

    fn parameters(&self) -> ConnectParameters {
        let mut parameters = ConnectParameters::new(self.settings.client_info.clone())
            .with_auto_subscribe(self.settings.auto_subscribe)
            .with_adaptive_stream(self.settings.adaptive_stream);
        for (key, value) in &self.settings.attributes {
            parameters = parameters.with_attribute(key, value);
        }
        parameters
    }

    /// Opens a websocket for a join.
    fn dial(&mut self, now: Instant) {
        let mut parameters = self.parameters();
        if self.link.is_single() {
            let Some(transport) = &mut self.link.publisher else { return };
            let offer = match transport.offer_again(now) {
                Some(again) => Ok(Some(again)),
                None => transport.offer(now),
            };
            // It is on its way once the server has accepted the join.
            transport.excuse_answer();
            match offer {
                Ok(Some(offer)) => parameters = parameters.with_publisher_offer(offer),
                Ok(None) => {}
                Err(error) => return self.connection_failed(&error.to_string(), now),
            }
        }
        let timeout = if matches!(self.phase, Phase::Connecting(_)) { DIAL_TIMEOUT } else { RESUME_DIAL_TIMEOUT };
        self.dial_with(&parameters, now + timeout);
    }

    /// Opens a websocket for a resume.
    pub(super) fn dial_resume(&mut self, reason: proto::ReconnectReason, now: Instant) -> bool {
        let Some(resume) = self.link.signal.resume(reason) else { return false };
        // The close of the websocket before goes ahead of the dial of the next.
        self.drain_signal(now);
        self.link.is_resumed = false;
        let parameters = self.parameters().with_resume(resume);
        self.dial_with(&parameters, now + RESUME_DIAL_TIMEOUT);
        true
    }

    fn dial_with(&mut self, parameters: &ConnectParameters, deadline: Instant) {
        self.last_dial += 1;
        self.link.dial = Dial::Dialing(self.last_dial, deadline);
        let url = self.regions.current().connect(self.link.handshake.endpoint(), parameters);
        let authorization = self.link.signal.token().authorization_header();
        self.effects.push_back(Effect::Dial { dial: self.last_dial, url, authorization });
    }

    fn is_current(&self, dial: DialId) -> bool {
        matches!(self.link.dial, Dial::Dialing(current, _) | Dial::Asking(current, _) if current == dial)
    }

    /// The websocket is open.
    pub(crate) fn handle_opened(&mut self, dial: DialId, now: Instant) {
        if self.is_current(dial) {
            self.link.dial = Dial::Open;
            self.link.signal.handle_opened(now);
            self.settle(now);
        }
    }

    /// There is no websocket: the handshake was answered otherwise, or not at all.
    pub(crate) fn handle_refused(&mut self, dial: DialId, refusal: Refusal, now: Instant) {
        if !self.is_current(dial) {
            return;
        }
        match self.phase {
            Phase::Connecting(_) => {
                let status = refusal.status;
                self.link.refused.refused(refusal, self.link.signal.token());
                let step = self.link.handshake.refused(status);
                self.take_step(step, true, now);
            }
            Phase::Recovering(_) => match refusal.status {
                // The token is of no more use.
                Some(401 | 403) => self.over(DisconnectReason::JoinFailure),
                _ => self.attempt_failed(now),
            },
            Phase::Connected | Phase::Leaving | Phase::Over => {}
        }
        self.settle(now);
    }

    /// The validate URL was answered, or not.
    pub(crate) fn handle_validated(&mut self, dial: DialId, refusal: &Refusal, now: Instant) {
        if self.is_current(dial) {
            self.link.refused.validated(refusal, self.link.signal.token());
            let step = match self.link.refused.failure.take() {
                Some(failure) => HandshakeStep::Fail(failure),
                None => self.link.handshake.validated(refusal.status),
            };
            self.take_step(step, false, now);
            self.settle(now);
        }
    }

    fn take_step(&mut self, step: HandshakeStep, may_ask_why: bool, now: Instant) {
        match step {
            HandshakeStep::FallBack => self.open_transports(now),
            HandshakeStep::Validate => self.validate(now + DIAL_TIMEOUT),
            HandshakeStep::Retry => {
                let error = self.link.refused.unavailable(self.link.handshake.last_status());
                self.region_failed(error, Otherwise::Retry, now);
            }
            HandshakeStep::Fail(failure) if may_ask_why && !self.link.refused.has_words() => {
                self.link.refused.failure = Some(failure);
                self.validate(now + WORDS_TIMEOUT);
            }
            HandshakeStep::Fail(failure) => {
                let error = self.link.refused.error(failure);
                self.region_failed(error, Otherwise::Fail, now);
            }
            _ => self.connect_failed(ConnectErrorKind::Unavailable.into()),
        }
    }

    fn validate(&mut self, deadline: Instant) {
        self.last_dial += 1;
        let url = self.regions.current().validate(self.link.handshake.endpoint(), &self.parameters());
        let authorization = self.link.signal.token().authorization_header();
        self.link.dial = Dial::Asking(self.last_dial, deadline);
        self.effects.push_back(Effect::Validate { dial: self.last_dial, url, authorization });
    }

    pub(super) fn handle_dial_timeout(&mut self, now: Instant) {
        match self.link.dial {
            Dial::Waiting(at) if at <= now => self.dial(now),
            Dial::Dialing(dial, deadline) if deadline <= now => {
                self.handle_refused(dial, Refusal::timed_out(), now);
            }
            Dial::Asking(dial, deadline) if deadline <= now => {
                self.handle_validated(dial, &Refusal::timed_out(), now);
            }
            Dial::Waiting(_) | Dial::Dialing(..) | Dial::Asking(..) | Dial::Idle | Dial::Preparing | Dial::Open => {}
        }
    }

    pub(super) fn drain_signal(&mut self, now: Instant) -> bool {
        let mut has_moved = false;
        while let Some(output) = self.link.signal.poll_output() {
            has_moved = true;
            match output {
                ClientOutput::Transmit(bytes) => self.effects.push_back(Effect::Send(bytes)),
                ClientOutput::Close => self.effects.push_back(Effect::CloseWebsocket),
                ClientOutput::Event(event) => self.handle_signal(event, now),
            }
        }
        has_moved
    }

    fn handle_signal(&mut self, event: ClientEvent, now: Instant) {
        match event {
            ClientEvent::Joined(join) => self.handle_joined(&join, now),
            ClientEvent::Resumed(reconnect) => {
                if let Some(reconnect) = reconnect {
                    self.set_ice_servers(&reconnect.ice_servers, reconnect.client_configuration.as_ref());
                }
                self.handle_resumed(now);
            }
            ClientEvent::Message(message) => self.handle_response(*message, now),
            ClientEvent::TokenRefreshed => {
                self.token = self.link.signal.token().clone();
                self.told.push(Happened::TokenRefreshed(self.token.clone()));
            }
            ClientEvent::RoundTripTime(time) => self.told.push(Happened::RoundTripTime(time)),
            ClientEvent::LeaveRequested(leave) => {
                let reason = DisconnectReason::read(leave.reason.into());
                match (&self.phase, leave.action) {
                    (_, LeaveAction::Disconnect) => self.over(reason),
                    (Phase::Connecting(_), _) => {
                        self.told_of_regions(&leave, now);
                        self.region_failed(ConnectErrorKind::Refused(reason).into(), Otherwise::Fail, now);
                    }
                    (_, LeaveAction::Resume) => {
                        self.resume(proto::ReconnectReason::RrSignalDisconnected, now);
                        self.told_of_regions(&leave, now);
                    }
                    (_, LeaveAction::Reconnect) => {
                        self.restart(now);
                        if self.told_of_regions(&leave, now) {
                            self.regions.go_to_nearest();
                        }
                    }
                }
            }
            ClientEvent::Disconnected(DisconnectCause::Left) => self.over(DisconnectReason::ClientInitiated),
            ClientEvent::Disconnected(cause) => self.signal_lost(cause, now),
            _ => {}
        }
    }

    fn signal_lost(&mut self, cause: DisconnectCause, now: Instant) {
        match self.phase {
            Phase::Connecting(_) => {
                let error = match cause {
                    DisconnectCause::UnexpectedFirstMessage { kind, .. } => {
                        ConnectError::protocol(format!("its first message is {kind}"))
                    }
                    DisconnectCause::FirstMessageTimeout => unavailable("nothing was said on the websocket"),
                    DisconnectCause::Left | DisconnectCause::WebsocketClosed | DisconnectCause::PingTimeout | _ => {
                        unavailable("the websocket was closed during the join")
                    }
                };
                self.region_failed(error, Otherwise::Fail, now);
            }
            Phase::Connected => self.resume(proto::ReconnectReason::RrSignalDisconnected, now),
            Phase::Recovering(_) => self.attempt_failed(now),
            Phase::Leaving => self.over(DisconnectReason::ClientInitiated),
            Phase::Over => {}
        }
    }

    fn handle_joined(&mut self, join: &proto::JoinResponse, now: Instant) {
        let Some(own) = &join.participant else {
            return self.connect_failed(ConnectError::protocol("its join has no participant"));
        };
        let is_subscriber_primary = join.subscriber_primary && !self.link.is_single();
        let is_fast_publish = join.fast_publish;
        self.link.join = Some(Join { is_subscriber_primary, is_fast_publish });
        self.server_version = join.server_info.as_ref().map(|info| info.version.clone()).unwrap_or_default();
        self.room = join.room.clone().unwrap_or_default();
        self.told.push(Happened::RoomChanged(Box::new(self.room.clone())));
        if let Some(encryption) = &self.settings.encryption {
            encryption.joined(&own.identity, &join.sif_trailer);
        }
        self.members.joined(own, &join.other_participants, &mut self.told);
        self.set_ice_servers(&join.ice_servers, join.client_configuration.as_ref());
        self.link.transports_mut().for_each(|transport| transport.gathering.restart(now));
        if self.link.is_single() {
            self.link.transports_mut().for_each(|transport| transport.expect_answer(now));
        } else {
            // Data has to be sent on this one, so that it is needed in any case.
            self.negotiate(now);
        }
        if let Phase::Recovering(_) = self.phase {
            self.republish(now);
            self.packets.restart(now);
            self.send_wishes();
        }
    }

    /// The servers that find addresses, and whether nothing else is to be used; with each join and each resume.
    fn set_ice_servers(&mut self, servers: &[proto::IceServer], configuration: Option<&proto::ClientConfiguration>) {
        let read = |server: &proto::IceServer| {
            IceServer::new(server.urls.iter().take(MAX_ICE_URLS)).with_credential(&server.username, &server.credential)
        };
        let servers = match &self.settings.ice_servers {
            Some(own) => own.clone(),
            None => servers.iter().take(MAX_ICE_SERVERS).map(read).collect(),
        };
        let is_relay_only = configuration
            .is_some_and(|configuration| configuration.force_relay() == proto::ClientConfigSetting::Enabled);
        for transport in self.link.transports_mut() {
            transport.set_ice_servers(&servers);
            if is_relay_only {
                transport.set_relay_only();
            }
        }
    }

    /// Offers what has changed on the connection that this client offers on.
    pub(super) fn negotiate(&mut self, now: Instant) {
        let Some(transport) = &mut self.link.publisher else { return };
        match transport.offer(now) {
            // While it is joined, the answer to the first offer comes before.
            Ok(Some(offer)) => {
                if self.link.signal.send(Request::Offer(offer)).is_err()
                    && let Some(transport) = &mut self.link.publisher
                {
                    // No websocket: the resume makes it anew.
                    transport.want_offer();
                    transport.excuse_answer();
                }
            }
            Ok(None) => {}
            Err(error) => self.connection_failed(&error.to_string(), now),
        }
    }

    /// Whether what is waited for is there.
    pub(super) fn check_ready(&mut self, now: Instant) {
        match &self.phase {
            Phase::Connecting(_) if self.link.is_joined() && self.link.is_media_up() => {
                self.phase = Phase::Connected;
                self.regions.connected();
                self.told.push(Happened::Connected);
            }
            Phase::Recovering(recovery) if recovery.is_restart_under_way() => {
                if self.link.is_joined() && self.link.is_media_up() {
                    for track in self.members.subscriptions_without_media() {
                        self.members.unsubscribe(&track, &mut self.told);
                    }
                    self.recovered(now);
                }
            }
            Phase::Recovering(_) if self.link.is_resumed => {
                let is_settled = self.link.publisher.as_ref().is_none_or(|publisher| !publisher.awaits_answer());
                if is_settled
                    && self.link.transports().all(|transport| !transport.rtc.is_connected() || transport.has_path())
                    && self.link.is_media_up()
                {
                    self.link.signal.set_reconnected();
                    self.recovered(now);
                    self.say_again(now);
                }
            }
            Phase::Connecting(_) | Phase::Connected | Phase::Recovering(_) | Phase::Leaving | Phase::Over => {}
        }
    }

    fn recovered(&mut self, now: Instant) {
        self.phase = Phase::Connected;
        self.members.end_roll_call(&mut self.told);
        self.relapses.back(now);
        self.regions.connected();
        self.publishing.postpone(now);
        self.told.push(Happened::StateChanged(ConnectionState::Connected));
    }
}

fn unavailable(what: &str) -> ConnectError {
    ConnectError::from(ConnectErrorKind::Unavailable).with_cause(Some(what.into()))
}
