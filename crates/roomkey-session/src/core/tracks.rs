//! The list of tracks for a filter.

use std::sync::Arc;

use roomkey_room::{Participant, Participants};

use crate::track_ref::{TrackFilter, TrackRef};

/// The tracks of a room: this client's first, then the others' in the order in which they came; of each participant in the
/// order of the filter's sources, then of publication.
pub(crate) fn list(participants: &Participants, filter: &TrackFilter) -> Arc<[TrackRef]> {
    let mut tracks = Vec::new();
    for participant in participants.local.iter().chain(participants.remote()) {
        add(participant, filter, &mut tracks);
    }
    tracks.into()
}

fn add(participant: &Arc<Participant>, filter: &TrackFilter, tracks: &mut Vec<TrackRef>) {
    for source in &filter.sources {
        let before = tracks.len();
        let listed = participant.publications.iter().filter(|publication| {
            let is_received = participant.is_local || publication.is_subscribed;
            publication.source == *source && (is_received || !filter.only_subscribed)
        });
        tracks.extend(listed.map(|publication| TrackRef::new(Arc::clone(participant), Arc::clone(publication))));
        if tracks.len() == before && filter.placeholders {
            tracks.push(TrackRef::placeholder(Arc::clone(participant), *source));
        }
    }
}
