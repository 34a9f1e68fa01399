//! Media over TCP, on real sockets: a front of the dev server adds what livekit-server has, a candidate of TCP.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message as Response;
use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{
    ConnectionState, DataPacket, IceTransportPolicy, ParticipantState, Participants, Room, RoomBuilder, RoomEvent,
    RoomEvents,
};
use roomkey_rtc::framing::Frames;
use roomkey_rtc::{Candidate, TcpType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response as Accepted};
use tokio_tungstenite::tungstenite::protocol::Message;

const PATIENCE: Duration = Duration::from_secs(20);

/// What stands before the dev server.
struct Front {
    server: DevServer,
    url: String,
    /// Breaks all connections of media.
    cut: broadcast::Sender<()>,
}

async fn front() -> Front {
    let server = DevServer::bind(Config::new()).await.unwrap();
    let media = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let signalling = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", signalling.local_addr().unwrap());
    let (address, behind) = (media.local_addr().unwrap(), server.address());
    tokio::spawn(async move {
        while let Ok((stream, _)) = signalling.accept().await {
            tokio::spawn(pass_signalling(stream, behind, address));
        }
    });
    let (cut, _) = broadcast::channel(1);
    let (server_address, breaks) = (server.media_address(), cut.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = media.accept().await {
            let mut cut = breaks.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    () = pass_media(stream, server_address) => {}
                    _ = cut.recv() => {}
                }
            });
        }
    });
    Front { server, url, cut }
}

/// Messages both ways; after each description, the candidate.
async fn pass_signalling(stream: TcpStream, server: SocketAddr, candidate: SocketAddr) {
    let mut request = None;
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let asked = |asked: &Request, accepted: Accepted| {
        request = Some((asked.uri().to_string(), asked.headers()["authorization"].clone()));
        Ok(accepted)
    };
    let Ok(client) = tokio_tungstenite::accept_hdr_async(stream, asked).await else { return };
    let (target, token) = request.unwrap();
    let mut request = format!("ws://{server}{target}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", token);
    let (server, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let ((mut to_client, mut from_client), (mut to_server, mut from_server)) = (client.split(), server.split());
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            if to_server.send(message).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        while let Some(Ok(message)) = from_server.next().await {
            let extra = trickle(&message, candidate);
            for message in [Some(message), extra].into_iter().flatten() {
                if to_client.send(message).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

fn trickle(message: &Message, address: SocketAddr) -> Option<Message> {
    let Message::Binary(bytes) = message else { return None };
    let target = match proto::SignalResponse::decode(&bytes[..]).ok()?.message? {
        Response::Answer(_) => proto::SignalTarget::Publisher,
        Response::Offer(_) => proto::SignalTarget::Subscriber,
        _ => return None,
    };
    let candidate = Candidate::host_tcp(address, TcpType::Passive).unwrap();
    let candidate_init = format!(r#"{{"candidate":"{candidate}","sdpMid":"0","sdpMLineIndex":0}}"#);
    let trickle = proto::TrickleRequest { candidate_init, target: target.into(), ..Default::default() };
    let response = proto::SignalResponse { message: Some(Response::Trickle(trickle)) };
    Some(Message::Binary(response.encode_to_vec().into()))
}

/// Frames to datagrams and back.
async fn pass_media(mut stream: TcpStream, server: SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    let (mut frames, mut bytes, mut datagram) = (Frames::new(), vec![0; 700], vec![0; 2_048]);
    loop {
        tokio::select! {
            read = stream.read(&mut bytes) => {
                let Ok(length @ 1..) = read else { return };
                frames.push(&bytes[..length]);
                while let Some(packet) = frames.next_packet() {
                    let _ = socket.send(&packet).await;
                }
            }
            received = socket.recv(&mut datagram) => {
                let Ok(length) = received else { return };
                let mut frame = Vec::new();
                assert!(roomkey_rtc::framing::write(&datagram[..length], &mut frame));
                if stream.write_all(&frame).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn join(front: &Front, identity: &str, builder: &RoomBuilder) -> (Room, RoomEvents) {
    let token = front.server.mint(identity, "room").unwrap();
    let room = timeout(PATIENCE, builder.connect(&front.url, &token)).await.unwrap().unwrap();
    let events = room.events();
    (room, events)
}

async fn event<T>(events: &mut RoomEvents, mut of: impl FnMut(RoomEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = of(events.next().await.expect("the room is not over")) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("what is waited for happens")
}

#[tokio::test]
async fn without_udp_a_room_is_joined_over_tcp_and_data_is_complete_when_connections_break() {
    for single in [true, false] {
        let front = front().await;
        let builder = Room::builder().single_peer_connection(single).ice_transport_policy(IceTransportPolicy::Tcp);
        let (alice, mut at_alice) = join(&front, "alice", &builder).await;
        let (bob, _) = join(&front, "bob", &builder).await;
        let mut participants = alice.participants();
        let is_there = |participants: &Arc<Participants>| {
            participants.get(&"bob".into()).is_some_and(|bob| bob.state == ParticipantState::Active)
        };
        timeout(PATIENCE, participants.wait_for(is_there)).await.unwrap().unwrap();
        let count = 300_u32;
        let mut number = 0;
        for sent in 0..count {
            match sent {
                100 => bob.simulate_signal_loss(),
                200 => drop(front.cut.send(())),
                _ => {}
            }
            let payload = [&sent.to_be_bytes()[..], &[7; 1_000]].concat();
            bob.local_participant().publish_data(DataPacket::new(payload)).await.unwrap();
        }
        while number < count {
            let payload = event(&mut at_alice, |event| match event {
                RoomEvent::DataReceived { payload, .. } => Some(payload),
                _ => None,
            })
            .await;
            assert_eq!(payload[..4], number.to_be_bytes());
            number += 1;
        }
        let mut state = bob.connection_state();
        let is_connected = |state: &ConnectionState| *state == ConnectionState::Connected;
        timeout(PATIENCE, state.wait_for(is_connected)).await.unwrap().unwrap();
        alice.close().await;
        bob.close().await;
    }
}
