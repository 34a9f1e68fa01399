//! What a stream carries, on its way from chunks to an application.

use super::error::StreamError;
use super::inflate::Inflater;
use super::utf8::Utf8Decoder;

/// A piece of a stream's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Whole characters.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Makes contents of the bytes of chunks: decompresses, counts, decodes.
#[derive(Debug)]
pub(crate) struct ContentDecoder {
    inflater: Option<Inflater>,
    utf8: Option<Utf8Decoder>,
    received: u64,
    total_length: Option<u64>,
}

impl ContentDecoder {
    /// One for text or bytes, with the length that was announced, and compressed if there is an inflater.
    pub(crate) fn new(is_text: bool, total_length: Option<u64>, inflater: Option<Inflater>) -> Self {
        Self { inflater, utf8: is_text.then(Utf8Decoder::default), received: 0, total_length }
    }

    /// The contents in this piece, as far as they are complete, and an error if the stream cannot go on.
    pub(crate) fn decode(&mut self, piece: Vec<u8>) -> (Option<Content>, Result<(), StreamError>) {
        let length_left = self.total_length.map(|total| total - self.received);
        let bytes = match &mut self.inflater {
            Some(inflater) => match inflater.inflate(&piece, length_left) {
                Ok(bytes) => bytes,
                Err(error) => return (None, Err(error)),
            },
            None => piece,
        };
        if let Some(total_length) = self.total_length
            && length_left.is_some_and(|left| bytes.len() as u64 > left)
        {
            return (None, Err(StreamError::LengthExceeded { total_length }));
        }
        self.received = self.received.saturating_add(bytes.len() as u64);
        let (content, result) = match &mut self.utf8 {
            Some(utf8) => {
                let (text, result) = utf8.decode(bytes);
                ((!text.is_empty()).then_some(Content::Text(text)), result)
            }
            None => ((!bytes.is_empty()).then_some(Content::Bytes(bytes)), Ok(())),
        };
        (content, result)
    }

    /// Whether the contents say themselves where they end.
    pub(crate) fn knows_end(&self) -> bool {
        self.total_length.is_some() || self.inflater.is_some()
    }

    /// Whether the contents are complete, when nothing more comes.
    pub(crate) fn finish(&self) -> Result<(), StreamError> {
        let is_complete = match (self.total_length, &self.inflater) {
            (Some(total), _) => self.received == total,
            (None, Some(inflater)) => inflater.has_ended(),
            (None, None) => true,
        };
        if !is_complete {
            return Err(StreamError::Incomplete { received: self.received, total_length: self.total_length });
        }
        if self.utf8.as_ref().is_some_and(|utf8| !utf8.is_complete()) {
            return Err(StreamError::InvalidUtf8);
        }
        Ok(())
    }
}
