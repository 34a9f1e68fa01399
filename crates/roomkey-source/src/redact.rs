//! Keeping tokens out of what strangers' errors say.

use std::error::Error;
use std::fmt;

/// The text of an error and of its causes, with everything cut out that looks like a JWT.
pub(crate) struct Redacted<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_redacted(f, &self.0.to_string())?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            f.write_str(": ")?;
            write_redacted(f, &cause.to_string())?;
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

/// A JWT starts with the base64url of `{"`; what follows it in the alphabet of a compact token is cut.
fn write_redacted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    const START: &str = "eyJ";
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        f.write_str(&rest[..at])?;
        let token = &rest[at..];
        let end = token
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/' | '=')))
            .unwrap_or(token.len());
        if end > START.len() {
            f.write_str("[redacted]")?;
        } else {
            f.write_str(&token[..end])?;
        }
        rest = &token[end..];
    }
    f.write_str(rest)
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
