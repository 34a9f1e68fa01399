//! Keys: what the application gives, and what frames are sealed with.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce, Tag};
use zeroize::{Zeroize as _, Zeroizing};

use super::kdf::{self, BLOCK};

/// A secret that participants share, of which keys are made. It is wiped from memory when it is dropped, and never shown.
#[derive(Clone)]
pub struct EncryptionKey {
    derivation: Derivation,
    material: Zeroizing<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Derivation {
    Pbkdf2,
    Hkdf,
}

impl EncryptionKey {
    /// A passphrase, or bytes that other SDKs are given as one: keys are made of it with PBKDF2 (HMAC-SHA256, 100,000 rounds).
    /// It is what all clients can do: a string in JavaScript, and the default of the native SDKs for any bytes.
    ///
    /// Each key that is made of it takes a core some tens of milliseconds (a second in a build without optimization).
    pub fn passphrase(passphrase: impl Into<Vec<u8>>) -> Self {
        Self { derivation: Derivation::Pbkdf2, material: Zeroizing::new(passphrase.into()) }
    }

    /// At least 16 random bytes, of which keys are made with HKDF (SHA-256) in no time: an `ArrayBuffer` in JavaScript, and
    /// the key derivation function `HKDF` of the native SDKs, of which old ones have none.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { derivation: Derivation::Hkdf, material: Zeroizing::new(bytes.into()) }
    }

    /// The bytes, to be handed to another participant in secret.
    pub fn expose(&self) -> &[u8] {
        &self.material
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").field("derivation", &self.derivation).finish_non_exhaustive()
    }
}

/// How long the keys of AES are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeySize {
    /// 128 bits: what all clients have, and native ones alone.
    #[default]
    Bits128,
    /// 256 bits: `keySize: 256` in JavaScript.
    Bits256,
}

/// How keys are made of materials.
#[derive(Clone)]
pub(super) struct Parameters {
    pub(super) salt: Vec<u8>,
    pub(super) size: KeySize,
}

/// A key with what the next one is made of.
pub(super) struct KeySet {
    derivation: Derivation,
    material: Zeroizing<Vec<u8>>,
    cipher: Cipher,
    /// Those that are made of this one, as far as the window goes, once somebody has looked for them.
    ahead: OnceLock<Vec<Arc<Self>>>,
    is_looked_ahead: AtomicBool,
}

#[expect(clippy::large_enum_variant, reason = "a room has a handful")]
enum Cipher {
    Bits128(Aes128Gcm),
    Bits256(Aes256Gcm),
}

pub(super) const IV: usize = 12;
pub(super) const TAG: usize = 16;

impl KeySet {
    pub(super) fn new(key: &EncryptionKey, parameters: &Parameters) -> Arc<Self> {
        Self::of(key.derivation, key.material.clone(), parameters)
    }

    fn of(derivation: Derivation, material: Zeroizing<Vec<u8>>, parameters: &Parameters) -> Arc<Self> {
        let mut block = derive(derivation, &material, &parameters.salt);
        let (half, _) = block.split_first_chunk::<16>().expect("a block is longer");
        let cipher = match parameters.size {
            KeySize::Bits128 => Cipher::Bits128(Aes128Gcm::new(half.into())),
            KeySize::Bits256 => Cipher::Bits256(Aes256Gcm::new((&block).into())),
        };
        block.zeroize();
        let (ahead, is_looked_ahead) = (OnceLock::new(), AtomicBool::new(false));
        Arc::new(Self { derivation, material, cipher, ahead, is_looked_ahead })
    }

    /// The next key: its material is made of this one's. (Since both are first blocks of the same derivation, that material
    /// begins with this key.)
    pub(super) fn ratcheted(&self, parameters: &Parameters) -> Arc<Self> {
        let mut block = derive(self.derivation, &self.material, &parameters.salt);
        let material = Zeroizing::new(block.to_vec());
        block.zeroize();
        Self::of(self.derivation, material, parameters)
    }

    /// What another participant needs to have this key.
    pub(super) fn export(&self) -> EncryptionKey {
        EncryptionKey { derivation: self.derivation, material: self.material.clone() }
    }

    /// The next keys, so many as the window has. Nothing while they are being made: a second of work for those of a
    /// passphrase, once for each key and not here.
    pub(super) fn ahead(self: &Arc<Self>, window: u8, parameters: &Parameters) -> Option<&[Arc<Self>]> {
        if !self.is_looked_ahead.swap(true, Ordering::Relaxed) {
            let this = Arc::clone(self);
            let parameters = parameters.clone();
            let look = move || {
                let mut keys = Vec::new();
                let mut last = Arc::clone(&this);
                for _ in 0..window {
                    last = last.ratcheted(&parameters);
                    keys.push(Arc::clone(&last));
                }
                let _ = this.ahead.set(keys);
            };
            match self.derivation {
                Derivation::Hkdf => look(),
                // Without a thread to be had, there is no window.
                Derivation::Pbkdf2 => drop(std::thread::Builder::new().name("roomkey-ratchet".to_owned()).spawn(look)),
            }
        }
        self.ahead.get().map(Vec::as_slice)
    }

    /// Puts the ciphertext in the place of what is behind `clear` in the buffer, and the tag behind it.
    pub(super) fn seal(&self, iv: &[u8; IV], clear: usize, buffer: &mut Vec<u8>) -> Option<()> {
        let (additional, secret) = buffer.split_at_mut(clear);
        let nonce = Nonce::from(*iv);
        let tag = match &self.cipher {
            Cipher::Bits128(cipher) => cipher.encrypt_inout_detached(&nonce, additional, secret.into()),
            Cipher::Bits256(cipher) => cipher.encrypt_inout_detached(&nonce, additional, secret.into()),
        };
        buffer.extend_from_slice(&tag.ok()?);
        Some(())
    }

    /// The other way round. Where it fails, the buffer is as it was.
    pub(super) fn open(&self, iv: &[u8; IV], clear: usize, buffer: &mut Vec<u8>) -> Option<()> {
        let end = buffer.len().checked_sub(TAG).filter(|end| *end >= clear)?;
        let (front, tag) = buffer.split_at_mut(end);
        let (additional, secret) = front.split_at_mut(clear);
        let (nonce, tag) = (Nonce::from(*iv), Tag::from(*tag.first_chunk::<TAG>()?));
        match &self.cipher {
            Cipher::Bits128(cipher) => cipher.decrypt_inout_detached(&nonce, additional, secret.into(), &tag),
            Cipher::Bits256(cipher) => cipher.decrypt_inout_detached(&nonce, additional, secret.into(), &tag),
        }
        .ok()?;
        buffer.truncate(end);
        Some(())
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("derivation", &self.derivation).finish_non_exhaustive()
    }
}

fn derive(derivation: Derivation, material: &[u8], salt: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    match derivation {
        Derivation::Pbkdf2 => kdf::pbkdf2(material, salt, &mut block),
        Derivation::Hkdf => kdf::hkdf(material, salt, &mut block),
    }
    block
}
