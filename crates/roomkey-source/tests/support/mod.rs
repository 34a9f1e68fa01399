//! What the tests of the token source share: tokens, a clock that stands still, a backend that does as it is told.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part, and a panic is its report")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roomkey_source::{
    BoxError, Clock, Credentials, FetchOptions, ManualClock, Now, TokenSource, TokenSourceBuilder, provider_fn,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// The time at which every test begins, in seconds since the epoch.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn wall(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(wall(NOW)))
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An unsigned token with these claims.
pub(crate) fn jwt(claims: &Value) -> String {
    jwt_of_text(&claims.to_string())
}

pub(crate) fn jwt_of_text(claims: &str) -> String {
    format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims))
}

/// An unsigned token that expires this many seconds after the test begins, and says no more.
pub(crate) fn expiring(in_seconds: u64) -> String {
    jwt(&json!({ "exp": NOW + in_seconds }))
}

pub(crate) fn room(name: &str) -> FetchOptions {
    FetchOptions::new().with_room_name(name)
}

/// Options of which LiveKit's SDKs make the request of the black-box cases.
pub(crate) fn full_options() -> FetchOptions {
    FetchOptions::new()
        .with_room_name("r")
        .with_participant_name("n")
        .with_participant_identity("i")
        .with_participant_metadata("m")
        .with_participant_attribute("k", "v")
        .with_agent_name("a")
        .with_agent_metadata("am")
        .with_deployment("staging")
}

pub(crate) type Answer = Result<String, BoxError>;
type Respond = dyn Fn(usize, &FetchOptions) -> Answer + Send + Sync;

/// A token backend: answers by a function that can be exchanged, counts and remembers its calls, and can hold answers
/// back.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Inner>);

struct Inner {
    respond: Mutex<Arc<Respond>>,
    calls: AtomicUsize,
    options: Mutex<Vec<FetchOptions>>,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Backend {
    /// A backend that answers call number `n`, from 1 on, by a function.
    pub(crate) fn new(respond: impl Fn(usize, &FetchOptions) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            respond: Mutex::new(Arc::new(respond)),
            calls: AtomicUsize::new(0),
            options: Mutex::new(Vec::new()),
            gate: Mutex::new(None),
        }))
    }

    /// A backend that always gives this token.
    pub(crate) fn giving(token: impl Into<String>) -> Self {
        let token = token.into();
        Self::new(move |_, _| Ok(token.clone()))
    }

    /// A backend whose tokens tell by `jti` which call they came from and by `video.room` for which room, and live for an
    /// hour.
    pub(crate) fn numbered() -> Self {
        Self::new(|call, options| {
            Ok(jwt(&json!({
                "exp": NOW + 3_600,
                "jti": call.to_string(),
                "video": { "room": options.room_name() },
            })))
        })
    }

    pub(crate) fn respond(&self, respond: impl Fn(usize, &FetchOptions) -> Answer + Send + Sync + 'static) {
        *self.0.respond.lock().unwrap() = Arc::new(respond);
    }

    pub(crate) fn fail(&self) {
        self.respond(|_, _| Err("the backend is down".into()));
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn last_options(&self) -> FetchOptions {
        self.0.options.lock().unwrap().last().unwrap().clone()
    }

    /// Holds back the answers of calls from now on; each permit that is added to the gate lets one go.
    pub(crate) fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    pub(crate) fn open(&self) {
        *self.0.gate.lock().unwrap() = None;
    }

    pub(crate) fn call(
        &self,
        options: FetchOptions,
    ) -> Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send>> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.options.lock().unwrap().push(options.clone());
        let gate = self.0.gate.lock().unwrap().clone();
        let respond = Arc::clone(&self.0.respond.lock().unwrap());
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            Ok(Credentials::new("wss://example", respond(call, &options)?))
        })
    }

    pub(crate) fn builder(&self) -> TokenSourceBuilder {
        let backend = self.clone();
        TokenSource::builder(provider_fn(move |options| backend.call(options)))
    }

    pub(crate) fn source(&self, clock: &Arc<ManualClock>) -> TokenSource {
        self.builder().clock(Arc::clone(clock)).build()
    }
}

/// The `jti` of a token.
pub(crate) fn id(credentials: &Credentials) -> String {
    credentials.claims().unwrap().jti.clone()
}

/// The room that a token is for.
pub(crate) fn room_of(credentials: &Credentials) -> String {
    credentials.claims().unwrap().video.clone().unwrap().room
}

/// Lets every task that can run do so; time stands still meanwhile.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// A clock that goes with tokio's, which stands still until everybody waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    #[expect(clippy::disallowed_methods, reason = "tokio's paused clock")]
    pub(crate) fn new() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Now {
        Now::new(wall(NOW) + self.elapsed(), self.elapsed())
    }
}

/// A backend whose tokens live for ten minutes from the call on, and tell by `jti` which call they came from.
pub(crate) fn short_lived(clock: TokioClock) -> Backend {
    Backend::new(move |call, _| {
        let now = NOW + clock.elapsed().as_secs();
        Ok(jwt(&json!({ "jti": call.to_string(), "iat": now, "nbf": now, "exp": now + 600 })))
    })
}
