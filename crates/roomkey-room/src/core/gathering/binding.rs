//! A question to a STUN server: at which address does it see a socket of ours (RFC 8489 section 3)?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use turn_client_proto::types::stun::attribute::XorMappedAddress;
use turn_client_proto::types::stun::message::{
    BINDING, Message, MessageClass, MessageHeader, MessageWriteVec, TransactionId,
};
use turn_client_proto::types::stun::prelude::*;

/// The wait before the question is sent again; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// How often it is sent. The last answer is awaited for as long as before the last sending.
const SENDINGS: u32 = 5;

/// One question, from one socket to one server.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) local: SocketAddr,
    pub(super) server: SocketAddr,
    transaction: TransactionId,
    sent: u32,
    pub(super) next: Instant,
}

impl Binding {
    pub(super) fn new(local: SocketAddr, server: SocketAddr, now: Instant) -> Self {
        Self { local, server, transaction: TransactionId::generate(), sent: 0, next: now }
    }

    /// What is to be sent now; `Err` once the server has had its time.
    pub(super) fn poll(&mut self, now: Instant) -> Result<Option<Vec<u8>>, Unanswered> {
        if now < self.next {
            return Ok(None);
        }
        if self.sent == SENDINGS {
            return Err(Unanswered);
        }
        self.next = now + FIRST_WAIT * 2_u32.pow(self.sent);
        self.sent += 1;
        let kind =
            turn_client_proto::types::stun::message::MessageType::from_class_method(MessageClass::Request, BINDING);
        Ok(Some(Message::builder(kind, self.transaction, MessageWriteVec::new()).finish()))
    }

    /// Whether a datagram from the server is the answer.
    pub(super) fn is_answered_by(&self, datagram: &[u8]) -> bool {
        MessageHeader::from_bytes(datagram)
            .is_ok_and(|header| header.transaction_id() == self.transaction && header.get_type().has_method(BINDING))
    }

    /// The address in the answer.
    pub(super) fn address_in(answer: &[u8]) -> Option<SocketAddr> {
        let message = Message::from_bytes(answer).ok().filter(|message| message.has_class(MessageClass::Success))?;
        let address = message.attribute::<XorMappedAddress>().ok()?.addr(message.transaction_id());
        (!address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0).then_some(address)
    }
}

/// The server has not answered.
#[derive(Debug)]
pub(super) struct Unanswered;
