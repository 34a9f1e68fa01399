//! The claims of an access token.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::time::SystemTime;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::compact::{self, Compact};
use crate::fill::{self, Fill, Folded, Rigor, fill_entry};
use crate::grants::{
    AgentEndpointGrant, AgentGrant, AgentThreadGrant, InferenceGrant, ObservabilityGrant, SipGrant, VideoGrant,
};
use crate::numeric_date::NumericDate;
use crate::participant::{ParticipantClaims, ParticipantKind, ParticipantKindDetail, ParticipantPermission};
use crate::payload::{ObjectWriter, Write};
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
        let payload = compact::into_text(payload);
        // Nearly every token is as it should be, and read more quickly by the rules for those.
        let rigor = Rigor::server(&payload);
        Self::from_json(&payload, rigor)
            .or_else(|_| Self::from_json(&payload, rigor.lenient()))
            .map_err(|_| DecodeError::Json)
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

    /// The JSON of a token's payload, with registered claims put over these.
    pub(crate) fn to_payload(&self, stamp: &Stamp<'_>) -> Vec<u8> {
        let mut json = Vec::with_capacity(512);
        let mut object = ObjectWriter::begin(&mut json);
        object.entry("iss", &stamp.iss);
        object.entry("sub", &self.sub);
        object.entry("iat", &stamp.issued_at);
        object.entry("nbf", &stamp.not_before);
        object.entry("exp", &stamp.expires_at);
        self.each_other(&mut object).unwrap_or_else(|never| match never {});
        for (name, value) in &self.private {
            object.any_entry(name, value);
        }
        object.end();
        json
    }

    /// Writes the claims that no signer sets.
    fn each_other<W: ClaimWriter>(&self, to: &mut W) -> Result<(), W::Error> {
        to.claim("jti", &self.jti)?;
        to.claim("name", &self.name)?;
        to.claim("kind", &self.kind)?;
        to.claim("kindDetails", &self.kind_details)?;
        to.claim("video", &self.video)?;
        to.claim("sip", &self.sip)?;
        to.claim("agent", &self.agent)?;
        to.claim("agentEndpoint", &self.agent_endpoint)?;
        to.claim("agentThread", &self.agent_thread)?;
        to.claim("inference", &self.inference)?;
        to.claim("observability", &self.observability)?;
        to.claim("roomConfig", &self.room_config.as_ref().map(|config| Cased(config, Case::Camel)))?;
        to.claim("roomPreset", &self.room_preset)?;
        to.claim("sha256", &self.sha256)?;
        to.claim("metadata", &self.metadata)?;
        to.claim("attributes", &self.attributes)
    }

    /// Whether a name is that of a claim with a field of its own, in any case.
    pub(crate) fn is_known_name(name: &str) -> bool {
        Known::of(name).is_some()
    }
}

/// What a signer puts over the claims that it is given.
pub(crate) struct Stamp<'a> {
    pub(crate) iss: &'a str,
    pub(crate) issued_at: NumericDate,
    pub(crate) not_before: NumericDate,
    pub(crate) expires_at: NumericDate,
}

/// Takes one claim after the other, and leaves out those that are unset.
trait ClaimWriter {
    type Error;

    fn claim(&mut self, name: &'static str, value: &(impl Write + Serialize)) -> Result<(), Self::Error>;
}

impl ClaimWriter for ObjectWriter<'_> {
    type Error = Infallible;

    fn claim(&mut self, name: &'static str, value: &(impl Write + Serialize)) -> Result<(), Infallible> {
        self.entry(name, value);
        Ok(())
    }
}

struct BySerde<M>(M);

impl<M: SerializeMap> ClaimWriter for BySerde<M> {
    type Error = M::Error;

    fn claim(&mut self, name: &'static str, value: &(impl Write + Serialize)) -> Result<(), M::Error> {
        if value.is_unset() { Ok(()) } else { self.0.serialize_entry(name, value) }
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = BySerde(serializer.serialize_map(None)?);
        map.claim("iss", &self.iss)?;
        map.claim("sub", &self.sub)?;
        map.claim("aud", &self.aud)?;
        map.claim("iat", &self.iat)?;
        map.claim("nbf", &self.nbf)?;
        map.claim("exp", &self.exp)?;
        self.each_other(&mut map)?;
        for (name, value) in &self.private {
            map.0.serialize_entry(name, value)?;
        }
        map.0.end()
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
                while let Some(key) = map.next_key_seed(fill::Text(rigor))? {
                    let map = &mut map;
                    match Known::of(&key) {
                        Some(Known::Iss) => fill_entry(&mut claims.iss, map, rigor)?,
                        Some(Known::Sub) => fill_entry(&mut claims.sub, map, rigor)?,
                        Some(Known::Aud) => {
                            let mut aud = Audience(std::mem::take(&mut claims.aud));
                            fill_entry(&mut aud, map, rigor)?;
                            claims.aud = aud.0;
                        }
                        Some(Known::Exp) => fill_entry(&mut claims.exp, map, rigor)?,
                        Some(Known::Nbf) => fill_entry(&mut claims.nbf, map, rigor)?,
                        Some(Known::Iat) => fill_entry(&mut claims.iat, map, rigor)?,
                        Some(Known::Jti) => fill_entry(&mut claims.jti, map, rigor)?,
                        // livekit-server overwrites what it read here, but a value of another type is malformed.
                        Some(Known::Identity) => fill_entry(&mut String::new(), map, rigor)?,
                        Some(Known::Name) => fill_entry(&mut claims.name, map, rigor)?,
                        Some(Known::Kind) => fill_entry(&mut claims.kind, map, rigor)?,
                        Some(Known::KindDetails) => fill_entry(&mut claims.kind_details, map, rigor)?,
                        Some(Known::Video) => fill_entry(&mut claims.video, map, rigor)?,
                        Some(Known::Sip) => fill_entry(&mut claims.sip, map, rigor)?,
                        Some(Known::Agent) => fill_entry(&mut claims.agent, map, rigor)?,
                        // livekit-server 1.13.5 does not know these two, so that nothing in them can be malformed.
                        Some(Known::AgentEndpoint) => fill_entry(&mut claims.agent_endpoint, map, rigor.lenient())?,
                        Some(Known::AgentThread) => fill_entry(&mut claims.agent_thread, map, rigor.lenient())?,
                        Some(Known::Inference) => fill_entry(&mut claims.inference, map, rigor)?,
                        Some(Known::Observability) => fill_entry(&mut claims.observability, map, rigor)?,
                        Some(Known::RoomConfig) => fill_entry(&mut claims.room_config, map, rigor)?,
                        Some(Known::RoomPreset) => fill_entry(&mut claims.room_preset, map, rigor)?,
                        Some(Known::Sha256) => fill_entry(&mut claims.sha256, map, rigor)?,
                        Some(Known::Metadata) => fill_entry(&mut claims.metadata, map, rigor)?,
                        Some(Known::Attributes) => fill_entry(&mut claims.attributes, map, rigor)?,
                        None => {
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

/// The names of claims with a meaning.
macro_rules! names {
    ($($variant:ident = $name:literal $folded:literal,)+) => {
        enum Known { $($variant,)+ }

        impl Known {
            /// The claim that a key names: exactly, as nearly all do, or in another case.
            fn of(key: &str) -> Option<Self> {
                match key {
                    $($name => Some(Self::$variant),)+
                    other => match Folded::new(other).as_bytes() {
                        $($folded => Some(Self::$variant),)+
                        _ => None,
                    },
                }
            }
        }
    };
}

names! {
    Iss = "iss" b"iss",
    Sub = "sub" b"sub",
    Aud = "aud" b"aud",
    Exp = "exp" b"exp",
    Nbf = "nbf" b"nbf",
    Iat = "iat" b"iat",
    Jti = "jti" b"jti",
    Identity = "identity" b"identity",
    Name = "name" b"name",
    Kind = "kind" b"kind",
    KindDetails = "kindDetails" b"kinddetails",
    Video = "video" b"video",
    Sip = "sip" b"sip",
    Agent = "agent" b"agent",
    AgentEndpoint = "agentEndpoint" b"agentendpoint",
    AgentThread = "agentThread" b"agentthread",
    Inference = "inference" b"inference",
    Observability = "observability" b"observability",
    RoomConfig = "roomConfig" b"roomconfig",
    RoomPreset = "roomPreset" b"roompreset",
    Sha256 = "sha256" b"sha256",
    Metadata = "metadata" b"metadata",
    Attributes = "attributes" b"attributes",
}

/// The `iss` of claims of which nothing but the registered ones need fit: all that livekit-server reads before it knows
/// which key signed.
#[derive(Default)]
pub(crate) struct Issuer(pub(crate) String);

impl Issuer {
    pub(crate) fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let mut issuer = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        issuer.fill(&mut deserializer, Rigor::server(json))?;
        deserializer.end()?;
        Ok(issuer)
    }
}

impl Fill for Issuer {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct Object<'a>(&'a mut String, Rigor);

        impl<'de> Visitor<'de> for Object<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                let Object(iss, rigor) = self;
                while let Some(key) = map.next_key_seed(fill::Text(rigor))? {
                    let map = &mut map;
                    match Known::of(&key) {
                        Some(Known::Iss) => fill_entry(iss, map, rigor)?,
                        Some(Known::Sub | Known::Jti) => fill_entry(&mut String::new(), map, rigor)?,
                        Some(Known::Aud) => fill_entry(&mut Audience::default(), map, rigor)?,
                        Some(Known::Exp | Known::Nbf | Known::Iat) => {
                            fill_entry(&mut NumericDate::default(), map, rigor)?;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(())
            }
        }

        fill::unless_null(value, Object(&mut self.0, rigor), || ())
    }
}

/// `aud`: one string or an array of them.
#[derive(Default)]
struct Audience(Vec<String>);

impl Fill for Audience {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct OneOrMany<'a>(&'a mut Vec<String>, Rigor);

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
                while let Some(audience) = seq.next_element_seed(fill::Text(self.1))? {
                    self.0.push(audience.into_owned());
                }
                Ok(())
            }
        }

        value.deserialize_option(OneOrMany(&mut self.0, rigor))
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
