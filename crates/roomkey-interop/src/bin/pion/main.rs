//! Runs a connection of `roomkey-rtc` with one of pion over loopback, and prints a table.
//!
//! pion is the program of `tests/interop/pion`, below `target/interop` or where `ROOMKEY_PION_PEER` says. `--only` keeps
//! the rows that contain a text. `ROOMKEY_VERBOSE` lets pion's own log through; its `PION_LOG_TRACE` and the like work.

#![expect(clippy::print_stdout, reason = "it prints a table")]

mod pair;
mod rows;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use rows::Row;

#[derive(Debug, Parser)]
struct Arguments {
    /// Rows whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut passed, mut failed) = (0, 0);
    println!("{:<92} {:>8}  result", "row", "time");
    for row in Row::all() {
        let name = row.name();
        if arguments.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let since = now();
        let result = match row.run().await {
            Ok(()) => {
                passed += 1;
                "ok".to_owned()
            }
            Err(error) => {
                failed += 1;
                format!("FAILED: {error}")
            }
        };
        println!("{name:<92} {:>6.1} s  {result}", since.elapsed().as_secs_f64());
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "it drives a connection over a real socket")]
fn now() -> Instant {
    Instant::now()
}
