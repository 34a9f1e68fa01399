//! A line to stdout.

use std::io::Write as _;

use serde_json::Value;

/// Says one thing. Lines of several tasks don't mingle.
pub(crate) fn say(line: &Value) {
    let mut stdout = std::io::stdout().lock();
    // Whoever has closed it reads nothing any more.
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).ok();
}
