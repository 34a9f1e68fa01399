//! Methods that others can call, and calls of the agent's.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use roomkey_room::{ParticipantIdentity, RpcError, RpcInvocation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::agent_state::{AgentFailure, AgentSnapshot};

/// Registers methods for all rooms of a session; from [`Session::rpc`](crate::Session::rpc).
#[derive(Clone)]
#[must_use]
pub struct Rpc {
    methods: Arc<Methods>,
    callers: Callers,
    agent: watch::Receiver<Arc<AgentSnapshot>>,
}

#[derive(Clone)]
enum Callers {
    Anyone,
    Agent(watch::Receiver<Arc<AgentSnapshot>>),
    One(ParticipantIdentity),
}

impl Rpc {
    pub(crate) fn new(methods: &Arc<Methods>, agent: watch::Receiver<Arc<AgentSnapshot>>) -> Self {
        Self { methods: Arc::clone(methods), callers: Callers::Anyone, agent }
    }

    /// Only the session's agent may call, whoever that is at the time: to others the method does not exist.
    pub fn only_agent(self) -> Self {
        Self { callers: Callers::Agent(self.agent.clone()), ..self }
    }

    /// Only this participant may call: to others the method does not exist.
    pub fn only(self, caller: impl Into<ParticipantIdentity>) -> Self {
        Self { callers: Callers::One(caller.into()), ..self }
    }

    /// Lets others call a method, in the place of one of the same name, until the guard is dropped. It is there in each room
    /// of the session. Calls run beside each other; one that panics is answered with `APPLICATION_ERROR`.
    pub fn on<F, R>(&self, name: impl Into<String>, method: F) -> MethodGuard
    where
        F: Fn(RpcInvocation) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, RpcError>> + Send + 'static,
    {
        let callers = self.callers.clone();
        let run: Method = Arc::new(move |invocation| {
            if callers.admit(&invocation.caller_identity) {
                Box::pin(method(invocation))
            } else {
                Box::pin(async {
                    Err(RpcError::new(RpcError::UNSUPPORTED_METHOD, "Method not supported at destination"))
                })
            }
        });
        self.methods.add(name.into(), run)
    }

    /// [`on`](Self::on) for a method that takes and gives JSON. A call whose payload is something else is answered with
    /// `APPLICATION_ERROR`.
    pub fn on_json<T, U, F, R>(&self, name: impl Into<String>, method: F) -> MethodGuard
    where
        T: DeserializeOwned + Send,
        U: Serialize,
        F: Fn(T, ParticipantIdentity) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, RpcError>> + Send + 'static,
    {
        let method = Arc::new(method);
        self.on(name, move |invocation| {
            let method = Arc::clone(&method);
            async move {
                let request = serde_json::from_str(&invocation.payload).map_err(|_| {
                    RpcError::new(RpcError::APPLICATION_ERROR, "the payload is not what the method takes")
                })?;
                let reply = method(request, invocation.caller_identity).await?;
                serde_json::to_string(&reply)
                    .map_err(|_| RpcError::new(RpcError::APPLICATION_ERROR, "the answer can't be written as JSON"))
            }
        })
    }
}

impl Callers {
    fn admit(&self, caller: &ParticipantIdentity) -> bool {
        match self {
            Self::Anyone => true,
            Self::Agent(agent) => agent.borrow().identity() == Some(caller),
            Self::One(one) => one == caller,
        }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").finish_non_exhaustive()
    }
}

/// A method; dropping this takes it away.
#[must_use]
pub struct MethodGuard {
    methods: Arc<Methods>,
    name: String,
    serial: u64,
}

impl MethodGuard {
    /// Leaves the method for as long as the session lasts.
    pub fn keep(mut self) {
        self.serial = u64::MAX;
    }
}

impl Drop for MethodGuard {
    fn drop(&mut self) {
        self.methods.remove(&self.name, self.serial);
    }
}

impl fmt::Debug for MethodGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodGuard").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(crate) type Reply = Pin<Box<dyn Future<Output = Result<String, RpcError>> + Send>>;
pub(crate) type Method = Arc<dyn Fn(RpcInvocation) -> Reply + Send + Sync>;

/// The methods of a session. A room that is joined has all of them.
pub(crate) struct Methods {
    table: Mutex<Table>,
    /// Counts the changes, for the room to follow.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    methods: HashMap<String, (u64, Method)>,
    last_serial: u64,
}

impl Default for Methods {
    fn default() -> Self {
        Self { table: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Methods {
    fn add(self: &Arc<Self>, name: String, method: Method) -> MethodGuard {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.last_serial += 1;
        let serial = table.last_serial;
        table.methods.insert(name.clone(), (serial, method));
        drop(table);
        self.changes.send_modify(|changes| *changes += 1);
        MethodGuard { methods: Arc::clone(self), name, serial }
    }

    fn remove(&self, name: &str, of: u64) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = table.methods.get(name).is_some_and(|(serial, _)| *serial == of);
        let removed = is_there.then(|| table.methods.remove(name));
        drop(table);
        if removed.is_some() {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn all(&self) -> HashMap<String, Method> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.methods.iter().map(|(name, (_, method))| (name.clone(), Arc::clone(method))).collect()
    }
}

/// Why a call of the agent's method has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The session has no room, or it ended.
    NotConnected,
    /// No agent became ready to be called in time.
    NoAgent(AgentFailure),
    /// The call took longer than its [`timeout`](crate::CallAgent::timeout).
    Timeout,
    /// The payload can't be written as JSON.
    InvalidPayload,
    /// The method answered this, which is not the JSON that the caller wants.
    InvalidAnswer(String),
    /// What the method answered in the place of a result, or why it did not answer.
    Rpc(RpcError),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "the session has no room",
            Self::NoAgent(_) => "no agent became ready to be called",
            Self::Timeout => "the call took too long",
            Self::InvalidPayload => "the payload can't be written as JSON",
            Self::InvalidAnswer(_) => "the answer is not the JSON that was wanted",
            Self::Rpc(_) => "the method failed",
        })
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotConnected | Self::Timeout | Self::InvalidPayload | Self::InvalidAnswer(_) => None,
            Self::NoAgent(failure) => Some(failure),
            Self::Rpc(error) => Some(error),
        }
    }
}
