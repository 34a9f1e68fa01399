//! Text in lines of a width.

use ratatui::style::Style;
use ratatui::text::Span;

/// The lines of a text, none wider than `width` cells: broken between words where there are any, within a word that is wider
/// than a line. What has no width of its own stays with what it follows.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2);
    text.split('\n').flat_map(|line| wrap_line(line, width)).collect()
}

fn wrap_line(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut line_width = 0;
    // Where the last space is, and how wide the line is up to it.
    let mut space: Option<(usize, usize)> = None;
    let span = Span::raw(text);
    for grapheme in span.styled_graphemes(Style::new()) {
        let symbol = bounded(grapheme.symbol);
        let symbol_width = Span::raw(symbol).width();
        if symbol == " " && line_width >= width {
            lines.push(std::mem::take(&mut line));
            (line_width, space) = (0, None);
            continue;
        }
        // What follows the last space may be too wide still.
        while line_width > 0 && line_width + symbol_width > width {
            if let Some((at, width_there)) = space.take() {
                let rest = line.split_off(at + 1);
                line.truncate(at);
                lines.push(std::mem::replace(&mut line, rest));
                line_width -= width_there + 1;
            } else {
                lines.push(std::mem::take(&mut line));
                line_width = 0;
            }
        }
        if symbol == " " {
            space = Some((line.len(), line_width));
        }
        line.push_str(symbol);
        line_width += symbol_width;
    }
    lines.push(line);
    lines
}

/// A character with as many marks on it as a script needs, and not the hundreds that would run over other lines.
fn bounded(symbol: &str) -> &str {
    const MOST: usize = 8;
    symbol.char_indices().nth(MOST).map_or(symbol, |(end, _)| &symbol[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_within_long_ones() {
        assert_eq!(wrap("to be or not", 6), ["to be", "or not"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("one\n\ntwo", 8), ["one", "", "two"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(wrap("日本語です", 4), ["日本", "語で", "す"]);
    }

    #[test]
    fn no_line_is_wider_than_asked_and_no_word_is_lost() {
        let mut chance = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let text: String = (0..chance.usize(..80))
                .map(|_| *chance.choice(&['a', 'b', ' ', '日', 'e', '\u{301}', '🎉']).expect("there are some"))
                .collect();
            let width = chance.usize(2..20);
            let lines = wrap(&text, width);
            assert!(lines.iter().all(|line| Span::raw(line).width() <= width), "{lines:?}");
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters(&text), "{text:?} at {width}");
        }
    }

    #[test]
    fn a_tower_of_marks_is_cut() {
        let tower = format!("a{}", "\u{301}".repeat(500));
        assert!(wrap(&tower, 8).concat().chars().count() <= 8);
    }
}
