//! Somebody in a room: who they are, what they may do, their connections, tracks and subscriptions.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;
use roomkey_token::{Claims, ParticipantClaims};

use super::history::Missed;
use super::negotiation::Required;
use super::peer::Peer;
use super::publication::{Publication, PublicationId};
use super::subscription::Subscription;
use super::{ConnectionId, Context, Effect, Joining};

/// A participant's number within its room, in the order of joining.
pub(super) type ParticipantId = u64;

/// Which of a participant's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// The one that the client offers; the only one of a client with a single connection.
    Publisher,
    /// The one that the server offers, to a client with two.
    Subscriber,
}

#[derive(Debug)]
pub(super) struct Participant {
    pub(super) sid: String,
    pub(super) identity: String,
    pub(super) name: String,
    pub(super) metadata: String,
    pub(super) attributes: HashMap<String, String>,
    pub(super) permission: proto::ParticipantPermission,
    kind: i32,
    kind_details: Vec<i32>,
    pub(super) state: State,
    pub(super) joined_at_ms: i64,
    pub(super) version: u32,
    pub(super) disconnect_reason: proto::DisconnectReason,
    client_protocol: i32,
    capabilities: Vec<i32>,
    pub(super) claims: Claims,
    /// The sections that its client is about to offer.
    pub(super) required: Required,
    /// Where its messages go; nothing while the client is away.
    pub(super) connection: Option<ConnectionId>,
    pub(super) joined_at: Instant,
    /// Since when the client's websocket is gone.
    pub(super) away_since: Option<Instant>,
    pub(super) token_refreshed: Instant,
    pub(super) auto_subscribe: bool,
    pub(super) publisher: Peer,
    pub(super) subscriber: Option<Peer>,
    pub(super) publications: Vec<Publication>,
    /// Tracks that wait for the end of one with the same cid.
    pub(super) queued: Vec<Publication>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Tracks that it has asked for, or asked not to have, whatever it has of them.
    pub(super) wishes: HashMap<PublicationId, bool>,
    /// Who may subscribe to its tracks; nothing where everybody may.
    pub(super) allowed_subscribers: Option<Vec<proto::TrackPermission>>,
    /// The first packet of the room's history that was sent to it.
    pub(super) hears_since: u64,
    /// What was sent to it when it was another participant.
    pub(super) missed: Option<Missed>,
    /// The last reliable sequence that came.
    pub(super) last_sequence: u32,
    /// Who it was told to speak, and how loud.
    pub(super) speakers: BTreeMap<ParticipantId, f32>,
}

impl Participant {
    pub(super) fn new(joining: &Joining, publisher: Peer, subscriber: Option<Peer>, cx: &mut Context<'_>) -> Self {
        let from_claims = joining.claims.participant();
        Self {
            sid: crate::ids::draw("PA_", cx.rng),
            permission: permission_of(&from_claims),
            kind: from_claims.kind as i32,
            kind_details: from_claims.kind_details.iter().map(|detail| *detail as i32).collect(),
            identity: from_claims.identity,
            name: from_claims.name,
            metadata: from_claims.metadata,
            attributes: from_claims.attributes.into_iter().collect(),
            state: State::Joining,
            joined_at_ms: cx.now.unix_ms(),
            version: 0,
            disconnect_reason: proto::DisconnectReason::UnknownReason,
            client_protocol: joining.client_protocol,
            capabilities: joining.capabilities.clone(),
            claims: joining.claims.clone(),
            required: Required::default(),
            connection: joining.connection,
            joined_at: cx.now.instant,
            away_since: None,
            token_refreshed: cx.now.instant,
            auto_subscribe: joining.auto_subscribe,
            publisher,
            subscriber,
            publications: Vec::new(),
            queued: Vec::new(),
            subscriptions: Vec::new(),
            wishes: HashMap::new(),
            allowed_subscribers: None,
            hears_since: 0,
            missed: None,
            last_sequence: 0,
            speakers: BTreeMap::new(),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        self.subscriber.is_none()
    }

    /// Whether it is told when this participant speaks: it is the same, or sends it a track.
    pub(super) fn hears(&self, own: ParticipantId, speaker: ParticipantId) -> bool {
        own == speaker || self.subscriptions.iter().any(|subscription| subscription.publisher == speaker)
    }

    pub(super) fn is_agent(&self) -> bool {
        self.kind == proto::participant_info::Kind::Agent as i32
    }

    /// Whether it may send texts that are somebody else's words: it is an agent, by its kind or by its grant.
    #[expect(deprecated, reason = "livekit-server reads the grant all the same")]
    pub(super) fn speaks_for_others(&self) -> bool {
        self.is_agent() || self.permission.agent
    }

    pub(super) fn peer_mut(&mut self, target: Target) -> Option<&mut Peer> {
        match target {
            Target::Publisher => Some(&mut self.publisher),
            Target::Subscriber => self.subscriber.as_mut(),
        }
    }

    /// The connection that tracks reach this participant on.
    pub(super) fn downstream(&mut self) -> &mut Peer {
        self.subscriber.as_mut().unwrap_or(&mut self.publisher)
    }

    pub(super) fn downstream_target(&self) -> Target {
        if self.is_single() { Target::Publisher } else { Target::Subscriber }
    }

    /// The connection that is there from the beginning, and carries the data: of a client with two that may not
    /// subscribe it is the one that it offers, as in livekit-server.
    pub(super) fn primary_target(&self) -> Target {
        if self.permission.can_subscribe { self.downstream_target() } else { Target::Publisher }
    }

    pub(super) fn primary(&mut self) -> &mut Peer {
        match self.primary_target() {
            Target::Subscriber => self.downstream(),
            Target::Publisher => &mut self.publisher,
        }
    }

    /// What others are told of it.
    pub(super) fn info(&self) -> proto::ParticipantInfo {
        let public = self.publications.iter().filter(|publication| publication.is_public);
        let tracks: Vec<_> = public.map(|publication| publication.info.clone()).collect();
        proto::ParticipantInfo {
            sid: self.sid.clone(),
            identity: self.identity.clone(),
            state: self.state as i32,
            is_publisher: !tracks.is_empty(),
            tracks,
            metadata: self.metadata.clone(),
            joined_at: self.joined_at_ms / 1000,
            joined_at_ms: self.joined_at_ms,
            name: self.name.clone(),
            version: self.version,
            permission: Some(self.permission.clone()),
            kind: self.kind,
            kind_details: self.kind_details.clone(),
            attributes: self.attributes.clone(),
            disconnect_reason: self.disconnect_reason as i32,
            client_protocol: self.client_protocol,
            capabilities: self.capabilities.clone(),
            ..Default::default()
        }
    }

    pub(super) fn send(&self, message: Message, cx: &mut Context<'_>) {
        if let Some(connection) = self.connection {
            cx.effects.push_back(Effect::Send { connection, message });
        }
    }

    /// Ends its websocket with a reason.
    pub(super) fn send_leave(
        &mut self,
        reason: proto::DisconnectReason,
        action: proto::leave_request::Action,
        cx: &mut Context<'_>,
    ) {
        self.disconnect_reason = reason;
        let leave = proto::LeaveRequest { reason: reason as i32, action: action as i32, ..Default::default() };
        self.send(Message::Leave(leave), cx);
        if let Some(connection) = self.connection.take() {
            cx.effects.push_back(Effect::Close { connection });
        }
    }

    /// A token with the name, metadata and attributes of this moment.
    pub(super) fn send_refreshed_token(&mut self, cx: &mut Context<'_>) {
        self.token_refreshed = cx.now.instant;
        self.claims.name.clone_from(&self.name);
        self.claims.metadata.clone_from(&self.metadata);
        self.claims.attributes = self.attributes.clone().into_iter().collect();
        match cx.keys.refresh(&self.claims, cx.now.wall) {
            Ok(token) => self.send(Message::RefreshToken(token), cx),
            // The claims came out of a token, so this is a token that no server of ours would have signed.
            Err(error) => tracing::warn!(identity = %self.identity, %error, "can't refresh a token"),
        }
    }

    /// Whether `subscriber` may have the track.
    pub(super) fn allows(&self, subscriber: &Self, track_sid: &str) -> bool {
        let Some(allowed) = &self.allowed_subscribers else { return true };
        allowed.iter().any(|permission| {
            (permission.participant_sid == subscriber.sid || permission.participant_identity == subscriber.identity)
                && (permission.all_tracks || permission.track_sids.iter().any(|sid| sid == track_sid))
        })
    }

    /// Whether it wants the track, as far as it has said.
    pub(super) fn wants(&self, publication: PublicationId) -> bool {
        self.wishes.get(&publication).copied().unwrap_or(self.auto_subscribe)
    }

    pub(super) fn may_publish(&self, source: i32) -> bool {
        let sources = &self.permission.can_publish_sources;
        self.permission.can_publish && (sources.is_empty() || sources.contains(&source))
    }

    /// When either connection wants to be driven.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let subscriber = self.subscriber.as_ref().and_then(|peer| peer.timeout);
        self.publisher.timeout.into_iter().chain(subscriber).min()
    }

    /// When the client was last heard, on any connection.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.publisher.heard.max(self.subscriber.as_ref().and_then(|peer| peer.heard))
    }
}

fn permission_of(claims: &ParticipantClaims) -> proto::ParticipantPermission {
    let permission = &claims.permission;
    #[expect(deprecated, reason = "older clients read recorder and agent here")]
    proto::ParticipantPermission {
        can_subscribe: permission.can_subscribe,
        can_publish: permission.can_publish,
        can_publish_data: permission.can_publish_data,
        can_publish_sources: permission.can_publish_sources.iter().map(|source| *source as i32).collect(),
        hidden: permission.hidden,
        recorder: permission.recorder,
        can_update_metadata: permission.can_update_metadata,
        agent: permission.agent,
        can_subscribe_metrics: permission.can_subscribe_metrics,
        can_manage_agent_session: permission.can_manage_agent_session,
    }
}
