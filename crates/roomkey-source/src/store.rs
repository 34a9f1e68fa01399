//! What keeps credentials beyond the life of a source.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cache::Key;
use crate::provider::BoxError;

/// Keeps credentials where they outlive their source; see
/// [`TokenSourceBuilder::store`](crate::TokenSourceBuilder::store).
///
/// A store keeps bytes under keys and looks into neither. It may block, fail, panic and take its time: the source calls it
/// on a thread of the source's own, one call after the other, in the order in which things happened. What it fails to give is
/// fetched, what it fails to keep is gone with the process.
///
/// One store may serve any number of sources and processes at once. Of two who save under one key, the last wins; nobody is
/// given half of either.
///
/// ```
/// use std::path::PathBuf;
/// use roomkey_source::{BoxError, CredentialStore, StoreKey, StoredCredentials};
///
/// /// The application's own settings database.
/// struct Settings;
/// # impl Settings {
/// #     fn read(&self, _: &str) -> Result<Option<Vec<u8>>, std::io::Error> { Ok(None) }
/// #     fn write(&self, _: &str, _: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// #     fn delete(&self, _: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # }
///
/// impl CredentialStore for Settings {
///     fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
///         Ok(self.read(&key.to_string())?.map(StoredCredentials::from_bytes))
///     }
///
///     fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
///         Ok(self.write(&key.to_string(), credentials.as_bytes())?)
///     }
///
///     fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
///         Ok(self.delete(&key.to_string())?)
///     }
///
///     fn clear(&self, namespace: &str) -> Result<(), BoxError> {
///         Ok(self.delete(&StoreKey::prefix(namespace))?)
///     }
/// }
/// ```
pub trait CredentialStore: Send + Sync + 'static {
    /// Gives what was saved under a key last, and nothing where nothing was.
    ///
    /// # Errors
    ///
    /// Any. The source fetches then.
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError>;

    /// Saves credentials under a key in the place of others. They are a secret: who can read them can join with them.
    ///
    /// # Errors
    ///
    /// Any. What was saved before should still be there then.
    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError>;

    /// Removes what is saved under a key, if anything is.
    ///
    /// # Errors
    ///
    /// Any. The source then reads nothing of its namespace before a [`clear`](Self::clear) has succeeded.
    fn remove(&self, key: &StoreKey) -> Result<(), BoxError>;

    /// Removes everything that is saved in a namespace, whoever saved it.
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove).
    fn clear(&self, namespace: &str) -> Result<(), BoxError>;
}

impl<S: CredentialStore + ?Sized> CredentialStore for Arc<S> {
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
        (**self).load(key)
    }

    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
        (**self).save(key, credentials)
    }

    fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
        (**self).remove(key)
    }

    fn clear(&self, namespace: &str) -> Result<(), BoxError> {
        (**self).clear(namespace)
    }
}

/// Under what credentials are saved: a namespace, and a digest of it, of the partition and of the options, from which none
/// of them can be read.
///
/// (Who guesses them can check the guess: where a stranger sees the keys, as the names of files, a store had better hide
/// them.)
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey {
    namespace: Arc<str>,
    digest: [u8; 32],
}

impl StoreKey {
    /// A key, for the tests of a store.
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>, digest: [u8; 32]) -> Self {
        Self { namespace: namespace.into(), digest }
    }

    pub(crate) fn of(namespace: &Arc<str>, key: &Key) -> Self {
        let mut digest = Sha256::new();
        let options = serde_json::to_vec(&key.options).expect("options are texts and maps with texts as keys");
        // Each with its length, so that the end of one is not taken for the beginning of the next.
        let parts = [Some(namespace.as_bytes()), key.partition.as_ref().map(|who| who.as_bytes()), Some(&options[..])];
        digest.update(b"roomkey credentials 1");
        for part in parts {
            digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            digest.update(part.unwrap_or_default());
        }
        Self { namespace: Arc::clone(namespace), digest: digest.finalize().into() }
    }

    /// The namespace that the source was given.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What stands for everything that the credentials are for, the namespace included.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What the texts of all keys of a namespace begin with, and those of no other: hexadecimal digits and a dash.
    #[must_use]
    pub fn prefix(namespace: &str) -> String {
        format!("{}-", hex(&Sha256::digest(namespace)[..16]))
    }
}

/// A name for a file or a row: 97 hexadecimal digits and dashes.
impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::prefix(&self.namespace), hex(&self.digest))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreKey").field("namespace", &self.namespace).field("digest", &hex(&self.digest)).finish()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Credentials and what they are for, as a [`CredentialStore`] keeps them: bytes with a token in them. `Debug` does not show
/// them; they are wiped when they are dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCredentials(Zeroizing<Vec<u8>>);

impl StoredCredentials {
    /// What a store has kept. Bytes that are not what was saved are found out by the source, and are nothing to it.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// What a store keeps.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for StoredCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredCredentials([{} bytes])", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::FetchOptions;

    fn key(namespace: &str, partition: Option<&str>, room: &str) -> StoreKey {
        let options = FetchOptions::new().with_room_name(room);
        StoreKey::of(&namespace.into(), &Key { hash: 0, partition: partition.map(Arc::from), options })
    }

    #[test]
    fn keys_differ_where_namespace_partition_or_options_do() {
        let keys = [
            key("a", None, "r"),
            key("b", None, "r"),
            key("a", Some(""), "r"),
            key("a", Some("b"), "r"),
            key("ab", Some(""), "r"),
            key("a", None, "s"),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other.digest() != one.digest()), "{one}");
        }
        assert_eq!(key("a", None, "r"), key("a", None, "r"));
    }

    #[test]
    fn a_key_is_the_same_in_every_version_of_this_crate() {
        let text = key("app", Some("alice"), "lobby").to_string();
        assert_eq!(
            text,
            "a172cedcae47474b615c54d510a5d84a-834847b33325c79496a2e96cb7d4517e4aefd5f5756b71452803555f706d7211"
        );
        assert!(text.starts_with(&StoreKey::prefix("app")));
    }

    #[test]
    fn debug_shows_neither_what_is_stored_nor_for_whom() {
        let shown = format!("{:?} {:?}", key("app", Some("alice"), "lobby"), StoredCredentials::from_bytes(*b"secret"));
        assert!(!shown.contains("alice") && !shown.contains("lobby") && !shown.contains("secret"), "{shown}");
        assert!(!shown.contains("115, 101"), "{shown}");
    }
}
