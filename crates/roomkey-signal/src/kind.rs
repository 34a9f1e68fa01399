//! Names of the kinds of messages, for logs and `Debug`, which must not show a message: it can hold a token.

use crate::proto::{signal_request, signal_response};

/// The name of a request's kind, as in LiveKit's protocol files: `add_track`.
#[expect(deprecated, reason = "old clients send update_layers")]
pub fn request_kind(message: &signal_request::Message) -> &'static str {
    use signal_request::Message;
    match message {
        Message::Offer(_) => "offer",
        Message::Answer(_) => "answer",
        Message::Trickle(_) => "trickle",
        Message::AddTrack(_) => "add_track",
        Message::Mute(_) => "mute",
        Message::Subscription(_) => "subscription",
        Message::TrackSetting(_) => "track_setting",
        Message::Leave(_) => "leave",
        Message::UpdateLayers(_) => "update_layers",
        Message::SubscriptionPermission(_) => "subscription_permission",
        Message::SyncState(_) => "sync_state",
        Message::Simulate(_) => "simulate",
        Message::Ping(_) => "ping",
        Message::UpdateMetadata(_) => "update_metadata",
        Message::PingReq(_) => "ping_req",
        Message::UpdateAudioTrack(_) => "update_audio_track",
        Message::UpdateVideoTrack(_) => "update_video_track",
        Message::PublishDataTrackRequest(_) => "publish_data_track_request",
        Message::UnpublishDataTrackRequest(_) => "unpublish_data_track_request",
        Message::UpdateDataSubscription(_) => "update_data_subscription",
        Message::StoreDataBlobRequest(_) => "store_data_blob_request",
        Message::GetDataBlobRequest(_) => "get_data_blob_request",
    }
}

/// The name of a response's kind, as in LiveKit's protocol files: `room_update`.
pub fn response_kind(message: &signal_response::Message) -> &'static str {
    use signal_response::Message;
    match message {
        Message::Join(_) => "join",
        Message::Answer(_) => "answer",
        Message::Offer(_) => "offer",
        Message::Trickle(_) => "trickle",
        Message::Update(_) => "update",
        Message::TrackPublished(_) => "track_published",
        Message::Leave(_) => "leave",
        Message::Mute(_) => "mute",
        Message::SpeakersChanged(_) => "speakers_changed",
        Message::RoomUpdate(_) => "room_update",
        Message::ConnectionQuality(_) => "connection_quality",
        Message::StreamStateUpdate(_) => "stream_state_update",
        Message::SubscribedQualityUpdate(_) => "subscribed_quality_update",
        Message::SubscriptionPermissionUpdate(_) => "subscription_permission_update",
        Message::RefreshToken(_) => "refresh_token",
        Message::TrackUnpublished(_) => "track_unpublished",
        Message::Pong(_) => "pong",
        Message::Reconnect(_) => "reconnect",
        Message::PongResp(_) => "pong_resp",
        Message::SubscriptionResponse(_) => "subscription_response",
        Message::RequestResponse(_) => "request_response",
        Message::TrackSubscribed(_) => "track_subscribed",
        Message::RoomMoved(_) => "room_moved",
        Message::MediaSectionsRequirement(_) => "media_sections_requirement",
        Message::SubscribedAudioCodecUpdate(_) => "subscribed_audio_codec_update",
        Message::PublishDataTrackResponse(_) => "publish_data_track_response",
        Message::UnpublishDataTrackResponse(_) => "unpublish_data_track_response",
        Message::DataTrackSubscriberHandles(_) => "data_track_subscriber_handles",
        Message::StoreDataBlobResponse(_) => "store_data_blob_response",
        Message::GetDataBlobResponse(_) => "get_data_blob_response",
    }
}
