//! Every interleaving of three callers, walked through.

use std::collections::{BTreeSet, HashSet};

use super::*;

/// One caller in the world of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Away,
    /// On a flight since a moment, woken or not.
    Aboard {
        flight: FlightId,
        ask: Ask,
        since: u64,
        woken: bool,
    },
    /// Driving the call that was begun at that moment.
    Pilot {
        flight: FlightId,
        ask: Ask,
        since: u64,
        call: u64,
    },
    /// Back with a result, or gone.
    Done,
}

/// What a call ends in: the moment at which it was begun, or a failure.
type Outcome = Result<u64, &'static str>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    lane: Lane<u64, usize, Outcome>,
    callers: [Caller; 3],
    /// The moment of the last event; a call's number is the moment at which it was begun.
    now: u64,
    invalidated: Option<u64>,
    invalidations_left: u8,
    /// The token that is kept, by its call.
    cached: Option<u64>,
    /// Calls that were begun and neither ended nor dropped.
    calls: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Join(usize, Ask),
    Turn(usize),
    Drop(usize),
    Complete(usize),
    Fail(usize),
    Panic(usize),
    Invalidate,
}

impl World {
    fn new() -> Self {
        Self {
            lane: Lane::default(),
            callers: [Caller::Away; 3],
            now: 0,
            invalidated: None,
            invalidations_left: 2,
            cached: None,
            calls: Vec::new(),
        }
    }

    /// The same world with its moments numbered from 0: only their order counts, and most paths meet again.
    fn ranked(mut self) -> Self {
        let mut moments: Vec<&mut u64> = vec![&mut self.now];
        moments.extend(self.calls.iter_mut());
        moments.extend(self.invalidated.as_mut());
        moments.extend(self.cached.as_mut());
        for caller in &mut self.callers {
            match caller {
                Caller::Aboard { since, .. } => moments.push(since),
                Caller::Pilot { since, call, .. } => moments.extend([since, call]),
                Caller::Away | Caller::Done => {}
            }
        }
        for flight in &mut self.lane.flights {
            moments.extend(flight.asked.as_mut().map(|asked| &mut asked.0));
            moments.extend(flight.parked.as_mut());
            moments.extend(flight.landed.as_mut().and_then(|outcome| outcome.as_mut().ok()));
        }
        let order: BTreeSet<u64> = moments.iter().map(|moment| **moment).collect();
        for moment in moments {
            *moment = order.range(..*moment).count() as u64;
        }
        self
    }

    fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, caller) in self.callers.iter().enumerate() {
            match caller {
                Caller::Away => events.extend([Event::Join(index, Ask::Any), Event::Join(index, Ask::Fresh)]),
                Caller::Aboard { woken, .. } => {
                    events.push(Event::Drop(index));
                    if *woken {
                        events.push(Event::Turn(index));
                    }
                }
                Caller::Pilot { .. } => {
                    events.extend([Event::Drop(index), Event::Complete(index), Event::Fail(index), Event::Panic(index)])
                }
                Caller::Done => {}
            }
        }
        if self.invalidations_left > 0 {
            events.push(Event::Invalidate);
        }
        events
    }

    fn apply(&mut self, event: Event) {
        self.now += 1;
        match event {
            Event::Join(index, ask) => {
                let flight = self.lane.join(CallerId(index as u64), ask);
                self.callers[index] = Caller::Aboard { flight, ask, since: self.now, woken: true };
            }
            Event::Turn(index) => self.turn(index),
            Event::Drop(index) => self.leave(index),
            Event::Complete(index) => {
                let Caller::Pilot { flight, ask, since, call } = self.callers[index] else { unreachable!() };
                let kept = self.land(index, flight, call, Ok(call));
                self.check_result(ask, since, Ok(call));
                if kept && self.cached.is_none_or(|cached| cached < call) {
                    self.cached = Some(call);
                }
            }
            Event::Fail(index) | Event::Panic(index) => {
                let Caller::Pilot { flight, call, .. } = self.callers[index] else { unreachable!() };
                let failure = if matches!(event, Event::Fail(_)) { "failed" } else { "panicked" };
                self.land(index, flight, call, Err(failure));
            }
            Event::Invalidate => {
                self.invalidations_left -= 1;
                self.invalidated = Some(self.now);
                self.cached = None;
                let woken = self.lane.invalidate();
                self.wake(woken);
            }
        }
        self.check();
    }

    fn turn(&mut self, index: usize) {
        let Caller::Aboard { flight, ask, since, .. } = self.callers[index] else { unreachable!() };
        self.callers[index] = match self.lane.turn(flight, CallerId(index as u64), || index, Asked(self.now)) {
            Turn::Landed(result) => {
                self.check_result(ask, since, result);
                Caller::Done
            }
            Turn::Pilot(call) => {
                let call = call.unwrap_or_else(|| {
                    self.calls.push(self.now);
                    self.now
                });
                Caller::Pilot { flight, ask, since, call }
            }
            Turn::Wait => Caller::Aboard { flight, ask, since, woken: false },
        };
    }

    fn leave(&mut self, index: usize) {
        let (flight, call) = match self.callers[index] {
            Caller::Aboard { flight, .. } => (flight, None),
            Caller::Pilot { flight, call, .. } => (flight, Some(call)),
            Caller::Away | Caller::Done => unreachable!(),
        };
        self.callers[index] = Caller::Done;
        let departure = self.lane.leave(flight, CallerId(index as u64), call);
        self.wake(departure.wake);
        if let Some(abandoned) = departure.abandoned {
            self.calls.retain(|call| *call != abandoned);
        }
    }

    /// Returns whether the token may be kept.
    fn land(&mut self, index: usize, flight: FlightId, call: u64, result: Outcome) -> bool {
        self.callers[index] = Caller::Done;
        self.calls.retain(|under_way| *under_way != call);
        let landing = self.lane.land(flight, result);
        self.wake(landing.wake);
        assert!(landing.keep.is_none_or(|asked| asked == Asked(call)), "the call's own number decides which is newer");
        landing.keep.is_some()
    }

    fn wake(&mut self, wakers: impl IntoIterator<Item = usize>) {
        for index in wakers {
            match &mut self.callers[index] {
                Caller::Aboard { woken, .. } => *woken = true,
                other @ (Caller::Away | Caller::Pilot { .. } | Caller::Done) => {
                    panic!("woke caller {index}, which is {other:?}")
                }
            }
        }
    }

    fn check_result(&self, ask: Ask, since: u64, result: Outcome) {
        let Ok(call) = result else { return };
        if ask == Ask::Fresh {
            assert!(call > since, "a fresh token was asked for before its caller came");
        }
        if let Some(invalidated) = self.invalidated.filter(|invalidated| *invalidated < since) {
            assert!(call > invalidated, "a token from before an invalidation went to one who came after it");
        }
    }

    fn check(&self) {
        if let (Some(cached), Some(invalidated)) = (self.cached, self.invalidated) {
            assert!(cached > invalidated, "an invalidated token is kept");
        }
        // Whoever waits has somebody to wait for.
        let moving = self
            .callers
            .iter()
            .any(|caller| matches!(caller, Caller::Pilot { .. } | Caller::Aboard { woken: true, .. }));
        let waiting = self.callers.iter().any(|caller| matches!(caller, Caller::Aboard { .. }));
        assert!(moving || !waiting, "everybody waits");
        for (index, caller) in self.callers.iter().enumerate() {
            let Caller::Aboard { flight, woken: false, .. } = caller else { continue };
            let somebody = |wanted: FlightId| {
                self.callers.iter().enumerate().any(|(other, caller)| match caller {
                    Caller::Pilot { flight, .. } | Caller::Aboard { flight, woken: true, .. } => {
                        other != index && *flight == wanted
                    }
                    Caller::Away | Caller::Aboard { .. } | Caller::Done => false,
                })
            };
            let behind = (self.lane.queued == Some(*flight)).then_some(self.lane.open).flatten();
            assert!(somebody(*flight) || behind.is_some_and(somebody), "caller {index} waits for nobody");
        }
        // A call has exactly one holder, and nobody's call goes on.
        for call in &self.calls {
            let piloted =
                self.callers.iter().filter(|caller| matches!(caller, Caller::Pilot { call: held, .. } if held == call));
            let parked = self.lane.flights.iter().filter(|flight| flight.parked == Some(*call));
            assert_eq!(piloted.count() + parked.count(), 1, "call {call}");
        }
        let aboard = self.callers.iter().any(|caller| matches!(caller, Caller::Pilot { .. } | Caller::Aboard { .. }));
        assert_eq!(self.lane.is_empty(), !aboard);
        if !aboard {
            assert!(self.calls.is_empty());
            assert_eq!((self.lane.open, self.lane.queued), (None, None));
        }
    }
}

#[test]
fn every_interleaving_of_three_callers_keeps_the_promises() {
    let mut seen = HashSet::new();
    let mut pending = vec![(World::new(), Vec::new())];
    let mut ends = 0u32;
    while let Some((world, path)) = pending.pop() {
        let events = world.possible();
        ends += u32::from(events.iter().all(|event| matches!(event, Event::Invalidate)));
        for event in events {
            let mut next = world.clone();
            let mut path: Vec<Event> = path.clone();
            path.push(event);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| next.apply(event)));
            assert!(outcome.is_ok(), "after {path:?}");
            let next = next.ranked();
            if seen.insert(next.clone()) {
                pending.push((next, path));
            }
        }
    }
    // Enough of them that a change which cuts the walk short is noticed.
    assert!(seen.len() > 40_000 && ends > 20, "{} states, {ends} ends", seen.len());
}

/// Three who want any token and no failure: one call.
#[test]
fn callers_who_take_any_token_share_one_call() {
    let mut lane = Lane::<(), usize, u8>::default();
    let flights: Vec<_> = (0..3).map(|caller| lane.join(CallerId(caller), Ask::Any)).collect();
    assert_eq!(lane.turn(flights[0], CallerId(0), || 0, Asked(1)), Turn::Pilot(None));
    assert_eq!(lane.turn(flights[1], CallerId(1), || 1, Asked(2)), Turn::Wait);
    assert_eq!(lane.turn(flights[2], CallerId(2), || 2, Asked(3)), Turn::Wait);
    assert_eq!(lane.land(flights[0], 7), Landing { wake: vec![1, 2], keep: Some(Asked(1)) });
    assert_eq!(lane.turn(flights[1], CallerId(1), || 1, Asked(4)), Turn::Landed(7));
    assert_eq!(lane.turn(flights[2], CallerId(2), || 2, Asked(5)), Turn::Landed(7));
    assert!(lane.is_empty());
}

/// Ten who want a fresh token at once: the first call is too early for nine of them, the second for nobody.
#[test]
fn callers_who_want_a_fresh_token_share_two_calls() {
    let mut lane = Lane::<(), usize, u8>::default();
    let first = lane.join(CallerId(0), Ask::Fresh);
    assert_eq!(lane.turn(first, CallerId(0), || 0, Asked(1)), Turn::Pilot(None));
    let others: Vec<_> = (1..10).map(|caller| lane.join(CallerId(caller), Ask::Fresh)).collect();
    assert!(others.iter().all(|flight| *flight == others[0] && *flight != first));
    for caller in 1..10 {
        assert_eq!(lane.turn(others[0], CallerId(caller), || caller as usize, Asked(2)), Turn::Wait);
    }
    assert_eq!(lane.land(first, 1).wake, [1]);
    assert_eq!(lane.turn(others[0], CallerId(1), || 1, Asked(3)), Turn::Pilot(None));
    assert_eq!(lane.land(others[0], 2).wake.len(), 8);
}
