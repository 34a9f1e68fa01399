//! Who may subscribe to which tracks of this client.

use crate::names::{ParticipantIdentity, TrackSid};

/// What one participant may subscribe to of this client's tracks, for
/// [`LocalParticipant::set_track_subscription_permissions`](crate::LocalParticipant::set_track_subscription_permissions).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantTrackPermission {
    /// Who.
    pub participant_identity: ParticipantIdentity,
    /// All tracks, those of later too.
    pub allow_all: bool,
    /// These tracks, if it is not all. A track of this client's is meant by whatever sid it had when this was said: it stays the
    /// same one when a join anew gives it another.
    pub allowed_track_sids: Vec<TrackSid>,
}

impl ParticipantTrackPermission {
    /// It may have all tracks, those of later too.
    pub fn all(identity: impl Into<ParticipantIdentity>) -> Self {
        Self { participant_identity: identity.into(), allow_all: true, allowed_track_sids: Vec::new() }
    }

    /// It may have these tracks.
    pub fn tracks(identity: impl Into<ParticipantIdentity>, sids: impl IntoIterator<Item = TrackSid>) -> Self {
        let allowed_track_sids = sids.into_iter().collect();
        Self { participant_identity: identity.into(), allow_all: false, allowed_track_sids }
    }
}
