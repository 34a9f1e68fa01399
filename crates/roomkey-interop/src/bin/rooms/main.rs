//! Runs LiveKit's own SDKs and roomkey's client in rooms of one server, with each other, and prints a table.
//!
//! The server is one that runs (`--url`, `--key`, `--secret`) or `roomkey dev`, which is started and stopped
//! (`--roomkey PATH`). `--only` keeps the rows that contain a text, `--quick` eighteen quick ones.
//! `ROOMKEY_VERBOSE` lets the scripts' own logs through.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints a table")]

mod agent;
mod encrypted;
mod pair;
mod path;
mod peer;
mod server;
mod session;
#[path = "../../transport.rs"]
mod transport;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use pair::{Check, Keys, Outcome, Pair};
use peer::Sdk;
use roomkey::BoxError;
use server::Server;
use transport::Transport;

#[derive(Debug, Parser)]
struct Arguments {
    /// A server that runs.
    #[arg(long, conflicts_with = "roomkey", required_unless_present = "roomkey")]
    url: Option<String>,
    #[arg(long, default_value = "devkey")]
    key: String,
    #[arg(long, default_value = "secret")]
    secret: String,
    /// The `roomkey` binary; its `dev` is started for each group of rows.
    #[arg(long)]
    roomkey: Option<PathBuf>,
    /// Which paths our client's media may take; the others' take any.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Rows whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Eighteen quick rows.
    #[arg(long)]
    quick: bool,
}

/// Pairs that exchange everything.
const PAIRS: [(Sdk, Sdk); 22] = [
    (Sdk::RoomkeySingle, Sdk::RoomkeyDual),
    (Sdk::RoomkeyDual, Sdk::RoomkeySingle),
    (Sdk::RoomkeySingle, Sdk::PythonSingle),
    (Sdk::PythonSingle, Sdk::RoomkeySingle),
    (Sdk::RoomkeyDual, Sdk::PythonDual),
    (Sdk::PythonDual, Sdk::RoomkeyDual),
    (Sdk::RoomkeySingle, Sdk::NodeDual),
    (Sdk::NodeSingle, Sdk::RoomkeyDual),
    (Sdk::RoomkeySingle, Sdk::ChromiumSingle),
    (Sdk::ChromiumSingle, Sdk::RoomkeySingle),
    (Sdk::RoomkeyDual, Sdk::ChromiumDual),
    (Sdk::ChromiumDual, Sdk::RoomkeyDual),
    (Sdk::RoomkeySingle, Sdk::Go),
    (Sdk::Go, Sdk::RoomkeyDual),
    (Sdk::PythonSingle, Sdk::PythonDual),
    (Sdk::PythonDual, Sdk::Go),
    (Sdk::Go, Sdk::PythonSingle),
    (Sdk::NodeSingle, Sdk::PythonDual),
    (Sdk::NodeDual, Sdk::PythonSingle),
    (Sdk::ChromiumSingle, Sdk::PythonSingle),
    (Sdk::ChromiumDual, Sdk::PythonDual),
    (Sdk::ChromiumSingle, Sdk::ChromiumDual),
];

/// The rows of `--quick` that are not encrypted, which need nothing installed but a wheel: LiveKit's own SDK in both modes, and ours with it.
const QUICK: [((Sdk, Sdk), &[Check]); 2] = [
    (
        (Sdk::PythonSingle, Sdk::PythonDual),
        &[Check::Connect, Check::ReliableData, Check::Rpc, Check::Microphone, Check::ResumeFirst],
    ),
    (
        (Sdk::RoomkeySingle, Sdk::PythonSingle),
        &[
            Check::Connect,
            Check::ReliableData,
            Check::TextStream,
            Check::Rpc,
            Check::Microphone,
            Check::Mute,
            Check::ResumeFirst,
        ],
    ),
];

/// What has been counted and printed.
#[derive(Default)]
struct Table {
    passed: u32,
    failed: u32,
}

impl Table {
    fn row(&mut self, name: &str, since: Instant, outcome: &Outcome) {
        let result = match outcome {
            Ok(()) => {
                self.passed += 1;
                "ok".to_owned()
            }
            Err(error) => {
                self.failed += 1;
                format!("FAILED: {error}")
            }
        };
        println!("{name:<92} {:>6.1} s  {result}", since.elapsed().as_secs_f64());
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut table = Table::default();
    if let Err(error) = run(&arguments, &mut table).await {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    println!("\n{} passed, {} failed", table.passed, table.failed);
    if table.failed == 0 && table.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(arguments: &Arguments, table: &mut Table) -> Result<(), BoxError> {
    println!("{:<92} {:>8}  result", "row", "time");
    for (number, sdks) in PAIRS.into_iter().enumerate() {
        let wanted: Vec<_> = Check::ALL.into_iter().filter(|check| wants(arguments, sdks, *check)).collect();
        if wanted.is_empty() {
            continue;
        }
        let server = server(arguments, &[]).await?;
        run_pair(&server, &format!("pair-{number}"), sdks, None, &wanted, table).await;
    }
    encrypted::run(arguments, table).await?;
    if !arguments.quick {
        agent::run(arguments, table).await?;
        session::run(arguments, table).await?;
    }
    Ok(())
}

async fn server(arguments: &Arguments, extra: &[&str]) -> Result<Server, BoxError> {
    let server = match (&arguments.roomkey, &arguments.url) {
        (Some(roomkey), _) => Server::start(roomkey, extra).await?,
        (None, Some(url)) => Server::running(url.clone(), arguments.key.clone(), arguments.secret.clone()),
        (None, None) => return Err("--url or --roomkey".into()),
    };
    Ok(server.with_transport(arguments.transport))
}

fn row_name(sdks: (Sdk, Sdk), keys: Option<Keys>, check: Check) -> String {
    let encrypted = match keys {
        None => "",
        Some(Keys { raw: false, .. }) => ", encrypted",
        Some(Keys { raw: true, .. }) => ", encrypted with a raw key",
    };
    format!("{} + {}{encrypted}: {}", sdks.0.name(), sdks.1.name(), check.name())
}

fn is_named(arguments: &Arguments, name: &str) -> bool {
    arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
}

fn wants(arguments: &Arguments, sdks: (Sdk, Sdk), check: Check) -> bool {
    let is_quick = QUICK.iter().any(|(pair, checks)| *pair == sdks && checks.contains(&check));
    (!arguments.quick || is_quick) && Pair::can(sdks, check) && is_named(arguments, &row_name(sdks, None, check))
}

/// Connects the pair, wanted or not, and runs what is wanted; microphone and camera before what needs them.
async fn run_pair(
    server: &Server,
    room: &str,
    sdks: (Sdk, Sdk),
    keys: Option<Keys>,
    wanted: &[Check],
    table: &mut Table,
) {
    let row_name = |sdks, check| row_name(sdks, keys, check);
    let mut since = now();
    let connected = async {
        let mut pair = Pair::start(server, room, sdks, keys).await?;
        since = now();
        pair.run(Check::Connect).await?;
        Ok::<_, BoxError>(pair)
    }
    .await;
    let mut pair = match connected {
        Ok(pair) => {
            if wanted.contains(&Check::Connect) {
                table.row(&row_name(sdks, Check::Connect), since, &Ok(()));
            }
            pair
        }
        Err(error) => {
            table.row(&row_name(sdks, Check::Connect), since, &Err(error));
            for check in wanted.iter().filter(|check| **check != Check::Connect) {
                table.row(&row_name(sdks, *check), now(), &Err("not connected".into()));
            }
            return;
        }
    };
    for check in Check::ALL {
        let needed = check == Check::Microphone && wanted.contains(&Check::Mute)
            || check == Check::Camera && wanted.contains(&Check::Layers);
        if check != Check::Connect && (needed || wanted.contains(&check)) {
            let since = now();
            let outcome = pair.run(check).await;
            if wanted.contains(&check) {
                table.row(&row_name(sdks, check), since, &outcome);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it times real peers")]
fn now() -> Instant {
    Instant::now()
}
