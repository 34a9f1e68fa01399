//! This client in the room: what it sends.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use livekit_protocol as proto;
use proto::data_packet::Value;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::command::{Command, ReliableData};
use crate::core::OwnChange;
use crate::error::RoomError;
use crate::names::ParticipantIdentity;
use crate::participant::Participant;
use crate::room::Shared;
use crate::rpc::error::RpcError;
use crate::rpc::request::{RpcInvocation, RpcRequest};
use crate::rpc_method;
use crate::track_permission::ParticipantTrackPermission;

/// This client: a handle to publish and send with. It keeps the room, as the room's own handle does.
#[derive(Clone)]
pub struct LocalParticipant {
    pub(crate) shared: Arc<Shared>,
}

/// A message for others in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct DataPacket {
    payload: Vec<u8>,
    topic: Option<String>,
    is_reliable: bool,
    destination_identities: Vec<ParticipantIdentity>,
}

impl DataPacket {
    /// A reliable message for everybody.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), topic: None, is_reliable: true, destination_identities: Vec::new() }
    }

    /// Whether it is sent until it arrives, in order; on by default. Else it is sent once, at once.
    pub fn reliable(self, is_reliable: bool) -> Self {
        Self { is_reliable, ..self }
    }

    /// What it is about.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        Self { topic: Some(topic.into()), ..self }
    }

    /// For somebody alone; can be called again for more.
    pub fn to(mut self, identity: impl Into<ParticipantIdentity>) -> Self {
        self.destination_identities.push(identity.into());
        self
    }
}

impl LocalParticipant {
    /// What is known of this client now.
    pub fn info(&self) -> Arc<Participant> {
        self.shared.participants.borrow().local.clone().unwrap_or_else(|| Arc::new(Participant::new("", "")))
    }

    /// Who this client is.
    pub fn identity(&self) -> ParticipantIdentity {
        self.info().identity.clone()
    }

    /// Sends a message of at most 64,000 bytes; LiveKit recommends 15,000 and less, and a stream for what is larger.
    ///
    /// A reliable one waits while too much is on its way, and during a reconnect until the room is back. When this
    /// returns, it will arrive, once and in order, unless the room ends before. One that is not reliable is sent once, at once,
    /// and lost where there is no connection or the network is full.
    ///
    /// Dropping the future while it waits sends nothing, unless the room sends it in that very moment.
    ///
    /// # Errors
    ///
    /// [`RoomError::Disconnected`], [`RoomError::NotAllowed`], [`RoomError::TooLarge`].
    pub async fn publish_data(&self, packet: DataPacket) -> Result<(), RoomError> {
        let DataPacket { payload, topic, is_reliable, destination_identities } = packet;
        let packet = proto::DataPacket {
            destination_identities: destination_identities.into_iter().map(String::from).collect(),
            value: Some(Value::User(proto::UserPacket { payload, topic, ..Default::default() })),
            ..Default::default()
        };
        if is_reliable {
            return self.shared.send(packet).await;
        }
        let (reply, answer) = oneshot::channel();
        self.shared.command(Command::Lossy { packet: Box::new(packet), reply })?;
        answer.await.map_err(|_| RoomError::Disconnected)?
    }

    /// Calls a method of somebody, and waits for the answer.
    ///
    /// Dropping the future does not call the call back; its answer is passed over.
    ///
    /// # Errors
    ///
    /// What the method answered, or why there is no answer; see [`RpcError`]'s codes.
    pub async fn perform_rpc(&self, request: RpcRequest) -> Result<String, RpcError> {
        let (reply, answer) = oneshot::channel();
        let number = self.shared.next_number();
        let call = Command::Call { number, request, reply };
        self.shared.command(call).map_err(|_| RpcError::of(RpcError::SEND_FAILED))?;
        // Of a call that was answered there is nothing to forget.
        let _forget = ForgetCall { shared: &self.shared, number };
        answer.await.map_err(|_| RpcError::of(RpcError::RECIPIENT_DISCONNECTED))?
    }

    /// Lets others call a method of this client, in the place of one of the same name. Calls run beside each other, on the
    /// runtime of the room, and end with it; one that panics is answered with [`RpcError::APPLICATION_ERROR`].
    ///
    /// A method that keeps the room by a handle keeps it for as long as it is registered: give it a
    /// [`WeakRoom`](crate::WeakRoom).
    pub fn register_rpc_method<F, R>(&self, name: impl Into<String>, method: F)
    where
        F: Fn(RpcInvocation) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, RpcError>> + Send + 'static,
    {
        let method = Some(rpc_method::method(method));
        // A room that is over is called by nobody.
        let _ = self.shared.command(Command::SetMethod { name: name.into(), method });
    }

    /// Takes a method away; calls of it that go on can still answer.
    pub fn unregister_rpc_method(&self, name: impl Into<String>) {
        let _ = self.shared.command(Command::SetMethod { name: name.into(), method: None });
    }

    /// Says who may subscribe to this client's tracks: everybody to all of them, or these participants to what is theirs, and
    /// nobody else. What was said before does not count any more. Unless it is said, everybody may.
    ///
    /// The server ends the subscriptions of who may not have a track any more, and tells both; it begins those of who may and
    /// want it. The room says it again after a resume and, with the tracks' new sids, after a join anew. Tracks that are
    /// published later are for who may have all.
    ///
    /// # Errors
    ///
    /// [`RoomError::Disconnected`]; [`RoomError::Invalid`] for a permission without an identity, which livekit-server refuses.
    pub fn set_track_subscription_permissions(
        &self,
        all_participants_allowed: bool,
        permissions: Vec<ParticipantTrackPermission>,
    ) -> Result<(), RoomError> {
        if permissions.iter().any(|permission| permission.participant_identity.is_empty()) {
            return Err(RoomError::Invalid("a permission has to name a participant"));
        }
        let is_for_all = all_participants_allowed;
        self.shared.command(Command::SetSubscriptionPermission { is_for_all, permissions })
    }

    /// Changes this client's metadata.
    ///
    /// Returns when the change has come back from the server, at once where nothing changes. Dropping the future does not undo
    /// it.
    ///
    /// # Errors
    ///
    /// [`RoomError::NotAllowed`] unless the token has `canUpdateOwnMetadata`, [`RoomError::Timeout`] after 5 s,
    /// [`RoomError::Refused`], [`RoomError::Disconnected`]; [`RoomError::Invalid`] for an empty text in the place of another
    /// one: livekit-server takes none away.
    pub async fn set_metadata(&self, metadata: impl Into<String>) -> Result<(), RoomError> {
        self.change(OwnChange { metadata: Some(metadata.into()), ..OwnChange::default() }).await
    }

    /// Changes this client's name. For the rest see [`set_metadata`](Self::set_metadata).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_name(&self, name: impl Into<String>) -> Result<(), RoomError> {
        self.change(OwnChange { name: Some(name.into()), ..OwnChange::default() }).await
    }

    /// Changes attributes of this client; those that are not named stay, an empty value takes one away. For the rest see
    /// [`set_metadata`](Self::set_metadata).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_attributes(&self, attributes: HashMap<String, String>) -> Result<(), RoomError> {
        self.change(OwnChange { attributes, ..OwnChange::default() }).await
    }

    async fn change(&self, change: OwnChange) -> Result<(), RoomError> {
        let (reply, answer) = oneshot::channel();
        self.shared.command(Command::ChangeOwn { change, reply })?;
        answer.await.map_err(|_| RoomError::Disconnected)?
    }
}

struct ForgetCall<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for ForgetCall<'_> {
    fn drop(&mut self) {
        let _ = self.shared.command(Command::CancelCall { number: self.number });
    }
}

impl Shared {
    /// Sends a packet reliably. Dropping the future while it waits sends nothing.
    pub(crate) async fn send(&self, packet: proto::DataPacket) -> Result<(), RoomError> {
        let place = self.place().await?;
        let answer = self.enqueue(packet, Some(place))?;
        answer.await.map_err(|_| RoomError::Disconnected)?
    }

    /// Waits until the queue of reliable data has a place.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, RoomError> {
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| RoomError::Disconnected)
    }

    /// Puts a packet into the queue of reliable data; what is given back says what became of it. With a place, dropping that
    /// takes the packet back.
    pub(crate) fn enqueue(
        &self,
        packet: proto::DataPacket,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Sent, RoomError> {
        let (reply, answer) = oneshot::channel();
        let data = ReliableData { packet: Box::new(packet), reply, place };
        self.data.send(data).map_err(|_| RoomError::Disconnected)?;
        Ok(answer)
    }
}

/// What becomes of a packet in the queue.
pub(crate) type Sent = oneshot::Receiver<Result<(), RoomError>>;

impl fmt::Debug for LocalParticipant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalParticipant").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
