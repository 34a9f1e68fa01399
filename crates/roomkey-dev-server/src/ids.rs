//! Ids as LiveKit writes them: a prefix that tells the kind, then characters drawn by chance.

use fastrand::Rng;

const LENGTH: usize = 12;

/// `PA_…` a participant, `RM_…` a room, `TR_…` a track, `AJ_…` a job, `AD_…` a dispatch, `AW_…` a worker.
pub(crate) fn draw(prefix: &str, rng: &mut Rng) -> String {
    let mut id = String::with_capacity(prefix.len() + LENGTH);
    id.push_str(prefix);
    id.extend((0..LENGTH).map(|_| rng.alphanumeric()));
    id
}
