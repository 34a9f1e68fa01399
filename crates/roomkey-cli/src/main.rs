//! The `roomkey` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod clock;
mod dev;
mod join;
mod stop;

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
    /// Join a room with an agent: its state, what is said, who is there.
    Join(join::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Dev(arguments) => dev::main(arguments),
        Command::Join(arguments) => join::main(arguments),
    }
}
