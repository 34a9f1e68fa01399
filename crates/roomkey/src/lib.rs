#![doc = include_str!("../README.md")]

#[cfg(feature = "source")]
pub use roomkey_source::{
    BoxError, Claims, Clock, Credentials, DecodeError, FetchError, FetchErrorKind, FetchOptions, FixedTokenSource,
    Held, JobRestartPolicy, ManualClock, Now, NumericDate, ProviderError, ProviderFn, RawJson, RoomAgentDispatch,
    RoomConfiguration, SystemClock, TokenProvider, TokenRequest, TokenResponse, TokenSource, TokenSourceBuilder,
    VideoGrant, provider_fn,
};
#[cfg(feature = "token")]
#[doc(inline)]
pub use roomkey_token as token;
