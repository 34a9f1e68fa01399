//! A call of a method of the agent's, before it is made.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use roomkey_room::RpcRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::rpc::CallError;
use crate::session::{Boxed, Session};

/// A call of a method of the agent's, which is made when this is awaited; from [`Session::call_agent`] and
/// [`Session::call_agent_json`].
///
/// The agent is waited for until it can be sent data, for the agent timeout at most. Then it has 7 s to acknowledge the request
/// and 15 s more to answer; [`timeout`](Self::timeout) sets one time for all of it.
///
/// Dropping that future while the agent is waited for calls nobody. Later it does not call the call back: the method runs, and
/// its answer is passed over.
///
/// # Errors
///
/// [`CallError`].
#[must_use = "the call is made when it is awaited"]
pub struct CallAgent<T = String> {
    session: Session,
    method: String,
    payload: Result<String, CallError>,
    timeout: Option<Duration>,
    read: fn(String) -> Result<T, CallError>,
}

impl CallAgent {
    pub(crate) fn new(session: Session, method: String, payload: String) -> Self {
        Self { session, method, payload: Ok(payload), timeout: None, read: Ok }
    }
}

impl<T: DeserializeOwned> CallAgent<T> {
    pub(crate) fn json(session: Session, method: String, payload: &(impl Serialize + ?Sized)) -> Self {
        let payload = serde_json::to_string(payload).map_err(|_| CallError::InvalidPayload);
        let read = |answer: String| serde_json::from_str(&answer).map_err(|_| CallError::InvalidAnswer(answer));
        Self { session, method, payload, timeout: None, read }
    }
}

impl<T> CallAgent<T> {
    /// How long all of it may take, from the wait for the agent to its answer. The agent is told how much of that is left for
    /// it, a second at least.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}

impl<T: 'static> IntoFuture for CallAgent<T> {
    type Output = Result<T, CallError>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { session, method, payload, timeout, read } = self;
        Box::pin(async move {
            let payload = payload?;
            let Some(timeout) = timeout else {
                let agent = session.active_agent().await?;
                return read(session.call(RpcRequest::new(agent, method, payload)).await?);
            };
            let until = clock::now().at + timeout;
            let call = async {
                let agent = session.active_agent().await?;
                let left = until.saturating_duration_since(clock::now().at);
                session.call(RpcRequest::new(agent, method, payload).with_response_timeout(left)).await
            };
            read(tokio::time::timeout(timeout, call).await.unwrap_or(Err(CallError::Timeout))?)
        })
    }
}

impl<T> fmt::Debug for CallAgent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallAgent")
            .field("method", &self.method)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
