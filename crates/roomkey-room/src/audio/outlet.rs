//! The end of an audio source where packets come out.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

use super::send_queue::{EncodedAudio, SendQueue, Slot};

/// What is called when there is something to send after nothing was.
pub(crate) type OutletWaker = Arc<dyn Fn() + Send + Sync>;

/// Gives the packets of a source, one a 20 ms. It has no clock and no task:
///
/// 1. When the waker is called, or the time of [`next_due`](Self::next_due) has come, call
///    [`poll_packet`](Self::poll_packet) until it returns nothing.
/// 2. Do so while the connection is down too, and drop what comes: that is what keeps a microphone from lagging behind.
///
/// The source has one outlet at a time; dropping it lets the source go on unheard.
pub(crate) struct Outlet {
    shared: Arc<Shared>,
}

impl Outlet {
    pub(crate) fn poll_packet(&self, now: Instant) -> Option<EncodedAudio> {
        self.shared.change(|queue| queue.poll(now))
    }

    /// When to poll next; `None` until the waker is called.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.shared.queue().next_due(now)
    }

    /// Replaces the waker. It is called by whoever captures, with no lock held; it must not block.
    pub(crate) fn set_waker(&self, waker: OutletWaker) {
        *self.shared.waker.lock().expect("no waker panics under the lock") = Some(waker);
        if !self.shared.queue().is_empty() {
            self.shared.wake();
        }
    }

    /// A muted source takes frames at the same pace and sends none of them.
    pub(crate) fn set_muted(&self, muted: bool) {
        self.shared.change(|queue| queue.set_muted(muted));
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.change(SendQueue::detach);
        *self.shared.waker.lock().expect("no waker panics under the lock") = None;
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("queued", &self.shared.queue().queued()).finish_non_exhaustive()
    }
}

/// What a source and its outlet share.
pub(crate) struct Shared {
    queue: Mutex<SendQueue>,
    waker: Mutex<Option<OutletWaker>>,
    /// Told of each change that may have made room.
    changed: Notify,
}

impl Shared {
    pub(crate) fn new(queue: SendQueue) -> Self {
        Self { queue: Mutex::new(queue), waker: Mutex::new(None), changed: Notify::new() }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, SendQueue> {
        self.queue.lock().expect("nothing panics under the lock")
    }

    /// Changes the queue and tells who waits for room.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut SendQueue) -> T) -> T {
        let (result, changed) = {
            let mut queue = self.queue();
            let before = queue.queued();
            let attached = queue.is_attached();
            let result = change(&mut queue);
            (result, queue.queued() < before || queue.is_attached() != attached)
        };
        if changed {
            self.changed.notify_waiters();
        }
        result
    }

    /// Adds a slot, and wakes who polls.
    pub(crate) fn push(&self, slot: Slot) {
        if self.queue().push(slot) {
            self.wake();
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().expect("no waker panics under the lock").clone();
        if let Some(waker) = waker {
            waker();
        }
    }

    pub(crate) fn attach(self: &Arc<Self>, timestamp: u32) -> Option<Outlet> {
        let attached = self.change(|queue| queue.attach(timestamp));
        attached.then(|| Outlet { shared: Arc::clone(self) })
    }

    /// How much waits. While nobody polls the queue, what was to go by now has gone.
    #[cfg(feature = "cpal")]
    pub(crate) fn backlog(&self, now: Instant) -> std::time::Duration {
        let mut queue = self.queue();
        if !queue.is_attached() {
            let unheard = queue.poll(now);
            debug_assert_eq!(unheard, None, "what is not heard is not encoded");
        }
        queue.queued()
    }

    /// Waits until the queue is as it should be. While nobody polls it, it is emptied at the same pace from here.
    pub(crate) async fn wait_until(&self, mut is: impl FnMut(&SendQueue) -> bool, now: fn() -> Instant) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let due = {
                let mut queue = self.queue();
                let now = now();
                if !queue.is_attached() {
                    let unheard = queue.poll(now);
                    debug_assert_eq!(unheard, None, "what is not heard is not encoded");
                }
                if is(&queue) {
                    return;
                }
                if queue.is_attached() { None } else { queue.next_due(now) }
            };
            match due {
                // The other end polls.
                None => changed.await,
                Some(due) => _ = tokio::time::timeout_at(due.into(), changed).await,
            }
        }
    }
}
