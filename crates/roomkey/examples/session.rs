//! A session's life: created, not started for want of a token, started, its connection broken and taken up again, ended,
//! started again.
//!
//! `cargo run --example session` runs against a dev server that it starts itself; `--token-endpoint URL` against any other.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use std::time::Duration;

use local::Local;
use roomkey::session::{EventStream, Ready, Session, SessionEvent, SessionState, StartError, StartOptions};
use roomkey::{BoxError, TokenSource};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let source = local.token_source();

    // Nothing is fetched, and nobody joins.
    let session = Session::of(source.bind(local.options("alice")));
    let mut events = session.events();
    println!("created          {:?}", *session.state().borrow());

    // What went wrong is in the start's result, and kept for whoever shows it.
    let logged_out = TokenSource::custom(|_options| async { Err(BoxError::from("nobody is logged in")) });
    session.set_token_source(logged_out.bind(local.options("alice")));
    match session.start(StartOptions::new()).await {
        Err(StartError::Token(error)) => println!("not started      {error}"),
        other => return Err(format!("expected a start without a token to fail, got {other:?}").into()),
    }
    let mut error = session.error();
    if let Some(error) = &*error.borrow() {
        println!("error            {error}");
    }
    session.dismiss_error();
    error.wait_for(Option::is_none).await?;

    // The token can be fetched before the user asks for the session.
    session.set_token_source(source.bind(local.options("alice")));
    session.prepare().await?;
    session.start(StartOptions::new().wait_for(Ready::Agent)).await?;
    let room = session.room().ok_or("a session that is started has a room")?;
    println!("started          room {} as {}", room.name(), room.local_participant().identity());
    until(&mut events, |state| state == SessionState::Connected).await?;

    let again = session.start(StartOptions::new()).await;
    let Err(StartError::AlreadyStarted) = again else {
        return Err(format!("expected a second start to be refused, got {again:?}").into());
    };

    // The connection breaks. The session stays connected, and says what it does.
    room.simulate_signal_loss();
    until(&mut events, SessionState::is_reconnecting).await?;
    println!("broken           connected all the same: {}", session.is_connected());
    until(&mut events, |state| state == SessionState::Connected).await?;

    session.end().await;
    until(&mut events, SessionState::is_disconnected).await?;

    // Once more: with another token, since the first may have been worth one room.
    session.start(StartOptions::new()).await?;
    let metrics = *session.metrics().borrow();
    println!("started again    token after {:?}, room {:?} later", metrics.token, metrics.connect);
    session.end().await;
    println!("ended            {:?}", *session.state().borrow());
    local.stop().await;
    Ok(())
}

/// Prints each state of the session until it is the one waited for.
async fn until(events: &mut EventStream<SessionEvent>, is_it: impl Fn(SessionState) -> bool) -> Result<(), BoxError> {
    let found = async {
        while let Some(event) = events.next().await {
            if let SessionEvent::StateChanged(state) = event {
                println!("state            {state:?}");
                if is_it(state) {
                    return Ok(());
                }
            }
        }
        Err("the session is gone".into())
    };
    timeout(PATIENCE, found).await?
}
