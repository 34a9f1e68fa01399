//! A track that comes in.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use roomkey_rtc::{Codec, IncomingRtp};
use tokio::sync::mpsc;

use crate::audio::{AudioInlet, AudioStream, AudioStreamOptions, IncomingAudio, PayloadFormat};
use crate::command::Command;
use crate::encryption::{FrameCodec, FrameOpener, RoomEncryption};
use crate::media::{RtpSink, Sinks};
use crate::names::{ParticipantIdentity, TrackSid};
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
    pub(crate) publisher: ParticipantIdentity,
    pub(crate) encryption: Option<Arc<RoomEncryption>>,
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
    /// [encrypted](crate::TrackPublication::is_encrypted) end to end in a room [without keys](crate::RoomBuilder::encryption).
    ///
    /// What can't be decrypted is not decoded: it counts as lost, and as
    /// [`undecrypted`](crate::AudioStreamStats::undecrypted). Room events tell why
    /// ([`E2eeStateChanged`](crate::RoomEvent::E2eeStateChanged)).
    pub fn audio_stream(&self, options: &AudioStreamOptions) -> AudioStream {
        let (stream, inlet) = AudioStream::new(options);
        if self.kind == TrackKind::Audio && (!self.is_encrypted || self.encryption.is_some()) {
            self.sinks.add(&self.sid, Box::new(AudioIn { inlet, opener: self.opener() }));
        }
        stream
    }

    /// The encoded frames, from the next key frame on, which is asked for. The stream ends with the track; of an audio track it
    /// is empty.
    ///
    /// Frames that are encrypted end to end are decrypted; what can't be is left out, and counts as
    /// [`undecrypted_frames`](crate::VideoStreamStats::undecrypted_frames). In a room
    /// [without keys](crate::RoomBuilder::encryption) they are given as they come.
    pub fn video_stream(&self, options: VideoStreamOptions) -> VideoStream {
        let (inlet, stream) = VideoInlet::new(options, self.opener());
        if self.kind == TrackKind::Video {
            inlet.set_waker(self.sinks.waker());
            self.sinks.add(&self.sid, Box::new(VideoIn(inlet)));
            stream.request_keyframe();
        }
        stream
    }

    /// What opens its frames, where they are sealed and there may be keys.
    fn opener(&self) -> Option<FrameOpener> {
        let encryption = self.encryption.as_ref().filter(|_| self.is_encrypted)?;
        Some(FrameOpener::new(encryption, self.publisher.clone(), self.sid.clone()))
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

struct AudioIn {
    inlet: AudioInlet,
    opener: Option<FrameOpener>,
}

impl RtpSink for AudioIn {
    #[expect(clippy::wildcard_enum_match_arm, reason = "telephone codecs are not decoded")]
    fn push(&mut self, now: Instant, packet: &IncomingRtp) -> bool {
        let format = match packet.format.codec() {
            Codec::Opus => PayloadFormat::Opus,
            Codec::Red => PayloadFormat::Red,
            _ => return true,
        };
        let IncomingRtp { sequence, timestamp, capture_time, ref payload, .. } = *packet;
        let payload = match &mut self.opener {
            None => Arc::clone(payload),
            Some(opener) => match opener.open(now, FrameCodec::Audio, payload) {
                Some(opened) => Arc::from(opened),
                None => return self.inlet.count_undecrypted(),
            },
        };
        self.inlet.push(now, IncomingAudio { sequence, timestamp, capture_time, payload, format })
    }

    fn handle_timeout(&mut self, _now: Instant) -> bool {
        self.inlet.is_read()
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
