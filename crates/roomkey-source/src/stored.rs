//! A source's side of its store: what is saved and taken back, and the thread on which the store is called.
//!
//! The thread begins with the first call and ends, when all is done that it was told, after the source. Calls are made one
//! after the other, so that what was invalidated is not saved after all.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roomkey_token::TokenResponse;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::cache::{Entry, Key};
use crate::credentials::Credentials;
use crate::options::FetchOptions;
use crate::provider::BoxError;
use crate::store::{CredentialStore, StoreKey, StoredCredentials};

/// How long a fetch waits for a store.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What a store that hangs leaves undone at most.
const MOST_JOBS: usize = 256;

/// The refused tokens that are remembered, in case the store still has them.
const MOST_REFUSED: usize = 64;

/// A store, bound to a source by a namespace.
pub(crate) struct Stored {
    namespace: Arc<str>,
    store: Arc<dyn CredentialStore>,
    state: Arc<State>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    refused: Mutex<VecDeque<[u8; 32]>>,
}

/// What is known of the store.
#[derive(Default)]
struct State {
    /// A call has taken too long and is not over.
    is_stuck: AtomicBool,
    /// Something may be in the store that has been invalidated, so that nothing in it counts.
    is_spoiled: AtomicBool,
    /// It is because a removal found no room, so that nothing that waits to be saved counts either.
    has_lost: AtomicBool,
}

enum Job {
    Load(StoreKey, oneshot::Sender<Option<StoredCredentials>>),
    Save(Arc<Entry>),
    Remove(Key),
    /// Remove what is saved if it is this token.
    RemoveToken(Key, Credentials),
    Clear,
    /// Say when everything before this is done.
    Flush(oneshot::Sender<()>),
}

impl Job {
    /// Whether something stays that should not, unless this is done.
    fn forgets(&self) -> bool {
        matches!(self, Self::Remove(_) | Self::RemoveToken(..) | Self::Clear)
    }
}

/// What is saved: the credentials, and what they are for, so that neither a digest that is taken twice nor somebody who
/// moves files about makes them anybody else's.
#[derive(Deserialize, Serialize)]
struct Item {
    version: u32,
    namespace: String,
    partition: Option<String>,
    options: FetchOptions,
    /// When they were received, by this machine's clock, in milliseconds since the Unix epoch.
    received: u64,
    credentials: TokenResponse,
}

const VERSION: u32 = 1;

impl Stored {
    pub(crate) fn new(store: Arc<dyn CredentialStore>, namespace: Arc<str>) -> Self {
        Self { namespace, store, state: Arc::default(), jobs: Mutex::default(), refused: Mutex::default() }
    }

    /// What is saved for a key, if it can be had in time. Whether it can still be used is for the caller to say.
    pub(crate) async fn load(&self, key: &Key) -> Option<Credentials> {
        if self.state.is_stuck.load(Ordering::Acquire) || self.state.is_spoiled.load(Ordering::Acquire) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.send(Job::Load(StoreKey::of(&self.namespace, key), reply));
        let Some(item) = Self::wait(answer).await else {
            tracing::warn!("credential store takes too long; going on without it");
            self.state.is_stuck.store(true, Ordering::Release);
            return None;
        };
        let Some(credentials) = decode(item??.as_bytes(), &self.namespace, key) else {
            tracing::debug!("stored credentials are not what was saved");
            return None;
        };
        let is_refused = self.refused().contains(&digest_of(&credentials));
        (!is_refused).then_some(credentials)
    }

    /// Saves what was received. Nobody waits for it.
    pub(crate) fn save(&self, entry: Arc<Entry>) {
        self.send(Job::Save(entry));
    }

    pub(crate) fn remove(&self, key: Key) {
        self.send(Job::Remove(key));
    }

    pub(crate) fn remove_token(&self, key: Key, credentials: Credentials) {
        self.send(Job::RemoveToken(key, credentials));
    }

    pub(crate) fn clear(&self) {
        self.send(Job::Clear);
    }

    /// A token was refused: it is not taken from the store again.
    pub(crate) fn refuse(&self, credentials: &Credentials) {
        let (mut refused, digest) = (self.refused(), digest_of(credentials));
        if refused.contains(&digest) {
            return;
        }
        if refused.len() == MOST_REFUSED {
            refused.pop_front();
        }
        refused.push_back(digest);
    }

    /// Waits until the store has done what it was told, and says whether it has.
    pub(crate) async fn flush(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Flush(reply));
        matches!(Self::wait(answer).await, Some(Some(())))
    }

    /// Waits for what a job gives. The outer is missing where that takes too long, the inner where there is no thread or no
    /// room for the job.
    ///
    /// The answer comes straight from the store's thread. Another thread tells the time: so no timers are needed, and where
    /// the time of a runtime is a test's, it stands still meanwhile. A runtime whose threads for blocking are all taken
    /// tells no time; then it is the load timeout that ends the wait for a store that hangs.
    async fn wait<T>(answer: oneshot::Receiver<T>) -> Option<Option<T>> {
        let (is_over, over) = sync_channel::<()>(0);
        let (tell, told) = oneshot::channel();
        let sleep = move || {
            if matches!(over.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout)) {
                tell.send(()).ok();
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(sleep);
        } else {
            thread::Builder::new().name("roomkey-store-wait".to_owned()).spawn(sleep).ok()?;
        }
        let answer = tokio::select! {
            biased;
            answer = answer => Some(answer.ok()),
            Ok(()) = told => None,
            else => None,
        };
        drop(is_over);
        answer
    }

    fn send(&self, job: Job) {
        let forgets = job.forgets();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_none() {
            let (sender, receiver) = sync_channel(MOST_JOBS);
            let worker = Worker {
                namespace: Arc::clone(&self.namespace),
                store: Arc::clone(&self.store),
                state: Arc::clone(&self.state),
            };
            let thread = thread::Builder::new().name("roomkey-store".to_owned()).spawn(move || worker.run(&receiver));
            if thread.is_ok() {
                *jobs = Some(sender);
            }
        }
        let is_sent = jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !is_sent && forgets {
            self.state.has_lost.store(true, Ordering::Release);
            self.state.is_spoiled.store(true, Ordering::Release);
        }
        drop(jobs);
        if !is_sent {
            tracing::debug!("token not stored");
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, VecDeque<[u8; 32]>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls the store, on its thread.
struct Worker {
    namespace: Arc<str>,
    store: Arc<dyn CredentialStore>,
    state: Arc<State>,
}

impl Worker {
    fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if !self.state.is_spoiled.swap(false, Ordering::AcqRel) {
                self.work(job);
            } else if self.state.has_lost.swap(false, Ordering::AcqRel) {
                self.start_over(job, jobs);
            } else {
                self.clear();
                self.work(job);
            }
            self.state.is_stuck.store(false, Ordering::Release);
        }
    }

    /// Makes up for what could not be removed.
    fn clear(&self) {
        if self.call("clear", |store| store.clear(&self.namespace)).is_none() {
            self.state.is_spoiled.store(true, Ordering::Release);
        }
    }

    /// Makes up for a removal that was never told: what is saved does not count, nor what waits to be saved.
    fn start_over(&self, first: Job, jobs: &Receiver<Job>) {
        let mut flushes = Vec::new();
        // What came before the removal that was lost is among these.
        for job in std::iter::once(first).chain(jobs.try_iter().take(MOST_JOBS)) {
            match job {
                Job::Load(_, reply) => drop(reply.send(None)),
                Job::Flush(reply) => flushes.push(reply),
                Job::Save(_) => tracing::debug!("token not stored"),
                Job::Remove(_) | Job::RemoveToken(..) | Job::Clear => {}
            }
        }
        self.clear();
        for reply in flushes {
            // Nobody may wait for it any more.
            reply.send(()).ok();
        }
    }

    fn work(&self, job: Job) {
        let forgets = job.forgets();
        let done = match job {
            Job::Load(key, reply) => {
                let is_spoiled = self.state.is_spoiled.load(Ordering::Acquire);
                let load = || self.call("load", |store| store.load(&key)).flatten();
                reply.send(if is_spoiled { None } else { load() }).ok();
                Some(())
            }
            Job::Save(entry) => encode(&self.namespace, &entry).and_then(|item| {
                let key = StoreKey::of(&self.namespace, &entry.key);
                self.call("save", |store| store.save(&key, &item))
            }),
            Job::Remove(key) => self.remove(&key),
            Job::RemoveToken(key, credentials) => self.remove_token(&key, &credentials),
            Job::Clear => self.call("clear", |store| store.clear(&self.namespace)),
            Job::Flush(reply) => {
                reply.send(()).ok();
                Some(())
            }
        };
        if forgets && done.is_none() {
            self.state.is_spoiled.store(true, Ordering::Release);
        }
    }

    fn remove(&self, key: &Key) -> Option<()> {
        let key = StoreKey::of(&self.namespace, key);
        self.call("remove", |store| store.remove(&key))
    }

    fn remove_token(&self, key: &Key, credentials: &Credentials) -> Option<()> {
        let found = self.call("load", |store| store.load(&StoreKey::of(&self.namespace, key)))?;
        let saved = found.and_then(|item| decode(item.as_bytes(), &self.namespace, key));
        let is_same = saved.is_some_and(|saved| saved.participant_token() == credentials.participant_token());
        if is_same { self.remove(key) } else { Some(()) }
    }

    /// Calls the store; its error and its panic are an event and nothing more. What it says may be a secret of the
    /// application's.
    fn call<T>(&self, operation: &str, call: impl FnOnce(&dyn CredentialStore) -> Result<T, BoxError>) -> Option<T> {
        let error = match catch_unwind(AssertUnwindSafe(|| call(&*self.store))) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error,
            Err(_) => "it panicked".into(),
        };
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        tracing::warn!(operation, ?kind, "credential store failed; going on without it");
        None
    }
}

fn encode(namespace: &Arc<str>, entry: &Entry) -> Option<StoredCredentials> {
    let received = entry.received.wall.duration_since(UNIX_EPOCH).ok()?;
    let item = Item {
        version: VERSION,
        namespace: namespace.to_string(),
        partition: entry.key.partition.as_deref().map(str::to_owned),
        options: entry.key.options.clone(),
        received: u64::try_from(received.as_millis()).ok()?,
        credentials: entry.credentials.to_response(),
    };
    serde_json::to_vec(&item).ok().map(StoredCredentials::from_bytes)
}

/// The credentials, if these are some for the key.
fn decode(bytes: &[u8], namespace: &Arc<str>, key: &Key) -> Option<Credentials> {
    let item: Item = serde_json::from_slice(bytes).ok()?;
    let is_for_key = item.version == VERSION
        && item.namespace == **namespace
        && item.partition.as_deref() == key.partition.as_deref()
        && item.options == key.options;
    let received = UNIX_EPOCH.checked_add(Duration::from_millis(item.received)).filter(|_| is_for_key)?;
    Some(Credentials::restored(item.credentials, received))
}

fn digest_of(credentials: &Credentials) -> [u8; 32] {
    Sha256::digest(credentials.participant_token()).into()
}

/// How long credentials had been held before they were taken from a store; nothing where that lies ahead, since a clock
/// that was set back says nothing of them.
pub(crate) fn held_for(received: SystemTime, now: SystemTime) -> Option<Duration> {
    now.duration_since(received).ok()
}
