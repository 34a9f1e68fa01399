#![doc = include_str!("../README.md")]

mod access_token;
mod claims;
mod compact;
mod endpoint;
mod fill;
mod go_syntax;
mod grants;
mod join;
mod mint_error;
mod numeric_date;
mod participant;
mod payload;
mod proto_json;
mod raw_json;
mod room_config;
mod signer;
mod verifier;

pub use access_token::{AccessToken, DEFAULT_TTL};
pub use claims::{Claims, DecodeError};
pub use endpoint::{TokenRequest, TokenResponse};
pub use grants::{
    AgentEndpointGrant, AgentGrant, AgentThreadGrant, InferenceGrant, ObservabilityGrant, SipGrant, VideoGrant,
};
pub use join::{JoinError, JoinLimits};
pub use mint_error::{MintError, SignerError};
pub use numeric_date::NumericDate;
pub use participant::{ParticipantClaims, ParticipantKind, ParticipantKindDetail, ParticipantPermission, TrackSource};
pub use raw_json::RawJson;
pub use room_config::{JobRestartPolicy, RoomAgentDispatch, RoomConfiguration};
pub use signer::{Jwt, MAX_TTL, MIN_SECRET_BYTES, Signer, SignerBuilder};
pub use verifier::{LEEWAY_SECONDS, TimeProblem, Verifier, VerifyError};
