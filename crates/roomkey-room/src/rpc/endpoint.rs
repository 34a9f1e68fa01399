//! RPC of one participant, both ways: packets, streams and times in, packets, invocations and results out.

use std::collections::{HashMap, VecDeque};
use std::time::{Instant, SystemTime};

use livekit_protocol as proto;
use livekit_protocol::DataPacket;
use livekit_protocol::data_packet::Value;
use livekit_protocol::rpc_response::Value as Answer;

use super::caller::Caller;
use super::error::{PACKET_PAYLOAD_BYTES, RpcError};
use super::request::{RpcInvocation, RpcRequest};
pub(crate) use super::responder::InvocationId;
use super::responder::{Form, Responder};
use super::wire::{self, RequestHead};
use crate::data_stream::budget::share;
use crate::data_stream::content::Content;
use crate::data_stream::error::StreamError;
use crate::data_stream::incoming::{IncomingEvent, StreamKey};
use crate::data_stream::info::{StreamInfo, TextStreamInfo};
use crate::data_stream::outgoing::{Readable, WholeStream};
use crate::data_stream::packet;
use crate::names::ParticipantIdentity;
use crate::participant::Participant;

/// Calls by and of this client.
///
/// Whatever is done with it, [`Self::poll_output`] is asked afterwards until it has nothing more, and [`Self::poll_packet`] as
/// long as packets can be taken.
#[derive(Debug)]
pub(crate) struct RpcEndpoint {
    rng: fastrand::Rng,
    caller: Caller,
    responder: Responder,
    streams: HashMap<StreamKey, RpcStream>,
    outputs: VecDeque<RpcOutput>,
    /// What is to be sent, bounded where others can make it grow.
    packets: VecDeque<Queued>,
    /// Of answers among them.
    answer_bytes: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RpcOutput {
    /// Run the method, and give its answer to [`RpcEndpoint::respond`].
    Invoke { id: InvocationId, invocation: RpcInvocation },
    /// Tell who called: this is the answer.
    Finished { call: String, result: Result<String, RpcError> },
}

/// A stream of RPC's that is open.
#[derive(Debug)]
enum RpcStream {
    Request {
        caller: ParticipantIdentity,
        head: RequestHead,
        payload: String,
    },
    Response {
        call: String,
        payload: String,
    },
    /// It has been answered already, or answers nothing.
    Unwanted,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of what there is are packets")]
enum Queued {
    Packet(DataPacket),
    Stream(Box<WholeStream>),
    /// An answer of so many bytes.
    Answer(Box<WholeStream>, usize),
}

impl RpcEndpoint {
    /// One without methods or calls; ids are made of `rng`.
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self {
            rng,
            caller: Caller::default(),
            responder: Responder::default(),
            streams: HashMap::new(),
            outputs: VecDeque::new(),
            packets: VecDeque::new(),
            answer_bytes: 0,
        }
    }

    /// Takes calls of this method from now on.
    pub(crate) fn register(&mut self, method: impl Into<String>) {
        self.responder.register(method.into());
    }

    /// Answers calls of this method with [`RpcError::UNSUPPORTED_METHOD`] from now on. What has been invoked can still answer.
    pub(crate) fn unregister(&mut self, method: &str) {
        self.responder.unregister(method);
    }

    /// Calls a method of `recipient`, the participant of the request's destination if it is there. `at` is what the wall clock
    /// says. The answer is a [`RpcOutput::Finished`] with the id that is returned.
    ///
    /// # Errors
    ///
    /// Why nothing was sent: [`RpcError::RECIPIENT_NOT_FOUND`], [`RpcError::UNSUPPORTED_SERVER`],
    /// [`RpcError::REQUEST_PAYLOAD_TOO_LARGE`], [`RpcError::SEND_FAILED`] if the method's name does not fit into a packet.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        at: SystemTime,
        request: &RpcRequest,
        recipient: Option<&Participant>,
        server_version: Option<&str>,
    ) -> Result<String, RpcError> {
        let Some(recipient) = recipient else { return Err(RpcError::of(RpcError::RECIPIENT_NOT_FOUND)) };
        if server_version.is_some_and(is_before_rpc) {
            return Err(RpcError::of(RpcError::UNSUPPORTED_SERVER));
        }
        let id = packet::uuid(&mut self.rng);
        if speaks_streams(recipient) {
            let options = wire::request_stream(&id, request);
            let readable = Readable::by_one(recipient);
            let stream = WholeStream::text(&request.payload, &options, readable, at, &mut self.rng)
                .map_err(|error| RpcError::of(RpcError::SEND_FAILED).with_data(error.to_string()))?;
            self.packets.push_back(Queued::Stream(Box::new(stream)));
        } else if request.payload.len() > PACKET_PAYLOAD_BYTES {
            return Err(RpcError::of(RpcError::REQUEST_PAYLOAD_TOO_LARGE));
        } else {
            self.packets.push_back(Queued::Packet(wire::request_packet(&id, request)));
        }
        self.caller.begin(now, id.clone(), request);
        Ok(id)
    }

    /// Forgets a call whose answer nobody wants any more.
    pub(crate) fn cancel(&mut self, call: &str) {
        self.caller.finish(call);
    }

    /// Answers an invocation. `caller` is the participant that called, if it is still there; `at` is what the wall clock says.
    ///
    /// Has no effect if the caller has left, has waited for longer than it said, or has been answered.
    pub(crate) fn respond(
        &mut self,
        id: InvocationId,
        response: Result<String, RpcError>,
        caller: Option<&Participant>,
        at: SystemTime,
    ) {
        let Some(pending) = self.responder.finish(id) else { return };
        let response = match (response, pending.form) {
            (Ok(payload), Form::Stream) if self.answer_bytes.saturating_add(payload.len()) > ANSWER_BYTES => {
                Err(RpcError::of(RpcError::APPLICATION_ERROR).with_data("too many answers wait to be sent"))
            }
            (Ok(payload), Form::Stream) => {
                let options = wire::response_stream(&pending.caller, &pending.request_id);
                let readable = caller.map_or(Readable::Chunked, Readable::by_one);
                match WholeStream::text(&payload, &options, readable, at, &mut self.rng) {
                    Ok(stream) => {
                        self.answer_bytes += payload.len();
                        return self.packets.push_back(Queued::Answer(Box::new(stream), payload.len()));
                    }
                    Err(error) => Err(RpcError::of(RpcError::SEND_FAILED).with_data(error.to_string())),
                }
            }
            (Ok(payload), Form::Packet) if payload.len() > PACKET_PAYLOAD_BYTES => {
                Err(RpcError::of(RpcError::RESPONSE_PAYLOAD_TOO_LARGE))
            }
            (response, Form::Packet | Form::Stream) => response,
        };
        self.send(wire::response_packet(&pending.caller, &pending.request_id, response));
    }

    /// Takes a packet that is RPC's, and gives back what is not.
    pub(crate) fn handle_packet(&mut self, now: Instant, from: &ParticipantIdentity, value: Value) -> Option<Value> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "packets of other parts, and of protocols to come")]
        match value {
            Value::RpcRequest(request) => self.handle_request(now, from, request),
            Value::RpcAck(ack) => self.caller.acknowledged(now, from, &ack.request_id),
            Value::RpcResponse(response) => self.handle_response(from, response),
            other => return Some(other),
        }
        None
    }

    /// Takes an event of a stream that is RPC's, and gives back what is not.
    pub(crate) fn handle_stream(&mut self, now: Instant, event: IncomingEvent) -> Option<IncomingEvent> {
        match event {
            IncomingEvent::Opened { key, info } if is_reserved(info.topic()) => {
                let stream = match info {
                    StreamInfo::Text(info) => self.open(info),
                    StreamInfo::Bytes(_) => RpcStream::Unwanted,
                };
                self.streams.insert(key, stream);
                None
            }
            IncomingEvent::Chunk { key, content } if self.streams.contains_key(&key) => {
                self.extend(key, &content);
                None
            }
            IncomingEvent::Closed { key, trailer_attributes, outcome } => match self.streams.remove(&key) {
                Some(stream) => {
                    self.close(now, stream, outcome);
                    None
                }
                None => Some(IncomingEvent::Closed { key, trailer_attributes, outcome }),
            },
            IncomingEvent::Refused { ref topic, .. } if is_reserved(topic) => None,
            IncomingEvent::Opened { .. } | IncomingEvent::Chunk { .. } | IncomingEvent::Refused { .. } => Some(event),
        }
    }

    /// Ends the calls of a participant that has left, a little later, and owes it nothing any more, unless it is back: one that
    /// has joined anew still waits for its answers.
    pub(crate) fn participant_left(&mut self, now: Instant, identity: &ParticipantIdentity, is_back: bool) {
        self.caller.recipient_left(now, identity);
        if !is_back {
            self.responder.caller_left(identity);
        }
    }

    /// Ends all calls, since no answer can come or go any more.
    pub(crate) fn disconnected(&mut self) {
        self.packets.clear();
        self.answer_bytes = 0;
        self.responder.forget_pending();
        self.streams.clear();
        for call in self.caller.finish_all() {
            self.output(RpcOutput::Finished { call, result: Err(RpcError::of(RpcError::RECIPIENT_DISCONNECTED)) });
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.caller.next_deadline(), self.responder.next_deadline()].into_iter().flatten().min()
    }

    /// Ends what has waited for too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.responder.expire(now);
        for (call, error) in self.caller.expire(now) {
            self.output(RpcOutput::Finished { call, result: Err(error) });
        }
    }

    /// What is to be done next.
    pub(crate) fn poll_output(&mut self) -> Option<RpcOutput> {
        self.outputs.pop_front()
    }

    /// Whether anything waits to be sent.
    pub(crate) fn has_packets(&self) -> bool {
        !self.packets.is_empty()
    }

    /// What is to be sent next, reliably and in this order.
    pub(crate) fn poll_packet(&mut self) -> Option<DataPacket> {
        loop {
            if let Queued::Stream(stream) | Queued::Answer(stream, _) = self.packets.front_mut()?
                && let Some(packet) = stream.next()
            {
                return Some(packet);
            }
            match self.packets.pop_front()? {
                Queued::Packet(packet) => return Some(packet),
                Queued::Stream(_) => {}
                Queued::Answer(_, bytes) => self.answer_bytes -= bytes,
            }
        }
    }

    fn handle_request(&mut self, now: Instant, caller: &ParticipantIdentity, request: proto::RpcRequest) {
        if !self.responder.is_new(caller, &request.id) {
            return;
        }
        self.send(wire::acknowledgement(caller, &request.id));
        // A payload in a form that nobody sends yet comes in a field of its own.
        if request.version != wire::PACKET_VERSION || !request.compressed_payload.is_empty() {
            return self.refuse(caller, &request.id, RpcError::of(RpcError::UNSUPPORTED_VERSION));
        }
        let head = RequestHead {
            request_id: request.id,
            method: request.method,
            response_timeout: std::time::Duration::from_millis(request.response_timeout_ms.into()),
            is_known_version: true,
        };
        self.invoke(now, caller.clone(), head, request.payload, Form::Packet);
    }

    fn handle_response(&mut self, from: &ParticipantIdentity, response: proto::RpcResponse) {
        if !self.caller.awaits(from, &response.request_id) {
            return;
        }
        let result = match response.value {
            Some(Answer::Payload(payload)) => Ok(payload),
            Some(Answer::Error(error)) => Err(RpcError::from_proto(error)),
            Some(Answer::CompressedPayload(_)) => {
                Err(RpcError::of(RpcError::APPLICATION_ERROR).with_data("the answer is in an unknown form"))
            }
            None => Ok(String::new()),
        };
        self.finish(response.request_id, result);
    }

    fn open(&mut self, info: TextStreamInfo) -> RpcStream {
        let from = info.sender_identity;
        if info.topic == wire::RESPONSE_TOPIC {
            let call = wire::request_id_of(&info.attributes);
            return if self.caller.awaits(&from, call) {
                RpcStream::Response { call: call.to_owned(), payload: String::new() }
            } else {
                RpcStream::Unwanted
            };
        }
        let head = RequestHead::from_attributes(&info.attributes);
        if !self.responder.is_new(&from, &head.request_id) {
            return RpcStream::Unwanted;
        }
        self.send(wire::acknowledgement(&from, &head.request_id));
        let refusal = if !head.is_known_version {
            RpcError::UNSUPPORTED_VERSION
        } else if !self.responder.has_method(&head.method) {
            RpcError::UNSUPPORTED_METHOD
        } else {
            return RpcStream::Request { caller: from, head, payload: String::new() };
        };
        self.refuse(&from, &head.request_id, RpcError::of(refusal));
        RpcStream::Unwanted
    }

    fn extend(&mut self, key: StreamKey, content: &Content) {
        let Content::Text(text) = content else { return };
        let held: usize = self.streams.values().map(RpcStream::held_bytes).sum();
        let caller = self.streams.get(&key).and_then(RpcStream::caller);
        let of_caller = |stream: &&RpcStream| caller.is_some() && stream.caller() == caller;
        let of_caller: usize = self.streams.values().filter(of_caller).map(RpcStream::held_bytes).sum();
        // Whose call was awaited has no share: this client has asked for it.
        let most = if caller.is_some() { share(HELD_BYTES, held - of_caller) } else { HELD_BYTES - held };
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let is_small = of_caller.saturating_add(text.len()) <= most
            && stream.held_bytes().saturating_add(text.len()) <= STREAM_PAYLOAD_BYTES;
        match stream {
            RpcStream::Request { payload, .. } | RpcStream::Response { payload, .. } if is_small => {
                payload.push_str(text);
                return;
            }
            RpcStream::Unwanted => return,
            RpcStream::Request { .. } | RpcStream::Response { .. } => {}
        }
        match std::mem::replace(stream, RpcStream::Unwanted) {
            RpcStream::Request { caller, head, .. } => {
                self.refuse(&caller, &head.request_id, RpcError::of(RpcError::REQUEST_PAYLOAD_TOO_LARGE));
            }
            RpcStream::Response { call, .. } => {
                self.finish(call, Err(RpcError::of(RpcError::RESPONSE_PAYLOAD_TOO_LARGE)));
            }
            RpcStream::Unwanted => {}
        }
    }

    fn close(&mut self, now: Instant, stream: RpcStream, outcome: Result<(), StreamError>) {
        let is_gone = matches!(outcome, Err(StreamError::SenderLeft | StreamError::Disconnected));
        match (stream, outcome) {
            (RpcStream::Request { caller, head, payload }, Ok(())) => {
                self.invoke(now, caller, head, payload, Form::Stream);
            }
            (RpcStream::Request { caller, head, .. }, Err(error)) if !is_gone => {
                let error = RpcError::of(RpcError::APPLICATION_ERROR).with_data(format!("unreadable request: {error}"));
                self.refuse(&caller, &head.request_id, error);
            }
            (RpcStream::Response { call, payload }, Ok(())) => self.finish(call, Ok(payload)),
            (RpcStream::Response { call, .. }, Err(_)) if is_gone => {
                self.finish(call, Err(RpcError::of(RpcError::RECIPIENT_DISCONNECTED)));
            }
            (RpcStream::Response { call, .. }, Err(error)) => {
                let error = RpcError::of(RpcError::APPLICATION_ERROR).with_data(format!("unreadable answer: {error}"));
                self.finish(call, Err(error));
            }
            (RpcStream::Request { .. } | RpcStream::Unwanted, _) => {}
        }
    }

    fn invoke(&mut self, now: Instant, caller: ParticipantIdentity, head: RequestHead, payload: String, form: Form) {
        if !self.responder.has_method(&head.method) {
            return self.refuse(&caller, &head.request_id, RpcError::of(RpcError::UNSUPPORTED_METHOD));
        }
        let RequestHead { request_id, method, response_timeout, .. } = head;
        match self.responder.begin(now, caller.clone(), request_id.clone(), response_timeout, form) {
            Some(id) => {
                let invocation =
                    RpcInvocation { request_id, caller_identity: caller, method, payload, response_timeout };
                self.output(RpcOutput::Invoke { id, invocation });
            }
            None => {
                let error = RpcError::of(RpcError::APPLICATION_ERROR).with_data("too many calls wait for an answer");
                self.refuse(&caller, &request_id, error);
            }
        }
    }

    fn refuse(&mut self, caller: &ParticipantIdentity, request_id: &str, error: RpcError) {
        self.send(wire::response_packet(caller, request_id, Err(error)));
    }

    fn finish(&mut self, call: String, result: Result<String, RpcError>) {
        if self.caller.finish(&call) {
            self.output(RpcOutput::Finished { call, result });
        }
    }

    /// Sends a short answer, unless so many wait that whoever asks for them sends more than the network takes.
    fn send(&mut self, packet: DataPacket) {
        if self.packets.len() < WAITING_PACKETS {
            self.packets.push_back(Queued::Packet(packet));
        }
    }

    fn output(&mut self, output: RpcOutput) {
        self.outputs.push_back(output);
    }
}

impl RpcStream {
    /// Who calls a method of ours with it.
    fn caller(&self) -> Option<&ParticipantIdentity> {
        match self {
            Self::Request { caller, .. } => Some(caller),
            Self::Response { .. } | Self::Unwanted => None,
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Request { payload, .. } | Self::Response { payload, .. } => payload.len(),
            Self::Unwanted => 0,
        }
    }
}

/// Whether streams of this topic are RPC's, and not for the application.
pub(crate) fn is_reserved(topic: &str) -> bool {
    matches!(topic, wire::REQUEST_TOPIC | wire::RESPONSE_TOPIC)
}

/// Whether a participant takes requests as streams.
fn speaks_streams(participant: &Participant) -> bool {
    participant.client_protocol >= 1
}

/// Whether the server is older than the first one with RPC, 1.8.0. A version that cannot be read is no reason not to try.
fn is_before_rpc(server_version: &str) -> bool {
    let mut numbers = server_version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (1, 8),
        _ => false,
    }
}

/// How large a request or an answer in a stream may be.
const STREAM_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// Acknowledgements, refusals and answers that may wait to be sent; what is beyond is not said.
const WAITING_PACKETS: usize = 4_096;

/// How much of answers in streams may wait to be sent.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How much may be held of all requests and answers that are still coming; of one caller's requests two thirds of what the rest
/// leaves.
const HELD_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
