//! A loudspeaker that plays what comes in.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use rtrb::{Consumer, Producer};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::super::frame::{AudioFormat, AudioFrame};
use super::super::processor::AudioProcessor;
use super::super::stream::AudioStream;
use super::cpal_host::CpalHost;
use super::error::DeviceError;
use super::feed::Feed;
use super::host::{AudioDevice, Host, Wanted};
use super::mixer::{InputId, Pace};
use super::ring::{Counters, Faults, PlaybackEnd};
use super::stats::DeviceStats;
use super::thread::{Close, DeviceThread};
use super::{STALL, TICK};
use crate::clock;

/// An open loudspeaker: it plays any number of streams at the same time, in a task that also decodes them, until it is dropped
/// or the device goes.
///
/// A mix that is too loud is turned down for as long as it is. Sound waits here for about a period of the device and 20 ms.
///
/// For echoes to be cancelled, give the source's processor to [`SpeakerOptions::with_processor`]: it is told of all that is
/// played. Give it to no stream then.
///
/// Dropping it closes the device and waits for that, some milliseconds most of the time.
pub struct Speaker {
    device: AudioDevice,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    next_id: AtomicU64,
    lost: watch::Receiver<Option<Arc<DeviceError>>>,
    task: tokio::task::JoinHandle<()>,
    _thread: DeviceThread,
}

struct Shared {
    format: AudioFormat,
    counters: Arc<Counters>,
    feed: Mutex<Feed>,
}

impl Shared {
    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Frames = Pin<Box<dyn Stream<Item = AudioFrame> + Send>>;

enum Command {
    Play { id: InputId, pace: Pace, frames: Frames },
    SetVolume { id: InputId, volume: f32 },
    Stop { id: InputId },
}

/// What the task has of an open device.
struct Open {
    device: AudioDevice,
    format: AudioFormat,
    counters: Arc<Counters>,
    samples: Producer<f32>,
    faults: Consumer<DeviceError>,
}

impl Speaker {
    /// Opens a loudspeaker, which plays silence until there is something else. It needs a tokio runtime with time.
    ///
    /// Dropping the future closes the device as soon as it is open.
    ///
    /// # Errors
    ///
    /// Where there is none or it can't be opened.
    pub async fn open(options: SpeakerOptions) -> Result<Self, DeviceError> {
        Self::open_at(Arc::new(CpalHost), options).await
    }

    pub(super) async fn open_at(host: Arc<dyn Host>, options: SpeakerOptions) -> Result<Self, DeviceError> {
        let SpeakerOptions { device, processor } = options;
        let wanted = Wanted { id: device, num_channels: 2 };
        let (open, thread) = DeviceThread::open("speaker", move || {
            let counters = Arc::default();
            let mut ends = None;
            let opened = host.open_playback(&wanted, &mut |format| {
                let (playback, mut samples) = PlaybackEnd::new(format, &counters);
                // Silence until the task has its turn.
                for _ in 0..Feed::start(format) * format.num_channels as usize {
                    let _ = samples.push(0.0);
                }
                let (faults, faulty) = Faults::new(&counters);
                ends = Some((samples, faulty));
                (playback, faults)
            })?;
            let (samples, faults) = ends.expect("an open device has an end");
            let (device, format) = (opened.device, opened.format);
            Ok((Open { device, format, counters, samples, faults }, opened.stream))
        })
        .await?;
        let Open { device, format, counters, samples, faults } = open;
        let shared = Arc::new(Shared { format, counters, feed: Mutex::new(Feed::new(format)) });
        let (lose, lost) = watch::channel(None);
        let (commands, inbox) = mpsc::unbounded_channel();
        let close = thread.closer();
        let task =
            Task { shared: Arc::clone(&shared), processor, inputs: Vec::new(), samples, faults, inbox, lose, close };
        let task = tokio::spawn(task.run());
        Ok(Self { device, shared, commands, next_id: AtomicU64::new(0), lost, task, _thread: thread })
    }

    /// Plays a track's stream until it ends. What comes faster than it can be played is let go, so that it does not lag.
    pub fn play(&self, stream: AudioStream) -> Playback {
        self.start(Pace::Live, Box::pin(stream))
    }

    /// Plays frames of any source, as a ring tone's, each when the one before it is over. What has none in time is silent.
    pub fn play_frames(&self, frames: impl Stream<Item = AudioFrame> + Send + 'static) -> Playback {
        self.start(Pace::OnDemand, Box::pin(frames))
    }

    fn start(&self, pace: Pace, frames: Frames) -> Playback {
        let id = InputId(self.next_id.fetch_add(1, Ordering::Relaxed));
        // A device that has gone plays nothing.
        let _ = self.commands.send(Command::Play { id, pace, frames });
        Playback { id, commands: self.commands.clone() }
    }

    /// Which one it is.
    pub fn device(&self) -> &AudioDevice {
        &self.device
    }

    /// Samples a second of the device itself.
    pub fn sample_rate(&self) -> u32 {
        self.shared.format.sample_rate
    }

    /// What became of its sound.
    pub fn stats(&self) -> DeviceStats {
        let (adjusted, drift_ppm) = {
            let feed = self.shared.feed();
            (feed.adjusted(), feed.drift_ppm())
        };
        DeviceStats { adjusted, drift_ppm, ..self.shared.counters.stats(self.shared.format.sample_rate) }
    }

    /// Waits until the device has gone, and says why. It is closed then, and what it played is dropped.
    ///
    /// Dropping the future changes nothing.
    pub async fn lost(&self) -> Arc<DeviceError> {
        DeviceError::told(self.lost.clone()).await
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaker").field("device", &self.device).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A stream that is played. Dropping this changes nothing: the stream is played to its end.
#[derive(Debug)]
pub struct Playback {
    id: InputId,
    commands: mpsc::UnboundedSender<Command>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Play { .. } => "Play",
            Self::SetVolume { .. } => "SetVolume",
            Self::Stop { .. } => "Stop",
        })
    }
}

impl Playback {
    /// How loud it is played: 1.0 as it is, 0.0 not at all, and more than 1.0 louder.
    pub fn set_volume(&self, volume: f32) {
        let volume = if volume.is_finite() { volume.max(0.0) } else { 0.0 };
        let _ = self.commands.send(Command::SetVolume { id: self.id, volume });
    }

    /// Ends it, and drops the stream.
    pub fn stop(self) {
        let _ = self.commands.send(Command::Stop { id: self.id });
    }
}

struct Task {
    shared: Arc<Shared>,
    processor: Option<Arc<dyn AudioProcessor>>,
    inputs: Vec<(InputId, Frames)>,
    samples: Producer<f32>,
    faults: Consumer<DeviceError>,
    inbox: mpsc::UnboundedReceiver<Command>,
    lose: watch::Sender<Option<Arc<DeviceError>>>,
    close: Close,
}

impl Task {
    async fn run(mut self) {
        let error = self.play().await;
        tracing::debug!(%error, "a loudspeaker has gone");
        self.close.close();
        self.lose.send_replace(Some(Arc::new(error)));
    }

    async fn play(&mut self) -> DeviceError {
        let counters = Arc::clone(&self.shared.counters);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut passed, mut alive) = (0, clock::now());
        loop {
            let shared = &self.shared;
            let inputs = &mut self.inputs;
            let poll = std::future::poll_fn(|context| poll_inputs(shared, inputs, context));
            tokio::select! {
                // What is asked for in one moment begins in the same tick.
                biased;
                // The handle is there as long as the task.
                Some(command) = self.inbox.recv() => self.handle(command),
                never = poll => match never {},
                _ = ticks.tick() => {
                    if let Ok(error) = self.faults.pop() {
                        return error;
                    }
                    let now = clock::now();
                    if counters.passed() != passed {
                        (passed, alive) = (counters.passed(), now);
                    } else if now - alive > STALL {
                        return DeviceError::Stalled;
                    }
                    self.tick(now);
                }
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Play { id, pace, frames } => {
                self.shared.feed().mixer.add(id, pace);
                self.inputs.push((id, frames));
            }
            Command::SetVolume { id, volume } => self.shared.feed().mixer.set_volume(id, volume),
            Command::Stop { id } => {
                self.shared.feed().mixer.remove(id);
                self.inputs.retain(|(input, _)| *input != id);
            }
        }
    }

    fn tick(&mut self, now: std::time::Instant) {
        let channels = self.shared.format.num_channels as usize;
        let capacity = self.samples.buffer().capacity();
        let room = self.samples.slots();
        // A device that takes more at a time than half a ring holds is not waited for.
        let period = self.shared.counters.period().min(capacity / 2 / channels);
        let mut out = Vec::new();
        self.shared.feed().tick(now, (capacity - room) / channels, period, self.processor.as_deref(), &mut out);
        out.truncate(room - room % channels);
        if let Ok(chunk) = self.samples.write_chunk_uninit(out.len()) {
            chunk.fill_from_iter(out);
        }
    }
}

/// Takes what the streams have. It is never ready.
fn poll_inputs(shared: &Shared, inputs: &mut Vec<(InputId, Frames)>, context: &mut Context<'_>) -> Poll<Infallible> {
    inputs.retain_mut(|(id, frames)| {
        // A stream without end of frames without sound has its turn again in 10 ms.
        for _ in 0..64 {
            if !shared.feed().mixer.wants(*id) {
                break;
            }
            // Decoding happens here, with nothing locked.
            match frames.as_mut().poll_next(context) {
                Poll::Ready(Some(frame)) => shared.feed().mixer.push(*id, &frame),
                Poll::Ready(None) => {
                    shared.feed().mixer.end(*id);
                    return false;
                }
                Poll::Pending => break,
            }
        }
        true
    });
    Poll::Pending
}

/// Which loudspeaker is opened, and who is told of what it plays.
#[derive(Clone, Debug, Default)]
pub struct SpeakerOptions {
    device: Option<String>,
    processor: Option<Arc<dyn AudioProcessor>>,
}

impl SpeakerOptions {
    /// The system's default, and no processor.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one of this id: [`AudioDevice::id`].
    pub fn with_device(self, id: impl Into<String>) -> Self {
        Self { device: Some(id.into()), ..self }
    }

    /// What is told of, and may change, all that is played: [`AudioProcessor::process_render`] gets the mix.
    pub fn with_processor(self, processor: Arc<dyn AudioProcessor>) -> Self {
        Self { processor: Some(processor), ..self }
    }
}

#[cfg(test)]
mod tests;
