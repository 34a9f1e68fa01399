//! The room behind a session: one task for each, which joins it, tells what happens in it, and does what it is told.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use roomkey_room::{
    ByteStreamOptions, ByteStreamReader, LocalParticipant, LocalTrack, LocalTrackPublication, Participant,
    Participants, Recording, Room, RoomBuilder, RoomEvent, RoomEvents, RoomInfo, RpcError, RpcRequest, SendStreamError,
    StreamError, TextOperation, TextStreamOptions, TextStreamReader, TokenTimes, TrackSid, TranscriptionSegment,
};
use roomkey_source::Credentials;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::core::{
    CHAT_TOPIC, IncomingFile, Input, LEGACY_CHAT_TOPIC, LegacySegment, MAX_FILE, OutgoingText, RoomId, RoomInput,
    StreamKey, TRANSCRIPTION_TOPIC, TextHeader,
};
use crate::error::{EncryptionError, SendError};
use crate::plug_ins::PlugIns;
use crate::preconnect_stream;
use crate::rpc::Methods;
use crate::session::Boxed;
use crate::start_options::StartMedia;
use crate::text_streams::Topics;
use crate::transfer::{Transfer, Transfers};

/// What a room is told.
pub(crate) enum ToRoom {
    Publish { media: StartMedia, has_preconnect: bool },
    SendText(OutgoingText),
    SendPreconnect { recording: Arc<Recording>, track: TrackSid, agent: roomkey_room::ParticipantIdentity },
    FinishPreconnect,
    DropPreconnect,
    Call { request: RpcRequest, reply: oneshot::Sender<Result<String, RpcError>> },
    ReconnectNow,
    Leave,
}

/// Makes a join with these credentials take less time, before it begins.
pub(crate) type WarmUp = Arc<dyn Fn(Credentials) -> Boxed<()> + Send + Sync>;

/// Joins rooms.
pub(crate) trait JoinRoom: Send + 'static {
    /// Begins to join a room. What comes of it is told through `inputs`; it is left when it is told so, or when `commands`
    /// end, and says [`Input::RoomLeft`] as its last.
    fn join(
        &mut self,
        id: RoomId,
        credentials: Credentials,
        commands: mpsc::UnboundedReceiver<ToRoom>,
        inputs: mpsc::Sender<Input>,
    );

    /// What can be done before a join.
    fn warm_up(&self) -> WarmUp;
}

/// What is shown of the room that is joined or being joined.
pub(crate) struct ShownRoom {
    pub(crate) room: watch::Sender<Option<Room>>,
    pub(crate) info: watch::Sender<Arc<RoomInfo>>,
    pub(crate) token: watch::Sender<Option<TokenTimes>>,
}

impl ShownRoom {
    pub(crate) fn new() -> Self {
        Self { room: watch::Sender::new(None), info: watch::Sender::default(), token: watch::Sender::new(None) }
    }

    fn clear(&self) {
        self.room.send_replace(None);
        self.info.send_replace(Arc::default());
        self.token.send_replace(None);
    }
}

/// Joins real ones.
pub(crate) struct Rooms {
    pub(crate) builder: RoomBuilder,
    pub(crate) shown: Arc<ShownRoom>,
    pub(crate) methods: Arc<Methods>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) plug_ins: Arc<PlugIns>,
    pub(crate) muted: watch::Receiver<bool>,
    pub(crate) encrypted: watch::Receiver<Option<bool>>,
}

impl JoinRoom for Rooms {
    fn join(
        &mut self,
        id: RoomId,
        credentials: Credentials,
        commands: mpsc::UnboundedReceiver<ToRoom>,
        inputs: mpsc::Sender<Input>,
    ) {
        let mut encrypted = self.encrypted.clone();
        let mut builder = self.builder.clone();
        // As the user wants it now; a later change is told to the room.
        if let (Some(options), Some(enabled)) = (builder.encryption_options().cloned(), *encrypted.borrow_and_update())
        {
            builder = builder.encryption(options.with_enabled(enabled));
        }
        let join = Join {
            id,
            builder,
            credentials,
            inputs,
            shown: Arc::clone(&self.shown),
            methods: Arc::clone(&self.methods),
            topics: Arc::clone(&self.topics),
            transfers: Arc::clone(&self.transfers),
            plug_ins: Arc::clone(&self.plug_ins),
            muted: self.muted.clone(),
            encrypted,
        };
        // It ends when the session's task lets go of the commands.
        tokio::spawn(join.run(commands));
    }

    fn warm_up(&self) -> WarmUp {
        let builder = self.builder.clone();
        Arc::new(move |credentials| {
            let builder = builder.clone();
            Box::pin(async move {
                let token = Some(credentials.participant_token());
                builder.prepare_connection(credentials.server_url(), token).await;
            })
        })
    }
}

struct Join {
    id: RoomId,
    builder: RoomBuilder,
    credentials: Credentials,
    inputs: mpsc::Sender<Input>,
    shown: Arc<ShownRoom>,
    methods: Arc<Methods>,
    topics: Arc<Topics>,
    transfers: Arc<Transfers>,
    plug_ins: Arc<PlugIns>,
    muted: watch::Receiver<bool>,
    encrypted: watch::Receiver<Option<bool>>,
}

impl Join {
    async fn run(self, mut commands: mpsc::UnboundedReceiver<ToRoom>) {
        let token = TokenTimes::of(self.credentials.participant_token(), clock::now().wall);
        self.shown.token.send_replace(Some(token));
        let room = {
            let connecting = self.builder.connect(self.credentials.server_url(), self.credentials.participant_token());
            let mut connecting = pin!(connecting);
            loop {
                tokio::select! {
                    biased;
                    command = commands.recv() => {
                        if matches!(command, None | Some(ToRoom::Leave)) {
                            self.shown.clear();
                            self.tell(Input::RoomLeft(self.id)).await;
                            return;
                        }
                    }
                    joined = &mut connecting => break joined,
                }
            }
        };
        match room {
            Ok(room) => {
                let events = room.events();
                self.shown.room.send_replace(Some(room.clone()));
                let link = Link::new(&self, room.clone());
                // The others are told by events, which begin with the join.
                let mut alone = Participants::default();
                alone.local.clone_from(&room.participants().borrow().local);
                self.tell(Input::RoomJoined(self.id, Arc::new(alone))).await;
                link.run(events, &mut commands).await;
                self.shown.clear();
                room.close().await;
                self.tell(Input::RoomLeft(self.id)).await;
            }
            Err(error) => {
                self.shown.clear();
                self.tell(Input::RoomNotJoined(self.id, error)).await;
            }
        }
    }

    async fn tell(&self, input: Input) {
        // A session that is gone wants to hear nothing.
        let _ = self.inputs.send(input).await;
    }
}

/// A room that has been joined.
struct Link<'a> {
    id: RoomId,
    room: Room,
    me: LocalParticipant,
    inputs: &'a mpsc::Sender<Input>,
    methods: &'a Methods,
    topics: &'a Topics,
    transfers: &'a Arc<Transfers>,
    plug_ins: &'a PlugIns,
    /// Whether the user wants the microphone muted.
    muted: watch::Receiver<bool>,
    encrypted: watch::Receiver<Option<bool>>,
    shown: &'a ShownRoom,
    registered: HashMap<String, crate::rpc::Method>,
    last_key: StreamKey,
    /// How many files may be read at once.
    files: Arc<Semaphore>,
    /// Readers, and what is sent and published.
    work: JoinSet<Option<Done>>,
    microphone: Option<LocalTrackPublication>,
    finish_preconnect: Option<oneshot::Sender<()>>,
    preconnect: Option<tokio::task::AbortHandle>,
}

impl<'a> Link<'a> {
    fn new(join: &'a Join, room: Room) -> Self {
        Self {
            id: join.id,
            me: room.local_participant(),
            room,
            inputs: &join.inputs,
            methods: &join.methods,
            topics: &join.topics,
            transfers: &join.transfers,
            plug_ins: &join.plug_ins,
            muted: join.muted.clone(),
            encrypted: join.encrypted.clone(),
            shown: &join.shown,
            registered: HashMap::new(),
            last_key: 0,
            files: Arc::new(Semaphore::new(MAX_FILES)),
            work: JoinSet::new(),
            microphone: None,
            finish_preconnect: None,
            preconnect: None,
        }
    }

    async fn run(mut self, mut events: RoomEvents, commands: &mut mpsc::UnboundedReceiver<ToRoom>) {
        let mut participants = self.room.participants();
        let (mut info, mut token) = (self.room.info(), self.room.token());
        self.shown.info.send_replace(Arc::clone(&info.borrow_and_update()));
        let mut methods = self.methods.changes();
        self.register_methods();
        for receiver in self.plug_ins.receive(&self.room, self.id, self.inputs) {
            self.work.spawn(async move {
                receiver.await;
                None
            });
        }
        let mut is_over = false;
        // The first snapshot comes after what has happened until now, which it is ahead of.
        let mut show_at = Some(clock::now().at);
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None | Some(ToRoom::Leave) => {
                        // A publication that is under way holds its source until then.
                        self.work.shutdown().await;
                        return;
                    }
                    Some(command) => self.obey(command),
                },
                event = events.next(), if !is_over => match event {
                    Some(event) => self.happened(event).await,
                    None => {
                        is_over = true;
                        let state = *self.room.connection_state().borrow();
                        self.tell(RoomInput::State(state)).await;
                    }
                },
                Ok(()) = info.changed() => drop(self.shown.info.send_replace(Arc::clone(&info.borrow_and_update()))),
                Ok(()) = token.changed() => drop(self.shown.token.send_replace(Some(*token.borrow_and_update()))),
                Ok(()) = methods.changed() => self.register_methods(),
                Some(done) = self.work.join_next(), if !self.work.is_empty() => {
                    if let Ok(Some(Done::MicrophonePublished { publication, is_muted })) = done {
                        self.microphone = Some(publication);
                        if is_muted != *self.muted.borrow() {
                            self.mute();
                        }
                    }
                }
                // A session that is gone leaves the room.
                Ok(()) = self.muted.changed() => self.mute(),
                Ok(()) = self.encrypted.changed() => self.encrypt().await,
                // Events say most of it, each change in its order. The snapshot may be ahead of them, so it has to wait for
                // them; it has what no event says, and what one was missed of.
                Ok(()) = participants.changed(), if show_at.is_none() => show_at = Some(clock::now().at + SETTLING),
                () = tokio::time::sleep_until(show_at.unwrap_or_else(|| clock::now().at).into()), if show_at.is_some() => {
                    show_at = None;
                    self.show_participants(&mut participants).await;
                }
            }
        }
    }

    async fn tell(&self, input: RoomInput) {
        // A session that is gone wants to hear nothing.
        let _ = self.inputs.send(Input::Room(self.id, input)).await;
    }

    async fn show_participants(&self, participants: &mut watch::Receiver<Arc<Participants>>) {
        let all = Arc::clone(&participants.borrow_and_update());
        self.tell(RoomInput::Participants(all)).await;
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing that a session wants to know")]
    async fn happened(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::ConnectionStateChanged(state) => self.tell(RoomInput::State(state)).await,
            RoomEvent::ParticipantConnected(participant)
            | RoomEvent::ParticipantActive(participant)
            | RoomEvent::ParticipantPermissionChanged(participant)
            | RoomEvent::ParticipantUpdated(participant)
            | RoomEvent::ConnectionQualityChanged(participant)
            | RoomEvent::ParticipantMetadataChanged { participant, .. }
            | RoomEvent::ParticipantNameChanged { participant, .. }
            | RoomEvent::ParticipantAttributesChanged { participant, .. }
            | RoomEvent::TrackPublished { participant, .. }
            | RoomEvent::TrackUnpublished { participant, .. }
            | RoomEvent::TrackSubscribed { participant, .. }
            | RoomEvent::TrackUnsubscribed { participant, .. }
            | RoomEvent::TrackMuted { participant, .. }
            | RoomEvent::TrackUnmuted { participant, .. } => self.updated(participant).await,
            RoomEvent::ParticipantDisconnected { participant, reason, .. } => {
                self.tell(RoomInput::ParticipantLeft(participant.identity.clone(), reason)).await;
            }
            RoomEvent::LocalTrackSubscribed(publication) => {
                self.tell(RoomInput::MicrophoneReceived(publication.sid.clone())).await;
            }
            RoomEvent::TextStreamOpened { reader, topic, .. } => {
                if topic == CHAT_TOPIC || topic == TRANSCRIPTION_TOPIC {
                    if let Some(reader) = reader.take() {
                        self.read_text(reader).await;
                    }
                } else if self.topics.is_wanted(&topic)
                    && let Some(reader) = reader.take()
                {
                    self.topics.give(&topic, reader);
                }
            }
            RoomEvent::ByteStreamOpened { reader, topic, .. } if topic == CHAT_TOPIC => {
                if let Some(reader) = reader.take() {
                    self.read_file(reader).await;
                }
            }
            RoomEvent::DataReceived { payload, topic: Some(topic), sender, .. } if topic == LEGACY_CHAT_TOPIC => {
                self.tell(RoomInput::LegacyChat(sender, payload.to_vec())).await;
            }
            RoomEvent::TranscriptionReceived { speaker, track_sid, segments, .. } => {
                for TranscriptionSegment { id, text, is_final, .. } in segments {
                    let track_sid = Some(track_sid.clone()).filter(|sid| !sid.is_empty());
                    let segment = LegacySegment { speaker: speaker.clone(), track_sid, id, text, is_final };
                    self.tell(RoomInput::LegacySegment(segment)).await;
                }
            }
            RoomEvent::E2eeStateChanged { participant, publication, state, .. } if state.is_failure() => {
                let participant = participant.identity.clone();
                let track = publication.map(|publication| publication.sid.clone());
                self.tell(RoomInput::EncryptionFailed(EncryptionError { participant, track, state })).await;
            }
            RoomEvent::Lagged(missed) => tracing::warn!(missed, "the session missed events of its room"),
            _ => {}
        }
    }

    async fn encrypt(&mut self) {
        let enabled = *self.encrypted.borrow_and_update();
        if let Some(enabled) = enabled
            && let Err(error) = self.room.set_encryption_enabled(enabled).await
        {
            tracing::debug!(%error, "the room's encryption is as it was");
        }
    }

    async fn updated(&self, participant: Arc<Participant>) {
        self.tell(RoomInput::ParticipantUpdated(participant)).await;
    }

    /// Streams are opened in the order of the room's events, and read beside each other.
    async fn read_text(&mut self, mut reader: TextStreamReader) {
        self.last_key += 1;
        let (room, key, inputs) = (self.id, self.last_key, self.inputs.clone());
        let info = reader.info();
        let header = TextHeader {
            key,
            sender: info.sender_identity.clone(),
            topic: info.topic.clone(),
            stream_id: info.id.as_str().into(),
            attributes: sorted(info.attributes.clone()),
            is_update: info.operation == TextOperation::Update,
            version: info.version,
            attached_stream_ids: info.attached_stream_ids.iter().map(|id| Arc::from(id.as_str())).collect(),
            timestamp: Some(info.timestamp),
        };
        self.tell(RoomInput::TextOpened(header)).await;
        self.work.spawn(async move {
            let mut outcome = Ok(());
            while let Some(piece) = reader.next().await {
                match piece {
                    Ok(text) => {
                        let text = RoomInput::Text(key, text.into_bytes());
                        inputs.send(Input::Room(room, text)).await.ok()?;
                    }
                    Err(error) => outcome = Err(reason(&error)),
                }
            }
            let attributes = sorted(reader.trailer_attributes().unwrap_or_default());
            let closed = RoomInput::TextClosed(key, attributes, outcome);
            inputs.send(Input::Room(room, closed)).await.ok()?;
            None
        });
    }

    async fn read_file(&mut self, mut reader: ByteStreamReader) {
        let (room, inputs) = (self.id, self.inputs.clone());
        let info = reader.info().clone();
        let stream_id: Arc<str> = info.id.as_str().into();
        self.tell(RoomInput::FileOpened(info.sender_identity.clone(), Arc::clone(&stream_id))).await;
        let turn = Arc::clone(&self.files).try_acquire_owned();
        let transfer = turn.is_ok().then(|| {
            let transfer = Transfer::new(Arc::clone(&stream_id), info.sender_identity.clone(), info.total_length);
            self.transfers.begin(transfer.with_name(&info.name, &info.mime_type))
        });
        self.work.spawn(async move {
            let read = match transfer {
                Some(mut transfer) => {
                    let read = reader.read_all_with_progress(MAX_FILE, |bytes| transfer.advance(bytes as u64)).await;
                    read.map(Arc::from).map_err(|error| reason(&error))
                }
                None => Err("too many files came at once".into()),
            };
            let file = IncomingFile {
                sender: info.sender_identity,
                stream_id,
                name: info.name.into(),
                mime_type: info.mime_type.into(),
                outcome: read,
            };
            inputs.send(Input::Room(room, RoomInput::File(file))).await.ok()?;
            drop(turn);
            None
        });
    }

    fn obey(&mut self, command: ToRoom) {
        match command {
            ToRoom::Publish { media, has_preconnect } => self.publish(media, has_preconnect),
            ToRoom::SendText(text) => {
                let (room, me, inputs) = (self.id, self.me.clone(), self.inputs.clone());
                let transfers = Arc::clone(self.transfers);
                let plugged = if text.topic() == CHAT_TOPIC { self.plug_ins.send(&self.room, &text) } else { None };
                self.work.spawn(async move {
                    let send = text.send;
                    let sent = match plugged {
                        Some(sending) => sending.await,
                        None => send_text(&me, text, &transfers).await.map_err(SendError::Room),
                    };
                    let sent = RoomInput::Sent(send, sent);
                    inputs.send(Input::Room(room, sent)).await.ok()?;
                    None
                });
            }
            ToRoom::SendPreconnect { recording, track, agent } => {
                let (finish, finished) = oneshot::channel();
                self.finish_preconnect = Some(finish);
                let me = self.me.clone();
                self.preconnect = Some(self.work.spawn(async move {
                    if let Err(error) = preconnect_stream::send(&me, recording, &track, agent, finished).await {
                        tracing::warn!(%error, "the agent does not get what was said before it came");
                    }
                    None
                }));
            }
            ToRoom::FinishPreconnect => {
                // It may have failed before.
                self.finish_preconnect.take().map(|finish| finish.send(()));
            }
            ToRoom::DropPreconnect => {
                self.preconnect.take().into_iter().for_each(|preconnect| preconnect.abort());
            }
            ToRoom::Call { request, reply } => {
                let me = self.me.clone();
                self.work.spawn(async move {
                    // Who asked may have given it up.
                    let _ = reply.send(me.perform_rpc(request).await);
                    None
                });
            }
            ToRoom::ReconnectNow => self.room.network_changed(),
            ToRoom::Leave => {}
        }
    }

    fn publish(&mut self, media: StartMedia, has_preconnect: bool) {
        if let Some(microphone) = media.microphone {
            let track = LocalTrack::audio("microphone", &microphone.source);
            let options = microphone.options.preconnect_buffer(has_preconnect).muted(*self.muted.borrow());
            self.publish_track(track, options, true);
        }
        for (track, options) in media.tracks {
            self.publish_track(track, options, false);
        }
    }

    fn publish_track(&mut self, track: LocalTrack, options: roomkey_room::TrackPublishOptions, is_microphone: bool) {
        let (room, me, inputs) = (self.id, self.me.clone(), self.inputs.clone());
        let is_muted = options.is_muted();
        self.work.spawn(async move {
            match me.publish_track(track, options).await {
                Ok(publication) => {
                    if is_microphone {
                        let published = RoomInput::MicrophonePublished(publication.sid());
                        inputs.send(Input::Room(room, published)).await.ok()?;
                    }
                    is_microphone.then_some(Done::MicrophonePublished { publication, is_muted })
                }
                Err(error) => {
                    inputs.send(Input::Room(room, RoomInput::NotPublished { error, is_microphone })).await.ok()?;
                    None
                }
            }
        });
    }

    /// Mutes the microphone, or unmutes it, as the user wants it.
    fn mute(&mut self) {
        let muted = *self.muted.borrow_and_update();
        if let Some(microphone) = &self.microphone {
            if muted { microphone.mute() } else { microphone.unmute() }
        }
    }

    fn register_methods(&mut self) {
        let wanted = self.methods.all();
        for name in self.registered.keys().filter(|name| !wanted.contains_key(*name)) {
            self.me.unregister_rpc_method(name);
        }
        for (name, method) in &wanted {
            if self.registered.get(name).is_none_or(|registered| !Arc::ptr_eq(registered, method)) {
                let method = Arc::clone(method);
                self.me.register_rpc_method(name, move |invocation| method(invocation));
            }
        }
        self.registered = wanted;
    }
}

/// What has come of something that was begun.
enum Done {
    /// It was published so.
    MicrophonePublished { publication: LocalTrackPublication, is_muted: bool },
}

/// The text, and then its files, one after the other.
async fn send_text(
    me: &LocalParticipant,
    text: OutgoingText,
    transfers: &Arc<Transfers>,
) -> Result<(), SendStreamError> {
    let attached = text.attached_stream_ids();
    let mut options = TextStreamOptions::new(text.topic()).with_id(text.stream_id.to_string());
    options.attributes = text.options.attributes.clone().into_iter().collect();
    options.destination_identities.clone_from(&text.options.destinations);
    if let Some((_, version)) = &text.edits {
        options = options.with_operation(TextOperation::Update, *version);
    }
    options.attached_stream_ids = attached.iter().map(ToString::to_string).collect();
    me.send_text(&text.text, options).await?;
    for (id, file) in attached.iter().zip(&text.options.attachments) {
        let mut options = ByteStreamOptions::new(text.topic())
            .with_id(id.to_string())
            .with_name(file.name.to_string())
            .with_mime_type(file.mime_type.to_string());
        options.destination_identities.clone_from(&text.options.destinations);
        let transfer = Transfer::new(Arc::clone(id), me.identity(), Some(file.bytes.len() as u64));
        let mut transfer = transfers.begin(transfer.with_name(&file.name, &file.mime_type).into_outgoing());
        me.send_bytes_with_progress(&file.bytes, options, |bytes| transfer.advance(bytes)).await?;
    }
    Ok(())
}

fn sorted(attributes: HashMap<String, String>) -> BTreeMap<String, String> {
    attributes.into_iter().collect()
}

fn reason(error: &StreamError) -> Arc<str> {
    error.to_string().into()
}

/// How many files of others are read at once; each may be as large as one may be.
const MAX_FILES: usize = 16;

/// How long events have for catching up with a snapshot that is ahead of them.
const SETTLING: Duration = Duration::from_millis(20);
