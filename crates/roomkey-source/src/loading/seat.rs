//! A caller's place on a flight: whoever has one waits for the call, drives it, and lands it.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Outcome, Shared};
use crate::cache::Key;
use crate::error::FetchError;
use crate::flight::{Asked, Beginning, CallerId, FlightId, Turn};
use crate::provider_call::GuardedCall;

/// One caller's place on a flight. Dropping it leaves the flight.
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Arc<Key>,
    pub(super) flight: FlightId,
    pub(super) caller: CallerId,
    /// Every caller has a timer in its own runtime, since nobody knows who else is polled.
    pub(super) timer: Option<Pin<Box<Sleep>>>,
    /// The call is out of the flight, in this caller's hands.
    pub(super) is_driving: bool,
    pub(super) is_aboard: bool,
}

impl Seat {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            // Nothing of the application's runs under the lock, and that may include making and dropping wakers.
            let waker = context.waker().clone();
            let deadline = self.shared.settings.load_timeout.and_then(deadline_after);
            let mut state = self.shared.lock();
            let now = Beginning { asked: Asked(state.count()), deadline };
            let turn = state.with_lane(&self.key, |lane| lane.turn(self.flight, self.caller, waker, now));
            drop(state);
            match turn.0 {
                Turn::Landed(outcome) => {
                    self.is_aboard = false;
                    return Poll::Ready(outcome);
                }
                Turn::Wait { deadline } => return self.wait(deadline, context),
                Turn::Drive { call, deadline } => match self.drive(call) {
                    Driven::Done(outcome) => return Poll::Ready(outcome),
                    Driven::Parked => return self.wait(deadline, context),
                    Driven::Refused => {}
                },
            }
        }
    }

    /// Polls the call, and gives it back if it is not done.
    fn drive(&mut self, call: Option<GuardedCall>) -> Driven {
        self.is_driving = true;
        let mut call = match call.map_or_else(|| self.shared.begin_flight(&self.key, self.flight), Ok) {
            Ok(call) => call,
            Err(error) => return Driven::Done(self.land(Err(error))),
        };
        // All aboard are woken when it can go on, so that it does not depend on this one being polled again.
        let progress = Waker::from(Arc::new(Progress {
            shared: Arc::downgrade(&self.shared),
            key: Arc::clone(&self.key),
            flight: self.flight,
        }));
        match pin!(&mut call).poll(&mut Context::from_waker(&progress)) {
            Poll::Ready(outcome) => Driven::Done(self.land(self.shared.check_grant(&self.key, outcome))),
            Poll::Pending => {
                let (flight, caller) = (self.flight, self.caller);
                let parking = self.shared.lock().with_lane(&self.key, |lane| lane.park(flight, caller, call));
                self.is_driving = false;
                parking.wake.into_iter().for_each(Waker::wake);
                if parking.refused.is_some() { Driven::Refused } else { Driven::Parked }
            }
        }
    }

    /// Waits to be woken, but not beyond the time that a call may take.
    fn wait(&mut self, deadline: Option<std::time::Instant>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.timer.is_none() {
            if tokio::runtime::Handle::try_current().is_err() {
                return Poll::Pending;
            }
            self.timer = Some(Box::pin(sleep_until(Instant::from_std(deadline))));
        }
        let is_over = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if !is_over {
            return Poll::Pending;
        }
        let timeout = self.shared.settings.load_timeout.unwrap_or_default();
        Poll::Ready(self.land(Err(FetchError::timeout(timeout))))
    }

    /// Ends the flight with an outcome: what was received is held, if it may be, and those who wait are woken.
    fn land(&mut self, outcome: Outcome) -> Outcome {
        // A panic in here, of a clock or a partition, must not leave the others waiting.
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let now = self.shared.settings.clock.now();
            (self.shared.judge(&self.key, &outcome, now), now)
        }));
        let (outcome, receipt, now) = match judged {
            Ok((receipt, now)) => (outcome, receipt, Some(now)),
            Err(_) => (Err(FetchError::panicked()), None, None),
        };
        self.is_aboard = false;
        let (flight, caller, shared) = (self.flight, self.caller, &self.shared);
        let mut state = shared.lock();
        let landing = state.with_lane(&self.key, |lane| lane.land(flight, caller, outcome.clone()));
        if landing.is_end {
            shared.count_failure(&outcome);
        }
        let (mut given_up, mut has_changed) = (Vec::new(), false);
        if let (Some(receipt), Some(asked)) = (receipt, landing.keep) {
            let (now, freshness, is_new) = (receipt.now, receipt.freshness, receipt.held_before.is_none());
            let entry = Arc::new(receipt.entry(Key::clone(&self.key), asked));
            // Where nobody asked for a fresh one, a token that can be reused is not given up for one that can't.
            let held = state.cache.get(Key::as_ref(&self.key));
            let is_held_better = !landing.is_fresh
                && shared.settings.reuse_when.is_none()
                && !freshness.reusable.contains(entry.age(now))
                && held.is_some_and(|held| held.freshness.reusable.contains(held.age(now)));
            let is_in_time =
                held.is_some_and(|held| held.asked < asked && held.freshness.unexpired.contains(held.age(now)));
            if is_in_time && !is_held_better {
                shared.counters.refreshes.count();
            }
            if !is_held_better {
                let is_kept = held.is_none_or(|held| held.asked < asked);
                if let Some(stored) = shared.stored().filter(|_| is_kept && is_new && shared.is_worth_saving(&entry)) {
                    stored.save(Arc::clone(&entry));
                }
                given_up = state.cache.insert(entry, shared.fronts.settle());
                has_changed = true;
            }
        }
        // Noted here, so that of all who were aboard nobody asks again at once. What began before an invalidation says nothing
        // to those who come after it.
        let mut forgotten = None;
        if let Some(now) = now {
            let wait;
            (wait, forgotten) = match landing.keep {
                Some(_) => shared.note_end(&mut state, &self.key, &outcome, now),
                None => (None, None),
            };
            if landing.keep.is_some()
                && let (false, Some(held)) = (has_changed, state.cache.get(Key::as_ref(&self.key)))
            {
                match wait {
                    Some(wait) => held.renewal.put_off(held.age(now), wait),
                    None => held.renewal.note_no_better(held.age(now), &shared.back_off()),
                }
            }
        }
        drop(state);
        drop(forgotten);
        landing.wake.into_iter().for_each(Waker::wake);
        if has_changed {
            shared.changed.send_replace(());
        }
        if !given_up.is_empty() {
            shared.fronts.drop_dead();
        }
        outcome
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.is_aboard {
            return;
        }
        let (flight, caller, was_driving) = (self.flight, self.caller, self.is_driving);
        let departure = self.shared.lock().with_lane(&self.key, |lane| lane.leave(flight, caller, was_driving));
        // First the others: dropping a call runs code of the application's, which may panic.
        departure.wake.into_iter().for_each(Waker::wake);
        drop(departure.abandoned);
    }
}

/// What came of driving a call.
enum Driven {
    /// It is over, and the caller off the flight.
    Done(Outcome),
    /// It goes on, with whoever is polled next.
    Parked,
    /// The flight has landed meanwhile.
    Refused,
}

/// Wakes all who are aboard a flight.
struct Progress {
    shared: Weak<Shared>,
    key: Arc<Key>,
    flight: FlightId,
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let woken = {
            let mut state = shared.lock();
            let key = Key::as_ref(&self.key);
            let lane = state.lanes.find_mut(key.hash, |(held, _)| key.is(held));
            lane.map_or_else(Vec::new, |(_, lane)| lane.progress(self.flight))
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

/// The moment when a call that begins now has taken too long; none if that is beyond all time.
#[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
fn deadline_after(timeout: Duration) -> Option<std::time::Instant> {
    Instant::now().into_std().checked_add(timeout)
}
