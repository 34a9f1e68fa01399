//! A Python `livekit-agents` worker, dispatched by a token and automatically to peers of two SDKs.

use std::time::Duration;

use roomkey::{BoxError, RoomAgentDispatch, RoomConfiguration};
use serde_json::{Value, json};

use crate::pair::Outcome;
use crate::peer::{Peer, Sdk, agents};
use crate::server::Server;
use crate::{Arguments, Table, is_named, now, server};

/// Importing the agents' package and registering takes most of it.
const WORKER: Duration = Duration::from_secs(60);

pub(crate) async fn run(arguments: &Arguments, table: &mut Table) -> Result<(), BoxError> {
    for (sdk, agent) in
        [(Sdk::PythonDual, "helper"), (Sdk::PythonDual, ""), (Sdk::RoomkeySingle, "helper"), (Sdk::RoomkeyDual, "")]
    {
        let how = if agent.is_empty() {
            "a worker without a name is dispatched to a new room"
        } else {
            "a worker with a name is dispatched by a token"
        };
        let chat = if sdk.is_roomkey() { ", and chats" } else { "" };
        let name = format!("{} + livekit-agents: {how}{chat}", sdk.name());
        if is_named(arguments, &name) {
            let server = server(arguments, &[]).await?;
            let since = now();
            table.row(&name, since, &dispatch(&server, sdk, agent).await);
        }
    }
    Ok(())
}

/// A participant joins, the agent comes, and the two talk in text.
async fn dispatch(server: &Server, sdk: Sdk, agent: &str) -> Outcome {
    let mut command = agents("worker.py");
    command.arg("dev").arg("--no-reload");
    command.env("INTEROP_AGENT_NAME", agent);
    command.env("LIVEKIT_URL", &server.url);
    command.env("LIVEKIT_API_KEY", server.key()).env("LIVEKIT_API_SECRET", server.secret());
    let worker = Peer::spawn("livekit-agents", "worker", command).await?;
    worker.sees_within("registered", |_| true, WORKER).await?;

    let config = (!agent.is_empty())
        .then(|| RoomConfiguration::new().with_agent(RoomAgentDispatch::new(agent).with_metadata("for-the-job")));
    let room = format!("agent-{agent}-{}", sdk.name());
    let user = Peer::start(sdk, "user", server.transport).await?;
    let token = server.token(&room, &user.identity, config)?;
    user.does("connect", json!({"url": server.url, "token": token, "mode": sdk.mode()})).await?;
    let joined = user.sees("joined", |it| it["who"].as_str().is_some_and(|who| who.starts_with("agent-"))).await?;
    let job = worker.sees("job", |it| it["room"] == *room).await?;
    if !agent.is_empty() && job["metadata"] != "for-the-job" {
        return Err(format!("the job's metadata: {job}").into());
    }
    user.does("text", json!({"text": "are you there"})).await?;
    user.sees("text", |it| it["who"] == joined["who"] && it["text"] == "you said: are you there").await?;
    if sdk.is_roomkey() {
        chat(&user, &joined["who"]).await?;
    }
    Ok(())
}

/// Something is said on the topic of chats; the agent thinks, and its answer is a transcription.
async fn chat(user: &Peer, agent: &Value) -> Outcome {
    let is_state = |it: &Value, state: &str| it["who"] == *agent && it["changed"]["lk.agent.state"] == state;
    user.sees("attributes", |it| is_state(it, "listening")).await?;
    user.does("text", json!({"topic": "lk.chat", "text": "what now"})).await?;
    user.sees("attributes", |it| is_state(it, "thinking")).await?;
    let is_answer = |it: &Value| it["topic"] == "lk.transcription" && it["text"] == "you said: what now";
    user.sees("text", |it| it["who"] == *agent && is_answer(it)).await?;
    user.sees("attributes", |it| is_state(it, "listening")).await?;
    Ok(())
}
