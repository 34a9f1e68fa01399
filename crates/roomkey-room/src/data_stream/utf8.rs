//! Text out of bytes that come in pieces.

use super::error::StreamError;

/// Decodes UTF-8 whose characters may be split between pieces.
#[derive(Debug, Default)]
pub(crate) struct Utf8Decoder {
    /// The beginning of a character, three bytes at most.
    unfinished: Vec<u8>,
}

impl Utf8Decoder {
    /// The text as far as it is complete, and an error if what follows cannot be UTF-8.
    pub(crate) fn decode(&mut self, piece: Vec<u8>) -> (String, Result<(), StreamError>) {
        let bytes = if self.unfinished.is_empty() {
            piece
        } else {
            let mut bytes = std::mem::take(&mut self.unfinished);
            bytes.extend_from_slice(&piece);
            bytes
        };
        let error = match String::from_utf8(bytes) {
            Ok(text) => return (text, Ok(())),
            Err(error) => error,
        };
        let (complete, is_invalid) = (error.utf8_error().valid_up_to(), error.utf8_error().error_len().is_some());
        let mut bytes = error.into_bytes();
        let rest = bytes.split_off(complete);
        let text = String::from_utf8(bytes).expect("as many bytes as are valid");
        if is_invalid {
            return (text, Err(StreamError::InvalidUtf8));
        }
        self.unfinished = rest;
        (text, Ok(()))
    }

    /// Whether no character is unfinished.
    pub(crate) fn is_complete(&self) -> bool {
        self.unfinished.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_survive_every_split() {
        let text = "aß€😀".repeat(3);
        for at in 0..=text.len() {
            for width in 1..=4 {
                let mut decoder = Utf8Decoder::default();
                let mut decoded = String::new();
                let (head, tail) = text.as_bytes().split_at(at);
                for piece in head.chunks(width).chain(tail.chunks(width)) {
                    let (piece, result) = decoder.decode(piece.to_vec());
                    assert_eq!(result, Ok(()));
                    decoded.push_str(&piece);
                }
                assert!(decoder.is_complete());
                assert_eq!(decoded, text);
            }
        }
    }

    #[test]
    fn text_before_an_invalid_byte_is_kept() {
        let mut decoder = Utf8Decoder::default();
        assert_eq!(decoder.decode(vec![b'a', 0xe2]), ("a".to_owned(), Ok(())));
        assert!(!decoder.is_complete());
        assert_eq!(decoder.decode(vec![0x82, 0xac, b'b', 0xff]), ("€b".to_owned(), Err(StreamError::InvalidUtf8)));
    }
}
