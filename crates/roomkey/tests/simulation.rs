//! What a hundred thousand clients do to one backend, by the policies that sources go by.

#[path = "../examples/simulation/model.rs"]
mod model;

use std::time::Duration;

use model::{Calls, Scenario};

const CLIENTS: u32 = 100_000;

/// The seconds over which renewals are spread, a fifth of five minutes, and over which those are whose tokens are refused.
const WINDOW: usize = 60;

/// How much more than the mean over the window may come in one second.
const MOST: f64 = 1.2;

fn mean() -> f64 {
    f64::from(CLIENTS) / WINDOW as f64
}

fn total(calls: &Calls, seconds: std::ops::Range<usize>) -> u64 {
    calls.0[seconds].iter().map(|calls| u64::from(*calls)).sum()
}

#[test]
fn clients_that_start_at_once_do_not_renew_at_once() {
    let calls = Scenario::new(CLIENTS).run();
    assert_eq!(calls.0[0], CLIENTS, "the first token of each can't wait");
    assert_eq!(total(&calls, 1..300), 0);
    assert_eq!(total(&calls, 300..361), u64::from(CLIENTS), "each renews once, within the window");
    let peak = f64::from(calls.peak(1..900));
    assert!(peak <= MOST * mean(), "{peak} calls in a second, {} on average", mean());

    let calls = Scenario::new(CLIENTS).without_jitter().run();
    assert_eq!(calls.peak(1..900), CLIENTS, "without jitter they do");
}

#[test]
fn clients_whose_tokens_are_refused_at_once_do_not_come_back_at_once() {
    let rotation = |scenario: Scenario| Scenario { rotation: Some(Duration::from_secs(200)), ..scenario };
    let calls = rotation(Scenario::new(CLIENTS)).run();
    assert_eq!(total(&calls, 200..260), u64::from(CLIENTS), "each asks once, within the window");
    assert_eq!(total(&calls, 260..500), 0);
    let peak = f64::from(calls.peak(1..900));
    assert!(peak <= MOST * mean(), "{peak} calls in a second, {} on average", mean());

    let calls = rotation(Scenario::new(CLIENTS).without_jitter()).run();
    assert_eq!(calls.0[200], CLIENTS, "without a spread they do");
}

#[test]
fn a_backend_that_was_down_is_not_met_by_all_at_once() {
    let outage = Some((Duration::from_secs(290), Duration::from_secs(420)));
    let calls = Scenario { outage, ..Scenario::new(CLIENTS) }.run();
    let peak = f64::from(calls.peak(420..900));
    assert!(peak <= 3.0 * mean(), "{peak} calls in a second, {} on average", mean());
}

#[test]
fn a_seed_gives_the_same_calls_and_another_seed_others() {
    let scenario = Scenario::new(1_000);
    assert_eq!(scenario.run(), scenario.run());
    assert_ne!(scenario.run(), Scenario { seed: 8, ..scenario }.run());
}
