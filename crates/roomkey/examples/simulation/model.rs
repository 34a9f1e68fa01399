//! A model of many clients with a token each and one backend: seeded, and pure. When a client asks is what roomkey's own
//! policies say, which are the ones that sources go by; how often a backend is asked in each second is counted.

use std::time::Duration;

use roomkey::{RefreshAhead, RejectionSpread, RetryPolicy};

/// What is simulated. Times are counted from the moment at which all clients start.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) clients: u32,
    pub(crate) seed: u64,
    pub(crate) duration: Duration,
    /// How long a token lives.
    pub(crate) lifetime: Duration,
    pub(crate) refresh: RefreshAhead,
    /// When a key is rotated: every token that was made before is refused, and every client told so.
    pub(crate) rotation: Option<Duration>,
    pub(crate) spread: RejectionSpread,
    /// From when until when the backend answers nobody.
    pub(crate) outage: Option<(Duration, Duration)>,
    /// How often a client's endpoint asks for one token.
    pub(crate) retry: RetryPolicy,
}

/// How often the backend was asked in each second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Calls(pub(crate) Vec<u32>);

impl Scenario {
    /// Tokens of ten minutes that are renewed five minutes before they expire, give or take a minute.
    pub(crate) fn new(clients: u32) -> Self {
        Self {
            clients,
            seed: 7,
            duration: Duration::from_secs(900),
            lifetime: Duration::from_secs(600),
            refresh: RefreshAhead::new(Duration::from_secs(300)),
            rotation: None,
            spread: RejectionSpread::new(Duration::from_secs(60)),
            outage: None,
            retry: RetryPolicy::default(),
        }
    }

    /// The same without anything that keeps clients apart.
    pub(crate) fn without_jitter(mut self) -> Self {
        self.refresh = self.refresh.with_jitter(0.0);
        self.spread = RejectionSpread::new(Duration::ZERO);
        self
    }

    pub(crate) fn run(&self) -> Calls {
        let mut calls = Calls(vec![0; self.duration.as_secs() as usize]);
        let mut random = fastrand::Rng::with_seed(self.seed);
        for _ in 0..self.clients {
            self.live(&mut random, &mut calls);
        }
        calls
    }

    /// One client's life. No client hears of another, so that they can live one after the other.
    fn live(&self, random: &mut fastrand::Rng, calls: &mut Calls) {
        let mut now = Duration::ZERO;
        let mut failures = 0;
        let mut rotation = self.rotation;
        while now < self.duration {
            let next = match self.ask(now, random, calls) {
                Some(received) => {
                    failures = 0;
                    // Reuse ends a minute before the expiry, as it does unless a source is told otherwise.
                    let reusable = self.lifetime.saturating_sub(Duration::from_secs(60));
                    received + self.refresh.renewal_age(self.lifetime, reusable, random.f64())
                }
                None => {
                    failures += 1;
                    now + self.refresh.wait_after(failures, random.f64())
                }
            };
            now = match rotation {
                Some(at) if next >= at => {
                    rotation = None;
                    failures = 0;
                    at + self.spread.wait(random.f64())
                }
                _ => next,
            };
        }
    }

    /// Asks for a token, as often as an endpoint does, and says when it came.
    fn ask(&self, begun: Duration, random: &mut fastrand::Rng, calls: &mut Calls) -> Option<Duration> {
        let mut now = begun;
        for attempt in 1.. {
            if let Some(second) = calls.0.get_mut(now.as_secs() as usize) {
                *second += 1;
            }
            if self.outage.is_none_or(|(from, until)| !(from..until).contains(&now)) {
                return Some(now);
            }
            now += self.retry.wait_after(attempt, None, random.f64())?;
        }
        None
    }
}

impl Calls {
    /// The most calls in any second of a span, in seconds.
    pub(crate) fn peak(&self, span: std::ops::Range<usize>) -> u32 {
        self.0[span].iter().copied().max().unwrap_or(0)
    }
}
