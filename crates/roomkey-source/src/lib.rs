#![doc = include_str!("../README.md")]

mod builder;
mod cache;
mod clock;
mod credentials;
mod error;
mod fixed;
mod flight;
mod freshness;
mod front;
mod held;
mod loading;
mod options;
mod provider;
mod provider_call;
mod redact;
mod source;

pub use builder::TokenSourceBuilder;
pub use clock::{Clock, ManualClock, Now, SystemClock};
pub use credentials::Credentials;
pub use error::{FetchError, FetchErrorKind};
pub use fixed::FixedTokenSource;
pub use held::Held;
pub use options::FetchOptions;
pub use provider::{BoxError, ProviderError, ProviderFn, TokenProvider, provider_fn};
pub use roomkey_token::{
    Claims, DecodeError, JobRestartPolicy, NumericDate, RawJson, RoomAgentDispatch, RoomConfiguration, TokenRequest,
    TokenResponse, VideoGrant,
};
pub use source::TokenSource;
