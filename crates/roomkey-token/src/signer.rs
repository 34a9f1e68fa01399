//! Signing tokens with an API key.

use std::fmt;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::claims::{Claims, Stamp};
use crate::compact::encode_segment;
use crate::mint_error::{MintError, SignerError};
use crate::numeric_date::NumericDate;

/// The shortest API secret that is taken, in bytes. LiveKit generates longer ones; livekit-server logs an error for
/// shorter ones, whose tokens can be forged by guessing.
pub const MIN_SECRET_BYTES: usize = 32;

/// The longest lifetime of a token that is minted.
pub const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An API key ready to sign: the secret is absorbed into the state of the HMAC once, and wiped from memory when the
/// signer is dropped.
///
/// Cheap enough to keep one for the life of the process, and shared by reference between threads. It signs what an
/// [`AccessToken`](crate::AccessToken) describes.
pub struct Signer {
    api_key: String,
    mac: Hmac<Sha256>,
}

/// Characters of the base64url of an HMAC-SHA256.
const SIGNATURE_CHARACTERS: usize = 43;

impl Signer {
    /// A signer for an API key and its secret.
    ///
    /// # Errors
    ///
    /// The key is empty, or the secret is shorter than [`MIN_SECRET_BYTES`]. For the `secret` of a server in
    /// development mode there is [`builder`](Self::builder).
    pub fn new(api_key: impl Into<String>, api_secret: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, SignerError> {
        Self::builder(api_key, api_secret).build()
    }

    /// A signer with options.
    #[must_use]
    pub fn builder(api_key: impl Into<String>, api_secret: &(impl AsRef<[u8]> + ?Sized)) -> SignerBuilder {
        SignerBuilder {
            api_key: api_key.into(),
            api_secret: Zeroizing::new(api_secret.as_ref().to_vec()),
            allow_weak_secret: false,
        }
    }

    /// The API key that its tokens name in `iss`.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Signs claims for a lifetime of `ttl` from `now` on. `iss`, `iat`, `nbf` and `exp` are the signer's.
    pub(crate) fn sign(&self, claims: &Claims, now: SystemTime, ttl: Duration) -> Result<Jwt, MintError> {
        let issued_at = NumericDate::from(now);
        let expires_at = i64::try_from(ttl.as_secs()).ok().and_then(|ttl| issued_at.as_secs().checked_add(ttl));
        let stamp = Stamp {
            iss: &self.api_key,
            issued_at,
            // The mint time and no earlier: LiveKit Cloud revokes by `nbf`.
            not_before: issued_at,
            expires_at: NumericDate::from_secs(expires_at.ok_or(MintError::Lifetime)?),
        };
        Ok(self.seal(&claims.to_payload(&stamp)))
    }

    /// Puts a payload between the constant header and its signature.
    fn seal(&self, payload: &[u8]) -> Jwt {
        // {"alg":"HS256","typ":"JWT"}
        const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.";

        let input = HEADER.len() + payload.len().div_ceil(3) * 4;
        let mut token = vec![0; input + 1 + SIGNATURE_CHARACTERS];
        let mut length = HEADER.len();
        token[..length].copy_from_slice(HEADER.as_bytes());
        length += encode_segment(payload, &mut token[length..]);
        let mut mac = self.mac.clone();
        mac.update(&token[..length]);
        token[length] = b'.';
        length += 1;
        length += encode_segment(&mac.finalize().into_bytes(), &mut token[length..]);
        token.truncate(length);
        Jwt(String::from_utf8(token).expect("base64url and dots are ASCII"))
    }
}

/// Shows the API key, never the secret.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("api_key", &self.api_key).finish_non_exhaustive()
    }
}

/// Options of a [`Signer`].
pub struct SignerBuilder {
    api_key: String,
    api_secret: Zeroizing<Vec<u8>>,
    allow_weak_secret: bool,
}

impl SignerBuilder {
    /// Takes a secret shorter than [`MIN_SECRET_BYTES`], such as the `secret` of livekit-server's development mode.
    /// Whoever guesses such a secret mints tokens of their own.
    #[must_use]
    pub fn allow_weak_secret(mut self) -> Self {
        self.allow_weak_secret = true;
        self
    }

    /// Makes the signer.
    ///
    /// # Errors
    ///
    /// The key or the secret is empty, or the secret is weak and that was not allowed.
    pub fn build(self) -> Result<Signer, SignerError> {
        if self.api_key.trim().is_empty() {
            return Err(SignerError::EmptyApiKey);
        }
        if self.api_secret.is_empty() {
            return Err(SignerError::EmptySecret);
        }
        if self.api_secret.len() < MIN_SECRET_BYTES && !self.allow_weak_secret {
            return Err(SignerError::WeakSecret);
        }
        let mac = Hmac::new_from_slice(&self.api_secret).expect("HMAC takes a key of any length");
        Ok(Signer { api_key: self.api_key, mac })
    }
}

/// Shows the API key, never the secret.
impl fmt::Debug for SignerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerBuilder")
            .field("api_key", &self.api_key)
            .field("allow_weak_secret", &self.allow_weak_secret)
            .finish_non_exhaustive()
    }
}

/// A signed token. Whoever has its text has what it grants, so `Debug` hides it, and dropping it wipes its signature,
/// without which it grants nothing.
///
/// [`as_str`](Self::as_str) and the conversion to `String` give the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Jwt(String);

impl Jwt {
    /// The text of the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Jwt> for String {
    /// The text of the token, without a copy; wiping it is then the caller's business.
    fn from(mut token: Jwt) -> Self {
        std::mem::take(&mut token.0)
    }
}

impl Drop for Jwt {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.0).into_bytes();
        let signature = text.len().saturating_sub(SIGNATURE_CHARACTERS);
        text[signature..].zeroize();
    }
}

impl AsRef<str> for Jwt {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt([redacted])")
    }
}
