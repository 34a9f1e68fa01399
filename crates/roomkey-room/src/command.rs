//! What an application's handles ask of the room's task.

use livekit_protocol as proto;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::core::{LocalTrackId, OwnChange, TrackRequest, TrackSettings};
use crate::error::{PublishError, RoomError};
use crate::media::RtpOutlet;
use crate::names::TrackSid;
use crate::rpc::error::RpcError;
use crate::rpc::request::RpcRequest;
use crate::rpc_method::RpcMethod;
use crate::track_permission::ParticipantTrackPermission;

/// Makes a source's other end, and says what it is; none if there is one.
pub(crate) type Attach = Box<dyn FnOnce() -> Option<(Box<dyn RtpOutlet>, TrackRequest)> + Send>;

pub(crate) enum Command {
    Publish {
        id: LocalTrackId,
        /// Where its packets come from and what is asked of the server; none if its source is published already, which is
        /// known once earlier commands have been obeyed.
        attach: Attach,
        reply: oneshot::Sender<Result<TrackSid, PublishError>>,
    },
    Unpublish {
        id: LocalTrackId,
    },
    SetMuted {
        id: LocalTrackId,
        muted: bool,
    },
    SetSubscribed {
        track: TrackSid,
        subscribed: bool,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    SetTrackSettings {
        track: TrackSid,
        settings: TrackSettings,
    },
    SetSubscriptionPermission {
        is_for_all: bool,
        permissions: Vec<ParticipantTrackPermission>,
    },
    RequestKeyframe {
        track: TrackSid,
    },
    ChangeOwn {
        change: OwnChange,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    Call {
        number: u64,
        request: RpcRequest,
        reply: oneshot::Sender<Result<String, RpcError>>,
    },
    CancelCall {
        number: u64,
    },
    /// `None` takes the method away.
    SetMethod {
        name: String,
        method: Option<RpcMethod>,
    },
    /// Data that is lost rather than waited for.
    Lossy {
        packet: Box<proto::DataPacket>,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    /// Whether what this client sends is encrypted end to end.
    SetEncryptionEnabled {
        enabled: bool,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    NetworkChanged,
    /// Breaks the websocket off, for tests of what happens then.
    CutWebsocket,
    Leave,
}

/// Reliable data, which waits for its turn: all of it in one queue, so that it goes out in the order in which it was asked for.
pub(crate) struct ReliableData {
    pub(crate) packet: Box<proto::DataPacket>,
    pub(crate) reply: oneshot::Sender<Result<(), RoomError>>,
    /// A place in the queue. Only the end of a stream goes without: it is not waited for, and sent although nobody waits.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl ReliableData {
    /// Whether whoever sends it has given the wait up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.place.is_some() && self.reply.is_closed()
    }
}
