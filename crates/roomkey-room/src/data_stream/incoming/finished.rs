//! Streams that have ended, so that one which its sender sends again after a join anew is not read twice.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;

use livekit_protocol::data_stream as proto;

use super::Origin;
use crate::names::ParticipantSid;

/// Streams that are remembered.
const MOST: usize = 1_024;

/// A stream that comes again does so in another stay of its sender's, with the header that it had. A header with the same id
/// and another time is a new version.
#[derive(Debug, Default)]
pub(super) struct Finished {
    hasher: RandomState,
    sids: HashMap<u64, ParticipantSid>,
    order: VecDeque<u64>,
}

impl Finished {
    pub(super) fn fingerprint(&self, origin: &Origin, header: &proto::Header) -> u64 {
        self.hasher.hash_one((origin.identity.as_str(), &header.stream_id, header.timestamp, &header.topic))
    }

    pub(super) fn has_come_before(&self, fingerprint: u64, sid: &ParticipantSid) -> bool {
        self.sids.get(&fingerprint).is_some_and(|known| known != sid)
    }

    pub(super) fn add(&mut self, fingerprint: u64, sid: ParticipantSid) {
        if self.sids.insert(fingerprint, sid).is_none() {
            self.order.push_back(fingerprint);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.sids.remove(&oldest);
        }
    }
}
