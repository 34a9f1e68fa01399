//! What the parts of one room share of its encryption.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::key::IV;
use super::key_provider::KeyProvider;
use super::options::EncryptionOptions;
use super::state::EncryptionState;
use crate::core::LocalTrackId;
use crate::media::Wake;
use crate::names::{ParticipantIdentity, TrackSid};

/// The encryption of a room.
pub(crate) struct RoomEncryption {
    pub(crate) options: EncryptionOptions,
    is_enabled: AtomicBool,
    joined: Mutex<Joined>,
    /// Is another one after each join.
    joins: AtomicU64,
    pub(crate) reports: Reports,
}

#[derive(Default, Clone)]
struct Joined {
    identity: ParticipantIdentity,
    sif_trailer: Arc<[u8]>,
}

impl RoomEncryption {
    pub(crate) fn new(options: EncryptionOptions) -> Self {
        Self {
            is_enabled: AtomicBool::new(options.is_enabled),
            options,
            joined: Mutex::default(),
            joins: AtomicU64::new(0),
            reports: Reports::default(),
        }
    }

    /// Whether what this client sends is encrypted.
    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Acquire)
    }

    pub(crate) fn set_enabled(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Release);
    }

    /// Who this client is, and how the server ends its own frames.
    pub(crate) fn joined(&self, identity: &str, sif_trailer: &[u8]) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) =
            Joined { identity: identity.into(), sif_trailer: sif_trailer.into() };
        self.joins.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn keys(&self) -> &KeyProvider {
        &self.options.key_provider
    }

    /// Is another one once keys, this client's identity or the server's trailer may be.
    pub(super) fn version(&self) -> (u64, u64) {
        (self.keys().version(), self.joins.load(Ordering::Acquire))
    }

    pub(super) fn identity(&self) -> ParticipantIdentity {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).identity.clone()
    }

    pub(super) fn sif_trailer(&self) -> Arc<[u8]> {
        Arc::clone(&self.joined.lock().unwrap_or_else(PoisonError::into_inner).sif_trailer)
    }
}

impl fmt::Debug for RoomEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomEncryption").field("is_enabled", &self.is_enabled()).finish_non_exhaustive()
    }
}

/// What seals the frames of one track of this client.
#[derive(Clone)]
pub(crate) struct TrackEncryption {
    pub(crate) room: Arc<RoomEncryption>,
    pub(crate) id: LocalTrackId,
}

impl fmt::Debug for TrackEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackEncryption").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whose encryption is in another state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Local(LocalTrackId),
    Remote(TrackSid),
}

/// States that changed, on their way to the room's task.
#[derive(Default)]
pub(crate) struct Reports {
    has_any: AtomicBool,
    waiting: Mutex<Vec<(Subject, EncryptionState)>>,
    wake: OnceLock<Wake>,
}

impl Reports {
    /// More than a task that lives ever leaves waiting.
    const MOST: usize = 1_024;

    /// What is called when there are some.
    pub(crate) fn set_waker(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }

    fn push(&self, subject: Subject, state: EncryptionState) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < Self::MOST {
            waiting.push((subject, state));
        }
        drop(waiting);
        self.has_any.store(true, Ordering::Release);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    pub(crate) fn take(&self) -> Vec<(Subject, EncryptionState)> {
        if !self.has_any.load(Ordering::Relaxed) || !self.has_any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the changes of one subject's state.
#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) room: Arc<RoomEncryption>,
    subject: Subject,
    state: EncryptionState,
}

impl Reporter {
    pub(super) fn new(room: Arc<RoomEncryption>, subject: Subject) -> Self {
        Self { room, subject, state: EncryptionState::New }
    }

    pub(super) fn is_of(&self, track: &TrackEncryption) -> bool {
        Arc::ptr_eq(&self.room, &track.room) && self.subject == Subject::Local(track.id)
    }

    pub(super) fn report(&mut self, state: EncryptionState) {
        if self.state != state {
            self.state = state;
            self.room.reports.push(self.subject.clone(), state);
        }
    }
}

/// Numbers that are used once: a count that begins at random.
///
/// Other clients make theirs of the SSRC, the timestamp and a count of 16 bits; receivers take them as they come. Where all have
/// one key, these are less likely to meet by chance.
#[derive(Debug)]
pub(super) struct Ivs {
    next: u128,
}

impl Ivs {
    /// Begins anywhere. Nothing without randomness, with which nothing may be sealed.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; IV];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self::beginning_at(bytes))
    }

    pub(super) fn beginning_at(bytes: [u8; IV]) -> Self {
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&bytes);
        Self { next: u128::from_be_bytes(wide) }
    }

    pub(super) fn next(&mut self) -> [u8; IV] {
        let bytes = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        let mut iv = [0; IV];
        iv.copy_from_slice(&bytes[4..]);
        iv
    }
}
