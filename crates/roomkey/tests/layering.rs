//! Arrows between crates point down only, as ARCHITECTURE.md has it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on of ours, tests and examples apart.
const MAY_DEPEND_ON: [(&str, &[&str]); 10] = [
    ("roomkey-token", &[]),
    ("roomkey-source", &["roomkey-token"]),
    ("roomkey-signal", &[]),
    ("roomkey-rtc", &[]),
    ("roomkey-room", &["roomkey-signal", "roomkey-rtc"]),
    ("roomkey-session", &["roomkey-source", "roomkey-room"]),
    ("roomkey-dev-server", &["roomkey-token", "roomkey-signal", "roomkey-rtc"]),
    ("roomkey", &["roomkey-source", "roomkey-token", "roomkey-room", "roomkey-session"]),
    ("roomkey-cli", &["roomkey", "roomkey-dev-server", "roomkey-token"]),
    // Not published: it runs tests/interop.
    ("roomkey-interop", &["roomkey", "roomkey-room", "roomkey-rtc", "roomkey-signal"]),
];

/// What a crate may not depend on directly: a runtime or I/O in a core, a second JWT library. What they bring in turn, and
/// LiveKit's C++, is for deny.toml.
const BANNED: [(&str, &[&str]); 10] = [
    ("roomkey-token", &["tokio", "tracing", "jsonwebtoken", "livekit-protocol", "livekit-token"]),
    ("roomkey-source", &["ring", "livekit-token-source", "livekit-token"]),
    ("roomkey-signal", &["tokio", "tokio-tungstenite", "reqwest", "livekit-signaling"]),
    ("roomkey-rtc", &["tokio", "livekit-protocol", "str0m-aws-lc-rs"]),
    ("roomkey-room", &["str0m", "livekit", "libwebrtc", "webrtc-sys", "reqwest"]),
    ("roomkey-session", &["str0m", "livekit", "libwebrtc", "webrtc-sys", "reqwest"]),
    ("roomkey-dev-server", &["str0m", "livekit", "libwebrtc", "webrtc-sys"]),
    ("roomkey-cli", &["str0m", "livekit", "libwebrtc", "webrtc-sys"]),
    ("roomkey", &["livekit", "libwebrtc", "webrtc-sys"]),
    ("roomkey-interop", &["livekit", "libwebrtc", "webrtc-sys"]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there, since it runs this");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.into_iter().collect();
    let banned: BTreeMap<&str, &[&str]> = BANNED.into_iter().collect();
    let metadata = metadata();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the picture"));
        seen.insert(name);
        // An ordinary dependency has no kind.
        let all = package["dependencies"].as_array().expect("dependencies");
        for dependency in all.iter().filter(|dependency| dependency["kind"].is_null()) {
            let on = dependency["name"].as_str().expect("a name");
            assert!(!on.starts_with("roomkey") || allowed.contains(&on), "{name} depends on {on}");
            assert!(!banned[name].contains(&on), "{name} depends on {on}");
        }
    }
    assert_eq!(seen.len(), MAY_DEPEND_ON.len());
}
