//! Which sid a track of this client has now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::LocalTrackId;
use crate::names::TrackSid;

/// The sids of own tracks: a full reconnect gives them others. The room's task writes, publications read.
#[derive(Debug, Default)]
pub(crate) struct LocalSids(Mutex<HashMap<LocalTrackId, TrackSid>>);

impl LocalSids {
    pub(crate) fn insert(&self, id: LocalTrackId, sid: &TrackSid) {
        self.lock().insert(id, sid.clone());
    }

    pub(crate) fn remove(&self, id: LocalTrackId) {
        self.lock().remove(&id);
    }

    pub(crate) fn get(&self, id: LocalTrackId) -> Option<TrackSid> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn find(&self, sid: &TrackSid) -> Option<LocalTrackId> {
        self.lock().iter().find(|(_, known)| *known == sid).map(|(id, _)| *id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LocalTrackId, TrackSid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
