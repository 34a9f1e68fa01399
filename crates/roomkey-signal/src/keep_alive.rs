//! A client's pings: when one is due, how long it took, and when the server counts as gone.

use std::time::{Duration, Instant};

use crate::proto::{JoinResponse, Ping, Pong};
use crate::unix_clock::UnixClock;

#[derive(Debug)]
pub(crate) struct KeepAlive {
    clock: UnixClock,
    /// From the join; none means that the server wants no pings.
    settings: Option<Settings>,
    /// While a websocket is up.
    timers: Option<Timers>,
    round_trip_time: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    interval: Duration,
    timeout: Duration,
}

#[derive(Debug)]
struct Timers {
    next_ping: Instant,
    expires: Instant,
    unanswered: Option<(i64, Instant)>,
}

/// What is due.
#[derive(Debug, PartialEq)]
pub(crate) enum Due {
    Ping(Ping),
    Expired,
}

impl KeepAlive {
    pub(crate) fn new(clock: UnixClock) -> Self {
        Self { clock, settings: None, timers: None, round_trip_time: None }
    }

    pub(crate) fn configure(&mut self, join: &JoinResponse) {
        let seconds = |value: i32| u64::try_from(value).ok().filter(|value| *value > 0).map(Duration::from_secs);
        self.settings = match (seconds(join.ping_interval), seconds(join.ping_timeout)) {
            (Some(interval), Some(timeout)) => Some(Settings { interval, timeout }),
            _ => None,
        };
    }

    /// The first ping is due at once, so that there is a round-trip time to report with the second.
    pub(crate) fn start(&mut self, now: Instant) {
        self.timers =
            self.settings.map(|settings| Timers { next_ping: now, expires: now + settings.timeout, unanswered: None });
    }

    pub(crate) fn stop(&mut self) {
        self.timers = None;
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        if let (Some(settings), Some(timers)) = (self.settings, &mut self.timers) {
            timers.expires = now + settings.timeout;
        }
    }

    /// Answers to other pings than the last, and to ones never sent, tell nothing.
    pub(crate) fn pong(&mut self, pong: &Pong, now: Instant) -> Option<Duration> {
        let timers = self.timers.as_mut()?;
        let (_, sent) = timers.unanswered.take_if(|(timestamp, _)| *timestamp == pong.last_ping_timestamp)?;
        let round_trip_time = now.saturating_duration_since(sent);
        self.round_trip_time = Some(round_trip_time);
        Some(round_trip_time)
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.timers.as_ref().map(|timers| timers.next_ping.min(timers.expires))
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        let (settings, timers) = (self.settings?, self.timers.as_mut()?);
        if timers.expires <= now {
            return Some(Due::Expired);
        }
        if timers.next_ping > now {
            return None;
        }
        let timestamp = self.clock.millis(now);
        timers.next_ping = now + settings.interval;
        timers.unanswered = Some((timestamp, now));
        let rtt = self.round_trip_time.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        Some(Due::Ping(Ping { timestamp, rtt }))
    }
}
