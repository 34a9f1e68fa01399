//! Calls under way for one key, as a pure state machine: who waits for which call, who drives it, what its end means.
//!
//! Callers [`join`](Lane::join) a flight, then take [`turn`](Lane::turn)s. One of them at a time is the pilot, who drives
//! the call; the others are woken when it [lands](Lane::land). A pilot who [leaves](Lane::leave) parks the call, and the
//! caller who has waited longest goes on with it: the provider is not called again.
//!
//! The generic parameters are what the shell puts in: `C` a call, `W` what wakes a caller, `R` a result. Wakers come out as
//! return values, so that they are used after the shell has let go of its lock.

use std::collections::BTreeMap;

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
    asked: Option<Asked>,
    pilot: Option<CallerId>,
    /// The call, while no pilot has it.
    parked: Option<C>,
    landed: Option<R>,
    callers: BTreeMap<CallerId, Option<W>>,
    /// Its key was invalidated after the call was begun: its token is for those aboard alone.
    detached: bool,
}

/// What a caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn<C, R> {
    /// Take this: the flight has landed, and the caller is off it.
    Landed(R),
    /// Drive the call: go on with this one, or begin it.
    Pilot(Option<C>),
    /// Nothing, until woken.
    Wait,
}

/// What the end of a call means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Landing<W> {
    pub(crate) wake: Vec<W>,
    /// When the call was begun, if its token may be kept; `None` if it was invalidated meanwhile.
    pub(crate) keep: Option<Asked>,
}

/// What is to be done for a caller who left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure<C, W> {
    pub(crate) wake: Option<W>,
    /// A call that nobody wants any more.
    pub(crate) abandoned: Option<C>,
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
            (Ask::Fresh, Some(open)) if open.asked.is_none() => open.id,
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

    /// What a caller does next; `waker` wakes it if that is to wait. `now` numbers the call, if this begins it.
    pub(crate) fn turn(&mut self, id: FlightId, caller: CallerId, waker: impl FnOnce() -> W, now: Asked) -> Turn<C, R> {
        let is_queued = self.queued == Some(id);
        let flight = self.flight_mut(id).expect("a flight stays while a caller is on it");
        if let Some(result) = flight.landed.clone() {
            flight.callers.remove(&caller);
            self.remove_if_deserted(id);
            return Turn::Landed(result);
        }
        if flight.pilot.is_none() && !is_queued {
            flight.pilot = Some(caller);
            flight.asked.get_or_insert(now);
            return Turn::Pilot(flight.parked.take());
        }
        flight.callers.insert(caller, Some(waker()));
        Turn::Wait
    }

    /// Ends a flight with the result of its call; the pilot is off it and has the result already.
    pub(crate) fn land(&mut self, id: FlightId, result: R) -> Landing<W> {
        let flight = self.flight_mut(id).expect("a flight stays while its pilot is on it");
        let pilot = flight.pilot.take().expect("only a pilot lands a flight");
        flight.callers.remove(&pilot);
        flight.landed = Some(result);
        let mut wake: Vec<W> = flight.callers.values_mut().filter_map(Option::take).collect();
        let keep = flight.asked.filter(|_| !flight.detached);
        wake.extend(self.end(id));
        self.remove_if_deserted(id);
        Landing { wake, keep }
    }

    /// Takes a caller off a flight before it has landed, with the call if it was the pilot.
    pub(crate) fn leave(&mut self, id: FlightId, caller: CallerId, call: Option<C>) -> Departure<C, W> {
        let flight = self.flight_mut(id).expect("a flight stays while a caller is on it");
        flight.callers.remove(&caller);
        if flight.callers.is_empty() {
            let abandoned = call.or_else(|| flight.parked.take());
            let wake = if flight.landed.is_none() { self.end(id) } else { None };
            self.flights.retain(|flight| flight.id != id);
            return Departure { wake, abandoned };
        }
        if flight.pilot == Some(caller) {
            flight.pilot = None;
            flight.parked = call;
        }
        // Also when a waiter leaves: it may be the one who was woken to be the pilot.
        let wake = if flight.pilot.is_none() && flight.landed.is_none() { flight.take_next_waker() } else { None };
        Departure { wake, abandoned: None }
    }

    /// Makes sure that nothing asked for before now is kept, or given to who comes later.
    pub(crate) fn invalidate(&mut self) -> Option<W> {
        for flight in &mut self.flights {
            if flight.asked.is_some() {
                flight.detached = true;
            }
        }
        let open_is_detached = self.open.and_then(|id| self.flight(id)).is_some_and(|flight| flight.detached);
        if open_is_detached { self.open_queued() } else { None }
    }

    /// A flight is over, with or without a result: the one that queued behind it begins.
    fn end(&mut self, id: FlightId) -> Option<W> {
        if self.open == Some(id) {
            self.open_queued()
        } else {
            if self.queued == Some(id) {
                self.queued = None;
            }
            None
        }
    }

    fn open_queued(&mut self) -> Option<W> {
        self.open = self.queued.take();
        let id = self.open?;
        self.flight_mut(id).expect("a queued flight is in the lane").take_next_waker()
    }

    fn add_flight(&mut self) -> FlightId {
        let id = FlightId(self.next_flight);
        self.next_flight += 1;
        self.flights.push(Flight {
            id,
            fresh: false,
            asked: None,
            pilot: None,
            parked: None,
            landed: None,
            callers: BTreeMap::new(),
            detached: false,
        });
        id
    }

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
    /// The waker of the caller who has waited longest.
    fn take_next_waker(&mut self) -> Option<W> {
        self.callers.values_mut().find_map(Option::take)
    }
}

#[cfg(test)]
mod tests;
