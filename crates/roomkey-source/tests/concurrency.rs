//! Who waits for whom, and what happens to those who wait. The numbers are those of the black-box cases.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomkey_source::{
    BoxError, Credentials, FetchError, FetchErrorKind, FetchOptions, TokenProvider, TokenSource, provider_fn,
};
use support::*;
use tokio::task::{JoinHandle, JoinSet};

type Fetch = JoinHandle<Result<Credentials, FetchError>>;

fn spawn_fetch(source: &TokenSource, options: FetchOptions) -> Fetch {
    let source = source.clone();
    tokio::spawn(async move { source.fetch(&options).await })
}

fn spawn_fresh(source: &TokenSource, options: FetchOptions) -> Fetch {
    let source = source.clone();
    tokio::spawn(async move { source.fetch_fresh(&options).await })
}

/// Case 20.
#[tokio::test]
async fn a_hundred_equal_fetches_are_one_call() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let fetches: Vec<Fetch> = (0..100).map(|_| spawn_fetch(&source, room("a"))).collect();
    settle().await;
    gate.add_permits(1);
    for fetch in fetches {
        assert_eq!(id(&fetch.await.unwrap().unwrap()), "1");
    }
    assert_eq!(backend.calls(), 1);
}

/// Case 21.
#[tokio::test]
async fn a_failed_call_is_one_error_for_all_and_is_not_remembered() {
    let backend = Backend::new(|call, _| Err(format!("failure {call}").into()));
    let gate = backend.gate();
    let source = backend.source(&clock());
    let fetches: Vec<Fetch> = (0..100).map(|_| spawn_fetch(&source, room("a"))).collect();
    settle().await;
    gate.add_permits(100);
    for fetch in fetches {
        let error = fetch.await.unwrap().unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "failure 1");
    }
    assert_eq!(backend.calls(), 1);
    assert!(source.fetch(&room("a")).await.is_err());
    assert_eq!(backend.calls(), 2);
}

/// Case 22.
#[tokio::test]
async fn a_hung_call_holds_up_nothing_else() {
    let (backend, clock) = (Backend::numbered(), clock());
    let source = backend.source(&clock);
    let held = source.fetch(&room("old")).await.unwrap();
    backend.gate();
    let hung = spawn_fetch(&source, room("a"));
    let hung_fresh = spawn_fresh(&source, room("old"));
    settle().await;
    backend.open();
    assert_eq!(room_of(&source.fetch(&room("b")).await.unwrap()), "b");
    assert_eq!(source.fetch(&room("old")).await.unwrap(), held, "a hit while a fresh one is fetched");
    assert!(!hung.is_finished() && !hung_fresh.is_finished());
    hung.abort();
    hung_fresh.abort();
}

/// Case 23.
#[tokio::test]
async fn when_the_first_caller_goes_away_another_goes_on_with_its_call() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let leader = spawn_fetch(&source, room("a"));
    settle().await;
    let waiters: Vec<Fetch> = (0..3).map(|_| spawn_fetch(&source, room("a"))).collect();
    settle().await;
    leader.abort();
    settle().await;
    gate.add_permits(1);
    for waiter in waiters {
        assert_eq!(id(&waiter.await.unwrap().unwrap()), "1");
    }
    assert_eq!(backend.calls(), 1, "the call goes on, it does not begin again");
}

/// Case 23: and so on, from one to the next.
#[tokio::test]
async fn each_caller_in_turn_can_go_away_without_harm_to_the_next() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let mut callers: Vec<Fetch> = (0..5).map(|_| spawn_fetch(&source, room("a"))).collect();
    settle().await;
    let last = callers.pop().unwrap();
    for caller in callers {
        caller.abort();
        settle().await;
        assert!(!last.is_finished());
    }
    gate.add_permits(1);
    assert_eq!(id(&last.await.unwrap().unwrap()), "1");
    assert_eq!(backend.calls(), 1);
}

/// Case 23: the end of it.
#[tokio::test]
async fn when_all_callers_go_away_the_call_is_dropped_and_the_next_fetch_works() {
    struct CountDrop(Arc<AtomicUsize>);
    impl Drop for CountDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (backend, dropped) = (Backend::numbered(), Arc::new(AtomicUsize::new(0)));
    backend.gate();
    let source = TokenSource::custom_with((backend.clone(), Arc::clone(&dropped)), |(backend, dropped), options| {
        let guard = CountDrop(dropped);
        async move {
            let credentials = backend.call(options).await;
            drop(guard);
            credentials
        }
    });
    let callers: Vec<Fetch> = (0..3).map(|_| spawn_fetch(&source, room("a"))).collect();
    settle().await;
    for caller in &callers {
        caller.abort();
    }
    settle().await;
    assert_eq!((backend.calls(), dropped.load(Ordering::SeqCst)), (1, 1));
    backend.open();
    assert!(source.fetch(&room("a")).await.is_ok());
    assert_eq!(backend.calls(), 2);
}

/// Case 23: the first caller stays, but nobody polls it any more, as in a `select!` that went on with another branch.
#[tokio::test]
async fn a_fetch_that_was_begun_and_is_not_polled_holds_nobody_up() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let options = room("a");
    let mut begun = std::pin::pin!(source.fetch(&options));
    tokio::select! {
        biased;
        _ = &mut begun => unreachable!("the backend has not answered"),
        () = std::future::ready(()) => {}
    }
    let other = spawn_fetch(&source, room("a"));
    settle().await;
    gate.add_permits(1);
    assert_eq!(id(&other.await.unwrap().unwrap()), "1");
    assert_eq!(id(&source.fetch(&options).await.unwrap()), "1");
    assert_eq!(id(&begun.await.unwrap()), "1", "and it has its result when it is polled again");
    assert_eq!(backend.calls(), 1);
}

/// Case 35: the same, and the call hangs.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_call_that_nobody_else_polls_has_a_timeout_of_their_own() {
    let backend = Backend::numbered();
    backend.gate();
    let source = backend.source(&clock());
    let options = room("a");
    let mut begun = std::pin::pin!(source.fetch(&options));
    tokio::select! {
        biased;
        _ = &mut begun => unreachable!("the backend has not answered"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(source.fetch(&options).await.unwrap_err().kind(), FetchErrorKind::Timeout);
    assert_eq!(begun.await.unwrap_err().kind(), FetchErrorKind::Timeout);
    assert_eq!(backend.calls(), 1);
}

/// Case 23, across runtimes.
#[test]
fn a_call_goes_on_when_the_runtime_in_which_it_was_begun_is_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let (first, second) = (runtime(), runtime());
    begin_in(&first, &source);
    let waiter = begin_in(&second, &source);
    drop(first);
    gate.add_permits(1);
    assert_eq!(id(&second.block_on(waiter).unwrap().unwrap()), "1");
    assert_eq!(backend.calls(), 1);

    // A provider that is tied to its runtime fails with it, and does no more harm than that.
    let tied = TokenSource::custom(|_| async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Ok(Credentials::new("wss://example", "too late"))
    });
    let third = runtime();
    begin_in(&third, &tied);
    let waiter = begin_in(&second, &tied);
    drop(third);
    assert_eq!(second.block_on(waiter).unwrap().unwrap_err().kind(), FetchErrorKind::Provider);
}

fn begin_in(runtime: &tokio::runtime::Runtime, source: &TokenSource) -> Fetch {
    let _entered = runtime.enter();
    let fetch = spawn_fetch(source, room("a"));
    runtime.block_on(settle());
    fetch
}

/// Case 24.
#[tokio::test]
async fn a_panic_of_the_provider_is_an_error_for_all_and_harms_nothing() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    source.fetch(&room("held")).await.unwrap();
    backend.respond(|_, _| panic!("the provider panics, and the test goes on"));
    let gate = backend.gate();
    let fetches: Vec<Fetch> = (0..3).map(|_| spawn_fetch(&source, room("a"))).collect();
    settle().await;
    gate.add_permits(3);
    for fetch in fetches {
        let error = fetch.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::Provider);
        assert!(!error.is_retryable());
    }
    assert_eq!(backend.calls(), 2);
    backend.open();
    assert!(source.fetch(&room("held")).await.is_ok());
    backend.respond(|_, _| Ok(expiring(3_600)));
    assert!(source.fetch(&room("a")).await.is_ok());
}

/// Case 24: a panic before there is a future, and one of a function without options.
#[tokio::test]
async fn a_panic_at_the_call_itself_is_an_error_too() {
    fn panics(_: FetchOptions) -> std::future::Ready<Result<Credentials, BoxError>> {
        panic!("the function panics, and the test goes on")
    }

    assert!(TokenSource::custom(panics).fetch(&room("a")).await.is_err());
    let literal = TokenSource::literal_with(|| panics(FetchOptions::new()));
    assert!(literal.fetch().await.is_err());
}

/// Case 25.
#[tokio::test]
async fn ten_fresh_fetches_at_once_are_two_calls_and_none_gets_an_older_token() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let fetches: Vec<Fetch> = (0..10).map(|_| spawn_fresh(&source, room("a"))).collect();
    settle().await;
    assert_eq!(backend.calls(), 1);
    let late = spawn_fresh(&source, room("a"));
    settle().await;
    gate.add_permits(2);
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(id(&late.await.unwrap().unwrap()), "2", "not the call that was under way when it came");
    assert_eq!(backend.calls(), 2);
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
}

/// Case 25, the strict half.
#[tokio::test]
async fn a_fresh_fetch_does_not_take_the_result_of_a_call_under_way() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let plain = spawn_fetch(&source, room("a"));
    settle().await;
    let fresh = spawn_fresh(&source, room("a"));
    settle().await;
    assert_eq!(backend.calls(), 2, "and it does not wait for it");
    gate.add_permits(2);
    assert_eq!(id(&plain.await.unwrap().unwrap()), "1");
    assert_eq!(id(&fresh.await.unwrap().unwrap()), "2");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
}

/// Case 26.
#[tokio::test]
async fn what_is_invalidated_during_a_call_is_not_held_and_goes_to_nobody_who_comes_later() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.source(&clock());
    let early = spawn_fetch(&source, room("a"));
    settle().await;
    source.invalidate(&room("a"));
    let late = spawn_fetch(&source, room("a"));
    settle().await;
    assert_eq!(backend.calls(), 2);
    gate.add_permits(1);
    assert_eq!(id(&early.await.unwrap().unwrap()), "1");
    assert_eq!(source.cached(&room("a")), None);
    gate.add_permits(1);
    assert_eq!(id(&late.await.unwrap().unwrap()), "2");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");

    let during = spawn_fresh(&source, room("a"));
    settle().await;
    source.invalidate_all();
    gate.add_permits(1);
    during.await.unwrap().unwrap();
    assert_eq!(source.cached(&room("a")), None);
    gate.add_permits(1);
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 4);
}

/// Case 27.
#[tokio::test]
async fn a_refused_token_is_forgotten_only_while_it_is_the_one_that_is_held() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let refused = source.fetch(&room("a")).await.unwrap();
    let newer = source.fetch_fresh(&room("a")).await.unwrap();
    assert!(!source.invalidate_token(&refused));
    assert_eq!(source.cached(&room("a")), Some(newer.clone()));
    assert!(source.invalidate_token(&newer));
    assert_eq!(source.cached(&room("a")), None);
    assert!(!source.invalidate_token(&newer));
}

/// Case 28.
#[tokio::test]
async fn an_older_call_that_ends_later_does_not_replace_a_newer_token() {
    let backend = Backend::numbered();
    let slow_gate = backend.gate();
    let source = backend.source(&clock());
    let slow = spawn_fetch(&source, room("a"));
    settle().await;
    backend.open();
    assert_eq!(id(&source.fetch_fresh(&room("a")).await.unwrap()), "2");
    slow_gate.add_permits(1);
    assert_eq!(id(&slow.await.unwrap().unwrap()), "1", "who asked before gets what was asked for");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
    assert_eq!(backend.calls(), 2);
}

/// Case 35.
#[tokio::test(start_paused = true)]
async fn a_provider_that_never_answers_is_a_timeout_for_all_and_the_next_fetch_asks_again() {
    let backend = Backend::numbered();
    backend.gate();
    let source = backend.source(&clock());
    let began = tokio_now();
    let waiters: Vec<Fetch> = (0..3).map(|_| spawn_fetch(&source, room("a"))).collect();
    for waiter in waiters {
        let error = waiter.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::Timeout);
        assert!(error.is_retryable() && !error.is_auth());
    }
    assert_eq!(tokio_now() - began, Duration::from_secs(30));
    assert_eq!(backend.calls(), 1);
    backend.open();
    assert!(source.fetch(&room("a")).await.is_ok());

    let hung = TokenSource::literal_with(std::future::pending);
    assert_eq!(hung.fetch().await.unwrap_err().kind(), FetchErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_can_be_set_and_runs_on_when_the_first_caller_goes_away() {
    let backend = Backend::numbered();
    backend.gate();
    let source = backend.builder().load_timeout(Duration::from_secs(5)).build();
    let began = tokio_now();
    let leader = spawn_fetch(&source, room("a"));
    settle().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let waiter = spawn_fetch(&source, room("a"));
    settle().await;
    leader.abort();
    assert_eq!(waiter.await.unwrap().unwrap_err().kind(), FetchErrorKind::Timeout);
    assert_eq!(tokio_now() - began, Duration::from_secs(5));

    let endless = backend.builder().load_timeout(None).build();
    let patient = spawn_fetch(&endless, room("a"));
    settle().await;
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    assert!(!patient.is_finished());
    patient.abort();
}

#[expect(clippy::disallowed_methods, reason = "tokio's paused clock")]
fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Case 50.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_of_ones_own_works_on_many_threads() {
    struct Mint(AtomicUsize);

    impl TokenProvider for Mint {
        async fn fetch(&self, options: &FetchOptions) -> Result<Credentials, BoxError> {
            tokio::task::yield_now().await;
            self.0.fetch_add(1, Ordering::SeqCst);
            let token = jwt(&serde_json::json!({ "exp": NOW + 3_600, "video": { "room": options.room_name() } }));
            Ok(Credentials::new("wss://example", token))
        }
    }

    fn is_usable_anywhere<T: Clone + Send + Sync + 'static>(_: &T) {}

    let mint = Arc::new(Mint(AtomicUsize::new(0)));
    let source = TokenSource::builder(Arc::clone(&mint)).clock(clock()).build();
    is_usable_anywhere(&source);
    is_usable_anywhere(&source.bind(room("a")));
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let fixed = source.bind(room(&(number % 10).to_string()));
        tasks.spawn(async move { (number % 10, fixed.fetch().await.unwrap()) });
    }
    while let Some(done) = tasks.join_next().await {
        let (number, credentials) = done.unwrap();
        assert_eq!(room_of(&credentials), number.to_string());
    }
    assert_eq!(mint.0.load(Ordering::SeqCst), 10, "one call a room");
}

/// Many threads, and everything at once: whatever comes of it, it is of the right room, not older than what was
/// invalidated before, and it comes.
#[test]
fn threads_that_do_everything_at_once_get_what_they_may_get() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).capacity(3).build();
    // By room, the call before which everything has been invalidated.
    let floors: Arc<Vec<AtomicUsize>> = Arc::new((0..5).map(|_| AtomicUsize::new(0)).collect());
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (source, backend, floors) = (source.clone(), backend.clone(), Arc::clone(&floors));
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..2_000 {
                    let number = random.usize(..5);
                    let options = room(&number.to_string());
                    let floor = floors[number].load(Ordering::SeqCst);
                    let before = backend.calls();
                    let fetched = match random.u8(..10) {
                        0 => {
                            source.invalidate(&options);
                            floors[number].fetch_max(before, Ordering::SeqCst);
                            continue;
                        }
                        1 => {
                            source.invalidate_all();
                            for floor in floors.iter() {
                                floor.fetch_max(before, Ordering::SeqCst);
                            }
                            continue;
                        }
                        2 => {
                            // Begun, polled once, and dropped.
                            let mut fetch = std::pin::pin!(source.fetch(&options));
                            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                            let _ = fetch.as_mut().poll(&mut context);
                            continue;
                        }
                        3 => {
                            let credentials = runtime.block_on(source.fetch_fresh(&options)).unwrap();
                            assert!(id(&credentials).parse::<usize>().unwrap() > before, "a fresh one is newer");
                            credentials
                        }
                        _ => runtime.block_on(source.fetch(&options)).unwrap(),
                    };
                    assert_eq!(room_of(&fetched), number.to_string());
                    assert!(id(&fetched).parse::<usize>().unwrap() > floor, "from before an invalidation");
                }
            });
        }
    });
}

/// Case 50, the other runtime, and none.
#[test]
fn a_source_works_on_a_current_thread_runtime_and_outside_of_any() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(source.fetch(&room("a"))).is_ok());
    drop(runtime);

    let options = room("b");
    let mut fetch = std::pin::pin!(source.fetch(&options));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(fetch.as_mut().poll(&mut context).is_ready());
}

/// Case 55: ten thousand wait for one answer, and ten thousand others don't wait for a hung one. That it takes no time
/// here means that nobody waits for a timer; how long it really takes is a benchmark.
#[tokio::test(start_paused = true)]
async fn ten_thousand_wake_with_the_answer_and_ten_thousand_others_wait_for_no_one() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let source = backend.builder().clock(clock()).capacity(20_000).build();
    let mut herd = JoinSet::new();
    for _ in 0..10_000 {
        let source = source.clone();
        herd.spawn(async move { source.fetch(&room("herd")).await.unwrap() });
    }
    // Each task has run once when one that was spawned after them has.
    tokio::spawn(async {}).await.unwrap();
    assert_eq!(backend.calls(), 1);

    backend.gate();
    let hung = spawn_fetch(&source, room("hung"));
    tokio::spawn(async {}).await.unwrap();
    assert_eq!(backend.calls(), 2);
    backend.open();

    // Time is paused and would only pass if everybody waited: it does not.
    let began = tokio_now();
    gate.add_permits(1);
    while let Some(done) = herd.join_next().await {
        assert_eq!(id(&done.unwrap()), "1");
    }
    for number in 0..10_000 {
        let name = number.to_string();
        assert_eq!(room_of(&source.fetch(&room(&name)).await.unwrap()), name);
    }
    assert!(tokio_now() - began < Duration::from_millis(20));
    assert_eq!(backend.calls(), 10_002);
    assert!(!hung.is_finished());
    hung.abort();
}

#[tokio::test]
async fn a_token_that_comes_between_the_look_and_the_call_is_taken() {
    // The rule about reuse runs between the two: there, somebody else fetches.
    let backend = Backend::numbered();
    let cell = Arc::new(std::sync::OnceLock::<TokenSource>::new());
    let source = backend
        .builder()
        .clock(clock())
        .reuse_when({
            let cell = Arc::clone(&cell);
            move |held| {
                let is_first = id(held.credentials()) == "1";
                if is_first {
                    fetch_now(cell.get().unwrap());
                }
                !is_first
            }
        })
        .build();
    cell.set(source.clone()).unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
    assert_eq!(backend.calls(), 2);
}

/// Fetches a fresh token without waiting: the backend answers at once.
fn fetch_now(source: &TokenSource) {
    let options = room("a");
    let mut fetch = std::pin::pin!(source.fetch_fresh(&options));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(fetch.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn a_provider_may_use_the_source_for_other_options() {
    let cell = Arc::new(std::sync::OnceLock::<TokenSource>::new());
    let inner = Arc::clone(&cell);
    let source = TokenSource::builder(provider_fn(move |options| {
        let source = inner.get().unwrap().clone();
        async move {
            if options.room_name() == Some("outer") {
                let inner = source.fetch(&room("inner")).await?;
                return Ok(Credentials::new("wss://outer", inner.participant_token()));
            }
            Ok(Credentials::new("wss://inner", "from within"))
        }
    }))
    .build();
    cell.set(source.clone()).unwrap();
    assert_eq!(source.fetch(&room("outer")).await.unwrap().participant_token(), "from within");
}
