//! The core against the dev server's, over a simulated network.

mod address;
mod client;
mod hostile;
mod joining;
mod loss;
mod outage;
mod path;
mod regions;
mod restart;
mod streams;
mod tcp;
mod websocket;
mod world;
