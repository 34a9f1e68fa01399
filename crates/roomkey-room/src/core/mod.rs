//! The room's core: it does no I/O. What happens on sockets, what the application wants and the time go in;
//! [`Effect`]s come out.
//!
//! After each call, take effects until there are none, then call [`Core::handle_timeout`] no later than [`Core::timeout`]
//! says.

mod backoff;
mod calls;
mod fail_over;
mod gathering;
mod happened;
mod joining;
mod link;
mod members;
mod messages;
mod packets;
mod permissions;
mod publishing;
mod recovery;
mod refusal;
mod regions;
mod reliable;
mod requests;
mod transport;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use livekit_protocol as proto;
use roomkey_rtc::{Event, OutgoingRtp, SendError, Transmit};
use roomkey_signal::{ParticipantToken, ServerUrl};
use url::Url;

use crate::connect_error::{ConnectError, ConnectErrorKind};
use crate::connection_state::{ConnectionState, DisconnectReason};
use crate::data_stream::limits::StreamLimits;
use crate::encryption::{DataEncryption, RoomEncryption};
use crate::ice_server::{IceServer, IceTransportPolicy};
use crate::names::TrackSid;
use crate::region_failover::RegionFailover;
pub(crate) use crate::rpc::endpoint::InvocationId;

use calls::Calls;
use fail_over::{Joining, Otherwise};
use gathering::Gathering;
pub(crate) use gathering::{Errand, LookupId, Resolved, StreamId, StreamTarget};
pub(crate) use happened::Happened;
use link::Link;
use members::Members;
pub(crate) use messages::TrackSettings;
use packets::Packets;
use permissions::Permissions;
use publishing::Publishing;
pub(crate) use publishing::{Layer, LocalTrackId, TrackRequest};
use recovery::{Recovery, Relapses};
pub(crate) use refusal::Refusal;
pub(crate) use regions::{FetchId, Next as NextRegion, RegionList, Regions};
pub(crate) use requests::OwnChange;
use requests::Requests;
pub(crate) use transport::SocketId;
use transport::{Polled, Transport};

/// What is called with an answer.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// One attempt to open a websocket; what comes of an earlier one is of no interest.
pub(crate) type DialId = u64;

/// What the shell has to do.
pub(crate) enum Effect {
    /// Bind UDP sockets, in the place of those of the same number, and tell [`Core::handle_bound`].
    Bind { sockets: SocketId },
    /// Close these UDP sockets, and all connections that are of the same peer connection.
    Unbind { sockets: SocketId },
    /// Send a datagram from the socket with the source address.
    Transmit { sockets: SocketId, transmit: Transmit },
    /// Do this for the peer connection with these sockets.
    Errand { sockets: SocketId, errand: Errand },
    /// Open a websocket, in the place of one that there may be.
    Dial { dial: DialId, url: Url, authorization: (&'static str, String) },
    /// GET the URL, and tell what it is answered with.
    Validate { dial: DialId, url: Url, authorization: (&'static str, String) },
    /// GET the URL, and tell its body and how long it holds. The question before is of no interest any more.
    FetchRegions { fetch: FetchId, url: Url, authorization: (&'static str, String) },
    /// Keep this for other rooms of the server.
    KeepRegions(RegionList),
    /// Send a binary message on the websocket.
    Send(Vec<u8>),
    /// Close the websocket, and stop opening one.
    CloseWebsocket,
    /// Tell the application.
    Happened(Happened),
}

/// What does not change while the room exists.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) client_info: proto::ClientInfo,
    pub(crate) auto_subscribe: bool,
    pub(crate) adaptive_stream: bool,
    pub(crate) single_connection: bool,
    pub(crate) attributes: std::collections::HashMap<String, String>,
    /// How long a join may take, from the first dial to media.
    pub(crate) connect_timeout: Duration,
    /// How often it is tried to come back before the room is over.
    pub(crate) max_reconnect_attempts: u32,
    pub(crate) stream_limits: StreamLimits,
    pub(crate) ice_transport_policy: IceTransportPolicy,
    /// In the place of those that the server names.
    pub(crate) ice_servers: Option<Vec<IceServer>>,
    pub(crate) region_failover: RegionFailover,
    pub(crate) encryption: Option<Arc<RoomEncryption>>,
}

#[derive(Debug)]
enum Phase {
    Connecting(Joining),
    Connected,
    Recovering(Recovery),
    /// The server is told, and has until the signalling says so.
    Leaving,
    Over,
}

/// The core.
pub(crate) struct Core {
    settings: Settings,
    regions: Regions,
    token: ParticipantToken,
    unix_time: (Instant, Duration),
    rng: Rng,
    phase: Phase,
    relapses: Relapses,
    link: Link,
    last_dial: DialId,
    last_sockets: SocketId,
    members: Members,
    publishing: Publishing,
    permissions: Permissions,
    packets: Packets,
    encryption: Option<DataEncryption>,
    calls: Calls,
    requests: Requests,
    room: proto::Room,
    server_version: String,
    effects: VecDeque<Effect>,
    /// Scratch for what the parts tell.
    told: Vec<Happened>,
}

impl Core {
    /// Begins to join. `unix_time` is the time since the Unix epoch at `now`.
    pub(crate) fn new(
        settings: Settings,
        server_url: ServerUrl,
        token: ParticipantToken,
        seed: u64,
        now: Instant,
        unix_time: Duration,
    ) -> Self {
        let link = Link::new(token.clone(), settings.single_connection, now, unix_time);
        let regions = Regions::new(server_url, &settings.region_failover);
        let mut core = Self {
            phase: Phase::Connecting(Joining::new(settings.connect_timeout, regions.may_have_others(), now)),
            relapses: Relapses::default(),
            members: Members::new(settings.auto_subscribe),
            regions,
            token,
            unix_time: (now, unix_time),
            packets: Packets::new(settings.stream_limits.clone()),
            encryption: settings.encryption.clone().map(DataEncryption::new),
            calls: Calls::new(Rng::with_seed(seed ^ 1)),
            settings,
            rng: Rng::with_seed(seed),
            link,
            last_dial: 0,
            last_sockets: 0,
            publishing: Publishing::default(),
            permissions: Permissions::default(),
            requests: Requests::default(),
            room: proto::Room::default(),
            server_version: String::new(),
            effects: VecDeque::new(),
            told: Vec::new(),
        };
        core.open_transports(now);
        core
    }

    /// The next thing to do.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Connecting(joining) => Some(joining.timeout()),
            Phase::Recovering(recovery) => recovery.timeout(),
            Phase::Connected | Phase::Leaving => None,
            Phase::Over => return None,
        };
        let transports = self.link.transports().map(Transport::poll_timeout);
        let others = [
            phase,
            self.link.timeout(),
            self.regions.timeout(),
            self.publishing_timeout(),
            self.requests.timeout(),
            self.packets.timeout(),
            self.calls.rpc.poll_timeout(),
        ];
        transports.chain(others.into_iter().flatten()).min()
    }

    /// A reconnect takes its time; tracks wait for it.
    fn publishing_timeout(&self) -> Option<Instant> {
        self.publishing.timeout().filter(|_| !self.is_recovering())
    }

    fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Recovering(_))
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for transport in self.link.transports_mut() {
            transport.handle_timeout(now);
        }
        self.link.signal.handle_timeout(now);
        self.drain_signal(now);
        if self.link.transports().any(|transport| transport.is_answer_overdue(now)) {
            self.connection_failed("the server does not answer an offer", now);
        }
        self.handle_dial_timeout(now);
        self.handle_recovery_timeout(now);
        while let Some(id) = self.publishing.overdue(now).filter(|_| !self.is_recovering()) {
            self.publish_failed(id, crate::error::PublishError::Timeout, now);
        }
        self.requests.handle_timeout(now);
        self.handle_packets_timeout(now);
        self.handle_regions_timeout(now);
        self.handle_joining_timeout(now);
        self.settle(now);
    }

    /// A datagram came on a socket with this address of its own.
    pub(crate) fn handle_datagram(
        &mut self,
        sockets: SocketId,
        source: std::net::SocketAddr,
        destination: std::net::SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) {
        let found = self.link.transports_mut().find(|transport| transport.sockets == sockets);
        if let Some(transport) = found {
            transport.handle_datagram(source, destination, datagram, now);
            self.settle(now);
        }
    }

    fn gathering(&mut self, sockets: SocketId) -> Option<&mut Gathering> {
        let found = self.link.transports_mut().find(|transport| transport.sockets == sockets);
        found.map(|transport| &mut transport.gathering)
    }

    /// The addresses of a host were found; none if it is not known.
    pub(crate) fn handle_resolved(&mut self, sockets: SocketId, lookup: LookupId, found: &[Resolved], now: Instant) {
        if let Some(gathering) = self.gathering(sockets) {
            gathering.handle_resolved(lookup, found, now);
            self.settle(now);
        }
    }

    /// A connection is open, between these addresses.
    pub(crate) fn handle_stream_opened(
        &mut self,
        sockets: SocketId,
        stream: StreamId,
        (local, remote): (std::net::SocketAddr, std::net::SocketAddr),
        now: Instant,
    ) {
        if let Some(gathering) = self.gathering(sockets) {
            gathering.handle_opened(stream, local, remote, now);
            self.settle(now);
        }
    }

    /// Bytes came on a connection.
    pub(crate) fn handle_stream_bytes(&mut self, sockets: SocketId, stream: StreamId, bytes: &[u8], now: Instant) {
        if let Some(gathering) = self.gathering(sockets) {
            gathering.handle_bytes(stream, bytes, now);
            self.settle(now);
        }
    }

    /// A connection is closed, or could not be opened.
    pub(crate) fn handle_stream_closed(&mut self, sockets: SocketId, stream: StreamId, now: Instant) {
        if let Some(gathering) = self.gathering(sockets) {
            gathering.handle_closed(stream, now);
            self.settle(now);
        }
    }

    /// A binary message came on the websocket.
    pub(crate) fn handle_message(&mut self, bytes: &[u8], now: Instant) {
        if let Err(error) = self.link.signal.handle_message(bytes, now) {
            tracing::debug!(%error, "a message of the server is passed over");
        }
        self.settle(now);
    }

    /// The websocket is gone.
    pub(crate) fn handle_closed(&mut self, now: Instant) {
        self.link.signal.handle_closed();
        self.settle(now);
    }

    /// Sends an RTP packet of a track of ours.
    pub(crate) fn send_rtp(&mut self, track: LocalTrackId, packet: OutgoingRtp, now: Instant) -> Result<(), SendError> {
        let sender = self.publishing.get(track).and_then(|track| track.sender).ok_or(SendError::UnknownSender)?;
        let transport = self.link.publisher.as_mut().ok_or(SendError::NotConnected)?;
        transport.rtc.send_rtp(sender, packet, now)
    }

    /// Asks the publisher of a track for a key frame.
    pub(crate) fn request_keyframe(&mut self, track: &TrackSid, now: Instant) {
        if let Some((is_subscriber, mid)) = self.members.section_of(track) {
            let transport = self.link.transports_mut().find(|transport| transport.is_subscriber() == is_subscriber);
            if let Some(transport) = transport {
                transport.rtc.request_keyframe(mid, None);
            }
            self.settle(now);
        }
    }

    pub(crate) fn members(&mut self) -> &mut Members {
        &mut self.members
    }

    #[cfg(test)]
    pub(crate) fn participants(&self) -> &crate::participant::Participants {
        &self.members.participants
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Leaves the room: the server is told, if there is a websocket.
    pub(crate) fn leave(&mut self, now: Instant) {
        match self.phase {
            Phase::Connecting(_) => {
                self.link.signal.leave(now);
                self.drain_signal(now);
                self.connect_failed(ConnectErrorKind::Cancelled.into());
            }
            Phase::Connected | Phase::Recovering(_) => {
                self.phase = Phase::Leaving;
                self.link.signal.leave(now);
                self.settle(now);
            }
            Phase::Leaving | Phase::Over => {}
        }
    }

    /// Does all that can be done now.
    pub(crate) fn settle(&mut self, now: Instant) {
        loop {
            let media = self.drain_media(now);
            let signal = self.drain_signal(now);
            self.check_ready(now);
            if !media && !signal {
                break;
            }
        }
        self.senders_left(now);
        self.drain_streams(now);
        self.flush_packets(now);
        while self.calls.rpc.has_packets() && self.has_room_for_calls() {
            // There is room again.
            self.drain_calls(now);
            self.flush_packets(now);
        }
        while self.drain_media(now) {}
        self.tell();
    }

    fn tell(&mut self) {
        self.effects.extend(self.told.drain(..).map(Effect::Happened));
    }

    fn drain_media(&mut self, now: Instant) -> bool {
        let mut has_moved = false;
        for is_subscriber in [false, true] {
            while let Some(transport) = self.link.transport_mut(is_subscriber) {
                let sockets = transport.sockets;
                match transport.poll(now) {
                    Ok(event) => self.handle_event(is_subscriber, event, now),
                    Err(Polled::Idle) => break,
                    Err(Polled::Lost) => self.handle_path_lost(is_subscriber, now),
                    Err(polled) => self.carry(is_subscriber, sockets, polled),
                }
                has_moved = true;
            }
        }
        has_moved
    }

    fn carry(&mut self, is_subscriber: bool, sockets: SocketId, polled: Polled) {
        match polled {
            Polled::Transmit(transmit) => self.effects.push_back(Effect::Transmit { sockets, transmit }),
            Polled::Errand(errand) => self.effects.push_back(Effect::Errand { sockets, errand }),
            Polled::Candidate(candidate_init) => {
                let target =
                    if is_subscriber { proto::SignalTarget::Subscriber } else { proto::SignalTarget::Publisher };
                self.ask(proto::signal_request::Message::Trickle(proto::TrickleRequest {
                    candidate_init,
                    target: target.into(),
                    ..Default::default()
                }));
            }
            Polled::Lost | Polled::Idle => {}
        }
    }

    fn handle_path_lost(&mut self, is_subscriber: bool, now: Instant) {
        use proto::ReconnectReason::{RrPublisherFailed, RrSubscriberFailed};
        self.path_lost(if is_subscriber { RrSubscriberFailed } else { RrPublisherFailed }, now);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events that ask nothing of a room")]
    fn handle_event(&mut self, is_subscriber: bool, event: Event, now: Instant) {
        match event {
            Event::RtpReceived { mid, packet, .. } => {
                if let Some(track) = self.members.track_in(is_subscriber, mid) {
                    self.effects.push_back(Effect::Happened(Happened::Rtp(track.clone(), packet)));
                }
            }
            Event::Data { id, bytes, .. } => self.handle_data(is_subscriber, id, &bytes, now),
            Event::MediaAdded { mid, msid, .. } => {
                if let Some(track) = self.link.track_of(is_subscriber, mid, &msid) {
                    self.members.media_added(is_subscriber, mid, track, &mut self.told);
                }
            }
            Event::MediaRemoved { mid } => self.members.media_removed(is_subscriber, mid, &mut self.told),
            Event::KeyframeRequested { sender, rid, .. } => {
                if let Some(track) = self.publishing.by_sender(sender) {
                    self.told.push(Happened::KeyframeRequested(track.id, rid));
                }
            }
            Event::IceStateChanged(roomkey_rtc::IceState::Disconnected) => {
                self.handle_path_lost(is_subscriber, now);
            }
            Event::Closed if matches!(self.phase, Phase::Connected | Phase::Recovering(_)) => {
                self.restart_unless_told(now)
            }
            Event::Closed => self.connection_failed("a peer connection ended", now),
            _ => {}
        }
    }

    /// A peer connection is of no more use.
    fn connection_failed(&mut self, why: &str, now: Instant) {
        match self.phase {
            Phase::Connecting(_) => {
                self.region_failed(ConnectError::protocol(why), Otherwise::Fail, now);
            }
            Phase::Connected | Phase::Recovering(_) => {
                tracing::debug!(why, "the room is joined anew");
                self.restart(now);
            }
            Phase::Leaving | Phase::Over => {}
        }
    }

    fn connect_failed(&mut self, error: ConnectError) {
        if matches!(self.phase, Phase::Connecting(_)) {
            self.end();
            self.told.push(Happened::ConnectFailed(error));
            self.tell();
        }
    }

    /// The room is over, and says so.
    fn over(&mut self, reason: DisconnectReason) {
        if let Phase::Connecting(_) = self.phase {
            self.connect_failed(ConnectErrorKind::Refused(reason).into());
        } else if !self.is_over() {
            self.end();
            self.told.push(Happened::StateChanged(ConnectionState::Disconnected(reason)));
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.publishing.fail_all();
        self.requests.fail_all();
        self.packets.end();
        self.calls.end();
        for transport in self.link.transports_mut() {
            transport.rtc.close();
        }
        self.close_transports();
        self.effects.push_back(Effect::CloseWebsocket);
    }
}

#[cfg(test)]
mod tests;
