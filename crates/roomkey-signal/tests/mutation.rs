//! Strangers' bytes: seeded mutations of messages, queries and join requests never panic, are read within bounds, and
//! leave both ends in order.
//!
//! `ROOMKEY_MUTATIONS` sets how many are tried, for a longer run; a failure names its seed.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use prost::Message as _;
use roomkey_signal::proto::signal_request::Message as Request;
use roomkey_signal::proto::signal_response::Message as Response;
use roomkey_signal::proto::{
    AddTrackRequest, ClientInfo, JoinResponse, LeaveRequest, ParticipantInfo, ParticipantUpdate, ReconnectReason,
    SessionDescription, SignalRequest, SignalResponse, SyncState, TrackInfo, TrackPublishedResponse,
    WrappedJoinRequest,
};
use roomkey_signal::{
    Client, ClientOutput, ConnectParameters, ConnectRequest, Endpoint, ParticipantToken, Resume, Server, ServerLimits,
    ServerOutput, ServerUrl, decode_request, decode_request_json, decode_response, encode_request, encode_response,
};

fn mutations() -> u64 {
    std::env::var("ROOMKEY_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(5_000)
}

/// Pieces of protobuf, JSON and queries that a change of single bytes hardly finds.
const PIECES: [&[u8]; 18] = [
    &[0xff; 10],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x0b],
    &[0x0c],
    &[0xc2, 0x3e, 0],
    &[0x0a, 0x00],
    b"\xff\xfe",
    b"%00",
    b"%",
    b"&",
    b"=",
    b"+",
    b"join_request=",
    b"&reconnect=1&sid=",
    b"{\"",
    b"null",
    b"[[[[[[",
];

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
            3 => drop(bytes.drain(at..random.usize(at..=bytes.len()))),
            _ => {
                let piece = bytes[at..random.usize(at..=bytes.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
}

fn each_mutation(original: &[u8], mut check: impl FnMut(&[u8])) {
    for seed in 0..mutations() {
        let mut bytes = original.to_vec();
        mutate(&mut fastrand::Rng::with_seed(seed), &mut bytes);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
        assert!(outcome.is_ok(), "seed {seed}: {bytes:?}");
    }
}

fn requests() -> Vec<SignalRequest> {
    let description = SessionDescription { r#type: "offer".into(), sdp: "v=0\r\n".into(), id: 7, ..Default::default() };
    let track = TrackPublishedResponse { cid: "c".into(), track: Some(TrackInfo::default()) };
    [
        Request::Offer(description.clone()),
        Request::AddTrack(AddTrackRequest { cid: "c".into(), name: "n".into(), ..Default::default() }),
        Request::SyncState(SyncState { answer: Some(description), publish_tracks: vec![track], ..Default::default() }),
        Request::Leave(LeaveRequest::default()),
        Request::Ping(5),
    ]
    .map(|message| SignalRequest { message: Some(message) })
    .into()
}

fn responses() -> Vec<SignalResponse> {
    let own = ParticipantInfo { sid: "PA_a".into(), tracks: vec![TrackInfo::default()], ..Default::default() };
    let join = JoinResponse {
        participant: Some(own.clone()),
        other_participants: vec![own.clone(), own.clone()],
        ping_interval: 5,
        ping_timeout: 15,
        ..Default::default()
    };
    [
        Response::Join(join),
        Response::Update(ParticipantUpdate { participants: vec![own] }),
        Response::RefreshToken("a.b.c".into()),
        Response::Leave(LeaveRequest { action: 1, ..Default::default() }),
    ]
    .map(|message| SignalResponse { message: Some(message) })
    .into()
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an instant to count from; nothing waits")]
    Instant::now()
}

#[test]
fn any_request_is_read_or_refused_and_a_server_ends_at_most_once() {
    let start = now();
    for request in requests() {
        each_mutation(&encode_request(&request), |bytes| {
            if let Ok(request) = decode_request(bytes) {
                let again = encode_request(&request);
                assert_eq!(encode_request(&decode_request(&again).unwrap()), again);
            }
            let mut server = Server::new(16, &ServerLimits::default(), start, Duration::ZERO);
            server.handle_binary(bytes, start);
            server.handle_binary(bytes, start);
            server.handle_closed();
            let outputs: Vec<_> = std::iter::from_fn(|| server.poll_output()).collect();
            assert!(outputs.len() <= 4, "{outputs:?}");
            assert!(format!("{:?}", outputs.last().unwrap()).starts_with("Event(Closed("), "{outputs:?}");
            assert!(outputs.iter().filter(|output| matches!(output, ServerOutput::Close(_))).count() <= 1);
        });
        each_mutation(&serde_json::to_vec(&request).unwrap(), |bytes| {
            let _ = decode_request_json(&String::from_utf8_lossy(bytes));
        });
    }
}

#[test]
fn any_response_is_read_or_refused_and_a_client_keeps_what_it_has() {
    let start = now();
    let [join, ..] = &responses()[..] else { panic!("there are some") };
    let join = encode_response(join);
    for response in responses() {
        each_mutation(&encode_response(&response), |bytes| {
            // As the first message, and as a later one.
            let mut first = Client::new(ParticipantToken::new("t"), start, Duration::ZERO);
            first.handle_opened(start);
            let _ = first.handle_message(bytes, start);
            let mut later = Client::new(ParticipantToken::new("t"), start, Duration::ZERO);
            later.handle_opened(start);
            later.handle_message(&join, start).unwrap();
            let read = decode_response(bytes);
            if later.handle_message(bytes, start).is_err() {
                assert!(read.is_err() && !later.is_over() && later.participant_sid() == "PA_a");
            }
            for mut client in [first, later] {
                while let Some(due) = client.poll_timeout().filter(|due| *due < start + Duration::from_secs(60)) {
                    client.handle_timeout(due);
                }
                let _ = client.resume(ReconnectReason::RrUnknown);
                client.leave(start);
                let outputs = std::iter::from_fn(|| client.poll_output());
                assert!(outputs.filter(|output| matches!(output, ClientOutput::Event(_))).count() < 6);
            }
        });
    }
}

#[test]
fn any_query_is_read_or_refused_with_a_status() {
    let offer = SessionDescription { r#type: "offer".into(), sdp: "v=0\r\n".repeat(20), ..Default::default() };
    let parameters = ConnectParameters::new(ClientInfo { os: "Linux é".into(), protocol: 16, ..Default::default() })
        .with_resume(Resume::new("PA_a", ReconnectReason::RrSwitchCandidate))
        .with_attribute("k", "v");
    let server_url = ServerUrl::parse("ws://host").unwrap();
    for (endpoint, parameters) in [
        (Endpoint::V0, parameters.clone()),
        (Endpoint::V1, parameters.clone()),
        (Endpoint::V1, parameters.with_publisher_offer(offer)),
    ] {
        let url = server_url.connect(endpoint, &parameters);
        each_mutation(url.query().unwrap().as_bytes(), |bytes| {
            let query = String::from_utf8_lossy(bytes);
            for path in ["/rtc", "/rtc/v1", "/rtc/validate"] {
                match ConnectRequest::parse(path, Some(&query)) {
                    Ok(request) => {
                        let _ = server_url.connect(Endpoint::V0, &request.parameters);
                    }
                    Err(error) => assert_eq!(error.status(), 400, "{error}"),
                }
            }
            let _ = ParticipantToken::of_request(None, Some(&query));
        });
    }
}

#[test]
fn any_join_request_within_its_base64_is_read_or_refused() {
    let parameters =
        ConnectParameters::new(ClientInfo::default()).with_metadata("m").with_publisher_offer(SessionDescription {
            r#type: "offer".into(),
            sdp: "v=0\r\n".repeat(20),
            ..Default::default()
        });
    let url = ServerUrl::parse("ws://host").unwrap().connect(Endpoint::V1, &parameters);
    let text = url.query_pairs().next().unwrap().1.into_owned();
    let wrapped = URL_SAFE.decode(&text).unwrap();
    let inner = WrappedJoinRequest::decode(&*wrapped).unwrap();
    let parse = |wrapped: &[u8]| {
        let query = format!("join_request={}", URL_SAFE.encode(wrapped));
        if let Err(error) = ConnectRequest::parse("/rtc/v1", Some(&query)) {
            assert_eq!(error.status(), 400);
        }
    };
    each_mutation(&wrapped, parse);
    each_mutation(&inner.join_request, |bytes| {
        for compression in [0, 1] {
            parse(&WrappedJoinRequest { compression, join_request: bytes.to_vec() }.encode_to_vec());
        }
    });
}

#[test]
fn any_server_url_is_read_or_refused() {
    each_mutation(b"https://[::1]:7880/a/b/?x=1#f", |bytes| {
        if let Ok(server_url) = ServerUrl::parse(&String::from_utf8_lossy(bytes)) {
            let url = server_url.connect(Endpoint::V0, &ConnectParameters::new(ClientInfo::default()));
            assert!(matches!(url.scheme(), "ws" | "wss") && url.path().ends_with("/rtc"), "{url}");
        }
    });
}
