//! Which region of a server that has several is connected to, and which comes next when one fails.
//!
//! LiveKit Cloud names the regions of a project at `/settings/regions` (client-sdk-js, `src/room/RegionUrlProvider.ts`;
//! rust-sdks, `livekit-api/src/signal_client/region_url_provider.rs`). A token is sent to each URL that is used from there,
//! so that only those count that [`Trust`] lets through.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use roomkey_signal::ServerUrl;
use url::Url;

use crate::region_failover::RegionFailover;

/// How long the question for regions may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a question that failed is not asked again.
const FETCH_PAUSE: Duration = Duration::from_secs(2);
/// How long a list holds that does not say so: what the official clients assume.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5);
const LONGEST_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Regions of a list that are looked at.
const MAX_REGIONS: usize = 32;
const LONGEST_URL: usize = 1_024;

/// One question for regions; what comes of an earlier one is of no interest.
pub(crate) type FetchId = u64;

/// Regions, the nearest first, and until when they hold. Later they are better than nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegionList {
    urls: Vec<ServerUrl>,
    until: Instant,
}

/// The regions of one room's server.
#[derive(Debug)]
pub(crate) struct Regions {
    /// What the application named: regions are asked for there.
    first: ServerUrl,
    current: ServerUrl,
    trust: Trust,
    known: Option<RegionList>,
    /// Those that have been tried since there was a connection.
    failed: Vec<ServerUrl>,
    last_fetch: FetchId,
    fetching: Option<Instant>,
    paused_until: Option<Instant>,
    news: News,
}

/// What was heard of regions since there was a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Nothing,
    /// They were asked for and came, so that this client's network is not what fails.
    Fetched,
    /// A `leave` named them.
    Told,
}

/// What there is once a region has failed.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Another one, which is the current one from here on.
    Region,
    /// GET this for a list, and tell [`Regions::fetched`].
    Ask(FetchId, Url),
    /// It is being asked.
    Asking,
    /// No other.
    Nothing,
}

impl Regions {
    pub(crate) fn new(first: ServerUrl, failover: &RegionFailover) -> Self {
        Self {
            trust: Trust::new(&first, failover),
            current: first.clone(),
            first,
            known: None,
            failed: Vec::new(),
            last_fetch: 0,
            fetching: None,
            paused_until: None,
            news: News::Nothing,
        }
    }

    /// What another room has learned.
    pub(crate) fn know(&mut self, list: RegionList) {
        self.known = Some(list);
    }

    /// Whether there is a list that holds.
    pub(crate) fn is_known(&self, now: Instant) -> bool {
        self.known.as_ref().is_some_and(|known| known.until > now)
    }

    /// Where to connect to.
    pub(crate) fn current(&self) -> &ServerUrl {
        &self.current
    }

    /// Whether the server may have other regions.
    pub(crate) fn may_have_others(&self) -> bool {
        self.trust.accepts(&self.first)
    }

    /// Whether another region than the application's is connected to.
    pub(crate) fn has_moved(&self) -> bool {
        self.current != self.first
    }

    /// The current region has failed.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if !self.may_have_others() {
            return Next::Nothing;
        }
        if !self.is_known(now) {
            if self.fetching.is_some() {
                return Next::Asking;
            }
            if self.paused_until.is_none_or(|until| until <= now) {
                return self.ask(now);
            }
        }
        self.move_on()
    }

    fn move_on(&mut self) -> Next {
        if !self.failed.contains(&self.current) {
            self.failed.push(self.current.clone());
        }
        let urls = self.known.iter().flat_map(|known| &known.urls);
        match urls.clone().find(|url| !self.failed.contains(url)) {
            Some(url) => {
                self.current = url.clone();
                Next::Region
            }
            None => Next::Nothing,
        }
    }

    /// Begins anew where the application said.
    pub(crate) fn start_over(&mut self) {
        self.current = self.first.clone();
        self.failed.clear();
    }

    /// Asks whatever is known, unless it is being asked.
    pub(crate) fn ask(&mut self, now: Instant) -> Next {
        if !self.may_have_others() {
            return Next::Nothing;
        }
        if self.fetching.is_some() {
            return Next::Asking;
        }
        self.last_fetch += 1;
        self.fetching = Some(now + FETCH_TIMEOUT);
        Next::Ask(self.last_fetch, self.first.regions())
    }

    /// The answer to a question, or that there was none; `None` if it is not the one that is waited for. The list is to be
    /// kept for other rooms of this server.
    pub(crate) fn fetched(
        &mut self,
        fetch: FetchId,
        answer: Option<(Vec<u8>, Option<Duration>)>,
        now: Instant,
    ) -> Option<Option<RegionList>> {
        if fetch != self.last_fetch || self.fetching.take().is_none() {
            return None;
        }
        let list = answer.and_then(|(body, max_age)| {
            let max_age = max_age.unwrap_or(DEFAULT_MAX_AGE).min(LONGEST_MAX_AGE);
            Some(RegionList { urls: self.trust.usable(read(&body)?), until: now + max_age })
        });
        match &list {
            Some(list) => {
                self.known = Some(list.clone());
                self.news = News::Fetched;
            }
            None => self.paused_until = Some(now + FETCH_PAUSE),
        }
        Some(list)
    }

    /// A question has no answer for too long.
    pub(crate) fn is_fetch_overdue(&self, now: Instant) -> Option<FetchId> {
        self.fetching.filter(|deadline| *deadline <= now).map(|_| self.last_fetch)
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.fetching
    }

    /// A `leave` names regions; whether there is one among them that can be used.
    pub(crate) fn told(&mut self, regions: &[proto::RegionInfo], now: Instant) -> bool {
        if !self.may_have_others() {
            return false;
        }
        let regions = regions.iter().take(MAX_REGIONS).map(|region| (region.distance, region.url.clone()));
        let urls = self.trust.usable(regions.collect());
        if urls.is_empty() {
            return false;
        }
        self.known = Some(RegionList { urls, until: now + DEFAULT_MAX_AGE });
        self.news = News::Told;
        self.failed.clear();
        true
    }

    /// To the nearest of those that a `leave` has named, which may be the current one.
    pub(crate) fn go_to_nearest(&mut self) {
        if let Some(url) = self.known.iter().find_map(|known| known.urls.first()) {
            self.current = url.clone();
        }
    }

    /// How often a resume may fail before the stay is given up for one in another region; `None` while it is not known
    /// whether the region is what fails.
    pub(crate) fn patience(&self) -> Option<u32> {
        match self.news {
            News::Nothing => None,
            News::Fetched => Some(3),
            News::Told => Some(1),
        }
    }

    /// There is a connection.
    pub(crate) fn connected(&mut self) {
        self.failed.clear();
        self.news = News::Nothing;
    }
}

/// To whom a token may go.
#[derive(Debug)]
struct Trust {
    /// Domains, in lower case; a host is one of them or below one.
    domains: Vec<String>,
    /// Whether the application's own URL is not of TLS.
    is_plain: bool,
}

impl Trust {
    fn new(first: &ServerUrl, failover: &RegionFailover) -> Self {
        let domains = match failover {
            RegionFailover::Off => Vec::new(),
            RegionFailover::Cloud => ["livekit.cloud", "livekit.run"].map(str::to_owned).into(),
            RegionFailover::Domains(domains) => domains
                .iter()
                .map(|domain| domain.trim_start_matches('.').to_ascii_lowercase())
                .filter(|domain| !domain.is_empty())
                .collect(),
        };
        Self { domains, is_plain: !first.is_secure() }
    }

    /// A host below a trusted domain, over TLS. Without TLS on this machine alone, and only if the application began so.
    fn accepts(&self, url: &ServerUrl) -> bool {
        let host = url.host();
        let is_below = |domain: &String| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.domains.iter().any(is_below) && (url.is_secure() || (self.is_plain && is_loopback(host)))
    }

    /// Those that can be used, the nearest first.
    fn usable(&self, mut regions: Vec<(i64, String)>) -> Vec<ServerUrl> {
        regions.sort_by_key(|(distance, _)| *distance);
        let mut usable = Vec::new();
        for (_, url) in regions.into_iter().filter(|(_, url)| url.len() <= LONGEST_URL) {
            let url = ServerUrl::parse(&url).ok().filter(|url| self.accepts(url) && !usable.contains(url));
            usable.extend(url);
        }
        usable
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Distances and URLs of a list in protobuf's JSON, in which a 64-bit number is a string; `None` if it is none.
fn read(body: &[u8]) -> Option<Vec<(i64, String)>> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let region = |region: &serde_json::Value| {
        let distance = &region["distance"];
        let distance = distance.as_i64().or_else(|| distance.as_str()?.parse().ok()).unwrap_or_default();
        Some((distance, region["url"].as_str()?.to_owned()))
    };
    Some(body["regions"].as_array()?.iter().take(MAX_REGIONS).filter_map(region).collect())
}

#[cfg(test)]
mod tests;
