//! A sealed frame: what everybody may read of it, the ciphertext with its tag, the IV, how long that is, and the number of the key.

use super::key::{IV, KeySet, TAG};
use super::nal;

/// What a frame is encoded with, since that says how much of it stays readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameCodec {
    /// Opus, alone or in redundant audio: LiveKit's clients encrypt the whole payload of RTP.
    Audio,
    Vp8,
    Vp9,
    H264,
    /// Which no client encrypts: JavaScript refuses to, and libwebrtc finds no OBUs in what it has encrypted.
    Av1,
}

impl FrameCodec {
    /// How many bytes stay readable, and are authenticated with the rest: what a server needs to forward the frame. Nothing if
    /// it is no frame that can be encrypted.
    fn clear(self, frame: &[u8]) -> Option<usize> {
        match self {
            Self::Audio => Some(1),
            // The frame's own header, and a key frame's start code and size (RFC 6386 section 9.1).
            Self::Vp8 => frame.first().map(|first| if first & 1 == 0 { 10 } else { 3 }),
            Self::Vp9 => Some(0),
            Self::H264 => nal::first_slice(frame),
            Self::Av1 => None,
        }
        .filter(|clear| *clear <= frame.len())
    }
}

/// What is behind the ciphertext: the IV, its length and the number of the key.
const TRAILER: usize = IV + 2;

/// A frame taken apart.
pub(super) struct Sealed {
    pub(super) key_index: u8,
    pub(super) iv: [u8; IV],
    pub(super) clear: usize,
    /// What is clear, and the ciphertext with its tag.
    pub(super) body: Vec<u8>,
}

/// Seals a frame; nothing if it is none of its codec. Empty ones stay so, which Opus has for silence.
pub(super) fn seal(codec: FrameCodec, frame: &[u8], key: &KeySet, key_index: u8, iv: &[u8; IV]) -> Option<Vec<u8>> {
    if frame.is_empty() {
        return Some(Vec::new());
    }
    let clear = codec.clear(frame)?;
    let mut sealed = Vec::with_capacity(frame.len() + TAG + TRAILER);
    sealed.extend_from_slice(frame);
    key.seal(iv, clear, &mut sealed)?;
    sealed.extend_from_slice(iv);
    sealed.extend_from_slice(&[IV as u8, key_index]);
    if codec == FrameCodec::H264 {
        let mut escaped = Vec::with_capacity(sealed.len() + sealed.len() / 64);
        escaped.extend_from_slice(&sealed[..clear]);
        nal::escape(&sealed[clear..], &mut escaped);
        return Some(escaped);
    }
    Some(sealed)
}

/// Takes a frame apart; nothing if it is too short, or no such frame.
pub(super) fn parse(codec: FrameCodec, frame: &[u8]) -> Option<Sealed> {
    let clear = codec.clear(frame)?;
    let mut body = Vec::with_capacity(frame.len());
    if codec == FrameCodec::H264 {
        body.extend_from_slice(&frame[..clear]);
        nal::unescape(&frame[clear..], &mut body);
    } else {
        body.extend_from_slice(frame);
    }
    let end = body.len().checked_sub(TRAILER).filter(|end| *end >= clear + TAG)?;
    let (iv, rest) = body[end..].split_first_chunk::<IV>()?;
    let &[length, key_index] = rest else { return None };
    let iv = *iv;
    if usize::from(length) != IV {
        return None;
    }
    body.truncate(end);
    Some(Sealed { key_index, iv, clear, body })
}
