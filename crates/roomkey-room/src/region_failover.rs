//! Whether another region of a server may be connected to.

use std::sync::{Mutex, PoisonError};

use roomkey_signal::ServerUrl;

use crate::core::RegionList;

/// Whether the room goes to another region when the one that it was to join, or was in, fails.
///
/// The server at the room's URL names its regions at `/settings/regions`, as LiveKit Cloud does, and in a `leave`. They are
/// asked for when a connect or a join anew fails for a reason that another region may not have: no connection, a timeout, a
/// status from 500 on, a `leave`, an answer that is not LiveKit's. Not when the token is refused (401, 403), nor for a room that
/// is not there (404), nor for what the client does itself.
///
/// **The participant token is sent to each region that is tried.** A region counts only if its host is of a trusted domain,
/// this setting's, and its URL is of TLS (`wss` or `https`). One exception: where the room's own URL is neither, one of a
/// loopback address counts too. Redirects are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RegionFailover {
    /// Only the URL that was given is tried.
    Off,
    /// For servers of LiveKit Cloud: `livekit.cloud`, `livekit.run` and below, which are the hosts that the official SDKs ask.
    #[default]
    Cloud,
    /// For servers whose host is one of these, or below one of these. They stand in for those of LiveKit Cloud.
    Domains(Vec<String>),
}

/// The regions that were named last, for the next room of the same server. Rooms of one builder share it.
#[derive(Debug, Default)]
pub(crate) struct RegionCache(Mutex<Option<(ServerUrl, RegionList)>>);

impl RegionCache {
    pub(crate) fn get(&self, server_url: &ServerUrl) -> Option<RegionList> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(of, _)| of == server_url).map(|(_, list)| list.clone())
    }

    pub(crate) fn keep(&self, server_url: ServerUrl, list: RegionList) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((server_url, list));
    }
}
