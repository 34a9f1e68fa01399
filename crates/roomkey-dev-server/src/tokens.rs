//! The server's keys: whose tokens it takes, and the tokens that it signs itself.

use std::fmt;
use std::time::{Duration, SystemTime};

use roomkey_token::{AccessToken, Claims, JoinLimits, MintError, Signer, SignerError, Verifier};

use crate::sfu::Refusal;

/// API keys with their secrets, the first of which signs. `Debug` shows the keys alone.
pub(crate) struct Keys {
    first_key: String,
    signer: Signer,
    verifier: Verifier,
}

/// How long a token that the server hands out is good for, at least.
const REFRESHED_TTL: Duration = Duration::from_secs(600);

impl Keys {
    /// `secret` and others as short are known to everybody, so they are for loopback alone: `allow_weak`.
    pub(crate) fn new(keys: &[(String, String)], allow_weak: bool) -> Result<Self, SignerError> {
        let signer = |(key, secret): &(String, String)| {
            let builder = Signer::builder(key.clone(), secret);
            if allow_weak { builder.allow_weak_secret().build() } else { builder.build() }
        };
        let (first, others) = keys.split_first().expect("a configuration has a key");
        others.iter().try_for_each(|key| signer(key).map(drop))?;
        let (first_key, signer) = (&first.0, signer(first)?);
        let verifier =
            keys.iter().fold(Verifier::new(), |verifier, (key, secret)| verifier.with_key(key.clone(), secret));
        Ok(Self { first_key: first_key.clone(), signer, verifier })
    }

    /// What livekit-server answers to a token: its claims, or the status and text of the refusal.
    pub(crate) fn authenticate(&self, token: Option<&str>, now: SystemTime) -> Result<Claims, Refusal> {
        let token = token.filter(|token| !token.is_empty()).unwrap_or_default();
        self.verifier.verify(token, now).map_err(|error| Refusal::new(error.status(), error.response_body()))
    }

    /// The same for somebody who wants to join.
    pub(crate) fn authenticate_join(&self, token: Option<&str>, now: SystemTime) -> Result<Claims, Refusal> {
        if token.is_none_or(str::is_empty) {
            return Err(Refusal::new(401, "no permissions to access the room"));
        }
        let claims = self.authenticate(token, now)?;
        let checked = claims.check_join(&JoinLimits::default()).map(|_| ());
        checked.map_err(|error| Refusal::new(error.status(), error.response_body()))?;
        Ok(claims)
    }

    pub(crate) fn sign(&self, token: &AccessToken, now: SystemTime) -> Result<String, MintError> {
        Ok(token.sign(&self.signer, now)?.as_str().to_owned())
    }

    /// A token for a participant who is in the room: good until the old one ends, and ten minutes at least.
    pub(crate) fn refresh(&self, claims: &Claims, now: SystemTime) -> Result<String, MintError> {
        let left = claims.expires_at().and_then(|expiry| expiry.duration_since(now).ok()).unwrap_or_default();
        let token = AccessToken::from_claims(claims.clone()).allow_sensitive_credentials();
        self.sign(&token.with_ttl(left.max(REFRESHED_TTL)), now)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("first_key", &self.first_key).finish_non_exhaustive()
    }
}
