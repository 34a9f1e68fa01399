//! The websockets of clients and of agent workers.

use std::time::{Duration, UNIX_EPOCH};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt as _;
use livekit_protocol as proto;
use prost::Message as _;
use roomkey_signal::{CloseCause, Frame, Server, ServerEvent, ServerLimits, ServerOutput};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use crate::clock::Now;
use crate::media::{Command, ToClient};
use crate::sfu::{ConnectionId, WorkerId};

/// A client that says nothing for this long is gone: it is pinged every ten seconds, and every websocket answers that.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A worker is pinged as often as a client.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A peer that does not take a message for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// The longest message of a client or a worker, in bytes.
pub(crate) const LONGEST_MESSAGE: usize = 512 * 1024;

/// Carries a client's messages both ways until either side ends it.
pub(crate) async fn serve_client(
    mut socket: WebSocket,
    connection: ConnectionId,
    protocol: i32,
    mut outgoing: mpsc::Receiver<ToClient>,
    commands: mpsc::Sender<Command>,
) {
    let now = Now::read();
    let mut limits = ServerLimits::default();
    limits.idle_timeout = Some(IDLE_TIMEOUT);
    let unix_time = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut signal = Server::new(protocol, &limits, now.instant, unix_time);
    while carry_out(&mut signal, &mut socket, connection, &commands).await {
        let timeout = signal.poll_timeout().unwrap_or(now.instant + IDLE_TIMEOUT);
        tokio::select! {
            biased;
            message = outgoing.recv() => {
                // What is there already goes with it.
                let mut next = Some(message.unwrap_or(ToClient::Close));
                while let Some(message) = next {
                    match message {
                        ToClient::Message(message) => signal.send(*message),
                        ToClient::Close => signal.supersede(),
                    }
                    next = outgoing.try_recv().ok();
                }
            },
            message = socket.recv() => {
                let now = Now::read().instant;
                match message {
                    Some(Ok(Message::Binary(bytes))) => signal.handle_binary(&bytes, now),
                    Some(Ok(Message::Text(text))) => signal.handle_text(&text, now),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => signal.handle_websocket_ping(now),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => signal.handle_closed(),
                }
            },
            () = sleep_until(Instant::from_std(timeout)) => signal.handle_timeout(Now::read().instant),
        }
    }
    // The core is gone with the server.
    let _ = commands.send(Command::Lost { connection }).await;
}

/// Does what the protocol wants done; whether the websocket goes on. Messages go out together: a far client would wait for
/// those that don't fit into the packets that TCP sends at first, each of which a small one would fill.
async fn carry_out(
    signal: &mut Server,
    socket: &mut WebSocket,
    connection: ConnectionId,
    commands: &mpsc::Sender<Command>,
) -> bool {
    while let Some(output) = signal.poll_output() {
        let goes_on = match output {
            ServerOutput::Transmit(Frame::Binary(bytes)) => feed(socket, Message::Binary(bytes.into())).await,
            ServerOutput::Transmit(Frame::Text(text)) => feed(socket, Message::Text(text.into())).await,
            ServerOutput::WebsocketPing => feed(socket, Message::Ping(Vec::new().into())).await,
            ServerOutput::Close(code) => {
                feed(socket, Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await;
                // The event that says why comes yet.
                true
            }
            ServerOutput::Event(ServerEvent::Request(request)) => {
                commands.send(Command::Request { connection, request: *request }).await.is_ok()
            }
            ServerOutput::Event(ServerEvent::Closed(cause)) => {
                if let CloseCause::Left(reason) = cause {
                    let mut leave = proto::LeaveRequest::default();
                    leave.set_reason(reason);
                    // The core is gone with the server.
                    let request = proto::signal_request::Message::Leave(leave);
                    let _ = commands.send(Command::Request { connection, request }).await;
                }
                tracing::debug!(connection, ?cause, "a websocket ends");
                flush(socket).await;
                false
            }
            // A later version of the protocol's crate.
            ServerOutput::Event(_) => true,
        };
        if !goes_on {
            return false;
        }
    }
    flush(socket).await
}

/// Puts it where a flush finds it. Whether the peer took what was there.
async fn feed(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.feed(message)).await, Ok(Ok(())))
}

async fn flush(socket: &mut WebSocket) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.flush()).await, Ok(Ok(())))
}

/// Whether the peer took it.
async fn write(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}

/// Carries a worker's messages both ways. Workers of the Python SDK speak protobuf.
///
/// One that has not registered in time is let go, and so is one that says nothing for a while, not even to pings.
pub(crate) async fn serve_worker(
    mut socket: WebSocket,
    worker: WorkerId,
    commands: mpsc::Sender<Command>,
    patience: Duration,
) {
    let (sender, mut outgoing) = mpsc::channel(crate::media::OUTGOING);
    if commands.send(Command::WorkerJoined { worker, outgoing: sender }).await.is_err() {
        return;
    }
    let start = Now::read().instant;
    let mut pings = interval_at(Instant::from_std(start + PING_INTERVAL), PING_INTERVAL);
    let mut silent_until = start + patience;
    let mut is_registered = false;
    let reason = loop {
        tokio::select! {
            message = outgoing.recv() => {
                let Some(message) = message else { break Some("register first, and once") };
                // Its registration is answered before it is told anything else.
                if !std::mem::replace(&mut is_registered, true) {
                    silent_until = Now::read().instant + IDLE_TIMEOUT;
                }
                let message = proto::ServerMessage { message: Some(message) };
                if !write(&mut socket, Message::Binary(message.encode_to_vec().into())).await {
                    break None;
                }
            },
            message = socket.recv() => {
                if is_registered {
                    silent_until = Now::read().instant + IDLE_TIMEOUT;
                }
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Text(_) | Message::Close(_)) | Err(_)) | None => break None,
                };
                let Ok(message) = proto::WorkerMessage::decode(bytes) else { break None };
                if let Some(request) = message.message
                    && commands.send(Command::WorkerRequest { worker, request }).await.is_err()
                {
                    break None;
                }
            },
            _ = pings.tick() => {
                if !write(&mut socket, Message::Ping(Vec::new().into())).await {
                    break None;
                }
            },
            () = sleep_until(Instant::from_std(silent_until)) => {
                break Some(if is_registered { "silent for too long" } else { "not registered in time" });
            },
        }
    };
    if let Some(reason) = reason {
        let frame = CloseFrame { code: close_code::POLICY, reason: reason.into() };
        write(&mut socket, Message::Close(Some(frame))).await;
    }
    let _ = commands.send(Command::WorkerLost { worker }).await;
}
