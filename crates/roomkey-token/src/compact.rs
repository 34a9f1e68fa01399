//! The compact form of a JWT: three base64url segments with dots between (RFC 7515, section 3.1).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What is written: no padding.
pub(crate) const WRITE: GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What livekit-server reads (Go's `RawURLEncoding`): no padding, and bits left over in the last character count for
/// nothing.
const READ: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// What is read from a token that nobody verifies: padding as well.
const READ_LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A token taken apart, nothing decoded.
pub(crate) struct Compact<'a> {
    pub(crate) header: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) signature: &'a str,
    /// Header, dot and payload.
    pub(crate) signing_input: &'a str,
}

impl<'a> Compact<'a> {
    /// Splits a token, or gives `None` where it has not exactly three segments.
    pub(crate) fn split(token: &'a str) -> Option<Self> {
        let (header, rest) = token.split_once('.')?;
        let (payload, signature) = rest.split_once('.')?;
        if signature.contains('.') {
            return None;
        }
        let signing_input = &token[..header.len() + 1 + payload.len()];
        Some(Self { header, payload, signature, signing_input })
    }
}

/// Decodes a segment as livekit-server does: line breaks are skipped, anything else that is not base64url is an error.
pub(crate) fn decode_segment(segment: &str) -> Option<Vec<u8>> {
    READ.decode(without_line_breaks(segment).as_bytes()).ok()
}

/// Decodes a segment in either alphabet, padded or not.
pub(crate) fn decode_segment_lenient(segment: &str) -> Option<Vec<u8>> {
    let segment = without_line_breaks(segment);
    if segment.contains(['+', '/']) {
        READ_LENIENT.decode(segment.replace('+', "-").replace('/', "_")).ok()
    } else {
        READ_LENIENT.decode(segment.as_bytes()).ok()
    }
}

fn without_line_breaks(segment: &str) -> Cow<'_, str> {
    if segment.contains(['\r', '\n']) { Cow::Owned(segment.replace(['\r', '\n'], "")) } else { Cow::Borrowed(segment) }
}

/// Invalid UTF-8 replaced, as `encoding/json` replaces it.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}
