//! What the clients of a run sent and heard, together, and the rules that were broken.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::speech::{Speech, delay};

#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) start: Instant,
    /// Whether packets that are sent now count.
    pub(crate) is_measuring: AtomicBool,
    pub(crate) audio_sent: AtomicU64,
    pub(crate) audio_heard: AtomicU64,
    pub(crate) data_sent: AtomicU64,
    pub(crate) data_heard: AtomicU64,
    pub(crate) resumes: AtomicU64,
    violations: Mutex<Vec<String>>,
}

impl Totals {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            is_measuring: AtomicBool::new(false),
            audio_sent: AtomicU64::new(0),
            audio_heard: AtomicU64::new(0),
            data_sent: AtomicU64::new(0),
            data_heard: AtomicU64::new(0),
            resumes: AtomicU64::new(0),
            violations: Mutex::default(),
        }
    }

    pub(crate) fn violation(&self, text: String) {
        self.violations.lock().expect("no holder panics").push(text);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().expect("no holder panics").clone()
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What one client heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) own_sid: String,
    /// Media sections of the connection.
    pub(crate) sections: usize,
    pub(crate) publishers: HashSet<u32>,
    pub(crate) measured: u64,
    pub(crate) reordered: u64,
    pub(crate) delays: Vec<Duration>,
    last_speech: HashMap<u32, u64>,
    /// The number of the last message of each participant sid.
    pub(crate) last_data: HashMap<String, u64>,
}

impl Heard {
    pub(crate) fn speech(&mut self, payload: &[u8], totals: &Totals, now: Instant) {
        let Some(speech) = Speech::decode(payload) else { return };
        count(&totals.audio_heard);
        self.publishers.insert(speech.publisher);
        let last = self.last_speech.insert(speech.publisher, speech.sequence);
        if speech.is_measured {
            self.measured += 1;
            self.reordered += u64::from(last.is_some_and(|last| last > speech.sequence));
            self.delays.push(delay(&speech, totals.start, now));
        }
    }

    /// Reliable data comes in order and once. The first of a sender can be any: it may have sent before we came.
    pub(crate) fn data(&mut self, own: &str, sender: &str, number: u64, totals: &Totals) {
        count(&totals.data_heard);
        let last = self.last_data.insert(sender.to_owned(), number);
        if let Some(last) = last.filter(|last| last + 1 != number) {
            totals.violation(format!("{own} got message {number} of {sender} after {last}"));
        }
    }
}
