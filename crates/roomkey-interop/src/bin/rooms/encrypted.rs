//! Pairs that are encrypted from end to end: with the same key they have everything of each other, with others nothing.

use roomkey::BoxError;

use crate::pair::{Check, Keys, Outcome, Pair};
use crate::peer::Sdk;
use crate::server::Server;
use crate::{Arguments, Table, is_named, now, row_name, run_pair, server};

/// The pairs, and whether their keys are random bytes.
const PAIRS: [((Sdk, Sdk), bool); 9] = [
    ((Sdk::RoomkeySingle, Sdk::RoomkeyDual), false),
    ((Sdk::RoomkeySingle, Sdk::PythonSingle), false),
    ((Sdk::PythonDual, Sdk::RoomkeyDual), false),
    ((Sdk::RoomkeyDual, Sdk::PythonSingle), true),
    ((Sdk::RoomkeySingle, Sdk::ChromiumSingle), false),
    ((Sdk::ChromiumDual, Sdk::RoomkeyDual), false),
    ((Sdk::RoomkeyDual, Sdk::ChromiumSingle), true),
    ((Sdk::RoomkeySingle, Sdk::NodeSingle), false),
    ((Sdk::ChromiumSingle, Sdk::PythonSingle), false),
];

const CHECKS: [Check; 10] = [
    Check::Connect,
    Check::ReliableData,
    Check::LossyData,
    Check::TextStream,
    Check::ByteStream,
    Check::Rpc,
    Check::Microphone,
    Check::Mute,
    Check::Camera,
    Check::ResumeFirst,
];

/// The quick ones, which take a few seconds together.
const QUICK: ((Sdk, Sdk), &[Check]) = (
    (Sdk::RoomkeySingle, Sdk::PythonSingle),
    &[Check::Connect, Check::ReliableData, Check::TextStream, Check::Rpc, Check::Microphone, Check::Camera],
);

const SAME: &str = "correct horse battery staple";
const OTHER: &str = "another one";

pub(crate) async fn run(arguments: &Arguments, table: &mut Table) -> Result<(), BoxError> {
    for (number, (sdks, raw)) in PAIRS.into_iter().enumerate() {
        let keys = Keys { first: SAME, second: SAME, raw };
        let is_quick = |check: &Check| !raw && sdks == QUICK.0 && QUICK.1.contains(check);
        // `livekit-client` forgets on which channel a packet came when it decrypts it.
        let is_told = |check: &Check| *check != Check::LossyData || !(sdks.0.is_chromium() || sdks.1.is_chromium());
        let is_wanted = |check: &Check| {
            is_told(check)
                && (!arguments.quick || is_quick(check))
                && is_named(arguments, &row_name(sdks, Some(keys), *check))
        };
        let wanted: Vec<_> = CHECKS.into_iter().filter(is_wanted).collect();
        if !wanted.is_empty() {
            let server = server(arguments, &[]).await?;
            run_pair(&server, &format!("encrypted-{number}"), sdks, Some(keys), &wanted, table).await;
        }
        let name = format!("{} + {}: with other keys nothing is heard or read", sdks.0.name(), sdks.1.name());
        if !arguments.quick && !raw && is_named(arguments, &name) {
            let server = server(arguments, &[]).await?;
            let since = now();
            table.row(&name, since, &deaf(&server, &format!("deaf-{number}"), sdks).await);
        }
    }
    Ok(())
}

async fn deaf(server: &Server, room: &str, sdks: (Sdk, Sdk)) -> Outcome {
    let keys = Keys { first: SAME, second: OTHER, raw: false };
    let mut pair = Pair::start(server, room, sdks, Some(keys)).await?;
    pair.run(Check::Connect).await?;
    pair.is_deaf().await
}
