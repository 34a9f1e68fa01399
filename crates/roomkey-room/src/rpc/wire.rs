//! Requests and answers as packets and streams; LiveKit's SDKs have the same.

use std::collections::HashMap;
use std::time::Duration;

use livekit_protocol as proto;
use livekit_protocol::DataPacket;
use livekit_protocol::data_packet::Value;
use livekit_protocol::rpc_response::Value as Answer;

use super::error::RpcError;
use super::request::RpcRequest;
use crate::data_stream::options::TextStreamOptions;
use crate::data_stream::packet::packet_to;
use crate::names::ParticipantIdentity;

/// The topic of streams that are requests.
pub(crate) const REQUEST_TOPIC: &str = "lk.rpc_request";
/// The topic of streams that are answers.
pub(crate) const RESPONSE_TOPIC: &str = "lk.rpc_response";

/// The version of requests in packets, and that of requests in streams.
pub(crate) const PACKET_VERSION: u32 = 1;
const STREAM_VERSION: &str = "2";

const REQUEST_ID: &str = "lk.rpc_request_id";
const METHOD: &str = "lk.rpc_request_method";
const RESPONSE_TIMEOUT: &str = "lk.rpc_request_response_timeout_ms";
const VERSION: &str = "lk.rpc_request_version";

/// What the header of a request's stream says.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) request_id: String,
    pub(crate) method: String,
    pub(crate) response_timeout: Duration,
    pub(crate) is_known_version: bool,
}

impl RequestHead {
    pub(crate) fn from_attributes(attributes: &HashMap<String, String>) -> Self {
        let text = |key| attributes.get(key).cloned().unwrap_or_default();
        let milliseconds = text(RESPONSE_TIMEOUT).parse().unwrap_or(15_000);
        Self {
            request_id: text(REQUEST_ID),
            method: text(METHOD),
            response_timeout: Duration::from_millis(milliseconds),
            is_known_version: text(VERSION) == STREAM_VERSION,
        }
    }
}

/// Which request an answer's stream belongs to.
pub(crate) fn request_id_of(attributes: &HashMap<String, String>) -> &str {
    attributes.get(REQUEST_ID).map_or("", String::as_str)
}

pub(crate) fn request_packet(id: &str, request: &RpcRequest) -> DataPacket {
    let milliseconds = u32::try_from(request.time_to_respond().as_millis()).unwrap_or(u32::MAX);
    let message = proto::RpcRequest {
        id: id.to_owned(),
        method: request.method.clone(),
        payload: request.payload.clone(),
        response_timeout_ms: milliseconds,
        version: PACKET_VERSION,
        ..proto::RpcRequest::default()
    };
    packet_to(std::slice::from_ref(&request.destination_identity), Value::RpcRequest(message))
}

pub(crate) fn request_stream(id: &str, request: &RpcRequest) -> TextStreamOptions {
    TextStreamOptions::new(REQUEST_TOPIC)
        .with_destination(request.destination_identity.clone())
        .with_attribute(REQUEST_ID, id)
        .with_attribute(METHOD, request.method.clone())
        .with_attribute(RESPONSE_TIMEOUT, request.time_to_respond().as_millis().to_string())
        .with_attribute(VERSION, STREAM_VERSION)
}

pub(crate) fn acknowledgement(caller: &ParticipantIdentity, request_id: &str) -> DataPacket {
    packet_to(std::slice::from_ref(caller), Value::RpcAck(proto::RpcAck { request_id: request_id.to_owned() }))
}

pub(crate) fn response_packet(
    caller: &ParticipantIdentity,
    request_id: &str,
    response: Result<String, RpcError>,
) -> DataPacket {
    let value = response.map_or_else(|error| Answer::Error(error.into_proto()), Answer::Payload);
    let message = proto::RpcResponse { request_id: request_id.to_owned(), value: Some(value) };
    packet_to(std::slice::from_ref(caller), Value::RpcResponse(message))
}

pub(crate) fn response_stream(caller: &ParticipantIdentity, request_id: &str) -> TextStreamOptions {
    TextStreamOptions::new(RESPONSE_TOPIC).with_destination(caller.clone()).with_attribute(REQUEST_ID, request_id)
}
