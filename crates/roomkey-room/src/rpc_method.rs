//! Methods of this client that others can call.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use crate::core::InvocationId;
use crate::rpc::error::RpcError;
use crate::rpc::request::RpcInvocation;

/// What runs when a method is called.
pub(crate) type RpcMethod = Arc<dyn Fn(RpcInvocation) -> BoxFuture<'static, Result<String, RpcError>> + Send + Sync>;

pub(crate) fn method<F, R>(run: F) -> RpcMethod
where
    F: Fn(RpcInvocation) -> R + Send + Sync + 'static,
    R: Future<Output = Result<String, RpcError>> + Send + 'static,
{
    Arc::new(move |invocation| run(invocation).boxed())
}

/// Calls that run at a time. A caller says itself how long it waits, so that one that gives up soon could begin any number of
/// calls of a slow method.
const MAX_RUNNING: usize = 256;

/// Bytes of the payloads of those that run. A call that comes while nothing runs may have more.
const MAX_RUNNING_BYTES: usize = 64 * 1024 * 1024;

/// The methods, and their calls that go on. All end with the room.
#[derive(Default)]
pub(crate) struct RpcMethods {
    methods: HashMap<String, RpcMethod>,
    running: JoinSet<(InvocationId, usize, Result<String, RpcError>)>,
    running_bytes: usize,
    /// What is answered without having run.
    refused: VecDeque<(InvocationId, Result<String, RpcError>)>,
}

impl RpcMethods {
    pub(crate) fn register(&mut self, name: String, method: RpcMethod) {
        self.methods.insert(name, method);
    }

    pub(crate) fn unregister(&mut self, name: &str) {
        self.methods.remove(name);
    }

    pub(crate) fn invoke(&mut self, id: InvocationId, invocation: RpcInvocation) {
        let method = self.methods.get(&invocation.method).cloned();
        let bytes = invocation.payload.len();
        let is_too_much = self.running_bytes > 0 && self.running_bytes + bytes > MAX_RUNNING_BYTES;
        if self.running.len() >= MAX_RUNNING || is_too_much {
            self.refused.push_back((id, Err(RpcError::of(RpcError::APPLICATION_ERROR))));
            return;
        }
        self.running_bytes += bytes;
        self.running.spawn(async move {
            let Some(method) = method else { return (id, bytes, Err(RpcError::of(RpcError::UNSUPPORTED_METHOD))) };
            // What panics is the application's, and the caller hears of it.
            let answer = AssertUnwindSafe(async move { method(invocation).await }).catch_unwind().await;
            (id, bytes, answer.unwrap_or_else(|_| Err(RpcError::of(RpcError::APPLICATION_ERROR))))
        });
    }

    /// The next answer; never ends while nothing runs. Cancelling loses none.
    pub(crate) async fn next_answer(&mut self) -> (InvocationId, Result<String, RpcError>) {
        if let Some(refused) = self.refused.pop_front() {
            return refused;
        }
        loop {
            match self.running.join_next().await {
                Some(Ok((id, bytes, answer))) => {
                    self.running_bytes -= bytes;
                    return (id, answer);
                }
                // A runtime that shuts down cancels tasks.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(payload: String) -> RpcInvocation {
        RpcInvocation {
            request_id: "1".to_owned(),
            caller_identity: "bob".into(),
            method: "slow".to_owned(),
            payload,
            response_timeout: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn calls_that_run_hold_so_many_bytes_and_no_more_until_one_of_them_is_answered() {
        let answer = Arc::new(tokio::sync::Notify::new());
        let mut methods = RpcMethods::default();
        let asked = Arc::clone(&answer);
        let slow = move |_| {
            let asked = Arc::clone(&asked);
            async move {
                asked.notified().await;
                Ok(String::new())
            }
        };
        methods.register("slow".to_owned(), method(slow));
        let third = "x".repeat(MAX_RUNNING_BYTES / 3);
        for id in 0..4 {
            methods.invoke(InvocationId(id), call(third.clone()));
        }
        let (refused, outcome) = methods.next_answer().await;
        assert_eq!((refused, outcome.unwrap_err().code), (InvocationId(3), RpcError::APPLICATION_ERROR));
        answer.notify_one();
        // Which of the three has waited first is the runtime's choice.
        assert!(methods.next_answer().await.1.is_ok());
        methods.invoke(InvocationId(4), call(third));
        assert_eq!((methods.running.len(), methods.refused.len()), (3, 0));
    }

    #[tokio::test]
    async fn a_slow_method_runs_so_many_times_at_once_and_no_more() {
        let mut methods = RpcMethods::default();
        methods.register("slow".to_owned(), method(|_| std::future::pending()));
        for id in 0..MAX_RUNNING as u64 + 2 {
            methods.invoke(InvocationId(id), call(String::new()));
        }
        assert_eq!(methods.running.len(), MAX_RUNNING);
        for id in 0..2 {
            let (refused, answer) = methods.next_answer().await;
            assert_eq!(refused, InvocationId(MAX_RUNNING as u64 + id));
            assert_eq!(answer.unwrap_err().code, RpcError::APPLICATION_ERROR);
        }
    }
}
