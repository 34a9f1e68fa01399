//! Clients that send what they should not, or nothing: the others go on, and each gets to know why it is parted from.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a panic is a test's report")]

mod support;

use std::time::{Duration, UNIX_EPOCH};

use futures_util::SinkExt as _;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_dev_server::{Config, DevServer};
use roomkey_token::{AccessToken, Signer, VideoGrant};
use support::{Connected, dial, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite;

async fn server() -> DevServer {
    DevServer::bind(Config::new()).await.unwrap()
}

async fn join(server: &DevServer, identity: &str) -> Connected {
    let token = server.mint(identity, "lab").unwrap();
    let path = format!("/rtc?protocol=16&auto_subscribe=1&access_token={token}");
    let mut connected = dial(server.address(), &path, None).await.unwrap();
    assert!(matches!(connected.next().await.unwrap(), Message::Join(_)));
    connected
}

/// The server still answers this client, and lets another one in.
async fn is_well(server: &DevServer, client: &mut Connected) {
    client.send(Request::Ping(7)).await;
    while !matches!(client.next().await.unwrap(), Message::Pong(_)) {}
    join(server, "somebody-else").await;
}

/// A request for a track with so many layers of two bytes, of which each is a struct.
fn empty_layers(count: usize) -> Vec<u8> {
    let layers = vec![proto::VideoLayer::default(); count];
    let request = Request::AddTrack(proto::AddTrackRequest { layers, ..Default::default() });
    proto::SignalRequest { message: Some(request) }.encode_to_vec()
}

#[tokio::test]
async fn what_is_no_message_ends_the_websocket_that_it_came_on() {
    let server = server().await;
    let mut bystander = join(&server, "bystander").await;
    for (garbage, code) in [
        (tungstenite::Message::Binary(vec![0xff; 100].into()), 1000),
        (tungstenite::Message::Text("{\"nonsense\":".into()), 1000),
        (tungstenite::Message::Binary(vec![0; 600 * 1024].into()), 1009),
        (tungstenite::Message::Binary(empty_layers(200_000).into()), 1009),
        (
            tungstenite::Message::Text(
                format!("{{\"syncState\":{{\"publishTracks\":[{}{{}}]}}}}", "{},".repeat(150_000)).into(),
            ),
            1009,
        ),
    ] {
        let mut client = join(&server, "garbage").await;
        // The server may close while this is still being sent.
        let _ = client.0.send(garbage).await;
        let closed = client.closed().await;
        assert!(closed == code || (code == 1009 && closed == 1006), "{closed}");
    }
    is_well(&server, &mut bystander).await;
}

#[tokio::test]
async fn a_flood_of_requests_is_ended_as_a_violation_of_policy() {
    let server = server().await;
    let mut bystander = join(&server, "bystander").await;
    let mut client = join(&server, "flood").await;
    let mute = proto::MuteTrackRequest { sid: "TR_none".to_owned(), muted: true };
    let request = proto::SignalRequest { message: Some(Request::Mute(mute)) };
    let bytes = prost::Message::encode_to_vec(&request);
    for _ in 0..20_000 {
        if client.0.send(tungstenite::Message::Binary(bytes.clone().into())).await.is_err() {
            break;
        }
    }
    let closed = client.closed().await;
    assert!([1008, 1006].contains(&closed), "{closed}");
    is_well(&server, &mut bystander).await;
}

#[tokio::test]
async fn descriptions_and_candidates_that_make_no_sense_part_from_their_sender_alone() {
    let server = server().await;
    let mut bystander = join(&server, "bystander").await;
    for sdp in ["", "v=0", "nonsense\r\n", &"a=mid:0\r\n".repeat(10_000), "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"]
    {
        let mut client = join(&server, "offer").await;
        let offer = proto::SessionDescription { r#type: "offer".to_owned(), sdp: sdp.to_owned(), ..Default::default() };
        client.send(Request::Offer(offer.clone())).await;
        client.send(Request::Answer(offer)).await;
        let trickle = proto::TrickleRequest { candidate_init: sdp.to_owned(), ..Default::default() };
        client.send(Request::Trickle(trickle)).await;
        let leave = loop {
            match client.next().await {
                Some(Message::Leave(leave)) => break Some(leave),
                Some(_) => {}
                None => break None,
            }
        };
        let reason = leave.expect("it is told why").reason();
        assert_eq!(reason, proto::DisconnectReason::JoinFailure, "{sdp:.20}");
    }
    is_well(&server, &mut bystander).await;
}

#[tokio::test]
async fn a_thousand_sockets_that_say_nothing_keep_nobody_out() {
    let server = DevServer::bind(Config::new().with_max_connections(50)).await.unwrap();
    let mut bystander = join(&server, "bystander").await;
    let mut sockets = Vec::new();
    for number in 0..1_000 {
        let Ok(mut socket) = TcpStream::connect(server.address()).await else {
            // Both ends are this process, which may have no more descriptors.
            sockets.truncate(number - 100);
            break;
        };
        if number % 2 == 0 {
            // It may have been let go before.
            let _ = socket.write_all(b"GET /rtc HTTP/1.1\r\nhost: x\r\n").await;
        }
        sockets.push(socket);
    }
    is_well(&server, &mut bystander).await;
    drop(sockets);
    assert_eq!(get(server.address(), "/", None).await, (200, "OK".to_owned()));
}

#[tokio::test]
async fn who_connects_and_asks_for_nothing_is_let_go() {
    let server = DevServer::bind(Config::new().with_handshake_timeout(Duration::from_millis(500))).await.unwrap();
    for said in ["", "GET /rtc HTTP/1.1\r\nhost: x\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It ends, and what is asked whole is answered before.
        let _ = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), said.ends_with("\r\n\r\n"));
    }
    // Who has a websocket is not: one that came later is let go before.
    let mut client = join(&server, "alice").await;
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut Vec::new())).await.unwrap();
    is_well(&server, &mut client).await;
}

#[tokio::test]
async fn where_everybody_has_a_websocket_one_more_is_cut_off() {
    let server = DevServer::bind(Config::new().with_max_connections(2)).await.unwrap();
    let (mut alice, _bob) = (join(&server, "alice").await, join(&server, "bob").await);
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut Vec::new())).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))));
    alice.send(Request::Ping(7)).await;
    while !matches!(alice.next().await.unwrap(), Message::Pong(_)) {}
}

#[tokio::test]
async fn a_worker_that_does_not_register_is_let_go() {
    let config = Config::new().with_key("mine", "secret").with_handshake_timeout(Duration::from_millis(100));
    let server = DevServer::bind(config).await.unwrap();
    let mut grant = VideoGrant::default();
    grant.agent = true;
    let signer = Signer::builder("mine", "secret").allow_weak_secret().build().unwrap();
    let token = AccessToken::new("worker")
        .with_video(grant)
        .sign(&signer, UNIX_EPOCH + Duration::from_secs(support::now()))
        .unwrap();
    let path = format!("/agent?access_token={}", String::from(token));
    let worker = dial(server.address(), &path, None).await.unwrap();
    assert_eq!(worker.closed().await, 1008);
}

#[tokio::test]
async fn datagrams_of_strangers_are_nothing() {
    let server = server().await;
    let mut bystander = join(&server, "bystander").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..5_000 {
        let length = random.usize(0..1_400);
        let datagram: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        socket.send_to(&datagram, server.media_address()).await.unwrap();
    }
    is_well(&server, &mut bystander).await;
}

#[tokio::test]
async fn who_leaves_is_told_so_and_the_server_says_goodbye_when_it_ends() {
    let server = server().await;
    let mut leaving = join(&server, "leaving").await;
    let mut staying = join(&server, "staying").await;
    let leave = proto::LeaveRequest { reason: proto::DisconnectReason::ClientInitiated as i32, ..Default::default() };
    leaving.send(Request::Leave(leave)).await;
    assert_eq!(leaving.closed().await, 1000);
    tokio::time::timeout(Duration::from_secs(20), server.shutdown()).await.unwrap();
    loop {
        match staying.next().await {
            Some(Message::Leave(leave)) => {
                assert_eq!(leave.reason(), proto::DisconnectReason::ServerShutdown);
                break;
            }
            Some(_) => {}
            None => panic!("no goodbye"),
        }
    }
}

#[tokio::test]
async fn a_path_with_double_slashes_is_the_path_without() {
    let server = server().await;
    let token = server.mint("alice", "lab").unwrap();
    let path = format!("//rtc/validate?access_token={token}");
    assert_eq!(get(server.address(), &path, None).await, (200, "success".to_owned()));
}

#[tokio::test]
async fn beyond_loopback_tokens_are_given_to_nobody_unless_that_is_asked_for() {
    for (gives_tokens, status) in [(None, 403), (Some(true), 201)] {
        let mut config = Config::new()
            .with_address("0.0.0.0".parse().unwrap())
            .with_key("mine", "a secret of thirty-two bytes, or more");
        if let Some(gives_tokens) = gives_tokens {
            config = config.with_development_token_server(gives_tokens);
        }
        let server = DevServer::bind(config).await.unwrap();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address().port()));
        let (told, _) = support::post(address, "/api/v2/sandbox/connection-details", "{}").await;
        assert_eq!(told, status);
    }
}

#[tokio::test]
async fn a_connection_for_media_that_is_of_nobody_is_ended_and_the_others_go_on() {
    let server = DevServer::bind(Config::new().with_handshake_timeout(Duration::from_millis(200))).await.unwrap();
    let mut bystander = join(&server, "bystander").await;
    let address = server.media_address();
    for said in [&[0, 3, 1, 2, 3][..], &[0xff; 100_000], &[0, 0, 0, 0], b"GET / HTTP/1.1\r\n\r\n", &[]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may be gone before all of it is written.
        let _ = stream.write_all(said).await;
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{} bytes", said.len());
    }
    is_well(&server, &mut bystander).await;
}

#[tokio::test]
async fn connections_for_media_are_bounded() {
    let config = Config::new().with_max_connections(40).with_handshake_timeout(Duration::from_secs(600));
    let server = DevServer::bind(config).await.unwrap();
    let mut bystander = join(&server, "bystander").await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(TcpStream::connect(server.media_address()).await.unwrap());
    }
    let mut beyond = TcpStream::connect(server.media_address()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), beyond.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok());
    is_well(&server, &mut bystander).await;
}
