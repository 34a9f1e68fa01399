//! What the client sees in its room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use roomkey_room::{
    AudioStreamOptions, ConnectionState, RemoteTrack, RoomEvent, RoomEvents, TrackKind, TrackPublication, TrackSource,
    VideoStreamOptions,
};
use serde_json::{Value, json};

use crate::say::say;

/// A peak that is no silence.
const LOUD: f32 = 0.03;
/// So many loud frames are no accident.
const LOUD_FRAMES: u32 = 10;

/// The last that was said of each participant's picture.
#[derive(Default)]
pub(crate) struct Pictures(Mutex<HashMap<String, Value>>);

impl Pictures {
    pub(crate) fn of(&self, who: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(who).cloned()
    }

    fn see(&self, who: &str, (width, height): (u32, u32)) {
        let picture = json!({"saw": "video", "who": who, "width": width, "height": height});
        say(&picture);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(who.to_owned(), picture);
    }
}

/// Bytes that a receiver can check.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 7 % 251) as u8).collect()
}

/// Says what happens, until the room is over.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not for the table")]
pub(crate) async fn watch(mut events: RoomEvents, pictures: Arc<Pictures>) {
    while let Some(event) = events.next().await {
        match event {
            RoomEvent::ConnectionStateChanged(state) => say(&match state {
                ConnectionState::Connected => json!({"saw": "reconnected"}),
                ConnectionState::Resuming | ConnectionState::Restarting => json!({"saw": "reconnecting"}),
                ConnectionState::Disconnected(reason) => {
                    json!({"saw": "disconnected", "reason": format!("{reason:?}")})
                }
            }),
            RoomEvent::ParticipantConnected(participant) => {
                let who = participant.identity.as_str();
                say(&json!({"saw": "joined", "who": who}));
                if !participant.attributes.is_empty() {
                    say(&json!({"saw": "attributes", "who": who, "changed": *participant.attributes}));
                }
            }
            RoomEvent::ParticipantDisconnected { participant, .. } => {
                say(&json!({"saw": "left", "who": participant.identity.as_str()}));
            }
            RoomEvent::ParticipantMetadataChanged { participant, .. } if !participant.is_local => {
                let (who, metadata) = (participant.identity.as_str(), &participant.metadata);
                say(&json!({"saw": "metadata", "who": who, "metadata": metadata}));
            }
            RoomEvent::ParticipantAttributesChanged { participant, changed, .. } if !participant.is_local => {
                say(&json!({"saw": "attributes", "who": participant.identity.as_str(), "changed": changed}));
            }
            RoomEvent::TrackMuted { participant, publication, .. } if !participant.is_local => {
                let (who, source) = (participant.identity.as_str(), source(&publication));
                say(&json!({"saw": "muted", "who": who, "source": source}));
            }
            RoomEvent::TrackUnmuted { participant, publication, .. } if !participant.is_local => {
                let (who, source) = (participant.identity.as_str(), source(&publication));
                say(&json!({"saw": "unmuted", "who": who, "source": source}));
            }
            RoomEvent::TrackSubscribed { track, participant, publication, .. } => {
                let who = participant.identity.as_str().to_owned();
                say(&json!({"saw": "subscribed", "who": who, "source": source(&publication)}));
                match track.kind() {
                    TrackKind::Audio => drop(tokio::spawn(hear(track, who))),
                    TrackKind::Video => drop(tokio::spawn(look(track, who, Arc::clone(&pictures)))),
                }
            }
            RoomEvent::DataReceived { payload, topic, is_reliable, sender, .. } => {
                let payload = String::from_utf8_lossy(&payload);
                let (who, reliable) = (sender.as_str(), is_reliable);
                say(&json!({"saw": "data", "who": who, "payload": payload, "reliable": reliable, "topic": topic}));
            }
            RoomEvent::E2eeStateChanged { participant, state, .. } => {
                say(&json!({"saw": "encryption", "who": participant.identity.as_str(), "state": state.as_str()}));
            }
            RoomEvent::TextStreamOpened { reader, topic, sender, .. } => {
                let Some(mut reader) = reader.take() else { continue };
                tokio::spawn(async move {
                    let who = sender.as_str();
                    say(&match reader.read_all().await {
                        Ok(text) => json!({"saw": "text", "who": who, "topic": topic, "text": text}),
                        Err(error) => json!({"saw": "no text", "who": who, "topic": topic, "why": error.to_string()}),
                    });
                });
            }
            RoomEvent::ByteStreamOpened { reader, sender, .. } => {
                let Some(mut reader) = reader.take() else { continue };
                tokio::spawn(async move {
                    let who = sender.as_str();
                    say(&match reader.read_all().await {
                        Ok(data) => {
                            let (name, size, intact) = (&reader.info().name, data.len(), data == pattern(data.len()));
                            json!({"saw": "bytes", "who": who, "name": name, "size": size, "intact": intact})
                        }
                        Err(error) => json!({"saw": "no bytes", "who": who, "why": error.to_string()}),
                    });
                });
            }
            _ => {}
        }
    }
}

fn source(publication: &TrackPublication) -> &'static str {
    if publication.source == TrackSource::Microphone {
        "microphone"
    } else if publication.source == TrackSource::Camera {
        "camera"
    } else {
        "other"
    }
}

/// Says once that what is decoded is no silence, and goes on decoding.
async fn hear(track: RemoteTrack, who: String) {
    let mut stream = track.audio_stream(&AudioStreamOptions::new());
    let mut loud = 0;
    while let Some(frame) = stream.next().await {
        if frame.samples().iter().any(|sample| sample.abs() > LOUD) {
            loud += 1;
            if loud == LOUD_FRAMES {
                say(&json!({"saw": "audio", "who": who}));
            }
        }
    }
}

/// Says each size of the picture, as its key frames have it.
async fn look(track: RemoteTrack, who: String, pictures: Arc<Pictures>) {
    let mut stream = track.video_stream(VideoStreamOptions::new());
    let mut seen = None;
    while let Some(frame) = stream.next().await {
        if let Some(size) = frame.dimensions.filter(|size| seen != Some(*size)) {
            seen = Some(size);
            pictures.see(&who, size);
        }
    }
}
