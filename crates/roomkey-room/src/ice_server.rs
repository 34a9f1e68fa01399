//! A server that finds addresses for this client: STUN says which one it is seen at, TURN lends one.

use std::fmt;
use std::net::IpAddr;

/// A STUN or TURN server, as `RTCIceServer` of WebRTC has it: for a client whose servers the application knows, in the
/// place of those that the LiveKit server names.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    pub(crate) urls: Vec<String>,
    pub(crate) username: String,
    pub(crate) credential: String,
}

impl IceServer {
    /// A server at these URLs (RFC 7064, RFC 7065): `stun:host`, `turn:host:3478?transport=udp`, `turns:host`.
    ///
    /// TURN is spoken over UDP, TCP and TLS. What can't be used is passed over: another form, DTLS (`turns` over UDP), and
    /// STUN over TLS, which would say nothing about UDP.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { urls: urls.into_iter().map(Into::into).collect(), username: String::new(), credential: String::new() }
    }

    /// The name and the password for TURN.
    #[must_use]
    pub fn with_credential(self, username: impl Into<String>, credential: impl Into<String>) -> Self {
        Self { username: username.into(), credential: credential.into(), ..self }
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// Which paths media may take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum IceTransportPolicy {
    /// Any: UDP to the server, TCP to the server, a TURN server.
    #[default]
    All,
    /// TURN servers alone; the LiveKit server is told no other address of this client's.
    Relay,
    /// No UDP: TCP to the server, and TURN over TCP and TLS. For a network that is known to spoil UDP.
    Tcp,
}

/// What is left of the paths that there could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allowed {
    /// To the server without a relay.
    pub(crate) direct: bool,
    pub(crate) udp: bool,
}

impl Allowed {
    pub(crate) fn by(policy: IceTransportPolicy) -> Self {
        Self { direct: policy != IceTransportPolicy::Relay, udp: policy != IceTransportPolicy::Tcp }
    }

    /// Between the server and a UDP socket of this machine.
    pub(crate) fn direct_udp(self) -> bool {
        self.direct && self.udp
    }
}

/// What can be asked at one URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IceUrl {
    pub(crate) service: Service,
    pub(crate) host: String,
    pub(crate) port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Stun,
    TurnUdp,
    TurnTcp,
    TurnTls,
}

/// Why a URL is passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InvalidIceUrl {
    Malformed,
    /// STUN over TLS, TURN over DTLS.
    Unsupported,
}

impl IceUrl {
    /// Reads `stun:host[:port]`, `stuns:…`, `turn:host[:port][?transport=udp|tcp]`, `turns:…`; a host is a name, an IPv4
    /// address, or an IPv6 one in brackets. Ports are 3478, and 5349 with TLS, where none is said.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidIceUrl> {
        const LONGEST: usize = 512;
        let malformed = || InvalidIceUrl::Malformed;
        if text.len() > LONGEST {
            return Err(InvalidIceUrl::Malformed);
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(malformed)?;
        let (authority, query) =
            rest.split_once('?').map_or((rest, None), |(authority, query)| (authority, Some(query)));
        let is_tcp = match query.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("transport=udp") => Some(false),
            Some("transport=tcp") => Some(true),
            Some(_) => return Err(InvalidIceUrl::Malformed),
        };
        let (service, default_port) = match (scheme.to_ascii_lowercase().as_str(), is_tcp) {
            ("stun", None) => (Service::Stun, 3478),
            ("turn", None | Some(false)) => (Service::TurnUdp, 3478),
            ("turn", Some(true)) => (Service::TurnTcp, 3478),
            ("turns", None | Some(true)) => (Service::TurnTls, 5349),
            ("stuns", None) | ("turns", Some(false)) => return Err(InvalidIceUrl::Unsupported),
            _ => return Err(InvalidIceUrl::Malformed),
        };
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(malformed)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidIceUrl::Malformed)?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(malformed)?) };
            (host, port)
        } else {
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None => default_port,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?
            }
            Some(_) => return Err(InvalidIceUrl::Malformed),
        };
        let is_name = |host: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !host.is_empty() && host.len() <= 253 && host.bytes().all(is_letter)
        };
        if !is_name(host) && host.parse::<IpAddr>().is_err() {
            return Err(InvalidIceUrl::Malformed);
        }
        Ok(Self { service, host: host.to_owned(), port })
    }

    /// Whether it is on this machine, as far as its text says.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_stun_and_turn_say_what_is_asked_where() {
        use Service::{Stun, TurnTcp, TurnTls, TurnUdp};
        for (text, service, host, port) in [
            ("stun:stun.example.org", Stun, "stun.example.org", 3478),
            ("STUN:stun.example.org:19302", Stun, "stun.example.org", 19302),
            ("turn:192.0.2.7", TurnUdp, "192.0.2.7", 3478),
            ("turn:192.0.2.7:1?transport=udp", TurnUdp, "192.0.2.7", 1),
            ("turn:[2001:db8::7]?transport=tcp", TurnTcp, "2001:db8::7", 3478),
            ("turns:[2001:db8::7]:443", TurnTls, "2001:db8::7", 443),
            ("turns:turn_1.example.org?transport=TCP", TurnTls, "turn_1.example.org", 5349),
        ] {
            let read = IceUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!((read.service, read.host.as_str(), read.port), (service, host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_url_is_passed_over() {
        for text in [
            "",
            ":",
            "stun",
            "stun:",
            "stun:?transport=udp",
            "stun:a?transport=udp",
            "turn:a?transport=sctp",
            "turn:a?x",
            "http://a",
            "turn://a",
            "turn:user@a",
            "turn:a:",
            "turn:a:0",
            "turn:a:65536",
            "turn:a:+1",
            "turn:a:1:2",
            "turn:[a]",
            "turn:[::1",
            "turn:[::1]1",
            "turn:[::1]:",
            "turn:::1",
            "turn:a b",
            "turn:ä",
            "turn:a/b",
        ] {
            assert_eq!(IceUrl::parse(text), Err(InvalidIceUrl::Malformed), "{text}");
        }
        assert_eq!(IceUrl::parse(&format!("turn:{}", "a".repeat(600))), Err(InvalidIceUrl::Malformed));
        for text in ["stuns:a", "turns:a?transport=udp"] {
            assert_eq!(IceUrl::parse(text), Err(InvalidIceUrl::Unsupported), "{text}");
        }
    }

    #[test]
    fn a_credential_is_not_in_debug() {
        let server = IceServer::new(["turn:a"]).with_credential("a secret name", "a secret word");
        assert!(!format!("{server:?}").contains("secret"), "{server:?}");
    }
}
