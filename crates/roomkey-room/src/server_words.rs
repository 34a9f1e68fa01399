//! What a server says in the body of an answer that refuses, made fit to be shown.

use std::collections::HashSet;
use std::sync::Arc;

use roomkey_signal::ParticipantToken;

/// What is kept of it.
pub(crate) const MAX_WORDS: usize = 1_024;
/// What is looked at of a body. More than is kept: a page of HTML has its title after other things.
pub(crate) const MAX_BODY: usize = 8 * 1_024;
/// So much of a token says nothing yet; what agrees with it for longer is of it.
const PIECE: usize = 12;
/// In the place of a token.
const REDACTED: &str = "…";

/// The words of a body, in one line, without control characters and without the token or a piece of it; `None` if there are
/// none. Of a page of HTML, which is a proxy's rather than LiveKit's, the title.
pub(crate) fn read(body: &[u8], token: &ParticipantToken) -> Option<Arc<str>> {
    let body = &body[..body.len().min(MAX_BODY)];
    let text = redact(&String::from_utf8_lossy(body), token.as_str());
    let text = if text.trim_start().starts_with('<') { title(&text)? } else { &text };
    let mut words = String::new();
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control() || is_direction(letter)) {
        if !word.is_empty() && words.len() < MAX_WORDS {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
    }
    words.truncate(words.floor_char_boundary(MAX_WORDS));
    (!words.is_empty()).then(|| words.into())
}

/// What turns the text after it round, on a terminal.
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn title(page: &str) -> Option<&str> {
    // In ASCII, so that places are the same in both.
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let begin = begin + lower[begin..].find('>')? + 1;
    let end = begin + lower[begin..].find("</title")?;
    Some(&page[begin..end])
}

/// Without the token, where it stands whole, and without what agrees with it for [`PIECE`] bytes or more: a server may give
/// back a part of it, or the end of a body may cut it.
fn redact(text: &str, token: &str) -> String {
    if token.is_empty() {
        return text.to_owned();
    }
    let length = token.len().min(PIECE);
    let pieces: HashSet<&[u8]> = token.as_bytes().windows(length).collect();
    let mut is_secret = vec![false; text.len()];
    for (at, window) in text.as_bytes().windows(length).enumerate() {
        if pieces.contains(window) {
            is_secret[at..at + length].fill(true);
        }
    }
    let mut redacted = String::with_capacity(text.len());
    let mut was_secret = false;
    for (at, letter) in text.char_indices() {
        let is_secret = is_secret[at..at + letter.len_utf8()].contains(&true);
        if !is_secret {
            redacted.push(letter);
        } else if !was_secret {
            redacted.push_str(REDACTED);
        }
        was_secret = is_secret;
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> String {
        let token = ParticipantToken::new("eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl-_aaaaaaa");
        read(body.as_bytes(), &token).map(|words| words.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_livekit_says_is_kept_in_one_line() {
        let expired = "invalid authorization token: token has invalid claims: token is expired";
        assert_eq!(words(&format!("{expired}\r\n")), expired);
        assert_eq!(words("404 page not found\n"), "404 page not found");
        assert_eq!(words(" \n\t "), "");
        assert_eq!(words("one\u{1b}[2Jtwo\u{202e}three\0four"), "one [2Jtwo three four");
        assert_eq!(read(b"caf\xff", &ParticipantToken::new("")).as_deref(), Some("caf\u{fffd}"));
    }

    #[test]
    fn a_token_in_it_is_taken_out_whole_in_parts_and_where_the_end_cuts_it() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl-_aaaaaaa";
        assert_eq!(words(&format!("bad token {token}, bad")), "bad token …, bad");
        assert_eq!(words(&format!("{token}{token}")), "…");
        assert_eq!(words("who signed c2lnbmF0dXJl-_ so?"), "who signed … so?");
        for cut in PIECE..token.len() {
            assert_eq!(words(&format!("{}{token}", " ".repeat(MAX_BODY - cut))), "…");
        }
        // Also one that is as short as no token of LiveKit's is.
        let read = |body: &str| read(body.as_bytes(), &ParticipantToken::new("secret")).unwrap();
        assert_eq!(&*read("a secret, a sec"), "a …, a sec");
    }

    #[test]
    fn of_an_endless_body_so_much_is_kept() {
        assert_eq!(words(&"é".repeat(100_000)), "é".repeat(MAX_WORDS / 2));
        assert_eq!(words(&"word ".repeat(100_000)).len(), MAX_WORDS);
        assert_eq!(words(&"€".repeat(100_000)).len(), MAX_WORDS / 3 * 3);
    }

    #[test]
    fn a_page_is_told_by_its_title() {
        let page = "\n<!DOCTYPE html><HTML><head><script>x</script><Title id=\"é\">502 Bad\n Gateway</tiTle></head><body>nginx";
        assert_eq!(words(page), "502 Bad Gateway");
        for page in ["<html><body>no title", "<title>no end", "<title", "<", "<title></title>"] {
            assert_eq!(words(page), "", "{page}");
        }
    }
}
