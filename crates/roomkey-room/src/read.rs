//! The server's messages as the values of this crate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livekit_protocol as proto;

use crate::participant::{ConnectionQuality, Participant, ParticipantKind, ParticipantPermission, ParticipantState};
use crate::publication::{TrackKind, TrackPublication, TrackSource};

pub(crate) fn participant(info: &proto::ParticipantInfo) -> Participant {
    use proto::participant_info::{Kind, State};
    let mut participant = Participant::new(&info.sid, &info.identity);
    participant.name.clone_from(&info.name);
    participant.metadata.clone_from(&info.metadata);
    participant.attributes = Arc::new(info.attributes.clone());
    participant.kind = match Kind::try_from(info.kind) {
        Ok(Kind::Standard) => ParticipantKind::Standard,
        Ok(Kind::Ingress) => ParticipantKind::Ingress,
        Ok(Kind::Egress) => ParticipantKind::Egress,
        Ok(Kind::Sip) => ParticipantKind::Sip,
        Ok(Kind::Agent) => ParticipantKind::Agent,
        Ok(Kind::Connector) => ParticipantKind::Connector,
        Ok(_) | Err(_) => ParticipantKind::Other,
    };
    participant.state = match info.state() {
        State::Joining => ParticipantState::Joining,
        State::Joined => ParticipantState::Joined,
        State::Active => ParticipantState::Active,
        State::Disconnected => ParticipantState::Disconnected,
    };
    participant.permission = info.permission.as_ref().map(permission).unwrap_or_default();
    participant.joined_at = joined_at(info.joined_at_ms, info.joined_at);
    participant.publications = info.tracks.iter().map(|track| Arc::new(publication(track))).collect();
    participant.client_protocol = info.client_protocol;
    participant.reads_deflate =
        info.capabilities().any(|capability| capability == proto::client_info::Capability::CapCompressionDeflateRaw);
    participant
}

/// Milliseconds of the server's clock, or its seconds where it is too old to say those.
fn joined_at(milliseconds: i64, seconds: i64) -> SystemTime {
    let milliseconds = if milliseconds > 0 { milliseconds } else { seconds.saturating_mul(1_000) };
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn permission(permission: &proto::ParticipantPermission) -> ParticipantPermission {
    ParticipantPermission {
        can_subscribe: permission.can_subscribe,
        can_publish: permission.can_publish,
        can_publish_data: permission.can_publish_data,
        can_publish_sources: permission.can_publish_sources.iter().copied().map(source).collect(),
        hidden: permission.hidden,
        can_update_metadata: permission.can_update_metadata,
    }
}

pub(crate) fn publication(track: &proto::TrackInfo) -> TrackPublication {
    let kind = if track.r#type() == proto::TrackType::Video { TrackKind::Video } else { TrackKind::Audio };
    let mut publication = TrackPublication::new(&track.sid, kind, source(track.source));
    publication.name.clone_from(&track.name);
    publication.mime_type.clone_from(&track.mime_type);
    publication.is_muted = track.muted;
    #[expect(deprecated, reason = "an old server says simulcast here, and the newest still does")]
    let is_simulcast = track.simulcast;
    publication.is_simulcast = is_simulcast;
    publication.dimensions = (track.width, track.height);
    publication.stream.clone_from(&track.stream);
    publication.has_red = kind == TrackKind::Audio && !track.disable_red;
    publication.is_encrypted = track.encryption() != proto::encryption::Type::None;
    publication.has_preconnect_buffer =
        track.audio_features().any(|feature| feature == proto::AudioTrackFeature::TfPreconnectBuffer);
    publication
}

fn source(source: i32) -> TrackSource {
    match proto::TrackSource::try_from(source) {
        Ok(proto::TrackSource::Camera) => TrackSource::Camera,
        Ok(proto::TrackSource::Microphone) => TrackSource::Microphone,
        Ok(proto::TrackSource::ScreenShare) => TrackSource::Screenshare,
        Ok(proto::TrackSource::ScreenShareAudio) => TrackSource::ScreenshareAudio,
        Ok(proto::TrackSource::Unknown) | Err(_) => TrackSource::Unknown,
    }
}

pub(crate) fn write_source(source: TrackSource) -> proto::TrackSource {
    match source {
        TrackSource::Unknown => proto::TrackSource::Unknown,
        TrackSource::Camera => proto::TrackSource::Camera,
        TrackSource::Microphone => proto::TrackSource::Microphone,
        TrackSource::Screenshare => proto::TrackSource::ScreenShare,
        TrackSource::ScreenshareAudio => proto::TrackSource::ScreenShareAudio,
    }
}

pub(crate) fn quality(quality: i32) -> ConnectionQuality {
    match proto::ConnectionQuality::try_from(quality) {
        Ok(proto::ConnectionQuality::Poor) => ConnectionQuality::Poor,
        Ok(proto::ConnectionQuality::Good) => ConnectionQuality::Good,
        Ok(proto::ConnectionQuality::Excellent) => ConnectionQuality::Excellent,
        Ok(proto::ConnectionQuality::Lost) => ConnectionQuality::Lost,
        Err(_) => ConnectionQuality::Unknown,
    }
}
