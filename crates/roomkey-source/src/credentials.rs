//! What a token source gives: where to connect, and the token to join with.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use roomkey_token::{Claims, DecodeError, TokenResponse};
use zeroize::Zeroizing;

/// A server's URL and a participant's token for it.
///
/// A clone is one reference count. `Debug` hides the token and there is no `Serialize`, so that neither a log nor a
/// configuration file gets it by accident; [`to_response`](Self::to_response) is for giving it away on purpose. The token
/// is wiped from memory with the last clone.
///
/// ```
/// use roomkey_source::Credentials;
///
/// let credentials = Credentials::new("wss://example.livekit.cloud", "the token");
/// assert_eq!(credentials.participant_token(), "the token");
/// assert!(!format!("{credentials:?}").contains("the token"));
/// ```
#[derive(Clone)]
#[doc(alias = "TokenSourceResponse")]
#[doc(alias = "ConnectionDetails")]
pub struct Credentials(Arc<Handle>);

/// Counted for itself, in a cache line of its own: the cache gives each thread a handle, so that threads that fetch at
/// once do not write to one count in turns.
#[repr(align(64))]
struct Handle(Arc<Parts>);

struct Parts {
    server_url: Box<str>,
    participant_token: Zeroizing<String>,
    room_name: Option<Box<str>>,
    participant_name: Option<Box<str>>,
    server_time: Option<SystemTime>,
    /// Of what comes out of a store: when it was received.
    stored_since: Option<SystemTime>,
    claims: OnceLock<Result<Claims, DecodeError>>,
}

impl Credentials {
    /// Credentials from the two things that every client needs. Neither is checked: a server may know tokens that this
    /// crate does not.
    #[must_use]
    pub fn new(server_url: impl Into<String>, participant_token: impl Into<String>) -> Self {
        Self::from(TokenResponse::new(server_url, participant_token))
    }

    /// Says which room the token is for, beside the token.
    #[must_use]
    pub fn with_room_name(self, room_name: impl Into<String>) -> Self {
        let mut response = self.to_response();
        response.room_name = Some(room_name.into());
        Self::assemble(response, self.server_time())
    }

    /// Says what the participant is called, beside the token.
    #[must_use]
    pub fn with_participant_name(self, participant_name: impl Into<String>) -> Self {
        let mut response = self.to_response();
        response.participant_name = Some(participant_name.into());
        Self::assemble(response, self.server_time())
    }

    /// Says what time it was for whoever made the token, when it was made or handed out: for a custom source, whose
    /// provider knows it (an endpoint's `Date` header, say). Reuse is then judged by that time and what has passed since the
    /// token was received, so that a clock of this machine that is off makes no difference.
    #[must_use]
    pub fn with_server_time(self, time: SystemTime) -> Self {
        Self::assemble(self.to_response(), Some(time))
    }

    /// The LiveKit server to connect to, `wss://…`.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.parts().server_url
    }

    /// The token to join with. Whoever has it can join in this participant's name until it expires.
    #[must_use]
    pub fn participant_token(&self) -> &str {
        &self.parts().participant_token
    }

    /// The room that the token is for, where whoever made it says so beside the token.
    #[must_use]
    pub fn room_name(&self) -> Option<&str> {
        self.parts().room_name.as_deref()
    }

    /// The name of the participant that the token is for, where whoever made it says so beside the token.
    #[must_use]
    pub fn participant_name(&self) -> Option<&str> {
        self.parts().participant_name.as_deref()
    }

    /// What the token says, **not verified**: good for planning, not for deciding who somebody is. It is decoded once.
    ///
    /// # Errors
    ///
    /// The token is not a JWT.
    pub fn claims(&self) -> Result<&Claims, DecodeError> {
        self.parts()
            .claims
            .get_or_init(|| Claims::decode_unverified(self.participant_token()))
            .as_ref()
            .map_err(|error| *error)
    }

    /// When the token says it expires, by the clock of whoever made it; `None` where it does not say or is not a JWT.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.claims().ok()?.expires_at()
    }

    /// The answer of a token endpoint that gives these credentials, token included.
    #[must_use]
    pub fn to_response(&self) -> TokenResponse {
        let mut response = TokenResponse::new(self.server_url(), self.participant_token());
        response.room_name = self.room_name().map(str::to_owned);
        response.participant_name = self.participant_name().map(str::to_owned);
        response
    }

    /// The time by [`with_server_time`](Self::with_server_time).
    #[must_use]
    pub fn server_time(&self) -> Option<SystemTime> {
        self.parts().server_time
    }

    fn parts(&self) -> &Parts {
        &self.0.0
    }

    /// The same credentials behind a reference count of their own.
    pub(crate) fn separate(&self) -> Self {
        Self(Arc::new(Handle(Arc::clone(&self.0.0))))
    }
}

impl From<TokenResponse> for Credentials {
    fn from(response: TokenResponse) -> Self {
        Self::assemble(response, None)
    }
}

impl Credentials {
    fn assemble(response: TokenResponse, server_time: Option<SystemTime>) -> Self {
        Self::of(response, server_time, None)
    }

    /// Credentials out of a store, received at a time before.
    pub(crate) fn restored(response: TokenResponse, received: SystemTime) -> Self {
        Self::of(response, None, Some(received))
    }

    /// When these were received, if they come out of a store; `None` of those that come from a provider.
    #[must_use]
    pub fn stored_since(&self) -> Option<SystemTime> {
        self.parts().stored_since
    }

    fn of(response: TokenResponse, server_time: Option<SystemTime>, stored_since: Option<SystemTime>) -> Self {
        let participant_token = Zeroizing::new(response.participant_token().to_owned());
        Self(Arc::new(Handle(Arc::new(Parts {
            server_url: response.server_url.into(),
            participant_token,
            room_name: response.room_name.map(Into::into),
            participant_name: response.participant_name.map(Into::into),
            server_time,
            stored_since,
            claims: OnceLock::new(),
        }))))
    }
}

/// The same server, token and names.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.participant_token() == other.participant_token()
            && self.server_url() == other.server_url()
            && self.room_name() == other.room_name()
            && self.participant_name() == other.participant_name()
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("server_url", &self.server_url())
            .field("participant_token", &"[redacted]")
            .field("room_name", &self.room_name())
            .field("participant_name", &self.participant_name())
            .field("expires_at", &self.expires_at())
            .finish()
    }
}
