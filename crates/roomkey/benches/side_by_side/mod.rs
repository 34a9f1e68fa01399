//! Two things measured in one run, and their ratio.

#![allow(dead_code, reason = "each bench uses its part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;

/// One comparison: the ids of the two benchmarks of a group, and the ratio that we want at most.
pub(crate) struct Pair {
    pub(crate) group: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) goal: Option<f64>,
}

/// Runs benchmarks, then prints the ratio of the medians of each pair.
pub(crate) fn compare(pairs: &[Pair], run: impl FnOnce(&mut Criterion)) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&directory)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    run(&mut criterion);

    println!("\n{:<46} {:>10} {:>10} {:>7}  goal", "", "ours", "peer", "ratio");
    for pair in pairs {
        let (Some(ours), Some(peer)) =
            (median(&directory, pair.group, pair.ours), median(&directory, pair.group, pair.peer))
        else {
            continue;
        };
        let name = format!("{}: {} / {}", pair.group, pair.ours, pair.peer);
        let goal = pair.goal.map_or_else(String::new, |goal| format!("at most {goal:.2}"));
        println!("{name:<46} {ours:>7.0} ns {peer:>7.0} ns {:>7.3}  {goal}", ours / peer);
    }
}

/// The median of a benchmark in nanoseconds, as criterion has written it down.
fn median(directory: &Path, group: &str, id: &str) -> Option<f64> {
    let estimates: PathBuf =
        [directory, Path::new(group), Path::new(id), Path::new("new/estimates.json")].iter().collect();
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(estimates).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
