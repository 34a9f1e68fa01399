//! roomkey's own client as a peer of `rooms`: obeys commands and says what it sees, in JSON lines (tests/interop/README.md).
//!
//! It encodes and decodes sound, not pictures: its camera is a recording in three sizes, and video seen is the size in key
//! frames. It ends when its stdin does.

mod camera;
mod member;
mod say;
mod tone;
#[path = "../../transport.rs"]
mod transport;
mod watcher;

use member::Member;
use say::say;
use serde_json::json;
use tokio::sync::mpsc;
use transport::Transport;

#[tokio::main]
async fn main() {
    // `rooms` sends a command when it has the answer to the last one.
    let (lines, mut commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    say(&json!({"saw": "ready"}));
    let transport = std::env::args().nth(1).map_or_else(|| Ok(Transport::Any), |text| text.parse());
    let mut member = Member::new(transport.expect("any, tcp or relay"));
    while let Some(line) = commands.recv().await {
        say(&member.obey(&line).await);
    }
}
