//! Publishers and subscribers in one room: what arrives, and what it costs the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roomkey::BoxError;
use tokio::time::sleep;

use crate::client::Client;
use crate::heard::{Totals, read};
use crate::percentiles::Percentiles;
use crate::server::Server;
use crate::{clock, process};

/// Until every subscriber has heard each publisher.
const WARM_UP: Duration = Duration::from_secs(30);
/// For negotiations that go on when everybody hears everybody.
const CALM: Duration = Duration::from_secs(3);
/// For packets that are under way when it is over.
const TAIL: Duration = Duration::from_millis(500);

pub(crate) async fn run(servers: &[Server], publishers: u32, subscribers: u32, seconds: u64) -> Result<(), BoxError> {
    println!("{publishers} publishers, {subscribers} subscribers, {seconds} s");
    println!(
        "{:<10} {:>8} {:>9} {:>9} {:>7} {:>9} {:>8} {:>8} {:>7} {:>9} {:>8} {:>8}",
        "server",
        "sent",
        "expected",
        "received",
        "lost",
        "reordered",
        "p50 ms",
        "p99 ms",
        "CPU %",
        "RSS kB",
        "own CPU",
        "sections"
    );
    let mut costs = Vec::new();
    for server in servers {
        costs.push(measure(server, publishers, subscribers, Duration::from_secs(seconds)).await?);
    }
    if let [ours, theirs] = costs[..] {
        println!("ratio of CPU, roomkey to peer: {:.2}", ours / theirs);
    }
    Ok(())
}

/// The server's CPU in percent of a core.
async fn measure(server: &Server, publishers: u32, subscribers: u32, time: Duration) -> Result<f64, BoxError> {
    let totals = Arc::new(Totals::new(clock::now()));
    let (mut speaking, mut listening) = (Vec::new(), Vec::new());
    for number in 0..publishers {
        speaking.push(Client::join(server, "audio", &format!("publisher-{number}"), &totals).await?);
    }
    for number in 0..subscribers {
        listening.push(Client::join(server, "audio", &format!("subscriber-{number}"), &totals).await?);
    }
    for (client, number) in speaking.iter().zip(0..) {
        client.publish(number);
    }
    warm_up(&listening, publishers).await?;
    sleep(CALM).await;

    let (pid, own) = (server.pid, std::process::id());
    let (since, cpu, own_cpu) = (clock::now(), process::cpu_time(pid)?, process::cpu_time(own)?);
    totals.is_measuring.store(true, Ordering::Relaxed);
    sleep(time).await;
    totals.is_measuring.store(false, Ordering::Relaxed);
    let wall = since.elapsed().as_secs_f64();
    let share = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64() / wall * 100.0;
    let (cpu, own_cpu) = (share(process::cpu_time(pid)?, cpu), share(process::cpu_time(own)?, own_cpu));
    let rss = server.rss()?;
    sleep(TAIL).await;

    let (mut received, mut reordered, mut delays) = (0, 0, Vec::new());
    for client in &listening {
        let mut heard = client.heard.lock().expect("no holder panics");
        received += heard.measured;
        reordered += heard.reordered;
        delays.append(&mut heard.delays);
    }
    let sent = read(&totals.audio_sent);
    let expected = sent * u64::from(subscribers);
    let delays = Percentiles::new(delays);
    let sections = |client: &Client| client.heard.lock().expect("no holder panics").sections;
    let sections = listening.iter().map(sections).max().unwrap_or_default();
    println!(
        "{:<10} {sent:>8} {expected:>9} {received:>9} {:>7} {reordered:>9} {:>8.2} {:>8.2} {cpu:>7.1} {rss:>9} {own_cpu:>8.1} {sections:>8}",
        server.name,
        expected.saturating_sub(received),
        delays.at(50),
        delays.at(99),
    );
    for client in speaking.into_iter().chain(listening) {
        client.leave().await?;
    }
    Ok(cpu)
}

async fn warm_up(listening: &[Client], publishers: u32) -> Result<(), BoxError> {
    let since = clock::now();
    loop {
        let heard = |client: &Client| client.heard.lock().expect("no holder panics").publishers.len();
        let missing: usize = listening.iter().map(|client| publishers as usize - heard(client)).sum();
        if missing == 0 {
            return Ok(());
        }
        if since.elapsed() > WARM_UP {
            let states: Vec<_> = listening.iter().take(3).map(Client::state).collect();
            return Err(format!("{missing} subscriptions are silent after {WARM_UP:?}; {states:?}").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
