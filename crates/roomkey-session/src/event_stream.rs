//! A stream of what happens, with a queue for each reader.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

/// What happens from the call on that gave this stream, in order, whether or not a room is there. It ends with the session.
///
/// Nothing is left out while at most 8,192 wait to be read. Beyond that the oldest go, and [`missed`](Self::missed) counts
/// them: whoever keeps a list reads the snapshot again then. Dropping the stream costs the session nothing.
pub struct EventStream<T> {
    queue: Arc<Mutex<Queue<T>>>,
}

struct Queue<T> {
    waiting: VecDeque<T>,
    missed: u64,
    is_over: bool,
    waker: Option<Waker>,
}

impl<T> EventStream<T> {
    /// The next one; `None` once the session is gone and all was read. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<T> {
        futures_util::StreamExt::next(self).await
    }

    /// How many were dropped since they were not read in time.
    pub fn missed(&self) -> u64 {
        lock(&self.queue).missed
    }
}

impl<T> Stream for EventStream<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = lock(&self.queue);
        if let Some(event) = queue.waiting.pop_front() {
            return Poll::Ready(Some(event));
        }
        if queue.is_over {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> fmt::Debug for EventStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

/// Hands events to all who listen.
pub(crate) struct Broadcast<T> {
    listeners: Mutex<Listeners<T>>,
}

struct Listeners<T> {
    queues: Vec<Weak<Mutex<Queue<T>>>>,
    is_over: bool,
}

impl<T> Default for Broadcast<T> {
    fn default() -> Self {
        Self { listeners: Mutex::new(Listeners { queues: Vec::new(), is_over: false }) }
    }
}

impl<T> Broadcast<T> {
    pub(crate) fn listen(&self) -> EventStream<T> {
        let mut listeners = lock(&self.listeners);
        let is_over = listeners.is_over;
        let queue = Arc::new(Mutex::new(Queue { waiting: VecDeque::new(), missed: 0, is_over, waker: None }));
        listeners.queues.push(Arc::downgrade(&queue));
        EventStream { queue }
    }

    pub(crate) fn end(&self) {
        lock(&self.listeners).is_over = true;
        self.each(|queue| queue.is_over = true);
    }

    fn each(&self, act: impl Fn(&mut Queue<T>)) {
        let mut wakers = Vec::new();
        lock(&self.listeners).queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut queue = lock(&queue);
            act(&mut queue);
            wakers.extend(queue.waker.take());
            true
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<T: Clone> Broadcast<T> {
    pub(crate) fn tell(&self, event: &T) {
        self.each(|queue| {
            if queue.waiting.len() >= MAX_WAITING {
                queue.waiting.pop_front();
                queue.missed += 1;
            }
            queue.waiting.push_back(event.clone());
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_WAITING: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_slow_has_the_newest_and_is_told_how_many_it_missed() {
        let broadcast = Broadcast::default();
        broadcast.tell(&0);
        let mut stream = broadcast.listen();
        for event in 1..=MAX_WAITING + 2 {
            broadcast.tell(&event);
        }
        broadcast.end();
        assert_eq!(stream.missed(), 2);
        assert_eq!(stream.next().await, Some(3));
        let mut rest = 0;
        while stream.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, MAX_WAITING - 1);
        assert_eq!(broadcast.listen().next().await, None);
    }
}
