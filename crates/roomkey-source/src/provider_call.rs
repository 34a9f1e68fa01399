//! One call of a provider, with what can go wrong in it turned into an error.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::provider::ProviderCall;

/// A call whose panic is an error, and that ends.
pub(crate) type GuardedCall = Pin<Box<dyn Future<Output = Result<Credentials, FetchError>> + Send>>;

/// Guards a call against panics, and against taking longer than `timeout`.
///
/// The timer is tokio's; where no tokio runtime runs there is none.
pub(crate) async fn guarded(call: ProviderCall, timeout: Option<Duration>) -> Result<Credentials, FetchError> {
    let call = catch_panic(call);
    match timeout {
        Some(timeout) if tokio::runtime::Handle::try_current().is_ok() => {
            tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(FetchError::timeout(timeout)))
        }
        _ => call.await,
    }
}

async fn catch_panic(call: ProviderCall) -> Result<Credentials, FetchError> {
    let mut call = Some(call);
    let result = poll_fn(|context| {
        let Some(running) = call.as_mut() else { return Poll::Pending };
        // The future is dropped after a panic, so that nobody sees what it left half done.
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(result.map_err(FetchError::provider)),
            Err(_) => {
                call = None;
                Poll::Ready(Err(FetchError::panicked()))
            }
        }
    });
    result.await
}
