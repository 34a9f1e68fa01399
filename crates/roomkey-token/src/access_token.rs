//! Describing the token to mint.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::claims::Claims;
use crate::grants::{
    AgentEndpointGrant, AgentGrant, AgentThreadGrant, InferenceGrant, ObservabilityGrant, SipGrant, VideoGrant,
};
use crate::mint_error::MintError;
use crate::participant::{ParticipantKind, ParticipantKindDetail};
use crate::raw_json::RawJson;
use crate::room_config::RoomConfiguration;
use crate::signer::{Jwt, MAX_TTL, Signer};

/// The lifetime of a token for which none is set: 6 hours, as in LiveKit's SDKs.
pub const DEFAULT_TTL: Duration = Duration::from_secs(6 * 60 * 60);

/// A token to mint: who it is for, what it grants, how long it lives.
///
/// It holds no key, so it can be kept as a template; [`sign`](Self::sign) makes a token of it with a [`Signer`].
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use roomkey_token::{AccessToken, Signer, VideoGrant};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (api_key, api_secret, now) = ("APIxyz", "a secret of at least thirty-two bytes", SystemTime::UNIX_EPOCH);
/// let signer = Signer::new(api_key, api_secret)?;
/// let token = AccessToken::new("alice")
///     .with_name("Alice")
///     .with_video(VideoGrant::join("lobby"))
///     .with_ttl(Duration::from_secs(15 * 60))
///     .sign(&signer, now)?;
/// # assert!(token.as_str().starts_with("eyJ"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AccessToken {
    // Boxed, since setters take and give the whole.
    claims: Box<Claims>,
    ttl: Duration,
    allow_sensitive_credentials: bool,
}

impl AccessToken {
    /// A token for a participant. An empty identity is for tokens that only call a server's API.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        let claims = Claims { sub: identity.into(), ..Claims::default() };
        Self::from_claims(claims)
    }

    /// A token with these claims; `iss`, `iat`, `nbf` and `exp` are replaced when it is signed.
    #[must_use]
    pub fn from_claims(claims: Claims) -> Self {
        Self { claims: Box::new(claims), ttl: DEFAULT_TTL, allow_sensitive_credentials: false }
    }

    /// Sets the lifetime, counted from the moment of signing in whole seconds. Without it, [`DEFAULT_TTL`].
    ///
    /// It limits when the token can be used to join, not how long a participant may stay. A lifetime of a minute or less
    /// defeats the caches of LiveKit's clients.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the participant's display name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.claims.name = name.into();
        self
    }

    /// Sets the participant's metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.claims.metadata = metadata.into();
        self
    }

    /// Adds a participant attribute, or replaces the one of that name.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.claims.attributes.insert(name.into(), value.into());
        self
    }

    /// Sets the grants over rooms.
    #[must_use]
    pub fn with_video(mut self, grant: VideoGrant) -> Self {
        self.claims.video = Some(grant);
        self
    }

    /// Sets the grants over SIP.
    #[must_use]
    pub fn with_sip(mut self, grant: SipGrant) -> Self {
        self.claims.sip = Some(grant);
        self
    }

    /// Sets the grants over agents.
    #[must_use]
    pub fn with_agent(mut self, grant: AgentGrant) -> Self {
        self.claims.agent = Some(grant);
        self
    }

    /// Sets the grants over agents' endpoints.
    #[must_use]
    pub fn with_agent_endpoint(mut self, grant: AgentEndpointGrant) -> Self {
        self.claims.agent_endpoint = Some(grant);
        self
    }

    /// Sets the grants over agents' threads.
    #[must_use]
    pub fn with_agent_thread(mut self, grant: AgentThreadGrant) -> Self {
        self.claims.agent_thread = Some(grant);
        self
    }

    /// Sets the grants over inference.
    #[must_use]
    pub fn with_inference(mut self, grant: InferenceGrant) -> Self {
        self.claims.inference = Some(grant);
        self
    }

    /// Sets the grants over observability.
    #[must_use]
    pub fn with_observability(mut self, grant: ObservabilityGrant) -> Self {
        self.claims.observability = Some(grant);
        self
    }

    /// Sets the participant's kind. Never let a client choose it: see [`ParticipantKind`].
    #[must_use]
    pub fn with_kind(mut self, kind: ParticipantKind) -> Self {
        self.claims.kind = kind.as_str().to_owned();
        self
    }

    /// Sets the details of the participant's kind.
    #[must_use]
    pub fn with_kind_details(mut self, details: impl IntoIterator<Item = ParticipantKindDetail>) -> Self {
        self.claims.kind_details = details.into_iter().map(|detail| detail.as_str().to_owned()).collect();
        self
    }

    /// Sets how the room is made where this participant is the first in it.
    #[must_use]
    pub fn with_room_config(mut self, config: RoomConfiguration) -> Self {
        self.claims.room_config = Some(config);
        self
    }

    /// Sets the name of the server's room configuration to use.
    #[must_use]
    pub fn with_room_preset(mut self, preset: impl Into<String>) -> Self {
        self.claims.room_preset = preset.into();
        self
    }

    /// Sets the SHA-256 of a body, in base64: for webhooks.
    #[must_use]
    pub fn with_sha256(mut self, sha256: impl Into<String>) -> Self {
        self.claims.sha256 = sha256.into();
        self
    }

    /// Sets the token's id (`jti`).
    #[must_use]
    pub fn with_id(mut self, jti: impl Into<String>) -> Self {
        self.claims.jti = jti.into();
        self
    }

    /// Adds a claim that neither LiveKit nor RFC 7519 define; LiveKit ignores it.
    #[must_use]
    pub fn with_private_claim(mut self, name: impl Into<String>, value: RawJson) -> Self {
        self.claims.private.insert(name.into(), value);
        self
    }

    /// Allows an egress with credentials in the room configuration, for a token that never leaves your servers.
    #[must_use]
    pub fn allow_sensitive_credentials(mut self) -> Self {
        self.allow_sensitive_credentials = true;
        self
    }

    /// The claims so far.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Signs the token at a time. It is valid from that second on until its lifetime has passed.
    ///
    /// # Errors
    ///
    /// [`MintError`] names what would make a token that LiveKit or one of its SDKs refuses, or that gives away more than
    /// it seems to.
    pub fn sign(&self, signer: &Signer, now: SystemTime) -> Result<Jwt, MintError> {
        let claims = &self.claims;
        if let Some(video) = &claims.video
            && video.room_join
        {
            if video.room.trim().is_empty() {
                return Err(MintError::EmptyRoom);
            }
            if claims.sub.trim().is_empty() {
                return Err(MintError::EmptyIdentity);
            }
        }
        if self.ttl < Duration::from_secs(1) || self.ttl > MAX_TTL {
            return Err(MintError::Lifetime);
        }
        if !claims.aud.is_empty() {
            return Err(MintError::Audience);
        }
        if claims.private.keys().any(|name| Claims::is_known_name(name)) {
            return Err(MintError::PrivateClaim);
        }
        if !self.allow_sensitive_credentials && has_credentials(claims) {
            return Err(MintError::SensitiveCredentials);
        }
        signer.sign(claims, now, self.ttl)
    }
}

/// Whether an egress has a value that livekit/protocol's `CheckCredentials` refuses to sign, or that this crate can't
/// read. Wider than that check: it looks at every output there is, not at some of them.
fn has_credentials(claims: &Claims) -> bool {
    let Some(egress) = claims.room_config.as_ref().and_then(|config| config.egress.as_ref()) else {
        return false;
    };
    egress.parse().map_or(true, |Finding { is_sensitive, .. }| is_sensitive)
}

/// What a look through a JSON value finds. Every entry is looked at, also where a name stands twice: whoever reads the
/// token sees them all.
#[derive(Default)]
struct Finding {
    is_empty: bool,
    is_sensitive: bool,
}

/// The names of credentials and of what has a stream key in it.
const SENSITIVE_NAMES: [&str; 12] = [
    "secret",
    "sessionToken",
    "session_token",
    "credentials",
    "accountKey",
    "account_key",
    "streamOutputs",
    "stream_outputs",
    "stream",
    "signingKey",
    "signing_key",
    "password",
];

impl<'de> Deserialize<'de> for Finding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;

        impl Look {
            fn at_value(is_empty: bool) -> Finding {
                Finding { is_empty, is_sensitive: false }
            }
        }

        impl<'de> Visitor<'de> for Look {
            type Value = Finding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_unit<E>(self) -> Result<Finding, E> {
                Ok(Self::at_value(true))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Finding, E> {
                Ok(Self::at_value(false))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Finding, E> {
                Ok(Self::at_value(false))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Finding, E> {
                Ok(Self::at_value(false))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Finding, E> {
                Ok(Self::at_value(false))
            }

            fn visit_str<E>(self, text: &str) -> Result<Finding, E> {
                Ok(Self::at_value(text.is_empty()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Finding, A::Error> {
                let mut found = Self::at_value(true);
                while let Some(item) = items.next_element::<Finding>()? {
                    found.is_empty = false;
                    found.is_sensitive |= item.is_sensitive;
                }
                Ok(found)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Finding, A::Error> {
                let mut found = Self::at_value(true);
                while let Some((name, value)) = entries.next_entry::<String, Finding>()? {
                    found.is_empty = false;
                    let is_named = SENSITIVE_NAMES.contains(&name.as_str()) && !value.is_empty;
                    found.is_sensitive |= value.is_sensitive || is_named;
                }
                Ok(found)
            }
        }

        deserializer.deserialize_any(Look)
    }
}
