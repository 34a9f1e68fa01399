//! The Rust of docs/from-the-livekit-docs.md is that of examples, so that it compiles and runs.

use std::fs;
use std::path::Path;

#[test]
fn each_snippet_is_in_the_example_that_it_names() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = fs::read_to_string(docs.join("from-the-livekit-docs.md")).expect("the page is there");
    let mut example = String::new();
    let mut named = "";
    let mut snippets = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("From [") {
            named = line.split(['(', ')']).nth(1).expect("a link to an example");
            example = code(fs::read_to_string(docs.join(named)).expect("an example is there").lines());
        }
        if line.starts_with("```") {
            assert_eq!(line, "```rust,ignore", "all code is Rust that is checked here");
            let snippet: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mut from = 0;
            for piece in snippet.split(|line| line.trim() == "// …") {
                let piece = code(piece.iter().copied());
                let at = example[from..].find(&piece).unwrap_or_else(|| panic!("{named} does not have:{piece}"));
                // Pieces may share a line.
                from += at + piece.len() - 1;
            }
            snippets += 1;
        }
    }
    assert!(snippets > 15, "{snippets} snippets");
}

/// The lines without their indentation and without empty ones, each between line breaks.
fn code<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    lines.fold("\n".to_owned(), |all, line| all + line + "\n")
}
