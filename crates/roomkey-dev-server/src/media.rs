//! The task that owns the core, the sockets of media and the clock.

use std::collections::HashMap;
use std::net::SocketAddr;

use livekit_protocol as proto;
use roomkey_rtc::Protocol;
use roomkey_token::Claims;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::clock::Now;
use crate::event::Event;
use crate::sfu::{ConnectionId, Effect, Joining, Refusal, Sfu, WorkerId};
use crate::tcp::{Received, TcpMedia};

/// What the websockets tell the core.
#[derive(Debug)]
pub(crate) enum Command {
    Check {
        claims: Box<Claims>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Join {
        connection: ConnectionId,
        joining: Box<Joining>,
        outgoing: mpsc::Sender<ToClient>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Request {
        connection: ConnectionId,
        request: proto::signal_request::Message,
    },
    Lost {
        connection: ConnectionId,
    },
    WorkerJoined {
        worker: WorkerId,
        outgoing: mpsc::Sender<proto::server_message::Message>,
    },
    WorkerRequest {
        worker: WorkerId,
        request: proto::worker_message::Message,
    },
    WorkerLost {
        worker: WorkerId,
    },
    Refused(Refusal),
    ShutDown {
        done: oneshot::Sender<()>,
    },
}

/// What the core tells a client's websocket.
#[derive(Debug)]
pub(crate) enum ToClient {
    Message(Box<proto::signal_response::Message>),
    /// Nothing comes after this.
    Close,
}

/// Messages that wait for a client; one that doesn't read so many is let go.
pub(crate) const OUTGOING: usize = 1_024;
/// Datagrams that are read before anybody else has a turn.
const BATCH: usize = 64;
const LONGEST_DATAGRAM: usize = 65_535;

/// The core with its sockets.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) sfu: Sfu,
    pub(crate) socket: UdpSocket,
    pub(crate) tcp: TcpMedia,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) clients: HashMap<ConnectionId, mpsc::Sender<ToClient>>,
    pub(crate) workers: HashMap<WorkerId, mpsc::Sender<proto::server_message::Message>>,
}

impl Media {
    /// Runs until it is told to shut down or every handle of the server is gone.
    pub(crate) async fn run(mut self) {
        let mut buffer = vec![0; LONGEST_DATAGRAM];
        loop {
            self.keep_time();
            let timeout = self.sfu.timeout();
            // In any order, so that a flood of one kind does not keep the others waiting.
            tokio::select! {
                command = self.commands.recv() => match command {
                    None => return,
                    Some(Command::ShutDown { done }) => {
                        self.sfu.shut_down(Now::read());
                        self.carry_out();
                        // Who asked may have given up waiting.
                        let _ = done.send(());
                        return;
                    },
                    Some(command) => self.handle(command),
                },
                received = self.socket.recv_from(&mut buffer) => self.receive(received, &mut buffer),
                received = self.tcp.receive() => self.receive_over_tcp(received),
                () = until(timeout) => {}
            }
        }
    }

    /// Does what is due. It is asked after each batch of packets, whatever else comes.
    fn keep_time(&mut self) {
        self.carry_out();
        let now = Now::read();
        if self.sfu.timeout().is_some_and(|at| at <= now.instant) {
            self.sfu.handle_timeout(now);
            self.carry_out();
        }
    }

    /// Takes what has arrived, a batch at most.
    fn receive(&mut self, first: std::io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        let mut received = first;
        for _ in 0..BATCH {
            // An error is that of an earlier datagram whose receiver is gone.
            if let Ok((length, source)) = received {
                self.sfu.handle_datagram(source, &buffer[..length], Now::read());
                self.carry_out();
            }
            received = match self.socket.try_recv_from(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                other => other,
            };
        }
    }

    fn receive_over_tcp(&mut self, received: Received) {
        match received {
            Received::Packet { source, packet } => {
                if !self.sfu.handle_frame(source, &packet, Now::read()) {
                    self.tcp.end(source);
                }
            }
            Received::Ended { source } => self.sfu.tcp_ended(source),
        }
    }

    fn handle(&mut self, command: Command) {
        let now = Now::read();
        match command {
            // Whoever asked may be gone by now: then nobody needs the answer.
            Command::Check { claims, reply } => drop(reply.send(self.sfu.check_room(&claims))),
            Command::Join { connection, joining, outgoing, reply } => {
                self.clients.insert(connection, outgoing);
                let joined = self.sfu.join(*joining, now);
                if let Err(refusal) = &joined {
                    self.clients.remove(&connection);
                    self.refused(refusal);
                }
                // The first messages are queued before the client is answered.
                self.carry_out();
                if reply.send(joined).is_err() {
                    self.lose(connection, now);
                }
            }
            Command::Request { connection, request } => self.sfu.handle_request(connection, request, now),
            Command::Lost { connection } => self.lose(connection, now),
            Command::WorkerJoined { worker, outgoing } => {
                self.workers.insert(worker, outgoing);
            }
            Command::WorkerRequest { worker, request } => {
                if let Err(error) = self.sfu.handle_worker(worker, request, now) {
                    tracing::debug!(?error, "a worker is let go");
                    self.workers.remove(&worker);
                    self.sfu.worker_lost(worker, now);
                }
            }
            Command::WorkerLost { worker } => {
                self.workers.remove(&worker);
                self.sfu.worker_lost(worker, now);
            }
            Command::Refused(refusal) => self.refused(&refusal),
            Command::ShutDown { .. } => {}
        }
    }

    fn lose(&mut self, connection: ConnectionId, now: Now) {
        self.clients.remove(&connection);
        self.sfu.connection_lost(connection, now);
    }

    fn refused(&self, refusal: &Refusal) {
        self.tell(Event::JoinRefused { status: refusal.status, reason: refusal.body.clone() });
    }

    /// Nobody has to listen; who does not keep up misses some.
    fn tell(&self, event: Event) {
        tracing::info!("{event}");
        let _ = self.events.try_send(event);
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.sfu.poll_effect() {
            match effect {
                // A full socket buffer is a lost datagram, as on any network.
                Effect::Transmit { protocol: Protocol::Udp, destination, payload } => {
                    drop(self.socket.try_send_to(&payload, destination));
                }
                Effect::Transmit { protocol: Protocol::Tcp, destination, payload } => {
                    self.tcp.send(destination, payload);
                }
                Effect::Send { connection, message } => {
                    let Some(client) = self.clients.get(&connection) else { continue };
                    if client.try_send(ToClient::Message(Box::new(message))).is_err() {
                        // It does not read: its websocket ends, and it may resume.
                        self.clients.remove(&connection);
                        self.sfu.connection_lost(connection, Now::read());
                    }
                }
                Effect::Close { connection } => {
                    if let Some(client) = self.clients.remove(&connection) {
                        let _ = client.try_send(ToClient::Close);
                    }
                }
                Effect::Worker { worker, message } => {
                    let is_full = self.workers.get(&worker).is_some_and(|worker| worker.try_send(message).is_err());
                    if is_full {
                        self.workers.remove(&worker);
                        self.sfu.worker_lost(worker, Now::read());
                    }
                }
                Effect::Happened(event) => self.tell(event),
            }
        }
    }
}

async fn until(timeout: Option<std::time::Instant>) {
    match timeout {
        Some(at) => sleep_until(Instant::from_std(at)).await,
        None => std::future::pending().await,
    }
}
