//! Who gets which track.

use std::collections::HashSet;

use livekit_protocol as proto;
use proto::signal_response::Message;

use super::Context;
use super::forwarder::Layer;
use super::participant::ParticipantId;
use super::publication::{LAYERS, PublicationId};
use super::room::Room;
use super::subscription::Subscription;

impl Room {
    /// What a participant that joined gets unasked: every public track.
    pub(super) fn subscribe_to_everybody(&mut self, id: ParticipantId, cx: &mut Context<'_>) {
        if self.participants.get(&id).is_some_and(|participant| participant.auto_subscribe) {
            for (publisher, publication) in self.public_tracks() {
                self.subscribe(id, publisher, publication, cx);
            }
        }
    }

    fn public_tracks(&self) -> Vec<(ParticipantId, PublicationId)> {
        let all = self.participants.iter().flat_map(|(id, participant)| {
            participant.publications.iter().filter(|found| found.is_public).map(move |found| (*id, found.id))
        });
        all.collect()
    }

    /// Begins a subscription, where both may and it is not there. The section it goes out on comes by negotiation.
    pub(super) fn subscribe(
        &mut self,
        subscriber: ParticipantId,
        publisher: ParticipantId,
        publication: PublicationId,
        cx: &mut Context<'_>,
    ) {
        if subscriber == publisher {
            return;
        }
        let (Some(from), Some(to)) = (self.participants.get(&publisher), self.participants.get(&subscriber)) else {
            return;
        };
        let Some(track) = from.publications.iter().find(|found| found.id == publication && found.is_public) else {
            return;
        };
        let is_there = to.subscriptions.iter().any(|subscription| subscription.publication == publication);
        if is_there || !to.permission.can_subscribe {
            return;
        }
        let allowed = from.allows(to, &track.info.sid);
        let update = proto::SubscriptionPermissionUpdate {
            participant_sid: from.sid.clone(),
            track_sid: track.info.sid.clone(),
            allowed,
        };
        to.send(Message::SubscriptionPermissionUpdate(update), cx);
        if allowed {
            let subscription = Subscription::new(publisher, &from.sid, track);
            let to = self.participants.get_mut(&subscriber).expect("it was there a moment ago");
            to.subscriptions.push(subscription);
        }
    }

    pub(super) fn unsubscribe(&mut self, subscriber: ParticipantId, publication: PublicationId) {
        let Some(participant) = self.participants.get_mut(&subscriber) else { return };
        let found = participant.subscriptions.iter().position(|found| found.publication == publication);
        let Some(at) = found else { return };
        let ended = participant.subscriptions.remove(at);
        if let Some(sender) = ended.sender {
            participant.downstream().connection.detach_sender(sender);
        }
        if let Some((_, publication)) = self.publication_mut(ended.publisher, publication) {
            publication.subscribers.retain(|id| *id != subscriber);
        }
        self.dirty.insert(subscriber);
    }

    /// A track ended: nobody gets it any more.
    pub(super) fn forget_subscriptions_to(&mut self, publication: PublicationId, cx: &mut Context<'_>) {
        for participant in self.participants.values_mut() {
            participant.wishes.remove(&publication);
        }
        for id in self.participants.keys().copied().collect::<Vec<_>>() {
            let has = self.participants[&id].subscriptions.iter().any(|found| found.publication == publication);
            if has {
                self.unsubscribe(id, publication);
                self.negotiate(id, cx);
            }
        }
    }

    /// The client chooses which tracks it gets. Unknown sids get no answer, as in livekit-server.
    pub(super) fn update_subscription(
        &mut self,
        id: ParticipantId,
        update: &proto::UpdateSubscription,
        cx: &mut Context<'_>,
    ) {
        let of_participants = update.participant_tracks.iter().flat_map(|tracks| &tracks.track_sids);
        let named: HashSet<_> = update.track_sids.iter().chain(of_participants).collect();
        let chosen: Vec<_> = self
            .public_tracks()
            .into_iter()
            .filter(|(publisher, publication)| {
                let tracks = &self.participants[publisher].publications;
                tracks.iter().any(|track| track.id == *publication && named.contains(&track.info.sid))
            })
            .collect();
        for (publisher, publication) in chosen {
            if let Some(participant) = self.participants.get_mut(&id) {
                participant.wishes.insert(publication, update.subscribe);
            }
            if update.subscribe {
                self.subscribe(id, publisher, publication, cx);
            } else {
                self.unsubscribe(id, publication);
            }
        }
        self.negotiate(id, cx);
    }

    /// The client says what it needs of a track: nothing for now, a quality, a size.
    pub(super) fn update_track_settings(
        &mut self,
        id: ParticipantId,
        settings: &proto::UpdateTrackSettings,
        cx: &mut Context<'_>,
    ) {
        let Some(participant) = self.participants.get(&id) else { return };
        let named: HashSet<_> = settings.track_sids.iter().collect();
        let chosen: Vec<_> = participant
            .subscriptions
            .iter()
            .filter(|subscription| named.contains(&subscription.track_sid))
            .map(|subscription| (subscription.publisher, subscription.publication))
            .collect();
        for (publisher, publication) in chosen {
            let wanted = self.wanted_layer(publisher, publication, settings);
            let participant = self.participants.get_mut(&id).expect("it was there a moment ago");
            if let Some(found) = participant.subscriptions.iter_mut().find(|found| found.publication == publication) {
                found.set(settings.disabled, wanted);
            }
            self.ask_for_keyframes(publisher, publication, cx);
            self.update_subscribed_quality(publisher, publication, cx);
        }
    }

    fn wanted_layer(
        &mut self,
        publisher: ParticipantId,
        publication: PublicationId,
        settings: &proto::UpdateTrackSettings,
    ) -> Layer {
        if settings.width > 0 {
            let found = self.publication_mut(publisher, publication);
            return found.map_or(LAYERS - 1, |(_, found)| found.layer_for_size(settings.width, settings.height));
        }
        usize::try_from(settings.quality).unwrap_or(LAYERS - 1).min(LAYERS - 1)
    }

    /// Who may have the tracks of a participant, as it says itself.
    pub(super) fn update_subscription_permission(
        &mut self,
        id: ParticipantId,
        permission: &proto::SubscriptionPermission,
        cx: &mut Context<'_>,
    ) {
        let names_nobody = |permission: &proto::TrackPermission| {
            permission.participant_sid.is_empty() && permission.participant_identity.is_empty()
        };
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if !permission.all_participants && permission.track_permissions.iter().any(names_nobody) {
            tracing::debug!(identity = %participant.identity, "a subscription permission names nobody, it is passed over");
            return;
        }
        participant.allowed_subscribers = (!permission.all_participants).then(|| permission.track_permissions.clone());
        let tracks: Vec<_> = participant
            .publications
            .iter()
            .filter(|found| found.is_public)
            .map(|found| (found.id, found.info.sid.clone()))
            .collect();
        for other in self.participants.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            for (publication, track_sid) in &tracks {
                let (from, to) = (&self.participants[&id], &self.participants[&other]);
                let is_allowed = from.allows(to, track_sid);
                let has = to.subscriptions.iter().any(|found| found.publication == *publication);
                match (has, is_allowed) {
                    (true, false) => {
                        let update = proto::SubscriptionPermissionUpdate {
                            participant_sid: from.sid.clone(),
                            track_sid: track_sid.clone(),
                            allowed: false,
                        };
                        to.send(Message::SubscriptionPermissionUpdate(update), cx);
                        self.unsubscribe(other, *publication);
                    }
                    (false, true) if to.wants(*publication) => self.subscribe(other, id, *publication, cx),
                    _ => {}
                }
            }
            self.negotiate(other, cx);
        }
    }
}
