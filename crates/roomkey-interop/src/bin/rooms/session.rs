//! `useSession` of `@livekit/components-react` in Chromium, with the development token server and the demo agent.

use std::time::Duration;

use roomkey::session::{AgentExpectation, Message, MessageEvent, MessageKind, SendPolicy, Session, StartOptions};
use roomkey::{BoxError, Endpoint, FetchOptions};
use tokio::time::timeout;

use crate::pair::Outcome;
use crate::peer::{Peer, node};
use crate::server::Server;
use crate::{Arguments, Table, is_named, now};

/// The page gives up before this.
const SESSION: Duration = Duration::from_secs(60);

/// Runs them where the server is ours: no other has a development token server and a demo agent.
pub(crate) async fn run(arguments: &Arguments, table: &mut Table) -> Result<(), BoxError> {
    const TALK: &str = "components-react: useSession, the development token server, the demo agent";
    const EDITS: &str = "components-react and our session: a message that each edits";
    for name in [TALK, EDITS] {
        if let Some(roomkey) = arguments.roomkey.as_ref().filter(|_| is_named(arguments, name)) {
            let server = Server::start(roomkey, &["--agent", "echo"]).await?;
            let since = now();
            let outcome = if name == TALK { talk(&server).await } else { edits(&server).await };
            table.row(name, since, &outcome);
        }
    }
    Ok(())
}

async fn talk(server: &Server) -> Outcome {
    let page = page(server, &[]).await?;
    outcome(&page).await
}

async fn page(server: &Server, arguments: &[&str]) -> Result<Peer, BoxError> {
    let mut command = node("browser/session.mjs");
    command.arg(&server.url).args(arguments);
    Peer::spawn("components-react", "page", command).await
}

async fn outcome(page: &Peer) -> Outcome {
    let told = page.sees_within("session", |_| true, SESSION).await?;
    match told["outcome"].as_str() {
        Some("ok") => Ok(()),
        outcome => Err(outcome.unwrap_or("no outcome").into()),
    }
}

async fn edits(server: &Server) -> Outcome {
    const ROOM: &str = "edits";
    let endpoint = format!("{}/api/v2/sandbox/connection-details", server.url.replacen("ws", "http", 1));
    let options = FetchOptions::new().with_room_name(ROOM).with_participant_identity("ours");
    let session = Session::builder(Endpoint::new(endpoint).build()?.bind(options))
        .agent(AgentExpectation::None)
        .send_policy(SendPolicy::Immediate)
        .build();
    session.start(StartOptions::new()).await?;
    let mut events = session.message_events();
    let page = page(server, &[ROOM]).await?;
    let talk = async {
        // The page listens from its start on, and its participant is active after that.
        let mut participants = session.participants();
        let is_page = |participant: &roomkey::Participant| {
            participant.kind == roomkey::ParticipantKind::Standard
                && participant.state == roomkey::ParticipantState::Active
        };
        participants.wait_for(|all| all.remote().any(|participant| is_page(participant))).await?;
        let sent = session.send("helo").await?;
        session.edit(&sent.id, "hello").await?;
        let is_chat = |message: &Message| message.kind == MessageKind::Chat && !message.is_local();
        let mut first = None;
        while let Some(event) = events.next().await {
            match (event, &first) {
                (MessageEvent::Created(message), None) if is_chat(&message) && &*message.text == "hi" => {
                    first = Some(message);
                }
                // The edit may have come before its message was read.
                (MessageEvent::Created(message), None) if is_chat(&message) && message.edited_at.is_some() => {
                    return Ok(());
                }
                (MessageEvent::Changed(edited), Some(first))
                    if edited.id == first.id && &*edited.text == "hi there" =>
                {
                    let is_same = edited.received_at == first.received_at && edited.edited_at.is_some();
                    return if is_same { Ok(()) } else { Err(format!("it is another message: {edited:?}").into()) };
                }
                (MessageEvent::Created(_) | MessageEvent::Changed(_), _)
                | (MessageEvent::Finalized(_) | MessageEvent::Aborted(_), _) => {}
            }
        }
        Err::<(), BoxError>("the session is gone".into())
    };
    let talked = tokio::select! {
        talked = timeout(SESSION, talk) => talked.unwrap_or_else(|_| Err("no edit of theirs".into())),
        early = outcome(&page) => early.and_then(|()| Err("the page has ended".into())),
    };
    session.end().await;
    talked
}
