//! Messages of a chat in packets of their own, as older clients send them.

use std::time::{Duration, SystemTime};

use livekit_protocol as proto;

/// A message of a chat, in a packet as older clients send it beside or instead of a text stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChatMessage {
    /// Chosen by its sender; another message with it changes this one.
    pub id: String,
    /// When it was sent, by the sender's clock.
    pub timestamp: SystemTime,
    /// When it was changed, if it is a change of an earlier message.
    pub edit_timestamp: Option<SystemTime>,
    /// The text.
    pub message: String,
    /// Whether it takes the message back.
    pub is_deleted: bool,
    /// Whether an agent made it of what somebody said.
    pub is_generated: bool,
}

impl ChatMessage {
    pub(crate) fn read(message: proto::ChatMessage) -> Self {
        Self {
            id: message.id,
            timestamp: time(message.timestamp),
            edit_timestamp: message.edit_timestamp.map(time),
            message: message.message,
            is_deleted: message.deleted,
            is_generated: message.generated,
        }
    }
}

/// Milliseconds since the Unix epoch, which is what LiveKit's clients write; the epoch for what is before it.
fn time(milliseconds: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use roomkey_dev_server::{Config, DevServer};

    use super::*;
    use crate::event::RoomEvent;
    use crate::room::Room;

    #[tokio::test]
    async fn a_message_in_a_packet_of_its_own_is_an_event() {
        let server = DevServer::bind(Config::new()).await.unwrap();
        let alice = Room::connect(&server.url(), &server.mint("alice", "room").unwrap()).await.unwrap();
        let mut events = alice.events();
        let bob = Room::connect(&server.url(), &server.mint("bob", "room").unwrap()).await.unwrap();
        let mut participants = bob.participants();
        participants.wait_for(|all| all.get(&"alice".into()).is_some()).await.unwrap();
        let message = proto::ChatMessage {
            id: "one".to_owned(),
            timestamp: 1_500,
            edit_timestamp: Some(2_500),
            message: "hello".to_owned(),
            deleted: false,
            generated: true,
        };
        let packet = proto::DataPacket {
            value: Some(proto::data_packet::Value::ChatMessage(message.clone())),
            ..Default::default()
        };
        bob.local_participant().shared.send(packet).await.unwrap();
        let received = async {
            while let Some(event) = events.next().await {
                if let RoomEvent::ChatMessageReceived { message, sender, participant } = event {
                    return Some((message, sender, participant.is_some()));
                }
            }
            None
        };
        let received = tokio::time::timeout(Duration::from_secs(20), received).await.unwrap();
        assert_eq!(received, Some((ChatMessage::read(message), "bob".into(), true)));
    }

    #[test]
    fn times_that_no_clock_shows_are_none() {
        let read = |timestamp| ChatMessage::read(proto::ChatMessage { timestamp, ..Default::default() }).timestamp;
        assert_eq!(read(1_500), SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(read(-1), SystemTime::UNIX_EPOCH);
        assert!(read(i64::MAX) >= SystemTime::UNIX_EPOCH);
    }
}
