//! A token's life, as a source that renews ahead sees it: its age, the part in which it is renewed, the last part in which
//! it only stands in, and a backend that goes down and comes back.
//!
//! `cargo run --example refresh` plays twelve minutes in ten seconds, by a clock of its own. In a terminal it is a picture
//! that moves; elsewhere it is a line for whatever happens, and takes no time.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use roomkey::{
    BoxError, Clock as _, Credentials, FetchError, FetchOptions, ManualClock, ProviderError, RefreshAhead, TokenSource,
    provider_fn,
};
use roomkey_token::{AccessToken, Signer, VideoGrant};

/// A token lives for two minutes, is renewed in the last one, and is no longer reused in the last half of that.
const LIFETIME: Duration = Duration::from_secs(120);
const AHEAD: Duration = Duration::from_secs(60);
const LEAD: Duration = Duration::from_secs(30);

/// From when until when the backend is down.
const DOWN: std::ops::Range<u64> = 230..420;
const END: u64 = 720;

/// How far the clock goes in each frame, and how long a frame is shown.
const FRAME: u64 = 5;
const SHOWN: Duration = Duration::from_millis(65);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
    let backend = Arc::new(Backend::new(Arc::clone(&clock))?);
    let source = TokenSource::builder(provider_fn({
        let backend = Arc::clone(&backend);
        move |options| {
            let answer = backend.token(&options);
            async move { answer }
        }
    }))
    .clock(Arc::clone(&clock))
    .refresh_ahead(RefreshAhead::new(AHEAD).with_waits(Duration::from_secs(5), Duration::from_secs(40)))
    .build();

    let options = FetchOptions::new().with_room_name("lobby").with_participant_identity("alice");
    let mut view = View::new();
    for at in (0..=END).step_by(FRAME as usize) {
        backend.is_down.store(DOWN.contains(&at), Ordering::Relaxed);
        let fetched = source.fetch(&options).await;
        // So that a renewal that has begun behind the fetch comes to its end.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        view.show(at, &fetched, &backend, clock.now().wall)?;
        clock.advance(Duration::from_secs(FRAME));
        if view.is_terminal {
            tokio::time::sleep(SHOWN).await;
        }
    }
    println!("the end          {} calls of the backend for {} fetches", backend.calls(), END / FRAME + 1);
    Ok(())
}

/// Makes tokens by the clock of the example, unless it is down.
struct Backend {
    clock: Arc<ManualClock>,
    signer: Signer,
    is_down: AtomicBool,
    calls: AtomicU32,
    /// What was asked since somebody looked.
    log: Mutex<Vec<String>>,
}

impl Backend {
    fn new(clock: Arc<ManualClock>) -> Result<Self, BoxError> {
        let signer = Signer::new("devkey", "an-api-secret-for-the-examples-only")?;
        Ok(Self { clock, signer, is_down: AtomicBool::new(false), calls: AtomicU32::new(0), log: Mutex::default() })
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    fn token(&self, options: &FetchOptions) -> Result<Credentials, BoxError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let is_down = self.is_down.load(Ordering::Relaxed);
        let answer = if is_down { "it is down" } else { "a new token" };
        self.log.lock().expect("nobody panics with it").push(format!("call {call} of the backend: {answer}"));
        if is_down {
            return Err(ProviderError::transient("the backend is down").into());
        }
        let token = AccessToken::new(options.participant_identity().unwrap_or("anybody"))
            .with_ttl(LIFETIME)
            .with_video(VideoGrant::join(options.room_name().unwrap_or("lobby")))
            .sign(&self.signer, self.clock.now().wall)?;
        Ok(Credentials::new("ws://localhost:7880", token.as_str()))
    }
}

/// What is seen: a picture that is drawn over, or lines.
struct View {
    is_terminal: bool,
    is_drawn: bool,
    was: String,
    news: VecDeque<String>,
}

/// The lines of the picture.
const LINES: usize = 9;

impl View {
    fn new() -> Self {
        Self {
            is_terminal: std::io::stdout().is_terminal(),
            is_drawn: false,
            was: String::new(),
            news: VecDeque::new(),
        }
    }

    fn show(
        &mut self,
        at: u64,
        fetched: &Result<Credentials, FetchError>,
        backend: &Backend,
        now: SystemTime,
    ) -> Result<(), BoxError> {
        let left = fetched.as_ref().ok().and_then(Credentials::expires_at);
        let left = left.and_then(|at| at.duration_since(now).ok()).unwrap_or_default();
        let state = match fetched {
            Ok(_) if left > AHEAD => "reused",
            Ok(_) if left > LEAD => "reused, and to be renewed behind a fetch",
            Ok(_) => "stands in, since the backend fails",
            Err(_) => "none: each fetch is an error",
        };
        let happened = std::mem::take(&mut *backend.log.lock().expect("nobody panics with it"));
        let mut lines: Vec<_> = happened.into_iter().map(|line| format!("{}  {line}", minutes(at))).collect();
        if self.was != state {
            state.clone_into(&mut self.was);
            lines.push(format!("{}  the token: {state} ({} s left)", minutes(at), left.as_secs()));
        }
        if !self.is_terminal {
            lines.iter().for_each(|line| println!("{line}"));
            return Ok(());
        }
        self.news.extend(lines);
        while self.news.len() > LINES - 4 {
            self.news.pop_front();
        }
        self.draw(at, left, backend.is_down.load(Ordering::Relaxed))
    }

    fn draw(&mut self, at: u64, left: Duration, is_down: bool) -> Result<(), BoxError> {
        const BACK: &str = "\u{1b}[";
        let mut frame = String::new();
        if std::mem::replace(&mut self.is_drawn, true) {
            frame.push_str(&format!("{BACK}{LINES}A"));
        }
        let backend = if is_down { "\u{1b}[31mdown\u{1b}[0m" } else { "\u{1b}[32mup\u{1b}[0m" };
        let mut line = |text: &str| frame.push_str(&format!("{BACK}2K{text}\n"));
        line(&format!("{}   backend {backend}   {}", minutes(at), self.was));
        line(&format!("  {}", bar(left)));
        line("  received                      renewed behind  fetched        expires");
        line("");
        for index in 0..LINES - 4 {
            line(&format!("  {}", self.news.get(index).map_or("", String::as_str)));
        }
        let mut out = std::io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// A token's life, two seconds a character: what has passed, what is left, and in colours what part it is.
fn bar(left: Duration) -> String {
    let (whole, left) = (LIFETIME.as_secs() / 2, left.as_secs() / 2);
    let (ahead, lead) = (AHEAD.as_secs() / 2, LEAD.as_secs() / 2);
    let cell = |to_go: u64| {
        let colour = if to_go <= lead {
            31
        } else if to_go <= ahead {
            33
        } else {
            32
        };
        let character = if to_go > left { '░' } else { '█' };
        format!("\u{1b}[{colour}m{character}")
    };
    (1..=whole).rev().map(cell).collect::<String>() + "\u{1b}[0m"
}

fn minutes(at: u64) -> String {
    format!("{:02}:{:02}", at / 60, at % 60)
}
