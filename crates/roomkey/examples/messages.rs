//! Messages: what is written and what agents say in one list, what becomes of each, files that go with them, and a history
//! that outlives the session.
//!
//! `cargo run --example messages` runs against a dev server that it starts itself, whose agent answers in writing;
//! `--token-endpoint URL` against any other.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use std::sync::Arc;
use std::time::Duration;

use local::Local;
use roomkey::BoxError;
use roomkey::session::{
    AttachmentStatus, EventStream, Message, MessageEvent, MessageKind, OutgoingFile, Ready, Session, StartOptions,
    TranscriptFilter,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let source = local.token_source();

    let alice = Session::of(source.bind(local.options("alice")));
    let bob = Session::of(source.bind(local.options("bob")));
    alice.start(StartOptions::new().wait_for(Ready::Agent)).await?;
    bob.start(StartOptions::new()).await?;
    let mut events = alice.message_events();
    let mut events_of_bob = bob.message_events();

    // It is in the list at once, and sent when the agent can be sent data; this waits for that.
    let sent = alice.send("What do you hear?").await?;
    println!("sent             {}", sent.text);
    let is_answer = |message: &Message| message.kind == MessageKind::AgentTranscript && message.status.is_settled();
    until(&mut events, "alice", is_answer).await?;

    // With a file, for somebody alone.
    let file = OutgoingFile::new("greeting.txt", "text/plain", &b"hello from alice"[..]);
    let to_bob = bob.room().ok_or("bob is in the room")?.local_participant().identity();
    let mut transfers = alice.transfers();
    let progress = tokio::spawn(async move {
        while transfers.changed().await.is_ok() {
            for file in transfers.borrow_and_update().iter() {
                println!("on its way       {} {:?}", file.name, file.fraction());
            }
        }
    });
    alice.send("A file for you.").attach(file).attribute("mood", "helpful").to(to_bob).await?;
    let has_file = |message: &Message| {
        let is_here = |status: &AttachmentStatus| matches!(status, AttachmentStatus::Received(_));
        message.attachments.iter().any(|attachment| is_here(&attachment.status))
    };
    let received = until(&mut events_of_bob, "bob", has_file).await?;
    for attachment in received.attachments.iter() {
        println!("file             {attachment:?}");
    }

    // What was written can be written otherwise, for those who got it.
    let edited = alice.edit(&sent.id, "What do you hear now?").await?;
    println!("edited           {} at {:?}", edited.text, edited.edited_at);

    // Only what was said, and only by the agent.
    let agent = alice.agent().borrow().identity().cloned().ok_or("the agent is in the room")?;
    let transcripts = alice.transcripts(TranscriptFilter::all().participant(agent));
    println!("transcripts      {}", transcripts.borrow().len());

    // The list, in the order in which messages were begun.
    let messages = alice.messages();
    for message in messages.borrow().iter() {
        println!("list             {:?} of {}: {} ({:?})", message.kind, message.from, message.text, message.status);
    }

    // It stays when the session ends, and can be put into another one.
    alice.end().await;
    bob.end().await;
    let history: Vec<Message> = messages.borrow().iter().map(|message| Message::clone(message)).collect();
    let count = history.len();
    let later = Session::of(source.bind(local.options("alice")));
    later.restore_history(history);
    let mut restored = later.messages();
    timeout(PATIENCE, restored.wait_for(|messages| messages.len() == count)).await??;
    println!("restored         {count} messages");
    progress.abort();
    local.stop().await;
    Ok(())
}

/// Prints what becomes of messages until one is as it is waited for.
async fn until(
    events: &mut EventStream<MessageEvent>,
    who: &str,
    is_it: impl Fn(&Message) -> bool,
) -> Result<Arc<Message>, BoxError> {
    let found = async {
        while let Some(event) = events.next().await {
            let message = event.message();
            let what = match &event {
                MessageEvent::Created(_) => "created",
                MessageEvent::Changed(_) => "changed",
                MessageEvent::Finalized(_) => "finalized",
                MessageEvent::Aborted(_) => "aborted",
            };
            println!("{what:16} for {who}: {:?}", message.text);
            if is_it(message) {
                return Ok(Arc::clone(message));
            }
        }
        Err(BoxError::from("the session is gone"))
    };
    timeout(PATIENCE, found).await.map_err(|_| "the message that is waited for did not come")?
}
