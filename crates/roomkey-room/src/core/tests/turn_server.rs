//! A TURN server of a few lines: as much of RFC 8656 as a client needs to get through, and to be refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use turn_client_proto::types::attribute::{ChannelNumber, Data, Lifetime, XorPeerAddress, XorRelayedAddress};
use turn_client_proto::types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA, REFRESH, SEND};
use turn_client_proto::types::stun::attribute::{ErrorCode, Nonce, Realm, Username, XorMappedAddress};
use turn_client_proto::types::stun::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials, MessageWriteVec, Method,
    TransactionId,
};
use turn_client_proto::types::stun::prelude::*;

pub(super) const USERNAME: &str = "a name";
pub(super) const CREDENTIAL: &str = "a secret word";
const REALM: &str = "test";
const FIRST_PORT: u16 = 50_000;

/// Whom it talks to: an address, by datagrams or on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Caller {
    Udp(SocketAddr),
    Tcp(u64, SocketAddr),
}

#[derive(Debug)]
pub(super) struct TurnServer {
    pub(super) address: SocketAddr,
    pub(super) allocations: BTreeMap<Caller, Lent>,
    /// Addresses that were lent, ever.
    pub(super) lent: u32,
    pub(super) requests: u32,
    /// It answers nothing, and counts what it does not answer.
    pub(super) is_dead: bool,
    pub(super) unheard: u32,
    /// What it sends its clients of, for those who would fool it.
    pub(super) nonce: u32,
    last_port: u16,
}

#[derive(Debug)]
pub(super) struct Lent {
    pub(super) relayed: SocketAddr,
    pub(super) permissions: HashSet<IpAddr>,
    pub(super) channels: HashMap<u16, SocketAddr>,
}

/// What it does with a message.
#[derive(Debug)]
pub(super) enum Turned {
    Reply(Vec<u8>),
    ToPeer { relayed: SocketAddr, peer: SocketAddr, packet: Vec<u8> },
}

impl TurnServer {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            allocations: BTreeMap::new(),
            lent: 0,
            requests: 0,
            is_dead: false,
            unheard: 0,
            nonce: 1,
            last_port: FIRST_PORT,
        }
    }

    /// The length of the message that begins here, on a connection, with its padding.
    pub(super) fn length(bytes: &[u8]) -> Option<usize> {
        let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        Some(if bytes[0] >> 6 == 0 { 20 + length } else { 4 + length.next_multiple_of(4) })
    }

    pub(super) fn handle(&mut self, bytes: &[u8], from: Caller) -> Option<Turned> {
        if self.is_dead {
            self.unheard += 1;
            return None;
        }
        if bytes.first()? >> 6 == 1 {
            let (channel, length) =
                (u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]]));
            let lent = self.allocations.get(&from)?;
            let peer = *lent.channels.get(&channel)?;
            let packet = bytes[4..].get(..usize::from(length))?.to_vec();
            return Some(Turned::ToPeer { relayed: lent.relayed, peer, packet });
        }
        let message = Message::from_bytes(bytes).ok()?;
        let (Caller::Udp(address) | Caller::Tcp(_, address)) = from;
        if message.has_method(SEND) {
            let lent = self.allocations.get(&from)?;
            let peer = message.attribute::<XorPeerAddress>().ok()?.addr(message.transaction_id());
            let packet = message.attribute::<Data<'_>>().ok()?.data().to_vec();
            let passes = lent.permissions.contains(&peer.ip());
            return passes.then_some(Turned::ToPeer { relayed: lent.relayed, peer, packet });
        }
        self.requests += 1;
        if message.has_method(BINDING) {
            let mut answer = Message::builder_success(&message, MessageWriteVec::new());
            answer.add_attribute(&XorMappedAddress::new(address, message.transaction_id())).ok()?;
            return Some(Turned::Reply(answer.finish()));
        }
        let credentials = MessageIntegrityCredentials::from(LongTermKeyCredentials::new(
            USERNAME.to_owned(),
            CREDENTIAL.to_owned(),
            REALM.to_owned(),
        ));
        let nonce = format!("nonce {}", self.nonce);
        let is_known = message.attribute::<Username>().is_ok_and(|name| name.username() == USERNAME)
            && message.validate_integrity(&credentials).is_ok();
        if !is_known {
            return Some(Turned::Reply(refuse(&message, ErrorCode::UNAUTHORIZED, &nonce, None)));
        }
        if message.attribute::<Nonce>().is_ok_and(|said| said.nonce() != nonce) {
            return Some(Turned::Reply(refuse(&message, ErrorCode::STALE_NONCE, &nonce, Some(&credentials))));
        }
        Some(Turned::Reply(self.answer(&message, from, address, &credentials)))
    }

    fn answer(
        &mut self,
        message: &Message<'_>,
        from: Caller,
        address: SocketAddr,
        credentials: &MessageIntegrityCredentials,
    ) -> Vec<u8> {
        let id = message.transaction_id();
        let mut answer = Message::builder_success(message, MessageWriteVec::new());
        let peer = message.attribute::<XorPeerAddress>().map(|peer| peer.addr(id));
        let lifetime = message.attribute::<Lifetime>().map_or(600, |lifetime| lifetime.seconds());
        let method: Method = message.method();
        if method == ALLOCATE {
            self.last_port += 1;
            self.lent += 1;
            let relayed = SocketAddr::new(self.address.ip(), self.last_port);
            let lent = Lent { relayed, permissions: HashSet::new(), channels: HashMap::new() };
            let relayed = self.allocations.entry(from).or_insert(lent).relayed;
            answer.add_attribute(&XorRelayedAddress::new(relayed, id)).unwrap();
            answer.add_attribute(&XorMappedAddress::new(address, id)).unwrap();
            answer.add_attribute(&Lifetime::new(600)).unwrap();
        } else if method == REFRESH {
            if lifetime == 0 {
                self.allocations.remove(&from);
            }
            answer.add_attribute(&Lifetime::new(lifetime.min(600))).unwrap();
        } else if let (Some(lent), Ok(peer)) = (self.allocations.get_mut(&from), peer) {
            if method == CHANNEL_BIND
                && let Ok(channel) = message.attribute::<ChannelNumber>()
            {
                lent.channels.insert(channel.channel(), peer);
            }
            assert!(method == CREATE_PERMISSION || method == CHANNEL_BIND, "{method}");
            lent.permissions.insert(peer.ip());
        }
        answer.add_message_integrity(credentials, IntegrityAlgorithm::Sha1).unwrap();
        answer.finish()
    }

    /// A packet of a peer comes to an address that it lends: for whom it is, and how it looks.
    pub(super) fn relay(&self, relayed: SocketAddr, peer: SocketAddr, packet: &[u8]) -> Option<(Caller, Vec<u8>)> {
        let (caller, lent) = self.allocations.iter().find(|(_, lent)| lent.relayed == relayed)?;
        if !lent.permissions.contains(&peer.ip()) {
            return None;
        }
        let bytes = if let Some((channel, _)) = lent.channels.iter().find(|(_, bound)| **bound == peer) {
            let length = u16::try_from(packet.len()).unwrap();
            let mut bytes = [&channel.to_be_bytes()[..], &length.to_be_bytes(), packet].concat();
            if matches!(caller, Caller::Tcp(..)) {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        } else {
            let id = TransactionId::generate();
            let kind = turn_client_proto::types::stun::message::MessageType::from_class_method(
                turn_client_proto::types::stun::message::MessageClass::Indication,
                DATA,
            );
            let mut message = Message::builder(kind, id, MessageWriteVec::new());
            message.add_attribute(&XorPeerAddress::new(peer, id)).unwrap();
            message.add_attribute(&Data::new(packet)).unwrap();
            message.finish()
        };
        Some((*caller, bytes))
    }
}

fn refuse(message: &Message<'_>, code: u16, nonce: &str, credentials: Option<&MessageIntegrityCredentials>) -> Vec<u8> {
    let mut answer = Message::builder_error(message, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(code).build().unwrap()).unwrap();
    answer.add_attribute(&Realm::new(REALM).unwrap()).unwrap();
    answer.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
    if let Some(credentials) = credentials {
        answer.add_message_integrity(credentials, IntegrityAlgorithm::Sha1).unwrap();
    }
    answer.finish()
}
