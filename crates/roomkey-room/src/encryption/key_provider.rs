//! Where keys are kept.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::{EncryptionKey, KeySet, KeySize, Parameters};
use crate::names::ParticipantIdentity;

/// The keys of a room: one for all, or one for each participant, and several of each under numbers. A cheap handle; what is
/// set counts at once, for rooms that are joined too.
///
/// A participant's own key comes before the one for all. What this client sends is sealed with the key under
/// [`key_index`](Self::key_index), whose number goes with it; what others send is opened with the key under the number that it
/// has. To change keys, set the new one under another number on all sides, then use that number.
///
/// ```
/// use roomkey_room::{EncryptionKey, EncryptionOptions, KeyProvider, Room};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyProvider::with_shared_key(&EncryptionKey::passphrase("correct horse battery staple"));
/// let builder = Room::builder().encryption(EncryptionOptions::new(keys.clone()));
/// # drop(builder);
/// // Later:
/// keys.set_shared_key(1, &EncryptionKey::passphrase("another one"))?;
/// keys.set_key_index(1)?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ExternalE2EEKeyProvider")]
#[derive(Clone)]
pub struct KeyProvider {
    inner: Arc<Inner>,
}

struct Inner {
    options: KeyProviderOptions,
    parameters: Parameters,
    /// Is another one after each change, so that who has keys need not ask for each frame.
    version: AtomicU64,
    key_index: AtomicU8,
    rings: Mutex<Rings>,
}

#[derive(Default)]
struct Rings {
    shared: BTreeMap<u8, Arc<KeySet>>,
    participants: HashMap<ParticipantIdentity, BTreeMap<u8, Own>>,
}

/// A participant's own key.
struct Own {
    key: Arc<KeySet>,
    /// Whether it was the key for all, and that participant has moved on from it.
    is_of_shared: bool,
}

/// Participants whose keys have moved on from the one for all; of more than these that is not kept.
const MOST_RATCHETED: usize = 4_096;

impl KeyProvider {
    /// No keys yet, and the options that all of LiveKit's clients have.
    pub fn new() -> Self {
        Self::with_options(KeyProviderOptions::new())
    }

    /// One key for all, under the number 0. Blocks for as long as [`set_shared_key`](Self::set_shared_key) does.
    pub fn with_shared_key(key: &EncryptionKey) -> Self {
        let provider = Self::new();
        // A ring has a place 0.
        let _ = provider.set_shared_key(0, key);
        provider
    }

    /// No keys yet.
    pub fn with_options(options: KeyProviderOptions) -> Self {
        let parameters = Parameters { salt: options.ratchet_salt.clone(), size: options.key_size };
        Self {
            inner: Arc::new(Inner {
                options,
                parameters,
                version: AtomicU64::new(1),
                key_index: AtomicU8::new(0),
                rings: Mutex::default(),
            }),
        }
    }

    /// Sets the key of all who have none of their own, under a number. What participants had moved on to from the one before
    /// is forgotten.
    ///
    /// Blocks for some tens of milliseconds to make a key of a passphrase: call it where that does no harm, such as in
    /// `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSuchIndex`].
    pub fn set_shared_key(&self, key_index: u8, key: &EncryptionKey) -> Result<(), KeyError> {
        self.check(key_index)?;
        let key = KeySet::new(key, &self.inner.parameters);
        self.put_shared(key_index, key);
        Ok(())
    }

    /// Sets a participant's key, under a number: others' to read what they send, this client's own to send. Blocks as
    /// [`set_shared_key`](Self::set_shared_key) does.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSuchIndex`].
    pub fn set_key(
        &self,
        identity: impl Into<ParticipantIdentity>,
        key_index: u8,
        key: &EncryptionKey,
    ) -> Result<(), KeyError> {
        self.check(key_index)?;
        let key = KeySet::new(key, &self.inner.parameters);
        self.put(identity.into(), key_index, key);
        Ok(())
    }

    /// Forgets a participant's own keys.
    pub fn remove_keys(&self, identity: &ParticipantIdentity) {
        let removed = self.lock().participants.remove(identity);
        drop(removed);
        self.changed();
    }

    /// Moves the key for all on to the next one that follows from it, and gives what that one is made of. Others follow by
    /// themselves if their [window](KeyProviderOptions::with_ratchet_window) allows. Blocks for as long as two keys take.
    ///
    /// Who knows one key can make all that follow it, so that this shuts out nobody who has been in. What is given begins
    /// with the key of before: give it to nobody who is not to read what was sent until now.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSuchIndex`], [`KeyError::NoKey`].
    pub fn ratchet_shared_key(&self, key_index: u8) -> Result<EncryptionKey, KeyError> {
        self.check(key_index)?;
        let now = self.lock().shared.get(&key_index).cloned().ok_or(KeyError::NoKey)?;
        let next = now.ratcheted(&self.inner.parameters);
        let exported = next.export();
        self.put_shared(key_index, next);
        Ok(exported)
    }

    /// Moves a participant's key on: its own one, or else the one for all, which stays what it is for the others. For the
    /// rest see [`ratchet_shared_key`](Self::ratchet_shared_key).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ratchet_key(
        &self,
        identity: impl Into<ParticipantIdentity>,
        key_index: u8,
    ) -> Result<EncryptionKey, KeyError> {
        self.check(key_index)?;
        let identity = identity.into();
        let now = self.key(&identity, key_index).ok_or(KeyError::NoKey)?;
        let next = now.ratcheted(&self.inner.parameters);
        let exported = next.export();
        self.put(identity, key_index, next);
        Ok(exported)
    }

    /// What the key for all under this number was made of, as it is now.
    pub fn export_shared_key(&self, key_index: u8) -> Option<EncryptionKey> {
        self.lock().shared.get(&key_index).map(|key| key.export())
    }

    /// What a participant's key was made of, as it is now: its own one, or else the one for all.
    pub fn export_key(&self, identity: &ParticipantIdentity, key_index: u8) -> Option<EncryptionKey> {
        self.key(identity, key_index).map(|key| key.export())
    }

    /// Under which number the key is that this client seals with; 0 unless set. Where there is none, nothing is sent.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSuchIndex`].
    pub fn set_key_index(&self, key_index: u8) -> Result<(), KeyError> {
        self.check(key_index)?;
        self.inner.key_index.store(key_index, Ordering::Release);
        self.changed();
        Ok(())
    }

    /// Under which number the key is that this client seals with.
    pub fn key_index(&self) -> u8 {
        self.inner.key_index.load(Ordering::Acquire)
    }

    /// What it was made with.
    pub fn options(&self) -> &KeyProviderOptions {
        &self.inner.options
    }

    pub(super) fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.inner.parameters
    }

    /// The key that this participant's frames are sealed with.
    pub(super) fn key(&self, identity: &ParticipantIdentity, key_index: u8) -> Option<Arc<KeySet>> {
        let rings = self.lock();
        let own = rings.participants.get(identity).and_then(|ring| ring.get(&key_index)).map(|own| &own.key);
        own.or_else(|| rings.shared.get(&key_index)).cloned()
    }

    /// A participant has moved on from one key to another, unless it has been given a new one meanwhile.
    pub(super) fn has_ratcheted(
        &self,
        identity: &ParticipantIdentity,
        key_index: u8,
        from: &Arc<KeySet>,
        to: &Arc<KeySet>,
    ) {
        let mut rings = self.lock();
        let Rings { shared, participants } = &mut *rings;
        if let Some(own) = participants.get_mut(identity).and_then(|ring| ring.get_mut(&key_index)) {
            if Arc::ptr_eq(&own.key, from) {
                own.key = Arc::clone(to);
            }
        } else if shared.get(&key_index).is_some_and(|key| Arc::ptr_eq(key, from))
            && (participants.len() < MOST_RATCHETED || participants.contains_key(identity))
        {
            let own = Own { key: Arc::clone(to), is_of_shared: true };
            participants.entry(identity.clone()).or_default().insert(key_index, own);
        }
        drop(rings);
        self.changed();
    }

    fn put_shared(&self, key_index: u8, key: Arc<KeySet>) {
        let mut rings = self.lock();
        rings.shared.insert(key_index, key);
        rings.participants.retain(|_, ring| {
            if ring.get(&key_index).is_some_and(|own| own.is_of_shared) {
                ring.remove(&key_index);
            }
            !ring.is_empty()
        });
        drop(rings);
        self.changed();
    }

    fn put(&self, identity: ParticipantIdentity, key_index: u8, key: Arc<KeySet>) {
        let own = Own { key, is_of_shared: false };
        self.lock().participants.entry(identity).or_default().insert(key_index, own);
        self.changed();
    }

    fn check(&self, key_index: u8) -> Result<(), KeyError> {
        let size = self.inner.options.key_ring_size;
        if key_index < size { Ok(()) } else { Err(KeyError::NoSuchIndex { key_index, size }) }
    }

    fn changed(&self) {
        self.inner.version.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.inner.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for KeyProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KeyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rings = self.lock();
        let (shared, participants) = (rings.shared.len(), rings.participants.len());
        drop(rings);
        f.debug_struct("KeyProvider")
            .field("key_index", &self.key_index())
            .field("shared_keys", &shared)
            .field("participants", &participants)
            .finish_non_exhaustive()
    }
}

/// How keys are made and used. All clients in a room need the same salt and key size; the rest is each one's own.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct KeyProviderOptions {
    pub(super) ratchet_window: u8,
    ratchet_salt: Vec<u8>,
    pub(super) failure_tolerance: Option<u32>,
    pub(super) key_ring_size: u8,
    key_size: KeySize,
}

impl KeyProviderOptions {
    /// What LiveKit's native clients have: a window of 16, the salt `LKFrameEncryptionKey`, failures without end, 16 numbers,
    /// keys of 128 bits.
    pub fn new() -> Self {
        Self {
            ratchet_window: 16,
            ratchet_salt: b"LKFrameEncryptionKey".to_vec(),
            failure_tolerance: None,
            key_ring_size: 16,
            key_size: KeySize::Bits128,
        }
    }

    /// How many steps a participant's key may have moved on when the one that is known does not open a frame; none of them is
    /// looked for where this is 0. LiveKit's JavaScript has 8, and 0 for one key for all.
    ///
    /// The keys of the window are made once for each key, on a thread of their own if that takes long: a second of work for 16
    /// of a passphrase. They are tried ten times a second at most.
    pub fn with_ratchet_window(self, ratchet_window: u8) -> Self {
        Self { ratchet_window, ..self }
    }

    /// The salt of all keys.
    pub fn with_ratchet_salt(self, ratchet_salt: impl Into<Vec<u8>>) -> Self {
        Self { ratchet_salt: ratchet_salt.into(), ..self }
    }

    /// After how many more failures in a row a key is not tried any more in a stream, until another one is set; `None` for
    /// never, which is the default. LiveKit's JavaScript has 10, and none for one key for all.
    pub fn with_failure_tolerance(self, failure_tolerance: impl Into<Option<u32>>) -> Self {
        Self { failure_tolerance: failure_tolerance.into(), ..self }
    }

    /// How many numbers keys may have, from 0 on; 16 unless set, and 1 at least.
    pub fn with_key_ring_size(self, key_ring_size: u8) -> Self {
        Self { key_ring_size: key_ring_size.max(1), ..self }
    }

    /// How long keys are. Only JavaScript has others than 128 bits.
    pub fn with_key_size(self, key_size: KeySize) -> Self {
        Self { key_size, ..self }
    }
}

impl Default for KeyProviderOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KeyProviderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyProviderOptions")
            .field("ratchet_window", &self.ratchet_window)
            .field("failure_tolerance", &self.failure_tolerance)
            .field("key_ring_size", &self.key_ring_size)
            .field("key_size", &self.key_size)
            .finish_non_exhaustive()
    }
}

/// Why a key was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The ring has no such place.
    NoSuchIndex {
        /// The number that was given.
        key_index: u8,
        /// How many there are.
        size: u8,
    },
    /// There is no key of which the next one could be made.
    NoKey,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchIndex { key_index, size } => write!(f, "keys have numbers below {size}, not {key_index}"),
            Self::NoKey => f.write_str("there is no key under this number"),
        }
    }
}

impl std::error::Error for KeyError {}
