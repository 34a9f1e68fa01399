//! Methods of this client that others can call.

use std::collections::HashMap;
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

/// The methods, and their calls that go on. All end with the room.
#[derive(Default)]
pub(crate) struct RpcMethods {
    methods: HashMap<String, RpcMethod>,
    running: JoinSet<(InvocationId, Result<String, RpcError>)>,
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
        self.running.spawn(async move {
            let Some(method) = method else { return (id, Err(RpcError::of(RpcError::UNSUPPORTED_METHOD))) };
            // What panics is the application's, and the caller hears of it.
            let answer = AssertUnwindSafe(async move { method(invocation).await }).catch_unwind().await;
            (id, answer.unwrap_or_else(|_| Err(RpcError::of(RpcError::APPLICATION_ERROR))))
        });
    }

    /// The next answer; never ends while nothing runs. Cancelling loses none.
    pub(crate) async fn next_answer(&mut self) -> (InvocationId, Result<String, RpcError>) {
        loop {
            match self.running.join_next().await {
                Some(Ok(answered)) => return answered,
                // A runtime that shuts down cancels tasks.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }
}
