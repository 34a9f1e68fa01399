//! Where an application gets the sound of a track.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::Stream;
use tokio::time::Sleep;

use super::codec::{AudioCodec, AudioDecoder, CodecError};
use super::converter::Converter;
use super::delay::DelayBounds;
use super::frame::{AudioFormat, AudioFrame, InvalidAudioFrame};
use super::inlet::{AudioInlet, Input};
use super::jitter_buffer::{JitterBuffer, Playout};
use super::opus::OpusCodec;
use super::processor::AudioProcessor;
use super::stats::AudioStreamStats;
use super::{FADE, FRAME, FRAME_DURATION};
use crate::clock;

/// The sound of a track: a stream of frames, each when it is to be played, until the track ends.
///
/// Packets are put in order, lost ones are found in later ones or made up for, and decoded, all in the task that reads the
/// stream; it needs a tokio runtime. Frames are as long as packets are, 20 ms most of the time. While nothing is sent there
/// are no frames, unless the stream is [continuous](AudioStreamOptions::with_continuous).
///
/// Who reads too slowly misses the oldest. Who stops reading and goes on later gets what is newest then.
#[doc(alias = "NativeAudioStream")]
pub struct AudioStream {
    input: Arc<Input>,
    buffer: JitterBuffer,
    output: Output,
    /// When silence is due, where the stream is continuous.
    silence: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    dropped: u64,
    undecrypted: u64,
}

impl AudioStream {
    /// A stream, and where packets go in.
    pub(crate) fn new(options: &AudioStreamOptions) -> (Self, AudioInlet) {
        let (inlet, input) = AudioInlet::new();
        let stream = Self {
            input,
            buffer: JitterBuffer::new(options.delay),
            output: Output::new(options),
            silence: options.continuous.then(clock::now),
            timer: None,
            dropped: 0,
            undecrypted: 0,
        };
        (stream, inlet)
    }

    /// The next frame, when it is to be played; `None` once the track has ended. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<AudioFrame> {
        futures_util::StreamExt::next(self).await
    }

    /// What became of the packets up to now.
    pub fn stats(&self) -> AudioStreamStats {
        let stats = self.buffer.stats();
        AudioStreamStats { dropped: stats.dropped + self.dropped, undecrypted: self.undecrypted, ..stats }
    }

    /// Takes what has come; true where nothing more will.
    fn take_input(&mut self, waker: &std::task::Waker) -> bool {
        let (packets, closed) = {
            let mut queue = self.input.lock();
            self.dropped = queue.dropped;
            self.undecrypted = queue.undecrypted;
            if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                queue.waker = Some(waker.clone());
            }
            (std::mem::take(&mut queue.packets), queue.closed)
        };
        for (came, packet) in &packets {
            self.buffer.handle_packet(*came, packet);
        }
        closed
    }

    /// Silence, where it is due before anything else.
    fn poll_silence(&mut self, now: Instant) -> Option<AudioFrame> {
        let due = self.silence.filter(|due| *due <= now)?;
        // Who did not read for a while does not get all of the silence.
        self.silence = Some(due.max(now.checked_sub(FRAME_DURATION * 5).unwrap_or(now)) + FRAME_DURATION);
        self.output.silence()
    }

    /// Waits until `due`; ready where that has passed.
    fn poll_timer(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        let due = tokio::time::Instant::from_std(due);
        let timer = match &mut self.timer {
            Some(timer) => {
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
                timer
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(due))),
        };
        timer.as_mut().poll(context)
    }
}

impl Stream for AudioStream {
    type Item = AudioFrame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AudioFrame>> {
        let this = self.get_mut();
        loop {
            let closed = this.take_input(context.waker());
            if closed && (this.buffer.is_empty() || this.buffer.next_due().is_none()) {
                return Poll::Ready(None);
            }
            let now = clock::now();
            if let Some(playout) = this.buffer.poll_frame(now) {
                let captured = this.buffer.capture_time();
                if let Some(frame) = this.output.play(playout, captured) {
                    if let Some(silence) = &mut this.silence {
                        *silence = now + frame.duration();
                    }
                    return Poll::Ready(Some(frame));
                }
                continue;
            }
            if let Some(frame) = this.poll_silence(now) {
                return Poll::Ready(Some(frame));
            }
            let due = this.buffer.next_due().into_iter().chain(this.silence).min();
            let Some(due) = due else { return Poll::Pending };
            if this.poll_timer(due, context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for AudioStream {
    fn drop(&mut self) {
        self.input.close();
        // Whoever pushes next, or looks after some time, finds nobody reading.
        let unread = std::mem::take(&mut self.input.lock().packets);
        drop(unread);
    }
}

impl fmt::Debug for AudioStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioStream").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// From packets to frames as the application wants them.
struct Output {
    codec: Arc<dyn AudioCodec>,
    processor: Option<Arc<dyn AudioProcessor>>,
    decoder: Option<Box<dyn AudioDecoder>>,
    converter: Converter,
    decoded_format: AudioFormat,
    format: AudioFormat,
    /// What is played in the time of the next packet.
    overlap: Vec<f32>,
    /// How loud what is made up is still, in samples of the fade.
    faded: usize,
    decoded: Vec<f32>,
    converted: Vec<f32>,
}

impl Output {
    fn new(options: &AudioStreamOptions) -> Self {
        let num_channels = options.format.num_channels.min(2);
        let decoded_format = AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels };
        Self {
            codec: Arc::clone(&options.codec),
            processor: options.processor.clone(),
            decoder: None,
            converter: Converter::new(decoded_format, options.format),
            decoded_format,
            format: options.format,
            overlap: Vec::new(),
            faded: 0,
            decoded: Vec::new(),
            converted: Vec::new(),
        }
    }

    /// `captured` is when the first sample of it was taken.
    fn play(&mut self, playout: Playout, captured: Option<Duration>) -> Option<AudioFrame> {
        let start = self.decoded.len();
        // What comes out begins with what was kept of before.
        let captured = captured.and_then(|captured| captured.checked_sub(self.pending()));
        let result = match playout {
            Playout::Decode { payload } => {
                let result = self.decode(|decoder, out| decoder.decode(&payload, out));
                self.mix_overlap(start);
                self.fade_in(start);
                result.or_else(|error| self.silence_instead(error, FRAME))
            }
            Playout::Overlap { payload } => {
                let result = self.decode(|decoder, out| decoder.decode(&payload, out));
                self.fade_in(start);
                self.overlap = self.decoded.split_off(start);
                result
            }
            Playout::Recover { next, samples } => {
                let result = self.decode(|decoder, out| decoder.recover(&next, samples, out));
                self.fade_in(start);
                result.or_else(|error| self.silence_instead(error, samples))
            }
            Playout::Conceal { samples } => {
                let result = self.decode(|decoder, out| decoder.conceal(samples, out));
                self.fade_out(start);
                result.or_else(|error| self.silence_instead(error, samples))
            }
            Playout::End => {
                self.overlap.clear();
                self.faded = FADE;
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::trace!(%error, "an audio packet was not decoded");
        }
        self.finish().map(|frame| frame.captured_at(captured))
    }

    /// How much was decoded and has not come out.
    fn pending(&self) -> Duration {
        let samples = self.decoded.len() / self.decoded_format.num_channels as usize;
        self.converter.pending() + Duration::from_secs_f64(samples as f64 / f64::from(self.decoded_format.sample_rate))
    }

    fn silence(&mut self) -> Option<AudioFrame> {
        self.decoded.resize(self.decoded.len() + FRAME * self.decoded_format.num_channels as usize, 0.0);
        self.finish()
    }

    fn decode(
        &mut self,
        decode: impl FnOnce(&mut dyn AudioDecoder, &mut Vec<f32>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(self.codec.decoder(self.decoded_format.num_channels)?),
        };
        decode(&mut **decoder, &mut self.decoded)
    }

    /// The time passes, whatever the codec says.
    fn silence_instead(&mut self, error: CodecError, samples: usize) -> Result<(), CodecError> {
        self.decoded.resize(self.decoded.len() + samples * self.decoded_format.num_channels as usize, 0.0);
        Err(error)
    }

    /// Goes over from what was to be played before to what was decoded from `start` on.
    fn mix_overlap(&mut self, start: usize) {
        let length = self.overlap.len().min(self.decoded.len() - start);
        for (n, (sample, before)) in self.decoded[start..].iter_mut().zip(&self.overlap).enumerate() {
            let weight = n as f32 / length as f32;
            *sample = *sample * weight + before * (1.0 - weight);
        }
        self.overlap.clear();
    }

    /// What is made up becomes silent within the fade.
    fn fade_out(&mut self, start: usize) {
        for sample in self.decoded[start..].chunks_mut(self.decoded_format.num_channels as usize) {
            let gain = 1.0 - self.faded as f32 / FADE as f32;
            sample.iter_mut().for_each(|channel| *channel *= gain);
            self.faded = (self.faded + 1).min(FADE);
        }
    }

    /// What was faded comes back within 5 ms.
    fn fade_in(&mut self, start: usize) {
        const STEP: usize = FADE / 240;
        for sample in self.decoded[start..].chunks_mut(self.decoded_format.num_channels as usize) {
            if self.faded == 0 {
                break;
            }
            let gain = 1.0 - self.faded as f32 / FADE as f32;
            sample.iter_mut().for_each(|channel| *channel *= gain);
            self.faded = self.faded.saturating_sub(STEP);
        }
    }

    /// What the application gets of what is decoded.
    fn finish(&mut self) -> Option<AudioFrame> {
        let mut whole = self.decoded.len();
        if let Some(processor) = &self.processor {
            let part = FRAME / 2 * self.decoded_format.num_channels as usize;
            whole -= whole % part;
            for part in self.decoded[..whole].chunks_exact_mut(part) {
                processor.process_render(part, self.decoded_format.num_channels);
            }
        }
        self.converted.clear();
        self.converter.push(&self.decoded[..whole], &mut self.converted);
        self.decoded.drain(..whole);
        (!self.converted.is_empty()).then(|| AudioFrame::of(&self.converted, self.format))
    }
}

/// How an [`AudioStream`] decodes and plays.
#[derive(Clone, Debug)]
pub struct AudioStreamOptions {
    format: AudioFormat,
    continuous: bool,
    delay: DelayBounds,
    codec: Arc<dyn AudioCodec>,
    processor: Option<Arc<dyn AudioProcessor>>,
}

impl AudioStreamOptions {
    /// 48 kHz and one channel, a delay from 20 to 500 ms, [`OpusCodec`], no frames while nothing is sent, no processor.
    pub fn new() -> Self {
        Self {
            format: AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels: 1 },
            continuous: false,
            delay: DelayBounds { least: Duration::from_millis(20), most: Duration::from_millis(500) },
            codec: Arc::new(OpusCodec::new()),
            processor: None,
        }
    }

    /// The rate and the number of channels of the frames.
    ///
    /// # Errors
    ///
    /// Where a frame can't have those.
    pub fn with_format(self, sample_rate: u32, num_channels: u32) -> Result<Self, InvalidAudioFrame> {
        Ok(Self { format: AudioFormat::new(sample_rate, num_channels)?, ..self })
    }

    /// Whether there are frames of silence while nothing is sent, so that a second of the stream takes a second.
    pub fn with_continuous(self, continuous: bool) -> Self {
        Self { continuous, ..self }
    }

    /// Between what the delay stays that waits for late packets. It begins at 40 ms, grows as soon as packets are late, and
    /// shrinks slowly. Under 20 ms redundant packets recover nothing. Where `most` is less than `least`, `least` counts.
    pub fn with_delay(self, least: Duration, most: Duration) -> Self {
        Self { delay: DelayBounds { least, most: most.max(least) }, ..self }
    }

    /// Another codec.
    pub fn with_codec(self, codec: impl AudioCodec + 'static) -> Self {
        Self { codec: Arc::new(codec), ..self }
    }

    /// What is told of, and may change, all that is played.
    pub fn with_processor(self, processor: Arc<dyn AudioProcessor>) -> Self {
        Self { processor: Some(processor), ..self }
    }
}

impl Default for AudioStreamOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
