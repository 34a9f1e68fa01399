//! What two people in a room exchange beside sound and pictures: calls, bytes, packets, attributes; and a muted microphone.
//!
//! `cargo run --example exchange` runs against a dev server that it starts itself; `--token-endpoint URL` against any other,
//! whose tokens have to allow changes of one's own metadata.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an example looks at some events")]

mod local;

use std::time::Duration;

use local::Local;
use roomkey::session::{AgentExpectation, Microphone, Session, StartOptions};
use roomkey::{
    AudioSource, AudioSourceOptions, BoxError, ByteStreamOptions, ConnectionState, DataPacket, RoomEvent, RoomEvents,
    RpcError, RpcRequest, TrackSource,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let session = |identity| {
        let source = local.token_source().bind(local.options(identity));
        Session::builder(source).agent(AgentExpectation::None).build()
    };
    let (alice, bob) = (session("alice"), session("bob"));
    let _greet = bob.rpc().on("greet", |call| async move {
        if call.payload.is_empty() {
            return Err(RpcError::new(RpcError::APPLICATION_ERROR, "whom?"));
        }
        Ok(format!("hello {}", call.payload))
    });
    let _double = bob.rpc().only("alice").on_json("double", |number: u32, _caller| async move { Ok(number * 2) });

    let microphone = AudioSource::new(AudioSourceOptions::new());
    alice.start(StartOptions::new().microphone(Microphone::new(&microphone).pre_connect(true))).await?;
    bob.start(StartOptions::new()).await?;
    let room = alice.room().ok_or("a session that is started has a room")?;
    let mut events = bob.room().ok_or("a session that is started has a room")?.events();
    let is_ready = |all: &std::sync::Arc<roomkey::room::Participants>| {
        all.get(&"bob".into()).is_some_and(|bob| bob.state == roomkey::room::ParticipantState::Active)
    };
    timeout(PATIENCE, alice.participants().wait_for(is_ready)).await??;

    // Calls.
    let request = RpcRequest::new("bob", "greet", "alice").with_response_timeout(Duration::from_secs(5));
    let answer = alice.call(request).await?;
    println!("answered         {answer}");
    println!("answered         {}", alice.call(RpcRequest::new("bob", "double", "21")).await?);
    if let Err(error) = alice.call(RpcRequest::new("bob", "greet", "")).await {
        println!("not answered     {error}");
    }

    // Bytes.
    let me = room.local_participant();
    let picture = [7; 40_000];
    me.send_bytes(&picture, ByteStreamOptions::new("pictures").with_name("seven.bin")).await?;
    let mut stream = me.stream_bytes(ByteStreamOptions::new("pictures").with_destination("bob")).await?;
    for piece in picture.chunks(10_000) {
        stream.write(piece).await?;
    }
    stream.close().await?;

    // Packets.
    me.publish_data(DataPacket::new("now").topic("beats").reliable(false)).await?;
    me.publish_data(DataPacket::new("hello").topic("greetings").to("bob")).await?;

    // Attributes and metadata.
    me.set_attributes([("mood".to_owned(), "good".to_owned())].into()).await?;
    me.set_metadata(r#"{"seat": 7}"#).await?;
    println!("attribute        mood: {:?}", me.info().attribute("mood"));

    timeout(PATIENCE, until_all_came(&mut events)).await??;

    // A microphone that is muted for a while.
    let switch = alice.microphone();
    let mut participants = bob.participants();
    for is_muted in [true, false] {
        if is_muted {
            switch.mute();
        } else {
            switch.unmute();
        }
        let is_told = |all: &std::sync::Arc<roomkey::room::Participants>| {
            let alice = all.get(&"alice".into());
            let microphone = alice.and_then(|alice| alice.publication_of(TrackSource::Microphone));
            microphone.is_some_and(|microphone| microphone.is_muted == is_muted)
        };
        timeout(PATIENCE, participants.wait_for(is_told)).await??;
        println!("microphone       muted: {}", switch.is_muted());
    }

    alice.end().await;
    bob.end().await;
    local.stop().await;
    Ok(())
}

/// Shows what comes, until all of it is there.
async fn until_all_came(events: &mut RoomEvents) -> Result<(), BoxError> {
    let (mut files, mut packet, mut attributes, mut metadata) = (0, false, false, false);
    while files < 2 || !packet || !attributes || !metadata {
        match events.next().await.ok_or("the room is over")? {
            RoomEvent::ByteStreamOpened { reader, topic, sender, .. } => {
                let Some(mut reader) = reader.take() else { continue };
                let mut length = 0;
                while let Some(piece) = reader.next().await {
                    length += piece?.len();
                }
                println!("bytes            {length} of {topic:?} from {sender}: {:?}", reader.info().name);
                files += 1;
            }
            RoomEvent::DataReceived { payload, topic, is_reliable, sender, .. } => {
                let text = String::from_utf8_lossy(&payload);
                println!("packet           {text:?} of {topic:?} from {sender}, reliable: {is_reliable}");
                packet |= is_reliable;
            }
            RoomEvent::ParticipantAttributesChanged { participant, changed, .. } => {
                println!("attributes       of {}: {changed:?}", participant.identity);
                attributes |= changed.contains_key("mood");
            }
            RoomEvent::ParticipantMetadataChanged { participant, .. } => {
                println!("metadata         of {}: {}", participant.identity, participant.metadata);
                metadata = true;
            }
            RoomEvent::ConnectionStateChanged(ConnectionState::Disconnected(reason)) => {
                return Err(reason.to_string().into());
            }
            _ => {}
        }
    }
    Ok(())
}
