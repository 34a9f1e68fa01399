# What to run; `just` alone lists it. `just` is in the Python wheel rust-just.

set shell := ["bash", "-euo", "pipefail", "-c"]

_default:
    @just --list --unsorted

# Everything that CI checks but the tests: format, lints, docs; and dependencies where cargo-deny is installed.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --document-private-items
    @if cargo deny --version >/dev/null 2>&1; then just deny; else echo "cargo-deny is not installed: just deny-install"; fi

# All tests, doc tests and committed seeds; on Linux with ALSA (libasound2-dev and pkg-config), for the feature `cpal`.
test:
    cargo test --workspace --all-features

# Real peers: LiveKit's own SDKs, as the lock files have them. Needs node, npm, python3, Go and Chromium.
interop: interop-build
    tests/interop/setup all
    ROOMKEY_PYTHON=target/interop/python/bin/python target/debug/roomkey-interop
    target/debug/rooms --roomkey target/debug/roomkey
    target/debug/pion

# The rows of rooms against any server: `just interop-server ws://127.0.0.1:7880 devkey secret`.
interop-server URL KEY SECRET *ARGS: interop-build
    tests/interop/setup all
    target/debug/rooms --url {{URL}} --key {{KEY}} --secret {{SECRET}} {{ARGS}}

[private]
interop-build:
    cargo build --quiet --workspace --all-features --bins

# Benchmarks, each beside a peer in the same run; prints the ratios. docs/benchmarks.md has what we saw.
bench *ARGS: release
    cargo bench -p roomkey --all-features --bench token --bench source -- {{ARGS}}
    tests/interop/setup
    target/release/client measure --roomkey target/release/roomkey --python target/interop/python/bin/python

# Our client beside Python's against any server: `just client --url ws://127.0.0.1:7880 --key devkey --secret secret`.
client *ARGS: release
    tests/interop/setup
    target/release/client measure --python target/interop/python/bin/python {{ARGS}}

# Joins, leaves, lost and cut connections for a while; says if data came twice, not at all or out of order, or memory grew.
# Then sessions that start, talk, break off and end for as long; says if tasks, sockets or memory are left.
soak MINUTES="10" SEED="1": release
    target/release/load soak --roomkey target/release/roomkey --minutes {{MINUTES}} --seed {{SEED}}
    target/release/client soak --roomkey target/release/roomkey --minutes {{MINUTES}} --seed {{SEED}}

# Audio forwarded, joins and idle rooms of roomkey dev, in numbers; `--url URL --pid PID` puts another server beside it.
load *ARGS: release
    target/release/load audio --roomkey target/release/roomkey {{ARGS}}
    target/release/load join --roomkey target/release/roomkey {{ARGS}}
    target/release/load idle --roomkey target/release/roomkey

[private]
release:
    cargo build --quiet --release -p roomkey-interop -p roomkey-cli

# Put right what can be put right by a tool.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --all-features --fix --allow-dirty --allow-staged

# Bans, licences, sources.
deny:
    cargo deny check bans licenses sources

deny-install:
    cargo install cargo-deny@0.20.2 --locked

# Each feature alone and together; `cpal` needs ALSA on Linux.
matrix:
    cargo check -p roomkey --no-default-features
    cargo check -p roomkey --no-default-features --features token
    cargo check -p roomkey --no-default-features --features source
    cargo clippy -p roomkey-source --no-default-features --all-targets -- -D warnings
    cargo check -p roomkey --no-default-features --features room
    cargo check -p roomkey --no-default-features --features session
    cargo check -p roomkey --no-default-features --features sonora
    cargo check -p roomkey --no-default-features --features cpal
    cargo check -p roomkey --no-default-features --features vp8-keyframes
    cargo check -p roomkey --no-default-features --features minter
    cargo check -p roomkey --no-default-features --features blocking
    cargo check -p roomkey --no-default-features --features metrics
    cargo check -p roomkey --no-default-features --features file-store
    cargo check -p roomkey --no-default-features --features keychain
    cargo check -p roomkey --all-features

# What each published crate would be made of; a licence is part of it.
package:
    for crate in roomkey-token roomkey-source roomkey-signal roomkey-rtc roomkey-room roomkey-session roomkey-dev-server roomkey-cli roomkey; do \
        cargo package --list --quiet --allow-dirty -p $crate | tee /dev/stderr | grep -c '^LICENSE-' | grep -qx 2; \
    done

# A longer run of the seeded mutations of what strangers send: tokens, signalling, descriptions, datagrams.
fuzz MUTATIONS="2000000":
    ROOMKEY_MUTATIONS={{MUTATIONS}} cargo test --release -p roomkey-token -p roomkey-signal --test mutation
    ROOMKEY_MUTATIONS=$(({{MUTATIONS}} / 1000)) cargo test --release -p roomkey-rtc --test peer_connection mutation::
