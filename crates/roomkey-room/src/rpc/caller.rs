//! Calls that wait for their answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::error::RpcError;
use super::request::RpcRequest;
use crate::clock::later;
use crate::names::ParticipantIdentity;

/// The calls of this client that are under way, by request id.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    calls: HashMap<String, Call>,
}

#[derive(Debug)]
struct Call {
    recipient: ParticipantIdentity,
    response_timeout: Duration,
    awaits: Awaits,
    deadline: Instant,
}

/// What it is that a call waits for, which says what its deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Acknowledgement,
    Response,
    /// What the recipient may have sent before it left: that it left is said by the signalling connection, which is not in
    /// order with the data channel.
    LastWords,
}

impl Caller {
    pub(crate) fn begin(&mut self, now: Instant, id: String, request: &RpcRequest) {
        let call = Call {
            recipient: request.destination_identity.clone(),
            response_timeout: request.response_timeout,
            awaits: Awaits::Acknowledgement,
            deadline: later(now, request.max_round_trip),
        };
        self.calls.insert(id, call);
    }

    /// Whether this participant owes an answer to this request.
    pub(crate) fn awaits(&self, from: &ParticipantIdentity, id: &str) -> bool {
        self.calls.get(id).is_some_and(|call| call.recipient == *from)
    }

    pub(crate) fn acknowledged(&mut self, now: Instant, from: &ParticipantIdentity, id: &str) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.recipient == *from) else { return };
        if call.awaits == Awaits::Acknowledgement {
            call.awaits = Awaits::Response;
            call.deadline = later(now, call.response_timeout);
        }
    }

    /// Whether the call was under way; it no longer is.
    pub(crate) fn finish(&mut self, id: &str) -> bool {
        self.calls.remove(id).is_some()
    }

    pub(crate) fn recipient_left(&mut self, now: Instant, recipient: &ParticipantIdentity) {
        for call in self.calls.values_mut().filter(|call| call.recipient == *recipient) {
            if call.awaits != Awaits::LastWords {
                call.awaits = Awaits::LastWords;
                call.deadline = call.deadline.min(now + LAST_WORDS);
            }
        }
    }

    /// The ids of all calls, which are over.
    pub(crate) fn finish_all(&mut self) -> Vec<String> {
        self.calls.drain().map(|(id, _)| id).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.calls.values().map(|call| call.deadline).min()
    }

    /// The calls that have waited for too long, and for what; they are over.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(String, RpcError)> {
        let expired = self.calls.extract_if(|_, call| call.deadline <= now);
        let error = |call: &Call| match call.awaits {
            Awaits::Acknowledgement => RpcError::CONNECTION_TIMEOUT,
            Awaits::Response => RpcError::RESPONSE_TIMEOUT,
            Awaits::LastWords => RpcError::RECIPIENT_DISCONNECTED,
        };
        expired.map(|(id, call)| (id, RpcError::of(error(&call)))).collect()
    }
}

/// How long an answer is waited for after its sender is said to have left.
const LAST_WORDS: Duration = Duration::from_secs(2);
