//! A room that is encrypted end to end: two who share a passphrase, one who does not have it, and a key that is changed.
//!
//! `cargo run --example encrypted` runs against a dev server that it starts itself; `--token-endpoint URL` against any other.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use std::time::Duration;

use local::Local;
use roomkey::session::{AgentExpectation, Session, SessionError, StartOptions};
use roomkey::{BoxError, DataPacket, EncryptionKey, EncryptionOptions, KeyProvider, RoomEvent, RoomEvents};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let session = |identity, keys: &KeyProvider| {
        let source = local.token_source().bind(local.options(identity));
        let encryption = EncryptionOptions::new(keys.clone());
        Session::builder(source).agent(AgentExpectation::None).encryption(encryption).build()
    };

    // A key is made of a passphrase in some tens of milliseconds, which hold up nobody here.
    let passphrase = EncryptionKey::passphrase("correct horse battery staple");
    let keys = spawn_blocking(move || KeyProvider::with_shared_key(&passphrase)).await?;
    let others = KeyProvider::with_shared_key(&EncryptionKey::passphrase("a guess"));

    let (alice, bob, eve) = (session("alice", &keys), session("bob", &keys), session("eve", &others));
    for session in [&alice, &bob, &eve] {
        session.start(StartOptions::new()).await?;
    }
    let mut events = bob.room().ok_or("a session that is started has a room")?.events();
    let is_ready = |all: &std::sync::Arc<roomkey::room::Participants>| {
        let is_active =
            |who: &str| all.get(&who.into()).is_some_and(|who| who.state == roomkey::room::ParticipantState::Active);
        is_active("bob") && is_active("eve")
    };
    timeout(PATIENCE, alice.participants().wait_for(is_ready)).await??;
    let me = alice.room().ok_or("a session that is started has a room")?.local_participant();

    me.publish_data(DataPacket::new("for those who know")).await?;
    println!("bob got          {}", text(&mut events).await?);
    let mut error = eve.error();
    let error = timeout(PATIENCE, error.wait_for(Option::is_some)).await??.clone();
    if let Some(SessionError::Encryption(error)) = error.as_deref() {
        println!("eve got nothing  {error}");
    }

    // Another key, under another number: those who have it follow by themselves.
    keys.set_shared_key(1, &EncryptionKey::passphrase("another one"))?;
    keys.set_key_index(1)?;
    me.publish_data(DataPacket::new("under another key")).await?;
    println!("bob got          {}", text(&mut events).await?);

    alice.set_encryption_enabled(false)?;
    for session in [alice, bob, eve] {
        session.end().await;
    }
    local.stop().await;
    Ok(())
}

async fn text(events: &mut RoomEvents) -> Result<String, BoxError> {
    let found = async {
        while let Some(event) = events.next().await {
            if let RoomEvent::DataReceived { payload, is_encrypted: true, .. } = event {
                return Ok(String::from_utf8_lossy(&payload).into_owned());
            }
        }
        Err("the room is over".into())
    };
    timeout(PATIENCE, found).await?
}
