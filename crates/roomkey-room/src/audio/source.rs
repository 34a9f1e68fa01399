//! Where an application puts sound that a room should hear.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::codec::{AudioCodec, AudioEncoder, CodecError};
use super::converter::Converter;
use super::frame::{AudioFormat, AudioFrame};
use super::opus::OpusCodec;
use super::outlet::{Outlet, Shared};
use super::processor::AudioProcessor;
use super::recording::{Recorder, Recording};
use super::send_queue::{SendQueue, Slot};
use super::{FRAME, level};
use crate::clock;

/// Sound that an application gives to a room. A cheap handle: all clones are the same source.
///
/// A source can be fed before it is published, and goes on when its track is unpublished; what nobody hears passes at the
/// same pace as what is heard, and is gone. It is in one track at a time.
#[doc(alias = "NativeAudioSource")]
#[derive(Clone)]
pub struct AudioSource {
    inner: Arc<Inner>,
}

struct Inner {
    format: AudioFormat,
    codec: Arc<dyn AudioCodec>,
    processor: Option<Arc<dyn AudioProcessor>>,
    shared: Arc<Shared>,
    /// Held while a frame is captured, so that frames do not mingle.
    capture: tokio::sync::Mutex<Capture>,
    recorders: Mutex<Vec<Recorder>>,
}

#[derive(Default)]
struct Capture {
    converter: Option<Converter>,
    /// What makes no whole packet yet, at 48 kHz.
    samples: Vec<f32>,
    encoder: Option<Box<dyn AudioEncoder>>,
    packet: Vec<u8>,
}

impl AudioSource {
    /// A source that nothing was captured with.
    pub fn new(options: AudioSourceOptions) -> Self {
        let format = AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels: options.num_channels };
        Self {
            inner: Arc::new(Inner {
                format,
                codec: options.codec,
                processor: options.processor,
                shared: Arc::new(Shared::new(SendQueue::new(options.queue_size))),
                capture: tokio::sync::Mutex::default(),
                recorders: Mutex::default(),
            }),
        }
    }

    /// Captures a frame of any length, rate and number of channels, and waits while the queue is full: a file that is
    /// captured at once takes its time, less the size of the queue. Encoding happens in the calling task, 20 ms at a time.
    ///
    /// Frames that are captured by several tasks at the same time follow each other in the order of the calls.
    ///
    /// Dropping the future loses the part of the frame that is not in the queue yet; what is there will be sent.
    ///
    /// # Errors
    ///
    /// Where the codec fails. The rest of the frame is lost; the next can be captured.
    pub async fn capture_frame(&self, frame: &AudioFrame) -> Result<(), CodecError> {
        let inner = &*self.inner;
        let mut capture = inner.capture.lock().await;
        let format = frame.format();
        if capture.converter.as_ref().is_none_or(|converter| converter.from() != format) {
            capture.converter = Some(Converter::new(format, inner.format));
        }
        // Piece by piece, so that a long frame is never all in memory twice.
        let piece = format.sample_rate as usize / 50 * format.num_channels as usize;
        for (n, piece) in frame.samples().chunks(piece).enumerate() {
            if n > 0 {
                // Others of the same thread have their turn, the one that sends above all.
                tokio::task::yield_now().await;
            }
            capture.convert(piece);
            while capture.samples.len() >= inner.packet_len() {
                inner.shared.wait_until(SendQueue::has_room, clock::now).await;
                inner.capture_packet(&mut capture)?;
            }
        }
        Ok(())
    }

    /// Drops what waits to be sent, for instance the rest of a sentence that was interrupted. A
    /// [`capture_frame`](Self::capture_frame) that waits at this moment goes on with the rest of its frame.
    pub fn clear_queue(&self) {
        self.inner.shared.change(SendQueue::clear);
        if let Ok(mut capture) = self.inner.capture.try_lock() {
            capture.samples.clear();
            capture.converter = None;
        }
    }

    /// Waits until all that was captured has been sent, or cleared. The last packet is filled up with silence.
    ///
    /// Dropping the future changes nothing but that.
    ///
    /// # Errors
    ///
    /// Where the codec fails on the last packet.
    pub async fn wait_for_playout(&self) -> Result<(), CodecError> {
        let inner = &*self.inner;
        {
            let mut capture = inner.capture.lock().await;
            // What comes next is another sound.
            if let Some(mut converter) = capture.converter.take() {
                converter.flush(&mut capture.samples);
            }
            while !capture.samples.is_empty() {
                let whole = capture.samples.len().max(inner.packet_len());
                capture.samples.resize(whole, 0.0);
                inner.shared.wait_until(SendQueue::has_room, clock::now).await;
                inner.capture_packet(&mut capture)?;
            }
        }
        inner.shared.wait_until(SendQueue::is_empty, clock::now).await;
        Ok(())
    }

    /// How much waits to be sent, without what makes no whole packet of 20 ms.
    pub fn queued(&self) -> Duration {
        self.inner.shared.queue().queued()
    }

    /// Records what is captured from now on, as it is after the processor, and keeps the newest `limit` of it. Nothing is
    /// recorded while the track is muted.
    ///
    /// The memory is 48 kB a second of the limit.
    pub fn record(&self, limit: Duration) -> Recording {
        let (recording, recorder) = Recording::new(limit, self.inner.format);
        self.inner.recorders.lock().unwrap_or_else(PoisonError::into_inner).push(recorder);
        recording
    }

    /// The same where nobody may poll the queue: what was to go by now has gone.
    #[cfg(feature = "cpal")]
    pub(crate) fn backlog(&self, now: std::time::Instant) -> Duration {
        self.inner.shared.backlog(now)
    }

    /// Whether it has two channels.
    pub(crate) fn is_stereo(&self) -> bool {
        self.inner.format.num_channels == 2
    }

    /// The other end, which is polled by who sends; `None` where there is one. What was captured before is not sent.
    ///
    /// `timestamp` is that of the first packet; RTP wants it random.
    pub(crate) fn attach(&self, timestamp: u32) -> Option<Outlet> {
        self.inner.shared.attach(timestamp)
    }
}

impl fmt::Debug for AudioSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioSource")
            .field("num_channels", &self.inner.format.num_channels)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn packet_len(&self) -> usize {
        FRAME * self.format.num_channels as usize
    }

    /// Queues the first 20 ms of the samples, of which there are as many.
    fn capture_packet(&self, capture: &mut Capture) -> Result<(), CodecError> {
        let length = self.packet_len();
        let slot = self.make_slot(capture, length);
        capture.samples.drain(..length);
        let (slot, result) = match slot {
            Ok(slot) => (slot, Ok(())),
            Err(error) => (Slot::Nothing, Err(error)),
        };
        self.shared.push(slot);
        result
    }

    fn make_slot(&self, capture: &mut Capture, length: usize) -> Result<Slot, CodecError> {
        let samples = &mut capture.samples[..length];
        if let Some(processor) = &self.processor {
            for part in samples.chunks_exact_mut(length / 2) {
                processor.process_capture(part, self.format.num_channels);
            }
        }
        let (heard, muted) = {
            let queue = self.shared.queue();
            (queue.is_heard(), queue.is_muted())
        };
        if !muted {
            let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
            recorders.retain(|recorder| recorder.push(samples));
        }
        if !heard {
            // What is heard next begins with a clean encoder.
            capture.encoder = None;
            return Ok(Slot::Nothing);
        }
        let encoder = match &mut capture.encoder {
            Some(encoder) => encoder,
            none => none.insert(self.codec.encoder(self.format.num_channels)?),
        };
        capture.packet.clear();
        encoder.encode(samples, &mut capture.packet)?;
        if capture.packet.len() <= 2 {
            return Ok(Slot::Nothing);
        }
        let (audio_level, voice_activity) = level::measure(samples);
        Ok(Slot::Packet { payload: capture.packet.as_slice().into(), audio_level, voice_activity })
    }
}

impl Capture {
    fn convert(&mut self, samples: &[f32]) {
        if let Some(converter) = &mut self.converter {
            converter.push(samples, &mut self.samples);
        }
    }
}

/// How an [`AudioSource`] encodes and queues.
#[derive(Clone, Debug)]
pub struct AudioSourceOptions {
    num_channels: u32,
    queue_size: Duration,
    codec: Arc<dyn AudioCodec>,
    processor: Option<Arc<dyn AudioProcessor>>,
}

impl AudioSourceOptions {
    /// One channel, a queue of a second, as in LiveKit's SDKs, [`OpusCodec`], and no processor.
    ///
    /// There is no sample rate: each frame says its own, and what is sent is always 48 kHz.
    pub fn new() -> Self {
        Self {
            num_channels: 1,
            queue_size: Duration::from_millis(1_000),
            codec: Arc::new(OpusCodec::new()),
            processor: None,
        }
    }

    /// Whether two channels are sent rather than one. Frames with one channel sound on both; of frames with more than two
    /// channels the first two are sent. Where one is sent, it is the mean of all.
    pub fn with_stereo(self, stereo: bool) -> Self {
        Self { num_channels: if stereo { 2 } else { 1 }, ..self }
    }

    /// How much may wait to be sent before [`capture_frame`](AudioSource::capture_frame) waits, in steps of 20 ms and one at
    /// least. It is also by how much a microphone may lag behind after something held it up: less is better there.
    pub fn with_queue_size(self, queue_size: Duration) -> Self {
        Self { queue_size, ..self }
    }

    /// Another codec, or [`OpusCodec`] with other settings.
    pub fn with_codec(self, codec: impl AudioCodec + 'static) -> Self {
        Self { codec: Arc::new(codec), ..self }
    }

    /// What changes the sound before it is encoded.
    pub fn with_processor(self, processor: Arc<dyn AudioProcessor>) -> Self {
        Self { processor: Some(processor), ..self }
    }
}

impl Default for AudioSourceOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::super::tone;
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn second(sample_rate: u32) -> AudioFrame {
        AudioFrame::new(tone::sine(1_000.0, 0.5, sample_rate, sample_rate as usize), sample_rate, 1).unwrap()
    }

    /// Sends as a room would, until the source has been silent for half a second.
    async fn send(outlet: Outlet) -> Vec<(Instant, u32, Arc<[u8]>)> {
        let mut sent = Vec::new();
        let mut quiet = clock::now() + ms(500);
        while clock::now() < quiet {
            while let Some(packet) = outlet.poll_packet(clock::now()) {
                quiet = clock::now() + ms(500);
                sent.push((clock::now(), packet.timestamp, packet.payload));
            }
            tokio::time::sleep(ms(1)).await;
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_captured_at_once_is_sent_in_its_time() {
        let source = AudioSource::new(AudioSourceOptions::new());
        let sending = tokio::spawn(send(source.attach(0).unwrap()));
        let start = clock::now();
        for _ in 0..3 {
            source.capture_frame(&second(24_000)).await.unwrap();
        }
        let captured = clock::now() - start;
        assert!((ms(1_940)..ms(2_060)).contains(&captured), "{captured:?}");
        assert!(source.queued() >= ms(980));
        source.wait_for_playout().await.unwrap();
        let played = clock::now() - start;
        assert!((ms(2_960)..ms(3_060)).contains(&played), "{played:?}");
        let sent = sending.await.unwrap();
        assert!((150..=152).contains(&sent.len()), "{}", sent.len());
        assert!(sent.windows(2).all(|pair| pair[1].1 - pair[0].1 == 960 && pair[1].0 - pair[0].0 <= ms(21)));
        let mut decoder = OpusCodec::new().decoder(1).unwrap();
        let mut heard = Vec::new();
        sent.iter().for_each(|(_, _, packet)| decoder.decode(packet, &mut heard).unwrap());
        let heard = &heard[9_600..134_400];
        assert!(tone::power_at(heard, 1_000.0, 48_000) > 0.95 * tone::power(heard));
        assert!((0.11..0.14).contains(&tone::power(heard)), "{}", tone::power(heard));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_any_length_make_packets_of_20_ms() {
        let source = AudioSource::new(AudioSourceOptions::new());
        let outlet = source.attach(0).unwrap();
        let piece = |samples| AudioFrame::silence(samples, 48_000, 2).unwrap();
        source.capture_frame(&piece(480)).await.unwrap();
        assert_eq!(source.queued(), Duration::ZERO);
        source.capture_frame(&piece(481)).await.unwrap();
        assert_eq!(source.queued(), ms(20));
        source.capture_frame(&piece(0)).await.unwrap();
        source.capture_frame(&piece(959)).await.unwrap();
        assert_eq!(source.queued(), ms(40));
        assert!(outlet.poll_packet(clock::now()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_capture_leaves_what_is_queued_and_the_next_begins_afresh() {
        let source = AudioSource::new(AudioSourceOptions::new().with_queue_size(ms(100)));
        let _outlet = source.attach(0).unwrap();
        let frame = second(48_000);
        assert!(tokio::time::timeout(ms(50), source.capture_frame(&frame)).await.is_err());
        assert_eq!(source.queued(), ms(100));
        source.clear_queue();
        assert_eq!(source.queued(), Duration::ZERO);
        source.capture_frame(&AudioFrame::silence(960, 48_000, 1).unwrap()).await.unwrap();
        assert_eq!(source.queued(), ms(20));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_hears_takes_as_long_and_is_not_sent_later() {
        let source = AudioSource::new(AudioSourceOptions::new().with_queue_size(ms(100)));
        let recording = source.record(Duration::from_secs(10));
        let start = clock::now();
        source.capture_frame(&second(48_000)).await.unwrap();
        assert!((ms(880)..ms(920)).contains(&(clock::now() - start)), "{:?}", clock::now() - start);
        source.capture_frame(&second(48_000)).await.unwrap();
        source.wait_for_playout().await.unwrap();
        assert!((ms(1_980)..ms(2_020)).contains(&(clock::now() - start)), "{:?}", clock::now() - start);
        assert_eq!(recording.duration(), ms(2_000), "but it is recorded");
        source.capture_frame(&AudioFrame::silence(4_800, 48_000, 1).unwrap()).await.unwrap();
        let outlet = source.attach(0).unwrap();
        assert!(source.attach(0).is_none(), "one at a time");
        assert_eq!(outlet.poll_packet(clock::now()), None);
        drop(outlet);
        assert!(source.attach(0).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_capture_that_waits_for_who_is_gone_goes_on() {
        let source = AudioSource::new(AudioSourceOptions::new().with_queue_size(ms(40)));
        let outlet = source.attach(0).unwrap();
        let capturing = tokio::spawn({
            let source = source.clone();
            async move { source.capture_frame(&second(48_000)).await }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!capturing.is_finished());
        drop(outlet);
        tokio::time::timeout(ms(1_100), capturing).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_polls_is_woken_when_there_is_something_after_nothing() {
        let source = AudioSource::new(AudioSourceOptions::new());
        let outlet = source.attach(0).unwrap();
        let woken = Arc::new(AtomicUsize::new(0));
        let frame = AudioFrame::silence(960, 48_000, 1).unwrap();
        source.capture_frame(&frame).await.unwrap();
        outlet.set_waker({
            let woken = Arc::clone(&woken);
            Arc::new(move || _ = woken.fetch_add(1, Ordering::Relaxed))
        });
        assert_eq!(woken.load(Ordering::Relaxed), 1, "there was something already");
        source.capture_frame(&frame).await.unwrap();
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        while outlet.poll_packet(clock::now()).is_some() {
            tokio::time::sleep(ms(20)).await;
        }
        source.capture_frame(&frame).await.unwrap();
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_muted_source_sends_and_records_nothing() {
        let source = AudioSource::new(AudioSourceOptions::new());
        let recording = source.record(Duration::from_secs(10));
        let outlet = source.attach(0).unwrap();
        outlet.set_muted(true);
        source.capture_frame(&second(48_000)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(outlet.poll_packet(clock::now()), None);
        assert!(recording.take().is_empty());
    }

    #[derive(Debug, Default)]
    struct Halving(AtomicUsize);

    impl AudioProcessor for Halving {
        fn process_capture(&self, samples: &mut [f32], num_channels: u32) {
            assert_eq!(samples.len(), 480 * num_channels as usize);
            self.0.fetch_add(1, Ordering::Relaxed);
            samples.iter_mut().for_each(|sample| *sample /= 2.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_processor_changes_what_is_sent_and_recorded_10_ms_at_a_time() {
        let processor = Arc::new(Halving::default());
        let options = AudioSourceOptions::new().with_stereo(true).with_processor(Arc::clone(&processor) as _);
        let source = AudioSource::new(options);
        let recording = source.record(Duration::from_secs(1));
        let outlet = source.attach(0).unwrap();
        source.capture_frame(&second(48_000)).await.unwrap();
        assert_eq!(processor.0.load(Ordering::Relaxed), 100);
        tokio::time::sleep(ms(100)).await;
        assert_eq!(outlet.poll_packet(clock::now()).unwrap().audio_level, -15);
        assert!(!recording.take().is_empty());
    }
}
