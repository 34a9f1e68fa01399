#![doc = include_str!("../README.md")]

mod back_off;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod cache;
mod chance;
mod clock;
mod credentials;
mod endpoint;
mod endpoint_error;
mod error;
#[cfg(feature = "file-store")]
mod file_store;
mod fixed;
mod flight;
mod freshness;
mod front;
mod grant_check;
mod held;
mod http_client;
#[cfg(feature = "keychain")]
mod keychain_store;
mod loading;
mod memory_store;
#[cfg(feature = "minter")]
mod minter;
mod options;
mod provider;
mod provider_call;
mod redact;
mod refresh;
mod rejection;
#[cfg(feature = "reqwest")]
mod reqwest_client;
mod response;
mod retry;
mod source;
mod stats;
mod store;
mod stored;
mod watch;

pub use back_off::BackOff;
pub use builder::{Reuse, TokenSourceBuilder};
pub use clock::{Clock, ManualClock, Now, SystemClock};
pub use credentials::Credentials;
pub use endpoint::Endpoint;
pub use endpoint_error::EndpointError;
pub use error::{FetchError, FetchErrorKind};
#[cfg(feature = "file-store")]
pub use file_store::{FileStore, SealingKey};
pub use fixed::FixedTokenSource;
pub use grant_check::GrantCheck;
pub use held::Held;
pub use http;
pub use http_client::{HttpClient, HttpError};
#[cfg(feature = "keychain")]
pub use keychain_store::KeychainStore;
pub use memory_store::MemoryStore;
#[cfg(feature = "minter")]
pub use minter::{Minter, MinterError};
pub use options::FetchOptions;
pub use provider::{BoxError, ProviderError, ProviderFn, TokenProvider, provider_fn};
pub use refresh::RefreshAhead;
pub use rejection::RejectionSpread;
#[cfg(feature = "reqwest")]
pub use reqwest_client::{ReqwestClient, ReqwestClientBuilder};
pub use retry::RetryPolicy;
pub use roomkey_token::{
    Claims, DecodeError, JobRestartPolicy, NumericDate, RawJson, RoomAgentDispatch, RoomConfiguration, TokenRequest,
    TokenResponse, VideoGrant,
};
#[cfg(feature = "minter")]
pub use roomkey_token::{Signer, SignerError};
pub use source::TokenSource;
pub use stats::Stats;
pub use store::{CredentialStore, StoreKey, StoredCredentials};
pub use watch::Watch;
