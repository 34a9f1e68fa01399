//! What this client has of the tracks of others: which section of media carries which track, and what it wants.

use livekit_protocol as proto;
use roomkey_rtc::Mid;

use super::Members;
use crate::core::Happened;
use crate::names::TrackSid;

/// Media that has come before its publication was announced waits here, so many at most.
const MAX_UNCLAIMED: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Media {
    /// On the subscriber connection of two, rather than on the only one.
    is_subscriber: bool,
    mid: Mid,
    track: TrackSid,
    /// Whether the track's publication is known, and its subscription was told.
    is_claimed: bool,
}

impl Members {
    /// The server has begun to send a track in a section of media.
    pub(crate) fn media_added(&mut self, is_subscriber: bool, mid: Mid, track: TrackSid, out: &mut Vec<Happened>) {
        self.media_removed(is_subscriber, mid, out);
        if self.media.iter().filter(|media| !media.is_claimed).count() >= MAX_UNCLAIMED {
            return;
        }
        self.media.push(Media { is_subscriber, mid, track, is_claimed: false });
        self.claim(out);
    }

    /// The server has ended the track of a section.
    pub(crate) fn media_removed(&mut self, is_subscriber: bool, mid: Mid, out: &mut Vec<Happened>) {
        let found = self.media.iter().position(|media| media.mid == mid && media.is_subscriber == is_subscriber);
        if let Some(index) = found {
            let media = self.media.remove(index);
            // The track may have another section by then.
            if media.is_claimed && !self.media.iter().any(|other| other.track == media.track) {
                self.unsubscribed(&media.track, out);
            }
        }
    }

    /// All sections are gone, since the connections are: what can still be had comes again in new ones.
    pub(crate) fn media_lost(&mut self) {
        self.media.clear();
    }

    /// Subscriptions that did not come again after a full reconnect.
    pub(crate) fn subscriptions_without_media(&self) -> Vec<TrackSid> {
        let publications = self.participants.remote.values().flat_map(|participant| &participant.publications);
        publications
            .filter(|publication| publication.is_subscribed)
            .filter(|publication| !self.media.iter().any(|media| media.track == publication.sid))
            .map(|publication| publication.sid.clone())
            .collect()
    }

    /// The track that a section carries, if it is known whose.
    pub(crate) fn track_in(&self, is_subscriber: bool, mid: Mid) -> Option<&TrackSid> {
        let media = self.media.iter().find(|media| media.mid == mid && media.is_subscriber == is_subscriber)?;
        media.is_claimed.then_some(&media.track)
    }

    /// Where a track comes in.
    pub(crate) fn section_of(&self, track: &TrackSid) -> Option<(bool, Mid)> {
        self.media.iter().find(|media| media.track == *track).map(|media| (media.is_subscriber, media.mid))
    }

    /// Media whose publication is known by now becomes a subscription.
    pub(super) fn claim(&mut self, out: &mut Vec<Happened>) {
        for index in 0..self.media.len() {
            if self.media[index].is_claimed {
                continue;
            }
            let sid = self.media[index].track.clone();
            let is_known = self.track(&sid).is_some_and(|(participant, _)| !participant.is_local);
            if is_known {
                self.media[index].is_claimed = true;
                self.subscribed(&sid, out);
            }
        }
    }

    fn subscribed(&mut self, sid: &TrackSid, out: &mut Vec<Happened>) {
        let was = self.track(sid).is_some_and(|(_, publication)| publication.is_subscribed);
        if was {
            return;
        }
        if let Some((participant, publication)) = self.edit_track(sid, |publication| publication.is_subscribed = true) {
            out.push(Happened::TrackSubscribed(participant, publication));
        }
    }

    /// A track comes again in the section that it had: with a single connection that is as it was unless something was
    /// negotiated in between.
    pub(crate) fn subscribe_in_place(&mut self, sid: &TrackSid, out: &mut Vec<Happened>) {
        if self.media.iter().any(|media| media.is_claimed && media.track == *sid) {
            self.subscribed(sid, out);
        }
    }

    /// A track ends for this client, whatever its section.
    pub(crate) fn unsubscribe(&mut self, sid: &TrackSid, out: &mut Vec<Happened>) {
        self.media.retain(|media| media.track != *sid);
        self.unsubscribed(sid, out);
    }

    /// A track ends for this client, and may come again in the same section or in another one.
    pub(crate) fn unsubscribed(&mut self, sid: &TrackSid, out: &mut Vec<Happened>) {
        let was = self.track(sid).is_some_and(|(_, publication)| publication.is_subscribed);
        if !was {
            return;
        }
        if let Some((participant, publication)) = self.edit_track(sid, |publication| publication.is_subscribed = false)
        {
            out.push(Happened::TrackUnsubscribed(participant, publication));
        }
    }

    /// The application wants a track, or does not.
    pub(crate) fn wish(&mut self, sid: &TrackSid, wanted: bool) {
        self.wishes.retain(|(wished, _)| wished != sid);
        if wanted != self.auto_subscribe {
            self.wishes.push((sid.clone(), wanted));
        }
        self.edit_track(sid, |publication| publication.is_desired = wanted);
    }

    /// Keeps what was said of a track, for a stay that comes after this one.
    pub(crate) fn set_track_settings(&mut self, sid: &TrackSid, settings: proto::UpdateTrackSettings) {
        self.track_settings.retain(|(track, _)| track != sid);
        if self.track(sid).is_some() {
            self.track_settings.push((sid.clone(), settings));
        }
    }

    /// The tracks that the application has switched off.
    pub(crate) fn disabled_tracks(&self) -> Vec<String> {
        let disabled = self.track_settings.iter().filter(|(_, settings)| settings.disabled);
        disabled.map(|(track, _)| track.clone().into()).collect()
    }

    pub(crate) fn allow(&mut self, sid: &TrackSid, allowed: bool, out: &mut Vec<Happened>) {
        // The server says it of each subscription.
        if self.track(sid).is_none_or(|(_, publication)| publication.is_allowed == allowed) {
            return;
        }
        if let Some((participant, publication)) = self.edit_track(sid, |publication| publication.is_allowed = allowed) {
            out.push(Happened::TrackSubscriptionAllowed(participant, publication));
        }
        if allowed {
            self.subscribe_in_place(sid, out);
        } else {
            self.unsubscribed(sid, out);
        }
    }
}
