//! `useSession` of `@livekit/components-react` in Chromium, with the development token server and the demo agent.

use std::time::Duration;

use roomkey::BoxError;

use crate::pair::Outcome;
use crate::peer::{Peer, node};
use crate::server::Server;
use crate::{Arguments, Table, is_named, now};

/// The page gives up before this.
const SESSION: Duration = Duration::from_secs(60);

/// Runs it where the server is ours: no other has a development token server and a demo agent.
pub(crate) async fn run(arguments: &Arguments, table: &mut Table) -> Result<(), BoxError> {
    const NAME: &str = "components-react: useSession, the development token server, the demo agent";
    if let Some(roomkey) = arguments.roomkey.as_ref().filter(|_| is_named(arguments, NAME)) {
        let server = Server::start(roomkey, &["--agent", "echo"]).await?;
        let since = now();
        table.row(NAME, since, &session(&server).await);
    }
    Ok(())
}

async fn session(server: &Server) -> Outcome {
    let mut command = node("browser/session.mjs");
    command.arg(&server.url);
    let page = Peer::spawn("components-react", "page", command).await?;
    let told = page.sees_within("session", |_| true, SESSION).await?;
    match told["outcome"].as_str() {
        Some("ok") => Ok(()),
        outcome => Err(outcome.unwrap_or("no outcome").into()),
    }
}
