//! A room: who is in it, who comes and goes, and what they are told of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;
use proto::signal_response::Message;
use roomkey_rtc::{PeerConnection, Protocol};
use roomkey_token::{RoomAgentDispatch, RoomConfiguration};

use super::agents::Waiting;
use super::echo::Echo;
use super::history::History;
use super::joining::{Joining, Refusal};
use super::negotiation::Required;
use super::nonces::Nonces;
use super::participant::{Participant, ParticipantId, Target};
use super::peer::Peer;
use super::publication::PublicationId;
use super::{ConnectionId, Context, speakers};
use crate::event::Event;

/// Counts and room metadata go out at this pace where they changed, and tokens and absences are looked at.
pub(super) const TICK: Duration = Duration::from_secs(5);
/// The seconds between pings that a client is told to send, and after how many without an answer it gives up.
const PING_INTERVAL: i32 = 5;
const PING_TIMEOUT: i32 = 15;
/// What livekit-server 1.13.5 says it is to clients, who choose what they do by it.
const SERVER_VERSION: &str = "1.13.5";
const SERVER_PROTOCOL: i32 = 17;
const AGENT_PROTOCOL: i32 = 1;
const AUDIO_CODECS: [&str; 4] = ["audio/PCMU", "audio/PCMA", "audio/opus", "audio/red"];
const VIDEO_CODECS: [&str; 4] = ["video/VP8", "video/H264", "video/VP9", "video/AV1"];

#[derive(Debug)]
pub(super) struct Room {
    pub(super) info: proto::Room,
    pub(super) participants: BTreeMap<ParticipantId, Participant>,
    last_participant: ParticipantId,
    pub(super) last_publication: PublicationId,
    /// Whose connections have something to say.
    pub(super) dirty: BTreeSet<ParticipantId>,
    ended_connections: Vec<ConnectionId>,
    departed: Vec<ParticipantId>,
    /// Agents that the room was made to get.
    pub(super) dispatches: Vec<Waiting>,
    pub(super) echo: Option<Echo>,
    pub(super) history: History,
    pub(super) nonces: Nonces,
    /// Since when nobody but agents is in it.
    pub(super) empty_since: Option<Instant>,
    pub(super) had_participants: bool,
    pub(super) next_tick: Instant,
    pub(super) next_speakers: Instant,
    pub(super) counts_changed: bool,
    is_closed: bool,
}

impl Room {
    pub(super) fn new(name: &str, config: Option<&RoomConfiguration>, cx: &mut Context<'_>) -> Self {
        let or = |seconds: u32, default: Duration| {
            if seconds == 0 { u32::try_from(default.as_secs()).unwrap_or(u32::MAX) } else { seconds }
        };
        let config = config.cloned().unwrap_or_default();
        let codecs = AUDIO_CODECS.iter().chain(&VIDEO_CODECS).chain(&["video/rtx"]);
        let info = proto::Room {
            sid: crate::ids::draw("RM_", cx.rng),
            name: name.to_owned(),
            empty_timeout: or(config.empty_timeout, cx.settings.empty_timeout),
            departure_timeout: or(config.departure_timeout, cx.settings.departure_timeout),
            max_participants: if config.max_participants == 0 {
                cx.settings.max_participants
            } else {
                config.max_participants
            },
            creation_time: cx.now.unix_seconds(),
            creation_time_ms: cx.now.unix_ms(),
            metadata: config.metadata,
            enabled_codecs: codecs.map(|mime| codec(mime)).collect(),
            ..Default::default()
        };
        let agents = if config.agents.is_empty() { vec![RoomAgentDispatch::new("")] } else { config.agents };
        let dispatches = agents.into_iter().map(Waiting::from).collect();
        Self {
            info,
            participants: BTreeMap::new(),
            last_participant: 0,
            last_publication: 0,
            dirty: BTreeSet::new(),
            ended_connections: Vec::new(),
            departed: Vec::new(),
            dispatches,
            echo: None,
            history: History::default(),
            nonces: Nonces::default(),
            empty_since: Some(cx.now.instant),
            had_participants: false,
            next_tick: cx.now.instant + TICK,
            next_speakers: cx.now.instant + speakers::INTERVAL,
            counts_changed: false,
            is_closed: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.info.name
    }

    pub(super) fn take_ended_connections(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.ended_connections)
    }

    /// Those who left.
    pub(super) fn take_departed(&mut self) -> Vec<ParticipantId> {
        std::mem::take(&mut self.departed)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_closed && self.participants.is_empty()
    }

    pub(super) fn by_identity(&self, identity: &str) -> Option<ParticipantId> {
        self.participants.iter().find(|(_, participant)| participant.identity == identity).map(|(id, _)| *id)
    }

    // Coming.

    pub(super) fn join(&mut self, joining: Joining, cx: &mut Context<'_>) -> Result<ParticipantId, Refusal> {
        let identity = joining.claims.participant().identity;
        let former = self.by_identity(&identity);
        let people = self.participants.values().filter(|participant| !participant.is_agent()).count();
        let limit = self.info.max_participants as usize;
        if limit > 0
            && people >= limit
            && former.is_none()
            && joining.claims.participant().kind as i32 != proto::participant_info::Kind::Agent as i32
        {
            return Err(Refusal::new(500, "connection closed by media"));
        }
        if let Some(former) = former {
            // The others are told of the new sid alone, as livekit-server does.
            self.remove(former, DisconnectReason::DuplicateIdentity, Announce::No, cx);
        }
        let publisher = Peer::new(Self::connection(cx));
        let subscriber = (!joining.is_single).then(|| Peer::new(Self::connection(cx)));
        let mut participant = Participant::new(&joining, publisher, subscriber, cx);
        participant.hears_since = self.history.next();
        participant.missed = self.history.returned(&identity, cx.now.instant);
        self.last_participant += 1;
        let id = self.last_participant;
        self.participants.insert(id, participant);
        self.had_participants = true;
        self.counts_changed = true;
        self.update_emptiness(cx);
        cx.happened(Event::ParticipantJoined { room: self.info.name.clone(), identity, sdk: joining.sdk });

        let join = self.join_response(id);
        let participant = self.participants.get_mut(&id).expect("just inserted");
        participant.send(Message::Join(join), cx);
        participant.send_refreshed_token(cx);
        self.set_state(id, State::Joined, cx);
        for request in joining.add_tracks {
            self.add_track(id, &request, cx);
        }
        self.subscribe_to_everybody(id, cx);
        let participant = self.participants.get_mut(&id).expect("just inserted");
        let is_primary = participant.primary_target() == Target::Subscriber;
        if let Some(peer) = participant.subscriber.as_mut().filter(|_| is_primary) {
            peer.open_channels();
            // Offers' ids begin anywhere: a client must not read anything into them.
            peer.last_offer = cx.rng.u32(1..200);
        }
        if let Some(offer) = joining.publisher_offer {
            self.handle_offer(id, &offer, cx);
        }
        self.negotiate(id, cx);
        self.dirty.insert(id);
        Ok(id)
    }

    fn connection(cx: &Context<'_>) -> PeerConnection {
        let config = roomkey_rtc::Config::new().with_ice_lite(true).with_data_queue_limit(cx.settings.data_queue_limit);
        let mut connection = PeerConnection::new(&config, cx.now.instant);
        cx.settings.candidates().for_each(|candidate| connection.add_local_candidate(candidate));
        connection
    }

    fn join_response(&self, id: ParticipantId) -> proto::JoinResponse {
        let participant = &self.participants[&id];
        let others =
            self.participants.iter().filter(|(other, participant)| **other != id && !participant.permission.hidden);
        proto::JoinResponse {
            room: Some(self.info.clone()),
            participant: Some(participant.info()),
            other_participants: others.map(|(_, other)| other.info()).collect(),
            server_version: SERVER_VERSION.to_owned(),
            subscriber_primary: participant.primary_target() == Target::Subscriber,
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
            server_info: Some(server_info()),
            enabled_publish_codecs: VIDEO_CODECS.iter().chain(&AUDIO_CODECS).map(|mime| codec(mime)).collect(),
            fast_publish: true,
            ..Default::default()
        }
    }

    /// A client comes back to its participant, on a new websocket.
    pub(super) fn resume(&mut self, joining: &Joining, sid: &str, cx: &mut Context<'_>) -> Option<ParticipantId> {
        let identity = joining.claims.participant().identity;
        let id = self.by_identity(&identity)?;
        let participant = self.participants.get_mut(&id)?;
        if participant.is_single() != joining.is_single {
            return None;
        }
        // A sid that isn't this participant's is taken, as livekit-server does: the identity is what was verified.
        if sid != participant.sid {
            tracing::debug!(%identity, "resumed with another sid");
        }
        if let Some(old) = std::mem::replace(&mut participant.connection, joining.connection) {
            cx.effects.push_back(super::Effect::Close { connection: old });
            self.ended_connections.push(old);
        }
        participant.away_since = None;
        // What it was asked for may have gone down with the websocket.
        participant.required = Required::default();
        participant.speakers.clear();
        let reconnect = proto::ReconnectResponse {
            server_info: Some(server_info()),
            last_message_seq: participant.last_sequence,
            ..Default::default()
        };
        participant.send(Message::Reconnect(reconnect), cx);
        let everybody = self.visible_to(id);
        let room = self.info.clone();
        let participant = self.participants.get_mut(&id)?;
        participant.send(Message::Update(proto::ParticipantUpdate { participants: everybody }), cx);
        participant.send(Message::RoomUpdate(proto::RoomUpdate { room: Some(room) }), cx);
        participant.send_refreshed_token(cx);
        let is_primary = participant.primary_target() == Target::Subscriber;
        if let Some(peer) = participant.subscriber.as_mut().filter(|_| is_primary) {
            // An offer that was under way went down with the websocket.
            peer.awaits_answer = None;
            peer.connection.restart_ice();
        }
        cx.happened(Event::ParticipantResumed { room: self.info.name.clone(), identity });
        self.negotiate(id, cx);
        self.dirty.insert(id);
        Some(id)
    }

    // Telling.

    fn visible_to(&self, id: ParticipantId) -> Vec<proto::ParticipantInfo> {
        let visible =
            self.participants.iter().filter(|(other, participant)| **other == id || !participant.permission.hidden);
        visible.map(|(_, participant)| participant.info()).collect()
    }

    /// Tells everybody who may know of it, itself among them, what a participant has become.
    pub(super) fn announce(&mut self, id: ParticipantId, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.version += 1;
        let (info, is_hidden) = (participant.info(), participant.permission.hidden);
        for (other, receiver) in &self.participants {
            if !is_hidden || *other == id {
                receiver.send(update(info.clone()), cx);
            }
        }
    }

    pub(super) fn set_state(&mut self, id: ParticipantId, state: State, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.state as i32 >= state as i32 {
            return;
        }
        participant.state = state;
        participant.version += 1;
        if state == State::Active {
            let identity = participant.identity.clone();
            cx.happened(Event::ParticipantActive { room: self.info.name.clone(), identity });
            self.announce(id, cx);
        }
    }

    // Going.

    pub(super) fn connection_lost(&mut self, id: ParticipantId, connection: ConnectionId, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.connection != Some(connection) {
            return;
        }
        participant.connection = None;
        participant.away_since = Some(cx.now.instant);
        if participant.state != State::Active {
            self.remove(id, DisconnectReason::JoinFailure, Announce::Yes, cx);
        }
    }

    /// Takes a participant out of the room, and ends its websocket where it still has one.
    pub(super) fn remove(
        &mut self,
        id: ParticipantId,
        reason: DisconnectReason,
        announce: Announce,
        cx: &mut Context<'_>,
    ) {
        let Some(mut participant) = self.participants.remove(&id) else { return };
        self.dirty.remove(&id);
        self.departed.push(id);
        self.ended_connections.extend(participant.connection);
        // Who lost the way for a while, or did not read, may come back, as somebody new.
        let is_lost = matches!(reason, DisconnectReason::ConnectionTimeout | DisconnectReason::MediaFailure);
        let (identity, sid) = (&participant.identity, &participant.sid);
        self.history.departed(identity, sid, participant.hears_since, cx.now.instant);
        participant.send_leave(reason, if is_lost { Action::Reconnect } else { Action::Disconnect }, cx);
        participant.state = State::Disconnected;
        participant.version += 1;
        let publications = std::mem::take(&mut participant.publications);
        for publication in &publications {
            self.forget_subscriptions_to(publication.id, cx);
        }
        for subscription in std::mem::take(&mut participant.subscriptions) {
            if let Some((_, publication)) = self.publication_mut(subscription.publisher, subscription.publication) {
                publication.subscribers.retain(|subscriber| *subscriber != id);
            }
        }
        if matches!(announce, Announce::Yes) && !participant.permission.hidden {
            let info = participant.info();
            for receiver in self.participants.values() {
                receiver.send(update(info.clone()), cx);
            }
        }
        self.echo_departed(id);
        self.counts_changed = true;
        self.update_emptiness(cx);
        let (room, identity) = (self.info.name.clone(), participant.identity);
        cx.happened(Event::ParticipantLeft { room, identity, reason: reason.as_str_name() });
    }

    /// Everybody leaves, and the room ends.
    pub(super) fn close(&mut self, reason: DisconnectReason, cx: &mut Context<'_>) {
        self.is_closed = true;
        for id in self.participants.keys().copied().collect::<Vec<_>>() {
            self.remove(id, reason, Announce::No, cx);
        }
    }

    fn update_emptiness(&mut self, cx: &Context<'_>) {
        let has_people = self.participants.values().any(|participant| !participant.is_agent());
        if has_people {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = Some(cx.now.instant);
        }
    }

    // Packets of media and data.

    /// Whether a connectivity check is for this connection.
    pub(super) fn accepts(
        &self,
        id: ParticipantId,
        target: Target,
        protocol: Protocol,
        source: SocketAddr,
        to: SocketAddr,
        packet: &[u8],
    ) -> bool {
        let Some(participant) = self.participants.get(&id) else { return false };
        let peer = match target {
            Target::Publisher => Some(&participant.publisher),
            Target::Subscriber => participant.subscriber.as_ref(),
        };
        peer.is_some_and(|peer| match protocol {
            // The name first, which costs little.
            Protocol::Udp => peer.connection.is_checked_by(packet) && peer.connection.accepts(source, to, packet),
            Protocol::Tcp => peer.connection.is_checked_by(packet),
        })
    }

    pub(super) fn find(
        &self,
        protocol: Protocol,
        source: SocketAddr,
        to: SocketAddr,
        packet: &[u8],
    ) -> Option<(ParticipantId, Target)> {
        let targets = [Target::Publisher, Target::Subscriber];
        let mut seats = self.participants.keys().flat_map(|id| targets.map(|target| (*id, target)));
        seats.find(|(id, target)| self.accepts(*id, *target, protocol, source, to, packet))
    }

    pub(super) fn handle_packet(
        &mut self,
        id: ParticipantId,
        target: Target,
        protocol: Protocol,
        source: SocketAddr,
        packet: &[u8],
        cx: &Context<'_>,
    ) {
        let Some(peer) = self.participants.get_mut(&id).and_then(|participant| participant.peer_mut(target)) else {
            return;
        };
        peer.heard = Some(cx.now.instant);
        peer.connection.handle_packet(cx.now.instant, protocol, source, cx.settings.media_address, packet);
        self.dirty.insert(id);
    }
}

/// Whether those who stay are told that somebody left.
#[derive(Clone, Copy, Debug)]
pub(super) enum Announce {
    Yes,
    No,
}

fn update(info: proto::ParticipantInfo) -> Message {
    Message::Update(proto::ParticipantUpdate { participants: vec![info] })
}

fn codec(mime: &str) -> proto::Codec {
    proto::Codec { mime: mime.to_owned(), ..Default::default() }
}

pub(super) fn server_info() -> proto::ServerInfo {
    proto::ServerInfo {
        version: SERVER_VERSION.to_owned(),
        protocol: SERVER_PROTOCOL,
        node_id: "ND_roomkey".to_owned(),
        agent_protocol: AGENT_PROTOCOL,
        ..Default::default()
    }
}
