//! A track that a participant publishes.

use std::time::{Duration, Instant};

use fastrand::Rng;
use livekit_protocol as proto;
use roomkey_rtc::Mid;

use super::codec::Codec;
use super::forwarder::Layer;
use super::participant::ParticipantId;
use super::speakers::LevelMeter;

/// A publication's number, unique within the server.
pub(super) type PublicationId = u64;

/// The layers of simulcast, at most.
pub(super) const LAYERS: usize = 3;
/// A layer without packets for this long is not sent any more.
const LAYER_SILENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Publication {
    pub(super) id: PublicationId,
    pub(super) cid: String,
    pub(super) info: proto::TrackInfo,
    /// Its section of the publisher's connection, once an offer had it.
    pub(super) mid: Option<Mid>,
    pub(super) codec: Codec,
    /// Others know of it.
    pub(super) is_public: bool,
    pub(super) layers_heard: [Option<Instant>; LAYERS],
    pub(super) levels: LevelMeter,
    /// Those to whom it flows.
    pub(super) subscribers: Vec<ParticipantId>,
    /// Its layers are streams with names of their own (RFC 8851).
    pub(super) has_rids: bool,
    /// The best layer that anybody wants, as the publisher was told.
    pub(super) quality_told: Option<Option<Layer>>,
    pub(super) wanted_less_since: Option<Instant>,
}

impl Publication {
    pub(super) fn new(id: PublicationId, request: &proto::AddTrackRequest, rng: &mut Rng) -> Self {
        let is_video = request.r#type == proto::TrackType::Video as i32;
        let sid = crate::ids::draw(if is_video { "TR_VC" } else { "TR_AM" }, rng);
        let codec = request.simulcast_codecs.first();
        let layer_mode = proto::video_layer::Mode::OneSpatialLayerPerStream as i32;
        let codec_info = proto::SimulcastCodecInfo {
            mime_type: codec.map(|codec| mime_of(is_video, &codec.codec)).unwrap_or_default(),
            cid: request.cid.clone(),
            layers: request.layers.clone(),
            video_layer_mode: layer_mode,
            ..Default::default()
        };
        let stream = match proto::TrackSource::try_from(request.source) {
            _ if !request.stream.is_empty() => request.stream.clone(),
            Ok(proto::TrackSource::Camera | proto::TrackSource::Microphone) => "camera".to_owned(),
            Ok(proto::TrackSource::ScreenShare | proto::TrackSource::ScreenShareAudio) => "screen_share".to_owned(),
            _ => String::new(),
        };
        #[expect(deprecated, reason = "older clients read layers, simulcast, stereo and disable_dtx")]
        let info = proto::TrackInfo {
            sid,
            r#type: request.r#type,
            name: request.name.clone(),
            muted: request.muted,
            width: request.width,
            height: request.height,
            simulcast: request.layers.len() > 1,
            disable_dtx: request.disable_dtx,
            source: request.source,
            layers: request.layers.clone(),
            codecs: vec![codec_info],
            stereo: request.stereo,
            disable_red: request.disable_red,
            encryption: request.encryption,
            stream,
            audio_features: request.audio_features.clone(),
            backup_codec_policy: request.backup_codec_policy,
            packet_trailer_features: request.packet_trailer_features.clone(),
            ..Default::default()
        };
        Self {
            id,
            cid: request.cid.clone(),
            info,
            mid: None,
            codec: Codec::Other,
            is_public: false,
            layers_heard: [None; LAYERS],
            levels: LevelMeter::default(),
            subscribers: Vec::new(),
            has_rids: false,
            quality_told: None,
            wanted_less_since: None,
        }
    }

    pub(super) fn is_video(&self) -> bool {
        self.info.r#type == proto::TrackType::Video as i32
    }

    /// Takes the section that an offer has for it.
    pub(super) fn bind(&mut self, mid: Mid, codec: Codec) {
        self.mid = Some(mid);
        self.info.mid = mid.to_string();
        self.set_codec(codec);
    }

    pub(super) fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
        self.info.mime_type = codec.mime_type().to_owned();
        for info in &mut self.info.codecs {
            info.mime_type = codec.mime_type().to_owned();
            info.mid.clone_from(&self.info.mid);
        }
    }

    /// The layers that packets come on.
    pub(super) fn live_layers(&self, now: Instant) -> [bool; LAYERS] {
        self.layers_heard.map(|heard| heard.is_some_and(|at| now.saturating_duration_since(at) < LAYER_SILENCE))
    }

    /// The layer that is enough for a picture of this size.
    #[expect(deprecated, reason = "the layers are where older clients read them, too")]
    pub(super) fn layer_for_size(&self, width: u32, height: u32) -> Layer {
        let mut layers: Vec<_> = self.info.layers.iter().collect();
        layers.sort_by_key(|layer| layer.quality);
        let enough = layers.iter().position(|layer| layer.width >= width && layer.height >= height);
        enough.unwrap_or(LAYERS - 1).min(LAYERS - 1)
    }
}

fn mime_of(is_video: bool, codec: &str) -> String {
    let kind = if is_video { "video" } else { "audio" };
    if codec.is_empty() { String::new() } else { format!("{kind}/{codec}") }
}
