//! A Python `livekit-agents` worker, dispatched by a token and automatically.

use std::time::Duration;

use roomkey::{BoxError, RoomAgentDispatch, RoomConfiguration};
use serde_json::json;

use crate::pair::Outcome;
use crate::peer::{Peer, Sdk, agents};
use crate::server::Server;
use crate::{Arguments, Table, is_named, now, server};

/// Importing the agents' package and registering takes most of it.
const WORKER: Duration = Duration::from_secs(60);

pub(crate) async fn run(arguments: &Arguments, table: &mut Table) -> Result<(), BoxError> {
    for (name, agent) in [
        ("livekit-agents: a worker with a name is dispatched by a token", "helper"),
        ("livekit-agents: a worker without a name is dispatched to a new room", ""),
    ] {
        if is_named(arguments, name) {
            let server = server(arguments, &[]).await?;
            let since = now();
            table.row(name, since, &dispatch(&server, agent).await);
        }
    }
    Ok(())
}

/// A participant joins, the agent comes, and the two talk in text.
async fn dispatch(server: &Server, agent: &str) -> Outcome {
    let mut command = agents("worker.py");
    command.arg("dev").arg("--no-reload");
    command.env("INTEROP_AGENT_NAME", agent);
    command.env("LIVEKIT_URL", &server.url);
    command.env("LIVEKIT_API_KEY", server.key()).env("LIVEKIT_API_SECRET", server.secret());
    let worker = Peer::spawn("livekit-agents", "worker", command).await?;
    worker.sees_within("registered", |_| true, WORKER).await?;

    let config = (!agent.is_empty())
        .then(|| RoomConfiguration::new().with_agent(RoomAgentDispatch::new(agent).with_metadata("for-the-job")));
    let room = format!("agent-{agent}");
    let user = Peer::start(Sdk::PythonDual, "user").await?;
    let token = server.token(&room, &user.identity, config)?;
    user.does("connect", json!({"url": server.url, "token": token, "mode": "dual"})).await?;
    let joined = user.sees("joined", |it| it["who"].as_str().is_some_and(|who| who.starts_with("agent-"))).await?;
    let job = worker.sees("job", |it| it["room"] == *room).await?;
    if !agent.is_empty() && job["metadata"] != "for-the-job" {
        return Err(format!("the job's metadata: {job}").into());
    }
    user.does("text", json!({"text": "are you there"})).await?;
    user.sees("text", |it| it["who"] == joined["who"] && it["text"] == "you said: are you there").await?;
    Ok(())
}
