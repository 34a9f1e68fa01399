//! The websockets of clients and of agent workers.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::Now;
use crate::media::{Command, ToClient};
use crate::sfu::{ConnectionId, WorkerId};

/// livekit-server pings the websocket at this pace.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A peer that does not take a message for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// The longest message of a client or a worker, in bytes.
pub(crate) const LONGEST_MESSAGE: usize = 512 * 1024;

/// Carries a client's messages both ways until either side ends it.
pub(crate) async fn serve_client(
    mut socket: WebSocket,
    connection: ConnectionId,
    mut outgoing: mpsc::Receiver<ToClient>,
    commands: mpsc::Sender<Command>,
) {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        tokio::select! {
            biased;
            message = outgoing.recv() => match message {
                Some(ToClient::Message(message)) => {
                    let response = proto::SignalResponse { message: Some(*message) };
                    if !write(&mut socket, Message::Binary(response.encode_to_vec().into())).await {
                        break;
                    }
                },
                Some(ToClient::Close) | None => {
                    let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
                    write(&mut socket, Message::Close(Some(frame))).await;
                    break;
                },
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(bytes))) => match proto::SignalRequest::decode(bytes) {
                    Ok(proto::SignalRequest { message: Some(request) }) => {
                        if let Some(answer) = answer_ping(&request) {
                            let response = proto::SignalResponse { message: Some(answer) };
                            if !write(&mut socket, Message::Binary(response.encode_to_vec().into())).await {
                                break;
                            }
                        } else if commands.send(Command::Request { connection, request }).await.is_err() {
                            break;
                        }
                    },
                    // A request of a later protocol than ours.
                    Ok(proto::SignalRequest { message: None }) => {},
                    Err(_) => {
                        let frame = CloseFrame { code: close_code::INVALID, reason: "not a SignalRequest".into() };
                        write(&mut socket, Message::Close(Some(frame))).await;
                        break;
                    },
                },
                // JSON is a format of older clients; livekit-server's documentation no longer has it.
                Some(Ok(Message::Text(_))) => {
                    let frame = CloseFrame { code: close_code::UNSUPPORTED, reason: "binary messages only".into() };
                    write(&mut socket, Message::Close(Some(frame))).await;
                    break;
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {},
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            _ = pings.tick() => if !write(&mut socket, Message::Ping(Vec::new().into())).await {
                break;
            },
        }
    }
    // The core is gone with the server.
    let _ = commands.send(Command::Lost { connection }).await;
}

#[expect(clippy::wildcard_enum_match_arm, reason = "everything but a ping is for the core")]
fn answer_ping(request: &Request) -> Option<Response> {
    let now = Now::read().unix_ms();
    match request {
        Request::Ping(_) => Some(Response::Pong(now)),
        Request::PingReq(ping) => {
            let pong = proto::Pong { last_ping_timestamp: ping.timestamp, timestamp: now };
            Some(Response::PongResp(pong))
        }
        _ => None,
    }
}

/// Whether the peer took it.
async fn write(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}

/// Carries a worker's messages both ways. Workers of the Python SDK speak protobuf.
pub(crate) async fn serve_worker(mut socket: WebSocket, worker: WorkerId, commands: mpsc::Sender<Command>) {
    let (sender, mut outgoing) = mpsc::channel(crate::media::OUTGOING);
    if commands.send(Command::WorkerJoined { worker, outgoing: sender }).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => {
                    let message = proto::ServerMessage { message: Some(message) };
                    if !write(&mut socket, Message::Binary(message.encode_to_vec().into())).await {
                        break;
                    }
                },
                None => {
                    let frame = CloseFrame { code: close_code::POLICY, reason: "register first, and once".into() };
                    write(&mut socket, Message::Close(Some(frame))).await;
                    break;
                },
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(bytes))) => match proto::WorkerMessage::decode(bytes) {
                    Ok(proto::WorkerMessage { message: Some(request) }) => {
                        if commands.send(Command::WorkerRequest { worker, request }).await.is_err() {
                            break;
                        }
                    },
                    Ok(proto::WorkerMessage { message: None }) => {},
                    Err(_) => break,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {},
                Some(Ok(Message::Text(_) | Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    let _ = commands.send(Command::WorkerLost { worker }).await;
}
