//! What the core tells the shell, which tells the application.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as proto;
use roomkey_rtc::{IncomingRtp, Rid};
use roomkey_signal::ParticipantToken;

use super::LocalTrackId;
use crate::connect_error::ConnectError;
use crate::connection_state::{ConnectionState, DisconnectReason};
use crate::data_stream::reader::StreamReader;
use crate::encryption::EncryptionState;
use crate::names::{ParticipantIdentity, TrackSid};
use crate::participant::Participant;
use crate::publication::TrackPublication;
use crate::rpc::endpoint::InvocationId;
use crate::rpc::request::RpcInvocation;

type Who = Arc<Participant>;
type Track = Arc<TrackPublication>;

pub(crate) enum Happened {
    /// The first join has succeeded.
    Connected,
    ConnectFailed(ConnectError),
    StateChanged(ConnectionState),
    /// The server gave a newer token.
    TokenRefreshed(ParticipantToken),
    RoundTripTime(Duration),
    RoomChanged(Box<proto::Room>),
    /// This client is in another room.
    RoomMoved(Box<proto::Room>),
    ParticipantConnected(Who),
    ParticipantActive(Who),
    ParticipantDisconnected(Who, DisconnectReason),
    ParticipantMetadataChanged(Who, String),
    ParticipantNameChanged(Who, String),
    ParticipantAttributesChanged(Who, HashMap<String, String>),
    ParticipantPermissionChanged(Who),
    /// Anything else about it.
    ParticipantUpdated(Who),
    TrackPublished(Who, Track),
    TrackUnpublished(Who, Track),
    TrackSubscribed(Who, Track),
    TrackUnsubscribed(Who, Track),
    TrackSubscriptionFailed(TrackSid),
    TrackSubscriptionAllowed(Who, Track),
    TrackStreamStateChanged(Who, Track),
    TrackMuted(Who, Track),
    TrackUnmuted(Who, Track),
    ActiveSpeakersChanged(Vec<Who>),
    ConnectionQualityChanged(Who),
    LocalTrackPublished(LocalTrackId, Track),
    LocalTrackRepublished(LocalTrackId, Track, TrackSid),
    LocalTrackUnpublished(LocalTrackId, Track),
    /// Somebody receives a track of ours.
    LocalTrackSubscribed(Track),
    /// The server wants a track of ours muted or not.
    LocalTrackMuted(LocalTrackId, Track),
    /// Which layers of a track of ours anybody wants, by quality from low to high.
    SubscribedQualities(LocalTrackId, [bool; 3]),
    KeyframeRequested(LocalTrackId, Option<Rid>),
    Rtp(TrackSid, IncomingRtp),
    /// A packet of data from somebody: whether it came on the reliable channel, the sender, and what is in it.
    Packet {
        is_reliable: bool,
        sender: ParticipantIdentity,
        participant: Option<Who>,
        value: proto::data_packet::Value,
        /// Whether it was encrypted end to end.
        is_encrypted: bool,
    },
    /// Whether somebody's data can be decrypted is another thing than it was.
    DataEncryptionChanged(ParticipantIdentity, EncryptionState),
    StreamOpened(StreamReader),
    RpcInvoked(InvocationId, RpcInvocation),
}
