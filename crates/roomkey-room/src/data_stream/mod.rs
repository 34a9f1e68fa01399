//! Text and byte streams: contents of any length, cut into packets of the reliable data channel.
//!
//! A stream is a header, chunks with rising indexes and a trailer, or a header that carries everything (protocol 2). The parts
//! that decide are pure: [`incoming`] makes events of packets, [`outgoing`] packets of contents. [`reader`] is what an
//! application reads from.

pub(crate) mod budget;
pub(crate) mod content;
pub(crate) mod error;
pub(crate) mod incoming;
pub(crate) mod inflate;
pub(crate) mod info;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod outgoing;
pub(crate) mod packet;
pub(crate) mod reader;
pub(crate) mod utf8;

#[cfg(test)]
mod livekit_tests;
