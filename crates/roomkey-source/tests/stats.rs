//! What a source counts.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::sync::Arc;

use roomkey_source::BackOff;
use support::*;

#[tokio::test]
async fn what_a_source_has_done_is_counted() {
    let (backend, clock) = (Backend::numbered(), clock());
    let source = backend.builder().clock(Arc::clone(&clock)).back_off(BackOff::default().without_jitter()).build();
    let gate = backend.gate();
    let herd: Vec<_> = (0..10)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.fetch(&room("a")).await.unwrap() })
        })
        .collect();
    settle().await;
    gate.add_permits(1);
    for fetch in herd {
        fetch.await.unwrap();
    }
    backend.open();
    for _ in 0..5 {
        source.fetch(&room("a")).await.unwrap();
    }
    source.fetch_fresh(&room("a")).await.unwrap();
    backend.fail();
    for _ in 0..3 {
        source.fetch(&room("b")).await.unwrap_err();
    }
    let stats = source.clone().stats();
    assert_eq!((stats.hits, stats.misses, stats.shared, stats.flights), (5, 12, 9, 3));
    assert_eq!((stats.failures, stats.refreshes, stats.spared, stats.entries), (1, 1, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hits_on_many_threads_are_all_counted() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    source.fetch(&room("a")).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move {
                for _ in 0..1_000 {
                    source.fetch(&room("a")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((source.stats().hits, source.stats().misses), (8_000, 1));
}

/// Keeps what it is handed.
#[cfg(feature = "metrics")]
#[test]
fn the_numbers_are_recorded_under_the_names_of_the_docs() {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Kept {
        fn cell(&self, key: &Key) -> Arc<AtomicU64> {
            assert_eq!(key.labels().map(|label| (label.key(), label.value())).collect::<Vec<_>>(), [("source", "app")]);
            Arc::clone(self.0.lock().unwrap().entry(key.name().to_owned()).or_default())
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            unreachable!("there is none")
        }
    }

    let (backend, kept) = (Backend::numbered(), Kept::default());
    let source = backend.source(&clock());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..3 {
        runtime.block_on(source.fetch(&room("a"))).unwrap();
    }
    metrics::with_local_recorder(&kept, || source.stats().record("app"));
    let recorded = kept.0.lock().unwrap();
    let value = |name: &str| recorded[name].load(Ordering::Relaxed);
    for (name, number) in
        [("hits", 2), ("misses", 1), ("shared", 0), ("flights", 1), ("failures", 0), ("refreshes", 0), ("spared", 0)]
    {
        assert_eq!(value(&format!("roomkey_source_{name}_total")), number, "{name}");
    }
    assert!((f64::from_bits(value("roomkey_source_entries")) - 1.0).abs() < f64::EPSILON);
    assert_eq!(recorded.len(), 8);
}
