//! How many fields a message has, before it is read: a field of two bytes can be a struct of hundreds.

use prost::decode_length_delimiter;

/// The most fields of a client's message, in all that may be repeated. Who subscribes to thousands of tracks at once stays
/// below it; livekit-server has no such bound.
pub(crate) const MAX_FIELDS: usize = 8_192;

/// The most fields with a length of a server's message: a room of ten thousand with two tracks each stays below it.
pub(crate) const MAX_RESPONSE_FIELDS: usize = 1_000_000;

/// What a track counts for: its struct is larger than any other.
const TRACK: usize = 64;

/// Where a message holds messages that can hold many fields: the tag, what one counts for, and what is inside.
pub(crate) struct Shape(&'static [(u32, usize, &'static Self)]);

const PLAIN: Shape = Shape(&[]);
const CODEC: Shape = Shape(&[(4, 1, &PLAIN)]);
const ADD_TRACK: Shape = Shape(&[(10, 1, &CODEC)]);
const PUBLISHED: Shape = Shape(&[(2, 1, &Shape(&[(13, 1, &CODEC)]))]);
const SUBSCRIPTION: Shape = Shape(&[(3, 1, &PLAIN)]);
const PERMISSION: Shape = Shape(&[(2, 1, &PLAIN)]);
const SYNC_STATE: Shape = Shape(&[
    (1, 1, &PLAIN),
    (2, 1, &SUBSCRIPTION),
    (3, TRACK, &PUBLISHED),
    (5, 1, &PLAIN),
    (8, 1, &PLAIN),
    (9, 1, &PLAIN),
]);

/// Of a `JoinRequest`.
pub(crate) const JOIN: Shape = Shape(&[(1, 1, &PLAIN), (5, TRACK, &ADD_TRACK), (6, 1, &PLAIN), (10, 1, &SYNC_STATE)]);

/// Of a `SignalRequest`.
pub(crate) const REQUEST: Shape = Shape(&[
    (1, 1, &PLAIN),
    (2, 1, &PLAIN),
    (4, TRACK, &ADD_TRACK),
    (6, 1, &SUBSCRIPTION),
    (7, 1, &PLAIN),
    (10, 1, &PLAIN),
    (11, 1, &PERMISSION),
    (12, 1, &SYNC_STATE),
    (15, 1, &PLAIN),
    (17, 1, &PLAIN),
    (21, 1, &PLAIN),
]);

/// Whether a message of protobuf has more fields than [`MAX_FIELDS`]. What is no protobuf is found out by who reads it.
pub(crate) fn is_too_broad(message: &[u8], shape: &Shape) -> bool {
    let mut left = MAX_FIELDS;
    count(message, shape, &mut left).is_none()
}

/// Takes what a message's fields count for off what is left; none if that is not enough.
fn count(mut rest: &[u8], shape: &Shape, left: &mut usize) -> Option<()> {
    while !rest.is_empty() {
        let Some((tag, body)) = field(&mut rest) else { return Some(()) };
        let nested = shape.0.iter().find(|(nested, ..)| *nested == tag);
        *left = left.checked_sub(nested.map_or(1, |(_, weight, _)| *weight))?;
        if let (Some((.., shape)), Some(body)) = (nested, body) {
            count(body, shape, left)?;
        }
    }
    Some(())
}

/// Whether a server's message has more fields than [`MAX_RESPONSE_FIELDS`], wherever they are. What is a text may look like a
/// message; then its fields count, too.
pub(crate) fn is_too_broad_response(message: &[u8]) -> bool {
    /// `join`, participants, tracks, codecs, layers, and some to spare.
    const DEPTH: u32 = 8;
    message.len() > MAX_RESPONSE_FIELDS && count_all(message, DEPTH) > MAX_RESPONSE_FIELDS
}

/// How many fields with a length a message has, up to where it can't be read.
fn count_all(mut rest: &[u8], depth: u32) -> usize {
    let mut count = 0;
    while let Some((_, body)) = field(&mut rest) {
        if let Some(body) = body {
            count += 1 + if depth > 0 { count_all(body, depth - 1) } else { 0 };
        }
    }
    count
}

/// The next field's tag, and what is inside where that has a length.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let key = decode_length_delimiter(&mut *rest).ok()?;
    let length = match key & 7 {
        0 => {
            decode_length_delimiter(&mut *rest).ok()?;
            return Some((u32::try_from(key >> 3).ok()?, None));
        }
        1 => 8,
        2 => decode_length_delimiter(&mut *rest).ok()?,
        // The marks of a group, whose fields are fields here.
        3 | 4 => 0,
        5 => 4,
        _ => return None,
    };
    let (body, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((u32::try_from(key >> 3).ok()?, (key & 7 == 2).then_some(body)))
}

/// Whether a text of JSON has more members and elements than [`MAX_FIELDS`].
pub(crate) fn is_too_broad_json(text: &str) -> bool {
    let (mut is_string, mut is_escaped, mut members) = (false, false, 0);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' | b'[' | b',' if !is_string => members += 1,
            _ => {}
        }
    }
    members > MAX_FIELDS
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::signal_request::Message;
    use crate::proto::{
        AddTrackRequest, JoinRequest, SessionDescription, SignalRequest, SimulcastCodec, SubscriptionPermission,
        SyncState, TrackInfo, TrackPermission, TrackPublishedResponse, UpdateParticipantMetadata, UpdateSubscription,
        UpdateTrackSettings, VideoLayer,
    };

    fn request(message: Message) -> Vec<u8> {
        SignalRequest { message: Some(message) }.encode_to_vec()
    }

    #[test]
    fn what_clients_send_is_not_too_broad() {
        let layers = vec![VideoLayer { width: 640, height: 360, ..Default::default() }; 3];
        let codec = SimulcastCodec { codec: "vp8".into(), layers: layers.clone(), ..Default::default() };
        let track = AddTrackRequest { layers, simulcast_codecs: vec![codec; 2], ..Default::default() };
        let offer = SessionDescription { sdp: "x".repeat(400_000), ..Default::default() };
        let join =
            JoinRequest { add_track_requests: vec![track; 64], publisher_offer: Some(offer), ..Default::default() };
        assert!(!is_too_broad(&join.encode_to_vec(), &JOIN));
        let subscription =
            UpdateSubscription { track_sids: vec!["TR_VCabcdefghijkl".into(); 5_000], ..Default::default() };
        assert!(!is_too_broad(&request(Message::Subscription(subscription)), &REQUEST));
        let update = UpdateParticipantMetadata { metadata: "xp".repeat(200_000), ..Default::default() };
        assert!(!is_too_broad(&request(Message::UpdateMetadata(update)), &REQUEST));
    }

    #[test]
    fn what_is_repeated_beyond_reason_is_too_broad_wherever_it_is() {
        let many = MAX_FIELDS + 1;
        let layers = vec![VideoLayer::default(); many];
        let codec = SimulcastCodec { layers: layers.clone(), ..Default::default() };
        let wide = AddTrackRequest { layers, ..Default::default() };
        let deep = AddTrackRequest { simulcast_codecs: vec![codec], ..Default::default() };
        let joins = [
            JoinRequest { add_track_requests: vec![AddTrackRequest::default(); 200], ..Default::default() },
            JoinRequest { add_track_requests: vec![wide.clone()], ..Default::default() },
        ];
        for join in joins {
            assert!(is_too_broad(&join.encode_to_vec(), &JOIN));
        }
        let subscription = UpdateSubscription { track_sids: vec![String::new(); many], ..Default::default() };
        let permission = TrackPermission { track_sids: vec![String::new(); many], ..Default::default() };
        let info = TrackInfo { codecs: vec![Default::default(); many], ..Default::default() };
        let published = TrackPublishedResponse { track: Some(info), ..Default::default() };
        let sync = |state: SyncState| Message::SyncState(state);
        let requests = [
            Message::AddTrack(wide),
            Message::AddTrack(deep),
            Message::Subscription(subscription.clone()),
            Message::TrackSetting(UpdateTrackSettings { track_sids: vec![String::new(); many], ..Default::default() }),
            Message::SubscriptionPermission(SubscriptionPermission {
                track_permissions: vec![permission],
                ..Default::default()
            }),
            sync(SyncState { subscription: Some(subscription), ..Default::default() }),
            sync(SyncState { publish_tracks: vec![Default::default(); 200], ..Default::default() }),
            sync(SyncState { publish_tracks: vec![published], ..Default::default() }),
            sync(SyncState { datachannel_receive_states: vec![Default::default(); many], ..Default::default() }),
        ];
        for message in requests {
            let kind = crate::request_kind(&message);
            assert!(is_too_broad(&request(message), &REQUEST), "{kind}");
        }
    }

    #[test]
    fn members_of_json_are_counted_and_not_what_is_in_its_strings() {
        assert!(is_too_broad_json(&format!("[{}]", "{},".repeat(MAX_FIELDS))));
        assert!(!is_too_broad_json(&format!("{{\"metadata\":\"\\\"{}\"}}", "{},".repeat(MAX_FIELDS))));
    }

    #[test]
    fn any_bytes_are_counted_without_harm() {
        let mut rng = fastrand::Rng::with_seed(7);
        let broad = (0..2_000).filter(|_| {
            let length = rng.usize(0..3_000);
            let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            is_too_broad(&bytes, &REQUEST) || is_too_broad(&bytes, &JOIN)
        });
        assert_eq!(broad.count(), 0);
    }
}
