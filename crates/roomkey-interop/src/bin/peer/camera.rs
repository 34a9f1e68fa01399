//! The camera: a recording in three sizes, again and again.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use roomkey::BoxError;
use roomkey_room::{
    EncodedVideoFrame, IvfReader, KeyframeRequests, VideoCodec, VideoLayer, VideoQuality, VideoSource,
    VideoSourceOptions,
};
use tokio::time::{MissedTickBehavior, interval};

/// Two seconds of ffmpeg's test picture in VP8, with a key frame in every ten; the README of tests/interop has the command.
const RECORDINGS: [(VideoQuality, &[u8]); 3] = [
    (VideoQuality::Low, include_bytes!("camera-180.ivf")),
    (VideoQuality::Medium, include_bytes!("camera-360.ivf")),
    (VideoQuality::High, include_bytes!("camera-720.ivf")),
];
const FRAMES_PER_SECOND: u32 = 15;
const BITS_PER_SECOND: u32 = 150_000;

/// A source that shows the recording from now on, for as long as there is a runtime: in all sizes, or in the largest.
pub(crate) fn start(is_simulcast: bool) -> Result<VideoSource, BoxError> {
    let all =
        RECORDINGS.into_iter().map(|(quality, file)| Recording::read(quality, file)).collect::<Result<Vec<_>, _>>()?;
    let largest = all.last().ok_or("there is a recording")?.layer;
    let mut options =
        VideoSourceOptions::new(VideoCodec::Vp8, largest.width, largest.height).with_bitrate(largest.bitrate);
    let recordings: Vec<_> = if is_simulcast {
        options = options.with_simulcast_layers(all.iter().map(|recording| recording.layer));
        all
    } else {
        all.into_iter().filter(|recording| recording.layer == largest).collect()
    };
    let source = VideoSource::new(options);
    tokio::spawn(play(source.clone(), recordings));
    Ok(source)
}

struct Recording {
    layer: VideoLayer,
    frames: Vec<EncodedVideoFrame>,
    next: usize,
}

impl Recording {
    fn read(quality: VideoQuality, file: &[u8]) -> Result<Self, BoxError> {
        let reader = IvfReader::new(file)?;
        let (width, height) = reader.dimensions();
        let layer = VideoLayer::new(quality, width, height).with_bitrate(BITS_PER_SECOND);
        Ok(Self { layer, frames: reader.collect::<Result<_, _>>()?, next: 0 })
    }

    /// The next frame, as one that was taken at this time.
    fn frame(&mut self, elapsed: Duration) -> EncodedVideoFrame {
        let frame = &self.frames[self.next];
        self.next = (self.next + 1) % self.frames.len();
        EncodedVideoFrame::new(frame.codec, elapsed, frame.data.clone())
    }

    /// Goes on with a key frame: the next there is, or the first.
    fn skip_to_keyframe(&mut self) {
        let rest = self.frames[self.next..].iter().position(|frame| frame.is_keyframe);
        self.next = rest.map_or(0, |rest| self.next + rest);
    }
}

async fn play(source: VideoSource, mut recordings: Vec<Recording>) {
    let is_simulcast = source.options().is_simulcast();
    let mut requests = source.keyframe_requests();
    let mut ticks = interval(Duration::from_secs(1) / FRAMES_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = ticks.tick().await;
    loop {
        let elapsed = ticks.tick().await - begun;
        for quality in waiting(&mut requests) {
            for recording in recordings.iter_mut().filter(|it| !is_simulcast || it.layer.quality == quality) {
                recording.skip_to_keyframe();
            }
        }
        for recording in &mut recordings {
            let mut frame = recording.frame(elapsed);
            if is_simulcast {
                frame = frame.with_layer(recording.layer.quality);
            }
            // What can't be sent is asked for again, as a key frame.
            if source.capture_frame(&frame).is_err() {
                return;
            }
        }
    }
}

fn waiting(requests: &mut KeyframeRequests) -> impl Iterator<Item = VideoQuality> {
    std::iter::from_fn(|| requests.next().now_or_never().flatten())
}
