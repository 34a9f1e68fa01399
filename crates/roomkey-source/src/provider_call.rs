//! One call of a provider, whose panic is an error.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::provider::ProviderCall;

/// A call of a provider. It panics neither when it is polled nor when it is polled again.
pub(crate) struct GuardedCall(Option<Call>);

enum Call {
    /// With the span that it is polled in, whoever polls it.
    Provider(ProviderCall, tracing::Span),
    /// One that first looks into a store.
    Restoring(Pin<Box<dyn Future<Output = Result<Credentials, FetchError>> + Send>>),
}

impl GuardedCall {
    pub(crate) fn new(call: ProviderCall) -> Self {
        Self(Some(Call::Provider(call, tracing::debug_span!("token provider call"))))
    }

    pub(crate) fn restoring(call: impl Future<Output = Result<Credentials, FetchError>> + Send + 'static) -> Self {
        Self(Some(Call::Restoring(Box::pin(call))))
    }

    /// The same, given up after `timeout`. The timer is tokio's; where no tokio runtime runs there is none.
    pub(crate) async fn within(self, timeout: Duration) -> Result<Credentials, FetchError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return self.await;
        }
        tokio::time::timeout(timeout, self).await.unwrap_or_else(|_| Err(FetchError::timeout(timeout)))
    }
}

impl Future for GuardedCall {
    type Output = Result<Credentials, FetchError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The call is dropped when it is over or has panicked, so that nobody sees what it left half done.
        let Some(call) = self.0.as_mut() else { return Poll::Ready(Err(FetchError::panicked())) };
        let polled = catch_unwind(AssertUnwindSafe(|| match call {
            Call::Provider(call, span) => span.in_scope(|| call.as_mut().poll(context)).map_err(FetchError::provider),
            Call::Restoring(call) => call.as_mut().poll(context),
        }));
        if !matches!(polled, Ok(Poll::Pending)) {
            self.0 = None;
        }
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(result),
            Err(_) => Poll::Ready(Err(FetchError::panicked())),
        }
    }
}
