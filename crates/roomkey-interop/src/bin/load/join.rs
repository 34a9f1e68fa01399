//! How long it takes to join.

use std::sync::Arc;

use roomkey::BoxError;

use crate::client::Client;
use crate::clock;
use crate::heard::Totals;
use crate::percentiles::Percentiles;
use crate::server::Server;

/// One after the other, each into a room of its own: from the dial to the open data channel.
pub(crate) async fn run(servers: &[Server], count: u32) -> Result<(), BoxError> {
    println!("{:<10} {:>6} {:>10} {:>10}", "server", "joins", "p50 ms", "p95 ms");
    let mut medians = Vec::new();
    for server in servers {
        let totals = Arc::new(Totals::new(clock::now()));
        let mut times = Vec::new();
        for number in 0..count {
            let since = clock::now();
            let client = Client::join(server, &format!("join-{number}"), "alice", &totals).await?;
            times.push(since.elapsed());
            client.leave().await?;
        }
        let times = Percentiles::new(times);
        println!("{:<10} {count:>6} {:>10.1} {:>10.1}", server.name, times.at(50), times.at(95));
        medians.push(times.at(50));
    }
    if let [ours, theirs] = medians[..] {
        println!("ratio of p50, roomkey to peer: {:.2}", ours / theirs);
    }
    Ok(())
}
