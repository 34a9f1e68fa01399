//! The room that a session has, gets or leaves, and the token for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use roomkey_room::{ConnectError, ConnectErrorKind, ConnectionState, DisconnectReason};
use roomkey_source::{Claims, Credentials, FetchError};

use super::metrics::Metrics;
use super::{Now, Output, StartPlan};
use crate::clock::later;
use crate::error::{SessionError, StartError};
use crate::options::{Ready, RestartPolicy};
use crate::session_state::{EndReason, SessionState};

/// Name one of what the shell was asked for, so that a late answer is told from the one that is waited for.
pub(crate) type StartId = u64;
pub(crate) type EndId = u64;
pub(crate) type PrepareId = u64;
pub(crate) type FetchId = u64;
pub(crate) type RoomId = u64;

/// How a token is fetched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fetch {
    /// One that nobody else gets.
    Take,
    /// Another than this one, which the server has refused.
    AfterRejection(Credentials),
}

/// Where a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenOrigin {
    /// It was made for this.
    New,
    /// It was held: by a cache, a store, or since a [prepare](super::Input::Prepare).
    Held,
}

pub(crate) struct Connection {
    restart: RestartPolicy,
    chance: fastrand::Rng,
    phase: Phase,
    last_id: u64,
    prepared: Option<Prepared>,
    preparing: Option<Preparing>,
    /// The last room, until it is left: the next one is not joined beside it.
    leaving: Option<(RoomId, Instant)>,
    ends: Vec<EndId>,
    state: SessionState,
}

enum Phase {
    Idle,
    Fetching { fetch: FetchId, attempt: Attempt },
    Ready { credentials: Credentials, origin: TokenOrigin, attempt: Attempt },
    Joining { room: RoomId, credentials: Credentials, origin: TokenOrigin, attempt: Attempt },
    Joined { room: RoomId, credentials: Credentials, attempt: Attempt },
    BackingOff { until: Instant, attempt: Attempt },
}

struct Attempt {
    start: Option<StartId>,
    plan: StartPlan,
    /// When a start has taken too long.
    deadline: Instant,
    /// Whether the token was fetched again after it was refused.
    has_asked_again: bool,
    /// How often another room was tried for.
    restarts: u32,
    /// Why the last room ended, where this is for another.
    lost: Option<DisconnectReason>,
    joined_at: Option<Instant>,
}

struct Prepared {
    credentials: Credentials,
    at: Now,
}

struct Preparing {
    fetch: FetchId,
    waiters: Vec<PrepareId>,
    /// Whether the source is another since.
    is_stale: bool,
}

type Outputs = VecDeque<Output>;

impl Connection {
    pub(crate) fn new(restart: RestartPolicy, seed: u64) -> Self {
        Self {
            restart,
            chance: fastrand::Rng::with_seed(seed),
            phase: Phase::Idle,
            last_id: 0,
            prepared: None,
            preparing: None,
            leaving: None,
            ends: Vec::new(),
            state: SessionState::Disconnected(None),
        }
    }

    pub(crate) fn state(&self) -> SessionState {
        self.state
    }

    /// The room that is joined or being joined.
    pub(crate) fn room(&self) -> Option<RoomId> {
        match &self.phase {
            Phase::Joining { room, .. } | Phase::Joined { room, .. } => Some(*room),
            Phase::Idle | Phase::Fetching { .. } | Phase::Ready { .. } | Phase::BackingOff { .. } => None,
        }
    }

    /// Whether the token dispatches an agent.
    pub(crate) fn dispatches(&self) -> bool {
        let (Phase::Joining { credentials, .. } | Phase::Joined { credentials, .. }) = &self.phase else {
            return false;
        };
        credentials.claims().is_ok_and(Claims::dispatches_agent)
    }

    pub(crate) fn start(&mut self, start: StartId, plan: StartPlan, now: Now, out: &mut Outputs) -> bool {
        if !matches!(self.phase, Phase::Idle) {
            out.push_back(Output::StartResult(start, Err(StartError::AlreadyStarted)));
            return false;
        }
        self.state = SessionState::Connecting;
        let deadline = later(now.at, plan.timeout);
        let attempt = Attempt {
            start: Some(start),
            plan,
            deadline,
            has_asked_again: false,
            restarts: 0,
            lost: None,
            joined_at: None,
        };
        if let Some(prepared) = self.prepared.take().filter(|prepared| prepared.is_usable(now)) {
            self.phase = Phase::Ready { credentials: prepared.credentials, origin: TokenOrigin::Held, attempt };
        } else if let Some(preparing) = self.preparing.as_ref().filter(|preparing| !preparing.is_stale) {
            self.phase = Phase::Fetching { fetch: preparing.fetch, attempt };
        } else {
            self.fetch(Fetch::Take, attempt, out);
        }
        true
    }

    /// Fetches a token for the next start, and nothing more.
    pub(crate) fn prepare(&mut self, prepare: PrepareId, now: Now, out: &mut Outputs) {
        let is_ready = self.prepared.as_ref().is_some_and(|prepared| prepared.is_usable(now));
        if is_ready || !matches!(self.phase, Phase::Idle) {
            out.push_back(Output::PrepareResult(prepare, Ok(None)));
        } else if let Some(preparing) = self.preparing.as_mut().filter(|preparing| !preparing.is_stale) {
            preparing.waiters.push(prepare);
        } else {
            let fetch = self.next_id();
            let mut waiters = self.preparing.take().map(|preparing| preparing.waiters).unwrap_or_default();
            waiters.push(prepare);
            self.preparing = Some(Preparing { fetch, waiters, is_stale: false });
            out.push_back(Output::FetchToken { fetch, how: Fetch::Take });
        }
    }

    /// Tokens come from somewhere else from here on: what was prepared is of no use.
    pub(crate) fn handle_source_changed(&mut self) {
        self.prepared = None;
        if let Some(preparing) = &mut self.preparing {
            preparing.is_stale = true;
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever phase it is goes back")]
    pub(crate) fn handle_token(
        &mut self,
        fetch: FetchId,
        result: Result<(Credentials, TokenOrigin), FetchError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let mut was_prepared = false;
        if let Some(preparing) = self.preparing.take_if(|preparing| preparing.fetch == fetch) {
            was_prepared = true;
            let is_for_later = !preparing.is_stale && matches!(self.phase, Phase::Idle);
            let prepared = |(credentials, _): &(Credentials, TokenOrigin)| is_for_later.then(|| credentials.clone());
            for waiter in preparing.waiters {
                out.push_back(Output::PrepareResult(waiter, result.as_ref().map(prepared).map_err(Clone::clone)));
            }
            if let (Ok((credentials, _)), false) = (&result, preparing.is_stale) {
                self.prepared = Some(Prepared { credentials: credentials.clone(), at: now });
            }
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Fetching { fetch: awaited, attempt } if awaited == fetch => match result {
                Ok((credentials, origin)) => {
                    self.prepared = None;
                    let origin = if was_prepared { TokenOrigin::Held } else { origin };
                    self.phase = Phase::Ready { credentials, origin, attempt };
                }
                Err(error) if attempt.lost.is_some() && error.is_retryable() => self.back_off(attempt, now, out),
                Err(error) => {
                    self.fail(attempt, StartError::Token(error.clone()), Some(SessionError::Token(error)), out);
                }
            },
            other => self.phase = other,
        }
    }

    /// The room is joined.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever phase it is goes back")]
    pub(crate) fn handle_joined(&mut self, joined: RoomId, now: Now, out: &mut Outputs) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Joining { room, credentials, mut attempt, .. } if room == joined => {
                self.state = SessionState::Connected;
                attempt.lost = None;
                attempt.joined_at = Some(now.at);
                if attempt.plan.ready == Ready::Room
                    && let Some(start) = attempt.start.take()
                {
                    out.push_back(Output::StartResult(start, Ok(())));
                }
                self.phase = Phase::Joined { room, credentials, attempt };
                true
            }
            other => {
                self.phase = other;
                // Nobody wants it any more.
                out.push_back(Output::Leave(joined));
                false
            }
        }
    }

    /// The room was not joined.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever phase it is goes back")]
    pub(crate) fn handle_not_joined(&mut self, failed: RoomId, error: ConnectError, now: Now, out: &mut Outputs) {
        self.handle_left(failed, out);
        let (credentials, origin, mut attempt) = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Joining { room, credentials, origin, attempt } if room == failed => (credentials, origin, attempt),
            other => {
                self.phase = other;
                return;
            }
        };
        if error.kind() == ConnectErrorKind::NotAllowed {
            if origin == TokenOrigin::Held && !attempt.has_asked_again {
                attempt.has_asked_again = true;
                return self.fetch(Fetch::AfterRejection(credentials), attempt, out);
            }
            return self.fail(attempt, StartError::NotAllowed(error.clone()), Some(SessionError::Connect(error)), out);
        }
        if attempt.lost.is_some() {
            return self.back_off(attempt, now, out);
        }
        self.fail(attempt, StartError::Connect(error.clone()), Some(SessionError::Connect(error)), out);
    }

    /// The room says how it is. Gives whether it is over for good.
    pub(crate) fn handle_room_state(&mut self, room: RoomId, state: ConnectionState, now: Now, out: &mut Outputs) {
        if !matches!(&self.phase, Phase::Joined { room: joined, .. } if *joined == room) {
            return;
        }
        match state {
            ConnectionState::Connected => self.state = SessionState::Connected,
            ConnectionState::Resuming => self.state = SessionState::Resuming,
            ConnectionState::Restarting => self.state = SessionState::Restarting,
            ConnectionState::Disconnected(reason) => {
                let Phase::Joined { mut attempt, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
                out.push_back(Output::Leave(room));
                self.leaving = Some((room, now.at + LEAVE_TIMEOUT));
                if let Some(start) = attempt.start.take() {
                    out.push_back(Output::StartResult(start, Err(StartError::Ended)));
                }
                if self.restart != RestartPolicy::Never && is_loss(reason) {
                    attempt.lost = Some(reason);
                    if attempt.joined_at.is_some_and(|joined_at| now.at - joined_at >= STABLE) {
                        attempt.restarts = 0;
                    }
                    self.back_off(attempt, now, out);
                } else {
                    self.state = SessionState::Disconnected(Some(EndReason::Room(reason)));
                }
            }
        }
    }

    /// A start that waits for the agent has it, or is told why not.
    pub(crate) fn settle_start(&mut self, result: Result<(), StartError>, out: &mut Outputs) {
        if let Phase::Joined { attempt, .. } = &mut self.phase
            && let Some(start) = attempt.start.take()
        {
            out.push_back(Output::StartResult(start, result));
        }
    }

    /// Whether a start waits for the agent.
    pub(crate) fn awaits_agent(&self) -> bool {
        matches!(&self.phase, Phase::Joined { attempt: Attempt { start: Some(_), .. }, .. })
    }

    /// A start is given up by who waits for it.
    pub(crate) fn cancel(&mut self, start: StartId, now: Now, out: &mut Outputs) {
        if self.attempt().is_some_and(|attempt| attempt.start == Some(start)) {
            self.stop(now, out);
        }
    }

    pub(crate) fn end(&mut self, end: EndId, now: Now, out: &mut Outputs) {
        self.stop(now, out);
        if self.leaving.is_some() {
            self.ends.push(end);
        } else {
            out.push_back(Output::EndResult(end));
        }
    }

    /// The room is left.
    pub(crate) fn handle_left(&mut self, left: RoomId, out: &mut Outputs) {
        if self.leaving.take_if(|(room, _)| *room == left).is_some() {
            self.finish_ends(out);
        }
    }

    /// The network is known to be back: nothing is waited for.
    pub(crate) fn reconnect_now(&mut self, now: Now, out: &mut Outputs) {
        match &mut self.phase {
            Phase::BackingOff { until, .. } => *until = now.at,
            Phase::Joined { room, .. } => out.push_back(Output::ReconnectNow(*room)),
            Phase::Idle | Phase::Fetching { .. } | Phase::Ready { .. } | Phase::Joining { .. } => {}
        }
    }

    /// Goes on with what needs no answer.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever phase it is goes back")]
    pub(crate) fn advance(&mut self, now: Now, metrics: &mut Metrics, out: &mut Outputs) {
        if self.leaving.take_if(|(_, until)| *until <= now.at).is_some() {
            self.finish_ends(out);
        }
        if self.deadline().is_some_and(|deadline| deadline <= now.at) {
            self.time_out(now, out);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::BackingOff { until, attempt } if until <= now.at => {
                metrics.begin(now.at);
                self.fetch(Fetch::Take, attempt, out);
            }
            Phase::Ready { credentials, origin, attempt } if self.leaving.is_none() => {
                let room = self.next_id();
                metrics.token(now.at);
                // It is used up, whether or not the room is joined.
                out.push_back(Output::InvalidateToken(credentials.clone()));
                out.push_back(Output::Connect { room, credentials: credentials.clone() });
                self.phase = Phase::Joining { room, credentials, origin, attempt };
            }
            other => self.phase = other,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let leaving = self.leaving.map(|(_, until)| until);
        let backing_off = match &self.phase {
            Phase::BackingOff { until, .. } => Some(*until),
            Phase::Idle
            | Phase::Fetching { .. }
            | Phase::Ready { .. }
            | Phase::Joining { .. }
            | Phase::Joined { .. } => None,
        };
        leaving.into_iter().chain(backing_off).chain(self.deadline()).min()
    }

    /// When the start has taken too long, where it waits for token or room.
    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Fetching { attempt, .. } | Phase::Ready { attempt, .. } | Phase::Joining { attempt, .. } => {
                Some(attempt.deadline)
            }
            Phase::Idle | Phase::Joined { .. } | Phase::BackingOff { .. } => None,
        }
    }

    fn time_out(&mut self, now: Now, out: &mut Outputs) {
        self.leave(now, out);
        if let Some(attempt) = self.take_attempt() {
            if attempt.lost.is_some() {
                self.back_off(attempt, now, out);
            } else {
                self.fail(attempt, StartError::Timeout, Some(SessionError::Timeout), out);
            }
        }
    }

    fn stop(&mut self, now: Now, out: &mut Outputs) {
        self.leave(now, out);
        if let Some(mut attempt) = self.take_attempt() {
            self.state = SessionState::Disconnected(Some(EndReason::ClientInitiated));
            if let Some(start) = attempt.start.take() {
                out.push_back(Output::StartResult(start, Err(StartError::Cancelled)));
            }
        }
    }

    fn leave(&mut self, now: Now, out: &mut Outputs) {
        if let Some(room) = self.room() {
            self.leaving = Some((room, now.at + LEAVE_TIMEOUT));
            out.push_back(Output::Leave(room));
        }
        if let Phase::Fetching { fetch, .. } = self.phase {
            // A prepare may wait for the same.
            if self.preparing.as_ref().is_none_or(|preparing| preparing.fetch != fetch) {
                out.push_back(Output::CancelFetch(fetch));
            }
        }
    }

    fn take_attempt(&mut self) -> Option<Attempt> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => None,
            Phase::Fetching { attempt, .. }
            | Phase::Ready { attempt, .. }
            | Phase::Joining { attempt, .. }
            | Phase::Joined { attempt, .. }
            | Phase::BackingOff { attempt, .. } => Some(attempt),
        }
    }

    fn attempt(&self) -> Option<&Attempt> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Fetching { attempt, .. }
            | Phase::Ready { attempt, .. }
            | Phase::Joining { attempt, .. }
            | Phase::Joined { attempt, .. }
            | Phase::BackingOff { attempt, .. } => Some(attempt),
        }
    }

    fn fetch(&mut self, how: Fetch, attempt: Attempt, out: &mut Outputs) {
        let fetch = self.next_id();
        out.push_back(Output::FetchToken { fetch, how });
        self.phase = Phase::Fetching { fetch, attempt };
    }

    fn back_off(&mut self, mut attempt: Attempt, now: Now, out: &mut Outputs) {
        let most = match self.restart {
            RestartPolicy::Never => 0,
            RestartPolicy::Attempts(most) => most,
        };
        let lost = attempt.lost.unwrap_or(DisconnectReason::Unknown);
        if attempt.restarts >= most {
            self.state = SessionState::Disconnected(Some(EndReason::Room(lost)));
            if let Some(start) = attempt.start.take() {
                out.push_back(Output::StartResult(start, Err(StartError::Ended)));
            }
            return;
        }
        // Many may have lost the same server at one moment.
        let longest = FIRST_WAIT.saturating_mul(1 << attempt.restarts.min(10)).min(LONGEST_WAIT);
        let until = now.at + longest.mul_f64(0.5 + self.chance.f64() / 2.0);
        attempt.restarts += 1;
        attempt.has_asked_again = false;
        attempt.deadline = later(until, attempt.plan.timeout);
        self.state = SessionState::Connecting;
        self.phase = Phase::BackingOff { until, attempt };
    }

    fn fail(&mut self, mut attempt: Attempt, why: StartError, error: Option<SessionError>, out: &mut Outputs) {
        self.phase = Phase::Idle;
        let reason = attempt.lost.map_or(EndReason::StartFailed, EndReason::Room);
        self.state = SessionState::Disconnected(Some(reason));
        if let Some(start) = attempt.start.take() {
            out.push_back(Output::StartResult(start, Err(why)));
        }
        if let Some(error) = error {
            out.push_back(Output::Failed(error));
        }
    }

    fn finish_ends(&mut self, out: &mut Outputs) {
        out.extend(self.ends.drain(..).map(Output::EndResult));
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Prepared {
    /// Whether the token will be good for a while. One that does not say when it expires is.
    fn is_usable(&self, now: Now) -> bool {
        let Some(expires_at) = self.credentials.expires_at() else { return true };
        let passed = now.at - self.at.at;
        // By the clock of who made it, where that is known; by the slower of ours otherwise, since suspend stops one.
        let there = self.credentials.server_time().map_or(now.wall, |time| time + passed);
        let began = self.credentials.server_time().unwrap_or(self.at.wall);
        let life = expires_at.duration_since(began).unwrap_or_default();
        let lead = LEAD.min(life / 4);
        there.checked_add(lead).unwrap_or(SystemTime::UNIX_EPOCH) < expires_at
    }
}

/// Whether the room was lost and nobody wanted it to end.
fn is_loss(reason: DisconnectReason) -> bool {
    matches!(
        reason,
        DisconnectReason::Unknown
            | DisconnectReason::ServerShutdown
            | DisconnectReason::StateMismatch
            | DisconnectReason::JoinFailure
            | DisconnectReason::Migration
            | DisconnectReason::SignalClose
            | DisconnectReason::ConnectionTimeout
            | DisconnectReason::MediaFailure
    )
}

/// How long a room has for being left. It takes one round trip.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long before its expiry a token is not used; a quarter of its life where that is shorter.
const LEAD: Duration = Duration::from_secs(60);

/// How long a room holds for its loss to be no continuation of the one before.
const STABLE: Duration = Duration::from_secs(60);

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
