//! The one thing that is read of STUN here: for whom a connectivity check is.

const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0, 1];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: [u8; 2] = [0, 6];

/// The local ufrag that a connectivity check names (RFC 8445 section 7.2.2): what its USERNAME has before the colon. `None`
/// for every other datagram.
pub(crate) fn checked_ufrag(datagram: &[u8]) -> Option<&[u8]> {
    let (header, mut attributes) = datagram.split_at_checked(HEADER)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    loop {
        let (head, rest) = attributes.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if head[..2] == USERNAME {
            return value.split(|byte| *byte == b':').next();
        }
        // Attributes begin at multiples of four (RFC 8489 section 14).
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(username: &[u8]) -> Vec<u8> {
        let mut bytes = [&BINDING_REQUEST[..], &[0, 0], &MAGIC_COOKIE, &[7; 12]].concat();
        // SOFTWARE, of a length that is padded.
        bytes.extend([0x80, 0x22, 0, 1, b'x', 0, 0, 0]);
        bytes.extend(USERNAME);
        bytes.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
        bytes.extend(username);
        bytes
    }

    #[test]
    fn a_check_names_the_ufrag_of_whom_it_is_for() {
        assert_eq!(checked_ufrag(&check(b"here:there")), Some(&b"here"[..]));
        assert_eq!(checked_ufrag(&check(b"here")), Some(&b"here"[..]));
        assert_eq!(checked_ufrag(&check(b"")), Some(&b""[..]));
    }

    #[test]
    fn what_is_cut_off_or_no_check_names_nobody() {
        let whole = check(b"here:there");
        for length in 0..whole.len() {
            assert_eq!(checked_ufrag(&whole[..length]), None, "{length}");
        }
        let mut answer = whole;
        answer[0] = 1;
        assert_eq!(checked_ufrag(&answer), None);
    }
}
