//! Token sources for programs without async (feature `blocking`).
//!
//! ```
//! use roomkey_source::{Credentials, FetchOptions, TokenSource};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = TokenSource::custom(|_options| async { Ok(Credentials::new("wss://example", "a token")) });
//! let source = source.blocking()?;
//! let credentials = source.fetch(&FetchOptions::new().with_room_name("lobby"))?;
//! assert_eq!(credentials.server_url(), "wss://example");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};

use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::options::FetchOptions;
use crate::stats::Stats;

/// A [`TokenSource`](crate::TokenSource) whose functions block; from
/// [`TokenSource::blocking`](crate::TokenSource::blocking).
///
/// It shares everything with the source that it is made from: what is held, calls under way, failures. A token that is held
/// is given on the spot. Calls of the provider, their timers, and renewals ahead of need run on one thread, which this
/// handle and its clones have for themselves and which ends with the last of them; so the provider may use tokio.
///
/// Inside of an async runtime it works, and blocks the thread that it is called on until the call is over. A provider that
/// needs that very thread to go on, as it does if it talks to a task of a runtime of one thread, then waits for itself until
/// the source's [`load_timeout`](crate::TokenSourceBuilder::load_timeout): use the async source there.
#[derive(Clone)]
pub struct TokenSource {
    source: crate::TokenSource,
    worker: Arc<Worker>,
}

impl TokenSource {
    pub(crate) fn new(source: crate::TokenSource) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("roomkey-source").enable_all().build()?;
        Ok(Self { source, worker: Arc::new(Worker(Some(runtime))) })
    }

    /// The source that this is made from, for code that is async.
    #[must_use]
    pub fn source(&self) -> &crate::TokenSource {
        &self.source
    }

    /// As [`TokenSource::fetch`](crate::TokenSource::fetch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fetch(&self, options: &FetchOptions) -> Result<Credentials, FetchError> {
        let (source, options) = (self.source.clone(), options.clone());
        self.worker.run(async move { source.fetch(&options).await })
    }

    /// As [`TokenSource::fetch_fresh`](crate::TokenSource::fetch_fresh).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fetch_fresh(&self, options: &FetchOptions) -> Result<Credentials, FetchError> {
        let (source, options) = (self.source.clone(), options.clone());
        self.worker.run(async move { source.fetch_fresh(&options).await })
    }

    /// As [`TokenSource::fetch_after_rejection`](crate::TokenSource::fetch_after_rejection).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fetch_after_rejection(
        &self,
        options: &FetchOptions,
        rejected: &Credentials,
    ) -> Result<Credentials, FetchError> {
        let (source, options, rejected) = (self.source.clone(), options.clone(), rejected.clone());
        self.worker.run(async move { source.fetch_after_rejection(&options, &rejected).await })
    }

    /// As [`TokenSource::take`](crate::TokenSource::take).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take(&self, options: &FetchOptions) -> Result<Credentials, FetchError> {
        let (source, options) = (self.source.clone(), options.clone());
        self.worker.run(async move { source.take(&options).await })
    }

    /// As [`TokenSource::prefetch`](crate::TokenSource::prefetch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn prefetch(&self, options: &FetchOptions) -> Result<(), FetchError> {
        let (source, options) = (self.source.clone(), options.clone());
        self.worker.run(async move { source.prefetch(&options).await })
    }

    /// As [`TokenSource::watch`](crate::TokenSource::watch), one after the other.
    #[must_use]
    pub fn watch(&self, options: FetchOptions) -> Watch {
        Watch { watch: Some(self.source.watch(options)), worker: Arc::clone(&self.worker) }
    }

    /// As [`TokenSource::flush`](crate::TokenSource::flush).
    pub fn flush(&self) -> bool {
        let source = self.source.clone();
        self.worker.run(async move { Ok(source.flush().await) }).unwrap_or(false)
    }

    /// As [`TokenSource::cached`](crate::TokenSource::cached).
    #[must_use]
    pub fn cached(&self, options: &FetchOptions) -> Option<Credentials> {
        self.source.cached(options)
    }

    /// As [`TokenSource::invalidate`](crate::TokenSource::invalidate).
    pub fn invalidate(&self, options: &FetchOptions) {
        self.source.invalidate(options);
    }

    /// As [`TokenSource::invalidate_all`](crate::TokenSource::invalidate_all).
    pub fn invalidate_all(&self) {
        self.source.invalidate_all();
    }

    /// As [`TokenSource::invalidate_token`](crate::TokenSource::invalidate_token).
    pub fn invalidate_token(&self, credentials: &Credentials) -> bool {
        self.source.invalidate_token(credentials)
    }

    /// As [`TokenSource::stats`](crate::TokenSource::stats).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.source.stats()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("blocking::TokenSource").finish_non_exhaustive()
    }
}

/// A [`Watch`](crate::Watch) whose [`next`](Self::next) blocks; from [`TokenSource::watch`]. For a thread of its own.
pub struct Watch {
    /// None after one that panicked.
    watch: Option<crate::Watch>,
    worker: Arc<Worker>,
}

impl Watch {
    /// As [`Watch::next`](crate::Watch::next).
    ///
    /// # Errors
    ///
    /// As there.
    #[expect(
        clippy::should_implement_trait,
        reason = "it has no end, and its name is the one of the watch that is async"
    )]
    pub fn next(&mut self) -> Result<Credentials, FetchError> {
        let mut watch = self.watch.take().ok_or_else(FetchError::panicked)?;
        let (watch, outcome) = self.worker.run(async move {
            let outcome = watch.next().await;
            Ok((watch, outcome))
        })?;
        self.watch = Some(watch);
        outcome
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watch.fmt(f)
    }
}

/// A runtime of one thread. It is there until it is dropped.
struct Worker(Option<Runtime>);

impl Worker {
    /// Waits for a future. What is ready at once is not sent to the other thread.
    fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, FetchError>> + Send + 'static,
    ) -> Result<T, FetchError> {
        let runtime = self.0.as_ref().expect("it is taken when this is dropped");
        let mut future: Pin<Box<dyn Future<Output = Result<T, FetchError>> + Send>> = Box::pin(future);
        let polled = {
            // Timers and sockets that are made in here belong to the worker, wherever this is called.
            let _entered = runtime.enter();
            future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        if let Poll::Ready(outcome) = polled {
            return outcome;
        }
        let (send, receive) = mpsc::sync_channel(1);
        runtime.spawn(async move { send.send(future.await) });
        // Nothing is sent where the future panicked: a partition or a clock of the application's did.
        receive.recv().unwrap_or_else(|_| Err(FetchError::panicked()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which panics in async code.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
