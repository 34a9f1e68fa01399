//! How often a backend is asked when a great many clients start at once, have their tokens refused at once, or come back
//! after it was down; with what keeps clients apart, and without.
//!
//! `cargo run --release --example simulation` prints the figures for up to a million clients and draws the last ones to
//! `target/simulation.svg`, or to the file that is its argument.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod model;
mod plot;

use std::path::PathBuf;
use std::time::Duration;

use model::{Calls, Scenario};
use roomkey::BoxError;

/// The seconds over which renewals and those who were refused are spread.
const WINDOW: u32 = 60;

const ROTATION: Duration = Duration::from_secs(200);
const OUTAGE: (Duration, Duration) = (Duration::from_secs(290), Duration::from_secs(420));

fn main() -> Result<(), BoxError> {
    println!("tokens of 10 minutes, renewed 5 minutes before they expire with a jitter of {WINDOW} s;");
    println!("calls in the busiest second after the first, and that second by the mean over the window\n");
    println!("{:>9}  {:22} {:>12} {:>9} {:>15}", "clients", "what happens", "with jitter", "by mean", "without jitter");
    let mut panels = Vec::new();
    for clients in [1_000, 10_000, 100_000, 1_000_000] {
        panels.clear();
        for (name, scenario) in scenarios(clients) {
            let (with, without) = (scenario.run(), scenario.without_jitter().run());
            let mean = f64::from(clients) / f64::from(WINDOW);
            let (peak, worst) = (busiest(&with), busiest(&without));
            println!("{clients:>9}  {name:22} {peak:>12} {:>9.2} {worst:>15}", f64::from(peak) / mean);
            panels.push(plot::Panel { name, with, without, mean });
        }
    }
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/simulation.svg"), PathBuf::from);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, plot::draw(&panels))?;
    println!("\ndrawn to {}", path.display());
    Ok(())
}

fn scenarios(clients: u32) -> [(&'static str, Scenario); 3] {
    let plain = Scenario::new(clients);
    [
        ("all start at once", plain.clone()),
        ("all tokens are refused", Scenario { rotation: Some(ROTATION), ..plain.clone() }),
        ("the backend is down", Scenario { outage: Some(OUTAGE), ..plain }),
    ]
}

/// Nothing can spread the first second: everybody waits for a first token.
fn busiest(calls: &Calls) -> u32 {
    calls.peak(1..calls.0.len())
}
