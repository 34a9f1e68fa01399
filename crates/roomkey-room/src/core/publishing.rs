//! What this client publishes: from the request to the track that others receive, again after a full reconnect.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use roomkey_rtc::{MediaKind, Rid, SenderId};

use super::Reply;
use crate::error::PublishError;
use crate::names::TrackSid;
use crate::publication::{TrackKind, TrackSource};
use crate::read;

/// How long the server has to take a track.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// A track of ours, whatever sid it has.
pub(crate) type LocalTrackId = u64;

/// What is to be published.
#[derive(Debug, Clone)]
pub(crate) struct TrackRequest {
    pub(crate) kind: TrackKind,
    pub(crate) source: TrackSource,
    pub(crate) name: String,
    pub(crate) stream: String,
    pub(crate) mime_type: String,
    pub(crate) is_muted: bool,
    pub(crate) is_stereo: bool,
    pub(crate) has_red: bool,
    pub(crate) has_dtx: bool,
    pub(crate) has_preconnect_buffer: bool,
    /// Whether its frames are encrypted end to end.
    pub(crate) is_encrypted: bool,
    pub(crate) dimensions: (u32, u32),
    /// Simulcast layers, smallest first: rid, width, height, bits per second. None for one layer.
    pub(crate) layers: Vec<Layer>,
}

/// A simulcast layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) rid: Rid,
    pub(crate) dimensions: (u32, u32),
    pub(crate) bits_per_second: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has been asked, or will be after the resume. It may have been offered a place for it, too.
    Requested(Instant),
    /// The server knows it; its place in the connection is being negotiated.
    Negotiating(Instant),
    Published,
}

/// A track of ours.
pub(crate) struct LocalTrack {
    pub(crate) id: LocalTrackId,
    pub(crate) cid: String,
    pub(crate) request: TrackRequest,
    pub(crate) sid: Option<TrackSid>,
    /// The sid of before a full reconnect.
    pub(crate) previous: Option<TrackSid>,
    pub(crate) info: Option<proto::TrackInfo>,
    pub(crate) sender: Option<SenderId>,
    stage: Stage,
    pub(crate) reply: Option<Reply<Result<TrackSid, PublishError>>>,
    /// How often it was asked for under a new name.
    renamed: u32,
    /// The websocket broke on which it was asked for, and with it perhaps the question or the answer.
    is_lost: bool,
}

impl std::fmt::Debug for LocalTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalTrack")
            .field("cid", &self.cid)
            .field("sid", &self.sid)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// All tracks of ours.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    pub(crate) tracks: Vec<LocalTrack>,
    /// How often tracks were asked for again since they are to be encrypted or not.
    renamings: u32,
}

impl Publishing {
    /// Adds a track, and says what to ask of the server.
    pub(crate) fn add(
        &mut self,
        id: LocalTrackId,
        request: TrackRequest,
        reply: Reply<Result<TrackSid, PublishError>>,
        now: Instant,
    ) -> proto::AddTrackRequest {
        let cid = format!("TR_local_{id}");
        let add = request.to_add_track(&cid);
        let stage = Stage::Requested(now + PUBLISH_TIMEOUT);
        self.tracks.push(LocalTrack {
            id,
            cid,
            request,
            sid: None,
            previous: None,
            info: None,
            sender: None,
            stage,
            reply: Some(reply),
            renamed: 0,
            is_lost: false,
        });
        add
    }

    pub(crate) fn get(&self, id: LocalTrackId) -> Option<&LocalTrack> {
        self.tracks.iter().find(|track| track.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: LocalTrackId) -> Option<&mut LocalTrack> {
        self.tracks.iter_mut().find(|track| track.id == id)
    }

    pub(crate) fn by_sid(&self, sid: &TrackSid) -> Option<&LocalTrack> {
        self.tracks.iter().find(|track| track.sid.as_ref() == Some(sid))
    }

    /// By its sid, or by that of before a join anew while it has no other.
    pub(crate) fn by_any_sid(&self, sid: &TrackSid) -> Option<&LocalTrack> {
        let is_it = |track: &&LocalTrack| track.sid.as_ref().or(track.previous.as_ref()) == Some(sid);
        self.tracks.iter().find(is_it)
    }

    pub(crate) fn by_sender(&self, sender: SenderId) -> Option<&LocalTrack> {
        self.tracks.iter().find(|track| track.sender == Some(sender))
    }

    pub(crate) fn remove(&mut self, id: LocalTrackId) -> Option<LocalTrack> {
        let index = self.tracks.iter().position(|track| track.id == id)?;
        Some(self.tracks.remove(index))
    }

    /// The server has taken a track.
    pub(crate) fn accepted(&mut self, cid: &str, info: &proto::TrackInfo, now: Instant) -> Option<LocalTrackId> {
        let id = self.requested(cid)?;
        let track = self.get_mut(id)?;
        track.sid = Some((&info.sid).into());
        track.info = Some(info.clone());
        track.stage = Stage::Negotiating(now + PUBLISH_TIMEOUT);
        Some(id)
    }

    /// The track that the server was asked to take, and has not taken yet, by its name there.
    pub(crate) fn requested(&self, cid: &str) -> Option<LocalTrackId> {
        let asked = self.tracks.iter().find(|track| track.cid == cid && matches!(track.stage, Stage::Requested(_)));
        asked.map(|track| track.id)
    }

    /// Tracks that have got their place in the connection.
    pub(crate) fn negotiated(&mut self, is_placed: impl Fn(SenderId) -> bool) -> Vec<LocalTrackId> {
        let mut published = Vec::new();
        for track in &mut self.tracks {
            if matches!(track.stage, Stage::Negotiating(_)) && track.sender.is_some_and(&is_placed) {
                track.stage = Stage::Published;
                published.push(track.id);
            }
        }
        published
    }

    /// The stay in the room is another one: everything is asked for again.
    pub(crate) fn restart(&mut self, now: Instant) -> Vec<proto::AddTrackRequest> {
        let request = |track: &mut LocalTrack| {
            if let Some(sid) = track.sid.take() {
                track.previous = Some(sid);
                // What was said before the first publication has been sent.
                track.request.has_preconnect_buffer = false;
            }
            (track.sender, track.info, track.is_lost) = (None, None, false);
            track.stage = Stage::Requested(now + PUBLISH_TIMEOUT);
            track.request.to_add_track(&track.cid)
        };
        self.tracks.iter_mut().map(request).collect()
    }

    /// The websocket is gone: what was asked for on it may not have come through.
    pub(crate) fn lose(&mut self) {
        for track in &mut self.tracks {
            track.is_lost = matches!(track.stage, Stage::Requested(_));
        }
    }

    /// The stay goes on: what was lost is asked for again, under another name, since livekit-server does not answer twice to
    /// one. With the places that they had in the connection.
    pub(crate) fn ask_again(&mut self) -> Vec<(LocalTrackId, proto::AddTrackRequest, Option<SenderId>)> {
        let again = |track: &mut LocalTrack| {
            track.is_lost = false;
            track.renamed += 1;
            track.cid = format!("TR_local_{}_{}", track.id, track.renamed);
            (track.id, track.request.to_add_track(&track.cid), track.sender.take())
        };
        self.tracks.iter_mut().filter(|track| track.is_lost).map(again).collect()
    }

    /// Whether tracks are encrypted is another thing: those that were published otherwise are asked for again, under other
    /// names. With the places that they had in the connection.
    pub(crate) fn set_encrypted(
        &mut self,
        is_encrypted: bool,
        now: Instant,
    ) -> Vec<(LocalTrackId, proto::AddTrackRequest, Option<SenderId>)> {
        let again = |track: &mut LocalTrack| {
            track.request.is_encrypted = is_encrypted;
            if let Some(sid) = track.sid.take() {
                track.previous = Some(sid);
                track.request.has_preconnect_buffer = false;
            }
            track.info = None;
            track.stage = Stage::Requested(now + PUBLISH_TIMEOUT);
            self.renamings += 1;
            track.cid = format!("TR_local_{}_e{}", track.id, self.renamings);
            (track.id, track.request.to_add_track(&track.cid), track.sender.take())
        };
        self.tracks.iter_mut().filter(|track| track.request.is_encrypted != is_encrypted).map(again).collect()
    }

    /// A resume has taken its time: what was asked for before it gets the whole of its own again.
    pub(crate) fn postpone(&mut self, now: Instant) {
        for track in &mut self.tracks {
            if let Stage::Requested(deadline) | Stage::Negotiating(deadline) = &mut track.stage {
                *deadline = now + PUBLISH_TIMEOUT;
            }
        }
    }

    /// Those that the server has not taken in time.
    pub(crate) fn overdue(&self, now: Instant) -> Option<LocalTrackId> {
        self.tracks.iter().find(|track| track.deadline().is_some_and(|deadline| deadline <= now)).map(|track| track.id)
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.tracks.iter().filter_map(LocalTrack::deadline).min()
    }

    /// The room is over.
    pub(crate) fn fail_all(&mut self) {
        for reply in self.tracks.iter_mut().filter_map(|track| track.reply.take()) {
            reply(Err(PublishError::Disconnected));
        }
    }

    /// For a sync state.
    pub(crate) fn responses(&self) -> Vec<proto::TrackPublishedResponse> {
        let known = self.tracks.iter().filter(|track| track.info.is_some());
        known.map(|track| proto::TrackPublishedResponse { cid: track.cid.clone(), track: track.info.clone() }).collect()
    }
}

impl LocalTrack {
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Requested(deadline) | Stage::Negotiating(deadline) => Some(deadline),
            Stage::Published => None,
        }
    }

    pub(crate) fn media_kind(&self) -> MediaKind {
        match self.request.kind {
            TrackKind::Audio => MediaKind::Audio,
            TrackKind::Video => MediaKind::Video,
        }
    }

    pub(crate) fn rids(&self) -> Vec<Rid> {
        self.request.layers.iter().map(|layer| layer.rid).collect()
    }
}

impl TrackRequest {
    fn to_add_track(&self, cid: &str) -> proto::AddTrackRequest {
        let mut add = proto::AddTrackRequest {
            cid: cid.to_owned(),
            name: self.name.clone(),
            width: self.dimensions.0,
            height: self.dimensions.1,
            muted: self.is_muted,
            disable_red: !self.has_red || self.is_encrypted,
            stream: self.stream.clone(),
            ..Default::default()
        };
        add.set_source(read::write_source(self.source));
        if self.is_encrypted {
            add.set_encryption(proto::encryption::Type::Gcm);
        }
        match self.kind {
            TrackKind::Audio => {
                add.set_type(proto::TrackType::Audio);
                #[expect(deprecated, reason = "livekit-server reads features and these both")]
                {
                    add.disable_dtx = !self.has_dtx;
                    add.stereo = self.is_stereo;
                }
                let features = [
                    (self.is_stereo, proto::AudioTrackFeature::TfStereo),
                    (!self.has_dtx, proto::AudioTrackFeature::TfNoDtx),
                    (self.has_preconnect_buffer, proto::AudioTrackFeature::TfPreconnectBuffer),
                ];
                add.audio_features =
                    features.into_iter().filter(|(is_set, _)| *is_set).map(|(_, feature)| feature.into()).collect();
            }
            TrackKind::Video => {
                add.set_type(proto::TrackType::Video);
                add.layers = self.video_layers();
                let codec = self.mime_type.strip_prefix("video/").unwrap_or("vp8").to_ascii_lowercase();
                add.simulcast_codecs = vec![proto::SimulcastCodec {
                    codec,
                    cid: cid.to_owned(),
                    layers: self.video_layers(),
                    ..Default::default()
                }];
            }
        }
        add
    }

    fn video_layers(&self) -> Vec<proto::VideoLayer> {
        use proto::VideoQuality;
        if self.layers.is_empty() {
            let (width, height) = self.dimensions;
            return vec![proto::VideoLayer { quality: VideoQuality::High.into(), width, height, ..Default::default() }];
        }
        // Of two layers the server wants the lower and the middle.
        let qualities = [VideoQuality::Low, VideoQuality::Medium, VideoQuality::High];
        let layer = |(index, (layer, quality)): (usize, (&Layer, VideoQuality))| proto::VideoLayer {
            quality: quality.into(),
            width: layer.dimensions.0,
            height: layer.dimensions.1,
            bitrate: layer.bits_per_second,
            spatial_layer: i32::try_from(index).unwrap_or_default(),
            rid: layer.rid.as_str().to_owned(),
            ..Default::default()
        };
        self.layers.iter().zip(qualities).enumerate().map(layer).collect()
    }
}
