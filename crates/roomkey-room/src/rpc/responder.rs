//! Calls of others that are to be answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::request::MAX_ROUND_TRIP;
use crate::names::ParticipantIdentity;

/// The calls of this client's methods.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    methods: HashSet<String>,
    pending: HashMap<InvocationId, Pending>,
    next_id: u64,
    /// Requests that have come, the oldest first, so that one that comes again is not done again.
    recent: VecDeque<(ParticipantIdentity, String)>,
    is_recent: HashSet<(ParticipantIdentity, String)>,
}

/// One call of a method of ours; no other ever has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InvocationId(pub(crate) u64);

/// An answer that is owed.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) caller: ParticipantIdentity,
    pub(crate) request_id: String,
    pub(crate) form: Form,
    expires: Instant,
}

/// How a request came, and its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Packet,
    Stream,
}

impl Responder {
    pub(crate) fn register(&mut self, method: String) {
        self.methods.insert(method);
    }

    pub(crate) fn unregister(&mut self, method: &str) {
        self.methods.remove(method);
    }

    pub(crate) fn has_method(&self, method: &str) -> bool {
        self.methods.contains(method)
    }

    /// Notes a request; `false` if it has come before, or has no id that could be answered.
    pub(crate) fn is_new(&mut self, caller: &ParticipantIdentity, request_id: &str) -> bool {
        if request_id.is_empty() || request_id.len() > REQUEST_ID_BYTES {
            return false;
        }
        let request = (caller.clone(), request_id.to_owned());
        if !self.is_recent.insert(request.clone()) {
            return false;
        }
        self.recent.push_back(request);
        if self.recent.len() > RECENT_REQUESTS
            && let Some(oldest) = self.recent.pop_front()
        {
            self.is_recent.remove(&oldest);
        }
        true
    }

    /// Owes an answer, unless too many are owed already, to this caller or to all.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        caller: ParticipantIdentity,
        request_id: String,
        response_timeout: Duration,
        form: Form,
    ) -> Option<InvocationId> {
        let of_caller = self.pending.values().filter(|pending| pending.caller == caller).count();
        if self.pending.len() >= PENDING_INVOCATIONS || of_caller >= PENDING_INVOCATIONS_PER_CALLER {
            return None;
        }
        let id = InvocationId(self.next_id);
        self.next_id += 1;
        let expires = now + response_timeout.min(LONGEST_WAIT) + MAX_ROUND_TRIP;
        self.pending.insert(id, Pending { caller, request_id, form, expires });
        Some(id)
    }

    /// The answer that is owed for this, if the caller still waits for it.
    pub(crate) fn finish(&mut self, id: InvocationId) -> Option<Pending> {
        self.pending.remove(&id)
    }

    pub(crate) fn caller_left(&mut self, caller: &ParticipantIdentity) {
        self.pending.retain(|_, pending| pending.caller != *caller);
    }

    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.expires).min()
    }

    /// Owes nothing any more to callers that have waited for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.pending.retain(|_, pending| pending.expires > now);
    }
}

const PENDING_INVOCATIONS: usize = 256;
const PENDING_INVOCATIONS_PER_CALLER: usize = 64;
const RECENT_REQUESTS: usize = 1024;
const REQUEST_ID_BYTES: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
