//! `roomkey join` on a terminal.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use roomkey::FixedTokenSource;
use roomkey::session::{RestartPolicy, Session, StartOptions};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock;
use crate::join::failure::Failure;
use crate::join::screen::{Action, Screen, Update};
use crate::join::sound::{self, Sound};
use crate::join::view;
use crate::join::words;
use crate::stop;

/// How often the screen is drawn at most: what an agent says comes a word at a time.
const FRAME: Duration = Duration::from_millis(33);
/// How long a key may wait for its reader to look whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(100);
/// How often another room is tried after one that was lost.
const RESTARTS: u32 = 10;

/// Joins, and shows the room until the user leaves it.
pub(crate) async fn run(
    source: FixedTokenSource,
    sound: &sound::DeviceArguments,
    timeout: Duration,
    is_local: bool,
) -> Result<(), Failure> {
    let sound = Sound::open(sound).await?;
    let session = Session::builder(source).restart_policy(RestartPolicy::Attempts(RESTARTS)).build();
    let outcome = {
        let mut screen = OwnScreen::take()?;
        let shown = show(&session, &sound, timeout, is_local, &mut screen.0);
        shown.await
    };
    // The terminal is the user's again while the server is told.
    session.end().await;
    outcome
}

async fn show(
    session: &Session,
    sound: &Sound,
    timeout: Duration,
    is_local: bool,
    terminal: &mut DefaultTerminal,
) -> Result<(), Failure> {
    let size = terminal.size()?;
    let mut screen = Screen::new(clock::wall(), (size.width, size.height));
    let (mut state, mut agent, mut messages) = (session.state(), session.agent(), session.messages());
    let mut token = session.token();
    let (mut participants, mut errors) = (session.participants(), session.error());
    let mut options = StartOptions::new().with_timeout(timeout);
    let microphone = session.microphone();
    if let Some(source) = sound.microphone() {
        options = options.microphone(source);
        screen.update(Update::Muted(microphone.is_muted()));
    }
    let (mut muted, mut voice) = (microphone.muted(), session.agent_audio());
    let mut start = pin!(session.start(options).fuse());
    let mut sends = FuturesUnordered::new();
    let mut stopped = pin!(stop::requested());
    let mut keys = keys();
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drawn_at = None;
    let mut is_changed = true;
    loop {
        let update = tokio::select! {
            event = keys.recv() => match event {
                Some(Ok(Event::Key(key))) => match screen.press(key) {
                    Some(Action::Leave) => return Ok(()),
                    Some(Action::Send(text)) => {
                        sends.push(session.send(text).into_future());
                        session.dismiss_error();
                        None
                    }
                    Some(Action::ToggleMute) => {
                        microphone.set_muted(!microphone.is_muted());
                        None
                    }
                    None => None,
                },
                Some(Ok(Event::Resize(columns, rows))) => Some(Update::Size(columns, rows)),
                Some(Ok(Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_))) => None,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Failure::new("the terminal gives no keys any more")),
            },
            () = &mut stopped => return Ok(()),
            started = &mut start => {
                started.map_err(|error| Failure::of_start(&error, is_local))?;
                None
            }
            Ok(()) = state.changed() => Some(Update::Session(*state.borrow_and_update())),
            Ok(()) = agent.changed() => Some(Update::Agent(Arc::clone(&agent.borrow_and_update()))),
            Ok(()) = messages.changed() => Some(Update::Messages(Arc::clone(&messages.borrow_and_update()))),
            Ok(()) = participants.changed() => Some(Update::Participants(Arc::clone(&participants.borrow_and_update()))),
            Ok(()) = muted.changed() => {
                let muted = *muted.borrow_and_update();
                sound.microphone().map(|_| Update::Muted(muted))
            }
            Some(track) = voice.next() => {
                sound.play(&track);
                None
            }
            // The last one stays on the screen.
            Ok(()) = token.changed() => token.borrow_and_update().map(|token| Update::Token(Some(token))),
            Ok(()) = errors.changed() => {
                let error = errors.borrow_and_update().as_ref().map(|error| words::of_error(error.as_ref()));
                Some(Update::Error(error))
            }
            // What became of it is in the conversation.
            Some(_) = sends.next(), if !sends.is_empty() => None,
            _ = frames.tick() => {
                let now = clock::now();
                let is_second = drawn_at.is_none_or(|at| now.duration_since(at) >= Duration::from_secs(1));
                if is_changed || is_second {
                    screen.update(Update::Time(clock::wall()));
                    // The last one stays on the screen.
                    if let Some(room) = session.room() {
                        screen.update(Update::Room(Arc::clone(&room.info().borrow())));
                    }
                    terminal.draw(|frame| view::draw(&screen, frame))?;
                    (drawn_at, is_changed) = (Some(now), false);
                }
                continue;
            }
        };
        is_changed = true;
        if let Some(update) = update {
            screen.update(update);
        }
    }
}

/// The terminal in raw mode, on its other screen; as it was once this is dropped, and before a panic is told.
struct OwnScreen(DefaultTerminal);

impl OwnScreen {
    fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| {
            // It may be half done; the error is told by the caller.
            let _ = ratatui::try_restore();
        })
    }
}

impl Drop for OwnScreen {
    fn drop(&mut self) {
        // At a panic it has been given back already, and the cursor stands behind what was told.
        if !thread::panicking() {
            // There is nobody left to tell.
            let _ = self.0.show_cursor();
            let _ = ratatui::try_restore();
        }
    }
}

/// What the terminal says, read by a thread that ends when nobody wants it any more.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(64);
    thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(LOOK_UP) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let is_over = event.is_err();
            if sender.blocking_send(event).is_err() || is_over {
                break;
            }
        }
    });
    receiver
}
