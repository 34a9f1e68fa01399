//! The core with clients of `roomkey-rtc`, in virtual time, over a link that loses nothing.

mod agents;
mod data;
mod joining;
mod media;
mod paths;
mod publishing;
mod senders;
mod world;
