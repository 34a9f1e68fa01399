//! From a region that fails to another one, in a join and in a join anew.

use std::time::{Duration, Instant};

use roomkey_signal::Leave;

use super::link::Dial;
use super::regions::{FetchId, Next};
use super::{Core, Effect, Phase};
use crate::clock::later;
use crate::connect_error::{ConnectError, ConnectErrorKind};

/// Between two tries of a join at a server that is out of order.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Resumes that fail before regions are asked for: an outage of a moment is no region's.
const RESUMES_BEFORE_QUESTION: u32 = 2;

/// The first join.
#[derive(Debug)]
pub(super) struct Joining {
    deadline: Instant,
    /// When another region is looked for.
    share: Option<Instant>,
    /// Of the first region that failed.
    error: Option<ConnectError>,
    /// Regions are being asked for; what comes if there are none.
    pending: Option<Otherwise>,
}

/// What follows when there is no other region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The attempt under way goes on.
    GoOn,
    Retry,
    Fail,
}

impl Joining {
    pub(super) fn new(limit: Duration, has_regions: bool, now: Instant) -> Self {
        Self {
            deadline: later(now, limit),
            share: has_regions.then(|| later(now, limit / 2)),
            error: None,
            pending: None,
        }
    }

    pub(super) fn timeout(&self) -> Instant {
        self.share.map_or(self.deadline, |share| share.min(self.deadline))
    }
}

impl Core {
    /// What another room has learned of this server's regions.
    pub(crate) fn know_regions(&mut self, list: super::RegionList) {
        self.regions.know(list);
    }

    pub(super) fn handle_joining_timeout(&mut self, now: Instant) {
        let Phase::Connecting(joining) = &mut self.phase else { return };
        let error = if self.link.is_joined() {
            ConnectErrorKind::MediaTimeout.into()
        } else {
            self.link.refused.unavailable_in_time()
        };
        if joining.deadline <= now {
            let error = joining.error.take().unwrap_or(error);
            self.connect_failed(error);
        } else if joining.share.take_if(|share| *share <= now).is_some() {
            self.region_failed(error, Otherwise::GoOn, now);
        }
    }

    /// The first join has failed in this region.
    pub(super) fn region_failed(&mut self, error: ConnectError, otherwise: Otherwise, now: Instant) {
        let Phase::Connecting(joining) = &mut self.phase else { return };
        if !error.is_of_region() {
            return self.connect_failed(error);
        }
        joining.error.get_or_insert(error);
        if otherwise != Otherwise::GoOn {
            self.link.dial = Dial::Idle;
            self.effects.push_back(Effect::CloseWebsocket);
        }
        let next = self.regions.next(now);
        self.join_next(next, otherwise, now);
    }

    fn join_next(&mut self, next: Next, otherwise: Otherwise, now: Instant) {
        let Phase::Connecting(joining) = &mut self.phase else { return };
        joining.pending = None;
        match next {
            Next::Region => {
                joining.share = Some(now + joining.deadline.saturating_duration_since(now) / 2);
                self.effects.push_back(Effect::CloseWebsocket);
                self.new_link(self.settings.single_connection, now);
            }
            Next::Ask(..) | Next::Asking => {
                joining.pending = Some(otherwise);
                self.ask_for_regions(next);
            }
            Next::Nothing => match otherwise {
                Otherwise::GoOn => {}
                Otherwise::Retry if !self.regions.has_moved() => self.link.dial = Dial::Waiting(now + RETRY_WAIT),
                Otherwise::Retry | Otherwise::Fail => {
                    if let Some(error) = joining.error.take() {
                        self.connect_failed(error);
                    }
                }
            },
        }
    }

    fn ask_for_regions(&mut self, next: Next) {
        if let Next::Ask(fetch, url) = next {
            let authorization = self.link.signal.token().authorization_header();
            self.effects.push_back(Effect::FetchRegions { fetch, url, authorization });
        }
    }

    /// The answer to a question for regions, or `None` if there was none.
    pub(crate) fn handle_regions(&mut self, fetch: FetchId, answer: Option<(Vec<u8>, Option<Duration>)>, now: Instant) {
        let Some(list) = self.regions.fetched(fetch, answer, now) else { return };
        let has_come = list.is_some();
        self.effects.extend(list.map(Effect::KeepRegions));
        match &mut self.phase {
            Phase::Connecting(joining) => {
                if let Some(otherwise) = joining.pending.take() {
                    let next = self.regions.next(now);
                    self.join_next(next, otherwise, now);
                }
            }
            Phase::Recovering(recovery) if has_come => {
                let (failed_resumes, awaits_restart) = (recovery.failed_resumes(), recovery.awaits_restart());
                if failed_resumes.is_some_and(|attempts| self.leaves_region(attempts, now)) {
                    self.restart(now);
                } else if awaits_restart {
                    self.restart_elsewhere(now);
                }
            }
            Phase::Recovering(_) | Phase::Connected | Phase::Leaving | Phase::Over => {}
        }
        self.settle(now);
    }

    pub(super) fn handle_regions_timeout(&mut self, now: Instant) {
        if let Some(fetch) = self.regions.is_fetch_overdue(now) {
            self.handle_regions(fetch, None, now);
        }
    }

    /// A `leave` that does not end the stay may say where else it can be; whether it does.
    pub(super) fn told_of_regions(&mut self, leave: &Leave, now: Instant) -> bool {
        leave.regions.as_ref().is_some_and(|settings| self.regions.told(&settings.regions, now))
    }

    /// A join anew has failed: the next one goes to another region, or, where all have failed, to the first again.
    pub(super) fn restart_elsewhere(&mut self, now: Instant) {
        match self.regions.next(now) {
            Next::Region | Next::Asking => {}
            ask @ Next::Ask(..) => self.ask_for_regions(ask),
            Next::Nothing => self.regions.start_over(),
        }
    }

    /// So many attempts at a resume have failed: whether the stay is given up for one in another region. It is once the list
    /// of regions has come while the resume failed, for then it is not this client's network that fails.
    pub(super) fn leaves_region(&mut self, attempts: u32, now: Instant) -> bool {
        match self.regions.patience() {
            Some(patience) => attempts >= patience && self.regions.next(now) == Next::Region,
            None => {
                if attempts >= RESUMES_BEFORE_QUESTION {
                    let ask = self.regions.ask(now);
                    self.ask_for_regions(ask);
                }
                false
            }
        }
    }
}
