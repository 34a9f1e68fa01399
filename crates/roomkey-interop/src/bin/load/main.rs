//! Puts load on a LiveKit server with clients made of `roomkey-signal` and `roomkey-rtc`, and prints what it costs.
//!
//! The server is `roomkey dev`, which is started and stopped (`--roomkey PATH`), one that runs (`--url`, `--pid`), or both
//! one after the other, to compare.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints tables")]

mod audio;
mod client;
mod clock;
mod heard;
mod idle;
mod join;
mod percentiles;
mod process;
mod server;
mod soak;
mod speech;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use roomkey::BoxError;
use server::Server;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everybody hears all publishers of one room.
    Audio {
        #[command(flatten)]
        servers: Servers,
        #[arg(long, default_value_t = 10)]
        publishers: u32,
        #[arg(long, default_value_t = 50)]
        subscribers: u32,
        /// How long to measure.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// How long it takes to join a fresh room.
    Join {
        #[command(flatten)]
        servers: Servers,
        #[arg(long, default_value_t = 50)]
        count: u32,
    },
    /// How soon the server listens, and what it holds when nothing happens.
    Idle {
        #[arg(long)]
        roomkey: PathBuf,
    },
    /// Rooms whose clients come, go and break off, for as long as you like. Fails when a rule is broken or memory grows.
    Soak {
        #[arg(long)]
        roomkey: PathBuf,
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Debug, Args)]
struct Servers {
    /// The `roomkey` binary, whose `dev` is started.
    #[arg(long, required_unless_present = "url")]
    roomkey: Option<PathBuf>,
    /// A server that runs.
    #[arg(long, requires = "pid")]
    url: Option<String>,
    /// The process of that server.
    #[arg(long)]
    pid: Option<u32>,
    #[arg(long, default_value = "devkey")]
    key: String,
    #[arg(long, default_value = "secret")]
    secret: String,
}

impl Servers {
    async fn start(&self) -> Result<Vec<Server>, BoxError> {
        let mut servers = Vec::new();
        if let Some(roomkey) = &self.roomkey {
            servers.push(Server::start(roomkey).await?);
        }
        if let (Some(url), Some(pid)) = (&self.url, self.pid) {
            servers.push(Server::running(url, pid, &self.key, &self.secret)?);
        }
        Ok(servers)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(BoxError::from)
        .and_then(|runtime| runtime.block_on(run(arguments.command)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), BoxError> {
    match command {
        Command::Audio { servers, publishers, subscribers, seconds } => {
            audio::run(&servers.start().await?, publishers, subscribers, seconds).await
        }
        Command::Join { servers, count } => join::run(&servers.start().await?, count).await,
        Command::Idle { roomkey } => idle::run(&roomkey).await,
        Command::Soak { roomkey, minutes, seed } => soak::run(&roomkey, minutes, seed).await,
    }
}
