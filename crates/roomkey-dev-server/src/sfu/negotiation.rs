//! Offers and answers. A client with two connections offers what it publishes and answers what it is sent; one with a
//! single connection offers both, and is told when it has to offer more.

use std::collections::HashMap;

use livekit_protocol as proto;
use proto::signal_response::Message;
use roomkey_rtc::{Candidate, MediaKind, MediaSection, Msid};

use super::Context;
use super::participant::{Participant, ParticipantId, Target};
use super::room::{Announce, Room};
use super::subscription::Subscription;

impl Room {
    /// Sees to it that what a participant is subscribed to gets its section.
    pub(super) fn negotiate(&mut self, id: ParticipantId, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        self.dirty.insert(id);
        if participant.is_single() {
            require_sections(participant, cx);
        } else {
            offer(participant, cx);
        }
    }

    /// The client offers.
    pub(super) fn handle_offer(&mut self, id: ParticipantId, offer: &proto::SessionDescription, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let is_single = participant.is_single();
        let before = sections(participant);
        if is_single {
            assign_sections(participant);
        }
        let answer = match participant.publisher.connection.accept_offer(&offer.sdp, cx.now.instant) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(identity = %participant.identity, %error, "an offer that can't be answered");
                self.remove(id, proto::DisconnectReason::JoinFailure, Announce::Yes, cx);
                return;
            }
        };
        let after = sections(participant);
        participant.required.offered(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        self.bind_publications(id, &offer.sdp, cx);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let mid_to_track_id = mids(participant);
        let description = proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp: answer.clone(),
            id: offer.id,
            mid_to_track_id: if is_single { mid_to_track_id } else { HashMap::new() },
        };
        participant.send(Message::Answer(description), cx);
        send_candidates(participant, Target::Publisher, &answer, cx);
        if is_single {
            self.start_flowing(id, cx);
            self.negotiate(id, cx);
        }
        self.dirty.insert(id);
    }

    /// The client answers.
    pub(super) fn handle_answer(
        &mut self,
        id: ParticipantId,
        answer: &proto::SessionDescription,
        cx: &mut Context<'_>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(peer) = participant.subscriber.as_mut() else { return };
        let Some(awaited) = peer.awaits_answer else { return };
        // An answer without an id is an older client's.
        if answer.id != 0 && answer.id != awaited {
            return;
        }
        peer.awaits_answer = None;
        if let Err(error) = peer.connection.accept_answer(&answer.sdp, cx.now.instant) {
            tracing::debug!(identity = %participant.identity, %error, "an answer that can't be applied");
            self.remove(id, proto::DisconnectReason::JoinFailure, Announce::Yes, cx);
            return;
        }
        self.start_flowing(id, cx);
        self.negotiate(id, cx);
    }

    pub(super) fn handle_trickle(&mut self, id: ParticipantId, trickle: &proto::TrickleRequest, cx: &Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let is_subscriber = trickle.target == proto::SignalTarget::Subscriber as i32;
        let target = if is_subscriber { participant.downstream_target() } else { Target::Publisher };
        let Some(peer) = participant.peer_mut(target) else { return };
        // A name of mDNS, TCP, or nothing to be read: the client is found by its checks all the same.
        if let Ok(Some(candidate)) = Candidate::from_trickle_json(&trickle.candidate_init) {
            peer.connection.add_remote_candidate(candidate);
            peer.connection.handle_timeout(cx.now.instant);
            self.dirty.insert(id);
        }
    }

    /// Sections that the client has agreed to: packets may flow, and publishers hear that somebody listens.
    fn start_flowing(&mut self, id: ParticipantId, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let mut begun = Vec::new();
        for subscription in &mut participant.subscriptions {
            if subscription.sender.is_some() && !std::mem::replace(&mut subscription.is_flowing, true) {
                begun.push((subscription.publisher, subscription.publication, subscription.track_sid.clone()));
            }
        }
        for (publisher, publication, track_sid) in begun {
            if let Some((_, found)) = self.publication_mut(publisher, publication) {
                found.subscribers.push(id);
            }
            if let Some(publisher) = self.participants.get(&publisher) {
                publisher.send(Message::TrackSubscribed(proto::TrackSubscribed { track_sid }), cx);
            }
            self.ask_for_keyframes(publisher, publication, cx);
            self.update_subscribed_quality(publisher, publication, cx);
        }
    }
}

/// Offers what there is to offer on a subscriber's connection, unless an answer is still awaited.
fn offer(participant: &mut Participant, cx: &mut Context<'_>) {
    let Some(peer) = participant.subscriber.as_mut() else { return };
    if peer.awaits_answer.is_some() {
        return;
    }
    // One that went down with the client's websocket is sent again; what is new comes after its answer.
    let pending = peer.connection.pending_offer().map(str::to_owned);
    let offer = match pending {
        Some(offer) => offer,
        None => {
            for subscription in
                participant.subscriptions.iter_mut().filter(|subscription| subscription.sender.is_none())
            {
                let sender = peer.connection.add_sender(kind(subscription), msid(subscription), &[]);
                subscription.sender = Some(sender);
            }
            match peer.connection.create_offer(cx.now.instant) {
                Ok(Some(offer)) => offer,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(identity = %participant.identity, %error, "can't offer");
                    return;
                }
            }
        }
    };
    peer.last_offer += 1;
    let id = peer.last_offer;
    peer.awaits_answer = Some(id);
    let description = proto::SessionDescription {
        r#type: "offer".to_owned(),
        sdp: offer.clone(),
        id,
        mid_to_track_id: mids(participant),
    };
    participant.send(Message::Offer(description), cx);
    send_candidates(participant, Target::Subscriber, &offer, cx);
}

/// What a client with a single connection was asked for, and has not offered yet.
#[derive(Debug, Default)]
pub(super) struct Required {
    audios: usize,
    videos: usize,
    /// It was asked for an offer at all.
    is_asked: bool,
}

impl Required {
    /// An offer came, with so many sections more than before.
    fn offered(&mut self, audios: usize, videos: usize) {
        self.audios = self.audios.saturating_sub(audios);
        self.videos = self.videos.saturating_sub(videos);
        self.is_asked = false;
    }
}

/// Tells a client with a single connection how many sections are missing; it answers with an offer. What it was told
/// before, and is about to offer, is not asked for again.
fn require_sections(participant: &mut Participant, cx: &mut Context<'_>) {
    let missing = |is_video: bool, asked: usize| {
        let waits = |found: &&Subscription| found.sender.is_none() && found.is_video == is_video;
        let waiting = participant.subscriptions.iter().filter(waits).count();
        let is_free = |section: &MediaSection| section.free && (section.kind == MediaKind::Video) == is_video;
        let free = participant.publisher.connection.media().filter(is_free).count();
        (waiting, waiting.saturating_sub(free + asked))
    };
    let required = &participant.required;
    let ((audios, more_audios), (videos, more_videos)) =
        (missing(false, required.audios), missing(true, required.videos));
    if audios + videos == 0 || (required.is_asked && more_audios + more_videos == 0) {
        return;
    }
    participant.required = Required {
        audios: participant.required.audios + more_audios,
        videos: participant.required.videos + more_videos,
        is_asked: true,
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let requirement =
        proto::MediaSectionsRequirement { num_audios: count(more_audios), num_videos: count(more_videos) };
    participant.send(Message::MediaSectionsRequirement(requirement), cx);
}

/// How many sections there are, for audio and for video.
fn sections(participant: &Participant) -> (usize, usize) {
    let of = |kind| participant.publisher.connection.media().filter(|section| section.kind == kind).count();
    (of(MediaKind::Audio), of(MediaKind::Video))
}

/// Gives the sections that a client offered to receive on to what waits for one.
fn assign_sections(participant: &mut Participant) {
    let connection = &mut participant.publisher.connection;
    for subscription in participant.subscriptions.iter_mut().filter(|subscription| subscription.sender.is_none()) {
        let wanted = kind(subscription);
        let free = connection.media().find(|section| section.free && section.kind == wanted).map(|free| free.mid);
        subscription.sender = free.and_then(|mid| connection.attach_sender(mid, msid(subscription)).ok());
    }
}

fn kind(subscription: &Subscription) -> MediaKind {
    if subscription.is_video { MediaKind::Video } else { MediaKind::Audio }
}

fn msid(subscription: &Subscription) -> Msid {
    Msid::new(subscription.stream_id(), subscription.track_sid.clone())
}

fn mids(participant: &Participant) -> HashMap<String, String> {
    let peer = participant.subscriber.as_ref().unwrap_or(&participant.publisher);
    let assigned = participant.subscriptions.iter().filter_map(|subscription| {
        let mid = peer.connection.sender_mid(subscription.sender?)?;
        Some((mid.to_string(), subscription.track_sid.clone()))
    });
    assigned.collect()
}

/// The server's candidates stand in the description too; clients expect to be told that there are no more.
fn send_candidates(participant: &mut Participant, target: Target, sdp: &str, cx: &mut Context<'_>) {
    let Some(peer) = participant.peer_mut(target) else { return };
    let ufrag = peer.connection.local_ufrag();
    let inits: Vec<_> = cx.settings.candidates().map(|candidate| candidate.to_trickle_json(ufrag, sdp)).collect();
    let target = match target {
        Target::Publisher => proto::SignalTarget::Publisher,
        Target::Subscriber => proto::SignalTarget::Subscriber,
    };
    let last = inits.len() - 1;
    for (index, candidate_init) in inits.into_iter().enumerate() {
        let trickle = proto::TrickleRequest { candidate_init, target: target as i32, r#final: index == last };
        participant.send(Message::Trickle(trickle), cx);
    }
}
