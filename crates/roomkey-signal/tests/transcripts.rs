//! Recordings of LiveKit's own clients and livekit-server 1.13.5, played through both ends.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]
#![allow(clippy::wildcard_enum_match_arm, reason = "most kinds of messages are treated alike")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use prost::Message as _;
use roomkey_signal::proto::signal_request::Message as Request;
use roomkey_signal::proto::signal_response::Message as Response;
use roomkey_signal::proto::{
    JoinRequest, JoinResponse, ParticipantInfo, Pong, ReconnectReason, SignalRequest, SignalResponse,
    WrappedJoinRequest, wrapped_join_request::Compression,
};
use roomkey_signal::{
    Client, ClientEvent, ClientOutput, CloseCause, CloseCode, ConnectParameters, ConnectRequest, Endpoint, Frame,
    LeaveAction, ParticipantToken, Server, ServerEvent, ServerLimits, ServerOutput, ServerUrl, Transport,
    decode_request, decode_request_json, decode_response, encode_request, encode_response, encode_response_json,
    request_kind, response_kind,
};
use serde_json::Value;

const TRANSCRIPTS: [(&str, &str); 26] = [
    ("01", include_str!("transcripts/01-python-single.jsonl")),
    ("02", include_str!("transcripts/02-python-dual.jsonl")),
    ("03", include_str!("transcripts/03-js-single.jsonl")),
    ("04", include_str!("transcripts/04-js-dual.jsonl")),
    ("05", include_str!("transcripts/05-rtc-node-data.jsonl")),
    ("06", include_str!("transcripts/06-go-data-track-resume.jsonl")),
    ("07", include_str!("transcripts/07-python-duplicate-identity.jsonl")),
    ("08", include_str!("transcripts/08-python-room-service.jsonl")),
    ("09", include_str!("transcripts/09-python-resume-single.jsonl")),
    ("10", include_str!("transcripts/10-python-resume-dual.jsonl")),
    ("11", include_str!("transcripts/11-js-resume-single.jsonl")),
    ("12", include_str!("transcripts/12-js-resume-dual.jsonl")),
    ("13", include_str!("transcripts/13-python-server-killed.jsonl")),
    ("14", include_str!("transcripts/14-python-server-stopped.jsonl")),
    ("15", include_str!("transcripts/15-js-server-killed.jsonl")),
    ("16", include_str!("transcripts/16-python-token-refresh.jsonl")),
    ("17", include_str!("transcripts/17-python-join-refused.jsonl")),
    ("18", include_str!("transcripts/18-python-no-auto-create.jsonl")),
    ("19", include_str!("transcripts/19-js-join-refused.jsonl")),
    ("20", include_str!("transcripts/20-raw-statuses.jsonl")),
    ("21", include_str!("transcripts/21-raw-request-errors.jsonl")),
    ("22", include_str!("transcripts/22-agents-named-dispatch.jsonl")),
    ("23", include_str!("transcripts/23-agents-automatic-dispatch.jsonl")),
    ("24", include_str!("transcripts/24-webhooks.jsonl")),
    ("25", include_str!("transcripts/25-python-many-tracks.jsonl")),
    ("26", include_str!("transcripts/26-js-no-auto-create.jsonl")),
];

/// The lines of all recordings, each with where it is for a failing assertion.
fn lines() -> impl Iterator<Item = (String, Value)> {
    TRANSCRIPTS.into_iter().flat_map(|(file, text)| {
        (text.lines().enumerate())
            .map(move |(number, line)| (format!("{file}:{}", number + 1), serde_json::from_str(line).unwrap()))
    })
}

fn request_of(line: &Value) -> SignalRequest {
    serde_json::from_value(line["msg"].clone()).unwrap()
}

fn response_of(line: &Value) -> SignalResponse {
    serde_json::from_value(line["msg"].clone()).unwrap()
}

/// Whether the bytes differ from those on the wire: something was replaced for the recording, or a map has an empty
/// value, which Go writes and Rust does not.
fn is_changed(line: &Value) -> bool {
    let text = line["msg"].to_string();
    text.contains(":\"\"") || text.contains('<') || text.contains("127.0.0.1") || text.contains("stun.example")
}

#[test]
fn every_message_is_read_from_the_bytes_and_the_text_that_it_is_written_as() {
    let (mut messages, mut unchanged) = (0, 0);
    for (at, line) in lines().filter(|(_, line)| line["msg"].is_object() && line["kind"] != "request") {
        let kind = line["kind"].as_str().unwrap();
        let len = if line["dir"] == "c2s" {
            let request = request_of(&line);
            let bytes = encode_request(&request);
            assert_eq!(decode_request(&bytes).unwrap(), request, "{at}");
            assert_eq!(decode_request_json(&line["msg"].to_string()).unwrap(), request, "{at}");
            assert_eq!(request_kind(&request.message.unwrap()), kind, "{at}");
            bytes.len()
        } else {
            let response = response_of(&line);
            let bytes = encode_response(&response);
            assert_eq!(decode_response(&bytes).unwrap(), response, "{at}");
            let text = encode_response_json(&response);
            assert_eq!(serde_json::from_str::<SignalResponse>(&text).unwrap(), response, "{at}");
            assert_eq!(response_kind(&response.message.unwrap()), kind, "{at}");
            bytes.len()
        };
        messages += 1;
        // The bytes on the wire were as many: no field was lost.
        if !is_changed(&line) && line["text"].is_null() {
            assert_eq!(len as u64, line["len"].as_u64().unwrap(), "{at}: {}", line["msg"]);
            unchanged += 1;
        }
    }
    assert!(messages >= 1719 && unchanged > 950, "{messages} messages, {unchanged} of them as they were");
}

/// The query as it was sent. What was decoded in the recording is encoded again.
fn query_of(line: &Value) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in line["query"].as_object().unwrap() {
        let recorded = &line["join_request"];
        if key != "join_request" || recorded["msg"].is_null() {
            query.append_pair(key, value.as_str().unwrap());
            continue;
        }
        let request: JoinRequest = serde_json::from_value(recorded["msg"].clone()).unwrap();
        let join_request = request.encode_to_vec();
        let wrapped = if recorded["compression"] == "GZIP" {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &join_request).unwrap();
            WrappedJoinRequest { compression: Compression::Gzip.into(), join_request: encoder.finish().unwrap() }
        } else {
            WrappedJoinRequest { compression: Compression::None.into(), join_request }
        };
        let text = URL_SAFE.encode(wrapped.encode_to_vec());
        // What was compressed has another length than in the recording, and so has the padding.
        let unpadded = recorded["compression"] == "NONE" && recorded["padded"] == false;
        query.append_pair(key, if unpadded { text.trim_end_matches('=') } else { &text });
    }
    query.finish()
}

#[test]
fn every_request_is_read_as_what_the_client_sent() {
    let mut requests = 0;
    let mut check = |at: &str, line: &Value| {
        let path = line["path"].as_str().unwrap();
        let Ok(request) = ConnectRequest::parse(path, Some(&query_of(line))) else { return };
        requests += 1;
        let (query, join) = (&line["query"], &line["join_request"]["msg"]);
        let endpoint = if path.starts_with("/rtc/v1") { Endpoint::V1 } else { Endpoint::V0 };
        assert_eq!((request.endpoint, request.is_validate), (endpoint, path.ends_with("/validate")), "{at}");
        let transport = if join.is_object() { Transport::Single } else { Transport::Dual };
        assert_eq!(request.transport, transport, "{at}");
        assert_eq!(request.access_token.is_some(), query["access_token"].is_string(), "{at}");
        assert!(!format!("{request:?}").contains("<token>"), "{at}");

        let parameters = &request.parameters;
        if join.is_object() {
            let sent: JoinRequest = serde_json::from_value(join.clone()).unwrap();
            let settings = sent.connection_settings.unwrap_or_default();
            assert_eq!(parameters.client_info, sent.client_info.unwrap_or_default(), "{at}");
            assert_eq!(parameters.publisher_offer, sent.publisher_offer, "{at}");
            assert_eq!(parameters.auto_subscribe, settings.auto_subscribe, "{at}");
            assert_eq!(parameters.adaptive_stream, settings.adaptive_stream, "{at}");
            let resume = parameters.resume.as_ref();
            assert_eq!(resume.is_some(), sent.reconnect, "{at}");
            assert_eq!(resume.map_or("", |resume| &resume.participant_sid), sent.participant_sid, "{at}");
            assert_eq!(resume.map_or(0, |resume| resume.reason.into()), sent.reconnect_reason, "{at}");
        } else {
            let text = |key: &str| query[key].as_str().unwrap_or_default();
            let info = &parameters.client_info;
            assert_eq!(info.sdk().as_str_name().to_lowercase().replace("unknown", ""), text("sdk"), "{at}");
            assert_eq!(info.version, text("version"), "{at}");
            assert_eq!((&*info.os, &*info.os_version), (text("os"), text("os_version")), "{at}");
            assert_eq!(info.device_model, text("device_model"), "{at}");
            assert_eq!(info.protocol, text("protocol").parse().unwrap_or(0), "{at}");
            assert_eq!(info.client_protocol, text("client_protocol").parse().unwrap_or(0), "{at}");
            let names: Vec<_> = info.capabilities().map(|capability| capability.as_str_name()).collect();
            assert_eq!(names.join(","), text("capabilities"), "{at}");
            assert_eq!(parameters.auto_subscribe, text("auto_subscribe") != "0", "{at}");
            assert_eq!(parameters.adaptive_stream, text("adaptive_stream") == "1", "{at}");
            let resume = parameters.resume.as_ref();
            assert_eq!(resume.is_some(), text("reconnect") == "1", "{at}");
            assert_eq!(resume.map_or("", |resume| &resume.participant_sid), text("sid"), "{at}");
            let reason = text("reconnect_reason").parse().unwrap_or(0);
            assert_eq!(resume.map_or(0, |resume| resume.reason.into()), reason, "{at}");
        }

        // What our client writes says the same.
        let server_url = ServerUrl::parse("ws://host").unwrap();
        let endpoint = if transport == Transport::Single { Endpoint::V1 } else { Endpoint::V0 };
        let url = server_url.connect(endpoint, parameters);
        assert_eq!(&ConnectRequest::parse(url.path(), url.query()).unwrap().parameters, parameters, "{at}");
    };
    for (at, line) in lines().filter(|(_, line)| line["kind"] == "request") {
        check(&at, &line);
    }
    assert!(requests > 130, "{requests}");
}

#[test]
fn every_refusal_of_a_request_has_the_status_and_the_body_of_livekit_server() {
    let ours = [
        "join_request is required",
        "cannot base64 decode wrapped join request",
        "cannot unmarshal wrapped join request",
        "404 page not found\n",
    ];
    let mut requests = HashMap::new();
    let mut refused = 0;
    for (at, line) in lines() {
        let connection = (at[..2].to_owned(), line["c"].as_str().unwrap_or_default().to_owned());
        match line["kind"].as_str() {
            Some("request") => drop(requests.insert(connection, line)),
            Some("response") => {
                let request = &requests[&connection];
                let parsed = ConnectRequest::parse(request["path"].as_str().unwrap(), Some(&query_of(request)));
                let body = line["body"].as_str().unwrap_or_default();
                match parsed {
                    // Not a websocket: the shell sees that before it reads the request.
                    Err(_) if line["status"] == 404 && line["body"].is_null() => {}
                    Err(error) => {
                        assert_eq!(
                            (error.status().into(), error.body()),
                            (line["status"].as_u64().unwrap(), body),
                            "{at}"
                        );
                        refused += 1;
                    }
                    Ok(_) => assert!(!ours.contains(&body), "{at}: {body}"),
                }
            }
            _ => {}
        }
    }
    assert_eq!(refused, 7);
}

/// Plays a recording through a client for each participant, and through a server for each of its websockets.
struct Replay {
    start: Instant,
    clients: HashMap<String, Client>,
    websockets: HashMap<String, Websocket>,
    resumes: u32,
}

struct Websocket {
    at: Duration,
    request: ConnectRequest,
    server: Option<Server>,
    /// A newer websocket of the same client is in use.
    abandoned: bool,
}

#[test]
fn every_recording_plays_through_client_and_server_without_a_surprise() {
    let mut resumes = 0;
    for (file, text) in TRANSCRIPTS {
        #[expect(clippy::disallowed_methods, reason = "an instant to count from; nothing waits")]
        let start = Instant::now();
        let mut replay = Replay { start, clients: HashMap::new(), websockets: HashMap::new(), resumes: 0 };
        for (number, line) in text.lines().enumerate() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["c"].is_string() {
                replay.play(&format!("{file}:{}", number + 1), &line);
            }
        }
        resumes += replay.resumes;
    }
    assert!(resumes > 10, "{resumes}");
}

impl Replay {
    fn play(&mut self, at: &str, line: &Value) {
        let connection = line["c"].as_str().unwrap();
        let kind = line["kind"].as_str().unwrap();
        if kind == "request" {
            let parsed = ConnectRequest::parse(line["path"].as_str().unwrap(), Some(&query_of(line)));
            if let Ok(request) = parsed {
                let at = Duration::from_millis(line["at"].as_u64().unwrap());
                let websocket = Websocket { at, request, server: None, abandoned: false };
                self.websockets.insert(connection.to_owned(), websocket);
            }
            return;
        }
        let Some(websocket) = self.websockets.get_mut(connection) else { return };
        let now = self.start + websocket.at + Duration::from_millis(line["t"].as_u64().unwrap());
        let name = connection.split('#').next().unwrap().to_owned();
        if kind == "response" {
            if line["status"] == 101 {
                self.open(connection, name, now);
            }
            return;
        }
        let Some(server) = websocket.server.as_mut() else { return };
        let from_client = line["dir"] == "c2s";
        match kind {
            "close" | "tcp_eof" | "tcp_reset" => {
                server.handle_closed();
                server_outputs(server);
                if !websocket.abandoned {
                    let client = self.clients.get_mut(&name).unwrap();
                    client.handle_closed();
                    client_outputs(client);
                }
            }
            "undecodable" => {
                server.handle_binary(&STANDARD.decode(line["b64"].as_str().unwrap()).unwrap(), now);
                let outputs = server_outputs(server);
                assert_eq!(outputs[0], ServerOutput::Close(CloseCode::Normal), "{at}");
                assert!(
                    matches!(&outputs[1], ServerOutput::Event(ServerEvent::Closed(CloseCause::Undecodable(_)))),
                    "{at}"
                );
            }
            _ if from_client => self.client_says(at, connection, &name, line, now),
            _ => self.server_says(at, connection, &name, line, now),
        }
    }

    fn open(&mut self, connection: &str, name: String, now: Instant) {
        let unix_time = Duration::from_secs(1_795_490_707);
        let websocket = self.websockets.get_mut(connection).unwrap();
        let protocol = websocket.request.parameters.client_info.protocol;
        websocket.server = Some(Server::new(protocol, &ServerLimits::default(), now, unix_time));
        let client = if let Some(resume) = websocket.request.parameters.resume.clone() {
            self.resumes += 1;
            let old = self
                .clients
                .remove(&name)
                .filter(|old| !old.is_over() && old.participant_sid() == resume.participant_sid);
            let mut client = old.unwrap_or_else(|| joined(&resume.participant_sid, now, unix_time));
            assert_eq!(client.resume(resume.reason), Some(resume));
            client
        } else {
            Client::new(ParticipantToken::new("first"), now, unix_time)
        };
        for (other, websocket) in &mut self.websockets {
            websocket.abandoned |= other != connection && other.split('#').next() == Some(&name);
        }
        let client = self.clients.entry(name).insert_entry(client).into_mut();
        client.handle_opened(now);
        while client.poll_output().is_some() {}
    }

    fn client_says(&mut self, at: &str, connection: &str, name: &str, line: &Value, now: Instant) {
        let request = request_of(line);
        let message = request.message.clone().unwrap();
        let websocket = self.websockets.get_mut(connection).unwrap();
        let client = self.clients.get_mut(name).unwrap();
        if !websocket.abandoned && !client.is_over() {
            wait(client, now);
            match &message {
                // These a client sends by itself.
                Request::Ping(_) | Request::PingReq(_) => {}
                Request::Leave(_) => client.leave(now),
                _ => client.send(message.clone()).unwrap(),
            }
            let mut outputs = client_outputs(client);
            let sends = !matches!(message, Request::Ping(_) | Request::PingReq(_));
            if sends && outputs.is_empty() {
                client.set_reconnected();
                outputs = client_outputs(client);
            }
            if sends {
                let leave = matches!(message, Request::Leave(_));
                let bytes = encode_request(&request);
                assert!(leave || outputs == [ClientOutput::Transmit(bytes)], "{at}: {outputs:?}");
                assert!(!leave || matches!(outputs[..], [ClientOutput::Transmit(_)]), "{at}: {outputs:?}");
            }
        }

        let server = websocket.server.as_mut().unwrap();
        if server.is_closed() {
            return;
        }
        if line["text"] == true {
            server.handle_text(&line["msg"].to_string(), now);
        } else {
            server.handle_binary(&encode_request(&request), now);
        }
        let mut outputs = server_outputs(server);
        let answer = match &outputs[0] {
            ServerOutput::Transmit(Frame::Text(text)) => serde_json::from_str(text).unwrap(),
            ServerOutput::Transmit(Frame::Binary(bytes)) => decode_response(bytes).unwrap(),
            _ => SignalResponse::default(),
        };
        match (message, answer.message) {
            (Request::Ping(_), Some(Response::Pong(_))) => assert_eq!(outputs.len(), 1, "{at}"),
            (Request::PingReq(ping), Some(Response::PongResp(pong))) => {
                assert_eq!(pong.last_ping_timestamp, ping.timestamp, "{at}");
            }
            (Request::Leave(leave), Some(Response::Leave(echo))) => {
                assert_eq!(echo, leave, "{at}");
                assert_eq!(outputs.remove(1), ServerOutput::Close(CloseCode::Normal), "{at}");
                let left = ServerEvent::Closed(CloseCause::Left(leave.reason()));
                assert_eq!(outputs.remove(1), ServerOutput::Event(left), "{at}");
            }
            (message, None) => {
                assert_eq!(outputs, [ServerOutput::Event(ServerEvent::Request(Box::new(message)))], "{at}");
            }
            (_, answer) => panic!("{at}: answered with {:?}", answer.as_ref().map(response_kind)),
        }
    }

    fn server_says(&mut self, at: &str, connection: &str, name: &str, line: &Value, now: Instant) {
        let response = response_of(line);
        let message = response.message.clone().unwrap();
        let websocket = self.websockets.get_mut(connection).unwrap();
        let server = websocket.server.as_mut().unwrap();
        match &message {
            // These a server sends by itself; the echo of a leave was sent already.
            Response::Pong(_) | Response::PongResp(_) => {}
            Response::Leave(_) if server.is_closed() => {}
            Response::Leave(leave) => {
                let reconnect = leave.can_reconnect || leave.action == 2;
                let action = if reconnect { LeaveAction::Reconnect } else { LeaveAction::Disconnect };
                server.disconnect(action, leave.reason());
                let outputs = server_outputs(server);
                assert_eq!(outputs[0], ServerOutput::Transmit(Frame::Binary(encode_response(&response))), "{at}");
                assert_eq!(outputs[1], ServerOutput::Close(CloseCode::Normal), "{at}");
            }
            // In the recording a message can cross the client's leave.
            _ if server.is_closed() => {}
            _ => {
                server.send(message.clone());
                let frame = Frame::Binary(encode_response(&response));
                assert_eq!(server_outputs(server), [ServerOutput::Transmit(frame)], "{at}");
            }
        }

        if websocket.abandoned {
            return;
        }
        let client = self.clients.get_mut(name).unwrap();
        wait(client, now);
        let was_over = client.is_over();
        client.handle_message(&encode_response(&response), now).unwrap();
        let outputs = client_outputs(client);
        let leaving = line["kind"] == "leave";
        let expected = match message {
            _ if was_over => vec![],
            Response::Join(join) => {
                assert_eq!(client.participant_sid(), join.participant.as_ref().unwrap().sid, "{at}");
                vec![ClientEvent::Joined(Box::new(join))]
            }
            Response::Reconnect(reconnect) => vec![ClientEvent::Resumed(Some(Box::new(reconnect)))],
            Response::RefreshToken(token) => {
                assert_eq!(client.token().as_str(), token, "{at}");
                vec![ClientEvent::TokenRefreshed]
            }
            Response::Pong(_) | Response::PongResp(_) => vec![],
            Response::Leave(leave) => {
                assert!(client.is_over(), "{at}");
                assert_eq!(outputs.first(), Some(&ClientOutput::Close), "{at}");
                match &outputs[1] {
                    ClientOutput::Event(ClientEvent::LeaveRequested(asked)) => {
                        assert_eq!(asked.reason, leave.reason(), "{at}");
                        assert_eq!(asked.action == LeaveAction::Reconnect, leave.can_reconnect || leave.action == 2);
                    }
                    output => assert_eq!(format!("{output:?}"), "Event(Disconnected(Left))", "{at}"),
                }
                vec![]
            }
            message => vec![ClientEvent::Message(Box::new(message))],
        };
        // What crosses a leave is of no use to who leaves.
        let listens = !outputs.is_empty() || client.send(Request::Ping(1)).is_ok();
        if !leaving && listens {
            let expected: Vec<_> = expected.into_iter().map(ClientOutput::Event).collect();
            assert_eq!(outputs, expected, "{at}");
        }
        while client.poll_output().is_some() {}
    }
}

/// A client whose join was not recorded.
fn joined(participant_sid: &str, now: Instant, unix_time: Duration) -> Client {
    let mut client = Client::new(ParticipantToken::new("first"), now, unix_time);
    client.handle_opened(now);
    let participant = Some(ParticipantInfo { sid: participant_sid.to_owned(), ..Default::default() });
    let join = Response::Join(JoinResponse { participant, ..Default::default() });
    client.handle_message(&encode_response(&SignalResponse { message: Some(join) }), now).unwrap();
    client
}

/// Lets time pass, with a server that answers each ping.
fn wait(client: &mut Client, until: Instant) {
    while let Some(due) = client.poll_timeout().filter(|due| *due <= until) {
        client.handle_timeout(due);
        for output in client_outputs(client) {
            match output {
                ClientOutput::Transmit(bytes) => {
                    let Some(Request::PingReq(ping)) = decode_request(&bytes).unwrap().message else {
                        panic!("time makes nothing but pings")
                    };
                    let pong = Pong { last_ping_timestamp: ping.timestamp, timestamp: ping.timestamp };
                    let answer = SignalResponse { message: Some(Response::PongResp(pong)) };
                    client.handle_message(&encode_response(&answer), due).unwrap();
                    assert_eq!(
                        client_outputs(client),
                        [ClientOutput::Event(ClientEvent::RoundTripTime(Duration::ZERO))]
                    );
                }
                // The recorded server did not answer a leave before it was too late.
                ClientOutput::Close => {}
                ClientOutput::Event(event) => assert_eq!(format!("{event:?}"), "Disconnected(Left)"),
            }
        }
    }
}

fn client_outputs(client: &mut Client) -> Vec<ClientOutput> {
    std::iter::from_fn(|| client.poll_output()).collect()
}

fn server_outputs(server: &mut Server) -> Vec<ServerOutput> {
    std::iter::from_fn(|| server.poll_output()).collect()
}

#[test]
fn a_full_reconnect_reason_survives_the_query() {
    for reason in [ReconnectReason::RrSignalDisconnected, ReconnectReason::RrPublisherFailed] {
        let resume = roomkey_signal::Resume::new("PA_x", reason);
        let parameters = ConnectParameters::new(Default::default()).with_resume(resume);
        for endpoint in [Endpoint::V0, Endpoint::V1] {
            let url = ServerUrl::parse("ws://host").unwrap().connect(endpoint, &parameters);
            assert_eq!(ConnectRequest::parse(url.path(), url.query()).unwrap().parameters, parameters);
        }
    }
}
