//! The line in which the user writes.

use ratatui::text::Span;

/// The longest line, in bytes: more is not typed but pasted by mistake.
const MOST: usize = 16 * 1024;

/// A text and the place in it where the next character goes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct InputLine {
    text: String,
    /// In bytes, between two characters.
    cursor: usize,
}

impl InputLine {
    pub(crate) fn insert(&mut self, char: char) {
        if !char.is_control() && self.text.len() < MOST {
            self.text.insert(self.cursor, char);
            self.cursor += char.len_utf8();
        }
    }

    pub(crate) fn delete_before(&mut self) {
        let end = self.cursor;
        self.move_left();
        self.text.replace_range(self.cursor..end, "");
    }

    pub(crate) fn delete_after(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    pub(crate) fn delete_word_before(&mut self) {
        let before = self.text[..self.cursor].trim_end();
        let start = before.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
    }

    pub(crate) fn delete_all_before(&mut self) {
        self.text.replace_range(..self.cursor, "");
        self.cursor = 0;
    }

    pub(crate) fn move_left(&mut self) {
        self.cursor -= self.text[..self.cursor].chars().next_back().map_or(0, char::len_utf8);
    }

    pub(crate) fn move_right(&mut self) {
        self.cursor += self.text[self.cursor..].chars().next().map_or(0, char::len_utf8);
    }

    pub(crate) fn move_to_start(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn move_to_end(&mut self) {
        self.cursor = self.text.len();
    }

    /// The text, of which nothing stays; `None` if it is blank.
    pub(crate) fn take(&mut self) -> Option<String> {
        let text = std::mem::take(self).text;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// What fits into `width` cells, the cursor included, and the column of the cursor in it.
    pub(crate) fn window(&self, width: usize) -> (&str, usize) {
        let mut start = self.cursor;
        let mut column = 0;
        for (at, char) in self.text[..self.cursor].char_indices().rev() {
            let wider = column + Span::raw(char.encode_utf8(&mut [0; 4]) as &str).width();
            if wider >= width {
                break;
            }
            (start, column) = (at, wider);
        }
        (&self.text[start..], column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> InputLine {
        let mut line = InputLine::default();
        text.chars().for_each(|char| line.insert(char));
        line
    }

    #[test]
    fn characters_go_where_the_cursor_is() {
        let mut line = typed("helo wörld");
        line.move_to_start();
        (0..3).for_each(|_| line.move_right());
        line.insert('l');
        line.move_to_end();
        line.move_left();
        line.delete_before();
        line.delete_after();
        assert_eq!(line.take().as_deref(), Some("hello wör"));
        assert_eq!(line.take(), None);
    }

    #[test]
    fn words_and_lines_go_at_once() {
        let mut line = typed("one two  ");
        line.delete_word_before();
        assert_eq!(line.text, "one ");
        line.delete_all_before();
        assert_eq!(line.text, "");
        line.delete_word_before();
        line.delete_before();
        line.delete_after();
        line.move_left();
        line.move_right();
        assert_eq!(line, InputLine::default());
    }

    #[test]
    fn what_does_not_fit_is_left_of_the_window() {
        let mut line = typed("日本語 abc");
        assert_eq!(line.window(20), ("日本語 abc", 10));
        assert_eq!(line.window(6), (" abc", 4));
        line.move_to_start();
        assert_eq!(line.window(6), ("日本語 abc", 0));
    }

    #[test]
    fn control_characters_are_not_typed() {
        assert_eq!(typed("a\u{1b}\n\tb").take().as_deref(), Some("ab"));
    }
}
