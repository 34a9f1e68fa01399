//! Tokens that outlive their source, and stores that fail.

#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use roomkey_source::{
    BackOff, BoxError, CredentialStore, GrantCheck, ManualClock, MemoryStore, ProviderError, StoreKey,
    StoredCredentials, TokenSource,
};
use serde_json::json;
use support::{Backend, NOW, clock, expiring, full_options, id, jwt, room, seconds, wall};

/// A store in memory that counts, and fails, panics, hangs or lies as it is told.
#[derive(Default)]
struct ScriptedStore {
    memory: MemoryStore,
    loads: AtomicUsize,
    saves: AtomicUsize,
    is_failing: AtomicBool,
    is_panicking: AtomicBool,
    cannot_remove: AtomicBool,
    hangs: Mutex<bool>,
    goes_on: Condvar,
    keys: Mutex<Vec<StoreKey>>,
}

impl ScriptedStore {
    fn trouble(&self) -> Result<(), BoxError> {
        let mut hangs = self.hangs.lock().unwrap();
        while *hangs {
            hangs = self.goes_on.wait(hangs).unwrap();
        }
        drop(hangs);
        assert!(!self.is_panicking.load(Ordering::SeqCst), "the store panics");
        if self.is_failing.load(Ordering::SeqCst) { Err("the store is broken".into()) } else { Ok(()) }
    }

    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.goes_on.notify_all();
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// Changes what is saved.
    fn tamper(&self, change: impl Fn(&[u8]) -> Vec<u8>) {
        for key in &*self.keys.lock().unwrap() {
            let saved = self.memory.load(key).unwrap().unwrap();
            self.memory.save(key, &StoredCredentials::from_bytes(change(saved.as_bytes()))).unwrap();
        }
    }
}

impl CredentialStore for ScriptedStore {
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.trouble()?;
        self.memory.load(key)
    }

    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
        self.saves.fetch_add(1, Ordering::SeqCst);
        self.trouble()?;
        self.keys.lock().unwrap().push(key.clone());
        self.memory.save(key, credentials)
    }

    fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
        self.trouble()?;
        if self.cannot_remove.load(Ordering::SeqCst) {
            return Err("the store is read-only".into());
        }
        self.memory.remove(key)
    }

    fn clear(&self, namespace: &str) -> Result<(), BoxError> {
        self.trouble()?;
        if self.cannot_remove.load(Ordering::SeqCst) {
            return Err("the store is read-only".into());
        }
        self.memory.clear(namespace)
    }
}

fn source(backend: &Backend, clock: &Arc<ManualClock>, store: &Arc<ScriptedStore>) -> TokenSource {
    backend.builder().clock(Arc::clone(clock)).store(Arc::clone(store), "app").build()
}

/// Waits until the store has done what it was told, on a busy machine too.
async fn flushed(source: &TokenSource) {
    while !source.flush().await {}
}

/// What a source leaves in a store when its process ends.
async fn saved(backend: &Backend, clock: &Arc<ManualClock>) -> Arc<ScriptedStore> {
    let store = Arc::default();
    let source = source(backend, clock, &store);
    source.fetch(&room("a")).await.unwrap();
    flushed(&source).await;
    store
}

#[tokio::test]
async fn what_one_source_has_fetched_the_next_one_has_too() {
    let (backend, clock, store) = (Backend::numbered(), clock(), Arc::default());
    let first = source(&backend, &clock, &store);
    let fetched = first.fetch(&full_options()).await.unwrap();
    flushed(&first).await;
    drop(first);

    clock.advance(seconds(100));
    let second = source(&backend, &clock, &store);
    assert_eq!(second.fetch(&full_options()).await.unwrap(), fetched);
    assert_eq!(second.fetch(&full_options()).await.unwrap(), fetched);
    assert_eq!((backend.calls(), store.loads()), (1, 2));
    second.fetch(&full_options().with_deployment("production")).await.unwrap();
    assert_eq!(backend.calls(), 2, "for other options there is nothing");
}

#[tokio::test]
async fn sources_of_other_namespaces_and_other_partitions_find_nothing() {
    let (backend, clock, store) = (Backend::numbered(), clock(), Arc::new(MemoryStore::new()));
    let make = |namespace: &'static str, who: Option<&'static str>| {
        let builder = backend.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), namespace);
        match who {
            Some(who) => builder.partition(move || who).build(),
            None => builder.build(),
        }
    };
    let mut given = Vec::new();
    for (namespace, who) in [("a", None), ("b", None), ("a", Some("alice")), ("a", Some("bob")), ("a", Some(""))] {
        let source = make(namespace, who);
        given.push(id(&source.fetch(&room("x")).await.unwrap()));
        flushed(&source).await;
    }
    assert_eq!(given, ["1", "2", "3", "4", "5"]);
    assert_eq!(id(&make("a", Some("alice")).fetch(&room("x")).await.unwrap()), "3");
    assert_eq!(id(&make("b", None).fetch(&room("x")).await.unwrap()), "2");

    make("a", Some("bob")).invalidate_all();
    let alice = make("a", Some("alice"));
    let bob = make("a", Some("bob"));
    bob.invalidate_all();
    flushed(&bob).await;
    assert_eq!(id(&alice.fetch(&room("x")).await.unwrap()), "6", "a namespace is cleared whole");
    assert_eq!(id(&make("b", None).fetch(&room("x")).await.unwrap()), "2", "and no other");
}

#[tokio::test]
async fn a_login_that_changes_while_the_store_is_read_gives_nobody_the_others_token() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = Arc::new(ScriptedStore::default());
    let who = Arc::new(Mutex::new("alice"));
    let source = backend
        .builder()
        .clock(Arc::clone(&clock))
        .store(Arc::clone(&store), "app")
        .partition({
            let who = Arc::clone(&who);
            move || *who.lock().unwrap()
        })
        .build();
    store.hang(true);
    let asked = tokio::spawn({
        let source = source.clone();
        async move { source.fetch(&room("a")).await }
    });
    while store.loads() == 0 {
        tokio::task::yield_now().await;
    }
    *who.lock().unwrap() = "bob";
    store.hang(false);
    assert_eq!(asked.await.unwrap().unwrap_err().kind(), roomkey_source::FetchErrorKind::PartitionChanged);
    assert_eq!(backend.calls(), 0, "the provider is not asked for who is gone");
}

#[tokio::test]
async fn a_stored_token_is_reused_until_its_own_expiry_and_not_from_when_it_was_loaded() {
    for (later, calls) in [(0, 1), (539, 1), (540, 2), (700, 2)] {
        let (backend, clock) = (Backend::giving(jwt(&json!({ "exp": NOW + 600, "iat": NOW }))), clock());
        let store = saved(&backend, &clock).await;
        // The machine was restarted: its monotonic clock has begun again.
        let clock = Arc::new(ManualClock::new(wall(NOW + later)));
        source(&backend, &clock, &store).fetch(&room("a")).await.unwrap();
        assert_eq!(backend.calls(), calls, "{later}");
    }
    let (backend, clock) = (Backend::giving(expiring(600)), clock());
    let store = saved(&backend, &clock).await;
    let restored = source(&backend, &clock, &store);
    restored.fetch(&room("a")).await.unwrap();
    clock.advance(seconds(539));
    restored.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(1));
    restored.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_life_is_counted_from_when_the_token_was_received_also_by_a_clock_that_is_behind() {
    // An hour behind the server's: by its `exp` alone, the token would live for 70 minutes.
    let token = jwt(&json!({ "exp": NOW + 4_200, "iat": NOW + 3_600 }));
    let (backend, clock) = (Backend::giving(token), clock());
    let store = saved(&backend, &clock).await;
    clock.advance(seconds(539));
    source(&backend, &clock, &store).fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(2));
    source(&backend, &clock, &store).fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_clock_that_was_set_back_behind_the_saving_makes_a_miss() {
    let (backend, clock) = (Backend::giving(expiring(600)), clock());
    let store = saved(&backend, &clock).await;
    clock.set_wall(wall(NOW - 1));
    source(&backend, &clock, &store).fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_rule_of_the_applications_sees_the_whole_age_of_what_was_stored() {
    let (backend, clock, store) = (Backend::giving("opaque"), clock(), Arc::new(MemoryStore::new()));
    let make = || {
        let builder = backend.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), "app");
        builder.reuse_when(|held| held.age() < seconds(100)).build()
    };
    let first = make();
    first.fetch(&room("a")).await.unwrap();
    flushed(&first).await;
    clock.advance(seconds(60));
    let second = make();
    second.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(40));
    second.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_token_that_says_nothing_of_its_end_and_one_that_is_worth_one_join_are_never_saved() {
    let (clock, store) = (clock(), Arc::new(ScriptedStore::default()));
    let opaque = source(&Backend::giving("opaque"), &clock, &store);
    opaque.fetch(&room("a")).await.unwrap();
    flushed(&opaque).await;

    let backend = Backend::numbered();
    let builder = backend.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), "app");
    let once = builder.single_use().build();
    once.prefetch(&room("a")).await.unwrap();
    once.fetch(&room("a")).await.unwrap();
    once.fetch(&room("a")).await.unwrap();
    once.fetch_fresh(&room("a")).await.unwrap();
    flushed(&once).await;
    assert_eq!(store.saves.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_was_taken_is_nobodys() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    let taker = source(&backend, &clock, &store);
    taker.prefetch(&room("a")).await.unwrap();
    assert_eq!(id(&taker.take(&room("a")).await.unwrap()), "1");
    flushed(&taker).await;
    assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "2");
}

#[tokio::test]
async fn a_store_that_fails_or_panics_fails_no_fetch() {
    for is_panicking in [false, true] {
        let (backend, clock) = (Backend::numbered(), clock());
        let store = saved(&backend, &clock).await;
        if is_panicking {
            store.is_panicking.store(true, Ordering::SeqCst);
        } else {
            store.is_failing.store(true, Ordering::SeqCst);
        }
        let broken = source(&backend, &clock, &store);
        assert_eq!(id(&broken.fetch(&room("a")).await.unwrap()), "2", "what can't be read is fetched");
        assert_eq!(id(&broken.fetch(&room("a")).await.unwrap()), "2", "and held, although it can't be saved");
        broken.invalidate(&room("a"));
        broken.invalidate_all();
        flushed(&broken).await;
        assert_eq!(id(&broken.fetch(&room("a")).await.unwrap()), "3");

        store.is_panicking.store(false, Ordering::SeqCst);
        store.is_failing.store(false, Ordering::SeqCst);
        broken.fetch_fresh(&room("a")).await.unwrap();
        flushed(&broken).await;
        assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "4", "it works again");
    }
}

#[tokio::test]
async fn a_failure_that_a_stored_token_stands_in_for_is_a_failure_all_the_same() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    // In its last minute: it is not reused, and joins still.
    clock.advance(seconds(3_550));
    backend.respond(|_, _| Err(ProviderError::transient("down").into()));
    let builder = backend.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), "app");
    let source = builder.back_off(BackOff::default()).build();
    for _ in 0..3 {
        assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    }
    assert_eq!(backend.calls(), 2, "the backend that is down is asked once, and then left alone");
    assert_eq!((source.stats().failures, source.stats().spared), (1, 2));
    source.invalidate(&room("a"));
    source.fetch(&room("a")).await.unwrap_err();
}

#[tokio::test]
async fn a_token_that_a_bound_source_was_refused_with_is_not_taken_from_the_store() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    let bound = source(&backend, &clock, &store).bind(room("a"));
    let refused = bound.fetch().await.unwrap();
    source(&backend, &clock, &store).invalidate_all();
    let given = bound.fetch_after_rejection(&refused).await.unwrap();
    assert_eq!((id(&refused), id(&given)), ("1".to_owned(), "2".to_owned()));
    let next = source(&backend, &clock, &store);
    flushed(&next).await;
    assert_ne!(id(&next.fetch(&room("a")).await.unwrap()), "1");
}

#[tokio::test]
async fn a_store_that_cannot_forget_is_not_read_again() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    store.cannot_remove.store(true, Ordering::SeqCst);
    let source = source(&backend, &clock, &store);
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    source.invalidate(&room("a"));
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
    // What is saved meanwhile goes too: nobody can tell it from what should have gone.
    flushed(&source).await;
    store.cannot_remove.store(false, Ordering::SeqCst);
    flushed(&source).await;
    assert_eq!(id(&self::source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "3", "it was cleared");
}

#[tokio::test]
async fn a_store_that_hangs_is_waited_for_once_and_delays_no_hit() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    store.hang(true);
    let hung = source(&backend, &clock, &store);
    // This takes as long as a source waits for a store; nothing after it takes any time.
    assert_eq!(id(&hung.fetch(&room("a")).await.unwrap()), "2");
    assert_eq!(id(&at_once(hung.fetch(&room("a"))).unwrap()), "2");
    hung.invalidate(&room("a"));
    assert_eq!(id(&at_once(hung.fetch(&room("a"))).unwrap()), "3");
    for number in 0..1_000 {
        at_once(hung.fetch(&room(&number.to_string()))).unwrap();
        hung.invalidate(&room(&number.to_string()));
    }
    store.hang(false);
    // What it was told did not pile up, and since some of that was lost, nothing is left that was invalidated: not either
    // what was still to be saved when its removal found no room.
    flushed(&hung).await;
    for number in (100..200).chain([0, 999]) {
        let given = id(&hung.fetch(&room(&number.to_string())).await.unwrap());
        assert!(given.parse::<u32>().unwrap() > 1_003, "room {number} was given {given}");
    }
    hung.invalidate(&room("a"));
    flushed(&hung).await;
    assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "1106");
}

/// What a future gives that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test(start_paused = true)]
async fn where_time_is_a_tests_a_store_is_no_slower() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "1");
}

#[test]
fn without_a_runtime_a_store_works_and_is_not_waited_for_without_end() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = block_on(saved(&backend, &clock));
    let restored = source(&backend, &clock, &store);
    assert_eq!(id(&block_on(restored.fetch(&room("a"))).unwrap()), "1");
    store.hang(true);
    let hung = source(&backend, &clock, &store);
    assert_eq!(id(&block_on(hung.fetch(&room("a"))).unwrap()), "2");
    store.hang(false);
}

/// Polls a future on this thread, with no runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[tokio::test]
async fn a_corrupt_item_is_a_miss_and_so_is_one_for_something_else() {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 8] = [
        ("cut off", |text| text[..text.len() / 2].to_owned()),
        ("empty", |_| String::new()),
        ("not JSON", |_| "\u{0}\u{1}".to_owned()),
        ("no object", |_| "[]".to_owned()),
        ("another room", |text| text.replace(r#""room_name":"a""#, r#""room_name":"b""#)),
        ("another namespace", |text| text.replace(r#""namespace":"app""#, r#""namespace":"ape""#)),
        ("another partition", |text| text.replace(r#""partition":null"#, r#""partition":"bob""#)),
        ("another version", |text| text.replace(r#""version":1"#, r#""version":2"#)),
    ];
    for (name, change) in changes {
        let (backend, clock) = (Backend::numbered(), clock());
        let store = saved(&backend, &clock).await;
        store.tamper(|bytes| {
            let before = std::str::from_utf8(bytes).unwrap();
            let after = change(before);
            assert_ne!(before, after, "{name}");
            after.into_bytes()
        });
        assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "2", "{name}");
    }
}

#[tokio::test]
async fn any_byte_that_is_changed_or_cut_off_is_survived() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    let key = store.keys.lock().unwrap()[0].clone();
    let whole = store.memory.load(&key).unwrap().unwrap();
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..500 {
        let mut bytes = whole.as_bytes().to_vec();
        let at = random.usize(..bytes.len());
        if random.bool() {
            bytes[at] = random.u8(..)
        } else {
            bytes.truncate(at)
        }
        store.memory.save(&key, &StoredCredentials::from_bytes(bytes)).unwrap();
        source(&backend, &clock, &store).fetch(&room("a")).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_invalidated_is_removed_from_the_store() {
    type Forget = fn(&TokenSource, &roomkey_source::Credentials);
    let ways: [Forget; 3] = [
        |source, _| source.invalidate(&room("a")),
        |source, _| source.invalidate_all(),
        |source, held| assert!(source.invalidate_token(held)),
    ];
    for forget in ways {
        let (backend, clock) = (Backend::numbered(), clock());
        let store = saved(&backend, &clock).await;
        let restored = source(&backend, &clock, &store);
        let held = restored.fetch(&room("a")).await.unwrap();
        assert_eq!(id(&held), "1");
        forget(&restored, &held);
        flushed(&restored).await;
        let next = source(&backend, &clock, &store);
        assert_eq!(id(&next.fetch(&room("a")).await.unwrap()), "2");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_in_the_store_also_where_it_is_held_no_longer() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    let builder = backend.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), "app");
    let forgetful = builder.capacity(0).build();
    let refused = forgetful.fetch(&room("a")).await.unwrap();
    assert_eq!(id(&refused), "1");
    assert_eq!(id(&forgetful.fetch_after_rejection(&room("a"), &refused).await.unwrap()), "2");
    flushed(&forgetful).await;
    let next = source(&backend, &clock, &store);
    let good = next.fetch(&room("a")).await.unwrap();
    assert_eq!(id(&good), "2");
    // Another was refused the old one too, and the better one stays.
    assert_eq!(id(&next.fetch_after_rejection(&room("a"), &refused).await.unwrap()), "2");
    flushed(&next).await;
    assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "2");
}

#[tokio::test]
async fn what_is_fetched_while_it_is_invalidated_is_not_saved() {
    let (backend, clock, store) = (Backend::numbered(), clock(), Arc::new(ScriptedStore::default()));
    let source = source(&backend, &clock, &store);
    let gate = backend.gate();
    let asked = tokio::spawn({
        let source = source.clone();
        async move { source.fetch(&room("a")).await }
    });
    while backend.calls() == 0 {
        tokio::task::yield_now().await;
    }
    source.invalidate(&room("a"));
    gate.add_permits(1);
    asked.await.unwrap().unwrap();
    flushed(&source).await;
    assert_eq!(store.saves.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_herd_without_a_token_asks_the_store_once_and_a_strict_fetch_does_not_ask_it() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    let loads = store.loads();
    let restored = source(&backend, &clock, &store);
    let herd: Vec<_> = (0..1_000)
        .map(|_| {
            let source = restored.clone();
            tokio::spawn(async move { source.fetch(&room("a")).await.unwrap() })
        })
        .collect();
    for one in herd {
        assert_eq!(id(&one.await.unwrap()), "1");
    }
    assert_eq!((store.loads() - loads, backend.calls()), (1, 1));
    assert_eq!(id(&restored.fetch_fresh(&room("a")).await.unwrap()), "2");
    assert_eq!(store.loads() - loads, 1);
}

#[tokio::test]
async fn a_stored_token_in_its_last_minute_stands_in_for_a_provider_that_fails_but_not_for_one_that_refuses() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    clock.advance(seconds(3_570));
    backend.fail();
    let restored = source(&backend, &clock, &store);
    assert_eq!(id(&restored.fetch(&room("a")).await.unwrap()), "1");
    assert_eq!(id(&restored.fetch(&room("a")).await.unwrap()), "1");
    assert_eq!(backend.calls(), 3);
    backend.respond(|_, _| Err(ProviderError::auth("logged out").into()));
    assert!(source(&backend, &clock, &store).fetch(&room("a")).await.unwrap_err().is_auth());
    backend.fail();
    clock.advance(seconds(30));
    assert!(restored.fetch(&room("a")).await.is_err());
    assert!(source(&backend, &clock, &store).fetch(&room("a")).await.is_err(), "expired is expired");
}

#[tokio::test]
async fn a_stored_token_that_the_grant_check_denies_is_a_miss() {
    let (backend, clock) = (Backend::giving(jwt(&json!({ "exp": NOW + 600, "video": { "room": "z" } }))), clock());
    let store = saved(&backend, &clock).await;
    let good = Backend::numbered();
    let builder = good.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), "app");
    let strict = builder.grant_check(GrantCheck::Deny).build();
    assert_eq!(id(&strict.fetch(&room("a")).await.unwrap()), "1");
}

#[tokio::test]
async fn a_renewal_is_saved_and_a_restored_token_is_renewed_ahead() {
    let (backend, clock) = (Backend::numbered(), clock());
    let store = saved(&backend, &clock).await;
    clock.advance(seconds(3_400));
    let builder = backend.builder().clock(Arc::clone(&clock)).store(Arc::clone(&store), "app");
    let ahead = builder.refresh_ahead(seconds(600)).build();
    backend.respond(|call, _| Ok(jwt(&json!({ "exp": NOW + 9_999, "jti": call.to_string() }))));
    assert_eq!(id(&ahead.fetch(&room("a")).await.unwrap()), "1", "restored");
    assert_eq!(id(&ahead.fetch(&room("a")).await.unwrap()), "1", "and given while it is renewed");
    support::settle().await;
    assert_eq!(id(&ahead.fetch(&room("a")).await.unwrap()), "2");
    flushed(&ahead).await;
    assert_eq!(id(&source(&backend, &clock, &store).fetch(&room("a")).await.unwrap()), "2");
}
