//! What the server says while the room is joined.

use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomkey_rtc::{Candidate, Direction, MediaKind, Msid};

use super::publishing::LocalTrack;
use super::requests::{OwnChange, refusal};
use super::{Core, Happened, LocalTrackId, Phase, Reply, TrackRequest};
use crate::error::{PublishError, RoomError};
use crate::names::TrackSid;
use crate::publication::TrackSource;
use crate::read;

/// What an application wants of a video track that it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrackSettings {
    pub(crate) is_disabled: bool,
    pub(crate) quality: Option<proto::VideoQuality>,
    pub(crate) dimensions: Option<(u32, u32)>,
    pub(crate) frames_per_second: Option<u32>,
}

/// Places that the server may ask for in one message.
const MAX_REQUIRED: u32 = 100;

impl Core {
    #[expect(clippy::wildcard_enum_match_arm, reason = "messages that ask nothing of a room")]
    pub(super) fn handle_response(&mut self, message: Response, now: Instant) {
        match message {
            Response::Answer(answer) => self.handle_answer(answer, now),
            Response::Offer(offer) => self.handle_offer(offer, now),
            Response::Trickle(trickle) => self.handle_trickle(&trickle, now),
            Response::MediaSectionsRequirement(required) => {
                let Some(transport) = &mut self.link.publisher else { return };
                // None missing means that the free ones can be had with any offer, and without a change there is none.
                let count = |number: u32| usize::try_from(number.min(MAX_REQUIRED)).unwrap_or_default();
                let audios = required.num_audios.max(u32::from(required.num_videos == 0));
                transport.add_receivers(MediaKind::Audio, count(audios));
                transport.add_receivers(MediaKind::Video, count(required.num_videos));
                self.negotiate(now);
            }
            Response::Update(update) => {
                self.members.update(&update.participants, &mut self.told);
                if let Some(local) = &self.members.participants.local {
                    self.requests.own_changed(local);
                }
            }
            Response::TrackPublished(published) => self.handle_track_published(&published, now),
            Response::TrackUnpublished(unpublished) => {
                let sid = TrackSid::from(unpublished.track_sid);
                if let Some(id) = self.publishing.by_sid(&sid).map(|track| track.id) {
                    self.forget_track(id, now);
                }
            }
            Response::TrackSubscribed(subscribed) => {
                let sid = TrackSid::from(subscribed.track_sid);
                self.edit_own_track(
                    &sid,
                    |publication| publication.is_subscribed = true,
                    |_, publication| Happened::LocalTrackSubscribed(publication),
                );
            }
            Response::Mute(mute) => {
                let sid = TrackSid::from(mute.sid);
                if let Some(id) = self.publishing.by_sid(&sid).map(|track| track.id) {
                    self.set_muted_locally(id, mute.muted, Happened::LocalTrackMuted);
                }
            }
            Response::SubscribedQualityUpdate(update) => self.handle_qualities(&update),
            Response::SpeakersChanged(changed) => self.members.speakers(&changed.speakers, &mut self.told),
            Response::ConnectionQuality(update) => self.members.qualities(&update.updates, &mut self.told),
            Response::StreamStateUpdate(update) => {
                for state in update.stream_states {
                    let is_paused = state.state() == proto::StreamState::Paused;
                    self.members.pause(&state.track_sid.into(), is_paused, &mut self.told);
                }
            }
            Response::SubscriptionPermissionUpdate(update) => {
                self.members.allow(&update.track_sid.into(), update.allowed, &mut self.told);
            }
            Response::SubscriptionResponse(response) => {
                self.told.push(Happened::TrackSubscriptionFailed(response.track_sid.into()));
            }
            Response::RequestResponse(response) => self.handle_request_response(&response, now),
            Response::RoomUpdate(proto::RoomUpdate { room: Some(room) }) => self.room_changed(room),
            Response::RoomMoved(moved) => {
                let has_moved = moved.room.is_some();
                if let Some(room) = moved.room {
                    self.room = room;
                    self.told.push(Happened::RoomMoved(Box::new(self.room.clone())));
                }
                if self.token != *self.link.signal.token() {
                    self.token = self.link.signal.token().clone();
                    self.told.push(Happened::TokenRefreshed(self.token.clone()));
                }
                match &moved.participant {
                    Some(own) => self.members.joined(own, &moved.other_participants, &mut self.told),
                    None if has_moved => self.members.only(&moved.other_participants, &mut self.told),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn room_changed(&mut self, room: proto::Room) {
        if self.room != room {
            self.room = room;
            self.told.push(Happened::RoomChanged(Box::new(self.room.clone())));
        }
    }

    fn handle_answer(&mut self, answer: proto::SessionDescription, now: Instant) {
        let Some(transport) = &mut self.link.publisher else { return };
        let description = answer.clone();
        match transport.accept_answer(answer, now) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.connection_failed(&error.to_string(), now),
        }
        let wants_offer = transport.take_wanted_offer();
        self.link.remember_tracks(&description);
        self.tracks_negotiated();
        if wants_offer {
            self.negotiate(now);
        }
    }

    /// Own tracks whose sections the server has taken are published; refused ones are not.
    fn tracks_negotiated(&mut self) {
        let Some(transport) = &self.link.publisher else { return };
        let placed: Vec<_> = (transport.rtc.media())
            .filter(|section| matches!(section.direction, Direction::SendOnly | Direction::SendRecv))
            .filter_map(|section| section.sender)
            .collect();
        for id in self.publishing.negotiated(|sender| placed.contains(&sender)) {
            self.track_published(id);
        }
    }

    fn handle_offer(&mut self, offer: proto::SessionDescription, now: Instant) {
        let Some(transport) = &mut self.link.subscriber else { return };
        match transport.accept_offer(offer, now) {
            // Without a websocket the server offers again.
            Ok(answer) => drop(self.link.signal.send(Request::Answer(answer))),
            Err(error) => self.connection_failed(&error.to_string(), now),
        }
    }

    fn handle_trickle(&mut self, trickle: &proto::TrickleRequest, now: Instant) {
        // What can't be used, such as a host name, is passed over.
        let Ok(Some(candidate)) = Candidate::from_trickle_json(&trickle.candidate_init) else { return };
        let is_subscriber = trickle.target() == proto::SignalTarget::Subscriber && self.link.subscriber.is_some();
        if let Some(transport) = self.link.transport_mut(is_subscriber) {
            transport.add_remote_candidate(candidate, now);
        }
    }

    // What this client publishes.

    /// Publishes a track.
    pub(crate) fn publish(
        &mut self,
        id: LocalTrackId,
        request: TrackRequest,
        reply: Reply<Result<TrackSid, PublishError>>,
        now: Instant,
    ) {
        if self.is_over() {
            return reply(Err(PublishError::Disconnected));
        }
        if !self.may_publish(request.source) {
            return reply(Err(PublishError::NotAllowed));
        }
        if request.is_encrypted && request.mime_type.eq_ignore_ascii_case("video/av1") {
            return reply(Err(PublishError::NotEncryptable));
        }
        let add = self.publishing.add(id, request, reply, now);
        // A join anew asks for all tracks.
        if !self.is_joining_anew() {
            self.ask(Request::AddTrack(add));
        }
        self.place_at_once(id, now);
        self.settle(now);
    }

    /// Whether this client's tracks are encrypted is another thing: they are published anew.
    pub(crate) fn set_encrypted(&mut self, is_encrypted: bool, now: Instant) {
        for (id, add, sender) in self.publishing.set_encrypted(is_encrypted, now) {
            if let (Some(sender), Some(transport)) = (sender, &mut self.link.publisher) {
                transport.rtc.detach_sender(sender);
                self.negotiate(now);
            }
            // A join anew asks for all tracks.
            if !self.is_joining_anew() {
                self.ask(Request::AddTrack(add));
            }
            self.place_at_once(id, now);
        }
        self.settle(now);
    }

    fn may_publish(&self, source: TrackSource) -> bool {
        self.members.participants.local.as_ref().is_none_or(|local| {
            let permission = &local.permission;
            let sources = &permission.can_publish_sources;
            permission.can_publish && (sources.is_empty() || sources.contains(&source))
        })
    }

    fn handle_request_response(&mut self, response: &proto::RequestResponse, now: Instant) {
        let Some(proto::request_response::Request::AddTrack(add)) = &response.request else {
            return self.requests.answered(response);
        };
        let error = match refusal(response) {
            None => return,
            Some(RoomError::NotAllowed) => PublishError::NotAllowed,
            Some(RoomError::Refused(why)) => PublishError::Refused(why),
            Some(other) => PublishError::Refused(other.to_string()),
        };
        if let Some(id) = self.publishing.requested(&add.cid) {
            self.publish_failed(id, error, now);
        }
    }

    /// After a full reconnect.
    pub(super) fn republish(&mut self, now: Instant) {
        let adds = self.publishing.restart(now);
        // Before the tracks: nobody gets them who is not to.
        self.say_permission();
        for add in adds {
            self.ask(Request::AddTrack(add));
        }
    }

    /// After a resume: says again what may have gone down with the websocket.
    pub(super) fn say_again(&mut self, now: Instant) {
        for (id, add, sender) in self.publishing.ask_again() {
            if let (Some(sender), Some(transport)) = (sender, &mut self.link.publisher) {
                transport.rtc.detach_sender(sender);
            }
            self.ask(Request::AddTrack(add));
            self.place_at_once(id, now);
        }
        let muted = self.publishing.tracks.iter().filter_map(|track| {
            let sid = track.sid.clone()?;
            Some(proto::MuteTrackRequest { sid: sid.into(), muted: track.request.is_muted })
        });
        for mute in muted.collect::<Vec<_>>() {
            self.ask(Request::Mute(mute));
        }
        self.say_permission();
        self.send_track_settings();
    }

    fn send_track_settings(&mut self) {
        let settings: Vec<_> = self.members.track_settings.iter().map(|(_, settings)| settings.clone()).collect();
        for settings in settings {
            self.ask(Request::TrackSetting(settings));
        }
    }

    fn handle_track_published(&mut self, published: &proto::TrackPublishedResponse, now: Instant) {
        let Some(info) = &published.track else { return };
        let Some(id) = self.publishing.accepted(&published.cid, info, now) else { return };
        self.say_permission_of(id);
        self.place(id, now);
        // Where it had its place before, the answer may have come already.
        self.tracks_negotiated();
    }

    /// Offers a track a place while the server is being asked for it, where it can do so.
    fn place_at_once(&mut self, id: LocalTrackId, now: Instant) {
        if matches!(self.phase, Phase::Connected) && self.link.join.is_some_and(|join| join.is_fast_publish) {
            self.place(id, now);
        }
    }

    /// Offers a track a place in the connection, if it has none.
    fn place(&mut self, id: LocalTrackId, now: Instant) {
        let Some(track) = self.publishing.get_mut(id).filter(|track| track.sender.is_none()) else { return };
        let Some(transport) = &mut self.link.publisher else { return };
        // The server finds the track by its id in the description, which is the cid (livekit-server,
        // `pkg/rtc/participant_sdp.go`).
        let stream = if track.request.stream.is_empty() { "roomkey" } else { &track.request.stream };
        let msid = Msid::new(stream, &track.cid);
        track.sender = Some(transport.rtc.add_sender(track.media_kind(), msid, &track.rids()));
        self.negotiate(now);
    }

    fn track_published(&mut self, id: LocalTrackId) {
        let Some(track) = self.publishing.get_mut(id) else { return };
        let (Some(info), Some(sid)) = (&track.info, &track.sid) else { return };
        let mut publication = read::publication(info);
        publication.is_muted = track.request.is_muted;
        let (sid, previous, reply) = (sid.clone(), track.previous.take(), track.reply.take());
        let Some(publication) = self.members.published_locally(publication, previous.as_ref()) else { return };
        self.told.push(match previous {
            Some(previous) => Happened::LocalTrackRepublished(id, publication, previous),
            None => Happened::LocalTrackPublished(id, publication),
        });
        if let Some(reply) = reply {
            reply(Ok(sid));
        }
    }

    pub(super) fn publish_failed(&mut self, id: LocalTrackId, error: PublishError, now: Instant) {
        let reply = self.publishing.get_mut(id).and_then(|track| track.reply.take());
        self.forget_track(id, now);
        if let Some(reply) = reply {
            reply(Err(error));
        }
    }

    /// Unpublishes a track: its section of media becomes free, which is how the server hears of it.
    pub(crate) fn unpublish(&mut self, id: LocalTrackId, now: Instant) {
        self.forget_track(id, now);
        self.settle(now);
    }

    fn forget_track(&mut self, id: LocalTrackId, now: Instant) {
        let Some(LocalTrack { sid, previous, sender, .. }) = self.publishing.remove(id) else { return };
        if let (Some(sender), Some(transport)) = (sender, &mut self.link.publisher) {
            transport.rtc.detach_sender(sender);
            self.negotiate(now);
        }
        if let Some(publication) = sid.or(previous).and_then(|sid| self.members.unpublished_locally(&sid)) {
            self.told.push(Happened::LocalTrackUnpublished(id, publication));
        }
    }

    /// Mutes a track of ours or not, and tells the server.
    pub(crate) fn set_muted(&mut self, id: LocalTrackId, muted: bool, now: Instant) {
        self.set_muted_locally(id, muted, Happened::LocalTrackMuted);
        if let Some(sid) = self.publishing.get(id).and_then(|track| track.sid.clone()) {
            self.ask(Request::Mute(proto::MuteTrackRequest { sid: sid.into(), muted }));
        }
        self.settle(now);
    }

    fn set_muted_locally(
        &mut self,
        id: LocalTrackId,
        muted: bool,
        told: fn(LocalTrackId, std::sync::Arc<crate::publication::TrackPublication>) -> Happened,
    ) {
        let Some(track) = self.publishing.get_mut(id) else { return };
        let was = std::mem::replace(&mut track.request.is_muted, muted);
        if let Some(info) = &mut track.info {
            info.muted = muted;
        }
        if let Some(sid) = track.sid.clone().filter(|_| was != muted) {
            self.edit_own_track(&sid, |publication| publication.is_muted = muted, told);
        }
    }

    fn edit_own_track(
        &mut self,
        sid: &TrackSid,
        change: impl FnOnce(&mut crate::publication::TrackPublication),
        told: fn(LocalTrackId, std::sync::Arc<crate::publication::TrackPublication>) -> Happened,
    ) {
        let Some(id) = self.publishing.by_sid(sid).map(|track| track.id) else { return };
        if let Some((_, publication)) = self.members.edit_local_track(sid, change) {
            self.told.push(told(id, publication));
        }
    }

    fn handle_qualities(&mut self, update: &proto::SubscribedQualityUpdate) {
        let Some(id) = self.publishing.by_sid(&update.track_sid.as_str().into()).map(|track| track.id) else { return };
        let mut wanted = [false; 3];
        #[expect(deprecated, reason = "an old server says nothing else")]
        let before_codecs = &update.subscribed_qualities;
        let codecs = update.subscribed_codecs.iter().flat_map(|codec| &codec.qualities);
        // Codecs stand in for the list of before them, which is there too.
        let all: Vec<_> =
            if update.subscribed_codecs.is_empty() { before_codecs.iter().collect() } else { codecs.collect() };
        for quality in all {
            let index = usize::try_from(quality.quality).unwrap_or(usize::MAX);
            if let Some(wanted) = wanted.get_mut(index) {
                *wanted |= quality.enabled;
            }
        }
        self.told.push(Happened::SubscribedQualities(id, wanted));
    }

    // What this client receives.

    /// Wants a track, or does not.
    pub(crate) fn set_subscribed(&mut self, sid: &TrackSid, subscribed: bool, now: Instant) -> Result<(), RoomError> {
        let Some((participant, _)) = self.members.track(sid).filter(|(participant, _)| !participant.is_local) else {
            return Err(RoomError::NotFound);
        };
        self.members.wish(sid, subscribed);
        let track_sids = vec![String::from(sid.clone())];
        let tracks = proto::ParticipantTracks {
            participant_sid: participant.sid.clone().into(),
            track_sids: track_sids.clone(),
        };
        self.ask(Request::Subscription(proto::UpdateSubscription {
            track_sids,
            subscribe: subscribed,
            participant_tracks: vec![tracks],
        }));
        if subscribed {
            self.members.subscribe_in_place(sid, &mut self.told);
        } else {
            self.members.unsubscribed(sid, &mut self.told);
        }
        self.settle(now);
        Ok(())
    }

    /// Says which size of a track is wanted, and whether it is wanted now.
    pub(crate) fn set_track_settings(&mut self, sid: &TrackSid, settings: TrackSettings, now: Instant) {
        let (width, height) = settings.dimensions.unwrap_or_default();
        let settings = proto::UpdateTrackSettings {
            track_sids: vec![sid.clone().into()],
            disabled: settings.is_disabled,
            quality: settings.quality.unwrap_or(proto::VideoQuality::High).into(),
            width,
            height,
            fps: settings.frames_per_second.unwrap_or_default(),
            ..Default::default()
        };
        self.members.set_track_settings(sid, settings.clone());
        self.ask(Request::TrackSetting(settings));
        self.settle(now);
    }

    /// The subscriptions that differ from what the server does by itself.
    pub(super) fn wishes(&self) -> proto::UpdateSubscription {
        let track_sids = self.members.wishes.iter().map(|(sid, _)| sid.clone().into()).collect();
        proto::UpdateSubscription { track_sids, subscribe: !self.settings.auto_subscribe, ..Default::default() }
    }

    /// After a full reconnect.
    pub(super) fn send_wishes(&mut self) {
        self.send_track_settings();
        let wishes = self.wishes();
        if !wishes.track_sids.is_empty() {
            self.ask(Request::Subscription(wishes));
        }
    }

    /// Changes what others see of this client.
    pub(crate) fn change_own(&mut self, change: OwnChange, reply: Reply<Result<(), RoomError>>, now: Instant) {
        let Some(local) = self.members.participants.local.as_ref().filter(|_| !self.is_over()) else {
            return reply(Err(RoomError::Disconnected));
        };
        if !local.permission.can_update_metadata {
            return reply(Err(RoomError::NotAllowed));
        }
        // livekit-server says nothing where nothing changes.
        if self.requests.is_empty() && change.is_done(local) {
            return reply(Ok(()));
        }
        if change.clears_text() {
            return reply(Err(RoomError::Invalid(
                "livekit-server leaves a name and metadata as they are for empty ones",
            )));
        }
        // The message says all three, and what is empty is left as it is.
        let message = proto::UpdateParticipantMetadata {
            metadata: change.metadata.clone().unwrap_or_else(|| local.metadata.clone()),
            name: change.name.clone().unwrap_or_else(|| local.name.clone()),
            attributes: change.attributes.clone(),
            request_id: self.requests.add(change, reply, now),
        };
        self.ask(Request::UpdateMetadata(message));
        self.settle(now);
    }

    /// Sends a request, after a resume if there is one.
    pub(super) fn ask(&mut self, request: Request) {
        if let Err(error) = self.link.signal.send(request) {
            tracing::debug!(%error, "a request was not sent");
        }
    }
}
