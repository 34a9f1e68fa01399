//! Where packets go into an audio stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use super::jitter_buffer::IncomingAudio;

/// The other end of an [`AudioStream`](super::AudioStream). When the last clone is dropped, the stream ends.
#[derive(Clone, Debug)]
pub(crate) struct AudioInlet {
    input: Arc<Input>,
    _closing: Arc<CloseOnDrop>,
}

impl AudioInlet {
    /// An inlet, and what the stream takes from.
    pub(crate) fn new() -> (Self, Arc<Input>) {
        let input = Arc::new(Input::default());
        (Self { input: Arc::clone(&input), _closing: Arc::new(CloseOnDrop(Arc::clone(&input))) }, input)
    }

    /// A packet has come that can't be read. False where nobody reads the stream any more.
    pub(crate) fn count_undecrypted(&self) -> bool {
        let mut queue = self.input.lock();
        queue.undecrypted += 1;
        !queue.closed
    }

    /// Hands over a packet that came at `now`. False where nobody reads the stream any more.
    pub(crate) fn push(&self, now: Instant, packet: IncomingAudio) -> bool {
        let waker = {
            let mut queue = self.input.lock();
            if queue.closed {
                return false;
            }
            if queue.packets.len() == Input::MOST {
                queue.packets.pop_front();
                queue.dropped += 1;
            }
            queue.packets.push_back((now, packet));
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Whether the stream is still there.
    pub(crate) fn is_read(&self) -> bool {
        !self.input.lock().closed
    }
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Input>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What has come and was not read.
#[derive(Debug, Default)]
pub(crate) struct Input(Mutex<Queue>);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) packets: VecDeque<(Instant, IncomingAudio)>,
    pub(crate) dropped: u64,
    pub(crate) undecrypted: u64,
    pub(crate) closed: bool,
    pub(crate) waker: Option<Waker>,
}

impl Input {
    /// About two seconds.
    const MOST: usize = 100;

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().expect("nothing panics under the lock")
    }

    pub(crate) fn close(&self) {
        let waker = {
            let mut queue = self.lock();
            queue.closed = true;
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}
