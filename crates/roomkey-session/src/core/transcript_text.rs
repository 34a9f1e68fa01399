//! The text of a stream, put together from its chunks.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::error::ReceiveError;
use crate::message::TimedSpan;

/// Takes chunks as they come, cut anywhere, and knows the text so far.
///
/// Agents can send transcripts as lines of JSON, each a word with its times. Nothing says so but the text itself: it is
/// taken for that if its first line is an object with `text` and nothing that such a line does not have.
pub(crate) struct TranscriptText {
    limit: usize,
    partial: Vec<u8>,
    form: Form,
    text: String,
    spans: Vec<TimedSpan>,
}

enum Form {
    /// What has come is the beginning of a line that may be JSON.
    Undecided(String),
    Plain,
    Lines(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimedString {
    text: String,
    start_time: Option<f64>,
    end_time: Option<f64>,
    confidence: Option<f64>,
    start_time_offset: Option<f64>,
    #[serde(rename = "speaker_id")]
    _speaker_id: Option<String>,
}

impl TranscriptText {
    /// `limit` is the most of text that is taken, in bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            partial: Vec::new(),
            form: Form::Undecided(String::new()),
            text: String::new(),
            spans: Vec::new(),
        }
    }

    /// Text of any form, not looked into.
    pub(crate) fn plain(limit: usize) -> Self {
        Self { form: Form::Plain, ..Self::new(limit) }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn spans(&self) -> &[TimedSpan] {
        &self.spans
    }

    /// Adds a chunk.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), ReceiveError> {
        let held = match &self.form {
            Form::Undecided(line) | Form::Lines(line) => line.len(),
            Form::Plain => 0,
        };
        if self.text.len() + held + self.partial.len() + chunk.len() > self.limit {
            return Err(ReceiveError::TooLong);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(chunk);
        let valid = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_some() => return Err(ReceiveError::InvalidText),
            Err(error) => error.valid_up_to(),
        };
        self.partial = bytes.split_off(valid);
        let decoded = String::from_utf8(bytes).map_err(|_| ReceiveError::InvalidText)?;
        self.take(&decoded);
        Ok(())
    }

    /// There are no more chunks.
    pub(crate) fn finish(&mut self) -> Result<(), ReceiveError> {
        match std::mem::replace(&mut self.form, Form::Plain) {
            Form::Undecided(line) => match serde_json::from_str(&line) {
                Ok(timed) => self.add(timed),
                Err(_) => self.text.push_str(&line),
            },
            Form::Lines(line) => self.add_line(&line),
            Form::Plain => {}
        }
        if self.partial.is_empty() { Ok(()) } else { Err(ReceiveError::InvalidText) }
    }

    fn take(&mut self, decoded: &str) {
        match &mut self.form {
            Form::Plain => self.text.push_str(decoded),
            Form::Lines(line) => {
                line.push_str(decoded);
                self.take_lines();
            }
            Form::Undecided(line) => {
                line.push_str(decoded);
                if line.is_empty() || line.starts_with('{') && !line.contains('\n') {
                    return;
                }
                let line = std::mem::take(line);
                let first = line.split('\n').next().unwrap_or_default();
                if first.starts_with('{') && serde_json::from_str::<TimedString>(first).is_ok() {
                    self.form = Form::Lines(line);
                    self.take_lines();
                } else {
                    self.form = Form::Plain;
                    self.text.push_str(&line);
                }
            }
        }
    }

    fn take_lines(&mut self) {
        let Form::Lines(held) = &mut self.form else { return };
        let Some(end) = held.rfind('\n') else { return };
        let rest = held.split_off(end + 1);
        let lines = std::mem::replace(held, rest);
        for line in lines.lines() {
            self.add_line(line);
        }
    }

    /// A line that is not what the first one was is left out.
    fn add_line(&mut self, line: &str) {
        if let Ok(timed) = serde_json::from_str(line) {
            self.add(timed);
        }
    }

    fn add(&mut self, timed: TimedString) {
        let offset = timed.start_time_offset.unwrap_or_default();
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds + offset).ok();
        self.text.push_str(&timed.text);
        self.spans.push(TimedSpan {
            text: Arc::from(timed.text),
            start: timed.start_time.and_then(time),
            end: timed.end_time.and_then(time),
            confidence: timed.confidence,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> (String, usize) {
        let mut text = TranscriptText::new(1_000);
        for chunk in chunks {
            text.push(chunk).unwrap();
        }
        text.finish().unwrap();
        (text.text().to_owned(), text.spans().len())
    }

    #[test]
    fn json_lines_are_found_wherever_the_chunks_are_cut() {
        let whole =
            b"{\"text\":\"Hello \",\"start_time\":0.5}\n{\"text\":\"world\",\"end_time\":1.5,\"confidence\":null}\n";
        for cut in 0..whole.len() {
            let (first, second) = whole.split_at(cut);
            assert_eq!(read(&[first, second]), ("Hello world".to_owned(), 2), "cut at {cut}");
        }
    }

    #[test]
    fn text_that_only_looks_like_json_stays_as_it_is() {
        for text in
            ["{", "{}", "{\"text\":1}", "{\"text\":\"a\",\"other\":1}", "{\"a\":\n1}", " {\"text\":\"a\"}", "[1]"]
        {
            assert_eq!(read(&[text.as_bytes()]), (text.to_owned(), 0));
        }
    }

    #[test]
    fn a_line_that_is_not_like_the_first_is_left_out() {
        assert_eq!(read(&[b"{\"text\":\"a\"}\nnonsense\n{\"text\":\"b\"}"]), ("ab".to_owned(), 2));
    }

    #[test]
    fn text_that_is_not_utf_8_is_an_error_and_what_came_before_stays() {
        let mut text = TranscriptText::new(100);
        text.push(b"fine").unwrap();
        assert_eq!(text.push(b"\xff"), Err(ReceiveError::InvalidText));
        assert_eq!(text.text(), "fine");

        let mut text = TranscriptText::new(100);
        text.push("caf\u{e9}".as_bytes().split_last().unwrap().1).unwrap();
        assert_eq!(text.finish(), Err(ReceiveError::InvalidText));
    }

    #[test]
    fn text_is_taken_up_to_the_limit() {
        let mut text = TranscriptText::new(4);
        assert_eq!(text.push(b"1234"), Ok(()));
        assert_eq!(text.push(b"5"), Err(ReceiveError::TooLong));
        let mut line = TranscriptText::new(4);
        assert_eq!(line.push(b"{{{{"), Ok(()));
        assert_eq!(line.push(b"{"), Err(ReceiveError::TooLong));
    }
}
