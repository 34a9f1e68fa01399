//! The core against the dev server's, over a simulated network.

mod address;
mod client;
mod encryption;
mod gathering;
mod hostile;
mod joining;
mod loss;
mod media_stream;
mod outage;
mod path;
mod permissions;
mod publishing;
mod regions;
mod restart;
mod returning;
mod streams;
mod tcp;
mod turn_server;
mod ways;
mod websocket;
mod world;
