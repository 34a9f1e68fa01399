//! Whether and how a room is encrypted.

use super::key_provider::KeyProvider;

/// Whether and how a room is encrypted from end to end.
#[doc(alias = "E2eeOptions")]
#[derive(Debug, Clone)]
#[must_use]
pub struct EncryptionOptions {
    pub(crate) key_provider: KeyProvider,
    pub(crate) encrypts_data: bool,
    pub(crate) is_enabled: bool,
}

impl EncryptionOptions {
    /// Tracks and data, with the keys that this has now and later.
    pub fn new(key_provider: KeyProvider) -> Self {
        Self { key_provider, encrypts_data: true, is_enabled: true }
    }

    /// Whether messages, streams and calls are encrypted too; on by default. Off is what clients do that are given the option
    /// `e2ee` rather than `encryption`. What others send encrypted is read either way.
    pub fn with_data(self, encrypts_data: bool) -> Self {
        Self { encrypts_data, ..self }
    }

    /// Whether what this client sends is encrypted from the join on, which is the default; else it is from
    /// [`Room::set_encryption_enabled`](crate::Room::set_encryption_enabled) on, as in LiveKit's JavaScript.
    pub fn with_enabled(self, is_enabled: bool) -> Self {
        Self { is_enabled, ..self }
    }

    /// Whether it is so [from the join on](Self::with_enabled).
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Where the keys are.
    pub fn key_provider(&self) -> &KeyProvider {
        &self.key_provider
    }
}
