//! RPC: a method of a participant is called, and answers.
//!
//! To participants of client protocol 1 or higher, requests and answers are text streams; to others, and for all
//! acknowledgements and errors, packets. [`endpoint`] is both ends of it for one participant, pure: what is to be sent, to be
//! done and to be told comes out of it.

mod caller;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod request;
mod responder;
mod wire;

#[cfg(test)]
mod livekit_tests;
