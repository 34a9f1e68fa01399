//! What the agent does: each state as it comes, the last one at any time, what a state means for the user, and an agent that
//! never comes.
//!
//! `cargo run --example agent_state` runs against a dev server that it starts itself; `--token-endpoint URL` against any
//! other.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use std::time::Duration;

use local::Local;
use roomkey::BoxError;
use roomkey::session::{AgentExpectation, AgentSelector, AgentState, Ready, Session, StartError, StartOptions};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let source = local.token_source();

    let session = Session::of(source.bind(local.options("alice")));
    // The last state is there for whoever looks; a stream has each one, however late it is read.
    let agent = session.agent();
    let mut states = session.agent_states();
    show(&agent.borrow().state);

    session.start(StartOptions::new()).await?;
    let ready = session.agent_ready().await?;
    println!("{:16} {:?}", "is ready", ready.identity());

    session.send("How are you?").await?;
    let answer = async {
        let mut has_worked = false;
        while let Some(state) = states.next().await {
            show(&state);
            has_worked |= matches!(state, AgentState::Thinking | AgentState::Speaking);
            if has_worked && state == AgentState::Listening {
                return Ok(());
            }
        }
        Err("the session is gone")
    };
    timeout(PATIENCE, answer).await.map_err(|_| "the agent did nothing about the message")??;
    session.end().await;
    show(&agent.borrow().state);

    // An agent of another name is not taken for this one.
    let nobody = AgentExpectation::Expected(AgentSelector::name("nobody"));
    let session =
        Session::builder(source.bind(local.options("bob"))).agent(nobody).agent_timeout(Duration::from_secs(1)).build();
    match session.start(StartOptions::new().wait_for(Ready::Agent)).await {
        Err(StartError::Agent(failure)) => println!("{:16} {failure}", "no agent"),
        other => return Err(format!("expected that no agent comes, got {other:?}").into()),
    }
    let mut agent = session.agent();
    let failed = timeout(PATIENCE, agent.wait_for(|agent| agent.state.is_finished())).await??.clone();
    show(&failed.state);
    println!("{:16} {}", "room stays", session.is_connected());
    session.end().await;
    local.stop().await;
    Ok(())
}

fn show(state: &AgentState) {
    println!(
        "{:16} at work: {}, hears the user: {}, is waited for: {}, is over: {}",
        format!("{state:?}").split('(').next().unwrap_or_default(),
        state.is_connected(),
        state.can_listen(),
        state.is_pending(),
        state.is_finished(),
    );
}
