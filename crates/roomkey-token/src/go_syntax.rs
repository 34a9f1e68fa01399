//! Where Go's JSON scanner is stricter than serde_json is about what it skips.

/// The deepest nesting that `encoding/json` reads (`maxNestingDepth`).
const MAX_DEPTH: usize = 10_000;

/// Whether Go's scanner refuses a JSON text that serde_json may skip through: a control character inside a string, or
/// nesting deeper than [`MAX_DEPTH`]. A text that is not JSON at all is for serde_json to refuse.
pub(crate) fn is_refused(text: &str) -> bool {
    // Nearly no token has either, and telling so is cheap: without a way out half-way, the loop compares many bytes at once.
    let suspicious = text.len() > MAX_DEPTH || text.bytes().fold(false, |found, byte| found | (byte < b' '));
    suspicious && scan(text)
}

fn scan(text: &str) -> bool {
    let (mut in_string, mut escaped, mut depth) = (false, false, 0usize);
    for byte in text.bytes() {
        if in_string {
            match byte {
                ..b' ' => return true,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused_inside_strings_only() {
        assert!(!is_refused("{\n\t\"a\": \"b\\n\\\"\"\r\n}"));
        for text in ["{\"a\u{0}\":1}", "{\"a\":\"\t\"}", "{\"a\\\\\":\"\n\"}", "{\"a\":\"\\\u{1}\"}"] {
            assert!(is_refused(text), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_refused_beyond_the_depth_that_go_reads() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_refused(&nested(MAX_DEPTH)));
        assert!(is_refused(&nested(MAX_DEPTH + 1)));
        assert!(!is_refused(&format!("\"{}\"", "[".repeat(MAX_DEPTH + 1))));
    }
}
