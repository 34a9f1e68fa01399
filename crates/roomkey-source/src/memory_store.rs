//! A store that lives as long as the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::provider::BoxError;
use crate::store::{CredentialStore, StoreKey, StoredCredentials};

/// Keeps credentials in memory, for sources that come and go within a process, and for tests. Share it in an `Arc`.
///
/// It keeps 1,024 credentials; beyond that, those that were saved first go.
#[derive(Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    credentials: HashMap<StoreKey, (u64, StoredCredentials)>,
    saves: u64,
}

const CAPACITY: usize = 1_024;

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialStore for MemoryStore {
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
        Ok(self.lock().credentials.get(key).map(|(_, credentials)| credentials.clone()))
    }

    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
        let mut kept = self.lock();
        kept.saves += 1;
        let saves = kept.saves;
        kept.credentials.insert(key.clone(), (saves, credentials.clone()));
        if kept.credentials.len() > CAPACITY
            && let Some(first) =
                kept.credentials.iter().min_by_key(|(_, (saved, _))| *saved).map(|(key, _)| key.clone())
        {
            kept.credentials.remove(&first);
        }
        Ok(())
    }

    fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
        self.lock().credentials.remove(key);
        Ok(())
    }

    fn clear(&self, namespace: &str) -> Result<(), BoxError> {
        self.lock().credentials.retain(|key, _| key.namespace() != namespace);
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("credentials", &self.lock().credentials.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_capacity_the_first_go() {
        let (store, item) = (MemoryStore::new(), StoredCredentials::from_bytes(*b"x"));
        let key = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            StoreKey::new("app", digest)
        };
        for number in 0..=CAPACITY {
            store.save(&key(number), &item).unwrap();
        }
        assert_eq!(store.load(&key(0)).unwrap(), None);
        assert_eq!(store.load(&key(1)).unwrap(), Some(item));
        assert_eq!(store.lock().credentials.len(), CAPACITY);
    }
}
