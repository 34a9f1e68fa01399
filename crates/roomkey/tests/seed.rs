//! The example that decides the shape of the API, as it stands, in a room of the dev server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use roomkey::{Credentials, FetchOptions, Room, TokenSource};
use roomkey_dev_server::{Config, DevServer};
use tokio::sync::OnceCell;

const LIVEKIT_URL: &str = "ws://127.0.0.1:1";

static TOKEN: OnceCell<(String, String)> = OnceCell::const_new();

async fn my_token_backend(
    _room_name: Option<&str>,
    _participant_name: Option<&str>,
    _agent_name: Option<&str>,
) -> Result<String, std::io::Error> {
    tokio::task::yield_now().await;
    let (_, token) = TOKEN.get().ok_or(std::io::ErrorKind::NotConnected)?;
    Ok(token.clone())
}

#[tokio::test]
async fn the_page_joins_a_room_from_a_custom_token_source() {
    let server = DevServer::bind(Config::new()).await.unwrap();
    TOKEN.set((server.url(), server.mint("alice", "room name to join").unwrap())).unwrap();
    let joined = page(&server.url()).await.unwrap();
    assert_eq!(joined, "room name to join");
    // The page's own URL is nobody's.
    assert!(as_it_stands().await.is_err());
}

async fn page(url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let url = url.to_owned();
    let source = TokenSource::custom(move |options| {
        let url = url.clone();
        async move {
            let token = my_token_backend(options.room_name(), options.participant_name(), options.agent_name()).await?;
            Ok(Credentials::new(url, token))
        }
    });
    let credentials = source.fetch(&FetchOptions::new().with_room_name("room name to join")).await?;
    let room = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
    let name = room.name();
    room.close().await;
    Ok(name)
}

#[rustfmt::skip]
async fn as_it_stands() -> Result<Room, Box<dyn std::error::Error>> {
let source = TokenSource::custom(|options| async move {
    let token = my_token_backend(options.room_name(), options.participant_name(), options.agent_name()).await?;
    Ok(Credentials::new(LIVEKIT_URL, token))
});

// cached, and refreshed when needed
let credentials = source.fetch(&FetchOptions::new().with_room_name("room name to join")).await?;
let room = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
    Ok(room)
}
