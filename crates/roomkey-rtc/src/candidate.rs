//! An ICE candidate: an address at which a side may be reached (RFC 8839).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde_json::{Value, json};

/// What carries the packets between two candidates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a driver has a socket for each")]
pub enum Protocol {
    /// A packet is a datagram.
    Udp,
    /// A packet is a [frame](crate::framing) on a connection.
    Tcp,
}

impl Protocol {
    pub(crate) fn to_str0m(self) -> str0m::net::Protocol {
        match self {
            Self::Udp => str0m::net::Protocol::Udp,
            Self::Tcp => str0m::net::Protocol::Tcp,
        }
    }

    pub(crate) fn of(protocol: str0m::net::Protocol) -> Self {
        use str0m::net::Protocol as P;
        match protocol {
            P::Udp => Self::Udp,
            // No candidate of the others can be made or read here.
            P::Tcp | P::SslTcp | P::Tls => Self::Tcp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

/// Who opens the connection to a TCP candidate (RFC 6544 section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TcpType {
    /// The candidate's own side; such an address is not to be connected to.
    Active,
    /// The other side.
    Passive,
    /// Both sides at once.
    SimultaneousOpen,
}

impl TcpType {
    fn to_str0m(self) -> str0m::net::TcpType {
        match self {
            Self::Active => str0m::net::TcpType::Active,
            Self::Passive => str0m::net::TcpType::Passive,
            Self::SimultaneousOpen => str0m::net::TcpType::So,
        }
    }

    fn of(kind: str0m::net::TcpType) -> Self {
        match kind {
            str0m::net::TcpType::Active => Self::Active,
            str0m::net::TcpType::Passive => Self::Passive,
            str0m::net::TcpType::So => Self::SimultaneousOpen,
        }
    }
}

/// An address at which one side may be reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate(pub(crate) str0m::Candidate);

impl Candidate {
    /// An address of a local UDP socket.
    ///
    /// # Errors
    ///
    /// [`InvalidCandidate`] for an address without a port or an unspecified one, such as `0.0.0.0`: name an address that
    /// the other side can send to.
    pub fn host_udp(address: SocketAddr) -> Result<Self, InvalidCandidate> {
        check(address)?;
        str0m::Candidate::host(address, "udp").map(Self).map_err(|_| InvalidCandidate)
    }

    /// An address of a listener, or the local one of a connection that was opened to a [passive](TcpType::Passive)
    /// candidate of the other side's.
    ///
    /// # Errors
    ///
    /// As [`host_udp`](Self::host_udp).
    pub fn host_tcp(address: SocketAddr, tcp_type: TcpType) -> Result<Self, InvalidCandidate> {
        check(address)?;
        let candidate = str0m::Candidate::builder().tcp().host(address).tcptype(tcp_type.to_str0m()).build();
        candidate.map(Self).map_err(|_| InvalidCandidate)
    }

    /// The address that a STUN server saw when a datagram came from the local address `base` (RFC 8445 section 5.1.1.2).
    /// The local one is not told to the other side.
    ///
    /// # Errors
    ///
    /// As [`host_udp`](Self::host_udp); and for addresses of which one is IPv4 and one is IPv6.
    pub fn server_reflexive_udp(address: SocketAddr, base: SocketAddr) -> Result<Self, InvalidCandidate> {
        check(address)?;
        str0m::Candidate::server_reflexive(address, base, "udp").map(Self).map_err(|_| InvalidCandidate)
    }

    /// An address that a relay lends (RFC 8656): what comes there is forwarded to the local address `local`. Packets to be
    /// sent from it have it as their [source](crate::Transmit::source); send those to the relay.
    ///
    /// # Errors
    ///
    /// As [`host_udp`](Self::host_udp).
    pub fn relayed_udp(address: SocketAddr, local: SocketAddr) -> Result<Self, InvalidCandidate> {
        check(address)?;
        str0m::Candidate::relayed(address, local, "udp").map(Self).map_err(|_| InvalidCandidate)
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.0.addr()
    }

    /// What carries packets to it.
    pub fn protocol(&self) -> Protocol {
        Protocol::of(self.0.proto())
    }

    /// Who opens the connection to it, if it is of TCP and says so.
    pub fn tcp_type(&self) -> Option<TcpType> {
        self.0.tcptype().map(TcpType::of)
    }

    /// Whether it is an address that a relay lends.
    pub fn is_relayed(&self) -> bool {
        self.0.kind() == str0m::CandidateKind::Relayed
    }

    /// The candidate in the JSON of LiveKit's TrickleRequest, as `RTCIceCandidateInit` has it.
    ///
    /// All sections share one transport, so it names the first of the description that it goes with, by that one's `sdp`:
    /// browsers refuse a candidate for a section that is not there.
    pub fn to_trickle_json(&self, ufrag: &str, sdp: &str) -> String {
        let first = sdp.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap_or("0");
        json!({
            "candidate": self.to_string(),
            "sdpMid": first,
            "sdpMLineIndex": 0,
            "usernameFragment": ufrag,
        })
        .to_string()
    }

    /// Reads a candidate from the JSON of LiveKit's TrickleRequest; `None` says that there are no more.
    ///
    /// # Errors
    ///
    /// [`InvalidCandidate`] where the text is not JSON, has no `candidate`, or that is not a candidate that this crate can
    /// use: a host name, or a protocol other than UDP and TCP. Pass those over: another candidate will do.
    pub fn from_trickle_json(text: &str) -> Result<Option<Self>, InvalidCandidate> {
        let value: Value = serde_json::from_str(text).map_err(|_| InvalidCandidate)?;
        match value.get("candidate").and_then(Value::as_str) {
            Some("") => Ok(None),
            Some(candidate) => candidate.parse().map(Some),
            None => Err(InvalidCandidate),
        }
    }
}

impl FromStr for Candidate {
    type Err = InvalidCandidate;

    /// Reads `candidate:…`, with or without `a=` before it.
    fn from_str(text: &str) -> Result<Self, InvalidCandidate> {
        const LONGEST: usize = 1024;
        let text = text.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        if text.len() > LONGEST || !text.starts_with("candidate:") || !text.is_ascii() {
            return Err(InvalidCandidate);
        }
        let candidate = str0m::Candidate::from_sdp_string(text).map_err(|_| InvalidCandidate)?;
        let is_usable = matches!(candidate.proto(), str0m::net::Protocol::Udp | str0m::net::Protocol::Tcp);
        if !is_usable || candidate.addr().port() == 0 {
            return Err(InvalidCandidate);
        }
        Ok(Self(candidate))
    }
}

impl fmt::Display for Candidate {
    /// `candidate:…`, as in trickle ICE and after `a=` in SDP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_sdp_string();
        f.write_str(text.strip_prefix("a=").unwrap_or(&text))
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Candidate").field(&self.address()).finish()
    }
}

fn check(address: SocketAddr) -> Result<(), InvalidCandidate> {
    if address.ip().is_unspecified() || address.port() == 0 { Err(InvalidCandidate) } else { Ok(()) }
}

/// A text or an address that is no candidate of use here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InvalidCandidate;

impl fmt::Display for InvalidCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an ICE candidate with an address of UDP or TCP")
    }
}

impl std::error::Error for InvalidCandidate {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_survives_sdp_and_trickle() {
        let candidate = Candidate::host_udp("192.0.2.7:40000".parse().unwrap()).unwrap();
        let text = candidate.to_string();
        assert!(text.starts_with("candidate:"), "{text}");
        assert_eq!(text.parse::<Candidate>().unwrap().address(), candidate.address());
        let json = candidate.to_trickle_json("abcd", "v=0\r\na=mid:SQJ\r\na=mid:1\r\n");
        assert!(json.contains(r#""sdpMid":"SQJ""#), "{json}");
        let trickled = Candidate::from_trickle_json(&json).unwrap().unwrap();
        assert_eq!(trickled.address(), candidate.address());
    }

    #[test]
    fn a_candidate_of_chromium_is_read() {
        let json = r#"{"candidate":"candidate:842163049 1 udp 1677729535 203.0.113.9 61764 typ srflx raddr 10.0.0.2 rport 61764 generation 0 ufrag 4ZcD network-cost 999","sdpMid":"0","sdpMLineIndex":0}"#;
        let candidate = Candidate::from_trickle_json(json).unwrap().unwrap();
        assert_eq!(candidate.address(), "203.0.113.9:61764".parse().unwrap());
    }

    #[test]
    fn a_candidate_says_who_opens_its_connection() {
        let address = "192.0.2.7:7881".parse().unwrap();
        for (tcp_type, text) in
            [(TcpType::Passive, "passive"), (TcpType::Active, "active"), (TcpType::SimultaneousOpen, "so")]
        {
            let candidate = Candidate::host_tcp(address, tcp_type).unwrap();
            assert!(candidate.to_string().ends_with(&format!(" tcptype {text}")), "{candidate}");
            let read: Candidate = candidate.to_string().parse().unwrap();
            assert_eq!((read.protocol(), read.tcp_type()), (Protocol::Tcp, Some(tcp_type)));
        }
    }

    #[test]
    fn what_a_server_saw_and_what_a_relay_lends_is_told_and_the_local_address_is_not() {
        let (address, local) = ("203.0.113.9:4000".parse().unwrap(), "10.0.0.2:5000".parse().unwrap());
        for candidate in [Candidate::server_reflexive_udp(address, local), Candidate::relayed_udp(address, local)] {
            let candidate = candidate.unwrap();
            assert_eq!(candidate.address(), address);
            assert!(!candidate.to_string().contains("10.0.0.2"), "{candidate}");
        }
        assert!(Candidate::relayed_udp(address, local).unwrap().is_relayed());
    }

    #[test]
    fn the_end_of_candidates_is_no_candidate() {
        assert_eq!(Candidate::from_trickle_json(r#"{"candidate":""}"#), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for bad in [
            "",
            "candidate:",
            "a=mid:0",
            "candidate:1 1 udp 1 c1b2a3.local 9 typ host",
            "candidate:1 1 ssltcp 1 192.0.2.7 443 typ host",
            "candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype other",
            "candidate:1 1 udp 1 192.0.2.7 0 typ host",
        ] {
            assert_eq!(bad.parse::<Candidate>(), Err(InvalidCandidate), "{bad}");
        }
        assert_eq!(Candidate::from_trickle_json("{}"), Err(InvalidCandidate));
        assert_eq!(Candidate::host_udp("0.0.0.0:5000".parse().unwrap()), Err(InvalidCandidate));
    }
}
