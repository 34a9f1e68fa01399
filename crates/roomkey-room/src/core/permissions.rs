//! Who may subscribe to this client's tracks, as it was said last.

use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;

use super::{Core, LocalTrackId};
use crate::names::{ParticipantIdentity, TrackSid};
use crate::track_permission::ParticipantTrackPermission;

/// Nothing was said, or this was.
#[derive(Debug, Default)]
pub(super) struct Permissions(Option<Said>);

#[derive(Debug)]
struct Said {
    is_for_all: bool,
    participants: Vec<Permitted>,
}

#[derive(Debug)]
struct Permitted {
    identity: ParticipantIdentity,
    has_all: bool,
    tracks: Vec<Track>,
}

#[derive(Debug)]
enum Track {
    /// Whatever its sid is.
    Own(LocalTrackId),
    /// One that this client does not have, which is said as it is.
    Unknown(TrackSid),
}

impl Core {
    /// Who may subscribe to this client's tracks.
    pub(crate) fn set_subscription_permission(
        &mut self,
        is_for_all: bool,
        permissions: Vec<ParticipantTrackPermission>,
        now: Instant,
    ) {
        let track = |sid: TrackSid| match self.publishing.by_any_sid(&sid) {
            Some(own) => Track::Own(own.id),
            None => Track::Unknown(sid),
        };
        let permitted = |permission: ParticipantTrackPermission| Permitted {
            identity: permission.participant_identity,
            has_all: permission.allow_all,
            tracks: permission.allowed_track_sids.into_iter().map(track).collect(),
        };
        let participants = permissions.into_iter().map(permitted).collect();
        self.permissions = Permissions(Some(Said { is_for_all, participants }));
        self.say_permission();
        self.settle(now);
    }

    /// Tells the server, if there is anything to be told. A join anew asks again by itself.
    pub(super) fn say_permission(&mut self) {
        if self.is_joining_anew() {
            return;
        }
        let Permissions(Some(said)) = &self.permissions else { return };
        let sid = |track: &Track| match track {
            Track::Own(id) => self.publishing.get(*id)?.sid.clone().map(String::from),
            Track::Unknown(sid) => Some(sid.clone().into()),
        };
        let permission = |permitted: &Permitted| proto::TrackPermission {
            participant_identity: permitted.identity.clone().into(),
            all_tracks: permitted.has_all,
            track_sids: permitted.tracks.iter().filter_map(sid).collect(),
            ..Default::default()
        };
        let message = proto::SubscriptionPermission {
            all_participants: said.is_for_all,
            track_permissions: said.participants.iter().map(permission).collect(),
        };
        self.ask(Request::SubscriptionPermission(message));
    }

    /// A track of ours has a sid, another one than when it was said who may have it.
    pub(super) fn say_permission_of(&mut self, id: LocalTrackId) {
        let Permissions(Some(said)) = &self.permissions else { return };
        let is_it = |track: &Track| matches!(track, Track::Own(own) if *own == id);
        if said.participants.iter().any(|permitted| permitted.tracks.iter().any(is_it)) {
            self.say_permission();
        }
    }
}
