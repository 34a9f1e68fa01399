//! A development token server: a token source that asks nobody who they are, while there is no backend yet.
//!
//! `cargo run --example development_token_server` asks the one of a dev server that it starts itself; `--id ID` asks LiveKit
//! Cloud's, under the id that its dashboard shows.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use roomkey::{BoxError, Endpoint, FetchOptions, Room, TokenSource};
use roomkey_dev_server::{Config, DevServer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let server = DevServer::bind(Config::new()).await?;
    let base_url = format!("http://{}", server.address());

    let source = match local::argument("--id") {
        Some(id) => TokenSource::development_token_server(id)?,
        None => Endpoint::development_token_server_at(base_url, "dev").build()?,
    };

    let options = FetchOptions::new().with_room_name("lobby").with_participant_name("Alice").with_agent_name("helper");
    let credentials = source.fetch(&options).await?;
    println!("token            for {}", credentials.server_url());
    let room = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
    println!("joined           {} as {}", room.name(), room.local_participant().identity());
    room.close().await;
    server.shutdown().await;
    Ok(())
}
