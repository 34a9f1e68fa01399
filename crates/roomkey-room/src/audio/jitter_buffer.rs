//! Packets as they come, and frames as they are to be played.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::delay::{DelayBounds, DelayEstimator, micros};
use super::opus::packet_samples;
use super::red::PayloadFormat;
use super::sequence::Sequence;
use super::stats::AudioStreamStats;
use super::{FADE, FRAME};

/// An RTP packet of audio.
#[derive(Clone, Debug)]
pub(crate) struct IncomingAudio {
    /// Its number, extended so that it never wraps.
    pub(crate) sequence: u64,
    /// In units of 48 kHz.
    pub(crate) timestamp: u32,
    /// When that was, by the clock of the sender's reports.
    pub(crate) capture_time: Option<Duration>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) format: PayloadFormat,
}

/// What is to be played next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Playout {
    /// A packet of Opus.
    Decode { payload: Arc<[u8]> },
    /// A packet of Opus that is played in the time of the next one, since more waits than has to. Another follows at once.
    Overlap { payload: Arc<[u8]> },
    /// So many samples a channel are missing, and the packet behind them is `next`.
    Recover { next: Arc<[u8]>, samples: usize },
    /// So many samples a channel are missing.
    Conceal { samples: usize },
    /// There is nothing to play for a while.
    End,
}

/// Puts packets in order, waits for those that are late, finds lost ones in what came, and keeps the delay small.
///
/// It has no clock: tell it what comes with [`handle_packet`](Self::handle_packet), and poll it when
/// [`next_due`](Self::next_due) has come.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    delay: DelayEstimator,
    sequence: Sequence,
    /// By the time of their first sample, in units of 48 kHz that do not wrap.
    frames: BTreeMap<i64, Frame>,
    /// What is measured from.
    epoch: Option<Instant>,
    /// That of the newest packet, unwrapped.
    timestamp: Option<i64>,
    /// When the newest packet that says so was taken, and its first sample.
    captured: Option<(i64, Duration)>,
    /// The first sample of what is played.
    played: i64,
    /// What was played is not played again.
    floor: i64,
    playing: Option<Playing>,
    stats: AudioStreamStats,
}

#[derive(Debug)]
struct Frame {
    payload: Arc<[u8]>,
    samples: i64,
    redundant: bool,
}

#[derive(Debug)]
struct Playing {
    /// When the next sound is due.
    at: Instant,
    /// What it is.
    next: i64,
    /// Samples of a packet.
    step: i64,
    /// Samples that were made up since the last packet.
    concealed: i64,
    /// Whether all was played before that.
    starved: bool,
    /// When the delay was adjusted last.
    adjusted: Option<Instant>,
}

impl JitterBuffer {
    /// More than this is not kept, in units of 48 kHz and in frames, of which there is room for a second of the usual ones.
    const MOST: i64 = 48_000;
    const MOST_FRAMES: usize = 128;

    /// A jump in time that no network explains, in microseconds: the sender has begun again, or was unheard for long.
    const JUMP: i64 = 2_000_000;

    /// More than the target by which the delay is shortened by and by, and at once, in microseconds.
    const SLACK: i64 = 30_000;
    const EXCESS: i64 = 300_000;

    /// How often the delay is adjusted at most, by one frame.
    const REST: Duration = Duration::from_millis(300);

    /// Who polls later than that has missed something.
    const STALL: Duration = Duration::from_millis(300);

    pub(crate) fn new(bounds: DelayBounds) -> Self {
        Self {
            delay: DelayEstimator::new(bounds),
            sequence: Sequence::default(),
            frames: BTreeMap::new(),
            epoch: None,
            timestamp: None,
            captured: None,
            played: 0,
            floor: i64::MIN,
            playing: None,
            stats: AudioStreamStats::default(),
        }
    }

    /// A packet has come, at `now` or before.
    pub(crate) fn handle_packet(&mut self, now: Instant, packet: &IncomingAudio) {
        if !self.sequence.handle(packet.sequence) {
            return;
        }
        let timestamp = self.unwrap(packet.timestamp);
        let transit = self.micros_of(now) - samples_to_micros(timestamp);
        if self.delay.previous().is_some_and(|previous| (previous - transit).abs() > Self::JUMP) {
            self.stats.dropped += self.frames.len() as u64;
            self.frames.clear();
            self.playing = None;
            self.floor = i64::MIN;
            self.delay.forget();
            self.captured = None;
        }
        if let Some(at) = packet.capture_time {
            self.captured = Some((timestamp, at));
        }
        self.delay.handle(transit);
        self.insert_payload(timestamp, packet);
        match &self.playing {
            None => self.start(now, timestamp, transit),
            Some(_) => self.make_up(timestamp),
        }
        self.bound();
    }

    /// What is to be played, where it is time. Poll until there is nothing.
    pub(crate) fn poll_frame(&mut self, now: Instant) -> Option<Playout> {
        let at = self.playing.as_ref().map(|playing| playing.at).filter(|at| *at <= now)?;
        if now.duration_since(at) > Self::STALL
            && let Some(playing) = &mut self.playing
        {
            playing.at = now;
        }
        self.catch_up();
        let delay = self.delay_now();
        let playing = self.playing.as_mut()?;
        self.played = playing.next;
        let Some((&first, frame)) = self.frames.first_key_value() else {
            if playing.concealed >= FADE as i64 {
                self.playing = None;
                return Some(Playout::End);
            }
            playing.starved = true;
            let samples = playing.conceal(playing.step, true);
            self.stats.conceal(samples);
            return Some(Playout::Conceal { samples });
        };
        if first > playing.next {
            let missing = first - playing.next;
            if playing.concealed >= FADE as i64 {
                // Step by step: an earlier one may yet come.
                let told = playing.concealed > FADE as i64;
                playing.conceal(playing.step.min(missing), true);
                playing.concealed = FADE as i64 + 1;
                return if told { self.poll_frame(now) } else { Some(Playout::End) };
            }
            // What is missing may yet come, where the delay is to grow anyway.
            let wait = delay + samples_to_micros(playing.step) <= self.delay.target();
            let samples = playing.conceal(playing.step.min(missing), !wait);
            self.stats.conceal(samples);
            return Some(if playing.next == first {
                Playout::Recover { next: Arc::clone(&frame.payload), samples }
            } else {
                Playout::Conceal { samples }
            });
        }
        let rested = playing.adjusted.is_none_or(|adjusted| now.duration_since(adjusted) >= Self::REST);
        if delay < self.delay.least() && rested {
            // A sender with a slower clock: before there is no time left for what is late or lost, a little is made up.
            playing.adjusted = Some(now);
            let samples = playing.conceal(playing.step, false);
            self.stats.conceal(samples);
            return Some(Playout::Conceal { samples });
        }
        let (first, frame) = self.frames.pop_first()?;
        self.played = first;
        self.stats.recovered += u64::from(frame.redundant);
        self.stats.delay = Duration::from_micros(delay.max(0).cast_unsigned());
        playing.next = first + frame.samples;
        playing.step = frame.samples.min(FRAME as i64);
        playing.concealed = 0;
        playing.starved = false;
        self.floor = playing.next;
        if delay > self.delay.target() + Self::SLACK && rested && self.frames.contains_key(&playing.next) {
            playing.adjusted = Some(now);
            return Some(Playout::Overlap { payload: frame.payload });
        }
        playing.at += Duration::from_micros(samples_to_micros(frame.samples).cast_unsigned());
        Some(Playout::Decode { payload: frame.payload })
    }

    /// When the first sample of what [`poll_frame`](Self::poll_frame) gave last was taken, by the clock of the sender's reports.
    pub(crate) fn capture_time(&self) -> Option<Duration> {
        let (first, at) = self.captured?;
        let distance = Duration::from_micros(samples_to_micros((self.played - first).abs()).cast_unsigned());
        if self.played < first { at.checked_sub(distance) } else { at.checked_add(distance) }
    }

    /// When to poll next; `None` until something comes.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.playing.as_ref().map(|playing| playing.at)
    }

    /// Whether all that came has been played.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn stats(&self) -> AudioStreamStats {
        AudioStreamStats { received: self.sequence.received(), lost: self.sequence.lost(), ..self.stats }
    }

    fn unwrap(&mut self, timestamp: u32) -> i64 {
        let unwrapped = match self.timestamp {
            Some(last) => last + i64::from(timestamp.wrapping_sub(last as u32).cast_signed()),
            None => i64::from(timestamp),
        };
        // A packet from before the newest does not move it, so that all are measured from the same one.
        self.timestamp = match self.timestamp {
            Some(last) if (last - unwrapped).abs() <= Self::MOST => Some(last.max(unwrapped)),
            _ => Some(unwrapped),
        };
        unwrapped
    }

    fn micros_of(&mut self, now: Instant) -> i64 {
        micros(now.saturating_duration_since(*self.epoch.get_or_insert(now)))
    }

    /// Takes the frames out of a packet.
    fn insert_payload(&mut self, timestamp: i64, packet: &IncomingAudio) {
        match packet.format {
            PayloadFormat::Opus => self.insert(timestamp, &packet.payload, false),
            PayloadFormat::Red => {
                let Some(blocks) = roomkey_rtc::red::blocks(&packet.payload) else {
                    self.stats.malformed += 1;
                    return;
                };
                let last = blocks.len().saturating_sub(1);
                for (n, block) in blocks.iter().enumerate() {
                    let redundant = n < last;
                    // Some senders announce earlier frames that they have none of.
                    if !(redundant && block.data.is_empty()) {
                        self.insert(timestamp - i64::from(block.timestamp_offset), block.data, redundant);
                    }
                }
            }
        }
    }

    fn insert(&mut self, timestamp: i64, payload: &[u8], redundant: bool) {
        let Some(samples) = packet_samples(payload) else {
            self.stats.malformed += 1;
            return;
        };
        if timestamp < self.floor {
            self.stats.late += u64::from(!redundant);
            return;
        }
        self.frames.entry(timestamp).and_modify(|frame| frame.redundant &= redundant).or_insert_with(|| Frame {
            payload: payload.into(),
            samples: samples as i64,
            redundant,
        });
    }

    /// Begins to play with the packet that has come, or with what it has of one before, where there is time for that.
    fn start(&mut self, now: Instant, timestamp: i64, transit: i64) {
        let lateness = transit - self.delay.fastest().unwrap_or(transit);
        let wait = (self.delay.target() - lateness).max(0);
        let earliest = timestamp - wait.saturating_mul(48) / 1_000;
        self.frames.retain(|first, _| *first >= earliest);
        let Some((&first, frame)) = self.frames.first_key_value() else { return };
        let wait = wait - samples_to_micros(timestamp - first);
        self.playing = Some(Playing {
            at: now + Duration::from_micros(wait.max(0).cast_unsigned()),
            next: first,
            step: frame.samples.min(FRAME as i64),
            concealed: 0,
            starved: false,
            adjusted: Some(now),
        });
    }

    /// A packet has come while something is played. Where it was what everything waited for, play goes on with it, later
    /// than it would have; else what is too late is let go.
    fn make_up(&mut self, timestamp: i64) {
        let Some(playing) = &self.playing else { return };
        let next = playing.next;
        if timestamp < next && playing.starved && timestamp >= self.floor {
            let delay = self.delay_now() + samples_to_micros(next - timestamp);
            if delay <= self.delay.most() {
                self.delay.raise(delay);
                if let Some(playing) = &mut self.playing {
                    playing.next = timestamp;
                }
            }
        }
        let next = self.playing.as_ref().map_or(next, |playing| playing.next);
        while let Some(first) = self.frames.first_entry().filter(|first| *first.key() < next) {
            self.stats.late += u64::from(!first.remove().redundant);
        }
    }

    /// How long before it is played the next sound came, or would have on the fastest way, in microseconds.
    fn delay_now(&mut self) -> i64 {
        let Some((at, next)) = self.playing.as_ref().map(|playing| (playing.at, playing.next)) else { return 0 };
        self.micros_of(at) - samples_to_micros(next) - self.delay.fastest().unwrap_or(0)
    }

    /// Lets go of the oldest where far too much waits to be played, after an outage or because nobody polled.
    fn catch_up(&mut self) {
        let Some(playing) = &mut self.playing else { return };
        let Some((&last, frame)) = self.frames.last_key_value() else { return };
        let (end, first) = (last + frame.samples, *self.frames.first_key_value().map_or(&last, |(first, _)| first));
        if samples_to_micros(end - first) <= self.delay.target() + Self::EXCESS {
            return;
        }
        let keep = end - self.delay.target() * 48 / 1_000;
        while self.frames.len() > 1
            && let Some(first) = self.frames.first_entry().filter(|first| *first.key() < keep)
        {
            first.remove();
            self.stats.dropped += 1;
        }
        if let Some((&first, _)) = self.frames.first_key_value() {
            playing.next = first;
            self.floor = self.floor.max(first);
        }
    }

    fn bound(&mut self) {
        while let (Some((first, _)), Some((last, frame))) =
            (self.frames.first_key_value(), self.frames.last_key_value())
            && (last + frame.samples - first > Self::MOST || self.frames.len() > Self::MOST_FRAMES)
            && self.frames.len() > 1
        {
            self.frames.pop_first();
            self.stats.dropped += 1;
        }
    }
}

impl Playing {
    /// Makes up so many samples, in their place or before what is missing.
    fn conceal(&mut self, samples: i64, in_place: bool) -> usize {
        self.concealed = (self.concealed + samples).min(FADE as i64);
        self.at += Duration::from_micros(samples_to_micros(samples).cast_unsigned());
        if in_place {
            self.next += samples;
        }
        samples.unsigned_abs() as usize
    }
}

fn samples_to_micros(samples: i64) -> i64 {
    samples.saturating_mul(125) / 6
}

#[cfg(test)]
mod tests;
