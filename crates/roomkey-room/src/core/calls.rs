//! RPC in the room: calls of others' methods, and of ours.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use fastrand::Rng;

use super::{Core, Happened, Reply};
use crate::names::ParticipantIdentity;
use crate::rpc::endpoint::{InvocationId, RpcEndpoint, RpcOutput};
use crate::rpc::error::RpcError;
use crate::rpc::request::RpcRequest;

/// The calls of a room.
pub(crate) struct Calls {
    pub(super) rpc: RpcEndpoint,
    /// By the id on the wire; the number is the application's.
    waiting: HashMap<String, (u64, Reply<Result<String, RpcError>>)>,
    /// Who called, so that its answer takes a form that it can read.
    callers: HashMap<InvocationId, ParticipantIdentity>,
}

impl Calls {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rpc: RpcEndpoint::new(rng), waiting: HashMap::new(), callers: HashMap::new() }
    }

    /// The room is over.
    pub(super) fn end(&mut self) {
        self.rpc.disconnected();
        while let Some(output) = self.rpc.poll_output() {
            if let RpcOutput::Finished { call, result } = output
                && let Some((_, reply)) = self.waiting.remove(&call)
            {
                reply(result);
            }
        }
    }
}

impl Core {
    /// Calls a method of somebody, under a number of the application's.
    pub(crate) fn call(
        &mut self,
        number: u64,
        request: &RpcRequest,
        reply: Reply<Result<String, RpcError>>,
        now: Instant,
    ) {
        if self.is_over() {
            return reply(Err(RpcError::of(RpcError::SEND_FAILED)));
        }
        if self.encryption.as_ref().is_some_and(|encryption| encryption.is_sealing() && !encryption.can_seal()) {
            return reply(Err(RpcError::of(RpcError::SEND_FAILED)));
        }
        let at = self.system_time(now);
        let recipient = self.members.participants.get(&request.destination_identity).cloned();
        let version = (!self.server_version.is_empty()).then_some(self.server_version.as_str());
        match self.calls.rpc.call(now, at, request, recipient.as_deref(), version) {
            Ok(call) => {
                self.calls.waiting.insert(call, (number, reply));
                self.settle(now);
            }
            Err(error) => reply(Err(error)),
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel_call(&mut self, number: u64) {
        let found = self.calls.waiting.iter().find(|(_, (known, _))| *known == number);
        if let Some(call) = found.map(|(call, _)| call.clone()) {
            self.calls.waiting.remove(&call);
            self.calls.rpc.cancel(&call);
        }
    }

    /// Takes calls of this method, or takes none.
    pub(crate) fn set_method(&mut self, method: &str, is_registered: bool) {
        if is_registered {
            self.calls.rpc.register(method);
        } else {
            self.calls.rpc.unregister(method);
        }
    }

    /// Answers a call of a method of ours.
    pub(crate) fn respond(&mut self, id: InvocationId, answer: Result<String, RpcError>, now: Instant) {
        let caller = self.calls.callers.remove(&id);
        let caller = caller.and_then(|caller| self.members.participants.get(&caller).cloned());
        let at = self.system_time(now);
        self.calls.rpc.respond(id, answer, caller.as_deref(), at);
        self.settle(now);
    }

    pub(super) fn drain_calls(&mut self, now: Instant) {
        while let Some(output) = self.calls.rpc.poll_output() {
            match output {
                RpcOutput::Invoke { id, invocation } => {
                    self.calls.callers.insert(id, invocation.caller_identity.clone());
                    self.told.push(Happened::RpcInvoked(id, invocation));
                }
                RpcOutput::Finished { call, result } => {
                    if let Some((_, reply)) = self.calls.waiting.remove(&call) {
                        reply(result);
                    }
                }
            }
        }
        while self.has_room_for_calls()
            && let Some(packet) = self.calls.rpc.poll_packet()
        {
            if let Err(error) = self.enqueue(packet, true, now) {
                tracing::debug!(%error, "a part of a call was not sent");
            }
        }
    }

    fn system_time(&self, now: Instant) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.unix_time.1 + now.saturating_duration_since(self.unix_time.0)
    }
}
