//! A track that comes in.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use roomkey_rtc::{Codec, IncomingRtp};
use tokio::sync::mpsc;

use crate::audio::{AudioInlet, AudioStream, AudioStreamOptions, IncomingAudio, PayloadFormat};
use crate::command::Command;
use crate::media::{RtpSink, Sinks};
use crate::names::TrackSid;
use crate::publication::TrackKind;
use crate::video::{VideoInlet, VideoStream, VideoStreamOptions};

/// A track of somebody else, as it comes in. A cheap handle; it does not keep the room alive.
///
/// A track can be listened to any number of times. What comes while nobody listens is dropped.
#[doc(alias = "RemoteAudioTrack")]
#[doc(alias = "RemoteVideoTrack")]
#[derive(Clone)]
pub struct RemoteTrack {
    pub(crate) sid: TrackSid,
    pub(crate) kind: TrackKind,
    pub(crate) is_encrypted: bool,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) commands: mpsc::WeakUnboundedSender<Command>,
}

impl RemoteTrack {
    /// The sid of its publication.
    pub fn sid(&self) -> &TrackSid {
        &self.sid
    }

    /// Audio or video.
    pub fn kind(&self) -> TrackKind {
        self.kind
    }

    /// What is heard from now on, decoded. The stream ends with the track; of a video track it is empty, and of one that is
    /// [encrypted](crate::TrackPublication::is_encrypted) end to end, which would be heard as noise.
    pub fn audio_stream(&self, options: &AudioStreamOptions) -> AudioStream {
        let (stream, inlet) = AudioStream::new(options);
        if self.kind == TrackKind::Audio && !self.is_encrypted {
            self.sinks.add(&self.sid, Box::new(AudioIn(inlet)));
        }
        stream
    }

    /// The encoded frames, as they come even if they are encrypted end to end, from the next key frame on, which is asked for. The stream ends with the track; of an audio track
    /// it is empty.
    pub fn video_stream(&self, options: VideoStreamOptions) -> VideoStream {
        let (inlet, stream) = VideoInlet::new(options);
        if self.kind == TrackKind::Video {
            inlet.set_waker(self.sinks.waker());
            self.sinks.add(&self.sid, Box::new(VideoIn(inlet)));
            stream.request_keyframe();
        }
        stream
    }

    /// Asks the publisher of a video for a key frame, with which a decoder can begin. One comes in some 100 ms.
    pub fn request_keyframe(&self) {
        // A room that is over asks nobody.
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::RequestKeyframe { track: self.sid.clone() });
        }
    }
}

impl fmt::Debug for RemoteTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTrack").field("sid", &self.sid).field("kind", &self.kind).finish_non_exhaustive()
    }
}

struct AudioIn(AudioInlet);

impl RtpSink for AudioIn {
    #[expect(clippy::wildcard_enum_match_arm, reason = "telephone codecs are not decoded")]
    fn push(&mut self, now: Instant, packet: &IncomingRtp) -> bool {
        let format = match packet.format.codec() {
            Codec::Opus => PayloadFormat::Opus,
            Codec::Red => PayloadFormat::Red,
            _ => return true,
        };
        let IncomingRtp { sequence, timestamp, capture_time, ref payload, .. } = *packet;
        self.0.push(now, IncomingAudio { sequence, timestamp, capture_time, payload: Arc::clone(payload), format })
    }
}

struct VideoIn(VideoInlet);

impl RtpSink for VideoIn {
    fn push(&mut self, now: Instant, packet: &IncomingRtp) -> bool {
        self.0.push(now, packet.clone());
        !self.0.is_abandoned()
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    fn timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> bool {
        self.0.handle_timeout(now);
        !self.0.is_abandoned()
    }

    fn wants_keyframe(&mut self, now: Instant) -> bool {
        self.0.poll_keyframe_request(now)
    }
}
