//! Files on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roomkey_room::ParticipantIdentity;
use tokio::sync::watch;

/// A file of a message that is being sent or received, and how far it is; from [`Session::transfers`](crate::Session::transfers).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The id of its stream, which its [attachment](crate::Attachment) has too. A file may come before its message.
    pub attachment: Arc<str>,
    /// Who sends it.
    pub sender: ParticipantIdentity,
    /// Its name.
    pub name: Arc<str>,
    /// Its MIME type.
    pub mime_type: Arc<str>,
    /// Whether this client sends it.
    pub is_outgoing: bool,
    /// How many of its bytes have been handed to the network, or have come; about so many, where they are sent compressed.
    pub bytes: u64,
    /// How many it has, if its sender says so.
    pub total: Option<u64>,
    key: u64,
}

impl Transfer {
    pub(crate) fn new(attachment: Arc<str>, sender: ParticipantIdentity, total: Option<u64>) -> Self {
        let unnamed = || Arc::from("");
        Self { attachment, sender, name: unnamed(), mime_type: unnamed(), is_outgoing: false, bytes: 0, total, key: 0 }
    }

    pub(crate) fn with_name(self, name: &str, mime_type: &str) -> Self {
        Self { name: name.into(), mime_type: mime_type.into(), ..self }
    }

    pub(crate) fn into_outgoing(self) -> Self {
        Self { is_outgoing: true, ..self }
    }

    /// How much of it is done, from 0 to 1, where that is known.
    pub fn fraction(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "it is for a bar of some hundred pixels")]
        let fraction = |total: u64| (self.bytes as f64 / total.max(1) as f64).min(1.0);
        self.total.map(|total| if total == 0 { 1.0 } else { fraction(total) })
    }

    /// By how many bytes it has to have gone on to be told.
    fn step(&self) -> u64 {
        self.total.map_or(UNKNOWN_STEP, |total| total / STEPS)
    }
}

/// All that are under way, in the order in which they began.
pub(crate) struct Transfers {
    list: watch::Sender<Arc<[Transfer]>>,
    last_key: AtomicU64,
}

impl Default for Transfers {
    fn default() -> Self {
        Self { list: watch::Sender::new(Arc::new([])), last_key: AtomicU64::new(0) }
    }
}

impl Transfers {
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<[Transfer]>> {
        self.list.subscribe()
    }

    /// A file is on its way until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, transfer: Transfer) -> UnderWay {
        let key = self.last_key.fetch_add(1, Ordering::Relaxed) + 1;
        let transfer = Transfer { key, ..transfer };
        let step = transfer.step();
        self.list.send_modify(|list| *list = list.iter().cloned().chain([transfer]).collect());
        UnderWay { transfers: Arc::clone(self), key, step, told: 0 }
    }
}

/// A file on its way.
pub(crate) struct UnderWay {
    transfers: Arc<Transfers>,
    key: u64,
    step: u64,
    told: u64,
}

impl UnderWay {
    /// It is so far. Who watches is woken a hundred times for a file, whatever its size.
    pub(crate) fn advance(&mut self, bytes: u64) {
        if bytes <= self.told || bytes - self.told < self.step {
            return;
        }
        self.told = bytes;
        let so_far = |transfer: &Transfer| {
            let bytes = if transfer.key == self.key { bytes } else { transfer.bytes };
            Transfer { bytes, ..transfer.clone() }
        };
        self.transfers.list.send_modify(|list| *list = list.iter().map(so_far).collect());
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let others =
            |list: &Arc<[Transfer]>| list.iter().filter(|transfer| transfer.key != self.key).cloned().collect();
        self.transfers.list.send_modify(|list| *list = others(list));
    }
}

const STEPS: u64 = 100;

/// Of a file whose length nobody knows.
const UNKNOWN_STEP: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(total: Option<u64>) -> Transfer {
        Transfer::new("file".into(), "ann".into(), total)
    }

    #[test]
    fn a_file_is_listed_while_it_is_on_its_way() {
        let transfers = Arc::new(Transfers::default());
        let mut watch = transfers.watch();
        let mut first = transfers.begin(file(Some(1_000)));
        let second = transfers.begin(Transfer { name: "second".into(), ..file(None) });
        first.advance(500);
        let list = Arc::clone(&watch.borrow_and_update());
        assert_eq!((list[0].bytes, list[0].fraction()), (500, Some(0.5)));
        assert_eq!((list[1].bytes, list[1].fraction()), (0, None));
        drop(first);
        assert_eq!(&*watch.borrow_and_update()[0].name, "second");
        drop(second);
        assert!(watch.borrow_and_update().is_empty());
    }

    #[test]
    fn a_large_file_wakes_who_watches_a_hundred_times() {
        let transfers = Arc::new(Transfers::default());
        let mut watch = transfers.watch();
        let total = 16 * 1024 * 1024;
        let mut large = transfers.begin(file(Some(total)));
        let mut woken = 0;
        watch.mark_unchanged();
        for bytes in (0..=total).step_by(15_000) {
            large.advance(bytes);
            woken += usize::from(watch.has_changed().unwrap());
            watch.mark_unchanged();
        }
        assert!((90..=100).contains(&woken), "{woken}");
        large.advance(5);
        assert!(watch.borrow()[0].bytes > 5, "it does not go back");
    }

    #[test]
    fn a_fraction_is_none_that_is_no_fraction() {
        for (bytes, total, fraction) in [(0, 0, 1.0), (5, 0, 1.0), (9, 3, 1.0), (1, 4, 0.25), (u64::MAX, 1, 1.0)] {
            assert_eq!(Transfer { bytes, ..file(Some(total)) }.fraction(), Some(fraction));
        }
    }
}
