#![doc = include_str!("../README.md")]

#[cfg(feature = "reqwest")]
pub use roomkey_source::ReqwestClient;
#[cfg(feature = "source")]
pub use roomkey_source::{
    BoxError, Claims, Clock, Credentials, DecodeError, Endpoint, EndpointError, FetchError, FetchErrorKind,
    FetchOptions, FixedTokenSource, Held, HttpClient, HttpError, JobRestartPolicy, ManualClock, Now, NumericDate,
    ProviderError, ProviderFn, RawJson, RetryPolicy, RoomAgentDispatch, RoomConfiguration, SystemClock, TokenProvider,
    TokenRequest, TokenResponse, TokenSource, TokenSourceBuilder, VideoGrant, http, provider_fn,
};
#[cfg(feature = "token")]
#[doc(inline)]
pub use roomkey_token as token;
