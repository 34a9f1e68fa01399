//! Who may join, and as whom: from a request's path, query and header to a [`Joining`].

use std::time::SystemTime;

use roomkey_signal::{ConnectRequest, ConnectRequestError, ParticipantToken, Transport};
use roomkey_token::Claims;

use crate::sfu::{ConnectionId, Joining, Refusal};
use crate::tokens::Keys;

/// What livekit-server says to a token that is good and not for this.
pub(crate) const NO_PERMISSIONS: &str = "no permissions to access the room";

/// A request to join or to validate, with the claims of the token that came with it. Whether there is such a room is not
/// looked at.
///
/// # Errors
///
/// The refusal that livekit-server would answer.
pub(crate) fn examine(
    keys: &Keys,
    path: &str,
    query: Option<&str>,
    authorization: Option<&str>,
    now: SystemTime,
) -> Result<(ConnectRequest, Claims), Refusal> {
    let token = ParticipantToken::of_request(authorization, query).map_err(Refusal::from)?;
    let claims = keys.authenticate_join(token.as_ref().map(ParticipantToken::as_str), now)?;
    let request = ConnectRequest::parse(path, query).map_err(Refusal::from)?;
    let describes_itself = !request.parameters.metadata.is_empty() || !request.parameters.attributes.is_empty();
    if describes_itself && !claims.participant().permission.can_update_metadata {
        return Err(Refusal::new(401, NO_PERMISSIONS));
    }
    Ok((request, claims))
}

/// What the core is told of a request that [`examine`] has passed.
pub(crate) fn joining(connection: ConnectionId, request: ConnectRequest, claims: Claims) -> Joining {
    let parameters = request.parameters;
    Joining {
        connection: Some(connection),
        claims,
        is_single: request.transport == Transport::Single,
        protocol: parameters.client_info.protocol,
        client_protocol: parameters.client_info.client_protocol,
        capabilities: parameters.client_info.capabilities.clone(),
        sdk: sdk(&parameters.client_info),
        auto_subscribe: parameters.auto_subscribe,
        metadata: parameters.metadata,
        attributes: parameters.attributes,
        add_tracks: parameters.add_track_requests,
        publisher_offer: parameters.publisher_offer,
        resumes: parameters.resume.map(|resume| resume.participant_sid),
    }
}

/// The SDK's name and version, as the client says.
fn sdk(info: &roomkey_signal::proto::ClientInfo) -> String {
    const LONGEST: usize = 40;
    let name = info.sdk().as_str_name().to_ascii_lowercase();
    let text = format!("{name} {}", info.version);
    text.trim_end().chars().take(LONGEST).collect()
}

impl From<ConnectRequestError> for Refusal {
    fn from(error: ConnectRequestError) -> Self {
        Self::new(error.status(), error.body())
    }
}
