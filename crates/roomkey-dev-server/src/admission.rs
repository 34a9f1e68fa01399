//! Who may join, and as whom: from a request's path, query and header to a [`Joining`].

use std::time::SystemTime;

use roomkey_signal::{ConnectRequest, ConnectRequestError, ParticipantToken, Transport};
use roomkey_token::{Claims, JoinLimits};

use crate::sfu::{ConnectionId, Joining, Refusal};
use crate::tokens::Keys;

/// What livekit-server says to a token that is good and not for this.
pub(crate) const NO_PERMISSIONS: &str = "no permissions to access the room";

/// The most tracks that a participant has: more than any app has, few enough to hold.
pub(crate) const MAX_TRACKS: usize = 64;
/// The most capabilities that a client has. LiveKit's enum has fewer.
const MAX_CAPABILITIES: usize = 32;

/// A request to join or to validate, with the claims of the token that came with it, in which what the client says of itself
/// takes the place of what is there. Whether there is such a room is not looked at.
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
    let mut claims = keys.authenticate_join(token.as_ref().map(ParticipantToken::as_str), now)?;
    let mut request = ConnectRequest::parse(path, query).map_err(Refusal::from)?;
    let parameters = &mut request.parameters;
    if parameters.add_track_requests.len() > MAX_TRACKS {
        return Err(Refusal::new(400, "too many tracks"));
    }
    let describes_itself = !parameters.metadata.is_empty() || !parameters.attributes.is_empty();
    if describes_itself {
        if !claims.participant().permission.can_update_metadata {
            return Err(Refusal::new(401, NO_PERMISSIONS));
        }
        if !parameters.metadata.is_empty() {
            claims.metadata = std::mem::take(&mut parameters.metadata);
        }
        // An attribute that the token has can't be taken away.
        let said = std::mem::take(&mut parameters.attributes).into_iter().filter(|(_, value)| !value.is_empty());
        claims.attributes.extend(said);
        let checked = claims.check_join(&JoinLimits::default());
        checked.map_err(|error| Refusal::new(error.status(), error.response_body()))?;
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
        capabilities: parameters.client_info.capabilities.iter().copied().take(MAX_CAPABILITIES).collect(),
        sdk: sdk(&parameters.client_info),
        auto_subscribe: parameters.auto_subscribe,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE;
    use roomkey_token::{AccessToken, VideoGrant};

    use super::*;

    fn examined(of_token: &str, attributes: &[(&str, &str)]) -> Result<Claims, (u16, String)> {
        let keys = Keys::new(&[("devkey".to_owned(), "secret".to_owned())], true).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut grant = VideoGrant::join("lab");
        grant.can_update_own_metadata = Some(true);
        let token = AccessToken::new("alice").with_video(grant).with_attribute("of-token", of_token);
        let token = format!("Bearer {}", keys.sign(&token, now).unwrap());
        let attributes: serde_json::Map<_, _> =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let attributes = URL_SAFE.encode(serde_json::to_vec(&attributes).unwrap());
        let query = format!("protocol=16&attributes={}", attributes.replace('=', "%3D"));
        let examined = examine(&keys, "/rtc", Some(&query), Some(&token), now);
        examined.map(|(_, claims)| claims).map_err(|refusal| (refusal.status, refusal.body))
    }

    #[test]
    fn attributes_of_a_join_are_added_to_the_tokens_and_erase_none() {
        let claims = examined("kept", &[("of-client", "said"), ("of-token", ""), ("empty", "")]).unwrap();
        let attributes: Vec<_> = claims.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(attributes, [("of-client", "said"), ("of-token", "kept")]);
        assert_eq!(examined("kept", &[("of-token", "changed")]).unwrap().attributes["of-token"], "changed");
    }

    #[test]
    fn attributes_of_a_join_are_bounded_together_with_the_tokens() {
        let of_token = "x".repeat(50_000);
        assert!(examined(&of_token, &[("of-client", &"x".repeat(10_000))]).is_ok());
        let refused = examined(&of_token, &[("of-client", &"x".repeat(20_000))]).unwrap_err();
        assert_eq!(refused, (500, "connection closed by media".to_owned()));
    }
}
