//! How it stands with the encryption of a track or of somebody's data.

/// How it stands with the encryption of a track, or of a participant's data, since the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EncryptionState {
    /// Nothing has been encrypted or decrypted yet. It is told of nothing.
    #[default]
    New,
    /// It works.
    Ok,
    /// It could not be encrypted: the codec is one that LiveKit's clients do not encrypt, or the frame is none of its codec.
    EncryptionFailed,
    /// It could not be decrypted: the key is another one, or somebody has changed what was sent.
    DecryptionFailed,
    /// There is no key under the index in use.
    MissingKey,
    /// The sender's key has moved on, and the one here with it.
    KeyRatcheted,
    /// Something went wrong here.
    InternalError,
}

impl EncryptionState {
    /// Whether nothing is heard, seen or sent.
    pub fn is_failure(self) -> bool {
        match self {
            Self::New | Self::Ok | Self::KeyRatcheted => false,
            Self::EncryptionFailed | Self::DecryptionFailed | Self::MissingKey | Self::InternalError => true,
        }
    }

    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ok => "ok",
            Self::EncryptionFailed => "encryption_failed",
            Self::DecryptionFailed => "decryption_failed",
            Self::MissingKey => "missing_key",
            Self::KeyRatcheted => "key_ratcheted",
            Self::InternalError => "internal_error",
        }
    }
}

impl std::fmt::Display for EncryptionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
