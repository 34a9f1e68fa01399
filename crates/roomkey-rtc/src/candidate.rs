//! An ICE candidate: an address at which a side may be reached (RFC 8839).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde_json::{Value, json};

/// An address at which one side may be reached, over UDP.
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
        if address.ip().is_unspecified() || address.port() == 0 {
            return Err(InvalidCandidate);
        }
        str0m::Candidate::host(address, "udp").map(Self).map_err(|_| InvalidCandidate)
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.0.addr()
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
    /// use: a host name, or a protocol other than UDP. Pass those over: another candidate will do.
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
        if candidate.proto() != str0m::net::Protocol::Udp || candidate.addr().port() == 0 {
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

/// A text or an address that is no candidate of use here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InvalidCandidate;

impl fmt::Display for InvalidCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an ICE candidate with an address and UDP")
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
            "candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype active",
            "candidate:1 1 udp 1 192.0.2.7 0 typ host",
        ] {
            assert_eq!(bad.parse::<Candidate>(), Err(InvalidCandidate), "{bad}");
        }
        assert_eq!(Candidate::from_trickle_json("{}"), Err(InvalidCandidate));
        assert_eq!(Candidate::host_udp("0.0.0.0:5000".parse().unwrap()), Err(InvalidCandidate));
    }
}
