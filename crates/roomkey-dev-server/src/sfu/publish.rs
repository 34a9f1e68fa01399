//! What participants publish: from the request to the moment when the others hear of it, and to its end.

use livekit_protocol as proto;
use prost::Message as _;
use proto::TrackType;
use proto::request_response::Reason;
use proto::signal_response::Message;
use roomkey_rtc::Mid;

use super::Context;
use super::codec::{self, Codec};
use super::participant::{Participant, ParticipantId};
use super::publication::{Publication, PublicationId};
use super::room::Room;
use crate::admission::MAX_TRACKS;
use crate::event::Event;

/// The most layers, codecs and features of a track, each. Three layers of two codecs are what clients send.
const MAX_OF_EACH: usize = 16;
/// The longest request for a track, in bytes. What it says is told to everybody.
const MAX_REQUEST: usize = 64 * 1024;

impl Room {
    pub(super) fn publication_mut(
        &mut self,
        publisher: ParticipantId,
        publication: PublicationId,
    ) -> Option<(&mut super::peer::Peer, &mut Publication)> {
        let participant = self.participants.get_mut(&publisher)?;
        let found = participant.publications.iter_mut().find(|found| found.id == publication)?;
        Some((&mut participant.publisher, found))
    }

    pub(super) fn add_track(&mut self, id: ParticipantId, request: &proto::AddTrackRequest, cx: &mut Context<'_>) {
        self.last_publication += 1;
        let number = self.last_publication;
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let held = participant.publications.len() + participant.queued.len();
        let is_taken = participant.publications.iter().any(|publication| publication.cid == request.cid);
        let refused = if !participant.may_publish(request.source) {
            Some((Reason::NotAllowed, "does not have permission to publish"))
        } else if !matches!(TrackType::try_from(request.r#type), Ok(TrackType::Audio | TrackType::Video)) {
            Some((Reason::UnsupportedType, "neither audio nor video"))
        } else if held >= MAX_TRACKS {
            Some((Reason::LimitExceeded, "too many tracks"))
        } else if is_excessive(request) {
            Some((Reason::LimitExceeded, "too much for a track"))
        } else if is_taken {
            Some((Reason::Queued, "a track of this cid is published"))
        } else {
            None
        };
        if let Some((reason, message)) = refused {
            let response = proto::RequestResponse {
                reason: reason as i32,
                message: message.to_owned(),
                request: Some(proto::request_response::Request::AddTrack(request.clone())),
                ..Default::default()
            };
            participant.send(Message::RequestResponse(response), cx);
            if reason == Reason::Queued {
                participant.queued.push(Publication::new(number, request, cx.rng));
            }
            return;
        }
        participant.publish(Publication::new(number, request, cx.rng), cx);
    }

    /// Finds the sections of an applied offer that carry announced tracks, and the tracks whose section ended.
    pub(super) fn bind_publications(&mut self, id: ParticipantId, sdp: &str, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let sending: Vec<_> = participant
            .publisher
            .connection
            .media()
            .filter(|section| section.direction.receives())
            .map(|section| (section.mid, section.remote_msid.map(|msid| msid.track_id)))
            .collect();
        let ended: Vec<_> = participant
            .publications
            .iter()
            .filter(|publication| {
                publication.mid.as_ref().is_some_and(|mid| !sending.iter().any(|(sending, _)| sending == mid))
            })
            .map(|publication| publication.id)
            .collect();
        for publication in ended {
            self.unpublish(id, publication, cx);
        }
        // What waited for the end of another may have its section in this offer.
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let mut heard = Vec::new();
        for publication in &mut participant.publications {
            let section = sending.iter().find(|(_, track)| track.as_deref() == Some(publication.cid.as_str()));
            if let (None, Some((mid, _))) = (&publication.mid, section) {
                publication.bind(*mid, codec::preferred(sdp, &mid.to_string()).unwrap_or(Codec::Other));
                // Audio is public with its offer, video with its first packet.
                if !publication.is_video() {
                    heard.push(publication.id);
                }
            }
        }
        for publication in heard {
            self.make_public(id, publication, cx);
        }
    }

    /// A packet came on a section that no announced track has: an older client's, or a stranger's. Nobody gets it.
    pub(super) fn publication_of(&self, id: ParticipantId, mid: Mid) -> Option<PublicationId> {
        let publications = &self.participants.get(&id)?.publications;
        publications.iter().find(|publication| publication.mid == Some(mid)).map(|publication| publication.id)
    }

    /// The others hear of a track, and those who want it get it.
    pub(super) fn make_public(&mut self, id: ParticipantId, publication: PublicationId, cx: &mut Context<'_>) {
        let Some((_, found)) = self.publication_mut(id, publication) else { return };
        if std::mem::replace(&mut found.is_public, true) {
            return;
        }
        let (track, mime_type) = (found.info.sid.clone(), found.info.mime_type.clone());
        self.counts_changed = true;
        self.announce(id, cx);
        let identity = self.participants[&id].identity.clone();
        cx.happened(Event::TrackPublished { room: self.info.name.clone(), identity, track, mime_type });
        for subscriber in self.participants.keys().copied().collect::<Vec<_>>() {
            if subscriber != id && self.participants[&subscriber].auto_subscribe {
                self.subscribe(subscriber, id, publication, cx);
                self.negotiate(subscriber, cx);
            }
        }
    }

    pub(super) fn unpublish(&mut self, id: ParticipantId, publication: PublicationId, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(at) = participant.publications.iter().position(|found| found.id == publication) else { return };
        let ended = participant.publications.remove(at);
        self.forget_subscriptions_to(publication, cx);
        self.counts_changed = true;
        if ended.is_public {
            self.announce(id, cx);
            let identity = self.participants[&id].identity.clone();
            cx.happened(Event::TrackUnpublished { room: self.info.name.clone(), identity, track: ended.info.sid });
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if let Some(next) = participant.queued.iter().position(|queued| queued.cid == ended.cid) {
            let next = participant.queued.remove(next);
            participant.publish(next, cx);
        }
    }

    pub(super) fn mute(&mut self, id: ParticipantId, request: &proto::MuteTrackRequest, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let found = participant.publications.iter_mut().find(|publication| publication.info.sid == request.sid);
        let Some(publication) = found else {
            let response = proto::RequestResponse {
                reason: Reason::NotFound as i32,
                request: Some(proto::request_response::Request::Mute(request.clone())),
                ..Default::default()
            };
            participant.send(Message::RequestResponse(response), cx);
            return;
        };
        let changes = std::mem::replace(&mut publication.info.muted, request.muted) != request.muted;
        if changes && publication.is_public {
            self.announce(id, cx);
        }
    }
}

impl Participant {
    /// Takes a track, and tells the client so. The others hear of it when it is there.
    fn publish(&mut self, publication: Publication, cx: &mut Context<'_>) {
        let published =
            proto::TrackPublishedResponse { cid: publication.cid.clone(), track: Some(publication.info.clone()) };
        self.publications.push(publication);
        self.send(Message::TrackPublished(published), cx);
    }
}

/// Whether a request has more than any client sends of what is kept for as long as the track is there.
fn is_excessive(request: &proto::AddTrackRequest) -> bool {
    let of_codecs = request.simulcast_codecs.iter().map(|codec| codec.layers.len());
    let counts = [
        request.layers.len(),
        request.simulcast_codecs.len(),
        request.audio_features.len(),
        request.packet_trailer_features.len(),
    ];
    counts.into_iter().chain(of_codecs).any(|count| count > MAX_OF_EACH) || request.encoded_len() > MAX_REQUEST
}
