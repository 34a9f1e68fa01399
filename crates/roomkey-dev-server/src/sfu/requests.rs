//! What a client asks for on its websocket.

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use proto::simulate_scenario::Scenario;

use super::Context;
use super::participant::ParticipantId;
use super::room::{Announce, Room};

/// The most bytes of a name, of metadata, and of attributes together.
const MAX_NAME: usize = 256;
const MAX_METADATA: usize = 512 * 1024;
const MAX_ATTRIBUTES: usize = 64 * 1024;

impl Room {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not served; docs/dev-server.md lists it")]
    pub(super) fn handle_request(&mut self, id: ParticipantId, request: Request, cx: &mut Context<'_>) {
        match request {
            Request::Offer(offer) => self.handle_offer(id, &offer, cx),
            Request::Answer(answer) => self.handle_answer(id, &answer, cx),
            Request::Trickle(trickle) => self.handle_trickle(id, &trickle, cx),
            Request::AddTrack(request) => self.add_track(id, &request, cx),
            Request::Mute(request) => self.mute(id, &request, cx),
            Request::Subscription(update) => self.update_subscription(id, &update, cx),
            Request::TrackSetting(settings) => self.update_track_settings(id, &settings, cx),
            Request::SubscriptionPermission(permission) => self.update_subscription_permission(id, &permission, cx),
            Request::SyncState(state) => self.synchronise(id, &state, cx),
            Request::UpdateMetadata(update) => self.update_metadata(id, &update, cx),
            Request::UpdateAudioTrack(update) => self.update_audio_features(id, &update, cx),
            Request::Simulate(scenario) => self.simulate(id, scenario.scenario, cx),
            Request::Leave(leave) => {
                self.remove(id, told_reason(leave.reason()), Announce::Yes, cx);
            }
            // Pings are answered by the websocket's task.
            _ => {}
        }
    }

    /// What a client that came back believes: its subscriptions, the data that it had, and what it does not want to see
    /// for now.
    fn synchronise(&mut self, id: ParticipantId, state: &proto::SyncState, cx: &mut Context<'_>) {
        if let Some(subscription) = &state.subscription
            && self
                .participants
                .get(&id)
                .is_some_and(|participant| participant.auto_subscribe != subscription.subscribe)
        {
            self.update_subscription(id, subscription, cx);
        }
        self.replay(id, &state.datachannel_receive_states, cx);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for subscription in &mut participant.subscriptions {
            if state.track_sids_disabled.contains(&subscription.track_sid) {
                subscription.forwarder.pause(true);
            }
        }
    }

    fn update_metadata(&mut self, id: ParticipantId, update: &proto::UpdateParticipantMetadata, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let attributes: usize = update.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        let kept = participant.attributes.iter().filter(|(key, _)| !update.attributes.contains_key(*key));
        let held: usize = kept.map(|(key, value)| key.len() + value.len()).sum();
        let refused = if !participant.permission.can_update_metadata {
            Some((Reason::NotAllowed, "does not have permission to update own metadata"))
        } else if update.name.len() > MAX_NAME
            || update.metadata.len() > MAX_METADATA
            || attributes + held > MAX_ATTRIBUTES
        {
            Some((Reason::LimitExceeded, "exceeds limit"))
        } else {
            None
        };
        if refused.is_none() {
            if !update.name.is_empty() {
                participant.name.clone_from(&update.name);
            }
            if !update.metadata.is_empty() {
                participant.metadata.clone_from(&update.metadata);
            }
            for (key, value) in &update.attributes {
                if value.is_empty() {
                    participant.attributes.remove(key);
                } else {
                    participant.attributes.insert(key.clone(), value.clone());
                }
            }
            self.announce(id, cx);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if refused.is_none() {
            participant.send_refreshed_token(cx);
        }
        let (reason, message) = refused.unwrap_or((Reason::Ok, ""));
        let response = proto::RequestResponse {
            request_id: update.request_id,
            reason: reason as i32,
            message: message.to_owned(),
            request: Some(proto::request_response::Request::UpdateMetadata(update.clone())),
        };
        participant.send(Message::RequestResponse(response), cx);
    }

    fn update_audio_features(
        &mut self,
        id: ParticipantId,
        update: &proto::UpdateLocalAudioTrack,
        cx: &mut Context<'_>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let found = participant.publications.iter_mut().find(|found| found.info.sid == update.track_sid);
        let Some(publication) = found else { return };
        let mut features: Vec<i32> = update.features.iter().copied().take(MAX_FEATURES).collect();
        features.dedup();
        publication.info.audio_features = features;
        if publication.is_public {
            self.announce(id, cx);
        }
    }

    /// What a client's own tests ask a server to do to it.
    fn simulate(&mut self, id: ParticipantId, scenario: Option<Scenario>, cx: &mut Context<'_>) {
        match scenario {
            Some(Scenario::ServerLeave(_)) => self.remove(id, DisconnectReason::ServerShutdown, Announce::Yes, cx),
            Some(Scenario::LeaveRequestFullReconnect(_) | Scenario::NodeFailure(_)) => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.send_leave(DisconnectReason::UnknownReason, Action::Reconnect, cx);
                }
                self.remove(id, DisconnectReason::UnknownReason, Announce::Yes, cx);
            }
            _ => {}
        }
    }
}

const MAX_FEATURES: usize = 16;

/// What the others are told of who leaves: of what a client may say of itself, as in livekit-server, or that it left.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are for a server to say")]
fn told_reason(said: DisconnectReason) -> DisconnectReason {
    match said {
        DisconnectReason::UserUnavailable | DisconnectReason::UserRejected | DisconnectReason::AgentError => said,
        _ => DisconnectReason::ClientInitiated,
    }
}
