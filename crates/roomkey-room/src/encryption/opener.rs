//! What opens the frames of a track of somebody else, or its data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{Reporter, RoomEncryption, Subject};
use super::frame::{self, FrameCodec, Sealed};
use super::key::{IV, KeySet};
use super::sif;
use super::state::EncryptionState;
use crate::names::{ParticipantIdentity, TrackSid};

/// Opens one sequence of frames.
#[derive(Debug)]
pub(crate) struct FrameOpener {
    reporter: Reporter,
    ring: ReceivingRing,
    joins: u64,
    sif_trailer: Arc<[u8]>,
}

impl FrameOpener {
    pub(crate) fn new(room: &Arc<RoomEncryption>, publisher: ParticipantIdentity, track: TrackSid) -> Self {
        Self {
            reporter: Reporter::new(Arc::clone(room), Subject::Remote(track)),
            ring: ReceivingRing::new(publisher),
            joins: 0,
            sif_trailer: Arc::default(),
        }
    }

    /// The frame as it was before it was sealed. Nothing if it can't be opened.
    pub(crate) fn open(&mut self, now: Instant, codec: FrameCodec, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.is_empty() {
            return Some(Vec::new());
        }
        let (_, joins) = self.reporter.room.version();
        if self.joins != joins {
            self.joins = joins;
            self.sif_trailer = self.reporter.room.sif_trailer();
        }
        if let Some(injected) = sif::injected(frame, &self.sif_trailer) {
            return Some(injected.to_vec()).filter(|injected| !injected.is_empty());
        }
        let opened = match frame::parse(codec, frame) {
            Some(Sealed { key_index, iv, clear, mut body }) => {
                let outcome = self.ring.open(&self.reporter.room, now, key_index, &iv, clear, &mut body);
                outcome.map(|ratcheted| (body, ratcheted))
            }
            None => Err(EncryptionState::DecryptionFailed),
        };
        match opened {
            Ok((body, ratcheted)) => {
                if ratcheted {
                    self.reporter.report(EncryptionState::KeyRatcheted);
                }
                self.reporter.report(EncryptionState::Ok);
                Some(body)
            }
            Err(state) => {
                self.reporter.report(state);
                None
            }
        }
    }
}

/// The keys of one participant, as they were when they were last others.
#[derive(Debug)]
pub(super) struct ReceivingRing {
    publisher: ParticipantIdentity,
    version: (u64, u64),
    keys: Vec<(u8, Option<Arc<KeySet>>)>,
    /// A key that has failed, and how often in a row.
    failures: Option<(Arc<KeySet>, u32)>,
    /// When the keys of the window may be tried again.
    next_window: Option<Instant>,
}

/// How often a window is tried: a server that sends what no key opens costs no more than that.
const WINDOW_PAUSE: Duration = Duration::from_millis(100);

impl ReceivingRing {
    pub(super) fn new(publisher: ParticipantIdentity) -> Self {
        Self { publisher, version: (0, 0), keys: Vec::new(), failures: None, next_window: None }
    }

    /// Opens what is behind `clear` in the body; says whether the key has moved on. Where it fails, the body is as it was.
    pub(super) fn open(
        &mut self,
        room: &RoomEncryption,
        now: Instant,
        key_index: u8,
        iv: &[u8; IV],
        clear: usize,
        body: &mut Vec<u8>,
    ) -> Result<bool, EncryptionState> {
        let options = room.keys().options();
        let key = self.key(room, key_index).ok_or(EncryptionState::MissingKey)?;
        let failed =
            self.failures.as_ref().filter(|(failed, _)| Arc::ptr_eq(failed, &key)).map_or(0, |(_, count)| *count);
        if options.failure_tolerance.is_some_and(|tolerance| failed > tolerance) {
            return Err(EncryptionState::DecryptionFailed);
        }
        if key.open(iv, clear, body).is_some() {
            self.failures = None;
            return Ok(false);
        }
        if let Some(next) = self.ahead(room, now, &key, iv, clear, body) {
            room.keys().has_ratcheted(&self.publisher, key_index, &key, &next);
            self.failures = None;
            return Ok(true);
        }
        self.failures = Some((key, failed.saturating_add(1)));
        Err(EncryptionState::DecryptionFailed)
    }

    fn key(&mut self, room: &RoomEncryption, key_index: u8) -> Option<Arc<KeySet>> {
        let version = room.version();
        if self.version != version {
            self.version = version;
            self.keys.clear();
        }
        if let Some((_, key)) = self.keys.iter().find(|(known, _)| *known == key_index) {
            return key.clone();
        }
        let key = room.keys().key(&self.publisher, key_index);
        // At most as many as a byte can say.
        self.keys.push((key_index, key.clone()));
        key
    }

    /// The key of the window that opens it.
    fn ahead(
        &mut self,
        room: &RoomEncryption,
        now: Instant,
        key: &Arc<KeySet>,
        iv: &[u8; IV],
        clear: usize,
        body: &mut Vec<u8>,
    ) -> Option<Arc<KeySet>> {
        let window = room.keys().options().ratchet_window;
        if window == 0 || self.next_window.is_some_and(|next| now < next) {
            return None;
        }
        self.next_window = Some(now + WINDOW_PAUSE);
        let keys = key.ahead(window, room.keys().parameters())?;
        keys.iter().find(|next| next.open(iv, clear, body).is_some()).cloned()
    }
}
