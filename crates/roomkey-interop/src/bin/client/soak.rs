//! Sessions that start, say something, hear the answer, break off and end; and what is left of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use roomkey::session::{MessageKind, Microphone, Ready, Session, StartOptions};
use roomkey::{AudioFrame, AudioSource, AudioSourceOptions, BoxError, Credentials, TokenSource};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::process::{descriptors, now, rss};
use crate::server::{Arguments, Server};

const USERS: u64 = 6;
const PATIENCE: Duration = Duration::from_secs(30);
/// What memory may grow by after the first minute: 20 % and this, in kB.
const GROWTH: u64 = 4 * 1024;

#[derive(Default)]
struct Totals {
    started: AtomicU64,
    answered: AtomicU64,
    broken: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

pub(crate) async fn run(arguments: &Arguments, minutes: u64, seed: u64) -> Result<(), BoxError> {
    let server = Arc::new(Server::start(arguments).await?);
    let totals = Arc::new(Totals::default());
    let (tasks_before, files_before) = (Handle::current().metrics().num_alive_tasks(), descriptors()?);
    let end = now() + Duration::from_secs(60 * minutes.max(1));
    let users: Vec<_> = (0..USERS)
        .map(|number| {
            let rng = Rng::with_seed(seed.wrapping_mul(USERS).wrapping_add(number));
            tokio::spawn(user(number, Arc::clone(&server), Arc::clone(&totals), rng, end))
        })
        .collect();
    println!(
        "{:>6} {:>8} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7} {:>7}",
        "minute", "started", "answered", "broken", "dropped", "failed", "RSS kB", "tasks", "files"
    );
    let mut first = 0;
    for minute in 1..=minutes.max(1) {
        sleep(Duration::from_secs(60)).await;
        let memory = rss()?;
        if minute == 1 {
            first = memory;
        }
        line(&minute.to_string(), &totals, memory)?;
    }
    for user in users {
        user.await?;
    }
    // Tasks end when their handles are gone, sockets with them.
    let mut left = (usize::MAX, usize::MAX);
    for _ in 0..100 {
        left = (Handle::current().metrics().num_alive_tasks(), descriptors()?);
        if left.0 <= tasks_before && left.1 <= files_before {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let memory = rss()?;
    line("after", &totals, memory)?;
    let mut wrong = Vec::new();
    if left.0 > tasks_before || left.1 > files_before {
        wrong.push(format!("{} tasks and {} files are left, of {tasks_before} and {files_before}", left.0, left.1));
    }
    if memory > first + first / 5 + GROWTH {
        wrong.push(format!("memory grew from {first} to {memory} kB"));
    }
    if totals.failed.load(Ordering::Relaxed) > 0 || totals.answered.load(Ordering::Relaxed) == 0 {
        wrong.push("sessions failed, or none was answered".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

fn line(when: &str, totals: &Totals, memory: u64) -> Result<(), BoxError> {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{when:>6} {:>8} {:>9} {:>8} {:>8} {:>8} {memory:>9} {:>7} {:>7}",
        read(&totals.started),
        read(&totals.answered),
        read(&totals.broken),
        read(&totals.dropped),
        read(&totals.failed),
        Handle::current().metrics().num_alive_tasks(),
        descriptors()?,
    );
    Ok(())
}

async fn user(number: u64, server: Arc<Server>, totals: Arc<Totals>, mut rng: Rng, end: std::time::Instant) {
    let mut rounds = 0;
    while now() < end {
        rounds += 1;
        let room = format!("soak-{number}-{rounds}");
        let stayed = timeout(PATIENCE, stay(&server, &room, &totals, &mut rng)).await;
        let failure = match stayed {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("took longer than {PATIENCE:?}"),
        };
        totals.failed.fetch_add(1, Ordering::Relaxed);
        println!("{room}: {failure}");
    }
}

/// One session, or two of one handle, in a room of its own.
async fn stay(server: &Arc<Server>, room: &str, totals: &Totals, rng: &mut Rng) -> Result<(), BoxError> {
    let (url, token) = (server.url.clone(), server.token(room, "alice")?);
    let source = TokenSource::literal(Credentials::new(url, token));
    let session = Session::of(source);
    let microphone = AudioSource::new(AudioSourceOptions::new());
    let mut options = StartOptions::new().wait_for(Ready::Agent);
    if rng.bool() {
        options = options.microphone(Microphone::new(&microphone));
    }
    if rng.u32(..8) == 0 {
        // Given up half-way.
        let _ = timeout(Duration::from_millis(rng.u64(..40)), session.start(options)).await;
        totals.dropped.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    session.start(options).await?;
    totals.started.fetch_add(1, Ordering::Relaxed);
    for number in 0..rng.u32(1..4) {
        if rng.u32(..3) == 0 {
            session.room().ok_or("no room")?.simulate_signal_loss();
            totals.broken.fetch_add(1, Ordering::Relaxed);
        }
        microphone.capture_frame(&AudioFrame::silence(480, 48_000, 1)?).await?;
        let text = format!("message {number}");
        session.send(text.as_str()).await?;
        let answered = |messages: &Arc<[Arc<roomkey::session::Message>]>| {
            messages.iter().any(|message| {
                message.kind == MessageKind::AgentTranscript
                    && message.status.is_settled()
                    && message.text.contains(&text)
            })
        };
        session.messages().wait_for(answered).await?;
        totals.answered.fetch_add(1, Ordering::Relaxed);
    }
    if rng.bool() {
        session.end().await;
    } else {
        totals.dropped.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
