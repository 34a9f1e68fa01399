//! Who is in the room and what they publish, as the server's messages say.

mod subscriptions;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use livekit_protocol as proto;

use self::subscriptions::Media;
use super::Happened;
use crate::connection_state::DisconnectReason;
use crate::names::{ParticipantIdentity, ParticipantSid, TrackSid};
use crate::participant::{Participant, ParticipantState, Participants};
use crate::publication::TrackPublication;
use crate::read;

/// Participants beyond these are not known to the client, nor are a participant's tracks beyond those.
pub(super) const MAX_PARTICIPANTS: usize = 50_000;
pub(super) const MAX_TRACKS: usize = 256;

/// The participants of a room.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) participants: Participants,
    /// Set by each change.
    pub(crate) has_changed: bool,
    /// Which track a section of media carries.
    media: Vec<Media>,
    /// Tracks that the application does not want, or wants though the room's default is not to.
    pub(crate) wishes: Vec<(TrackSid, bool)>,
    /// What was said of sizes and the like.
    pub(crate) track_settings: Vec<(TrackSid, proto::UpdateTrackSettings)>,
    /// Those who have not been named since a resume began, by their sids; this client is among them at first.
    unnamed: Option<HashSet<ParticipantSid>>,
    auto_subscribe: bool,
    /// Of what is known of each: an update that was overtaken by a newer one says less.
    versions: HashMap<ParticipantIdentity, (String, u32)>,
    /// The stay before the one that there is, of those who came again.
    former: HashMap<ParticipantIdentity, String>,
}

impl Members {
    pub(crate) fn new(auto_subscribe: bool) -> Self {
        Self { auto_subscribe, ..Self::default() }
    }

    /// The room was joined. What differs from before a full reconnect is told.
    pub(crate) fn joined(
        &mut self,
        own: &proto::ParticipantInfo,
        others: &[proto::ParticipantInfo],
        out: &mut Vec<Happened>,
    ) {
        let mut local = read::participant(own);
        local.is_local = true;
        if let Some(before) = &self.participants.local {
            local.publications.clone_from(&before.publications);
        } else {
            local.publications.clear();
        }
        self.participants.local = Some(Arc::new(local));
        self.has_changed = true;
        self.unnamed = None;
        self.silence(out);
        self.only(others, out);
    }

    /// The server has taken the stay up again, and is about to name everybody who is here. Who left in between it does not
    /// say (livekit-server, `pkg/rtc/room.go`, `ResumeParticipant`), nor who no longer speaks.
    pub(crate) fn resumed(&mut self, out: &mut Vec<Happened>) {
        let all = self.participants.local.iter().chain(self.participants.remote.values());
        self.unnamed = Some(all.map(|known| known.sid.clone()).collect());
        self.silence(out);
    }

    /// Everybody has been named: who was not has left.
    pub(crate) fn end_roll_call(&mut self, out: &mut Vec<Happened>) {
        let Some(unnamed) = self.unnamed.take() else { return };
        // A list of all has this client in it.
        if self.participants.local.as_ref().is_none_or(|local| unnamed.contains(&local.sid)) {
            return;
        }
        let left: Vec<_> = (self.participants.remote.iter())
            .filter(|(_, known)| unnamed.contains(&known.sid))
            .map(|(identity, _)| identity.clone())
            .collect();
        for identity in left {
            self.leave(&identity, DisconnectReason::Unknown, out);
        }
    }

    /// Nobody is known to speak.
    fn silence(&mut self, out: &mut Vec<Happened>) {
        let all = self.participants.local.iter().chain(self.participants.remote.values());
        let speaking: Vec<_> = all.filter(|known| known.is_speaking).map(|known| known.identity.clone()).collect();
        if speaking.is_empty() {
            return;
        }
        for identity in speaking {
            self.edit(&identity, |participant| (participant.is_speaking, participant.audio_level) = (false, 0.0));
        }
        out.push(Happened::ActiveSpeakersChanged(Vec::new()));
    }

    /// Takes a list of all the others: who is not in it has left.
    pub(crate) fn only(&mut self, others: &[proto::ParticipantInfo], out: &mut Vec<Happened>) {
        let left: Vec<_> = (self.participants.remote.iter())
            .filter(|(_, known)| !others.iter().any(|info| known.sid == info.sid.as_str()))
            .map(|(identity, _)| identity.clone())
            .collect();
        for identity in left {
            self.leave(&identity, DisconnectReason::Unknown, out);
        }
        self.update(others, out);
    }

    /// Takes what the server says of some participants.
    pub(crate) fn update(&mut self, infos: &[proto::ParticipantInfo], out: &mut Vec<Happened>) {
        for info in infos {
            let is_local =
                self.participants.local.as_ref().is_some_and(|local| local.identity == info.identity.as_str());
            if let Some(unnamed) = &mut self.unnamed {
                unnamed.remove(&ParticipantSid::from(&info.sid));
            }
            if self.is_overtaken(info) {
                continue;
            }
            if is_local {
                self.update_local(info, out);
            } else if info.state() == proto::participant_info::State::Disconnected {
                let identity = ParticipantIdentity::from(&info.identity);
                if self.ends(&identity, info) {
                    self.leave(&identity, DisconnectReason::read(info.disconnect_reason), out);
                }
            } else {
                self.update_remote(info, out);
            }
        }
        self.claim(out);
    }

    /// Whether the end of a stay is that of the one that there is, or of a later one, which may have begun and ended between
    /// two updates: then this is all that livekit-server says. What is said of an earlier stay ends nothing.
    fn ends(&self, identity: &ParticipantIdentity, ended: &proto::ParticipantInfo) -> bool {
        let Some(known) = self.participants.remote.get(identity) else { return false };
        if known.sid == ended.sid.as_str() {
            return true;
        }
        if self.former.get(identity).is_some_and(|former| *former == ended.sid) {
            return false;
        }
        let joined_at = read::participant(ended).joined_at;
        // Old servers say no more than the second, in which one may well have come again.
        known.joined_at < joined_at || (known.joined_at == joined_at && ended.joined_at_ms == 0)
    }

    /// Whether something newer is known of this stay (JS does the same, `Participant.updateInfo`).
    fn is_overtaken(&mut self, info: &proto::ParticipantInfo) -> bool {
        if info.state() == proto::participant_info::State::Disconnected || info.identity.is_empty() {
            return false;
        }
        let known = self.versions.entry(info.identity.as_str().into()).or_default();
        if known.0 == info.sid && info.version < known.1 {
            return true;
        }
        *known = (info.sid.clone(), info.version);
        false
    }

    fn update_local(&mut self, info: &proto::ParticipantInfo, out: &mut Vec<Happened>) {
        let Some(local) = &self.participants.local else { return };
        if local.sid != info.sid.as_str() {
            return;
        }
        let mut update = read::participant(info);
        update.is_local = true;
        update.publications.clone_from(&local.publications);
        carry_over(local, &mut update);
        let before = Arc::clone(local);
        self.replace(&before, update, out);
    }

    fn update_remote(&mut self, info: &proto::ParticipantInfo, out: &mut Vec<Happened>) {
        let identity = ParticipantIdentity::from(&info.identity);
        if identity.is_empty() {
            return;
        }
        let known = self.participants.remote.get(&identity).map(|known| known.sid.clone());
        if let Some(former) = known.filter(|known| *known != info.sid.as_str()) {
            // It came again before it was said to have left.
            self.leave(&identity, DisconnectReason::Unknown, out);
            self.former.insert(identity.clone(), former.into());
        }
        let mut update = read::participant(info);
        let Some(before) = self.participants.remote.get(&identity).cloned() else {
            if self.participants.remote.len() >= MAX_PARTICIPANTS {
                return;
            }
            let publications = std::mem::take(&mut update.publications);
            let new = Arc::new(update);
            self.participants.remote.insert(identity.clone(), Arc::clone(&new));
            self.participants.order.push(identity);
            self.has_changed = true;
            out.push(Happened::ParticipantConnected(new));
            for publication in publications {
                self.publish(&info.identity.as_str().into(), &publication, out);
            }
            return;
        };
        carry_over(&before, &mut update);
        let publications = std::mem::replace(&mut update.publications, before.publications.clone());
        self.replace(&before, update, out);
        let gone: Vec<_> = (before.publications.iter())
            .filter(|known| !publications.iter().any(|publication| publication.sid == known.sid))
            .cloned()
            .collect();
        for publication in gone {
            self.unpublish(&identity, &publication, out);
        }
        for publication in publications {
            self.publish(&identity, &publication, out);
        }
    }

    /// Puts a participant in the place of what was known of it, and tells what differs.
    fn replace(&mut self, before: &Participant, update: Participant, out: &mut Vec<Happened>) {
        if *before == update {
            return;
        }
        let now = Arc::new(update);
        self.put(Arc::clone(&now));
        let told = out.len();
        if before.state != ParticipantState::Active && now.state == ParticipantState::Active {
            out.push(Happened::ParticipantActive(Arc::clone(&now)));
        }
        if before.metadata != now.metadata {
            out.push(Happened::ParticipantMetadataChanged(Arc::clone(&now), before.metadata.clone()));
        }
        if before.name != now.name {
            out.push(Happened::ParticipantNameChanged(Arc::clone(&now), before.name.clone()));
        }
        if before.attributes != now.attributes {
            let changed = (now.attributes.iter())
                .filter(|(key, value)| before.attributes.get(*key) != Some(*value))
                .map(|(key, value)| (key.clone(), value.clone()))
                .chain(
                    before
                        .attributes
                        .keys()
                        .filter(|key| !now.attributes.contains_key(*key))
                        .map(|key| (key.clone(), String::new())),
                )
                .collect();
            out.push(Happened::ParticipantAttributesChanged(Arc::clone(&now), changed));
        }
        if before.permission != now.permission {
            out.push(Happened::ParticipantPermissionChanged(Arc::clone(&now)));
        }
        if out.len() == told {
            out.push(Happened::ParticipantUpdated(now));
        }
    }

    fn put(&mut self, participant: Arc<Participant>) {
        self.has_changed = true;
        if participant.is_local {
            self.participants.local = Some(participant);
        } else {
            self.participants.remote.insert(participant.identity.clone(), participant);
        }
    }

    fn edit(
        &mut self,
        identity: &ParticipantIdentity,
        change: impl FnOnce(&mut Participant),
    ) -> Option<Arc<Participant>> {
        let known = self.participants.get(identity)?;
        let mut participant = Participant::clone(known);
        change(&mut participant);
        if participant == **known {
            return Some(Arc::clone(known));
        }
        let participant = Arc::new(participant);
        self.put(Arc::clone(&participant));
        Some(participant)
    }

    fn edit_track(
        &mut self,
        sid: &TrackSid,
        change: impl FnOnce(&mut TrackPublication),
    ) -> Option<(Arc<Participant>, Arc<TrackPublication>)> {
        let identity = self.publisher_of(sid)?;
        let mut edited = None;
        let participant = self.edit(&identity, |participant| {
            if let Some(publication) = participant.publications.iter_mut().find(|known| known.sid == *sid) {
                change(Arc::make_mut(publication));
                edited = Some(Arc::clone(publication));
            }
        })?;
        Some((participant, edited?))
    }

    fn publisher_of(&self, sid: &TrackSid) -> Option<ParticipantIdentity> {
        let mut all = self.participants.local.iter().chain(self.participants.remote.values());
        all.find(|participant| participant.publication(sid).is_some()).map(|found| found.identity.clone())
    }

    /// The participant and the publication of this sid.
    pub(crate) fn track(&self, sid: &TrackSid) -> Option<(Arc<Participant>, Arc<TrackPublication>)> {
        let identity = self.publisher_of(sid)?;
        let participant = self.participants.get(&identity)?;
        Some((Arc::clone(participant), Arc::clone(participant.publication(sid)?)))
    }

    fn is_wanted(&self, sid: &TrackSid) -> bool {
        self.wishes.iter().find(|(wished, _)| wished == sid).map_or(self.auto_subscribe, |(_, wanted)| *wanted)
    }

    fn publish(&mut self, identity: &ParticipantIdentity, publication: &TrackPublication, out: &mut Vec<Happened>) {
        let Some(participant) = self.participants.get(identity) else { return };
        match participant.publication(&publication.sid).cloned() {
            None if participant.publications.len() >= MAX_TRACKS => {}
            None => {
                let mut publication = publication.clone();
                publication.is_desired = self.is_wanted(&publication.sid);
                let publication = Arc::new(publication);
                let added = Arc::clone(&publication);
                let Some(participant) = self.edit(identity, |participant| participant.publications.push(added)) else {
                    return;
                };
                out.push(Happened::TrackPublished(participant, publication));
            }
            Some(known) => {
                let mut update = publication.clone();
                update.is_desired = known.is_desired;
                update.is_subscribed = known.is_subscribed;
                update.is_allowed = known.is_allowed;
                update.is_paused = known.is_paused;
                if update == *known {
                    return;
                }
                let is_muted = update.is_muted;
                let Some((participant, publication)) = self.edit_track(&publication.sid, |known| *known = update)
                else {
                    return;
                };
                out.push(if known.is_muted == is_muted {
                    Happened::ParticipantUpdated(participant)
                } else if is_muted {
                    Happened::TrackMuted(participant, publication)
                } else {
                    Happened::TrackUnmuted(participant, publication)
                });
            }
        }
    }

    fn unpublish(
        &mut self,
        identity: &ParticipantIdentity,
        publication: &Arc<TrackPublication>,
        out: &mut Vec<Happened>,
    ) {
        self.unsubscribe(&publication.sid, out);
        let Some((_, last)) = self.track(&publication.sid) else { return };
        let sid = publication.sid.clone();
        let Some(participant) =
            self.edit(identity, |participant| participant.publications.retain(|known| known.sid != sid))
        else {
            return;
        };
        self.wishes.retain(|(wished, _)| *wished != publication.sid);
        self.track_settings.retain(|(track, _)| *track != publication.sid);
        out.push(Happened::TrackUnpublished(participant, last));
    }

    fn leave(&mut self, identity: &ParticipantIdentity, reason: DisconnectReason, out: &mut Vec<Happened>) {
        let Some(participant) = self.participants.remote.get(identity).cloned() else { return };
        for publication in &participant.publications {
            self.unpublish(identity, publication, out);
        }
        let Some(participant) = self.participants.remote.remove(identity) else { return };
        self.participants.order.retain(|known| known != identity);
        self.versions.remove(identity);
        self.former.remove(identity);
        self.has_changed = true;
        let mut participant = Participant::clone(&participant);
        participant.state = ParticipantState::Disconnected;
        out.push(Happened::ParticipantDisconnected(Arc::new(participant), reason));
    }

    pub(crate) fn pause(&mut self, sid: &TrackSid, paused: bool, out: &mut Vec<Happened>) {
        if let Some((participant, publication)) = self.edit_track(sid, |publication| publication.is_paused = paused) {
            out.push(Happened::TrackStreamStateChanged(participant, publication));
        }
    }

    /// Who speaks, of those that the server names.
    pub(crate) fn speakers(&mut self, speakers: &[proto::SpeakerInfo], out: &mut Vec<Happened>) {
        for speaker in speakers {
            let Some(identity) = self.identity_of(&speaker.sid) else { continue };
            let level = if speaker.level.is_finite() { speaker.level.clamp(0.0, 1.0) } else { 0.0 };
            self.edit(&identity, |participant| {
                participant.is_speaking = speaker.active;
                participant.audio_level = if speaker.active { level } else { 0.0 };
            });
        }
        let all = self.participants.local.iter().chain(self.participants.remote.values());
        let mut speaking: Vec<_> = all.filter(|participant| participant.is_speaking).cloned().collect();
        speaking.sort_by(|a, b| b.audio_level.total_cmp(&a.audio_level));
        out.push(Happened::ActiveSpeakersChanged(speaking));
    }

    pub(crate) fn qualities(&mut self, updates: &[proto::ConnectionQualityInfo], out: &mut Vec<Happened>) {
        for update in updates {
            let Some(identity) = self.identity_of(&update.participant_sid) else { continue };
            let quality = read::quality(update.quality);
            let before = self.participants.get(&identity).map(|participant| participant.connection_quality);
            if before == Some(quality) {
                continue;
            }
            if let Some(participant) = self.edit(&identity, |participant| participant.connection_quality = quality) {
                out.push(Happened::ConnectionQualityChanged(participant));
            }
        }
    }

    fn identity_of(&self, sid: &str) -> Option<ParticipantIdentity> {
        let mut all = self.participants.local.iter().chain(self.participants.remote.values());
        all.find(|participant| participant.sid == sid).map(|participant| participant.identity.clone())
    }

    /// Who sent something, by identity, or by sid where an old server says no identity.
    pub(crate) fn sender(&self, identity: &str, sid: &str) -> Option<Arc<Participant>> {
        if !identity.is_empty() {
            return self.participants.get(&identity.into()).cloned();
        }
        self.participants.get(&self.identity_of(sid)?).cloned()
    }

    /// An own track is published, or known anew under another sid.
    pub(crate) fn published_locally(
        &mut self,
        publication: TrackPublication,
        instead_of: Option<&TrackSid>,
    ) -> Option<Arc<TrackPublication>> {
        let identity = self.participants.local.as_ref()?.identity.clone();
        let publication = Arc::new(publication);
        let new = Arc::clone(&publication);
        self.edit(&identity, |participant| {
            match participant
                .publications
                .iter_mut()
                .find(|known| Some(&known.sid) == instead_of || known.sid == new.sid)
            {
                Some(known) => *known = new,
                None => participant.publications.push(new),
            }
        });
        Some(publication)
    }

    pub(crate) fn unpublished_locally(&mut self, sid: &TrackSid) -> Option<Arc<TrackPublication>> {
        let (participant, publication) = self.track(sid)?;
        self.edit(&participant.identity, |participant| participant.publications.retain(|known| known.sid != *sid));
        Some(publication)
    }

    pub(crate) fn edit_local_track(
        &mut self,
        sid: &TrackSid,
        change: impl FnOnce(&mut TrackPublication),
    ) -> Option<(Arc<Participant>, Arc<TrackPublication>)> {
        self.edit_track(sid, change)
    }
}

/// What other messages than an update say of a participant.
fn carry_over(known: &Participant, update: &mut Participant) {
    update.is_speaking = known.is_speaking;
    update.audio_level = known.audio_level;
    update.connection_quality = known.connection_quality;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stay(sid: &str, joined_at: i64, state: proto::participant_info::State) -> proto::ParticipantInfo {
        let mut info =
            proto::ParticipantInfo { sid: sid.into(), identity: "alice".into(), joined_at, ..Default::default() };
        info.set_state(state);
        info
    }

    fn is_there_after(updates: &[proto::ParticipantInfo]) -> bool {
        let mut members = Members::new(true);
        let mut told = Vec::new();
        for update in updates {
            members.update(std::slice::from_ref(update), &mut told);
        }
        members.participants.get(&"alice".into()).is_some()
    }

    #[test]
    fn a_stay_that_began_and_ended_unseen_has_ended_the_one_before_it() {
        use proto::participant_info::State::{Active, Disconnected};
        for later in [8, 7] {
            assert!(!is_there_after(&[stay("PA_1", 7, Active), stay("PA_2", later, Disconnected)]));
        }
        assert!(is_there_after(&[stay("PA_2", 8, Active), stay("PA_1", 7, Disconnected)]), "that was the one before");
    }

    #[test]
    fn a_stay_of_the_same_moment_is_no_later_one_if_it_was_there_before_or_the_moment_is_exact() {
        use proto::participant_info::State::{Active, Disconnected};
        let replaced = [stay("PA_1", 7, Active), stay("PA_2", 7, Active), stay("PA_1", 7, Disconnected)];
        assert!(is_there_after(&replaced));
        let exact = |sid: &str, state| proto::ParticipantInfo { joined_at_ms: 7_001, ..stay(sid, 7, state) };
        assert!(is_there_after(&[exact("PA_2", Active), exact("PA_1", Disconnected)]));
        let ended = [stay("PA_1", 7, Active), stay("PA_2", 7, Active), stay("PA_2", 7, Disconnected)];
        assert!(!is_there_after(&ended));
    }
}
