//! Two connections and a network between them, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]

mod connecting;
mod data;
mod media;
mod mutation;
mod negotiation;
mod support;
