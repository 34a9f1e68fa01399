//! A track on its way to a participant.

use roomkey_rtc::SenderId;

use super::forwarder::{Forwarder, Layer};
use super::participant::ParticipantId;
use super::publication::{LAYERS, Publication, PublicationId};

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) publisher: ParticipantId,
    pub(super) publication: PublicationId,
    pub(super) track_sid: String,
    pub(super) publisher_sid: String,
    pub(super) is_video: bool,
    /// The subscriber's connection sends it; nothing until it was negotiated.
    pub(super) sender: Option<SenderId>,
    /// The client has agreed to that section: packets flow.
    pub(super) is_flowing: bool,
    pub(super) forwarder: Forwarder,
}

impl Subscription {
    pub(super) fn new(publisher: ParticipantId, publisher_sid: &str, publication: &Publication) -> Self {
        Self {
            publisher,
            publication: publication.id,
            track_sid: publication.info.sid.clone(),
            publisher_sid: publisher_sid.to_owned(),
            is_video: publication.is_video(),
            sender: None,
            is_flowing: false,
            forwarder: Forwarder::new(publication.is_video(), LAYERS - 1),
        }
    }

    /// The stream id that LiveKit's clients take the participant and the track from.
    pub(super) fn stream_id(&self) -> String {
        format!("{}|{}", self.publisher_sid, self.track_sid)
    }

    pub(super) fn set(&mut self, is_disabled: bool, wanted: Layer) {
        self.forwarder.pause(is_disabled);
        self.forwarder.want(wanted);
    }
}
