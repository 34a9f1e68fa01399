//! Calls between us and LiveKit's own crate, both ways.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_common as common;
use livekit_data_stream::api::{AnyStreamReader, SendTextOptions, StreamReader as _, StreamResult, TextStreamInfo};
use livekit_data_stream::backend::incoming::{Manager as TheirIncoming, ManagerInput, OutputEvent, PacketReceived};
use livekit_data_stream::backend::outgoing::Manager as TheirOutgoing;
use livekit_data_stream::backend::{Chunk, Header, Packet, Trailer};
use livekit_protocol::DataPacket;
use livekit_protocol::data_packet::Value;
use livekit_protocol::rpc_response::Value as Answer;
use livekit_rpc::api::{PerformRpcData, RpcError as TheirError};
use livekit_rpc::backend::{HandleRequestOptions, RpcClientManager, RpcServerManager, RpcTransport, RpcTransportError};
use tokio::sync::mpsc;

use super::endpoint::{RpcEndpoint, RpcOutput};
use super::error::RpcError;
use super::request::RpcRequest;
use crate::data_stream::incoming::{IncomingStreams, Origin};
use crate::data_stream::limits::StreamLimits;
use crate::participant::Participant;

#[tokio::test(start_paused = true)]
async fn livekit_calls_our_methods() {
    for client_protocol in [0, 1, 2] {
        for payload in ["", "short", &long_payload(client_protocol)] {
            let (theirs, mut us) = connect(client_protocol);
            let call = call_by_livekit(&theirs, "echo", payload);
            let serve = us.serve(&theirs);
            let answer = tokio::select! { answer = call => answer, () = serve => unreachable!("serves for ever") };
            assert_eq!(answer.unwrap(), format!("echo of {payload}"), "{client_protocol}");
        }
        for (method, code, data) in [("nothing", 1400, ""), ("fail", 42, "{}")] {
            let (theirs, mut us) = connect(client_protocol);
            let call = call_by_livekit(&theirs, method, "payload");
            let serve = us.serve(&theirs);
            let answer = tokio::select! { answer = call => answer, () = serve => unreachable!("serves for ever") };
            let error = answer.unwrap_err();
            assert_eq!((error.code, error.data.as_deref()), (code, Some(data)), "{client_protocol}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn we_call_livekits_methods() {
    for client_protocol in [0, 1, 2] {
        let long = long_payload(client_protocol);
        for (method, payload, expected) in [
            ("echo", "", Ok("echo of ".to_owned())),
            ("echo", "short", Ok("echo of short".to_owned())),
            ("echo", &long, Ok(format!("echo of {long}"))),
            ("nothing", "", Err(RpcError::of(RpcError::UNSUPPORTED_METHOD))),
            ("fail", "", Err(RpcError::new(42, "no").with_data("{}"))),
        ] {
            let (theirs, mut us) = connect(client_protocol);
            let request = RpcRequest::new("livekit", method, payload);
            let call = us.rpc.call(us.now, at(), &request, Some(&us.other), Some("1.13.5")).unwrap();
            us.serve_until_finished(&theirs).await;
            assert_eq!(us.finished, [(call, expected)], "{client_protocol} {method}");
        }
    }
}

async fn call_by_livekit(theirs: &Arc<Theirs>, method: &str, payload: &str) -> Result<String, TheirError> {
    let request = PerformRpcData::new("us", method).with_payload(payload);
    theirs.client.perform_rpc(request, &*theirs.transport).await
}

fn connect(client_protocol: i32) -> (Arc<Theirs>, Us) {
    let (packets, from_livekit) = mpsc::unbounded_channel();
    let (outgoing, mut requests) = TheirOutgoing::new();
    let streams = packets.clone();
    tokio::spawn(async move {
        while let Ok((more, responder)) = requests.recv().await {
            more.into_iter().for_each(|packet| streams.send(packet).unwrap());
            let _ = responder.respond(Ok(()));
        }
    });
    let (manager, input, mut outputs) = TheirIncoming::new(None);
    tokio::spawn(manager.run());
    let theirs = Arc::new(Theirs {
        client: RpcClientManager::new(),
        server: RpcServerManager::new(),
        transport: Arc::new(Transport { client_protocol, packets, outgoing }),
        input,
    });
    theirs
        .server
        .register_method("echo".to_owned(), |call| Box::pin(async move { Ok(format!("echo of {}", call.payload)) }));
    theirs.server.register_method("fail".to_owned(), |_| {
        Box::pin(async { Err(TheirError::new(42, "no".to_owned(), Some("{}".to_owned()))) })
    });
    let receiving = Arc::downgrade(&theirs);
    tokio::spawn(async move {
        while let Some(event) = outputs.recv().await {
            let OutputEvent::StreamOpened(opened) = event else { continue };
            let (AnyStreamReader::Text(reader), Some(theirs)) = (opened.stream_reader, receiving.upgrade()) else {
                return;
            };
            tokio::spawn(async move {
                if reader.info().topic == "lk.rpc_request" {
                    theirs.server.handle_v2_request_stream(reader, "us".into(), &*theirs.transport).await;
                } else {
                    theirs.client.handle_v2_response_stream(reader).await;
                }
            });
        }
    });
    (theirs, Us::new(client_protocol, from_livekit))
}

struct Theirs {
    client: RpcClientManager,
    server: RpcServerManager,
    transport: Arc<Transport>,
    input: ManagerInput,
}

impl Theirs {
    fn receive(self: &Arc<Self>, packet: DataPacket) {
        let encryption_type = common::EncryptionType::None;
        #[expect(clippy::wildcard_enum_match_arm, reason = "no others are sent")]
        let packet = match packet.value.unwrap() {
            Value::RpcAck(ack) => return self.client.handle_incoming_rpc_ack(ack.request_id),
            Value::RpcResponse(response) => {
                let (payload, error) = match response.value.unwrap() {
                    Answer::Payload(payload) => (Some(payload), None),
                    Answer::Error(error) => (None, Some(error)),
                    Answer::CompressedPayload(_) => panic!("nobody sends it"),
                };
                return self.client.handle_v1_response_packet(response.request_id, payload, error);
            }
            Value::RpcRequest(request) => {
                let options = HandleRequestOptions {
                    caller_identity: "us".into(),
                    request_id: request.id,
                    method: request.method,
                    payload: request.payload,
                    response_timeout: Duration::from_millis(request.response_timeout_ms.into()),
                    version: request.version,
                };
                let theirs = Arc::clone(self);
                tokio::spawn(async move { theirs.server.handle_v1_request(options, &*theirs.transport).await });
                return;
            }
            Value::StreamHeader(header) => Packet::Header { header: Header::from(header), encryption_type },
            Value::StreamChunk(chunk) => Packet::Chunk { chunk: Chunk::from(chunk), encryption_type },
            Value::StreamTrailer(trailer) => Packet::Trailer { trailer: Trailer::from(trailer), encryption_type },
            other => panic!("{other:?}"),
        };
        self.input.send(PacketReceived::new(packet, "us".into()).into()).unwrap();
    }
}

struct Transport {
    client_protocol: i32,
    packets: mpsc::UnboundedSender<DataPacket>,
    outgoing: TheirOutgoing,
}

impl common::RemoteParticipantRegistry for Transport {
    fn remote_client_protocol(&self, _: &common::ParticipantIdentity) -> i32 {
        self.client_protocol
    }

    fn remote_capabilities(&self, _: &common::ParticipantIdentity) -> Vec<common::ClientCapability> {
        vec![common::ClientCapability::CompressionDeflateRaw]
    }

    fn remote_identities(&self) -> Vec<common::ParticipantIdentity> {
        vec!["us".into()]
    }
}

impl RpcTransport for Transport {
    async fn publish_data(&self, data: DataPacket) -> Result<(), RpcTransportError> {
        self.packets.send(data).map_err(RpcTransportError::new)
    }

    async fn send_text(&self, text: &str, options: SendTextOptions) -> StreamResult<TextStreamInfo> {
        self.outgoing.send_text(text, options, self).await
    }

    fn server_version(&self) -> Option<String> {
        Some("1.13.5".to_owned())
    }
}

struct Us {
    rpc: RpcEndpoint,
    streams: IncomingStreams,
    from_livekit: mpsc::UnboundedReceiver<DataPacket>,
    other: Participant,
    now: Instant,
    finished: Vec<(String, Result<String, RpcError>)>,
}

impl Us {
    fn new(client_protocol: i32, from_livekit: mpsc::UnboundedReceiver<DataPacket>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
        let now = Instant::now();
        let mut rpc = RpcEndpoint::new(fastrand::Rng::with_seed(9));
        rpc.register("echo");
        rpc.register("fail");
        let mut other = Participant::new("PA_livekit", "livekit");
        other.client_protocol = client_protocol;
        other.reads_deflate = true;
        let streams = IncomingStreams::new(StreamLimits::default());
        Self { rpc, streams, from_livekit, other, now, finished: Vec::new() }
    }

    async fn serve(&mut self, theirs: &Arc<Theirs>) {
        loop {
            self.serve_once(theirs).await;
        }
    }

    async fn serve_until_finished(&mut self, theirs: &Arc<Theirs>) {
        while self.finished.is_empty() {
            self.serve_once(theirs).await;
        }
    }

    async fn serve_once(&mut self, theirs: &Arc<Theirs>) {
        while let Some(output) = self.rpc.poll_output() {
            match output {
                RpcOutput::Invoke { id, invocation } => {
                    let response = match invocation.method.as_str() {
                        "echo" => Ok(format!("echo of {}", invocation.payload)),
                        _ => Err(RpcError::new(42, "no").with_data("{}")),
                    };
                    self.rpc.respond(id, response, Some(&self.other), at());
                }
                RpcOutput::Finished { call, result } => self.finished.push((call, result)),
            }
        }
        while let Some(packet) = self.rpc.poll_packet() {
            theirs.receive(packet);
        }
        if !self.finished.is_empty() {
            return;
        }
        let origin = Origin { identity: "livekit".into(), sid: "PA_livekit".into(), ..Origin::default() };
        let value = self.from_livekit.recv().await.unwrap().value.unwrap();
        if let Some(value) = self.rpc.handle_packet(self.now, &origin.identity, value) {
            self.streams.handle_packet(self.now, &origin, value);
        }
        while let Some(event) = self.streams.poll_event() {
            assert_eq!(self.rpc.handle_stream(self.now, event), None);
        }
    }
}

/// As long as a packet carries, or longer where there are streams.
fn long_payload(client_protocol: i32) -> String {
    "long €".repeat(if client_protocol == 0 { 1_500 } else { 5_000 })
}

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000)
}
