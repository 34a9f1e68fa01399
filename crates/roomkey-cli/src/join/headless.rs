//! `roomkey join` without a screen: for scripts.

use std::fmt;
use std::future::IntoFuture as _;
use std::io::{self, BufRead as _, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use roomkey::FixedTokenSource;
use roomkey::room::{Participants, TokenTimes};
use roomkey::session::{
    AgentState, EventStream, MessageEvent, Session, SessionEvent, SessionState, StartError, StartOptions,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::clock;
use crate::join::failure::Failure;
use crate::join::script::{Script, Step};
use crate::join::speaker::Speaker;
use crate::join::{json, plain, words};
use crate::stop;

/// What is said, and how what happens is told.
#[derive(Debug)]
pub(crate) struct Headless {
    /// What is said. Without it, lines of standard input are.
    pub(crate) texts: Vec<String>,
    /// Whether everything is told, an object a line; else only answers are.
    pub(crate) json: bool,
    /// How long it may take: with texts all of it, else the start.
    pub(crate) timeout: Duration,
    pub(crate) is_local: bool,
}

impl Headless {
    /// Joins, says what is to be said, and leaves.
    pub(crate) async fn run(self, source: FixedTokenSource) -> Result<(), Failure> {
        let session = Session::builder(source).agent_timeout(self.timeout).build();
        let mut teller = Teller {
            json: self.json,
            states: session.events(),
            messages: session.message_events(),
            participants: session.participants(),
            seen: Arc::default(),
            agent_ended: None,
            ended: None,
            session,
        };
        let mut script = Script::new(self.texts.clone(), clock::now());
        let outcome = self.converse(&mut teller, &mut script).await;
        teller.session.end().await;
        teller.tell_rest(&mut script)?;
        if let (Err(failure), true) = (&outcome, self.json) {
            print(&json::line(&json::error(failure.message())))?;
        }
        outcome
    }

    async fn converse(&self, teller: &mut Teller, script: &mut Script) -> Result<(), Failure> {
        let session = teller.session.clone();
        let mut start = pin!(session.start(StartOptions::new().with_timeout(self.timeout)));
        let mut has_started = false;
        let mut sends = FuturesUnordered::new();
        let mut lines = self.texts.is_empty().then(stdin_lines);
        let mut stopped = pin!(stop::requested());
        let deadline = clock::now() + self.timeout;
        loop {
            let mut wake_at = (!self.texts.is_empty()).then_some(deadline);
            if has_started && !self.texts.is_empty() {
                match script.poll(clock::now()) {
                    Step::Say(text) => {
                        sends.push(session.send(text).into_future());
                        continue;
                    }
                    Step::Wait(until) => wake_at = until.into_iter().chain(wake_at).min(),
                    Step::Leave => return Ok(()),
                }
            }
            if has_started && lines.is_none() && self.texts.is_empty() && sends.is_empty() {
                return Ok(());
            }
            let next_line = async {
                match &mut lines {
                    Some(lines) => lines.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                told = teller.tell_next(script) => told?,
                started = &mut start, if !has_started => {
                    started.map_err(|error| Failure::of_start(&error, self.is_local))?;
                    has_started = true;
                    teller.tell_joined(*session.token().borrow())?;
                }
                Some(sent) = sends.next(), if !sends.is_empty() => {
                    if let Err(error) = sent {
                        let failure = Failure::new(format!("a text was not sent: {}", words::of_error(&error)));
                        if !self.texts.is_empty() {
                            return Err(failure);
                        }
                        teller.tell_failed(&failure)?;
                    }
                }
                line = next_line, if has_started => match line {
                    Some(line) if line.trim().is_empty() => {}
                    Some(line) => sends.push(session.send(line).into_future()),
                    None => lines = None,
                },
                () = async { sleep_until(wake_at.unwrap_or(deadline)).await }, if wake_at.is_some() => {
                    if clock::now() >= deadline {
                        let seconds = self.timeout.as_secs_f64();
                        let what = if has_started { script.waits_for() } else { "the room was not joined" };
                        return Err(Failure::new(format!("in the {seconds} s given, {what}")).with_advice(
                            "more --timeout may help; does the token dispatch an agent, and is one running?",
                        ));
                    }
                }
                () = &mut stopped => return if self.texts.is_empty() { Ok(()) } else { Err(Failure::new("interrupted")) },
            }
            if let Some(reason) = teller.ended.filter(|_| has_started) {
                return Err(Failure::of_end(reason));
            }
            if let Some(failed) = teller.agent_ended.take().filter(|_| !self.texts.is_empty()) {
                return Err(Failure::of_start(&StartError::Agent(failed), self.is_local));
            }
        }
    }
}

/// Prints what happens, in the order in which it does, and tells the script.
struct Teller {
    json: bool,
    states: EventStream<SessionEvent>,
    messages: EventStream<MessageEvent>,
    participants: watch::Receiver<Arc<Participants>>,
    /// Who was there when it was told last.
    seen: Arc<Participants>,
    /// Why the agent was given up, since somebody looked.
    agent_ended: Option<roomkey::session::AgentFailure>,
    /// The state in which the session has no room any more.
    ended: Option<SessionState>,
    session: Session,
}

impl Teller {
    /// Waits for something to happen, and tells it.
    async fn tell_next(&mut self, script: &mut Script) -> io::Result<()> {
        tokio::select! {
            biased;
            Some(event) = self.states.next() => self.tell_state(&event, script),
            Ok(()) = self.participants.changed() => self.tell_participants(),
            Some(event) = self.messages.next() => self.tell_message(&event, script),
            else => std::future::pending().await,
        }
    }

    /// Tells what has happened by now.
    fn tell_rest(&mut self, script: &mut Script) -> io::Result<()> {
        while self.tell_next(script).now_or_never().transpose()?.is_some() {}
        Ok(())
    }

    fn tell_state(&mut self, event: &SessionEvent, script: &mut Script) -> io::Result<()> {
        match event {
            SessionEvent::StateChanged(state) => {
                self.ended = state.is_disconnected().then_some(*state);
                self.tell(|| json::session_state(*state))
            }
            SessionEvent::AgentStateChanged(state) => {
                script.handle_agent(state, clock::now());
                if let AgentState::Failed(failure) = state {
                    self.agent_ended = Some(*failure);
                }
                let agent = Arc::clone(&self.session.agent().borrow());
                self.tell(|| json::agent_state(state, &agent))
            }
            SessionEvent::Failed(error) => self.tell(|| json::error(&words::of_error(error.as_ref()))),
            // A message event says it too.
            SessionEvent::MessageReceived(_) | _ => Ok(()),
        }
    }

    fn tell_message(&self, event: &MessageEvent, script: &mut Script) -> io::Result<()> {
        let participants = Arc::clone(&self.participants.borrow());
        let speaker = Speaker::of(event.message(), &participants);
        let answer = script.handle_message(event, speaker, clock::now());
        match answer {
            Some(answer) if !self.json => print(&plain::text(answer)),
            _ => self.tell(|| json::message(event, &participants)),
        }
    }

    fn tell_participants(&mut self) -> io::Result<()> {
        let now = Arc::clone(&self.participants.borrow_and_update());
        let before = std::mem::replace(&mut self.seen, Arc::clone(&now));
        if self.json {
            json::participants(&before, &now).iter().map(json::line).try_for_each(|line| print(&line))
        } else {
            Ok(())
        }
    }

    fn tell_joined(&self, token: Option<TokenTimes>) -> io::Result<()> {
        let Some(room) = self.session.room() else { return Ok(()) };
        let metrics = *self.session.metrics().borrow();
        self.tell(|| json::joined(&room, &metrics, token))
    }

    fn tell_failed(&self, failure: &Failure) -> io::Result<()> {
        self.tell(|| json::error(failure.message()))
    }

    fn tell(&self, line: impl FnOnce() -> Value) -> io::Result<()> {
        if self.json { print(&json::line(&line())) } else { Ok(()) }
    }
}

/// A reader that went away ends the command.
fn print(line: &impl fmt::Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// The lines of standard input. The thread that reads them is left to itself: nothing ends a read that waits.
fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        // A line that is not UTF-8, or can't be read, is the end.
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}
