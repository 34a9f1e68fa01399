//! A LiveKit-compatible server for one machine: a laptop, a CI run.
//!
//! [`DevServer::bind`] starts a server in the process; any LiveKit client joins it with the URL and a token. It serves
//! signalling (`/rtc`, `/rtc/v1`), media over one port of UDP and TCP, agent workers (`/agent`) and the development token server
//! (`/api/v2/sandbox/connection-details`). It keeps nothing and ends when it is dropped. Production rooms run on LiveKit's
//! own distributed server, with the same clients and the same tokens; `docs/dev-server.md` lists what is absent here.
//!
//! ```
//! use roomkey_dev_server::{Config, DevServer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = DevServer::bind(Config::new()).await?;
//! let token = server.mint("alice", "my-room")?;
//! println!("{} {token}", server.url());
//! # server.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod admission;
mod clock;
mod config;
mod event;
mod http;
mod ids;
mod listener;
mod media;
mod server;
mod sfu;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod sockets;
mod tcp;
mod tokens;

pub use config::Config;
pub use event::Event;
pub use server::{BindError, DevServer};
