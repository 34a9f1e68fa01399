//! Minting tokens where they are used: for a server, a robot or a test that has the API secret itself.

use std::env;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use roomkey_token::{AccessToken, MintError, Signer, SignerError, VideoGrant};

use crate::builder::TokenSourceBuilder;
use crate::clock::{Clock, SystemClock};
use crate::credentials::Credentials;
use crate::options::FetchOptions;
use crate::provider::{BoxError, ProviderError, TokenProvider};
use crate::source::TokenSource;

/// How long minted tokens live, unless set.
const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);

/// Makes tokens with an API key and secret, without asking anybody. **Whoever has the secret may do anything on the
/// server**: keep this out of what is handed to users.
///
/// The token is for the room and the participant that the options name, both of which are needed, with LiveKit's default
/// permissions unless [`with_grant`](Self::with_grant) says otherwise; name, metadata, attributes and room configuration are
/// those of the options. It lives for 15 minutes unless [`with_ttl`](Self::with_ttl) is set.
///
/// ```
/// use roomkey_source::{FetchOptions, Minter, Signer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = Signer::builder("devkey", "secret").allow_weak_secret().build()?;
/// let source = Minter::new("ws://localhost:7880", signer)
///     .with_grant(|_options, grant| grant.with_can_publish(false))
///     .build();
///
/// let options = FetchOptions::new().with_room_name("lobby").with_participant_identity("robot-7");
/// let credentials = source.fetch(&options).await?;
/// assert_eq!(credentials.claims()?.identity(), "robot-7");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Minter {
    server_url: String,
    signer: Signer,
    ttl: Duration,
    grant: Option<Grant>,
    clock: Arc<dyn Clock>,
}

type Grant = Box<dyn Fn(&FetchOptions, VideoGrant) -> VideoGrant + Send + Sync>;

impl Minter {
    /// A minter for a server.
    pub fn new(server_url: impl Into<String>, signer: Signer) -> Self {
        Self { server_url: server_url.into(), signer, ttl: DEFAULT_TTL, grant: None, clock: Arc::new(SystemClock) }
    }

    /// A minter from the variables that LiveKit's tools use: `LIVEKIT_URL`, `LIVEKIT_API_KEY`, `LIVEKIT_API_SECRET`.
    ///
    /// # Errors
    ///
    /// One of them is missing or empty, or the secret is too short to be safe.
    pub fn from_env() -> Result<Self, MinterError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&'static str) -> Option<String>) -> Result<Self, MinterError> {
        let variable =
            |name| read(name).filter(|value| !value.trim().is_empty()).ok_or(MinterError::MissingVariable(name));
        let server_url = variable("LIVEKIT_URL")?;
        let api_key = variable("LIVEKIT_API_KEY")?;
        let api_secret = zeroize::Zeroizing::new(variable("LIVEKIT_API_SECRET")?);
        let signer = Signer::new(api_key, api_secret.as_str()).map_err(MinterError::Signer)?;
        Ok(Self::new(server_url, signer))
    }

    /// Sets how long the tokens live.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets what the tokens grant: the function gets the options, and a grant to join their room with LiveKit's default
    /// permissions.
    pub fn with_grant(
        mut self,
        grant: impl Fn(&FetchOptions, VideoGrant) -> VideoGrant + Send + Sync + 'static,
    ) -> Self {
        self.grant = Some(Box::new(grant));
        self
    }

    /// Sets the clock, of the tokens and of the source.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the source, with default settings.
    #[must_use]
    pub fn build(self) -> TokenSource {
        self.into_builder().build()
    }

    /// The same for further settings.
    pub fn into_builder(self) -> TokenSourceBuilder {
        let clock = Arc::clone(&self.clock);
        TokenSource::builder(self).clock(clock)
    }
}

impl TokenProvider for Minter {
    fn fetch(&self, options: &FetchOptions) -> impl Future<Output = Result<Credentials, BoxError>> + Send {
        std::future::ready(self.mint(options).map_err(|error| ProviderError::permanent(error).into()))
    }
}

impl Minter {
    fn mint(&self, options: &FetchOptions) -> Result<Credentials, MintError> {
        let request = options.to_request();
        let grant = VideoGrant::join(request.room_name);
        let grant = self.grant.as_ref().map_or_else(|| grant.clone(), |choose| choose(options, grant.clone()));
        let mut token = AccessToken::new(request.participant_identity)
            .with_video(grant)
            .with_name(request.participant_name)
            .with_metadata(request.participant_metadata)
            .with_ttl(self.ttl)
            // Times have whole seconds, and two tokens are two tokens.
            .with_id(format!("{:016x}{:016x}", RandomState::new().hash_one(()), RandomState::new().hash_one(())));
        for (name, value) in request.participant_attributes {
            token = token.with_attribute(name, value);
        }
        if request.room_config != roomkey_token::RoomConfiguration::default() {
            token = token.with_room_config(request.room_config);
        }
        let token = token.sign(&self.signer, self.clock.now().wall)?;
        Ok(Credentials::new(&self.server_url, token))
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter")
            .field("server_url", &self.server_url)
            .field("signer", &self.signer)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// Why there is no minter from the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MinterError {
    /// This variable is missing or empty.
    MissingVariable(&'static str),
    /// The API key or secret is no good.
    Signer(SignerError),
}

impl fmt::Display for MinterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingVariable(name) => write!(f, "the environment variable {name} is missing or empty"),
            Self::Signer(_) => f.write_str("LIVEKIT_API_KEY and LIVEKIT_API_SECRET are no good"),
        }
    }
}

impl Error for MinterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Signer(cause) => Some(cause),
            Self::MissingVariable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

    fn from(url: &str, key: &str, secret: &str) -> Result<Minter, MinterError> {
        Minter::from_variables(|name| {
            let value = match name {
                "LIVEKIT_URL" => url,
                "LIVEKIT_API_KEY" => key,
                "LIVEKIT_API_SECRET" => secret,
                other => panic!("asked for {other}"),
            };
            Some(value.to_owned())
        })
    }

    #[test]
    fn a_variable_that_is_missing_is_named_and_a_secret_is_not_shown() {
        let minter = from("ws://x", "key", SECRET).unwrap();
        assert!(!format!("{minter:?}").contains(SECRET));
        assert_eq!(from("", "key", SECRET).unwrap_err(), MinterError::MissingVariable("LIVEKIT_URL"));
        assert_eq!(from("ws://x", " ", SECRET).unwrap_err(), MinterError::MissingVariable("LIVEKIT_API_KEY"));
        assert_eq!(from("ws://x", "key", "").unwrap_err(), MinterError::MissingVariable("LIVEKIT_API_SECRET"));
        let weak = from("ws://x", "key", "hunter2").unwrap_err();
        assert_eq!(weak, MinterError::Signer(SignerError::WeakSecret));
        assert!(!format!("{weak:?} {weak}").contains("hunter2"));
    }
}
