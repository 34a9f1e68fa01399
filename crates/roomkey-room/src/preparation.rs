//! What a connect begins with, done before it.

use std::time::Duration;

use roomkey_signal::{ParticipantToken, ServerUrl};

use crate::clock;
use crate::core::{NextRegion, Regions};
use crate::options::RoomBuilder;
use crate::{http_get, region_request};

/// How long it may take in all.
const LONGEST: Duration = Duration::from_secs(5);

impl RoomBuilder {
    /// Makes a later [`connect`](Self::connect) with this builder, or a clone of it, to this server take less time: when the user
    /// is likely to connect, before they do. The name of the host is looked up, and the server asked over TLS, so that the
    /// connect takes that session up again. Where the server may have [other regions](Self::region_failover) and there is a
    /// token, the question is which: a connect that fails has the answer then, for as long as the server says. A connect
    /// begins with the URL that it is given.
    ///
    /// It takes 5 s at most, and has no result: whatever does not work now is told by the connect. Dropping the future gives it
    /// up.
    ///
    /// The token goes to the server of this URL, and only if [`RegionFailover`](crate::RegionFailover) trusts its host and, but
    /// on this machine, it is asked over TLS. What else is asked has no token. LiveKit's JavaScript SDK does the same under this
    /// name (client-sdk-js, `src/room/Room.ts`), and then begins with the nearest region.
    pub async fn prepare_connection(&self, server_url: &str, participant_token: Option<&str>) {
        let Ok(server_url) = ServerUrl::parse(server_url) else { return };
        let prepared = tokio::time::timeout(LONGEST, self.prepare(server_url, participant_token)).await;
        if !matches!(prepared, Ok(true)) {
            tracing::debug!("the connection was not prepared");
        }
    }

    async fn prepare(&self, server_url: ServerUrl, token: Option<&str>) -> bool {
        let tls = self.tls_for(&server_url);
        let mut regions = Regions::new(server_url.clone(), self.failover());
        if let Some(list) = self.region_cache.get(&server_url) {
            regions.know(list);
        }
        if let (Some(token), false) = (token, regions.is_known(clock::now()))
            && let NextRegion::Ask(fetch, url) = regions.ask(clock::now())
        {
            let authorization = ParticipantToken::new(token).authorization_header();
            let answer = region_request::get(&url, authorization, tls).await;
            let list = regions.fetched(fetch, answer, clock::now()).flatten();
            let has_list = list.is_some();
            list.into_iter().for_each(|list| self.region_cache.keep(server_url.clone(), list));
            return has_list;
        }
        let mut root = server_url.regions();
        root.set_path("/");
        http_get::head(&root, tls).await.is_ok()
    }
}
