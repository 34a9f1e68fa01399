//! Runs roomkey beside LiveKit's own SDKs and prints a table: `just interop`.
//!
//! The scripts of the other side are in `tests/interop`, with lock files. `ROOMKEY_NODE` and `ROOMKEY_PYTHON` name the
//! interpreters; a row fails where its peer is missing.

#![expect(clippy::print_stdout, reason = "it prints a table")]

mod capture;
mod peer;
mod rows;

use std::process::ExitCode;

use rows::{Row, rows};

#[tokio::main]
async fn main() -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    println!("{:<28} {:<66} result", "peer", "what");
    for Row { peer, what, run } in rows() {
        let result = match run.await {
            Ok(()) => {
                passed += 1;
                "ok".to_owned()
            }
            Err(error) => {
                failed += 1;
                format!("FAILED: {error}")
            }
        };
        println!("{peer:<28} {what:<66} {result}");
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
