//! A store of sealed files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::provider::BoxError;
use crate::store::{CredentialStore, StoreKey, StoredCredentials, hex};
use files::{Files, SystemFiles};

mod files;

/// Keeps credentials in files, sealed with a key of the application's.
///
/// - Each credentials are a file of their own: `<directory>/<namespace>/<name>`, where neither name says anything. Files are
///   made with mode 0600 and directories with 0700 on Unix; an existing `directory` stays as it is.
/// - A file is sealed by XChaCha20-Poly1305 with a random nonce, and bound to its namespace and key. What was sealed with
///   another key, was changed or was moved is nothing: the source fetches.
/// - A file is written beside the old one, synced, and put in its place in one step: after a crash there is the old one or
///   the new one. Processes may share a directory; of two who save at once, the last one wins.
/// - A namespace has 256 files at most; beyond that, the oldest go. What a crash left half-written goes with a later save.
///
/// It does not protect from somebody who has the key, nor from one who puts an older file of the same key back: what that
/// holds expires.
///
/// ```
/// use roomkey_source::{Credentials, FileStore, SealingKey, TokenSource, provider_fn};
///
/// # let directory = std::env::temp_dir().join(format!("roomkey-doc-{}", std::process::id()));
/// // From where the application keeps its secrets.
/// let key = SealingKey::from_bytes([7; 32]);
/// let source = TokenSource::builder(provider_fn(|_| async { Ok(Credentials::new("wss://example", "a token")) }))
///     .store(FileStore::open(&directory, &key)?, "https://example.com/token")
///     .build();
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FileStore {
    directory: PathBuf,
    seal: XChaCha20Poly1305,
    /// From which the names of files are made, so that a guess of what a file is for can't be checked.
    names: Hmac<Sha256>,
    files: Box<dyn Files>,
}

/// The 32 bytes that a [`FileStore`] seals with. `Debug` does not show them; they are wiped when they are dropped.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// A key from 32 bytes that nobody can guess: not a password.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new key from the system's randomness, to be kept where the application keeps its secrets.
    ///
    /// # Errors
    ///
    /// The system gives none.
    pub fn generate() -> io::Result<Self> {
        random().map(Self::from_bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose.
    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut mac = new_hmac(&self.0);
        mac.update(purpose.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

/// What every file begins with.
const MAGIC: &[u8] = b"roomkey1";
const NONCE: usize = 24;
const TAG: usize = 16;

/// The longest file; a token with all its metadata is a fraction of that.
const LONGEST: usize = 128 * 1024;

/// The most files of a namespace.
const MOST_FILES: usize = 256;

/// How much older than a file just written one has to be that is half-written and whose writer is gone.
const LEFT_BEHIND: std::time::Duration = std::time::Duration::from_secs(60);

impl FileStore {
    /// Keeps files in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The directory can't be made.
    pub fn open(directory: impl Into<PathBuf>, key: &SealingKey) -> io::Result<Self> {
        Self::open_with(directory.into(), key, Box::new(SystemFiles))
    }

    fn open_with(directory: PathBuf, key: &SealingKey, files: Box<dyn Files>) -> io::Result<Self> {
        files.make_directory(&directory)?;
        let seal = chacha20poly1305::KeyInit::new((&*key.derive("roomkey file store: seal")).into());
        let names = new_hmac(&key.derive("roomkey file store: names"));
        Ok(Self { directory, seal, names, files })
    }

    fn folder(&self, namespace: &str) -> PathBuf {
        self.directory.join(StoreKey::prefix(namespace).trim_end_matches('-'))
    }

    fn path(&self, key: &StoreKey) -> PathBuf {
        let mut name = self.names.clone();
        name.update(key.digest());
        self.folder(key.namespace()).join(hex(&name.finalize().into_bytes()))
    }

    fn seal(&self, key: &StoreKey, credentials: &StoredCredentials) -> io::Result<Vec<u8>> {
        let nonce = XNonce::from(random::<NONCE>()?);
        let payload = Payload { msg: credentials.as_bytes(), aad: &bound_to(key) };
        let sealed = self.seal.encrypt(&nonce, payload).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok([MAGIC, nonce.as_slice(), &sealed].concat())
    }

    /// Nothing if it was not sealed for this key with this store's.
    fn unseal(&self, key: &StoreKey, file: &[u8]) -> Option<StoredCredentials> {
        let (nonce, sealed) = file.strip_prefix(MAGIC)?.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        let opened = self.seal.decrypt(&nonce, Payload { msg: sealed, aad: &bound_to(key) }).ok()?;
        Some(StoredCredentials::from_bytes(opened))
    }

    /// Removes what a crash has left, and what is too much. Another process may do the same.
    fn tidy(&self, folder: &Path, written: &Path) -> io::Result<()> {
        let mut listed = self.files.list(folder)?;
        let Some(now) = listed.iter().find(|file| file.path == written).map(|file| file.modified) else {
            return Ok(());
        };
        listed.retain(|file| is_ours(&file.path));
        let (half_written, mut whole): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|file| is_half_written(&file.path));
        for file in half_written {
            if now.duration_since(file.modified).is_ok_and(|older_by| older_by >= LEFT_BEHIND) {
                self.files.remove(&file.path)?;
            }
        }
        // The one just written is the last to go.
        whole.sort_by_key(|file| (file.path == written, file.modified));
        let too_many = whole.len().saturating_sub(MOST_FILES);
        whole[..too_many].iter().try_for_each(|file| self.files.remove(&file.path))
    }
}

impl CredentialStore for FileStore {
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
        let file = self.files.read(&self.path(key), LONGEST)?;
        Ok(file.and_then(|file| self.unseal(key, &file)))
    }

    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
        if credentials.as_bytes().len() + MAGIC.len() + NONCE + TAG > LONGEST {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        let (folder, path) = (self.folder(key.namespace()), self.path(key));
        let sealed = self.seal(key, credentials)?;
        self.files.make_directory(&folder)?;
        let half_written = path.with_extension(format!("{}.{HALF_WRITTEN}", hex(&random::<8>()?)));
        let replaced = self
            .files
            .write_new(&half_written, &sealed)
            .and_then(|()| self.files.sync(&half_written))
            .and_then(|()| self.files.rename(&half_written, &path));
        if let Err(error) = replaced {
            self.files.remove(&half_written).ok();
            return Err(error.into());
        }
        self.files.sync_directory(&folder)?;
        // Only to keep house: what is saved is saved.
        self.tidy(&folder, &path).ok();
        Ok(())
    }

    fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
        self.files.remove(&self.path(key))?;
        Ok(self.files.sync_directory(&self.folder(key.namespace()))?)
    }

    fn clear(&self, namespace: &str) -> Result<(), BoxError> {
        let folder = self.folder(namespace);
        for file in self.files.list(&folder)? {
            if is_ours(&file.path) {
                self.files.remove(&file.path)?;
            }
        }
        Ok(self.files.sync_directory(&folder)?)
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The extension of a file that is being written.
const HALF_WRITTEN: &str = "tmp";

/// Whether a file has a name that this store gives, so that nothing else in its directory is touched.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = match name.split_once('.') {
        Some((name, _)) if is_half_written(path) => name,
        _ => name,
    };
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_half_written(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == HALF_WRITTEN)
}

/// What a file is for, so that it is nothing in the place of another.
fn bound_to(key: &StoreKey) -> Vec<u8> {
    [MAGIC, key.digest(), key.namespace().as_bytes()].concat()
}

fn new_hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Bytes of the system's randomness.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
