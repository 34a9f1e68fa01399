//! The events of `tracing` that docs/token-sources.md promises, and that none of them shows a token.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use roomkey_source::http::{Request, Response};
use roomkey_source::{
    BackOff, BoxError, CredentialStore, Endpoint, GrantCheck, HttpClient, HttpError, MemoryStore, ProviderError,
    RefreshAhead, StoreKey, StoredCredentials, TokenSource,
};
use serde_json::json;
use support::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps all events and spans of the crate, as level, message or name, and names of fields, and every text in them.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<(BTreeSet<String>, String)>>);

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("roomkey_source")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = Seen::default();
        span.record(&mut seen);
        let mut kept = self.0.lock().unwrap();
        kept.0.insert(format!("SPAN {}{}", span.metadata().name(), seen.fields));
        kept.1.push_str(&seen.text);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen::default();
        event.record(&mut seen);
        let mut kept = self.0.lock().unwrap();
        kept.0.insert(format!("{} {}{}", event.metadata().level(), seen.message, seen.fields));
        kept.1.push_str(&seen.text);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Seen {
    message: String,
    fields: String,
    text: String,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.push_str(&format!(" [{}]", field.name()));
        }
        self.text.push_str(&format!("{value:?}\n"));
    }
}

#[test]
fn the_events_are_those_of_the_docs_and_show_no_token() {
    let events = Events::default();
    // For all threads: stores are called on one of their own.
    tracing::subscriber::set_global_default(events.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(everything());

    let kept = events.0.lock().unwrap();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/token-sources.md");
    let documented = std::fs::read_to_string(docs).unwrap();
    let table = documented.split("## What it says in `tracing`").nth(1).unwrap();
    let promised: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
            let (message, level, fields) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
            let fields = fields.split(", ").map(|field| field.trim_matches('`')).filter(|field| !field.is_empty());
            format!(
                "{} {message}{}",
                level.to_uppercase(),
                fields.map(|field| format!(" [{field}]")).collect::<String>()
            )
        })
        .collect();
    assert_eq!(kept.0, promised);
    assert!(!kept.1.contains("e30") && !kept.1.contains("hush"), "{}", kept.1);
}

/// Makes a source say all that it can say.
async fn everything() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = backend
        .builder()
        .clock(clock)
        .refresh_ahead(RefreshAhead::new(seconds(300)).with_jitter(0.0))
        .back_off(BackOff::default())
        .build();
    let token = source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    backend.respond(|_, _| Ok(jwt(&json!({ "exp": 1 }))));
    tokio::time::advance(seconds(301)).await;
    source.fetch(&room("a")).await.unwrap();
    settle().await;
    backend.respond(|_, _| Err(ProviderError::transient("hush e30.e30.").into()));
    tokio::time::advance(seconds(60)).await;
    source.fetch(&room("a")).await.unwrap();
    settle().await;
    tokio::time::advance(seconds(200)).await;
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert!(source.invalidate_token(&token));
    source.invalidate(&room("a"));
    source.invalidate_all();

    let once = Backend::numbered().builder().clock(clock).single_use().build();
    once.prefetch(&room("a")).await.unwrap();
    once.take(&room("a")).await.unwrap();

    let other = Backend::giving(jwt(&json!({ "exp": NOW + 9_000, "video": { "room": "b" } })));
    let warned = other.builder().clock(clock).grant_check(GrantCheck::Warn).build();
    warned.fetch(&room("a")).await.unwrap();

    let refused: TokenSource = Endpoint::new("http://example.com/?key=hush")
        .with_client(Down)
        .with_header("authorization", "hush")
        .build()
        .unwrap();
    refused.fetch(&room("a")).await.unwrap_err();

    let backend_of_stores = Backend::numbered();
    let store = Arc::new(Troubled::default());
    let stored = || backend_of_stores.builder().clock(clock).store(Arc::clone(&store), "app").build();
    let first = stored();
    first.fetch(&room("a")).await.unwrap();
    first.flush().await;
    stored().fetch(&room("a")).await.unwrap();
    *store.0.lock().unwrap() = Trouble::Lies;
    stored().fetch(&room("a")).await.unwrap();
    *store.0.lock().unwrap() = Trouble::Fails;
    stored().fetch(&room("a")).await.unwrap();
    *store.0.lock().unwrap() = Trouble::Hangs;
    let hung = stored();
    hung.fetch(&room("a")).await.unwrap();
    // More than a source keeps for a store that does nothing.
    for number in 0..300 {
        hung.fetch(&room(&number.to_string())).await.unwrap();
    }
    *store.0.lock().unwrap() = Trouble::None;
    while !hung.flush().await {}
}

#[derive(Clone, Copy, Default)]
enum Trouble {
    #[default]
    None,
    Lies,
    Fails,
    Hangs,
}

/// A store that is in trouble as it is told.
#[derive(Default)]
struct Troubled(Mutex<Trouble>, MemoryStore);

impl Troubled {
    fn trouble(&self) -> Result<Trouble, BoxError> {
        loop {
            let trouble = *self.0.lock().unwrap();
            match trouble {
                Trouble::Hangs => std::thread::yield_now(),
                Trouble::Fails => return Err("hush e30.e30.".into()),
                Trouble::None | Trouble::Lies => return Ok(trouble),
            }
        }
    }
}

impl CredentialStore for Troubled {
    fn load(&self, key: &StoreKey) -> Result<Option<StoredCredentials>, BoxError> {
        match self.trouble()? {
            Trouble::Lies => Ok(Some(StoredCredentials::from_bytes(b"hush".to_vec()))),
            Trouble::None | Trouble::Fails | Trouble::Hangs => self.1.load(key),
        }
    }

    fn save(&self, key: &StoreKey, credentials: &StoredCredentials) -> Result<(), BoxError> {
        self.trouble()?;
        self.1.save(key, credentials)
    }

    fn remove(&self, key: &StoreKey) -> Result<(), BoxError> {
        self.trouble()?;
        self.1.remove(key)
    }

    fn clear(&self, namespace: &str) -> Result<(), BoxError> {
        self.trouble()?;
        self.1.clear(namespace)
    }
}

struct Down;

impl HttpClient for Down {
    async fn send(&self, _: Request<Vec<u8>>, _: usize) -> Result<Response<Vec<u8>>, HttpError> {
        tokio::task::yield_now().await;
        Err(HttpError::Transport("hush".into()))
    }
}
