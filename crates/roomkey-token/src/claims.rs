//! The claims of an access token.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::compact::{self, Compact};
use crate::fill::{self, Fill, Folded, Rigor, fill_entry, fill_object};
use crate::grants::{
    AgentEndpointGrant, AgentGrant, AgentThreadGrant, InferenceGrant, ObservabilityGrant, SipGrant, VideoGrant,
    is_unset,
};
use crate::numeric_date::NumericDate;
use crate::participant::{ParticipantClaims, ParticipantKind, ParticipantKindDetail, ParticipantPermission};
use crate::proto_json::{Case, Cased};
use crate::raw_json::RawJson;
use crate::room_config::RoomConfiguration;

/// What an access token says: the registered claims of RFC 7519 under their own names, LiveKit's grants, and whatever
/// else it carries.
///
/// Claims come from a [`Verifier`](crate::Verifier), or from [`decode_unverified`](Self::decode_unverified) where only
/// the token's own word is wanted. An empty string, list or map is the same as an absent claim. Serialization is the
/// JSON of a token's payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// The API key that signed the token. It alone chooses the secret; no `kid` is read.
    pub iss: String,
    /// The participant's identity.
    pub sub: String,
    /// Audiences. livekit-server ignores them, some verifiers refuse them; minting refuses to write them.
    pub aud: Vec<String>,
    /// When the token expires.
    pub exp: Option<NumericDate>,
    /// When the token starts to be valid.
    pub nbf: Option<NumericDate>,
    /// When the token was issued.
    pub iat: Option<NumericDate>,
    /// An id of the token, and the identity where `sub` is empty.
    pub jti: String,
    /// The participant's display name.
    pub name: String,
    /// The participant's kind, by name; see [`participant`](Self::participant).
    pub kind: String,
    /// Details of the kind, by name.
    pub kind_details: Vec<String>,
    /// Grants over rooms. Absent is not the same as empty: without it livekit-server refuses before it looks at more.
    pub video: Option<VideoGrant>,
    /// Grants over SIP.
    pub sip: Option<SipGrant>,
    /// Grants over agents.
    pub agent: Option<AgentGrant>,
    /// Grants over agents' endpoints.
    pub agent_endpoint: Option<AgentEndpointGrant>,
    /// Grants over agents' threads.
    pub agent_thread: Option<AgentThreadGrant>,
    /// Grants over inference.
    pub inference: Option<InferenceGrant>,
    /// Grants over observability.
    pub observability: Option<ObservabilityGrant>,
    /// How the room is made where this participant is the first in it.
    pub room_config: Option<RoomConfiguration>,
    /// The name of a room configuration that the server has; `room_config` overrides its parts.
    pub room_preset: String,
    /// The SHA-256 of a body that the token signs, in base64: webhooks.
    pub sha256: String,
    /// The participant's metadata.
    pub metadata: String,
    /// The participant's attributes.
    pub attributes: BTreeMap<String, String>,
    /// Every other claim.
    pub private: BTreeMap<String, RawJson>,
}

impl Claims {
    /// Reads the claims of a token without verifying anything, for a client that wants to know when its token expires.
    /// **It is not an authorization check**: whoever made the token may have written anything.
    ///
    /// Each claim is read for itself: one that is not of its type counts as absent and hides no other. Padded segments,
    /// the standard base64 alphabet and times written as strings or with a fraction are read.
    ///
    /// # Errors
    ///
    /// The token is not three segments, or the second is not base64 of a JSON object.
    ///
    /// ```
    /// use roomkey_token::Claims;
    ///
    /// // {"exp":1800000000.5,"name":7,"video":{"room":"lobby"}}
    /// let token = "e30.eyJleHAiOjE4MDAwMDAwMDAuNSwibmFtZSI6NywidmlkZW8iOnsicm9vbSI6ImxvYmJ5In19.";
    /// let claims = Claims::decode_unverified(token)?;
    /// assert_eq!(claims.exp.unwrap().as_secs(), 1_800_000_000);
    /// assert_eq!(claims.video.unwrap().room, "lobby");
    /// assert_eq!(claims.name, "");
    /// # Ok::<(), roomkey_token::DecodeError>(())
    /// ```
    pub fn decode_unverified(token: &str) -> Result<Self, DecodeError> {
        let compact = Compact::split(token.trim()).ok_or(DecodeError::Segments)?;
        let payload = compact::decode_segment_lenient(compact.payload).ok_or(DecodeError::Base64)?;
        Self::from_json(&compact::into_text(payload), Rigor::Lenient).map_err(|_| DecodeError::Json)
    }

    /// Reads the JSON of a token's payload.
    pub(crate) fn from_json(json: &str, rigor: Rigor) -> Result<Self, serde_json::Error> {
        let mut claims = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        claims.fill(&mut deserializer, rigor)?;
        deserializer.end()?;
        Ok(claims)
    }

    /// When the token expires, or `None` where it does not say, or says a time that the system can't represent.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.exp?.to_system_time()
    }

    /// The participant's identity: `sub`, or `jti` where that is empty, as livekit-server has it.
    #[must_use]
    pub fn identity(&self) -> &str {
        if self.sub.is_empty() { &self.jti } else { &self.sub }
    }

    /// Whether joining with this token dispatches an agent, if the join is what makes the room.
    ///
    /// Such a token is worth one join: `roomConfig` is ignored once the room exists, so that a second join with it
    /// stays without an agent.
    #[must_use]
    pub fn dispatches_agent(&self) -> bool {
        self.room_config.as_ref().is_some_and(|config| !config.agents.is_empty())
    }

    /// The participant that livekit-server makes of these claims.
    ///
    /// Without a `video` grant nobody joins, and the permission is that of nobody: all denied.
    #[must_use]
    pub fn participant(&self) -> ParticipantClaims {
        ParticipantClaims {
            identity: self.identity().to_owned(),
            name: self.name.clone(),
            kind: ParticipantKind::from_name(&self.kind),
            kind_details: self.kind_details.iter().filter_map(|name| ParticipantKindDetail::from_name(name)).collect(),
            metadata: self.metadata.clone(),
            attributes: self.attributes.clone(),
            permission: self.video.as_ref().map_or_else(ParticipantPermission::default, VideoGrant::permission),
        }
    }

    /// Writes these claims, with other registered claims put over them.
    pub(crate) fn write<S: Serializer>(&self, stamp: Option<&Stamp<'_>>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match stamp {
            Some(stamp) => {
                map.serialize_entry("iss", stamp.iss)?;
                write_set(&mut map, "sub", &self.sub)?;
                map.serialize_entry("iat", &stamp.issued_at)?;
                map.serialize_entry("nbf", &stamp.not_before)?;
                map.serialize_entry("exp", &stamp.expires_at)?;
            }
            None => {
                write_set(&mut map, "iss", &self.iss)?;
                write_set(&mut map, "sub", &self.sub)?;
                write_set(&mut map, "aud", &self.aud)?;
                write_set(&mut map, "iat", &self.iat)?;
                write_set(&mut map, "nbf", &self.nbf)?;
                write_set(&mut map, "exp", &self.exp)?;
            }
        }
        write_set(&mut map, "jti", &self.jti)?;
        write_set(&mut map, "name", &self.name)?;
        write_set(&mut map, "kind", &self.kind)?;
        write_set(&mut map, "kindDetails", &self.kind_details)?;
        write_set(&mut map, "video", &self.video)?;
        write_set(&mut map, "sip", &self.sip)?;
        write_set(&mut map, "agent", &self.agent)?;
        write_set(&mut map, "agentEndpoint", &self.agent_endpoint)?;
        write_set(&mut map, "agentThread", &self.agent_thread)?;
        write_set(&mut map, "inference", &self.inference)?;
        write_set(&mut map, "observability", &self.observability)?;
        if let Some(config) = &self.room_config {
            map.serialize_entry("roomConfig", &Cased(config, Case::Camel))?;
        }
        write_set(&mut map, "roomPreset", &self.room_preset)?;
        write_set(&mut map, "sha256", &self.sha256)?;
        write_set(&mut map, "metadata", &self.metadata)?;
        write_set(&mut map, "attributes", &self.attributes)?;
        for (name, value) in &self.private {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }

    /// Whether a name is that of a claim with a field of its own, in any case.
    pub(crate) fn is_known_name(name: &str) -> bool {
        KNOWN_NAMES.contains(&Folded::new(name).as_bytes())
    }
}

/// What a signer puts over the claims that it is given.
pub(crate) struct Stamp<'a> {
    pub(crate) iss: &'a str,
    pub(crate) issued_at: NumericDate,
    pub(crate) not_before: NumericDate,
    pub(crate) expires_at: NumericDate,
}

fn write_set<M, T>(map: &mut M, name: &'static str, value: &T) -> Result<(), M::Error>
where
    M: SerializeMap,
    T: Serialize + Default + PartialEq,
{
    if is_unset(value) { Ok(()) } else { map.serialize_entry(name, value) }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(None, serializer)
    }
}

impl Fill for Claims {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct Object<'a>(&'a mut Claims, Rigor);

        impl<'de> Visitor<'de> for Object<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                let Object(claims, rigor) = self;
                while let Some(key) = map.next_key_seed(fill::Text)? {
                    let map = &mut map;
                    match Folded::new(&key).as_bytes() {
                        b"iss" => fill_entry(&mut claims.iss, map, rigor)?,
                        b"sub" => fill_entry(&mut claims.sub, map, rigor)?,
                        b"aud" => {
                            let mut aud = Audience(std::mem::take(&mut claims.aud));
                            fill_entry(&mut aud, map, rigor)?;
                            claims.aud = aud.0;
                        }
                        b"exp" => fill_entry(&mut claims.exp, map, rigor)?,
                        b"nbf" => fill_entry(&mut claims.nbf, map, rigor)?,
                        b"iat" => fill_entry(&mut claims.iat, map, rigor)?,
                        b"jti" => fill_entry(&mut claims.jti, map, rigor)?,
                        // livekit-server overwrites what it read here, but a value of another type is malformed.
                        b"identity" => fill_entry(&mut String::new(), map, rigor)?,
                        b"name" => fill_entry(&mut claims.name, map, rigor)?,
                        b"kind" => fill_entry(&mut claims.kind, map, rigor)?,
                        b"kinddetails" => fill_entry(&mut claims.kind_details, map, rigor)?,
                        b"video" => fill_entry(&mut claims.video, map, rigor)?,
                        b"sip" => fill_entry(&mut claims.sip, map, rigor)?,
                        b"agent" => fill_entry(&mut claims.agent, map, rigor)?,
                        // livekit-server 1.13.5 does not know these two, so that nothing in them can be malformed.
                        b"agentendpoint" => fill_entry(&mut claims.agent_endpoint, map, Rigor::Lenient)?,
                        b"agentthread" => fill_entry(&mut claims.agent_thread, map, Rigor::Lenient)?,
                        b"inference" => fill_entry(&mut claims.inference, map, rigor)?,
                        b"observability" => fill_entry(&mut claims.observability, map, rigor)?,
                        b"roomconfig" => fill_entry(&mut claims.room_config, map, rigor)?,
                        b"roompreset" => fill_entry(&mut claims.room_preset, map, rigor)?,
                        b"sha256" => fill_entry(&mut claims.sha256, map, rigor)?,
                        b"metadata" => fill_entry(&mut claims.metadata, map, rigor)?,
                        b"attributes" => fill_entry(&mut claims.attributes, map, rigor)?,
                        _ => {
                            let value = map.next_value()?;
                            claims.private.insert(key.into_owned(), value);
                        }
                    }
                }
                Ok(())
            }
        }

        fill::unless_null(value, Object(self, rigor), || ())
    }
}

const KNOWN_NAMES: [&[u8]; 23] = [
    b"iss",
    b"sub",
    b"aud",
    b"exp",
    b"nbf",
    b"iat",
    b"jti",
    b"identity",
    b"name",
    b"kind",
    b"kinddetails",
    b"video",
    b"sip",
    b"agent",
    b"agentendpoint",
    b"agentthread",
    b"inference",
    b"observability",
    b"roomconfig",
    b"roompreset",
    b"sha256",
    b"metadata",
    b"attributes",
];

/// The claims that livekit-server reads before it knows which key signed.
#[derive(Default)]
pub(crate) struct RegisteredClaims {
    pub(crate) iss: String,
    sub: String,
    aud: Audience,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: String,
}

impl RegisteredClaims {
    pub(crate) fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let mut claims = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        claims.fill(&mut deserializer, Rigor::Server)?;
        deserializer.end()?;
        Ok(claims)
    }
}

fill_object!(RegisteredClaims {
    iss: b"iss",
    sub: b"sub",
    aud: b"aud",
    exp: b"exp",
    nbf: b"nbf",
    iat: b"iat",
    jti: b"jti",
});

/// `aud`: one string or an array of them.
#[derive(Default)]
struct Audience(Vec<String>);

impl Fill for Audience {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, _: Rigor) -> Result<(), D::Error> {
        struct OneOrMany<'a>(&'a mut Vec<String>);

        impl<'de> Visitor<'de> for OneOrMany<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_none<E>(self) -> Result<(), E> {
                Ok(())
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                Ok(())
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
                // serde_json gives an array to a visitor of bytes too.
                value.deserialize_bytes(self)
            }

            fn visit_bytes<E: serde::de::Error>(self, v: &[u8]) -> Result<(), E> {
                *self.0 = vec![fill::TextVisitor.visit_bytes::<E>(v)?.into_owned()];
                Ok(())
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
                self.0.clear();
                while let Some(audience) = seq.next_element_seed(fill::Text)? {
                    self.0.push(audience.into_owned());
                }
                Ok(())
            }
        }

        value.deserialize_option(OneOrMany(&mut self.0))
    }
}

/// Why [`Claims::decode_unverified`] could not read a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The token is not three segments with dots between.
    Segments,
    /// The second segment is not base64.
    Base64,
    /// The second segment is not a JSON object.
    Json,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segments => "not a JWT: expected three segments with dots between",
            Self::Base64 => "not a JWT: the claims are not base64url",
            Self::Json => "not a JWT: the claims are not a JSON object",
        })
    }
}

impl std::error::Error for DecodeError {}
