//! One stay in the room: its signalling and its peer connections. A full reconnect is another one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use roomkey_rtc::{Mid, Msid};
use roomkey_signal::{Client, Endpoint, Handshake, ParticipantToken};

use super::DialId;
use super::refusal::Refused;
use super::transport::Transport;
use crate::names::TrackSid;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) signal: Client,
    pub(crate) handshake: Handshake,
    pub(super) refused: Refused,
    /// Each by itself, since most links have only one.
    pub(crate) publisher: Option<Box<Transport>>,
    pub(crate) subscriber: Option<Box<Transport>>,
    pub(crate) dial: Dial,
    pub(crate) join: Option<Join>,
    /// Sections of a single connection by the track that the server put there.
    tracks: HashMap<String, TrackSid>,
    /// The server has taken the session up again; media is not yet back.
    pub(crate) is_resumed: bool,
}

/// How far the websocket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    /// Nothing is tried.
    Idle,
    /// UDP sockets are awaited.
    Preparing,
    /// The next try is due.
    Waiting(Instant),
    /// A handshake is under way.
    Dialing(DialId, Instant),
    /// A question why one was refused is.
    Asking(DialId, Instant),
    Open,
}

/// What the server's `join` said that matters later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Join {
    pub(crate) is_subscriber_primary: bool,
    /// A track can be announced and offered at once, as livekit-client does.
    pub(crate) is_fast_publish: bool,
}

impl Link {
    pub(crate) fn new(token: ParticipantToken, is_single: bool, now: Instant, unix_time: Duration) -> Self {
        let endpoint = if is_single { Endpoint::V1 } else { Endpoint::V0 };
        Self {
            signal: Client::new(token, now, unix_time),
            handshake: Handshake::join(endpoint),
            refused: Refused::default(),
            publisher: None,
            subscriber: None,
            dial: Dial::Idle,
            join: None,
            tracks: HashMap::new(),
            is_resumed: false,
        }
    }

    pub(crate) fn is_single(&self) -> bool {
        self.handshake.endpoint() == Endpoint::V1
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.join.is_some()
    }

    pub(crate) fn transports(&self) -> impl Iterator<Item = &Transport> {
        self.publisher.iter().chain(&self.subscriber).map(|transport| &**transport)
    }

    pub(crate) fn transports_mut(&mut self) -> impl Iterator<Item = &mut Transport> {
        self.publisher.iter_mut().chain(&mut self.subscriber).map(|transport| &mut **transport)
    }

    pub(crate) fn transport_mut(&mut self, is_subscriber: bool) -> Option<&mut Transport> {
        if is_subscriber { self.subscriber.as_deref_mut() } else { self.publisher.as_deref_mut() }
    }

    /// Whether media can flow as far as it has to.
    pub(crate) fn is_media_up(&self) -> bool {
        let primary = match (&self.subscriber, self.join) {
            (Some(subscriber), Some(join)) if join.is_subscriber_primary => Some(subscriber),
            _ => self.publisher.as_ref(),
        };
        primary.is_some_and(|transport| transport.is_up())
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Waiting(at) | Dial::Dialing(_, at) | Dial::Asking(_, at) => Some(at),
            Dial::Idle | Dial::Preparing | Dial::Open => None,
        };
        [dial, self.signal.poll_timeout()].into_iter().flatten().min()
    }

    /// An answer says which track is in which section, for a single connection.
    pub(crate) fn remember_tracks(&mut self, answer: &proto::SessionDescription) {
        self.tracks = answer.mid_to_track_id.iter().map(|(mid, track)| (mid.clone(), track.into())).collect();
    }

    /// The track that a section carries: as the answer has it, or as the msid has it, `PA_…|TR_…` (livekit-server,
    /// `pkg/rtc/utils.go`).
    pub(crate) fn track_of(&self, is_subscriber: bool, mid: Mid, msid: &Msid) -> Option<TrackSid> {
        if !is_subscriber && let Some(track) = self.tracks.get(mid.as_str()) {
            return Some(track.clone());
        }
        let of_stream = msid.stream_id.split_once('|').map(|(_, track)| track).filter(|track| track.starts_with("TR_"));
        let track = of_stream.unwrap_or(&msid.track_id);
        (!track.is_empty()).then(|| track.into())
    }
}
