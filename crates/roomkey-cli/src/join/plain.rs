//! What peers say, without what would move a terminal's cursor or turn its text around.

/// A stranger's text as one line.
pub(crate) fn line(text: &str) -> String {
    text.chars().filter_map(shown).collect()
}

/// A stranger's text with its line breaks.
pub(crate) fn text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    // Of CR LF, the second alone breaks the line.
    for char in text.replace("\r\n", "\n").chars() {
        plain.extend(if char == '\n' { Some(char) } else { shown(char) });
    }
    plain
}

/// What stands for a character; nothing for those whose width terminals do not agree on.
fn shown(char: char) -> Option<char> {
    match char {
        '\t' => Some(' '),
        char if char.is_control() => Some('\u{fffd}'),
        // Line and paragraph separators; marks, embeddings, overrides and isolates of direction.
        '\u{2028}'
        | '\u{2029}'
        | '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{206f}' => Some('\u{fffd}'),
        // Invisible joiners, variation selectors, annotations and tags.
        '\u{00ad}'
        | '\u{200b}'
        | '\u{200d}'
        | '\u{2060}'..='\u{2065}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => None,
        char => Some(char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_peer_says_moves_the_cursor() {
        let hostile = "a\u{1b}[2Jb\rc\u{9b}1md\u{7}e\u{202e}f\u{2067}g\u{200b}h";
        assert_eq!(line(hostile), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}1md\u{fffd}e\u{fffd}f\u{fffd}gh");
        assert_eq!(line("one\ntwo\tthree"), "one\u{fffd}two three");
        for char in '\0'..=char::MAX {
            let shown = line(&char.to_string());
            assert!(!shown.contains(char::is_control), "{char:?}");
        }
    }

    #[test]
    fn lines_stay_lines_in_a_text() {
        assert_eq!(text("one\r\ntwo\nthr\u{1b}ee"), "one\ntwo\nthr\u{fffd}ee");
    }
}
