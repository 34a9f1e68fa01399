//! The client in its room, and the commands that it obeys.

use std::sync::Arc;
use std::time::Duration;

use roomkey::BoxError;
use roomkey_room::{
    ByteStreamOptions, DataPacket, EncryptionKey, EncryptionOptions, KeyProvider, LocalParticipant, LocalTrack,
    LocalTrackPublication, Room, RpcError, RpcRequest, TextStreamOptions, TrackKind, TrackPublishOptions, VideoQuality,
    VideoSettings,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::say::say;
use crate::transport::Transport;
use crate::watcher::{Pictures, pattern, watch};
use crate::{camera, tone};

/// How long a command may take.
const WAIT: Duration = Duration::from_secs(20);

pub(crate) struct Member {
    transport: Transport,
    room: Option<Room>,
    pictures: Arc<Pictures>,
    microphone: Option<LocalTrackPublication>,
}

impl Member {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, room: None, pictures: Arc::default(), microphone: None }
    }

    /// Does what the line says, and gives the answer.
    pub(crate) async fn obey(&mut self, line: &str) -> Value {
        let command: Value = match serde_json::from_str(line) {
            Ok(command) => command,
            Err(error) => return json!({"error": error.to_string()}),
        };
        let id = command["id"].clone();
        match timeout(WAIT, self.does(&command)).await {
            Ok(Ok(answer)) => json!({"id": id, "ok": answer}),
            Ok(Err(error)) => json!({"id": id, "error": error.to_string()}),
            Err(_) => json!({"id": id, "error": "it took too long"}),
        }
    }

    async fn does(&mut self, command: &Value) -> Result<Value, BoxError> {
        let text = |key: &str| command[key].as_str().ok_or_else(|| format!("{key} is missing"));
        match text("do")? {
            "connect" => {
                let key = command["key"].as_str().map(|key| match command["raw"].as_bool() {
                    Some(true) => EncryptionKey::raw(key),
                    Some(false) | None => EncryptionKey::passphrase(key),
                });
                self.connect(text("url")?, text("token")?, text("mode")?, key.as_ref()).await?;
            }
            "encrypt" => {
                let enabled = command["enabled"].as_bool().ok_or("enabled is missing")?;
                self.room()?.set_encryption_enabled(enabled).await?;
            }
            "data" => {
                let packet = DataPacket::new(text("payload")?)
                    .topic(text("topic")?)
                    .reliable(command["reliable"].as_bool().ok_or("reliable is missing")?);
                self.me()?.publish_data(packet).await?;
            }
            "text" => {
                let topic = command["topic"].as_str().unwrap_or("text");
                self.me()?.send_text(text("text")?, TextStreamOptions::new(topic)).await?;
            }
            "bytes" => {
                let size = command["size"].as_u64().ok_or("size is missing")?;
                let options = ByteStreamOptions::new("bytes").with_name("pattern.bin");
                self.me()?.send_bytes(&pattern(usize::try_from(size)?), options).await?;
            }
            "rpc" => {
                let request = RpcRequest::new(text("to")?, "answer", text("payload")?);
                let request = request.with_response_timeout(Duration::from_secs(10));
                return Ok(match self.me()?.perform_rpc(request).await {
                    Ok(answer) => json!({"answer": answer}),
                    Err(error) => json!({"code": error.code, "message": error.message}),
                });
            }
            "describe" => {
                let me = self.me()?;
                me.set_attributes(serde_json::from_value(command["attributes"].clone())?).await?;
                me.set_metadata(text("metadata")?).await?;
            }
            "microphone" => {
                let track = LocalTrack::audio("microphone", &tone::start()?);
                self.microphone = Some(self.me()?.publish_track(track, TrackPublishOptions::new()).await?);
            }
            "mute" => {
                let microphone = self.microphone.as_ref().ok_or("no microphone")?;
                if command["muted"].as_bool().ok_or("muted is missing")? {
                    microphone.mute();
                } else {
                    microphone.unmute();
                }
            }
            "camera" => {
                let source = camera::start(command["simulcast"].as_bool().ok_or("simulcast is missing")?)?;
                self.me()?.publish_track(LocalTrack::video("camera", &source), TrackPublishOptions::new()).await?;
            }
            "layer" => self.layer(text("who")?, text("quality")?)?,
            "leave" => self.room()?.close().await,
            other => return Err(format!("no command {other:?}").into()),
        }
        Ok(json!({}))
    }

    fn room(&self) -> Result<&Room, BoxError> {
        self.room.as_ref().ok_or_else(|| "not connected".into())
    }

    fn me(&self) -> Result<LocalParticipant, BoxError> {
        Ok(self.room()?.local_participant())
    }

    async fn connect(
        &mut self,
        url: &str,
        token: &str,
        mode: &str,
        key: Option<&EncryptionKey>,
    ) -> Result<(), BoxError> {
        let mut builder = Room::builder();
        if let Some(key) = key {
            builder = builder.encryption(EncryptionOptions::new(KeyProvider::with_shared_key(key)));
        }
        let room = builder
            .ice_transport_policy(self.transport.into())
            .single_peer_connection(mode == "single")
            .connect(url, token)
            .await?;
        room.local_participant().register_rpc_method("answer", |call| async move {
            if call.payload == "refuse" {
                return Err(RpcError::new(1234, "refused"));
            }
            Ok(format!("{} said {}", call.caller_identity, call.payload))
        });
        tokio::spawn(watch(room.events(), Arc::clone(&self.pictures)));
        self.room = Some(room);
        Ok(())
    }

    fn layer(&self, who: &str, quality: &str) -> Result<(), BoxError> {
        let quality = match quality {
            "low" => VideoQuality::Low,
            "high" => VideoQuality::High,
            other => return Err(format!("no quality {other:?}").into()),
        };
        let room = self.room()?;
        let participant = room.participant(&who.into()).ok_or("no such participant")?;
        // It may have the wanted size already; then nothing changes.
        if let Some(picture) = self.pictures.of(who) {
            say(&picture);
        }
        for publication in participant.publications.iter().filter(|publication| publication.kind == TrackKind::Video) {
            room.set_video_settings(&publication.sid, VideoSettings::new().quality(quality))?;
        }
        Ok(())
    }
}
