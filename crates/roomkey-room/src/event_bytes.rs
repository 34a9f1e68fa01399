//! How much memory an event takes while it waits.

use std::collections::HashMap;

use crate::data_stream::info::{ByteStreamInfo, TextStreamInfo};
use crate::event::RoomEvent;
use crate::participant::Participant;
use crate::publication::TrackPublication;
use crate::room_info::RoomInfo;

/// What an event takes, about: what others decide the size of is counted, and what it shares with snapshots too, since it may
/// be the last to have them. The contents of a stream are counted by its reader.
pub(crate) fn event_bytes(event: &RoomEvent) -> usize {
    size_of::<RoomEvent>() + of_others(event)
}

fn of_others(event: &RoomEvent) -> usize {
    match event {
        RoomEvent::ConnectionStateChanged(_)
        | RoomEvent::TokenRefreshed
        | RoomEvent::RoomUpdated
        | RoomEvent::Lagged(_)
        | RoomEvent::TrackSubscriptionFailed(_) => 0,
        RoomEvent::ParticipantConnected(who)
        | RoomEvent::ParticipantActive(who)
        | RoomEvent::ParticipantPermissionChanged(who)
        | RoomEvent::ParticipantUpdated(who)
        | RoomEvent::ConnectionQualityChanged(who)
        | RoomEvent::ParticipantDisconnected { participant: who, .. } => participant(who),
        RoomEvent::ParticipantMetadataChanged { participant: who, old_metadata: text }
        | RoomEvent::ParticipantNameChanged { participant: who, old_name: text } => participant(who) + text.len(),
        RoomEvent::ParticipantAttributesChanged { participant: who, changed } => participant(who) + attributes(changed),
        RoomEvent::TrackPublished { participant: who, publication: of }
        | RoomEvent::TrackUnpublished { participant: who, publication: of }
        | RoomEvent::TrackSubscribed { participant: who, publication: of, .. }
        | RoomEvent::TrackUnsubscribed { participant: who, publication: of }
        | RoomEvent::TrackSubscriptionPermissionChanged { participant: who, publication: of }
        | RoomEvent::TrackStreamStateChanged { participant: who, publication: of }
        | RoomEvent::TrackMuted { participant: who, publication: of }
        | RoomEvent::TrackUnmuted { participant: who, publication: of } => participant(who) + publication(of),
        RoomEvent::E2eeStateChanged { participant: who, publication: of, .. } => {
            participant(who) + of.as_ref().map_or(0, |of| publication(of))
        }
        RoomEvent::LocalTrackPublished(of)
        | RoomEvent::LocalTrackUnpublished(of)
        | RoomEvent::LocalTrackSubscribed(of)
        | RoomEvent::LocalTrackRepublished { publication: of, .. } => publication(of),
        RoomEvent::ActiveSpeakersChanged(speakers) => speakers.iter().map(|who| participant(who)).sum(),
        RoomEvent::DataReceived { payload, topic, .. } => payload.len() + topic.as_ref().map_or(0, String::len),
        RoomEvent::TextStreamOpened { reader, .. } => reader.look(|reader| text_info(reader.info())).unwrap_or(0),
        RoomEvent::ByteStreamOpened { reader, .. } => reader.look(|reader| byte_info(reader.info())).unwrap_or(0),
        RoomEvent::RoomMoved(info) => size_of::<RoomInfo>() + info.name.len() + info.metadata.len(),
        RoomEvent::ChatMessageReceived { message, .. } => message.id.len() + message.message.len(),
        RoomEvent::SipDtmfReceived { digit, .. } => digit.len(),
        RoomEvent::TranscriptionReceived { segments, .. } => {
            let texts = segments.iter().map(|segment| segment.id.len() + segment.text.len() + segment.language.len());
            texts.map(|bytes| bytes + ENTRY).sum()
        }
    }
}

fn participant(of: &Participant) -> usize {
    let publications: usize = of.publications.iter().map(|of| publication(of)).sum();
    size_of::<Participant>() + of.name.len() + of.metadata.len() + attributes(&of.attributes) + publications
}

fn publication(of: &TrackPublication) -> usize {
    size_of::<TrackPublication>() + of.name.len() + of.mime_type.len() + of.stream.len()
}

/// The topic is there twice.
fn text_info(info: &TextStreamInfo) -> usize {
    let attached: usize = info.attached_stream_ids.iter().map(|id| id.len() + ENTRY).sum();
    let reply = info.reply_to_stream_id.as_ref().map_or(0, String::len);
    size_of::<TextStreamInfo>()
        + info.id.len()
        + 2 * info.topic.len()
        + info.mime_type.len()
        + attributes(&info.attributes)
        + attached
        + reply
}

fn byte_info(info: &ByteStreamInfo) -> usize {
    let texts = info.id.len() + 2 * info.topic.len() + info.mime_type.len() + info.name.len();
    size_of::<ByteStreamInfo>() + texts + attributes(&info.attributes)
}

fn attributes(all: &HashMap<String, String>) -> usize {
    all.iter().map(|(key, value)| key.len() + value.len() + ENTRY).sum()
}

/// What an entry of a list or a map costs beside its texts.
const ENTRY: usize = 64;
