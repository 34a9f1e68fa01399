//! A request to connect, as a server reads it.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use url::form_urlencoded;

use crate::connect_parameters::ConnectParameters;
use crate::participant_token::ParticipantToken;
use crate::{Endpoint, join_request};

/// The longest query that is read, in bytes: what Go's HTTP server takes as a whole header.
pub const MAX_QUERY_SIZE: usize = 1 << 20;

/// A request to connect, or to check whether one could: path and query, read as livekit-server 1.13.5 reads them.
///
/// A server looks at the token first ([`ParticipantToken::of_request`]): livekit-server answers 401 to a request that is
/// wrong in both ways. Whether the token is good, and what its room and identity are, is not judged here.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// The version of the endpoint that was asked.
    pub endpoint: Endpoint,
    /// Whether it is the plain HTTP request that only asks what a websocket would get: `…/validate`.
    pub is_validate: bool,
    /// How many peer connections the client wants.
    pub transport: Transport,
    /// The token in the query, if there is one there. One in the `Authorization` header goes before it.
    pub access_token: Option<ParticipantToken>,
    /// What the client says about itself.
    pub parameters: ConnectParameters,
}

/// How many peer connections a client and a server have between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Transport {
    /// One for both directions, which the client offers.
    Single,
    /// One that the client offers and publishes on, one that the server offers and the client subscribes on.
    Dual,
}

impl ConnectRequest {
    /// Reads the path and the query of a request.
    ///
    /// A `join_request` means one peer connection, on either endpoint; [`Endpoint::V1`] needs one.
    ///
    /// # Errors
    /// With the status and the body that livekit-server answers; see [`ConnectRequestError::status`].
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, ConnectRequestError> {
        let (endpoint, is_validate) = route(path).ok_or(ConnectRequestError::UnknownPath)?;
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY_SIZE {
            return Err(ConnectRequestError::QueryTooLong);
        }
        let mut pairs = HashMap::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            pairs.entry(key.into_owned()).or_insert_with(|| value.into_owned());
        }
        let text = |key: &str| pairs.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let (transport, parameters) = match text("join_request") {
            Some(request) => (Transport::Single, ConnectParameters::from_join_request(join_request::decode(request)?)),
            None if endpoint == Endpoint::V1 => return Err(ConnectRequestError::MissingJoinRequest),
            None => {
                let mut parameters = ConnectParameters::from_query(&pairs);
                match text("attributes").map(attributes) {
                    Some(Some(attributes)) => parameters.attributes = attributes,
                    // A connect goes on without them.
                    Some(None) if is_validate => return Err(ConnectRequestError::AttributesNotDecodable),
                    Some(None) | None => {}
                }
                (Transport::Dual, parameters)
            }
        };
        let access_token = text("access_token").map(ParticipantToken::new);
        Ok(Self { endpoint, is_validate, transport, access_token, parameters })
    }
}

fn route(path: &str) -> Option<(Endpoint, bool)> {
    // livekit-server drops one slash of two, which come of a server URL that ends in one.
    let path = if path.starts_with("//") { &path[1..] } else { path };
    match path {
        "/rtc" => Some((Endpoint::V0, false)),
        "/rtc/validate" => Some((Endpoint::V0, true)),
        "/rtc/v1" => Some((Endpoint::V1, false)),
        "/rtc/v1/validate" => Some((Endpoint::V1, true)),
        _ => None,
    }
}

fn attributes(encoded: &str) -> Option<HashMap<String, String>> {
    serde_json::from_slice(&URL_SAFE.decode(encoded).ok()?).ok()
}

/// Why a request to connect is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectRequestError {
    /// The path is none of the signalling endpoints.
    UnknownPath,
    /// The `Authorization` header is not `Bearer …`.
    NotBearer,
    /// The query is over [`MAX_QUERY_SIZE`].
    QueryTooLong,
    /// [`Endpoint::V1`] without a `join_request`.
    MissingJoinRequest,
    /// The `join_request` is not base64url with padding.
    JoinRequestNotBase64,
    /// What is in the base64 is no `WrappedJoinRequest`.
    WrapperNotProtobuf,
    /// What says that it is compressed can't be decompressed.
    JoinRequestNotGzip,
    /// The `JoinRequest`, decompressed, is over 1 MiB, or has more than 8,192 fields, in which a track counts for 64.
    /// livekit-server has the first bound alone.
    JoinRequestTooLarge,
    /// What is in the wrapper is no `JoinRequest`.
    JoinRequestNotProtobuf,
    /// The `attributes` are not base64url of a JSON object of strings. Only [validation](ConnectRequest::is_validate)
    /// minds.
    AttributesNotDecodable,
}

impl ConnectRequestError {
    /// The HTTP status that livekit-server 1.13.5 answers.
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownPath => 404,
            Self::NotBearer => 401,
            Self::QueryTooLong => 431,
            Self::MissingJoinRequest
            | Self::JoinRequestNotBase64
            | Self::WrapperNotProtobuf
            | Self::JoinRequestNotGzip
            | Self::JoinRequestTooLarge
            | Self::JoinRequestNotProtobuf
            | Self::AttributesNotDecodable => 400,
        }
    }

    /// The body, in `text/plain`, that livekit-server 1.13.5 answers.
    pub fn body(&self) -> &'static str {
        match self {
            Self::UnknownPath => "404 page not found\n",
            Self::NotBearer => "invalid authorization header. Must start with Bearer ",
            Self::QueryTooLong => "431 Request Header Fields Too Large",
            Self::MissingJoinRequest => "join_request is required",
            Self::JoinRequestNotBase64 => "cannot base64 decode wrapped join request",
            Self::WrapperNotProtobuf => "cannot unmarshal wrapped join request",
            Self::JoinRequestNotGzip => "cannot read decompressed join request",
            Self::JoinRequestTooLarge => "join request too large",
            Self::JoinRequestNotProtobuf => "cannot unmarshal join request",
            Self::AttributesNotDecodable => "cannot decode attributes",
        }
    }
}

impl fmt::Display for ConnectRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.body().trim_end())
    }
}

impl std::error::Error for ConnectRequestError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::client_info::{Capability, Sdk};

    fn parse(query: &str) -> ConnectRequest {
        ConnectRequest::parse("/rtc", Some(query)).unwrap()
    }

    #[test]
    fn a_request_without_parameters_is_of_an_unknown_client_that_subscribes() {
        let request = ConnectRequest::parse("//rtc", None).unwrap();
        assert_eq!(request.parameters, ConnectParameters::new(Default::default()));
        assert_eq!((request.endpoint, request.transport), (Endpoint::V0, Transport::Dual));
        for path in ["", "/", "rtc", "/rtc/", "/rtc/v2", "///rtc", "/rtc/v1/validate/x"] {
            let error = ConnectRequest::parse(path, None).unwrap_err();
            assert_eq!((error.status(), error), (404, ConnectRequestError::UnknownPath), "{path}");
        }
    }

    #[test]
    fn the_first_of_equal_keys_counts_and_what_is_no_number_or_flag_is_none() {
        let request = parse("protocol=9&protocol=16&auto_subscribe=yes&adaptive_stream=true&client_protocol=x");
        assert_eq!(request.parameters.client_info.protocol, 9);
        assert_eq!(request.parameters.client_info.client_protocol, 0);
        assert!(!request.parameters.auto_subscribe && request.parameters.adaptive_stream);
        assert!(parse("auto_subscribe=").parameters.auto_subscribe);
    }

    #[test]
    fn names_of_sdks_and_capabilities_are_livekits_and_others_are_left_out() {
        let capabilities = "CAP_PACKET_TRAILER,%20CAP_COMPRESSION_DEFLATE_RAW,,CAP_NEW";
        let info = parse(&format!("sdk=ios&capabilities={capabilities}")).parameters.client_info;
        assert_eq!(info.sdk(), Sdk::Swift);
        let names: Vec<_> = info.capabilities().collect();
        assert_eq!(names, [Capability::CapPacketTrailer, Capability::CapCompressionDeflateRaw]);
        assert_eq!(parse("sdk=JS").parameters.client_info.sdk(), Sdk::Unknown);
    }

    #[test]
    fn attributes_that_cannot_be_read_are_refused_by_validation_only() {
        let encoded = URL_SAFE.encode(r#"{"k":"v"}"#);
        let attributes = parse(&format!("attributes={encoded}")).parameters.attributes;
        assert_eq!(attributes, HashMap::from([("k".to_owned(), "v".to_owned())]));
        assert_eq!(parse("attributes=%7B").parameters.attributes, HashMap::new());
        let error = ConnectRequest::parse("/rtc/validate", Some("attributes=%7B")).unwrap_err();
        assert_eq!((error.status(), error.body()), (400, "cannot decode attributes"));
    }

    #[test]
    fn a_query_that_is_too_long_is_not_looked_into_and_a_token_is_not_shown() {
        let long = format!("sdk={}", "x".repeat(MAX_QUERY_SIZE));
        assert_eq!(ConnectRequest::parse("/rtc", Some(&long)).unwrap_err().status(), 431);
        let request = parse("access_token=secret");
        assert_eq!(request.access_token.as_ref().unwrap().as_str(), "secret");
        assert!(!format!("{request:?}").contains("secret"));
    }
}
