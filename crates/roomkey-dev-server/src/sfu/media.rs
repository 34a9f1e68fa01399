//! Packets from a publisher to those who subscribe, and requests for key frames the other way.

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;
use roomkey_rtc::{Event, IceState, IncomingRtp, Mid, OutgoingRtp, Output, SenderId, Transmit};

use super::codec::Codec;
use super::forwarder::{Arrived, Forwarded, Layer, layer_of_rid};
use super::participant::{ParticipantId, Target};
use super::publication::{LAYERS, PublicationId};
use super::room::Room;
use super::{Context, Effect};

impl Room {
    /// Drives every connection that has something to say, until none has.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        while let Some(id) = self.dirty.pop_first() {
            for target in [Target::Publisher, Target::Subscriber] {
                self.drain(id, target, cx);
            }
        }
    }

    fn drain(&mut self, id: ParticipantId, target: Target, cx: &mut Context<'_>) {
        loop {
            let Some(peer) = self.participants.get_mut(&id).and_then(|participant| participant.peer_mut(target)) else {
                return;
            };
            match peer.connection.poll() {
                Output::Transmit(transmit) => {
                    let Transmit { protocol, destination, payload, .. } = transmit;
                    cx.effects.push_back(Effect::Transmit { protocol, destination, payload });
                }
                Output::Timeout(at) => {
                    peer.timeout = Some(at);
                    return;
                }
                Output::Event(event) => self.handle_event(id, target, event, cx),
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events that ask nothing of the server")]
    fn handle_event(&mut self, id: ParticipantId, target: Target, event: Event, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let is_primary = participant.primary_target() == target;
        let Some(peer) = participant.peer_mut(target) else { return };
        match event {
            Event::RtpReceived { mid, rid, packet } => {
                self.forward(id, mid, rid.as_ref().map(roomkey_rtc::Rid::as_str), &packet, cx);
            }
            Event::Data { id: channel, bytes, .. } => {
                if let Some(kind) = peer.kind_of(channel) {
                    self.handle_data(id, kind, &bytes, cx);
                }
            }
            Event::ChannelOpened { id: channel, label } => {
                if let Err(why) = peer.channel_opened(channel, &label, cx.now.instant) {
                    self.handle_undelivered(id, why, cx);
                }
            }
            Event::ChannelClosed { id: channel } => peer.channel_closed(channel),
            Event::Connected => {
                peer.is_connected = true;
                if is_primary {
                    self.set_state(id, State::Active, cx);
                }
            }
            Event::IceStateChanged(IceState::Disconnected) | Event::Closed => peer.is_connected = false,
            Event::KeyframeRequested { sender, .. } => self.pass_on_keyframe_request(id, sender),
            _ => {}
        }
    }

    fn forward(&mut self, id: ParticipantId, mid: Mid, rid: Option<&str>, packet: &IncomingRtp, cx: &mut Context<'_>) {
        let Some(number) = self.publication_of(id, mid) else { return };
        let layer = layer_of_rid(rid);
        let Some((_, publication)) = self.publication_mut(id, number) else { return };
        let codec = Codec::from(packet.format.codec());
        publication.layers_heard[layer] = Some(cx.now.instant);
        publication.has_rids |= rid.is_some();
        if let Some(level) = packet.audio_level {
            publication.levels.observe(level.unsigned_abs());
        }
        if !publication.is_public {
            publication.set_codec(codec);
            self.make_public(id, number, cx);
        }
        let Some((_, publication)) = self.publication_mut(id, number) else { return };
        let live = publication.live_layers(cx.now.instant);
        let subscribers = std::mem::take(&mut publication.subscribers);
        let arrived =
            Arrived { layer, codec, sequence: packet.sequence, timestamp: packet.timestamp, payload: &packet.payload };
        for subscriber in &subscribers {
            self.send_to(*subscriber, number, arrived, packet, &live[..], cx);
        }
        if let Some((_, publication)) = self.publication_mut(id, number) {
            publication.subscribers = subscribers;
        }
        self.ask_for_keyframes(id, number, cx);
        self.echo_audio(id, number, packet, cx);
    }

    /// One packet to one subscriber.
    pub(super) fn send_to(
        &mut self,
        subscriber: ParticipantId,
        publication: PublicationId,
        arrived: Arrived<'_>,
        packet: &IncomingRtp,
        live: &[bool],
        cx: &Context<'_>,
    ) {
        let Some(participant) = self.participants.get_mut(&subscriber) else { return };
        let peer = participant.subscriber.as_mut().unwrap_or(&mut participant.publisher);
        let found = participant.subscriptions.iter_mut().find(|found| found.publication == publication);
        let Some(subscription) = found.filter(|found| found.is_flowing) else { return };
        let Some(sender) = subscription.sender else { return };
        let Some(Forwarded { numbers, rewritten }) = subscription.forwarder.forward(arrived, live, cx.now.instant)
        else {
            return;
        };
        let payload = rewritten.map_or_else(|| packet.payload.clone(), Into::into);
        let outgoing = OutgoingRtp::new(packet.format, numbers.sequence, numbers.timestamp, payload)
            .with_marker(packet.marker)
            .with_audio_level(packet.audio_level, packet.voice_activity);
        // A codec that this subscriber did not agree to, or a section on its way out: it does without.
        if peer.connection.send_rtp(sender, outgoing, cx.now.instant).is_ok() {
            self.dirty.insert(subscriber);
        }
    }

    /// Asks a publisher for the key frames that subscribers wait for.
    pub(super) fn ask_for_keyframes(&mut self, id: ParticipantId, publication: PublicationId, cx: &Context<'_>) {
        let Some((_, found)) = self.publication_mut(id, publication) else { return };
        if !found.is_video() {
            return;
        }
        let live = found.live_layers(cx.now.instant);
        let subscribers = found.subscribers.clone();
        let mut asked = [false; LAYERS];
        for subscriber in subscribers {
            let Some(participant) = self.participants.get_mut(&subscriber) else { continue };
            let found = participant.subscriptions.iter_mut().find(|found| found.publication == publication);
            if let Some(layer) = found.and_then(|found| found.forwarder.keyframe_to_ask(&live, cx.now.instant)) {
                asked[layer] = true;
            }
        }
        for layer in (0..LAYERS).filter(|layer| asked[*layer]) {
            self.request_keyframe(id, publication, layer);
        }
    }

    fn request_keyframe(&mut self, id: ParticipantId, publication: PublicationId, layer: Layer) {
        let Some((peer, found)) = self.publication_mut(id, publication) else { return };
        let Some(mid) = found.mid else { return };
        let rid = if found.has_rids { RIDS[layer].parse().ok() } else { None };
        peer.connection.request_keyframe(mid, rid);
        self.dirty.insert(id);
    }

    /// A subscriber's decoder lost its way.
    fn pass_on_keyframe_request(&mut self, id: ParticipantId, sender: SenderId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let found = participant.subscriptions.iter().find(|found| found.sender == Some(sender));
        let Some(subscription) = found else { return };
        if let Some(layer) = subscription.forwarder.current() {
            self.request_keyframe(subscription.publisher, subscription.publication, layer);
        }
    }

    /// Tells a publisher which layers anybody wants, so that it need not encode the others. Less is told late: who
    /// looks away for a moment gets its picture back at once.
    pub(super) fn update_subscribed_quality(
        &mut self,
        id: ParticipantId,
        publication: PublicationId,
        cx: &mut Context<'_>,
    ) {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
        let wanted = self
            .participants
            .values()
            .flat_map(|participant| &participant.subscriptions)
            .filter(|found| found.publication == publication && found.is_flowing)
            .filter_map(|found| found.forwarder.wanted())
            .max();
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(found) = participant.publications.iter_mut().find(|found| found.id == publication) else { return };
        if !found.is_video() || found.quality_told == Some(wanted) {
            found.wanted_less_since = None;
            return;
        }
        // As long as it is told nothing, it sends everything.
        let is_less = found.quality_told.map_or_else(|| wanted.is_none(), |told| wanted < told);
        if is_less {
            let since = *found.wanted_less_since.get_or_insert(cx.now.instant);
            if cx.now.instant.saturating_duration_since(since) < PATIENCE {
                return;
            }
        }
        found.wanted_less_since = None;
        found.quality_told = Some(wanted);
        let qualities: Vec<_> = (0..LAYERS)
            .map(|layer| proto::SubscribedQuality {
                quality: i32::try_from(layer).unwrap_or_default(),
                enabled: wanted.is_some_and(|wanted| layer <= wanted),
            })
            .collect();
        let codec = found.info.mime_type.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        #[expect(deprecated, reason = "older clients read the qualities of the one codec")]
        let update = proto::SubscribedQualityUpdate {
            track_sid: found.info.sid.clone(),
            subscribed_qualities: qualities.clone(),
            subscribed_codecs: vec![proto::SubscribedCodec { codec, qualities }],
        };
        participant.send(Message::SubscribedQualityUpdate(update), cx);
    }
}

const RIDS: [&str; LAYERS] = ["q", "h", "f"];
