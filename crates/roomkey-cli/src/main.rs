//! The `roomkey` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod dev;

/// LiveKit rooms and tokens from the command line.
#[derive(Debug, Parser)]
#[command(name = "roomkey", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a LiveKit room on this machine until Ctrl-C.
    Dev(dev::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Dev(arguments) => dev::main(arguments),
    }
}
