//! Several sounds made into one.

use std::time::Duration;

use super::super::converter::Converter;
use super::super::frame::{AudioFormat, AudioFrame};
use super::BLOCK;

/// Which of the sounds of a mixer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InputId(pub(super) u64);

/// Who says when a sound goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// It comes as time passes. What waits too long is let go, so that it does not lag behind.
    Live,
    /// It comes when it is asked for.
    OnDemand,
}

/// Mixes sounds of any format, 10 ms of 48 kHz at a time.
#[derive(Debug)]
pub(super) struct Mixer {
    format: AudioFormat,
    inputs: Vec<Input>,
    dropped: u64,
}

#[derive(Debug)]
struct Input {
    id: InputId,
    pace: Pace,
    volume: f32,
    converter: Option<Converter>,
    waiting: Vec<f32>,
    /// Whether it is played: not in the 10 ms in which it begins, so that what comes a little late is in time.
    playing: bool,
    ended: bool,
}

impl Mixer {
    /// Beyond this a live sound is let go, down to the other, in blocks.
    const MOST: usize = 6;
    const ENOUGH: usize = 2;

    /// How many blocks of a sound on demand wait.
    const AHEAD: usize = 3;

    pub(super) fn new(num_channels: u32) -> Self {
        let format = AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels };
        Self { format, inputs: Vec::new(), dropped: 0 }
    }

    pub(super) fn add(&mut self, id: InputId, pace: Pace) {
        let waiting = Vec::new();
        self.inputs.push(Input { id, pace, volume: 1.0, converter: None, waiting, playing: false, ended: false });
    }

    pub(super) fn remove(&mut self, id: InputId) {
        self.inputs.retain(|input| input.id != id);
    }

    pub(super) fn set_volume(&mut self, id: InputId, volume: f32) {
        if let Some(input) = self.input(id) {
            input.volume = volume;
        }
    }

    /// Whether it should be given more.
    pub(super) fn wants(&mut self, id: InputId) -> bool {
        let block = self.block();
        self.input(id).is_some_and(|input| input.pace == Pace::Live || input.waiting.len() < Self::AHEAD * block)
    }

    pub(super) fn push(&mut self, id: InputId, frame: &AudioFrame) {
        let (format, block) = (self.format, self.block());
        let Some(input) = self.input(id) else { return };
        let converter = match &mut input.converter {
            Some(converter) if converter.from() == frame.format() => converter,
            other => other.insert(Converter::new(frame.format(), format)),
        };
        converter.push(frame.samples(), &mut input.waiting);
        if input.pace == Pace::Live && input.waiting.len() > Self::MOST * block {
            let excess = input.waiting.len() - Self::ENOUGH * block;
            input.waiting.drain(..excess);
            self.dropped += excess as u64;
        }
    }

    /// Nothing more comes. It is removed when what waits has been played.
    pub(super) fn end(&mut self, id: InputId) {
        if let Some(input) = self.input(id) {
            input.ended = true;
            if let Some(converter) = &mut input.converter {
                converter.flush(&mut input.waiting);
            }
        }
    }

    /// Puts the next 10 ms into `out`, which is then as long.
    pub(super) fn mix(&mut self, out: &mut Vec<f32>) {
        let block = self.block();
        out.clear();
        out.resize(block, 0.0);
        for input in &mut self.inputs {
            if !input.playing && !input.ended {
                input.playing = !input.waiting.is_empty();
                continue;
            }
            let length = input.waiting.len().min(block);
            for (mixed, sample) in out.iter_mut().zip(input.waiting.drain(..length)) {
                *mixed += input.volume * sample;
            }
            input.playing = length == block;
        }
        self.inputs.retain(|input| !(input.ended && input.waiting.is_empty()));
    }

    /// How much of live sounds was let go, all together.
    pub(super) fn dropped(&self) -> Duration {
        let samples = self.dropped / u64::from(self.format.num_channels);
        Duration::from_secs_f64(samples as f64 / f64::from(AudioFormat::OPUS_RATE))
    }

    fn block(&self) -> usize {
        BLOCK * self.format.num_channels as usize
    }

    fn input(&mut self, id: InputId) -> Option<&mut Input> {
        self.inputs.iter_mut().find(|input| input.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tone;
    use super::*;

    const A: InputId = InputId(1);
    const B: InputId = InputId(2);

    fn frame(value: f32, samples: usize) -> AudioFrame {
        AudioFrame::new(vec![value; samples], 48_000, 1).unwrap()
    }

    fn mix(mixer: &mut Mixer) -> Vec<f32> {
        let mut out = Vec::new();
        mixer.mix(&mut out);
        out
    }

    #[test]
    fn sounds_add_up_as_loud_as_they_are_set() {
        let mut mixer = Mixer::new(2);
        mixer.add(A, Pace::Live);
        mixer.add(B, Pace::Live);
        mixer.set_volume(B, 0.5);
        mixer.push(A, &frame(0.25, 960));
        mixer.push(B, &frame(0.5, 960));
        assert_eq!(mix(&mut mixer), [0.0; 960], "it begins 10 ms later");
        assert_eq!(mix(&mut mixer), [0.5; 960]);
        mixer.remove(B);
        assert_eq!(mix(&mut mixer), [0.25; 960]);
        assert_eq!(mix(&mut mixer), [0.0; 960]);
    }

    #[test]
    fn frames_that_come_a_little_late_leave_no_gap() {
        let mut mixer = Mixer::new(1);
        mixer.add(A, Pace::Live);
        let mut rng = fastrand::Rng::with_seed(8);
        let (mut heard, mut due) = (Vec::new(), 1);
        for ms in 0..20_000 {
            // One of 20 ms each 20 ms, up to 9 ms late.
            if ms == due {
                mixer.push(A, &frame(0.5, 960));
                due = (ms / 20 + 1) * 20 + rng.u32(0..9);
            }
            if ms % 10 == 9 {
                heard.extend(mix(&mut mixer));
            }
        }
        assert!(heard[480..].iter().all(|sample| *sample == 0.5));
        assert_eq!(mixer.dropped(), Duration::ZERO);
    }

    #[test]
    fn what_is_live_does_not_lag_behind_and_what_is_not_waits_to_be_asked() {
        let mut mixer = Mixer::new(1);
        mixer.add(A, Pace::Live);
        mixer.add(B, Pace::OnDemand);
        mixer.push(A, &frame(0.5, 9_600));
        assert_eq!(mixer.dropped(), Duration::from_millis(180));
        assert!(mixer.wants(A) && mixer.wants(B));
        mixer.push(B, &frame(0.25, 9_600));
        assert!(mixer.wants(A) && !mixer.wants(B));
        let heard: Vec<_> = (0..21).flat_map(|_| mix(&mut mixer)).collect();
        assert!(heard[480..1_440].iter().all(|sample| *sample == 0.75));
        assert!(heard[1_440..].iter().all(|sample| *sample == 0.25));
        assert!(mixer.wants(B));
    }

    #[test]
    fn a_sound_that_ends_is_played_to_its_end_and_forgotten() {
        let mut mixer = Mixer::new(1);
        mixer.add(A, Pace::Live);
        mixer.push(A, &frame(0.5, 700));
        mixer.end(A);
        let heard = [mix(&mut mixer), mix(&mut mixer)].concat();
        assert_eq!(heard.iter().filter(|sample| **sample == 0.5).count(), 700);
        assert!(mixer.inputs.is_empty());
        mixer.push(A, &frame(0.5, 700));
        assert!(!mixer.wants(A));
    }

    #[test]
    fn sounds_of_other_rates_are_heard_as_they_are() {
        let mut mixer = Mixer::new(1);
        mixer.add(A, Pace::OnDemand);
        let sound = tone::sine(1_000.0, 0.5, 16_000, 16_000);
        mixer.push(A, &AudioFrame::new(sound, 16_000, 1).unwrap());
        mixer.end(A);
        let heard: Vec<_> = (0..100).flat_map(|_| mix(&mut mixer)).collect();
        let heard = &heard[4_800..43_200];
        assert!(tone::power_at(heard, 1_000.0, 48_000) > 0.999 * tone::power(heard));
    }
}
