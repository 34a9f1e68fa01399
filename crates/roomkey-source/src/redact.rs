//! Keeping tokens out of what strangers' errors say.

use std::error::Error;
use std::fmt;

/// The text of an error and of its causes, with everything cut out that looks like a JWT.
pub(crate) struct Redacted<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0.to_string()))?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            f.write_str(": ")?;
            f.write_str(&redact(&cause.to_string()))?;
            next = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// A text with everything cut out that looks like a JWT: what begins with the base64url of `{"`, as far as it goes.
pub(crate) fn redact(text: &str) -> String {
    const START: &str = "eyJ";
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        redacted.push_str(&rest[..at]);
        let token = &rest[at..];
        let end = token
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/' | '=')))
            .unwrap_or(token.len());
        redacted.push_str(if end > START.len() { "[redacted]" } else { &token[..end] });
        rest = &token[end..];
    }
    redacted.push_str(rest);
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_is_cut_out_and_the_rest_stays() {
        let shown = |text: &str| Redacted(&*Box::<dyn Error>::from(text)).to_string();
        assert_eq!(shown("no token here"), "no token here");
        assert_eq!(shown("got eyJhbGciOiJ9.eyJzdWI.c2ln, twice eyJ.x"), "got [redacted], twice [redacted]");
        assert_eq!(shown("https://x/?access_token=eyJh.b-_.c&x=1"), "https://x/?access_token=[redacted]&x=1");
        assert_eq!(shown("only eyJ alone"), "only eyJ alone");
        assert_eq!(shown("é eyJaé"), "é [redacted]é");
    }
}
