//! Sends an agent what was said before it could hear.

use std::sync::Arc;
use std::time::Duration;

use roomkey_room::{ByteStreamOptions, LocalParticipant, ParticipantIdentity, Recording, SendStreamError, TrackSid};
use tokio::sync::oneshot;

/// Sends what is recorded, and goes on with what is being recorded until it is finished.
///
/// An agent takes a stream of this topic whose attributes name the published track, and whose bytes are samples of 16 bits
/// of so many channels and so many a second. It wants all of it within 3 s of its first packet.
pub(crate) async fn send(
    me: &LocalParticipant,
    recording: Arc<Recording>,
    track: &TrackSid,
    agent: ParticipantIdentity,
    mut finished: oneshot::Receiver<()>,
) -> Result<(), SendStreamError> {
    let options = ByteStreamOptions::new(TOPIC)
        .with_name("preconnect-audio-buffer")
        .with_attribute("trackId", track.as_str())
        .with_attribute("sampleRate", Recording::SAMPLE_RATE.to_string())
        .with_attribute("channels", "1")
        .with_destination(agent);
    let mut stream = me.stream_bytes(options).await?;
    let mut is_finished = false;
    while !is_finished {
        stream.write(&recording.drain()).await?;
        is_finished = tokio::time::timeout(SLICE, &mut finished).await.is_ok();
    }
    stream.write(&recording.drain()).await?;
    stream.close().await
}

const TOPIC: &str = "lk.agent.pre-connect-audio-buffer";

/// How much goes into one piece, while it is recorded and sent at the same time.
const SLICE: Duration = Duration::from_millis(100);
