//! What a server costs when nothing happens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roomkey::BoxError;
use tokio::time::sleep;

use crate::client::Client;
use crate::clock;
use crate::heard::Totals;
use crate::percentiles::Percentiles;
use crate::server::Server;

const STARTS: usize = 10;
const ROOMS: u64 = 100;
/// The departure timeout is 20 seconds, and rooms look at it every 5.
const DEPARTURE: Duration = Duration::from_secs(40);

pub(crate) async fn run(roomkey: &Path) -> Result<(), BoxError> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(Server::start(roomkey).await?.started_in);
    }
    println!("start, p50 of {STARTS}: {:.1} ms", Percentiles::new(times).at(50));

    let server = Server::start(roomkey).await?;
    sleep(Duration::from_secs(1)).await;
    let idle = server.rss()?;
    println!("RSS idle: {idle} kB");
    let totals = Arc::new(Totals::new(clock::now()));
    let mut clients = Vec::new();
    for number in 0..ROOMS {
        clients.push(Client::join(&server, &format!("idle-{number}"), "alice", &totals).await?);
    }
    sleep(Duration::from_secs(2)).await;
    let full = server.rss()?;
    println!("RSS with {ROOMS} rooms of one: {full} kB, {} kB a room", full.saturating_sub(idle) / ROOMS);
    for client in clients {
        client.leave().await?;
    }
    sleep(Duration::from_secs(1)).await;
    let left = server.rss()?;
    println!("RSS after they left: {left} kB, {} kB a room", left.saturating_sub(idle) / ROOMS);
    let is_empty = server.is_empty_within(DEPARTURE).await;
    let after = server.rss()?;
    println!("RSS after the rooms ended ({is_empty}): {after} kB, {} kB a room", after.saturating_sub(idle) / ROOMS);
    Ok(())
}
