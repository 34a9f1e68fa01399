//! The compact form of a JWT: three base64url segments with dots between (RFC 7515, section 3.1).

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

/// The engine that uses the machine's vector instructions, where the crate has one.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type UrlSafe = base64::engine::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type UrlSafe = base64::engine::GeneralPurpose;

fn url_safe(padding: DecodePaddingMode) -> UrlSafe {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(padding)
        // Bits left over in the last character count for nothing, as in Go.
        .with_decode_allow_trailing_bits(true);
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return UrlSafe::url_safe(config);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return UrlSafe::new(&base64::alphabet::URL_SAFE, config);
}

/// What is written, and what livekit-server reads (Go's `RawURLEncoding`): no padding.
static STRICT: LazyLock<UrlSafe> = LazyLock::new(|| url_safe(DecodePaddingMode::RequireNone));

/// What is read from a token that nobody verifies: padding as well.
static LENIENT: LazyLock<UrlSafe> = LazyLock::new(|| url_safe(DecodePaddingMode::Indifferent));

/// Writes the base64url of `bytes` to the start of `to`, and says how long it is.
pub(crate) fn encode_segment(bytes: &[u8], to: &mut [u8]) -> usize {
    STRICT.encode_slice(bytes, to).expect("four characters for each three bytes are room enough")
}

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
        let mut dots = memchr::memchr_iter(b'.', token.as_bytes());
        let (first, second) = (dots.next()?, dots.next()?);
        if dots.next().is_some() {
            return None;
        }
        Some(Self {
            header: &token[..first],
            payload: &token[first + 1..second],
            signature: &token[second + 1..],
            signing_input: &token[..second],
        })
    }
}

/// Decodes a segment as livekit-server does: line breaks are skipped, anything else that is not base64url is an error.
pub(crate) fn decode_segment(segment: &str) -> Option<Vec<u8>> {
    STRICT.decode(segment).ok().or_else(|| STRICT.decode(without_line_breaks(segment)?).ok())
}

/// Decodes a segment in either alphabet, padded or not.
pub(crate) fn decode_segment_lenient(segment: &str) -> Option<Vec<u8>> {
    LENIENT.decode(segment).ok().or_else(|| {
        let segment = without_line_breaks(segment).unwrap_or_else(|| segment.to_owned());
        LENIENT.decode(segment.replace('+', "-").replace('/', "_")).ok()
    })
}

/// A segment without the line breaks that are in it, if any are.
fn without_line_breaks(segment: &str) -> Option<String> {
    segment.contains(['\r', '\n']).then(|| segment.replace(['\r', '\n'], ""))
}

/// Invalid UTF-8 replaced, as `encoding/json` replaces it.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}
