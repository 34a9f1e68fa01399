//! The room, as an application holds it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use hyper::header::HeaderValue;
use roomkey_signal::{ParticipantToken, ServerUrl};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::clock;
use crate::command::{Command, ReliableData};
use crate::connect_error::{ConnectError, ConnectErrorKind};
use crate::connection_state::ConnectionState;
use crate::core::{Core, TrackSettings};
use crate::encryption::{KeyProvider, RoomEncryption};
use crate::error::RoomError;
use crate::event::{Broadcast, RoomEvents};
use crate::local_participant::LocalParticipant;
use crate::local_sids::LocalSids;
use crate::media::Sinks;
use crate::names::{ParticipantIdentity, TrackSid};
use crate::options::RoomBuilder;
use crate::participant::{Participant, Participants};
use crate::publication::TrackSource;
use crate::remote_track::RemoteTrack;
use crate::room_info::RoomInfo;
use crate::rpc_method::RpcMethods;
use crate::task::{Io, Task};
use crate::token_times::TokenTimes;
use crate::video_settings::VideoSettings;

/// A room that has been joined: a cheap handle. When the last one is dropped, the room is left.
///
/// One task does the work; handles send it what they want and read snapshots that it makes. It needs a tokio runtime
/// with time and network.
#[derive(Clone)]
pub struct Room {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) data: mpsc::UnboundedSender<ReliableData>,
    pub(crate) places: Arc<Semaphore>,
    events: Arc<Broadcast>,
    sinks: Arc<Sinks>,
    state: watch::Receiver<ConnectionState>,
    pub(crate) participants: watch::Receiver<Arc<Participants>>,
    info: watch::Receiver<Arc<RoomInfo>>,
    token: watch::Receiver<TokenTimes>,
    pub(crate) local_sids: Arc<LocalSids>,
    encryption: Option<Arc<RoomEncryption>>,
    last_number: AtomicU64,
}

/// Messages that wait for their turn.
const DATA_QUEUE: usize = 16;

impl Room {
    /// Joins the room that the token names, with the defaults of [`builder`](Self::builder).
    ///
    /// Dropping the future gives the join up.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(server_url: &str, participant_token: &str) -> Result<Self, ConnectError> {
        Self::builder().connect(server_url, participant_token).await
    }

    /// How to join, in detail.
    pub fn builder() -> RoomBuilder {
        RoomBuilder::default()
    }

    pub(crate) async fn join(options: &RoomBuilder, server_url: &str, token: &str) -> Result<Self, ConnectError> {
        let server_url = ServerUrl::parse(server_url)?;
        // A line feed that a file ends with, most likely.
        if let Err(error) = HeaderValue::from_str(token) {
            return Err(ConnectError::from(ConnectErrorKind::NotAllowed).with_cause(Some(error.into())));
        }
        let settings = options.settings();
        let encryption = settings.encryption.clone();
        let mut core = Core::new(
            settings,
            server_url.clone(),
            ParticipantToken::new(token),
            fastrand::u64(..),
            clock::now(),
            clock::unix_time(),
        );
        if let Some(list) = options.region_cache.get(&server_url) {
            core.know_regions(list);
        }
        let (commands, commands_of_task) = mpsc::unbounded_channel();
        let (data, data_of_task) = mpsc::unbounded_channel();
        let (connected, is_connected) = oneshot::channel();
        let (state_of_task, state) = watch::channel(ConnectionState::Connected);
        let (participants_of_task, participants) = watch::channel(Arc::default());
        let (info_of_task, info) = watch::channel(Arc::default());
        let (token_of_task, token) = watch::channel(TokenTimes::of(token, clock::system_time()));
        let events = Arc::new(Broadcast::new());
        let sinks = Arc::new(Sinks::default());
        let local_sids = Arc::new(LocalSids::default());
        if let Some(encryption) = &encryption {
            encryption.reports.set_waker(sinks.waker());
        }
        let task = Task {
            core,
            commands: commands_of_task,
            own_commands: commands.downgrade(),
            data: data_of_task,
            events: Arc::clone(&events),
            sinks: Arc::clone(&sinks),
            local_sids: Arc::clone(&local_sids),
            state: state_of_task,
            participants: participants_of_task,
            info: info_of_task,
            token: token_of_task,
            connected: Some(connected),
            tls: options.tls_for(&server_url),
            server_url,
            region_cache: Arc::clone(&options.region_cache),
            local_addresses: options.local_addresses.clone(),
            methods: RpcMethods::default(),
            encryption: encryption.clone(),
            encryption_states: std::collections::HashMap::new(),
            io: Io::default(),
        };
        let last_number = AtomicU64::new(0);
        let room = Self {
            shared: Arc::new(Shared {
                commands,
                data,
                places: Arc::new(Semaphore::new(DATA_QUEUE)),
                events,
                sinks,
                state,
                participants,
                info,
                token,
                local_sids,
                encryption,
                last_number,
            }),
        };
        // It ends by itself when the last handle is dropped.
        tokio::spawn(Box::new(task).run());
        is_connected.await.map_err(|_| ConnectError::from(ConnectErrorKind::Cancelled))??;
        Ok(room)
    }

    /// A stream of what happens from now on. The first stream begins with what happened since the join began, so that
    /// nothing is missed between [`connect`](Self::connect) and this call.
    #[doc(alias = "subscribe")]
    pub fn events(&self) -> RoomEvents {
        self.shared.events.listen()
    }

    /// Whether the room is connected, now and later.
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.clone()
    }

    /// Everybody in the room, now and later.
    pub fn participants(&self) -> watch::Receiver<Arc<Participants>> {
        self.shared.participants.clone()
    }

    /// What the server says of the room, now and later.
    pub fn info(&self) -> watch::Receiver<Arc<RoomInfo>> {
        self.shared.info.clone()
    }

    /// From when until when the token is good that the room is come back to with, now and later: the server sends newer ones.
    pub fn token(&self) -> watch::Receiver<TokenTimes> {
        self.shared.token.clone()
    }

    /// A handle that does not keep the room.
    pub fn downgrade(&self) -> WeakRoom {
        WeakRoom(Arc::downgrade(&self.shared))
    }

    /// The name of the room.
    pub fn name(&self) -> String {
        self.shared.info.borrow().name.clone()
    }

    /// This client: what it publishes and sends.
    pub fn local_participant(&self) -> LocalParticipant {
        LocalParticipant { shared: Arc::clone(&self.shared) }
    }

    /// The others, in the order in which they came into view.
    pub fn remote_participants(&self) -> Vec<Arc<Participant>> {
        self.shared.participants.borrow().remote().cloned().collect()
    }

    /// The participant of this identity, this client included.
    pub fn participant(&self, identity: &ParticipantIdentity) -> Option<Arc<Participant>> {
        self.shared.participants.borrow().get(identity).cloned()
    }

    /// A track that comes in; `None` unless it is subscribed to now.
    pub fn track(&self, sid: &TrackSid) -> Option<RemoteTrack> {
        let participants = self.shared.participants.borrow();
        let found = |participant: &Arc<Participant>| participant.publication(sid).is_some();
        let participant = participants.remote.values().find(|participant| found(participant))?;
        let publication = participant.publication(sid)?;
        publication.is_subscribed.then(|| RemoteTrack {
            sid: sid.clone(),
            kind: publication.kind,
            is_encrypted: publication.is_encrypted,
            publisher: participant.identity.clone(),
            encryption: self.shared.encryption.clone(),
            sinks: Arc::clone(&self.shared.sinks),
            commands: self.shared.commands.downgrade(),
        })
    }

    /// Somebody's track of this source; `None` unless it is subscribed to now.
    pub fn track_of(&self, identity: &ParticipantIdentity, source: TrackSource) -> Option<RemoteTrack> {
        let sid = self.participant(identity)?.publication_of(source)?.sid.clone();
        self.track(&sid)
    }

    /// Subscribes to a track, or ends a subscription.
    ///
    /// The answer comes when the request is on its way; `TrackSubscribed` follows. Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`RoomError::NotFound`], [`RoomError::Disconnected`].
    pub async fn set_subscribed(&self, track: &TrackSid, subscribed: bool) -> Result<(), RoomError> {
        let (reply, answer) = oneshot::channel();
        self.shared.command(Command::SetSubscribed { track: track.clone(), subscribed, reply })?;
        answer.await.map_err(|_| RoomError::Disconnected)?
    }

    /// Says which size of a video that comes in is wanted, and whether it is wanted now.
    ///
    /// # Errors
    ///
    /// [`RoomError::Disconnected`].
    pub fn set_video_settings(&self, track: &TrackSid, settings: VideoSettings) -> Result<(), RoomError> {
        let settings = TrackSettings::from(settings);
        self.shared.command(Command::SetTrackSettings { track: track.clone(), settings })
    }

    /// Whether what this client sends is encrypted end to end. It is from the join on where the room
    /// [has keys](crate::RoomBuilder::encryption), until [that changes](Self::set_encryption_enabled).
    #[doc(alias = "is_e2ee_enabled")]
    pub fn is_encryption_enabled(&self) -> bool {
        self.shared.encryption.as_ref().is_some_and(|encryption| encryption.is_enabled())
    }

    /// Encrypts what this client sends from now on, or does not. Its tracks are published anew, since the server tells the others
    /// with each publication whether it is encrypted ([`LocalTrackRepublished`](crate::RoomEvent::LocalTrackRepublished) follows).
    /// What others send is decrypted either way.
    ///
    /// When this returns, nothing more goes out in the old way. Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`RoomError::Disconnected`]; [`RoomError::Invalid`] if the room was joined without
    /// [`encryption`](crate::RoomBuilder::encryption).
    #[doc(alias = "set_e2ee_enabled")]
    pub async fn set_encryption_enabled(&self, enabled: bool) -> Result<(), RoomError> {
        let (reply, answer) = oneshot::channel();
        self.shared.command(Command::SetEncryptionEnabled { enabled, reply })?;
        answer.await.map_err(|_| RoomError::Disconnected)?
    }

    /// Where the keys are, if the room was joined [with some](crate::RoomBuilder::encryption).
    pub fn key_provider(&self) -> Option<KeyProvider> {
        Some(self.shared.encryption.as_ref()?.options.key_provider.clone())
    }

    /// The machine's network is another one: reconnects at once rather than when the loss is noticed.
    pub fn network_changed(&self) {
        // A room that is over has no use for it.
        let _ = self.shared.command(Command::NetworkChanged);
    }

    /// Breaks off the signalling connection, as a bad network would, so that an application can see what it does then.
    pub fn simulate_signal_loss(&self) {
        let _ = self.shared.command(Command::CutWebsocket);
    }

    /// Leaves the room, and waits until it is left: the server is told, for a second at most. A room that is over is
    /// left already.
    ///
    /// Dropping the future does not stay in the room.
    pub async fn close(&self) {
        let _ = self.shared.command(Command::Leave);
        let mut state = self.connection_state();
        // A task that ended has said so before.
        let _ = state.wait_for(|state| state.is_disconnected()).await;
    }
}

/// A handle that does not keep the room: for what the room itself keeps, such as a method.
#[derive(Clone)]
pub struct WeakRoom(Weak<Shared>);

impl WeakRoom {
    /// The room, while somebody keeps it.
    pub fn upgrade(&self) -> Option<Room> {
        self.0.upgrade().map(|shared| Room { shared })
    }
}

impl fmt::Debug for WeakRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakRoom").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn command(&self, command: Command) -> Result<(), RoomError> {
        self.commands.send(command).map_err(|_| RoomError::Disconnected)
    }

    /// Of no room, for tests of what handles do with these snapshots. Commands are refused.
    #[cfg(test)]
    pub(crate) fn detached(participants: watch::Receiver<Arc<Participants>>) -> Self {
        Self {
            commands: mpsc::unbounded_channel().0,
            data: mpsc::unbounded_channel().0,
            places: Arc::new(Semaphore::new(DATA_QUEUE)),
            events: Arc::new(Broadcast::new()),
            sinks: Arc::default(),
            state: watch::channel(ConnectionState::Connected).1,
            participants,
            info: watch::channel(Arc::default()).1,
            token: watch::channel(TokenTimes::of("", clock::system_time())).1,
            local_sids: Arc::default(),
            encryption: None,
            last_number: AtomicU64::new(0),
        }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name())
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}
