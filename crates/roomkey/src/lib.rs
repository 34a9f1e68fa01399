//! roomkey
#[cfg(feature = "source")]
pub use roomkey_source::*;
#[cfg(feature = "token")]
pub use roomkey_token as token;
