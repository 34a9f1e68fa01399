//! Tones of a telephone's keys.

use livekit_protocol as proto;
use proto::data_packet::Value;

use crate::error::RoomError;
use crate::local_participant::LocalParticipant;
use crate::names::ParticipantIdentity;

/// A key of a telephone that is pressed, for participants that are telephone calls (SIP).
#[doc(alias = "SipDTMF")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct SipDtmf {
    code: u32,
    digit: String,
    destination_identities: Vec<ParticipantIdentity>,
}

impl SipDtmf {
    /// A key, as a number (RFC 4733, section 3.2: 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for `A` to `D`) and as it is called,
    /// for everybody. LiveKit's SIP looks at the number.
    pub fn new(code: u32, digit: impl Into<String>) -> Self {
        Self { code, digit: digit.into(), destination_identities: Vec::new() }
    }

    /// The key with this on it; `None` for what is on none.
    pub fn key(key: char) -> Option<Self> {
        let key = key.to_ascii_uppercase();
        let code = "0123456789*#ABCD".chars().zip(0..).find(|(other, _)| *other == key)?.1;
        Some(Self::new(code, key))
    }

    /// For somebody alone; can be called again for more.
    pub fn to(mut self, identity: impl Into<ParticipantIdentity>) -> Self {
        self.destination_identities.push(identity.into());
        self
    }
}

impl LocalParticipant {
    /// Presses a key of a telephone. It is sent reliably; waiting and dropping are as with
    /// [`publish_data`](Self::publish_data).
    ///
    /// # Errors
    ///
    /// [`RoomError::Disconnected`], [`RoomError::NotAllowed`], [`RoomError::TooLarge`].
    pub async fn publish_dtmf(&self, key: SipDtmf) -> Result<(), RoomError> {
        let SipDtmf { code, digit, destination_identities } = key;
        let packet = proto::DataPacket {
            destination_identities: destination_identities.into_iter().map(String::from).collect(),
            value: Some(Value::SipDtmf(proto::SipDtmf { code, digit })),
            ..Default::default()
        };
        self.shared.send(packet).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_numbers_of_rfc_4733() {
        for (key, code, digit) in [('0', 0, "0"), ('9', 9, "9"), ('*', 10, "*"), ('#', 11, "#"), ('d', 15, "D")] {
            assert_eq!(SipDtmf::key(key), Some(SipDtmf::new(code, digit)));
        }
        assert_eq!(SipDtmf::key('E'), None);
    }
}
