//! The servers that find addresses, as they are named and as they are asked.

use crate::ice_server::{IceServer, IceUrl, InvalidIceUrl, Service};

/// Of a server's URLs, those of STUN and those of TURN that are used.
const MAX_STUN: usize = 3;
const MAX_TURN: usize = 6;

/// One URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) url: IceUrl,
    pub(super) username: String,
    pub(super) credential: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The URLs that can be used, in order.
pub(super) fn read(servers: &[IceServer]) -> Vec<Server> {
    const MAX_READ: usize = 64;
    const LONGEST_CREDENTIAL: usize = 1_024;
    let (mut stun, mut turn, mut found) = (0, 0, Vec::new());
    let all = servers.iter().flat_map(|server| server.urls.iter().map(move |url| (server, url)));
    for (server, text) in all.take(MAX_READ) {
        let url = match IceUrl::parse(text) {
            Ok(url) => url,
            Err(InvalidIceUrl::Unsupported) => {
                tracing::debug!("an ICE server of a kind that is not supported is passed over");
                continue;
            }
            Err(InvalidIceUrl::Malformed) => {
                tracing::debug!("an ICE server whose URL can't be read is passed over");
                continue;
            }
        };
        let IceServer { username, credential, .. } = server;
        let is_stun = url.service == Service::Stun;
        let (count, most) = if is_stun { (&mut stun, MAX_STUN) } else { (&mut turn, MAX_TURN) };
        if !is_stun && (username.is_empty() || username.len() > 512 || credential.len() > LONGEST_CREDENTIAL) {
            tracing::debug!(host = url.host, "a TURN server without a credential that can be used is passed over");
            continue;
        }
        if *count == most || found.iter().any(|known: &Server| known.url == url) {
            continue;
        }
        *count += 1;
        found.push(Server { url, username: username.clone(), credential: credential.clone() });
    }
    found
}
