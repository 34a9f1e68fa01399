//! Fetching, beside the official `livekit-token-source`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and panics where it is wrong"
)]
#![allow(clippy::disallowed_methods, reason = "and it reads the clock")]

mod side_by_side;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::Criterion;
use livekit_token_source::{
    TokenSourceCached, TokenSourceConfigurable, TokenSourceFetchOptions, TokenSourceResponse, TokenSourceResult,
};
use roomkey_source::{Credentials, FetchOptions, TokenSource, provider_fn};
use side_by_side::{Pair, compare};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PAIRS: [Pair; 2] = [
    Pair { group: "hit", ours: "roomkey", peer: "livekit-token-source", goal: Some(0.1) },
    Pair { group: "hit", ours: "refresh-ahead", peer: "roomkey", goal: Some(1.15) },
];

/// A token of the official crate, with what a token usually carries.
fn token() -> String {
    livekit_token::AccessToken::with_api_key("APIbenchmark", "a-secret-that-is-long-enough-to-keep")
        .with_identity("participant-identity")
        .with_name("Participant Name")
        .with_grants(livekit_token::VideoGrants {
            room_join: true,
            room: "room-name".to_owned(),
            ..livekit_token::VideoGrants::default()
        })
        .to_jwt()
        .unwrap()
}

/// A provider for both: counts its calls, and answers when the gate is open.
#[derive(Clone)]
struct Provider {
    token: Arc<str>,
    calls: Arc<AtomicUsize>,
    gate: watch::Receiver<bool>,
}

impl Provider {
    fn new() -> (Self, watch::Sender<bool>) {
        let (open, gate) = watch::channel(false);
        (Self { token: token().into(), calls: Arc::default(), gate }, open)
    }

    async fn call(&self) -> String {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.gate.clone().wait_for(|open| *open).await.unwrap();
        self.token.to_string()
    }
}

#[async_trait]
impl TokenSourceConfigurable for Provider {
    async fn fetch(&self, _: &TokenSourceFetchOptions) -> TokenSourceResult<TokenSourceResponse> {
        Ok(TokenSourceResponse { server_url: "wss://example".to_owned(), participant_token: self.call().await })
    }
}

fn ours(provider: &Provider) -> TokenSource {
    TokenSource::custom_with(provider.clone(), |provider, _| async move {
        Ok(Credentials::new("wss://example", provider.call().await))
    })
}

fn theirs(provider: &Provider) -> TokenSourceCached<Provider> {
    provider.clone().cached()
}

fn our_options() -> FetchOptions {
    FetchOptions::new().with_room_name("room-name").with_participant_identity("participant-identity")
}

fn their_options() -> TokenSourceFetchOptions {
    TokenSourceFetchOptions::new().with_room_name("room-name").with_participant_identity("participant-identity")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn hit(criterion: &mut Criterion) {
    let runtime = runtime();
    let (provider, open) = Provider::new();
    open.send(true).unwrap();
    let (our_source, their_source) = (ours(&provider), theirs(&provider));
    let (our_options, their_options) = (our_options(), their_options());

    let refreshing = {
        let function = move |_| {
            let provider = provider.clone();
            async move { Ok(Credentials::new("wss://example", provider.call().await)) }
        };
        TokenSource::builder(provider_fn(function)).refresh_ahead(Duration::from_secs(300)).build()
    };

    let mut group = criterion.benchmark_group("hit");
    for (name, source) in [("roomkey", &our_source), ("refresh-ahead", &refreshing)] {
        group.bench_function(name, |bench| {
            bench.iter_custom(|iterations| {
                runtime.block_on(async {
                    let begin = Instant::now();
                    for _ in 0..iterations {
                        black_box(source.fetch(black_box(&our_options)).await.unwrap());
                    }
                    begin.elapsed()
                })
            });
        });
    }
    group.bench_function("livekit-token-source", |bench| {
        bench.iter_custom(|iterations| {
            runtime.block_on(async {
                let begin = Instant::now();
                for _ in 0..iterations {
                    black_box(their_source.fetch(black_box(&their_options)).await.unwrap());
                }
                begin.elapsed()
            })
        });
    });
    group.finish();
}

/// How many times one thread does something in a slice of time, and how many times two do together.
fn rates(work: impl Fn() + Sync) -> (f64, f64) {
    const SLICE: Duration = Duration::from_millis(100);
    let rate = |threads: usize| {
        let (stop, barrier, total) = (AtomicBool::new(false), Barrier::new(threads + 1), Mutex::new(0u64));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    barrier.wait();
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..100 {
                            work();
                        }
                        count += 100;
                    }
                    *total.lock().unwrap() += count;
                });
            }
            barrier.wait();
            std::thread::sleep(SLICE);
            stop.store(true, Ordering::Relaxed);
        });
        let total = *total.lock().unwrap();
        total as f64 / SLICE.as_secs_f64()
    };
    (rate(1), rate(2))
}

/// By how much two threads are faster than one: the median of rounds in which all are measured by turns, since the
/// machine may have other things to do.
fn two_threads() {
    let runtime = runtime();
    let (provider, open) = Provider::new();
    open.send(true).unwrap();
    let (our_source, their_source) = (ours(&provider), theirs(&provider));
    let (our_options, their_options) = (our_options(), their_options());
    runtime.block_on(our_source.fetch(&our_options)).unwrap();
    runtime.block_on(their_source.fetch(&their_options)).unwrap();

    let (mut alone, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        let speed_up = |(one, two): (f64, f64)| two / one;
        alone.push(speed_up(rates(|| {
            let mut number = black_box(1u64);
            for _ in 0..64 {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            black_box(number);
        })));
        ours.push(speed_up(rates(|| poll_now(our_source.fetch(&our_options)))));
        theirs.push(speed_up(rates(|| poll_now(their_source.fetch(&their_options)))));
    }
    let (alone, ours, theirs) = (median(alone), median(ours), median(theirs));
    println!("\ntwo threads fetch one key: times as fast as one thread");
    println!("independent compute loop {alone:.2}, roomkey {ours:.2}, livekit-token-source {theirs:.2}");
    println!("roomkey / compute loop {:.3}  goal at least 0.85", ours / alone);
}

/// A fetch from a cache is over at once.
fn poll_now<T>(future: impl Future<Output = T>) {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_ready());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Ten thousand fetch what nobody has: how many calls that is, and how long after the answer the last one has it.
fn herd() {
    const CALLERS: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let (mut our_waits, mut their_waits, mut calls) = (Vec::new(), Vec::new(), (0, 0));
    for _ in 0..7 {
        let (provider, open) = Provider::new();
        let source = ours(&provider);
        our_waits.push(runtime.block_on(herd_of(CALLERS, &provider, open, || {
            let source = source.clone();
            async move { drop(source.fetch(&our_options()).await.unwrap()) }
        })));
        calls.0 = provider.calls.load(Ordering::Relaxed);

        let (provider, open) = Provider::new();
        let source = Arc::new(theirs(&provider));
        their_waits.push(runtime.block_on(herd_of(CALLERS, &provider, open, || {
            let source = Arc::clone(&source);
            async move { drop(source.fetch(&their_options()).await.unwrap()) }
        })));
        calls.1 = provider.calls.load(Ordering::Relaxed);
    }
    let (ours, theirs) = (median(our_waits), median(their_waits));
    println!(
        "\n{CALLERS} fetch at once what is not held: calls of the provider, milliseconds from the answer to the last"
    );
    println!("roomkey {} calls, {ours:.1} ms; livekit-token-source {} calls, {theirs:.1} ms", calls.0, calls.1);
    println!("goal 1 call, at most 20 ms; ratio of the waits {:.2}", ours / theirs);
}

async fn herd_of<F>(callers: usize, provider: &Provider, open: watch::Sender<bool>, fetch: impl Fn() -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (waiting, fetch) = (Arc::clone(&waiting), fetch());
        tasks.spawn(async move {
            waiting.fetch_add(1, Ordering::Relaxed);
            fetch.await;
            Instant::now()
        });
    }
    while waiting.load(Ordering::Relaxed) < callers || provider.calls.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answered = Instant::now();
    open.send(true).unwrap();
    let mut last = answered;
    while let Some(done) = tasks.join_next().await {
        last = last.max(done.unwrap());
    }
    last.duration_since(answered).as_secs_f64() * 1_000.0
}

fn main() {
    compare(&PAIRS, hit);
    two_threads();
    herd();
}
