//! Our client in numbers, beside Python's `livekit` in the same run and against the same server; and its soak.
//!
//! Each measurement is a process of its own, ours or Python's, that gets tokens and says what it saw. `just client` runs
//! it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints a table")]

mod measure;
mod process;
mod server;
mod soak;
#[path = "../../transport.rs"]
mod transport;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use roomkey::BoxError;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, beside Python where `--python` names one with `livekit` in it.
    Measure {
        #[command(flatten)]
        server: server::Arguments,
        /// A Python with `livekit`.
        #[arg(long)]
        python: Option<PathBuf>,
        /// One measurement alone.
        #[arg(long)]
        only: Option<String>,
    },
    /// Sessions that start, talk, break off and end, for a while; and whether anything is left of them.
    Soak {
        #[command(flatten)]
        server: server::Arguments,
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A process of a measurement.
    #[command(hide = true)]
    Worker { mode: String },
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(BoxError::from).and_then(|runtime| runtime.block_on(run(Arguments::parse())));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), BoxError> {
    match arguments.command {
        Command::Measure { server, python, only } => measure::run(&server, python.as_deref(), only.as_deref()).await,
        Command::Soak { server, minutes, seed } => soak::run(&server, minutes, seed).await,
        Command::Worker { mode } => worker::run(&mode).await,
    }
}
