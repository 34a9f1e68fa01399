//! What the application hears of what has happened: snapshots first, then the event.

use std::sync::Arc;

use livekit_protocol::data_packet::Value;

use super::Task;
use crate::chat_message::ChatMessage;
use crate::clock;
use crate::connection_state::{ConnectionState, DisconnectReason};
use crate::core::Happened;
use crate::data_stream::reader::StreamReader;
use crate::encryption::{EncryptionState, Subject};
use crate::event::RoomEvent;
use crate::names::ParticipantIdentity;
use crate::participant::Participant;
use crate::publication::TrackPublication;
use crate::remote_track::RemoteTrack;
use crate::take_once::TakeOnce;
use crate::token_times::TokenTimes;
use crate::transcription::TranscriptionSegment;

impl Task {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are told as they are")]
    pub(super) fn happened(&mut self, happened: Happened) {
        // Before the events, so that whoever hears one finds what it is about.
        if self.core.members().has_changed {
            self.core.members().has_changed = false;
            let participants = Arc::new(self.core.members().participants.clone());
            self.participants.send_replace(participants);
        }
        match happened {
            Happened::Rtp(track, packet) => {
                let now = clock::now();
                if self.sinks.push(&track, &packet, now) {
                    self.core.request_keyframe(&track, now);
                }
            }
            Happened::Connected => {
                self.state.send_replace(ConnectionState::Connected);
                // Whoever gave the wait up has dropped its handle, which says so.
                if let Some(connected) = self.connected.take() {
                    let _ = connected.send(Ok(()));
                }
            }
            Happened::ConnectFailed(error) => {
                self.state.send_replace(ConnectionState::Disconnected(DisconnectReason::JoinFailure));
                if let Some(connected) = self.connected.take() {
                    let _ = connected.send(Err(error));
                }
            }
            Happened::StateChanged(state) => {
                match state {
                    ConnectionState::Connected => self.set_sending(None, true),
                    ConnectionState::Resuming => self.set_sending(None, false),
                    ConnectionState::Disconnected(_) => self.let_go(),
                    ConnectionState::Restarting => {
                        self.set_sending(None, false);
                        self.sinks.restart();
                    }
                }
                self.state.send_replace(state);
                self.tell(RoomEvent::ConnectionStateChanged(state));
            }
            Happened::TokenRefreshed(token) => {
                self.token.send_replace(TokenTimes::read(&token, clock::system_time(), true));
                self.tell(RoomEvent::TokenRefreshed);
            }
            Happened::RoundTripTime(time) => {
                self.info.send_modify(|info| Arc::make_mut(info).round_trip_time = Some(time));
            }
            Happened::RoomChanged(room) => {
                self.info.send_modify(|info| Arc::make_mut(info).read(&room));
                self.tell(RoomEvent::RoomUpdated);
            }
            Happened::RoomMoved(room) => {
                self.info.send_modify(|info| Arc::make_mut(info).read(&room));
                let info = Arc::clone(&self.info.borrow());
                self.tell(RoomEvent::RoomMoved(info));
            }
            Happened::StreamOpened(StreamReader::Text(reader)) => self.tell(RoomEvent::TextStreamOpened {
                topic: reader.info().topic.clone(),
                sender: reader.info().sender_identity.clone(),
                reader: TakeOnce::new(reader),
            }),
            Happened::StreamOpened(StreamReader::Bytes(reader)) => self.tell(RoomEvent::ByteStreamOpened {
                topic: reader.info().topic.clone(),
                sender: reader.info().sender_identity.clone(),
                reader: TakeOnce::new(reader),
            }),
            Happened::RpcInvoked(id, invocation) => self.methods.invoke(id, invocation),
            Happened::Packet { is_reliable, sender, participant, value, is_encrypted } => {
                self.packet(is_reliable, sender, participant, value, is_encrypted);
            }
            Happened::DataEncryptionChanged(identity, state) => {
                if let Some(participant) = self.core.members().participants.get(&identity).cloned() {
                    self.tell(RoomEvent::E2eeStateChanged { participant, publication: None, state });
                }
            }
            Happened::KeyframeRequested(id, rid) => {
                if let Some(outlet) = self.outlet(id) {
                    outlet.keyframe_requested(rid);
                }
            }
            Happened::SubscribedQualities(id, wanted) => {
                if let Some(outlet) = self.outlet(id) {
                    outlet.qualities_wanted(wanted);
                }
            }
            Happened::LocalTrackMuted(id, publication) => {
                self.set_outlet_muted(id, publication.is_muted);
                if let Some(participant) = self.core.members().participants.local.clone() {
                    self.tell(if publication.is_muted {
                        RoomEvent::TrackMuted { participant, publication }
                    } else {
                        RoomEvent::TrackUnmuted { participant, publication }
                    });
                }
            }
            Happened::LocalTrackPublished(id, publication) => {
                self.local_sids.insert(id, &publication.sid);
                self.sid_changed();
                self.set_sending(Some(id), true);
                self.tell(RoomEvent::LocalTrackPublished(publication));
                self.tell_encryption_of(&Subject::Local(id));
            }
            Happened::LocalTrackRepublished(id, publication, previous_sid) => {
                self.local_sids.insert(id, &publication.sid);
                self.sid_changed();
                self.set_sending(Some(id), true);
                self.tell(RoomEvent::LocalTrackRepublished { publication, previous_sid });
            }
            Happened::LocalTrackUnpublished(id, publication) => {
                self.end_outlet(id);
                self.encryption_states.remove(&Subject::Local(id));
                self.tell(RoomEvent::LocalTrackUnpublished(publication));
            }
            Happened::TrackSubscribed(participant, publication) => {
                let track = self.subscribed(&participant, &publication);
                let lacks_keys = publication.is_encrypted && self.encryption.is_none();
                let (who, what) = (Arc::clone(&participant), Arc::clone(&publication));
                self.tell(RoomEvent::TrackSubscribed { track, participant, publication });
                if lacks_keys {
                    let state = EncryptionState::MissingKey;
                    self.tell(RoomEvent::E2eeStateChanged { participant: who, publication: Some(what), state });
                }
            }
            Happened::TrackUnsubscribed(participant, publication) => {
                self.sinks.end(&publication.sid);
                self.encryption_states.remove(&Subject::Remote(publication.sid.clone()));
                self.tell(RoomEvent::TrackUnsubscribed { participant, publication });
            }
            other => {
                if let Some(event) = plain(other) {
                    self.tell(event);
                }
            }
        }
    }

    fn subscribed(&self, participant: &Participant, publication: &TrackPublication) -> RemoteTrack {
        self.sinks.begin(&publication.sid);
        RemoteTrack {
            sid: publication.sid.clone(),
            kind: publication.kind,
            is_encrypted: publication.is_encrypted,
            publisher: participant.identity.clone(),
            encryption: self.encryption.clone(),
            sinks: Arc::clone(&self.sinks),
            commands: self.own_commands.clone(),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "packets that ask nothing of a client")]
    fn packet(
        &self,
        is_reliable: bool,
        sender: ParticipantIdentity,
        participant: Option<Arc<Participant>>,
        value: Value,
        is_encrypted: bool,
    ) {
        match value {
            Value::User(user) => self.tell(RoomEvent::DataReceived {
                payload: user.payload.into(),
                topic: user.topic.filter(|topic| !topic.is_empty()),
                is_reliable,
                sender,
                participant,
                is_encrypted,
            }),
            Value::EncryptedPacket(_) => {
                tracing::debug!(%sender, "a packet that is encrypted end to end is passed over: there are no keys")
            }
            Value::SipDtmf(tone) => {
                self.tell(RoomEvent::SipDtmfReceived { code: tone.code, digit: tone.digit, sender })
            }
            Value::Transcription(said) => self.tell(RoomEvent::TranscriptionReceived {
                speaker: said.transcribed_participant_identity.into(),
                sender,
                track_sid: said.track_id.into(),
                segments: said.segments.into_iter().map(TranscriptionSegment::read).collect(),
            }),
            Value::ChatMessage(message) => {
                self.tell(RoomEvent::ChatMessageReceived { message: ChatMessage::read(message), sender, participant })
            }
            _ => {}
        }
    }
}

/// Events that are told as they are.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are not told as they are")]
fn plain(happened: Happened) -> Option<RoomEvent> {
    Some(match happened {
        Happened::ParticipantConnected(participant) => RoomEvent::ParticipantConnected(participant),
        Happened::ParticipantActive(participant) => RoomEvent::ParticipantActive(participant),
        Happened::ParticipantDisconnected(participant, reason) => {
            RoomEvent::ParticipantDisconnected { participant, reason }
        }
        Happened::ParticipantMetadataChanged(participant, old_metadata) => {
            RoomEvent::ParticipantMetadataChanged { participant, old_metadata }
        }
        Happened::ParticipantNameChanged(participant, old_name) => {
            RoomEvent::ParticipantNameChanged { participant, old_name }
        }
        Happened::ParticipantAttributesChanged(participant, changed) => {
            RoomEvent::ParticipantAttributesChanged { participant, changed }
        }
        Happened::ParticipantPermissionChanged(participant) => RoomEvent::ParticipantPermissionChanged(participant),
        Happened::ParticipantUpdated(participant) => RoomEvent::ParticipantUpdated(participant),
        Happened::TrackPublished(participant, publication) => RoomEvent::TrackPublished { participant, publication },
        Happened::TrackUnpublished(participant, publication) => {
            RoomEvent::TrackUnpublished { participant, publication }
        }
        Happened::TrackSubscriptionFailed(track) => RoomEvent::TrackSubscriptionFailed(track),
        Happened::TrackSubscriptionAllowed(participant, publication) => {
            RoomEvent::TrackSubscriptionPermissionChanged { participant, publication }
        }
        Happened::TrackStreamStateChanged(participant, publication) => {
            RoomEvent::TrackStreamStateChanged { participant, publication }
        }
        Happened::TrackMuted(participant, publication) => RoomEvent::TrackMuted { participant, publication },
        Happened::TrackUnmuted(participant, publication) => RoomEvent::TrackUnmuted { participant, publication },
        Happened::ActiveSpeakersChanged(speakers) => RoomEvent::ActiveSpeakersChanged(speakers),
        Happened::ConnectionQualityChanged(participant) => RoomEvent::ConnectionQualityChanged(participant),
        Happened::LocalTrackSubscribed(publication) => RoomEvent::LocalTrackSubscribed(publication),
        _ => return None,
    })
}
