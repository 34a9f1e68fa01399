//! When a token can be reused: pure arithmetic over what the token says and when it was received.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roomkey_token::{Claims, NumericDate};

use crate::refresh::RefreshAhead;

/// How early a token counts as used up, and how much a clock may be off.
#[derive(Clone, Debug)]
pub(crate) struct FreshnessPolicy {
    /// A token is not reused in the last part of its life, this long.
    pub(crate) lead: Duration,
    /// The lead of a short-lived token is a quarter of its lifetime, where it says when that began.
    pub(crate) adaptive: bool,
    /// How far `nbf` may lie ahead.
    pub(crate) nbf_leeway: Duration,
    pub(crate) refresh_ahead: Option<RefreshAhead>,
    /// A token whose maker's time is not known is taken to have been made when it was received.
    pub(crate) relative: bool,
}

impl Default for FreshnessPolicy {
    fn default() -> Self {
        // LiveKit's SDKs stop 60 s before `exp`; livekit-server grants 60 s on `nbf`.
        Self {
            lead: Duration::from_secs(60),
            adaptive: true,
            nbf_leeway: Duration::from_secs(60),
            refresh_ahead: None,
            relative: false,
        }
    }
}

/// A span of time after a token was received, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    from: Duration,
    until: Duration,
}

impl Span {
    /// How long after this age it is over, or how long until then.
    pub(crate) fn left_at(self, age: Duration) -> Duration {
        self.until.saturating_sub(age)
    }

    const NEVER: Self = Self { from: Duration::ZERO, until: Duration::ZERO };

    pub(crate) fn contains(self, age: Duration) -> bool {
        self.from <= age && age < self.until
    }
}

/// What a token allows, by its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// When it can be given out again without asking for a new one.
    pub(crate) reusable: Span,
    /// When it still joins, so that it is better than none.
    pub(crate) unexpired: Span,
    /// The age from which on it is renewed ahead of need.
    pub(crate) renewal: Duration,
}

impl FreshnessPolicy {
    /// What time it was for whoever made a token when it was received: as they say, or else by the token's own word if that
    /// is the policy, or else by the clock of this machine.
    pub(crate) fn received_at(
        &self,
        claims: Option<&Claims>,
        server_time: Option<SystemTime>,
        wall: SystemTime,
    ) -> SystemTime {
        let made = || claims.filter(|_| self.relative).and_then(|claims| claims.iat.or(claims.nbf));
        server_time.or_else(|| made()?.to_system_time()).unwrap_or(wall)
    }

    /// Judges a token that was received at `received`; `chance`, in `0.0..1.0`, keeps renewals apart. A token that says nothing of its end is never reused.
    pub(crate) fn judge(&self, claims: Option<&Claims>, received: SystemTime, chance: f64) -> Freshness {
        let Some((claims, exp)) = claims.and_then(|claims| Some((claims, claims.exp?))) else {
            return Freshness { reusable: Span::NEVER, unexpired: Span::NEVER, renewal: Duration::MAX };
        };
        let received = Nanos::of(received);
        let from = claims
            .nbf
            .map_or(Duration::ZERO, |nbf| received.until(Nanos::of_date(nbf).saturating_sub(self.nbf_leeway)));
        let exp_at = Nanos::of_date(exp);
        let lifetime = claims.iat.or(claims.nbf).map(|start| Nanos::of_date(start).until(exp_at));
        // One that ends before it begins says nothing of its length.
        let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
        let lead = match lifetime {
            Some(lifetime) if self.adaptive => self.lead.min(lifetime / 4),
            _ => self.lead,
        };
        // However far the clocks are apart, no token outlives its life after it was received.
        let left = received.until(exp_at).min(lifetime.unwrap_or(Duration::MAX));
        Freshness {
            reusable: Span { from, until: left.saturating_sub(lead) },
            unexpired: Span { from, until: left },
            renewal: self.refresh_ahead.map_or(Duration::MAX, |ahead| {
                // While it can be reused still, or there is no fetch to do it behind.
                ahead.renewal_age(left, left.saturating_sub(lead), chance)
            }),
        }
    }
}

/// Nanoseconds since the Unix epoch, in a width that no token can overflow.
#[derive(Clone, Copy)]
struct Nanos(i128);

impl Nanos {
    fn of(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        })
    }

    fn of_date(date: NumericDate) -> Self {
        Self(i128::from(date.as_secs()) * 1_000_000_000)
    }

    fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by.as_nanos() as i128))
    }

    /// The time from here to there, none where that lies back.
    fn until(self, there: Self) -> Duration {
        let nanos = there.0.saturating_sub(self.0).max(0) as u128;
        Duration::new(u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX), (nanos % 1_000_000_000) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(exp: i64, nbf: Option<i64>, iat: Option<i64>) -> Claims {
        let mut claims = Claims::default();
        claims.exp = Some(NumericDate::from_secs(exp));
        claims.nbf = nbf.map(NumericDate::from_secs);
        claims.iat = iat.map(NumericDate::from_secs);
        claims
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn reusable_at(claims: &Claims, age: u64) -> bool {
        FreshnessPolicy::default().judge(Some(claims), at(1_000), 0.0).reusable.contains(Duration::from_secs(age))
    }

    #[test]
    fn the_lead_ends_reuse_strictly_before_the_expiry() {
        for (exp, age, reusable) in [(1_061, 0, true), (1_060, 0, false), (1_100, 39, true), (1_100, 40, false)] {
            assert_eq!(reusable_at(&claims(exp, None, None), age), reusable, "exp {exp} age {age}");
        }
    }

    #[test]
    fn a_short_life_has_a_lead_of_a_quarter() {
        let short = claims(1_040, Some(1_000), Some(1_000));
        assert!(reusable_at(&short, 29));
        assert!(!reusable_at(&short, 30));
        let long = claims(1_400, Some(1_000), None);
        assert!(reusable_at(&long, 339));
        assert!(!reusable_at(&long, 340));
    }

    #[test]
    fn the_start_may_lie_ahead_by_the_leeway() {
        assert!(reusable_at(&claims(9_000, Some(1_060), None), 0));
        assert!(!reusable_at(&claims(9_000, Some(1_061), None), 0));
        assert!(reusable_at(&claims(9_000, Some(1_061), None), 1));
    }

    #[test]
    fn a_clock_that_is_slow_does_not_prolong_a_life() {
        // Ten minutes, by a server that is an hour ahead of this machine.
        let ahead = claims(1_000 + 4_200, Some(1_000 + 3_600), Some(1_000 + 3_600));
        assert!(!reusable_at(&ahead, 0) && !reusable_at(&ahead, 3_600), "its start is too far ahead, then it is dead");
        let ahead = claims(1_000 + 4_200, None, Some(1_000 + 3_600));
        assert!(reusable_at(&ahead, 539) && !reusable_at(&ahead, 540));
    }

    #[test]
    fn a_life_that_ends_before_it_begins_has_the_whole_lead() {
        let odd = claims(2_000, None, Some(1_800_000_000_000));
        assert!(reusable_at(&odd, 939) && !reusable_at(&odd, 940));
    }

    #[test]
    fn a_token_is_as_old_as_the_server_says_or_else_new_if_that_is_the_policy() {
        let (absolute, relative) =
            (FreshnessPolicy::default(), FreshnessPolicy { relative: true, ..FreshnessPolicy::default() });
        let made = claims(1_900, None, Some(1_000));
        assert_eq!(absolute.received_at(Some(&made), None, at(5_000)), at(5_000));
        assert_eq!(relative.received_at(Some(&made), None, at(5_000)), at(1_000));
        assert_eq!(relative.received_at(Some(&made), Some(at(1_700)), at(5_000)), at(1_700), "it is known");
        assert_eq!(relative.received_at(Some(&claims(1_900, Some(1_100), None)), None, at(5_000)), at(1_100));
        assert_eq!(
            relative.received_at(Some(&claims(1_900, None, None)), None, at(5_000)),
            at(5_000),
            "it does not say"
        );
        assert_eq!(relative.received_at(None, None, at(5_000)), at(5_000));
    }

    #[test]
    fn renewals_are_spread_whatever_the_length_of_a_life() {
        for (life, ahead, earliest, latest) in [
            (600, 300, 300, 360),
            (3_600, 300, 3_300, 3_360),
            (21_600, 300, 21_300, 21_360),
            // The lead is the one of reuse: all of it lies before, with half a minute to spare.
            (600, 60, 498, 510),
            (21_600, 60, 21_498, 21_510),
            // Of a life of 40 s 30 are for reuse, of which a tenth is to spare.
            (40, 300, 20, 24),
        ] {
            let ahead = RefreshAhead::new(Duration::from_secs(ahead));
            let policy = FreshnessPolicy { refresh_ahead: Some(ahead), ..FreshnessPolicy::default() };
            let token = claims(1_000 + life, None, Some(1_000));
            let renewal = |chance| policy.judge(Some(&token), at(1_000), chance).renewal;
            let (first, last) = (Duration::from_secs(earliest), Duration::from_secs(latest));
            assert_eq!((renewal(0.0), renewal(1.0)), (first, last), "a life of {life} s");
            assert!(policy.judge(Some(&token), at(1_000), 1.0).reusable.contains(last));
        }
    }

    #[test]
    fn extreme_times_neither_panic_nor_wrap() {
        for exp in [i64::MIN, -1, 0, 1, i64::MAX] {
            for start in [None, Some(i64::MIN), Some(i64::MAX), Some(0)] {
                let claims = claims(exp, start, start);
                let judged = FreshnessPolicy::default().judge(Some(&claims), at(1_000), 0.0);
                assert!(exp == i64::MAX || !judged.unexpired.contains(Duration::ZERO), "{exp} {start:?}");
                let _ = FreshnessPolicy { lead: Duration::MAX, ..FreshnessPolicy::default() }.judge(
                    Some(&claims),
                    at(0),
                    0.0,
                );
            }
        }
        assert!(reusable_at(&claims(i64::MAX, None, None), 1 << 40));
    }

    #[test]
    fn no_expiry_is_never_reusable() {
        let judged = FreshnessPolicy::default().judge(None, at(1_000), 0.0);
        assert_eq!((judged.reusable, judged.unexpired), (Span::NEVER, Span::NEVER));
        let judged = FreshnessPolicy::default().judge(Some(&Claims::default()), at(1_000), 0.0);
        assert!(!judged.reusable.contains(Duration::ZERO));
    }
}
