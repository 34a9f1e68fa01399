//! A store in the keychain of the system.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use keyring::{Entry, Error};

use crate::provider::BoxError;
use crate::store::{CredentialStore, StoreKey, StoredCredentials};

/// Keeps credentials in the keychain of the system: the Secret Service on Linux and the BSDs, Keychain Services on macOS, the
/// Credential Manager on Windows.
///
/// Each credentials are an item of their own, and each namespace has one more that lists them: a keychain can't be asked for
/// what it has. A namespace has 64 at most; beyond that, those that were saved first go. Of processes that save in one
/// namespace at once, one may leave items that [`clear`](CredentialStore::clear) does not know of; they are found by their
/// keys, and expire.
///
/// A keychain may be locked and ask its user: the fetch goes on without it after two seconds. On Windows an item has
/// 2,560 bytes, which is little for a token with metadata; what does not fit is not kept. It is only tried with a stand-in in
/// the tests of this crate, since the machines that run them have no keychain.
///
/// The crate `keyring` makes the system's keychain the default of its process; an application that chooses another one for
/// itself should do so after it has made this.
pub struct KeychainStore {
    service: String,
    keychain: Box<dyn Keychain>,
    /// The lists are read, changed and written.
    lists: Mutex<()>,
}

/// The most items of a namespace.
const MOST_ITEMS: usize = 64;

impl KeychainStore {
    /// Keeps items under a service name, which users may see: that of the application.
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self::with(service.into(), Box::new(SystemKeychain))
    }

    fn with(service: String, keychain: Box<dyn Keychain>) -> Self {
        Self { service, keychain, lists: Mutex::new(()) }
    }

    fn change_list(
        &self,
        namespace: &str,
        change: impl FnOnce(&mut VecDeque<String>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let _guard = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}list", StoreKey::prefix(namespace));
        let list = self.keychain.read(&self.service, &name)?.unwrap_or_default();
        let before: VecDeque<String> = String::from_utf8(list).unwrap_or_default().lines().map(str::to_owned).collect();
        let mut after = before.clone();
        change(&mut after)?;
        match after.make_contiguous().join("\n") {
            _ if after == before => Ok(()),
            list if list.is_empty() => self.keychain.delete(&self.service, &name),
            list => self.keychain.write(&self.service, &name, list.as_bytes()),
        }
    }
}

impl CredentialStore for KeychainStore {
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
        let found = self.keychain.read(&self.service, &key.to_string())?;
        Ok(found.map(StoredCredentials::from_bytes))
    }

    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
        let name = key.to_string();
        // Listed first, so that what is there is listed.
        self.change_list(key.namespace(), |list| {
            if !list.contains(&name) {
                list.push_back(name.clone());
            }
            while list.len() > MOST_ITEMS {
                let first = list.pop_front().unwrap_or_default();
                self.keychain.delete(&self.service, &first)?;
            }
            Ok(())
        })?;
        self.keychain.write(&self.service, &name, credentials.as_bytes())
    }

    fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
        let name = key.to_string();
        self.keychain.delete(&self.service, &name)?;
        self.change_list(key.namespace(), |list| {
            list.retain(|listed| *listed != name);
            Ok(())
        })
    }

    fn clear(&self, namespace: &str) -> Result<(), BoxError> {
        self.change_list(namespace, |list| {
            list.drain(..).try_for_each(|name| self.keychain.delete(&self.service, &name))
        })
    }
}

impl fmt::Debug for KeychainStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeychainStore").field("service", &self.service).finish_non_exhaustive()
    }
}

/// What a keychain does.
trait Keychain: Send + Sync {
    fn read(&self, service: &str, name: &str) -> Result<Option<Vec<u8>>, BoxError>;
    fn write(&self, service: &str, name: &str, secret: &[u8]) -> Result<(), BoxError>;
    /// Deletes an item, if it is there.
    fn delete(&self, service: &str, name: &str) -> Result<(), BoxError>;
}

struct SystemKeychain;

impl Keychain for SystemKeychain {
    fn read(&self, service: &str, name: &str) -> Result<Option<Vec<u8>>, BoxError> {
        match Entry::new(service, name)?.get_secret() {
            Ok(secret) => Ok(Some(secret)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, service: &str, name: &str, secret: &[u8]) -> Result<(), BoxError> {
        Ok(Entry::new(service, name)?.set_secret(secret)?)
    }

    fn delete(&self, service: &str, name: &str) -> Result<(), BoxError> {
        match Entry::new(service, name)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;

    #[derive(Default)]
    struct FakeKeychain(Mutex<BTreeMap<(String, String), Vec<u8>>>);

    impl Keychain for Arc<FakeKeychain> {
        fn read(&self, service: &str, name: &str) -> Result<Option<Vec<u8>>, BoxError> {
            Ok(self.0.lock().unwrap().get(&(service.to_owned(), name.to_owned())).cloned())
        }

        fn write(&self, service: &str, name: &str, secret: &[u8]) -> Result<(), BoxError> {
            self.0.lock().unwrap().insert((service.to_owned(), name.to_owned()), secret.to_vec());
            Ok(())
        }

        fn delete(&self, service: &str, name: &str) -> Result<(), BoxError> {
            self.0.lock().unwrap().remove(&(service.to_owned(), name.to_owned()));
            Ok(())
        }
    }

    fn key(namespace: &str, number: u8) -> StoreKey {
        StoreKey::new(namespace, [number; 32])
    }

    #[test]
    fn what_is_saved_is_found_until_it_is_removed_and_a_namespace_is_cleared_alone() {
        let keychain = Arc::new(FakeKeychain::default());
        let store = KeychainStore::with("app".to_owned(), Box::new(Arc::clone(&keychain)));
        let item = |text: &str| StoredCredentials::from_bytes(text.as_bytes());
        let load = |key: StoreKey| store.load(&key).unwrap();
        for (namespace, number) in [("a", 1), ("a", 2), ("b", 1)] {
            store.save(&key(namespace, number), &item(&format!("{namespace}{number}"))).unwrap();
        }
        store.save(&key("a", 2), &item("again")).unwrap();
        assert_eq!(
            (load(key("a", 1)), load(key("a", 2)), load(key("b", 1))),
            (Some(item("a1")), Some(item("again")), Some(item("b1")))
        );
        store.remove(&key("a", 1)).unwrap();
        store.remove(&key("a", 1)).unwrap();
        assert_eq!((load(key("a", 1)), load(key("a", 2))), (None, Some(item("again"))));
        store.clear("a").unwrap();
        assert_eq!((load(key("a", 2)), load(key("b", 1))), (None, Some(item("b1"))));
        store.clear("b").unwrap();
        assert!(keychain.0.lock().unwrap().is_empty(), "nothing is left, no list either");
    }

    #[test]
    fn a_namespace_has_so_many_items_and_the_first_go() {
        let keychain = Arc::new(FakeKeychain::default());
        let store = KeychainStore::with("app".to_owned(), Box::new(Arc::clone(&keychain)));
        for number in 0..=MOST_ITEMS as u8 {
            store.save(&key("a", number), &StoredCredentials::from_bytes([number])).unwrap();
        }
        assert_eq!(keychain.0.lock().unwrap().len(), MOST_ITEMS + 1, "and their list");
        assert!(store.load(&key("a", 0)).unwrap().is_none() && store.load(&key("a", 1)).unwrap().is_some());
    }

    #[test]
    fn debug_shows_no_item() {
        let store = KeychainStore::with("app".to_owned(), Box::new(Arc::new(FakeKeychain::default())));
        assert_eq!(format!("{store:?}"), "KeychainStore { service: \"app\", .. }");
    }
}
