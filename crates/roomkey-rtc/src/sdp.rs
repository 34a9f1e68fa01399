//! SDP as text: what str0m does not tell of a description, and what it can't be told to write.

use std::fmt::Write;

use crate::media::{Direction, MediaKind, Mid, Msid, Rid};

/// The longest description that is read, in bytes. LiveKit's have about 2 kB a section.
pub(crate) const LONGEST: usize = 512 * 1024;

/// The most sections that are read.
const MOST_SECTIONS: usize = 256;

/// What this crate needs to know of a description.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Description {
    pub(crate) ice_lite: bool,
    pub(crate) has_ice_credentials: bool,
    pub(crate) has_fingerprint: bool,
    pub(crate) sections: Vec<Section>,
}

/// One `m=` section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Section {
    pub(crate) mid: Mid,
    pub(crate) content: Content,
    /// Port 0 and not in the BUNDLE group.
    pub(crate) rejected: bool,
    /// As the writer of the description sees it.
    pub(crate) direction: Direction,
    pub(crate) msid: Option<Msid>,
    /// The layers that the writer sends.
    pub(crate) send_rids: Vec<Rid>,
    pub(crate) max_message_size: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Media(MediaKind),
    Application,
}

/// Why a text is not a description, in words for an error.
pub(crate) type Unreadable = &'static str;

impl Description {
    pub(crate) fn parse(text: &str) -> Result<Self, Unreadable> {
        if text.len() > LONGEST {
            return Err("it is longer than 512 kB");
        }
        let mut description = Self::default();
        let mut bundled: Vec<&str> = Vec::new();
        let mut drafts: Vec<Draft<'_>> = Vec::new();
        for line in text.lines().map(str::trim_end) {
            if let Some(rest) = line.strip_prefix("m=") {
                if drafts.len() == MOST_SECTIONS {
                    return Err("it has more than 256 sections");
                }
                drafts.push(Draft::begin(rest)?);
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                match name {
                    "ice-lite" => description.ice_lite = true,
                    "ice-ufrag" | "ice-pwd" => description.has_ice_credentials |= !value.is_empty(),
                    "fingerprint" => description.has_fingerprint |= value.contains(' '),
                    "group" => {
                        if let Some(mids) = value.strip_prefix("BUNDLE") {
                            bundled.extend(mids.split_ascii_whitespace());
                        }
                    }
                    _ => {
                        if let Some(draft) = drafts.last_mut() {
                            draft.attribute(name, value);
                        }
                    }
                }
            }
        }
        for draft in drafts {
            let section = draft.finish(&bundled)?;
            if description.sections.iter().any(|other| other.mid == section.mid) {
                return Err("two sections have the same mid");
            }
            description.sections.push(section);
        }
        Ok(description)
    }

    pub(crate) fn application(&self) -> Option<&Section> {
        self.sections.iter().find(|section| section.content == Content::Application && !section.rejected)
    }
}

/// A section of which not all lines have been read.
struct Draft<'a> {
    content: Content,
    port_is_zero: bool,
    mid: Option<&'a str>,
    direction: Direction,
    msid: Option<Msid>,
    send_rids: Vec<Rid>,
    max_message_size: Option<usize>,
}

impl<'a> Draft<'a> {
    fn begin(line: &str) -> Result<Self, Unreadable> {
        let mut words = line.split_ascii_whitespace();
        let content = match words.next() {
            Some("audio") => Content::Media(MediaKind::Audio),
            Some("video") => Content::Media(MediaKind::Video),
            Some("application") => Content::Application,
            _ => return Err("it has a section that is neither audio, video nor application"),
        };
        let port_is_zero = words.next() == Some("0");
        Ok(Self {
            content,
            port_is_zero,
            mid: None,
            direction: Direction::SendRecv,
            msid: None,
            send_rids: Vec::new(),
            max_message_size: None,
        })
    }

    fn attribute(&mut self, name: &str, value: &'a str) {
        const MOST_RIDS: usize = 8;
        match name {
            "mid" => self.mid = Some(value),
            "sendrecv" => self.direction = Direction::SendRecv,
            "sendonly" => self.direction = Direction::SendOnly,
            "recvonly" => self.direction = Direction::RecvOnly,
            "inactive" => self.direction = Direction::Inactive,
            "msid" => self.msid = msid(value).or_else(|| self.msid.take()),
            // Before Unified Plan the msid was here.
            "ssrc" if self.msid.is_none() => {
                self.msid = value.split_once(" msid:").and_then(|(_, value)| msid(value));
            }
            "rid" => {
                let mut words = value.split_ascii_whitespace();
                if let (Some(rid), Some("send")) = (words.next().and_then(|rid| rid.parse().ok()), words.next())
                    && self.send_rids.len() < MOST_RIDS
                {
                    self.send_rids.push(rid);
                }
            }
            "max-message-size" => self.max_message_size = value.trim().parse().ok(),
            _ => {}
        }
    }

    fn finish(self, bundled: &[&str]) -> Result<Section, Unreadable> {
        let text = self.mid.ok_or("it has a section without a mid")?;
        let mid = text.parse().map_err(|_| "it has a mid that is not 1 to 16 letters and digits")?;
        Ok(Section {
            mid,
            content: self.content,
            rejected: self.port_is_zero && !bundled.contains(&text),
            direction: self.direction,
            msid: self.msid,
            send_rids: self.send_rids,
            max_message_size: self.max_message_size,
        })
    }
}

fn msid(value: &str) -> Option<Msid> {
    let mut words = value.split_ascii_whitespace();
    let stream_id = words.next()?;
    Some(Msid::new(stream_id, words.next().unwrap_or("-")))
}

/// Writes our senders into a description of str0m's: it gives each section an msid of its own, and has no setter.
///
/// A section without a sender carries no msid and no SSRC, as LiveKit's server answers; it stays `sendonly` there, and
/// becomes `recvonly` where it would be `sendrecv`.
pub(crate) fn with_msids<'a>(text: &str, msid_of: impl Fn(Mid) -> Option<&'a Msid>) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut sections = text.split("\r\nm=");
    let session = sections.next().unwrap_or_default();
    for line in session.lines() {
        let line = if line.starts_with("a=msid-semantic:") { "a=msid-semantic: WMS *" } else { line };
        push(&mut out, line);
    }
    for section in sections {
        let mid = section.lines().find_map(|line| line.strip_prefix("a=mid:")).and_then(|mid| mid.trim().parse().ok());
        let msid = mid.and_then(&msid_of);
        for (index, line) in section.lines().enumerate() {
            if index == 0 {
                out.push_str("m=");
            }
            match (msid, line.split_once(' ')) {
                (None, _) if line == "a=sendrecv" && !section.starts_with("application") => {
                    push(&mut out, "a=recvonly")
                }
                (None, _) if ["a=msid:", "a=ssrc:", "a=ssrc-group:"].iter().any(|prefix| line.starts_with(prefix)) => {}
                (Some(Msid { stream_id, track_id }), _) if line.starts_with("a=msid:") => {
                    let _ = write!(out, "a=msid:{stream_id} {track_id}\r\n");
                }
                (Some(Msid { stream_id, track_id }), Some((ssrc, attribute)))
                    if ssrc.starts_with("a=ssrc:") && attribute.starts_with("msid:") =>
                {
                    let _ = write!(out, "{ssrc} msid:{stream_id} {track_id}\r\n");
                }
                _ => push(&mut out, line),
            }
        }
    }
    out
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        a=msid-semantic: WMS abc\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\na=fingerprint:sha-256 AA\r\n\
        a=mid:0\r\na=sendrecv\r\na=msid:abc def\r\na=ssrc:1 cname:def\r\na=ssrc:1 msid:abc def\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\na=msid:PA|s TR\r\na=rid:q send\r\na=rid:h send\r\n\
        a=rid:f recv\r\na=ssrc-group:FID 1 2\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=inactive\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\na=max-message-size:65535\r\n";

    fn mid(text: &str) -> Mid {
        text.parse().unwrap()
    }

    #[test]
    fn a_description_is_read() {
        let read = Description::parse(OFFER).unwrap();
        assert!(read.ice_lite && read.has_ice_credentials && read.has_fingerprint);
        let [audio, video, rejected, application] = &read.sections[..] else { panic!("{read:?}") };
        assert_eq!(audio.content, Content::Media(MediaKind::Audio));
        assert_eq!((audio.direction, audio.rejected), (Direction::SendRecv, false));
        assert_eq!(audio.msid, Some(Msid::new("abc", "def")));
        assert_eq!(video.send_rids, ["q".parse().unwrap(), "h".parse().unwrap()]);
        assert!(!video.rejected, "port 0 in the BUNDLE group is not rejected (RFC 8843)");
        assert!(rejected.rejected);
        assert_eq!(application.max_message_size, Some(65535));
        assert_eq!(read.application().unwrap().mid, mid("3"));
    }

    #[test]
    fn a_section_with_a_sender_carries_its_msid_and_one_without_carries_none() {
        let ours = Msid::new("PA_1|TR_2", "TR_2");
        let text = with_msids(OFFER, |section| (section == mid("0")).then_some(&ours));
        assert!(
            text.contains("a=sendrecv\r\na=msid:PA_1|TR_2 TR_2\r\na=ssrc:1 cname:def\r\na=ssrc:1 msid:PA_1|TR_2 TR_2")
        );
        assert!(!text.contains("PA|s") && !text.contains("ssrc-group") && !text.contains("WMS abc"));
        assert!(text.contains("a=mid:1\r\na=sendonly\r\na=rid:q send"));
        assert!(text.ends_with("a=max-message-size:65535\r\n"));

        let text = with_msids(OFFER, |_| None);
        assert!(text.contains("a=mid:0\r\na=recvonly\r\nm=video"), "{text}");
    }

    #[test]
    fn what_is_no_description_is_refused_with_the_reason() {
        for (text, reason) in [
            ("m=audio 9 X 0\r\na=mid:a-b\r\n", "letters and digits"),
            ("m=audio 9 X 0\r\n", "without a mid"),
            ("m=text 9 X 0\r\n", "neither audio"),
            ("m=audio 9 X 0\r\na=mid:0\r\nm=audio 9 X 0\r\na=mid:0\r\n", "same mid"),
        ] {
            assert!(Description::parse(text).unwrap_err().contains(reason), "{text}");
        }
        assert!(Description::parse(&"m=audio 9 X 0\r\n".repeat(300)).unwrap_err().contains("256"));
        assert!(Description::parse(&"x".repeat(LONGEST + 1)).unwrap_err().contains("512 kB"));
    }
}
