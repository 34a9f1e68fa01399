//! Every interleaving of three callers, walked through.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::*;

/// One caller in the world of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Away,
    /// On a flight since a moment; woken, so that it is going to be polled, or not.
    Aboard {
        id: CallerId,
        flight: FlightId,
        ask: Ask,
        since: u64,
        woken: bool,
    },
    /// Polling the call that was begun at that moment.
    Driving {
        id: CallerId,
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
    arrivals: u64,
    /// The moment of the last event; a call's number is the moment at which it was begun.
    now: u64,
    invalidated: Option<u64>,
    invalidations_left: u8,
    /// The token that is kept, by its call.
    cached: Option<u64>,
    /// Calls that were begun and neither ended nor dropped, and whether each can go on.
    calls: BTreeMap<u64, bool>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Join(usize, Ask),
    /// A caller is polled, woken or not.
    Turn(usize),
    Drop(usize),
    /// The call that this caller drives is not done.
    Pending(usize),
    Complete(usize),
    Fail(usize),
    /// Driving the call ends in a panic that nobody caught.
    Panic(usize),
    /// The time for the call that this caller waits for is over.
    Expire(usize),
    /// What this flight's call waits for has come.
    Progress(FlightId),
    Invalidate,
}

impl World {
    fn new() -> Self {
        Self {
            lane: Lane::default(),
            callers: [Caller::Away; 3],
            arrivals: 0,
            now: 0,
            invalidated: None,
            invalidations_left: 1,
            cached: None,
            calls: BTreeMap::new(),
        }
    }

    /// The same world with its moments numbered from 0: only their order counts, and most paths meet again.
    fn ranked(mut self) -> Self {
        let mut moments: Vec<&mut u64> = vec![&mut self.now];
        moments.extend(self.invalidated.as_mut());
        moments.extend(self.cached.as_mut());
        for caller in &mut self.callers {
            match caller {
                Caller::Aboard { since, .. } => moments.push(since),
                Caller::Driving { since, call, .. } => moments.extend([since, call]),
                Caller::Away | Caller::Done => {}
            }
        }
        for flight in &mut self.lane.flights {
            moments.extend(flight.begun.as_mut().map(|begun| &mut begun.asked.0));
            moments.extend(flight.parked.as_mut());
            moments.extend(flight.landed.as_mut().and_then(|outcome| outcome.as_mut().ok()));
        }
        let mut order: BTreeSet<u64> = moments.iter().map(|moment| **moment).collect();
        order.extend(self.calls.keys());
        let rank = |moment: u64| order.range(..moment).count() as u64;
        for moment in moments {
            *moment = rank(*moment);
        }
        self.calls = self.calls.iter().map(|(call, ready)| (rank(*call), *ready)).collect();
        self
    }

    fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, caller) in self.callers.iter().enumerate() {
            match caller {
                // In the order of their numbers: nothing else tells them apart.
                Caller::Away if self.callers[..index].contains(&Caller::Away) => {}
                Caller::Away => events.extend([Event::Join(index, Ask::Any), Event::Join(index, Ask::Fresh)]),
                Caller::Aboard { flight, .. } => {
                    events.extend([Event::Drop(index), Event::Turn(index)]);
                    let flight = self.lane.flight(*flight).unwrap();
                    if flight.begun.is_some() && flight.landed.is_none() {
                        events.push(Event::Expire(index));
                    }
                }
                Caller::Driving { .. } => events.extend([
                    Event::Pending(index),
                    Event::Complete(index),
                    Event::Fail(index),
                    Event::Panic(index),
                ]),
                Caller::Done => {}
            }
        }
        events.extend(
            self.lane.flights.iter().filter(|flight| flight.begun.is_some()).map(|flight| Event::Progress(flight.id)),
        );
        if self.invalidations_left > 0 {
            events.push(Event::Invalidate);
        }
        events
    }

    fn apply(&mut self, event: Event) {
        self.now += 1;
        match event {
            Event::Join(index, ask) => {
                let id = CallerId(self.arrivals);
                self.arrivals += 1;
                let flight = self.lane.join(id, ask);
                self.callers[index] = Caller::Aboard { id, flight, ask, since: self.now, woken: true };
            }
            Event::Turn(index) => self.turn(index),
            Event::Drop(index) => {
                let Caller::Aboard { id, flight, .. } = self.callers[index] else { unreachable!() };
                self.leave(index, flight, id, false);
            }
            Event::Pending(index) => {
                let Caller::Driving { id, flight, ask, since, call } = self.callers[index] else { unreachable!() };
                // Until it is polled again it counts as woken only if it is woken.
                self.callers[index] = Caller::Aboard { id, flight, ask, since, woken: self.was_woken(index) };
                let parking = self.lane.park(flight, id, call);
                self.wake(parking.wake);
                if parking.refused.is_some() {
                    self.calls.remove(&call);
                    self.turn(index);
                }
            }
            Event::Complete(index) => {
                let Caller::Driving { ask, since, call, .. } = self.callers[index] else { unreachable!() };
                let kept = self.land(index, Ok(call));
                self.calls.remove(&call);
                self.check_result(ask, since, Ok(call));
                if kept == Some(Asked(call)) && self.cached.is_none_or(|cached| cached < call) {
                    self.cached = Some(call);
                }
            }
            Event::Fail(index) => {
                let Caller::Driving { call, .. } = self.callers[index] else { unreachable!() };
                self.land(index, Err("failed"));
                self.calls.remove(&call);
            }
            Event::Panic(index) => {
                let Caller::Driving { id, flight, call, .. } = self.callers[index] else { unreachable!() };
                self.calls.remove(&call);
                self.leave(index, flight, id, true);
            }
            Event::Expire(index) => {
                self.land(index, Err("took too long"));
            }
            Event::Progress(flight) => {
                let driven = self.callers.iter().find_map(|caller| match caller {
                    Caller::Driving { flight: of, call, .. } if *of == flight => Some(*call),
                    Caller::Away | Caller::Aboard { .. } | Caller::Driving { .. } | Caller::Done => None,
                });
                if let Some(call) = driven.or_else(|| self.lane.flight(flight).unwrap().parked) {
                    self.calls.insert(call, true);
                }
                let woken = self.lane.progress(flight);
                self.wake(woken);
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

    /// Whether the waker that a caller left with its last turn has been used.
    fn was_woken(&self, index: usize) -> bool {
        let (Caller::Aboard { id, flight, .. } | Caller::Driving { id, flight, .. }) = self.callers[index] else {
            return false;
        };
        self.lane.flight(flight).unwrap().callers[&id].is_none()
    }

    fn turn(&mut self, index: usize) {
        let Caller::Aboard { id, flight, ask, since, .. } = self.callers[index] else { unreachable!() };
        let now = Beginning { asked: Asked(self.now), deadline: None };
        self.callers[index] = match self.lane.turn(flight, id, index, now).0 {
            Turn::Landed(result) => {
                self.check_result(ask, since, result);
                Caller::Done
            }
            Turn::Drive { call, .. } => {
                let call = call.unwrap_or(self.now);
                // Whatever has come is seen by this poll.
                self.calls.insert(call, false);
                Caller::Driving { id, flight, ask, since, call }
            }
            Turn::Wait { .. } => Caller::Aboard { id, flight, ask, since, woken: false },
        };
    }

    fn leave(&mut self, index: usize, flight: FlightId, id: CallerId, was_driving: bool) {
        self.callers[index] = Caller::Done;
        let departure = self.lane.leave(flight, id, was_driving);
        self.wake(departure.wake);
        if let Some(call) = departure.abandoned.0 {
            self.calls.remove(&call);
        }
    }

    /// Returns when the call was begun whose token may be kept.
    fn land(&mut self, index: usize, result: Outcome) -> Option<Asked> {
        let (Caller::Aboard { id, flight, .. } | Caller::Driving { id, flight, .. }) = self.callers[index] else {
            unreachable!()
        };
        self.callers[index] = Caller::Done;
        let landing = self.lane.land(flight, id, result);
        self.wake(landing.wake);
        if let Some(call) = landing.abandoned {
            self.calls.remove(&call);
        }
        landing.keep
    }

    fn wake(&mut self, wakers: impl IntoIterator<Item = usize>) {
        for index in wakers {
            match &mut self.callers[index] {
                Caller::Aboard { woken, .. } => *woken = true,
                Caller::Driving { .. } => {}
                other @ (Caller::Away | Caller::Done) => panic!("woke caller {index}, which is {other:?}"),
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
        for flight in &self.lane.flights {
            let aboard: Vec<&Caller> = self.callers.iter().filter(|caller| caller.is_on(flight.id)).collect();
            assert_eq!(aboard.len(), flight.callers.len());
            assert!(!aboard.is_empty(), "a flight without callers");
            let is_driven = aboard.iter().any(|caller| matches!(caller, Caller::Driving { .. }));
            let somebody_woken = aboard.iter().any(|caller| matches!(caller, Caller::Aboard { woken: true, .. }));
            let all_woken = aboard.iter().all(|caller| !matches!(caller, Caller::Aboard { woken: false, .. }));
            if flight.landed.is_some() {
                assert!(all_woken, "a flight landed, and somebody aboard is not told");
            } else if self.lane.queued == Some(flight.id) {
                assert!(self.lane.open.is_some() && flight.begun.is_none(), "queued behind nothing");
            } else if let Some(call) = flight.parked {
                assert!(!is_driven);
                assert!(!self.calls[&call] || somebody_woken, "a call can go on, and nobody is told");
            } else {
                assert!(is_driven || somebody_woken, "nobody has the call, and nobody begins it");
            }
        }
        // A call has exactly one holder, and nobody's call goes on.
        for call in self.calls.keys() {
            let driven = self
                .callers
                .iter()
                .filter(|caller| matches!(caller, Caller::Driving { call: held, .. } if held == call));
            let parked = self.lane.flights.iter().filter(|flight| flight.parked == Some(*call));
            assert_eq!(driven.count() + parked.count(), 1, "call {call}");
        }
        if self.lane.is_empty() {
            assert!(self.calls.is_empty() && (self.lane.open, self.lane.queued) == (None, None));
        }
        // Those who take any token, and come while a call is under way that was not invalidated, share it.
        let calls_of_any =
            self.lane.flights.iter().filter(|flight| {
                flight.begun.is_some() && flight.landed.is_none() && !flight.fresh && !flight.is_detached
            });
        assert!(calls_of_any.count() <= 1, "two calls where one would do");
    }
}

impl Caller {
    fn is_on(&self, wanted: FlightId) -> bool {
        match self {
            Self::Aboard { flight, .. } | Self::Driving { flight, .. } => *flight == wanted,
            Self::Away | Self::Done => false,
        }
    }
}

#[test]
fn every_interleaving_of_three_callers_keeps_the_promises() {
    let mut seen = HashSet::new();
    // Each state with the way to it: the event, and where in this list the state before is.
    let mut ways: Vec<(Event, usize)> = Vec::new();
    let mut pending = vec![(World::new(), usize::MAX)];
    let mut ends = 0u32;
    while let Some((world, way)) = pending.pop() {
        ends += u32::from(world.callers.iter().all(|caller| *caller == Caller::Done));
        for event in world.possible() {
            let mut next = world.clone();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| next.apply(event)));
            assert!(outcome.is_ok(), "{event:?} after (latest first) {:?}", path(&ways, way));
            let next = next.ranked();
            if seen.insert(next.clone()) {
                ways.push((event, way));
                pending.push((next, ways.len() - 1));
            }
        }
    }
    // Enough of them that a change which cuts the walk short is noticed.
    assert!(seen.len() > 30_000 && ends > 10, "{} states, {ends} ends", seen.len());
}

fn path(ways: &[(Event, usize)], mut way: usize) -> Vec<Event> {
    let mut path = Vec::new();
    while let Some((event, before)) = ways.get(way) {
        path.push(*event);
        way = *before;
    }
    path
}

fn at(moment: u64) -> Beginning {
    Beginning { asked: Asked(moment), deadline: None }
}

const DRIVE: Turn<(), u8> = Turn::Drive { call: None, deadline: None };
const WAIT: Turn<(), u8> = Turn::Wait { deadline: None };

#[test]
fn callers_who_take_any_token_share_one_call() {
    let mut lane = Lane::<(), usize, u8>::default();
    let flights: Vec<_> = (0..3).map(|caller| lane.join(CallerId(caller), Ask::Any)).collect();
    assert_eq!(lane.turn(flights[0], CallerId(0), 0, at(1)).0, DRIVE);
    assert_eq!(lane.turn(flights[1], CallerId(1), 1, at(2)).0, WAIT);
    assert_eq!(lane.turn(flights[2], CallerId(2), 2, at(3)).0, WAIT);
    let landing = lane.land(flights[0], CallerId(0), 7);
    assert_eq!((landing.wake, landing.keep), (vec![1, 2], Some(Asked(1))));
    assert_eq!(lane.turn(flights[1], CallerId(1), 1, at(4)).0, Turn::Landed(7));
    assert_eq!(lane.turn(flights[2], CallerId(2), 2, at(5)).0, Turn::Landed(7));
    assert!(lane.is_empty());
}

/// The one who began it need not be polled again.
#[test]
fn a_call_is_driven_by_whoever_is_polled() {
    let mut lane = Lane::<(), usize, u8>::default();
    let flight = lane.join(CallerId(0), Ask::Any);
    assert_eq!(lane.turn(flight, CallerId(0), 0, at(1)).0, DRIVE);
    assert!(lane.park(flight, CallerId(0), ()).wake.is_empty());
    lane.join(CallerId(1), Ask::Any);
    assert_eq!(lane.turn(flight, CallerId(1), 1, at(2)).0, Turn::Drive { call: Some(()), deadline: None });
    assert_eq!(lane.progress(flight), [0, 1]);
    assert_eq!(lane.turn(flight, CallerId(0), 0, at(3)).0, WAIT, "it is being driven");
    assert_eq!(lane.park(flight, CallerId(1), ()).wake, [0], "and what has come meanwhile is not lost");
}

/// Ten who want a fresh token at once: the first call is too early for nine of them, the second for nobody.
#[test]
fn callers_who_want_a_fresh_token_share_two_calls() {
    let mut lane = Lane::<(), usize, u8>::default();
    let first = lane.join(CallerId(0), Ask::Fresh);
    assert_eq!(lane.turn(first, CallerId(0), 0, at(1)).0, DRIVE);
    let others: Vec<_> = (1..10).map(|caller| lane.join(CallerId(caller), Ask::Fresh)).collect();
    assert!(others.iter().all(|flight| *flight == others[0] && *flight != first));
    for caller in 1..10 {
        assert_eq!(lane.turn(others[0], CallerId(caller), caller as usize, at(2)).0, WAIT);
    }
    assert_eq!(lane.land(first, CallerId(0), 1).wake.len(), 9);
    assert_eq!(lane.turn(others[0], CallerId(1), 1, at(3)).0, DRIVE);
    assert_eq!(lane.turn(others[0], CallerId(2), 2, at(4)).0, WAIT);
    assert_eq!(lane.land(others[0], CallerId(1), 2).keep, Some(Asked(3)));
}
