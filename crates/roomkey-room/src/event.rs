//! What happens in a room, as a stream.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use crate::chat_message::ChatMessage;
use crate::connection_state::{ConnectionState, DisconnectReason};
use crate::data_stream::reader::{ByteStreamReader, TextStreamReader};
use crate::encryption::EncryptionState;
use crate::event_bytes::event_bytes;
use crate::names::{ParticipantIdentity, TrackSid};
use crate::participant::Participant;
use crate::publication::TrackPublication;
use crate::remote_track::RemoteTrack;
use crate::room_info::RoomInfo;
use crate::take_once::TakeOnce;
use crate::transcription::TranscriptionSegment;

/// Something that happened in a room.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The connection broke, came back or ended.
    #[doc(alias = "Connected")]
    #[doc(alias = "Disconnected")]
    #[doc(alias = "Reconnecting")]
    #[doc(alias = "Reconnected")]
    ConnectionStateChanged(ConnectionState),
    /// The server gave a newer token, which reconnects will use.
    TokenRefreshed,
    /// The room's name, sid, metadata or recording is another one.
    #[doc(alias = "RoomMetadataChanged")]
    RoomUpdated,
    /// This client is in another room: the server has moved it there, with its tracks (LiveKit's `MoveParticipant`, which
    /// livekit-server 1.13.5 itself does not offer). The participants of the former room leave after this, those of the new one
    /// connect, and a newer token is there. What this room had under way with others, streams and calls, ends with them.
    #[doc(alias = "Moved")]
    RoomMoved(Arc<RoomInfo>),
    /// Somebody is in the room.
    ParticipantConnected(Arc<Participant>),
    /// Somebody can be sent data from now on.
    ParticipantActive(Arc<Participant>),
    /// Somebody left; the participant is as it last was.
    #[non_exhaustive]
    ParticipantDisconnected {
        /// Who.
        participant: Arc<Participant>,
        /// Why, as far as the server says.
        reason: DisconnectReason,
    },
    /// Somebody's metadata changed.
    #[non_exhaustive]
    ParticipantMetadataChanged {
        /// Whose, with the new one.
        participant: Arc<Participant>,
        /// The one of before.
        old_metadata: String,
    },
    /// Somebody's name changed.
    #[non_exhaustive]
    ParticipantNameChanged {
        /// Whose, with the new one.
        participant: Arc<Participant>,
        /// The one of before.
        old_name: String,
    },
    /// Somebody's attributes changed.
    #[non_exhaustive]
    ParticipantAttributesChanged {
        /// Whose, with all that it has.
        participant: Arc<Participant>,
        /// Those that changed; a key that is gone has an empty value.
        changed: HashMap<String, String>,
    },
    /// Somebody may do more or less.
    ParticipantPermissionChanged(Arc<Participant>),
    /// Something else about somebody changed.
    ParticipantUpdated(Arc<Participant>),
    /// Somebody publishes a track.
    #[non_exhaustive]
    TrackPublished {
        /// Who.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// Somebody no longer publishes a track.
    #[non_exhaustive]
    TrackUnpublished {
        /// Who.
        participant: Arc<Participant>,
        /// What, as it last was.
        publication: Arc<TrackPublication>,
    },
    /// A track comes in.
    #[non_exhaustive]
    TrackSubscribed {
        /// To hear or see it.
        track: RemoteTrack,
        /// Whose.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// A track no longer comes in.
    #[non_exhaustive]
    TrackUnsubscribed {
        /// Whose.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// The server can't give a track that was asked for, mostly for want of a codec.
    TrackSubscriptionFailed(TrackSid),
    /// A track may be subscribed to or not; see `is_allowed`.
    #[non_exhaustive]
    TrackSubscriptionPermissionChanged {
        /// Whose.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// The server has paused a track for want of bandwidth, or goes on with it; see `is_paused`.
    #[non_exhaustive]
    TrackStreamStateChanged {
        /// Whose.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// Somebody has muted a track; this client too.
    #[non_exhaustive]
    TrackMuted {
        /// Whose.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// Somebody has unmuted a track; this client too.
    #[non_exhaustive]
    TrackUnmuted {
        /// Whose.
        participant: Arc<Participant>,
        /// What.
        publication: Arc<TrackPublication>,
    },
    /// A track of this client is published.
    LocalTrackPublished(Arc<TrackPublication>),
    /// A track of this client is published again after a full reconnect.
    #[non_exhaustive]
    LocalTrackRepublished {
        /// The publication, with its new sid.
        publication: Arc<TrackPublication>,
        /// The sid of before.
        previous_sid: TrackSid,
    },
    /// A track of this client is no longer published.
    LocalTrackUnpublished(Arc<TrackPublication>),
    /// Somebody receives a track of this client, for the first time.
    LocalTrackSubscribed(Arc<TrackPublication>),
    /// Who speaks, the loudest first.
    ActiveSpeakersChanged(Vec<Arc<Participant>>),
    /// Somebody's connection became better or worse.
    ConnectionQualityChanged(Arc<Participant>),
    /// A message from somebody, or from the server.
    #[non_exhaustive]
    DataReceived {
        /// The message.
        payload: Arc<[u8]>,
        /// Its topic, if it has one.
        topic: Option<String>,
        /// Whether it was sent reliably.
        is_reliable: bool,
        /// Who sent it; empty for the server.
        sender: ParticipantIdentity,
        /// Who sent it, if it is still there.
        participant: Option<Arc<Participant>>,
        /// Whether it was encrypted end to end.
        is_encrypted: bool,
    },
    /// Somebody begins a text.
    #[non_exhaustive]
    TextStreamOpened {
        /// To read it with. If nobody takes it, the stream is ignored.
        reader: TakeOnce<TextStreamReader>,
        /// What it is about.
        topic: String,
        /// In whose name it is sent.
        sender: ParticipantIdentity,
    },
    /// Somebody begins to send bytes.
    #[non_exhaustive]
    ByteStreamOpened {
        /// To read them with. If nobody takes it, the stream is ignored.
        reader: TakeOnce<ByteStreamReader>,
        /// What they are about.
        topic: String,
        /// In whose name they are sent.
        sender: ParticipantIdentity,
    },
    /// A tone of a telephone's keys.
    #[doc(alias = "SipDTMFReceived")]
    #[non_exhaustive]
    SipDtmfReceived {
        /// The key, as a number.
        code: u32,
        /// The key.
        digit: String,
        /// Who pressed it.
        sender: ParticipantIdentity,
    },
    /// What somebody said, in a packet as old agents send it.
    #[non_exhaustive]
    TranscriptionReceived {
        /// Who said it.
        speaker: ParticipantIdentity,
        /// Who sent it.
        sender: ParticipantIdentity,
        /// The track in which it was said.
        track_sid: TrackSid,
        /// What.
        segments: Vec<TranscriptionSegment>,
    },
    /// A message of a chat, in a packet as older clients send it. [Text streams](Self::TextStreamOpened) with the topic `lk.chat`
    /// are what newer ones send, some of them beside this.
    #[doc(alias = "ChatMessage")]
    #[non_exhaustive]
    ChatMessageReceived {
        /// The message.
        message: ChatMessage,
        /// Who sent it.
        sender: ParticipantIdentity,
        /// Who sent it, if it is still there.
        participant: Option<Arc<Participant>>,
    },
    /// It stands otherwise than before with the encryption of somebody's track or data: somebody else's can be decrypted or
    /// not, this client's encrypted or not. In a room that was joined without keys, an encrypted track lacks its key.
    #[non_exhaustive]
    E2eeStateChanged {
        /// Whose; this client's too.
        participant: Arc<Participant>,
        /// Which track; none for messages, streams and calls.
        publication: Option<Arc<TrackPublication>>,
        /// How it stands now.
        state: EncryptionState,
    },
    /// So many events were dropped before this one, the oldest first, since this stream was not read: more than 8,192 were
    /// waiting, or more than 16 MiB. Snapshots still tell the truth.
    Lagged(u64),
}

/// Events that wait for a reader at most.
const MAX_WAITING: usize = 8_192;
/// How much memory they take at most, unless one alone takes more.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// A stream of a room's events. It ends when the room is over and all was read.
pub struct RoomEvents {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    /// With what each takes.
    waiting: VecDeque<(RoomEvent, usize)>,
    bytes: usize,
    missed: u64,
    is_over: bool,
    waker: Option<Waker>,
}

impl fmt::Debug for RoomEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomEvents").finish_non_exhaustive()
    }
}

impl Stream for RoomEvents {
    type Item = RoomEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        let mut queue = lock(&self.queue);
        if queue.missed > 0 {
            return Poll::Ready(Some(RoomEvent::Lagged(std::mem::take(&mut queue.missed))));
        }
        if let Some(event) = queue.pop() {
            return Poll::Ready(Some(event));
        }
        if queue.is_over {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Queue {
    fn push(&mut self, event: RoomEvent, bytes: usize) {
        self.waiting.push_back((event, bytes));
        self.bytes += bytes;
        while self.waiting.len() > MAX_WAITING || (self.bytes > MAX_WAITING_BYTES && self.waiting.len() > 1) {
            self.missed += 1;
            drop(self.pop());
        }
    }

    fn pop(&mut self) -> Option<RoomEvent> {
        let (event, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(event)
    }
}

impl RoomEvents {
    /// The next event; `None` once the room is over and all was read. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        futures_util::StreamExt::next(self).await
    }
}

/// Hands events to all who listen.
#[derive(Default)]
pub(crate) struct Broadcast {
    state: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    queues: Vec<Weak<Mutex<Queue>>>,
    /// What happened before anybody listened, for the first one.
    early: Option<Arc<Mutex<Queue>>>,
    is_over: bool,
}

impl Broadcast {
    pub(crate) fn new() -> Self {
        let early = Arc::new(Mutex::new(Queue::default()));
        let queues = vec![Arc::downgrade(&early)];
        Self { state: Mutex::new(Listeners { queues, early: Some(early), is_over: false }) }
    }

    /// A stream of what happens from now on; the first one begins with the first event.
    pub(crate) fn listen(&self) -> RoomEvents {
        let mut state = lock(&self.state);
        if let Some(queue) = state.early.take() {
            return RoomEvents { queue };
        }
        let queue = Arc::new(Mutex::new(Queue { is_over: state.is_over, ..Queue::default() }));
        state.queues.push(Arc::downgrade(&queue));
        RoomEvents { queue }
    }

    #[expect(clippy::needless_pass_by_value, reason = "whoever tells has no more use for it")]
    pub(crate) fn tell(&self, event: RoomEvent) {
        let bytes = event_bytes(&event);
        self.each(|queue| queue.push(event.clone(), bytes));
    }

    pub(crate) fn end(&self) {
        lock(&self.state).is_over = true;
        self.each(|queue| queue.is_over = true);
    }

    fn each(&self, act: impl Fn(&mut Queue)) {
        let mut wakers = Vec::new();
        lock(&self.state).queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut queue = lock(&queue);
            act(&mut queue);
            wakers.extend(queue.waker.take());
            true
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_listener_hears_what_happened_before_it_and_a_slow_one_is_told_what_it_missed() {
        let broadcast = Broadcast::new();
        broadcast.tell(RoomEvent::RoomUpdated);
        let mut first = broadcast.listen();
        let mut second = broadcast.listen();
        for _ in 0..MAX_WAITING + 2 {
            broadcast.tell(RoomEvent::TokenRefreshed);
        }
        assert!(matches!(first.next().await, Some(RoomEvent::Lagged(3))));
        assert!(matches!(second.next().await, Some(RoomEvent::Lagged(2))));
        broadcast.end();
        let mut rest = 0;
        while let Some(event) = second.next().await {
            assert!(matches!(event, RoomEvent::TokenRefreshed));
            rest += 1;
        }
        assert_eq!(rest, MAX_WAITING);
        assert!(broadcast.listen().next().await.is_none());
    }

    #[tokio::test]
    async fn events_that_wait_are_bounded_in_bytes_and_the_newest_stays() {
        let data = |bytes: usize| RoomEvent::DataReceived {
            payload: vec![0; bytes].into(),
            topic: None,
            is_reliable: true,
            sender: ParticipantIdentity::default(),
            participant: None,
            is_encrypted: false,
        };
        let broadcast = Broadcast::new();
        for _ in 0..1_000 {
            broadcast.tell(data(64_000));
        }
        let mut events = broadcast.listen();
        let waiting = |events: &RoomEvents| {
            let queue = lock(&events.queue);
            (queue.waiting.len(), queue.bytes)
        };
        let (count, bytes) = waiting(&events);
        assert!((250..=262).contains(&count) && bytes <= MAX_WAITING_BYTES, "{count} events of {bytes} bytes");
        let Some(RoomEvent::Lagged(missed)) = events.next().await else { panic!("it is told") };
        assert_eq!(missed, 1_000 - count as u64);
        for _ in 0..count {
            assert!(matches!(events.next().await, Some(RoomEvent::DataReceived { .. })));
        }
        assert_eq!(waiting(&events), (0, 0));

        broadcast.tell(RoomEvent::TokenRefreshed);
        broadcast.tell(data(MAX_WAITING_BYTES));
        assert!(matches!(events.next().await, Some(RoomEvent::Lagged(1))));
        assert!(matches!(events.next().await, Some(RoomEvent::DataReceived { .. })), "too large, but the newest");
    }

    #[tokio::test]
    async fn what_comes_with_an_event_counts() {
        let mut who = Participant::new("PA_who", "who");
        who.metadata = "m".repeat(1_000_000);
        let broadcast = Broadcast::new();
        for _ in 0..100 {
            broadcast.tell(RoomEvent::ParticipantUpdated(Arc::new(who.clone())));
        }
        assert!(matches!(broadcast.listen().next().await, Some(RoomEvent::Lagged(84..))));
    }
}
