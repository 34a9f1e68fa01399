//! Calls under way for one key, as a pure state machine: who waits for which call, who drives it, what its end means.
//!
//! Callers [`join`](Lane::join) a flight, then take a [`turn`](Lane::turn) whenever they are polled. Whoever has a turn
//! while nobody drives the call drives it, and [parks](Lane::park) it again if it is not done; when the call can go on, all
//! aboard are [woken](Lane::progress). So it is enough that one of them is polled, whoever that is. A flight
//! [lands](Lane::land) with the result of its call, or when the time for it is over.
//!
//! The generic parameters are what the shell puts in: `C` a call, `W` what wakes a caller, `R` a result. Whatever is given
//! up comes out as a return value, so that nothing is woken or dropped under the shell's lock.

use std::collections::BTreeMap;
use std::time::Instant;

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// A token, if need be one that somebody else has asked for before.
    Any,
    /// A token that is asked for after this.
    Fresh,
}

/// A flight, in the order in which flights were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlightId(u64);

/// A caller, in the order in which callers came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallerId(pub(crate) u64);

/// When a call was begun: later calls have larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Asked(pub(crate) u64);

/// The beginning of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Beginning {
    pub(crate) asked: Asked,
    /// When those who wait for it give up, if ever.
    pub(crate) deadline: Option<Instant>,
}

/// All flights for one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane<C, W, R> {
    flights: Vec<Flight<C, W, R>>,
    /// The flight that whoever takes any token joins. The newest of those that are not queued.
    open: Option<FlightId>,
    /// The flight that begins when `open` has ended: callers who want a fresh token gather here while one is under way.
    queued: Option<FlightId>,
    next_flight: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight<C, W, R> {
    id: FlightId,
    /// Somebody aboard wants a token that was asked for after them.
    fresh: bool,
    begun: Option<Beginning>,
    /// Somebody is polling the call right now.
    is_driven: bool,
    /// The call can go on, as was told while it was driven.
    has_progressed: bool,
    /// The call, while nobody drives it.
    parked: Option<C>,
    landed: Option<R>,
    callers: BTreeMap<CallerId, Option<W>>,
    /// Its key was invalidated after the call was begun: its token is for those aboard alone.
    is_detached: bool,
}

/// What a caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn<C, R> {
    /// Take this: the flight has landed, and the caller is off it.
    Landed(R),
    /// Drive the call: go on with this one, or begin it.
    Drive { call: Option<C>, deadline: Option<Instant> },
    /// Nothing until woken, or until the time for the call is over.
    Wait { deadline: Option<Instant> },
}

/// What comes of parking a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parking<C, W> {
    pub(crate) wake: Vec<W>,
    /// The call, if the flight has landed meanwhile: the time for it was over.
    pub(crate) refused: Option<C>,
}

/// What the end of a call means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Landing<C, W> {
    pub(crate) wake: Vec<W>,
    /// When the call was begun, if its token may be kept; `None` if it was invalidated meanwhile.
    pub(crate) keep: Option<Asked>,
    /// Somebody wanted a fresh token.
    pub(crate) is_fresh: bool,
    /// The flight was under way until now.
    pub(crate) is_end: bool,
    /// A call that nobody wants any more.
    pub(crate) abandoned: Option<C>,
}

/// What is to be done for a caller who left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure<C, W, R> {
    pub(crate) wake: Vec<W>,
    /// A call and a result that nobody wants any more.
    pub(crate) abandoned: (Option<C>, Option<R>),
}

impl<C, W, R> Default for Lane<C, W, R> {
    fn default() -> Self {
        Self { flights: Vec::new(), open: None, queued: None, next_flight: 0 }
    }
}

impl<C, W, R: Clone> Lane<C, W, R> {
    /// Whether nobody is here, so that the lane can be thrown away.
    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Puts a caller on a flight: one under way that suits what is asked, or else a new one.
    pub(crate) fn join(&mut self, caller: CallerId, ask: Ask) -> FlightId {
        let open = self.open.and_then(|id| self.flight(id));
        let id = match (ask, open) {
            (Ask::Any, Some(open)) => open.id,
            // Nobody has called the provider yet, so that the call is going to be after this.
            (Ask::Fresh, Some(open)) if open.begun.is_none() => open.id,
            // One fresh call at a time; the next one is for all who come during this one.
            (Ask::Fresh, Some(open)) if open.fresh => match self.queued {
                Some(queued) => queued,
                None => {
                    let id = self.add_flight();
                    self.queued = Some(id);
                    id
                }
            },
            // A call for whoever takes any token does not hold up one who wants a fresh one: it may hang.
            (Ask::Fresh, Some(_)) | (_, None) => {
                let id = self.add_flight();
                self.open = Some(id);
                id
            }
        };
        let flight = self.flight_mut(id).expect("a flight that is open, queued or new is in the lane");
        flight.fresh |= ask == Ask::Fresh;
        flight.callers.insert(caller, None);
        id
    }

    /// Whether others are on a flight beside the one who has just joined.
    pub(crate) fn is_shared(&self, id: FlightId) -> bool {
        self.flight(id).is_some_and(|flight| flight.callers.len() > 1)
    }

    /// What a caller does next; `waker` is for all of it but the end. `now` is when the call begins, if this begins it.
    /// Also gives the waker of the caller's that the new one replaces.
    pub(crate) fn turn(&mut self, id: FlightId, caller: CallerId, waker: W, now: Beginning) -> (Turn<C, R>, Option<W>) {
        let is_queued = self.queued == Some(id);
        let flight = self.flight_mut(id).expect("a flight stays while a caller is on it");
        if let Some(result) = flight.landed.clone() {
            flight.callers.remove(&caller);
            self.remove_if_deserted(id);
            return (Turn::Landed(result), Some(waker));
        }
        let replaced = flight.callers.insert(caller, Some(waker)).flatten();
        if flight.is_driven || is_queued {
            return (Turn::Wait { deadline: flight.begun.and_then(|begun| begun.deadline) }, replaced);
        }
        flight.is_driven = true;
        flight.has_progressed = false;
        let deadline = flight.begun.get_or_insert(now).deadline;
        (Turn::Drive { call: flight.parked.take(), deadline }, replaced)
    }

    /// Whether somebody aboard wants a token that is asked for after them.
    pub(crate) fn is_fresh(&self, id: FlightId) -> bool {
        self.flight(id).is_some_and(|flight| flight.fresh)
    }

    /// Whether what comes of a flight may be kept: its key was not invalidated since its call was begun.
    pub(crate) fn is_kept(&self, id: FlightId) -> bool {
        self.flight(id).is_some_and(|flight| !flight.is_detached && flight.landed.is_none())
    }

    /// Takes a call back from a caller who drove it, and who waits for it from now on.
    pub(crate) fn park(&mut self, id: FlightId, caller: CallerId, call: C) -> Parking<C, W> {
        let flight = self.flight_mut(id).expect("a flight stays while a caller is on it");
        flight.is_driven = false;
        if flight.landed.is_some() {
            return Parking { wake: Vec::new(), refused: Some(call) };
        }
        flight.parked = Some(call);
        // The others had their turn while it was driven, and the one who drove it may not be polled again.
        let wake = if flight.has_progressed { flight.take_wakers(Some(caller)) } else { Vec::new() };
        Parking { wake, refused: None }
    }

    /// A call can go on.
    pub(crate) fn progress(&mut self, id: FlightId) -> Vec<W> {
        let Some(flight) = self.flight_mut(id) else { return Vec::new() };
        flight.has_progressed = true;
        flight.take_wakers(None)
    }

    /// Ends a flight with a result, which the caller who ends it has already. A second end is for that caller alone.
    pub(crate) fn land(&mut self, id: FlightId, caller: CallerId, result: R) -> Landing<C, W> {
        let flight = self.flight_mut(id).expect("a flight stays while a caller is on it");
        flight.callers.remove(&caller);
        let keep = flight.begun.filter(|_| !flight.is_detached).map(|begun| begun.asked);
        let (abandoned, is_fresh) = (flight.parked.take(), flight.fresh);
        let mut wake = Vec::new();
        let is_end = flight.landed.is_none();
        if is_end {
            flight.landed = Some(result);
            wake = flight.take_wakers(None);
            wake.extend(self.end(id));
        }
        self.remove_if_deserted(id);
        Landing { wake, keep, is_fresh, is_end, abandoned }
    }

    /// Takes a caller off a flight before it has a result. `was_driving` is for one who had the call and lost it, in a
    /// panic: somebody else has to begin again.
    pub(crate) fn leave(&mut self, id: FlightId, caller: CallerId, was_driving: bool) -> Departure<C, W, R> {
        let flight = self.flight_mut(id).expect("a flight stays while a caller is on it");
        flight.callers.remove(&caller);
        flight.is_driven &= !was_driving;
        if !flight.callers.is_empty() {
            let wake = if was_driving { flight.take_wakers(None) } else { Vec::new() };
            return Departure { wake, abandoned: (None, None) };
        }
        let abandoned = (flight.parked.take(), flight.landed.take());
        let wake = if abandoned.1.is_none() { self.end(id) } else { Vec::new() };
        self.flights.retain(|flight| flight.id != id);
        Departure { wake, abandoned }
    }

    /// Makes sure that nothing asked for before now is kept, or given to who comes later.
    pub(crate) fn invalidate(&mut self) -> Vec<W> {
        for flight in &mut self.flights {
            flight.is_detached |= flight.begun.is_some();
        }
        let is_open_detached = self.open.and_then(|id| self.flight(id)).is_some_and(|flight| flight.is_detached);
        if is_open_detached { self.open_queued() } else { Vec::new() }
    }

    /// A flight is over, with or without a result: the one that queued behind it begins.
    fn end(&mut self, id: FlightId) -> Vec<W> {
        if self.open == Some(id) {
            return self.open_queued();
        }
        if self.queued == Some(id) {
            self.queued = None;
        }
        Vec::new()
    }

    /// Opens the flight that queued, or else one from before `open` that is still under way. All who queued are woken, so
    /// that each knows by when it has to be over.
    fn open_queued(&mut self) -> Vec<W> {
        let Some(id) = self.queued.take() else {
            let under_way = |flight: &&Flight<C, W, R>| flight.landed.is_none() && !flight.is_detached;
            let ended = self.open.take();
            self.open =
                self.flights.iter().rev().filter(under_way).map(|flight| flight.id).find(|id| Some(*id) != ended);
            return Vec::new();
        };
        self.open = Some(id);
        self.flight_mut(id).expect("a queued flight is in the lane").take_wakers(None)
    }

    fn add_flight(&mut self) -> FlightId {
        let id = FlightId(self.next_flight);
        self.next_flight += 1;
        self.flights.push(Flight {
            id,
            fresh: false,
            begun: None,
            is_driven: false,
            has_progressed: false,
            parked: None,
            landed: None,
            callers: BTreeMap::new(),
            is_detached: false,
        });
        id
    }

    /// A flight has no caller only once it has landed, and whoever had the result last still has it.
    fn remove_if_deserted(&mut self, id: FlightId) {
        self.flights.retain(|flight| flight.id != id || !flight.callers.is_empty());
    }

    fn flight(&self, id: FlightId) -> Option<&Flight<C, W, R>> {
        self.flights.iter().find(|flight| flight.id == id)
    }

    fn flight_mut(&mut self, id: FlightId) -> Option<&mut Flight<C, W, R>> {
        self.flights.iter_mut().find(|flight| flight.id == id)
    }
}

impl<C, W, R> Flight<C, W, R> {
    /// The wakers of all callers, or of all but one.
    fn take_wakers(&mut self, but: Option<CallerId>) -> Vec<W> {
        let others = self.callers.iter_mut().filter(|(caller, _)| Some(**caller) != but);
        others.filter_map(|(_, waker)| waker.take()).collect()
    }
}

#[cfg(test)]
mod tests;
