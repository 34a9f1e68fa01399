//! Two connections and a network between them, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod connecting;
mod data;
mod media;
mod mutation;
mod negotiation;
mod support;
