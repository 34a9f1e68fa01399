//! Why a token is not minted.

use std::fmt;

use crate::signer::{MAX_TTL, MIN_SECRET_BYTES};

/// Why a [`Signer`](crate::Signer) could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignerError {
    /// The API key is empty.
    EmptyApiKey,
    /// The API secret is empty.
    EmptySecret,
    /// The API secret is shorter than [`MIN_SECRET_BYTES`].
    WeakSecret,
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyApiKey => f.write_str("the API key is empty"),
            Self::EmptySecret => f.write_str("the API secret is empty"),
            Self::WeakSecret => write!(
                f,
                "the API secret is shorter than {MIN_SECRET_BYTES} bytes; allow_weak_secret() takes it for development"
            ),
        }
    }
}

impl std::error::Error for SignerError {}

/// Why a token was not minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MintError {
    /// The grant to join a room names none, or only white space.
    EmptyRoom,
    /// A participant who joins has no identity, or only white space.
    EmptyIdentity,
    /// The lifetime is less than a second, or more than [`MAX_TTL`].
    Lifetime,
    /// There is an `aud`, which LiveKit ignores and some of its SDKs refuse.
    Audience,
    /// A private claim has the name of a claim that LiveKit or RFC 7519 define.
    PrivateClaim,
    /// The room configuration's egress carries the credentials of a storage or a stream key: a token is not encrypted,
    /// and its holder would read them.
    SensitiveCredentials,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyRoom => f.write_str("a token that joins a room needs the room's name"),
            Self::EmptyIdentity => f.write_str("a token that joins a room needs a participant identity"),
            Self::Lifetime => {
                write!(f, "the lifetime of a token is between 1 second and {} days", MAX_TTL.as_secs() / 86_400)
            }
            Self::Audience => f.write_str("an audience (aud) makes SDKs of LiveKit refuse the token"),
            Self::PrivateClaim => f.write_str("a private claim has the name of a claim with a meaning of its own"),
            Self::SensitiveCredentials => f.write_str(
                "the room configuration's egress has credentials that the token's holder could read; \
                 allow_sensitive_credentials() takes it for tokens that stay on servers",
            ),
        }
    }
}

impl std::error::Error for MintError {}
