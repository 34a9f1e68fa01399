//! The page's first part: credentials from a custom token source open a room.
//!
//! `cargo run --example room` joins a room of a dev server that it starts itself, says who is there, and leaves; with
//! `--token-endpoint URL` it joins the room that the endpoint gives a token for.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an example looks at some events")]

mod local;

use std::time::Duration;

use local::Local;
use roomkey::{BoxError, DataPacket, Room, RoomEvent};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let source = local.token_source();

    let credentials = source.fetch(&local.options("alice")).await?;
    let room = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
    let mut events = room.events();
    println!("joined           {} as {}", room.name(), room.local_participant().identity());

    // Somebody else, who says something.
    let credentials = source.fetch(&local.options("bob")).await?;
    let bob = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
    bob.local_participant().publish_data(DataPacket::new("hello").topic("greetings")).await?;

    let heard = async {
        while let Some(event) = events.next().await {
            match event {
                RoomEvent::ParticipantConnected(participant) => {
                    println!("somebody came    {} ({:?})", participant.identity, participant.kind);
                }
                RoomEvent::DataReceived { payload, sender, .. } => {
                    println!("data             {:?} from {sender}", String::from_utf8_lossy(&payload));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err("the room is over")
    };
    timeout(Duration::from_secs(10), heard).await??;

    bob.close().await;
    room.close().await;
    println!("left             {:?}", *room.connection_state().borrow());
    local.stop().await;
    Ok(())
}
