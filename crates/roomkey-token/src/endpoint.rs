//! What a token endpoint takes and gives.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::proto_json::is_unset;
use crate::room_config::RoomConfiguration;

/// The body of a request to a token endpoint (`TokenSourceRequest` of `livekit_token_source.proto`).
///
/// Every field is optional, and an empty one is the same as an absent one. Written in snake_case with absent fields left
/// out; read in snake_case or camelCase, with `null` as absent and unknown fields ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[doc(alias = "TokenSourceRequest")]
pub struct TokenRequest {
    /// The room to join.
    #[serde(skip_serializing_if = "is_unset", deserialize_with = "nullable", alias = "roomName")]
    pub room_name: String,
    /// The participant's display name.
    #[serde(skip_serializing_if = "is_unset", deserialize_with = "nullable", alias = "participantName")]
    pub participant_name: String,
    /// The participant's identity.
    #[serde(skip_serializing_if = "is_unset", deserialize_with = "nullable", alias = "participantIdentity")]
    pub participant_identity: String,
    /// The participant's metadata.
    #[serde(skip_serializing_if = "is_unset", deserialize_with = "nullable", alias = "participantMetadata")]
    pub participant_metadata: String,
    /// The participant's attributes.
    #[serde(skip_serializing_if = "is_unset", deserialize_with = "nullable", alias = "participantAttributes")]
    pub participant_attributes: BTreeMap<String, String>,
    /// How the room is made, and which agents it gets. Never sign what a client put here without choosing from it: it
    /// can start recordings.
    #[serde(skip_serializing_if = "is_unset", deserialize_with = "nullable", alias = "roomConfig")]
    pub room_config: RoomConfiguration,
}

/// Reads `null` as the default.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The answer of a token endpoint (`TokenSourceResponse` of `livekit_token_source.proto`, with the two fields that some
/// endpoints add).
///
/// Serialization gives the token away on purpose; `Debug` hides it, and dropping the answer wipes it.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[doc(alias = "TokenSourceResponse")]
pub struct TokenResponse {
    /// The LiveKit server to connect to, `wss://…`.
    pub server_url: String,
    #[serde(serialize_with = "write_token")]
    participant_token: Zeroizing<String>,
    /// The room that the token is for.
    #[serde(skip_serializing_if = "is_unset")]
    pub room_name: Option<String>,
    /// The name of the participant that the token is for.
    #[serde(skip_serializing_if = "is_unset")]
    pub participant_name: Option<String>,
}

impl TokenResponse {
    /// An answer with the two fields that every client needs.
    #[must_use]
    pub fn new(server_url: impl Into<String>, participant_token: impl Into<String>) -> Self {
        Self {
            server_url: server_url.into(),
            participant_token: Zeroizing::new(participant_token.into()),
            room_name: None,
            participant_name: None,
        }
    }

    /// The token to join with.
    #[must_use]
    pub fn participant_token(&self) -> &str {
        &self.participant_token
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("server_url", &self.server_url)
            .field("participant_token", &"[redacted]")
            .field("room_name", &self.room_name)
            .field("participant_name", &self.participant_name)
            .finish()
    }
}

fn write_token<S: Serializer>(token: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token)
}

/// Reads either case of each name, and ignores unknown ones. Its errors repeat nothing of what is read, which may be a bare
/// token.
impl<'de> Deserialize<'de> for TokenResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(alias = "serverUrl")]
            server_url: String,
            #[serde(alias = "participantToken")]
            participant_token: String,
            #[serde(default, alias = "roomName")]
            room_name: Option<String>,
            #[serde(default, alias = "participantName")]
            participant_name: Option<String>,
        }

        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = TokenResponse;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with server_url and participant_token")
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<TokenResponse, E> {
                Err(E::custom(format_args!("invalid type: a text, expected {}", &self as &dyn de::Expected)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TokenResponse, A::Error> {
                let fields = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let mut response = TokenResponse::new(fields.server_url, fields.participant_token);
                response.room_name = fields.room_name;
                response.participant_name = fields.participant_name;
                Ok(response)
            }
        }

        deserializer.deserialize_any(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_in_either_case_with_null_as_absent() {
        let snake: TokenRequest =
            serde_json::from_str(r#"{"room_name":"r","participant_attributes":{"k":"v"},"x":1}"#).unwrap();
        let camel: TokenRequest =
            serde_json::from_str(r#"{"roomName":"r","participantAttributes":{"k":"v"},"roomConfig":null}"#).unwrap();
        assert_eq!(snake, camel);
        assert_eq!(serde_json::to_string(&snake).unwrap(), r#"{"room_name":"r","participant_attributes":{"k":"v"}}"#);
        assert_eq!(serde_json::to_string(&TokenRequest::default()).unwrap(), "{}");
    }

    #[test]
    fn a_request_for_an_agent_is_what_the_other_clients_send() {
        let json = r#"{"room_config":{"agents":[{"agent_name":"a","metadata":"am","deployment":"staging"}]}}"#;
        let request: TokenRequest = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
    }

    #[test]
    fn a_response_is_read_in_either_case_per_field_and_extra_keys_are_ignored() {
        let response: TokenResponse =
            serde_json::from_str(r#"{"serverUrl":"wss://x","participant_token":"t","roomName":"r","more":{}}"#)
                .unwrap();
        assert_eq!((response.server_url.as_str(), response.participant_token()), ("wss://x", "t"));
        assert_eq!(response.room_name.as_deref(), Some("r"));
    }

    #[test]
    fn an_answer_that_is_no_response_is_refused_without_being_repeated() {
        for answer in
            [r#""eyJhbGci.eyJleHAi.c2ln""#, r#"["eyJhbGci.eyJleHAi.c2ln"]"#, r#"{"server_url":"u"}"#, "null", "7"]
        {
            let error = serde_json::from_str::<TokenResponse>(answer).unwrap_err().to_string();
            assert!(!error.contains("eyJ"), "{error}");
        }
    }

    #[test]
    fn debug_of_a_response_hides_the_token() {
        let response = TokenResponse::new("wss://x", "the-token");
        assert!(!format!("{response:?}").contains("the-token"));
        assert!(serde_json::to_string(&response).unwrap().contains("the-token"));
    }
}
