//! Two peers in one room, and what each has to see of the other.

use std::time::Duration;

use roomkey::BoxError;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::path::Path;
use crate::peer::{Peer, Sdk};
use crate::server::Server;

pub(crate) type Outcome = Result<(), BoxError>;

/// What two peers do with each other, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Connect,
    ReliableData,
    LossyData,
    TextStream,
    ByteStream,
    Rpc,
    Attributes,
    Microphone,
    Mute,
    Camera,
    Layers,
    ResumeFirst,
    ResumeSecond,
    DuplicateIdentity,
    Leave,
}

impl Check {
    pub(crate) const ALL: [Self; 15] = [
        Self::Connect,
        Self::ReliableData,
        Self::LossyData,
        Self::TextStream,
        Self::ByteStream,
        Self::Rpc,
        Self::Attributes,
        Self::Microphone,
        Self::Mute,
        Self::Camera,
        Self::Layers,
        Self::ResumeFirst,
        Self::ResumeSecond,
        Self::DuplicateIdentity,
        Self::Leave,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect, each sees the other",
            Self::ReliableData => "reliable data",
            Self::LossyData => "lossy data",
            Self::TextStream => "text streams, short and long",
            Self::ByteStream => "byte stream of 50,000 bytes",
            Self::Rpc => "RPC, answered and refused",
            Self::Attributes => "attributes and metadata",
            Self::Microphone => "microphone is heard",
            Self::Mute => "mute and unmute",
            Self::Camera => "simulcast camera is seen",
            Self::Layers => "simulcast layer follows the subscriber",
            Self::ResumeFirst => "first resumes after a cut; no data lost or doubled",
            Self::ResumeSecond => "second resumes after a cut; no data lost or doubled",
            Self::DuplicateIdentity => "a second join with the first's identity ends it",
            Self::Leave => "leaving is seen",
        }
    }
}

/// What each of a pair makes the keys of end-to-end encryption of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) first: &'static str,
    pub(crate) second: &'static str,
    /// Whether they are random bytes, rather than passphrases.
    pub(crate) raw: bool,
}

/// The peers, connected by the first check.
pub(crate) struct Pair<'a> {
    server: &'a Server,
    room: String,
    sdks: (Sdk, Sdk),
    paths: (Path, Path),
    keys: Option<Keys>,
    first: Peer,
    second: Peer,
}

impl<'a> Pair<'a> {
    /// Encrypted from end to end, if there are keys.
    pub(crate) async fn start(
        server: &'a Server,
        room: &str,
        sdks: (Sdk, Sdk),
        keys: Option<Keys>,
    ) -> Result<Self, BoxError> {
        let paths = (Path::to(&server.url).await?, Path::to(&server.url).await?);
        let (first, second) = tokio::try_join!(
            Peer::start(sdks.0, "first", server.transport),
            Peer::start(sdks.1, "second", server.transport)
        )?;
        Ok(Self { server, room: room.to_owned(), sdks, paths, keys, first, second })
    }

    /// Whether the peers can do this at all; what they can't is no row.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others need no camera")]
    pub(crate) fn can(sdks: (Sdk, Sdk), check: Check) -> bool {
        match check {
            Check::Camera => sdks.0.has_camera() || sdks.1.has_camera(),
            Check::Layers => sdks.0.has_camera(),
            _ => true,
        }
    }

    pub(crate) async fn run(&mut self, check: Check) -> Outcome {
        let both = [(&self.first, &self.second), (&self.second, &self.first)];
        match check {
            Check::Connect => self.connect().await?,
            Check::ReliableData => {
                for (from, to) in both {
                    data(from, to, true).await?;
                }
            }
            Check::LossyData => {
                for (from, to) in both {
                    data(from, to, false).await?;
                }
            }
            Check::TextStream => {
                for (from, to) in both {
                    text(from, to).await?;
                }
            }
            Check::ByteStream => {
                for (from, to) in both {
                    from.does("bytes", json!({"size": 50_000})).await?;
                    to.sees("bytes", |it| it["size"] == 50_000 && it["intact"] == true && it["who"] == from.identity)
                        .await?;
                }
            }
            Check::Rpc => {
                for (from, to) in both {
                    rpc(from, to).await?;
                }
            }
            Check::Attributes => {
                for (from, to) in both {
                    from.does("describe", json!({"attributes": {"lang": "de"}, "metadata": "described"})).await?;
                    to.sees("attributes", |it| it["who"] == from.identity && it["changed"]["lang"] == "de").await?;
                    to.sees("metadata", |it| it["who"] == from.identity && it["metadata"] == "described").await?;
                }
            }
            Check::Microphone => {
                for (from, to) in both {
                    from.does("microphone", json!({})).await?;
                    to.sees("subscribed", |it| it["who"] == from.identity && it["source"] == "microphone").await?;
                    to.sees("audio", |it| it["who"] == from.identity).await?;
                }
            }
            Check::Mute => {
                for (from, to) in both {
                    from.does("mute", json!({"muted": true})).await?;
                    to.sees("muted", |it| it["who"] == from.identity && it["source"] == "microphone").await?;
                    from.does("mute", json!({"muted": false})).await?;
                    to.sees("unmuted", |it| it["who"] == from.identity && it["source"] == "microphone").await?;
                }
            }
            Check::Camera => {
                for ((from, to), sdk) in both.into_iter().zip([self.sdks.0, self.sdks.1]) {
                    if sdk.has_camera() {
                        from.does("camera", json!({"simulcast": true})).await?;
                        to.sees("subscribed", |it| it["who"] == from.identity && it["source"] == "camera").await?;
                        to.sees("video", |it| it["who"] == from.identity).await?;
                    }
                }
            }
            Check::Layers => layers(&self.first, &self.second).await?,
            Check::ResumeFirst => resume(&self.first, &self.second, &self.paths.0).await?,
            Check::ResumeSecond => resume(&self.second, &self.first, &self.paths.1).await?,
            Check::DuplicateIdentity => self.duplicate_identity().await?,
            Check::Leave => {
                self.first.does("leave", json!({})).await?;
                self.second.sees("left", |it| it["who"] == self.first.identity).await?;
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Outcome {
        let keys = self.keys.map(|keys| (keys.first, keys.second));
        for (peer, path, sdk, key) in [
            (&self.first, &self.paths.0, self.sdks.0, keys.map(|keys| keys.0)),
            (&self.second, &self.paths.1, self.sdks.1, keys.map(|keys| keys.1)),
        ] {
            let token = self.server.token(&self.room, &peer.identity, None)?;
            let mut arguments = json!({"url": path.url, "token": token, "mode": sdk.mode()});
            if let (Some(key), Some(keys)) = (key, self.keys) {
                arguments["key"] = json!(key);
                arguments["raw"] = json!(keys.raw);
            }
            peer.does("connect", arguments).await?;
        }
        self.first.sees("joined", |it| it["who"] == self.second.identity).await?;
        self.second.sees("joined", |it| it["who"] == self.first.identity).await?;
        Ok(())
    }

    /// With different keys: each is told of the other's sound and picture, and has nothing of them, nor of data.
    pub(crate) async fn is_deaf(&self) -> Outcome {
        const DEAF: Duration = Duration::from_secs(3);
        for (from, to) in [(&self.first, &self.second), (&self.second, &self.first)] {
            from.does("microphone", json!({})).await?;
            from.does("camera", json!({"simulcast": false})).await?;
            to.sees("subscribed", |it| it["who"] == from.identity && it["source"] == "microphone").await?;
            from.does("data", json!({"payload": "secret", "reliable": true, "topic": "secret"})).await?;
            from.does("text", json!({"text": "secret"})).await?;
        }
        sleep(DEAF).await;
        for (to, sdk) in [(&self.first, self.sdks.0), (&self.second, self.sdks.1)] {
            for what in ["audio", "video", "data", "text"] {
                if let Some(seen) = to.take(what).first() {
                    return Err(format!("{} saw {seen}", to.identity).into());
                }
            }
            if sdk.is_roomkey() {
                to.sees("encryption", |it| it["state"] == "decryption_failed").await?;
            }
        }
        Ok(())
    }

    async fn duplicate_identity(&mut self) -> Outcome {
        let other = Peer::start(self.sdks.0, &self.first.identity, self.server.transport).await?;
        let token = self.server.token(&self.room, &other.identity, None)?;
        let arguments = json!({"url": self.server.url, "token": token, "mode": self.sdks.0.mode()});
        other.does("connect", arguments).await?;
        self.first.sees("disconnected", |it| is_duplicate(&it["reason"])).await?;
        other.sees("joined", |it| it["who"] == self.second.identity).await?;
        self.first = other;
        data(&self.second, &self.first, true).await
    }
}

fn is_duplicate(reason: &Value) -> bool {
    reason.as_str().is_some_and(|reason| reason.to_lowercase().replace(['_', ' '], "").contains("duplicateidentity"))
}

async fn data(from: &Peer, to: &Peer, reliable: bool) -> Outcome {
    let is_it = |it: &Value| it["payload"] == "hello" && it["who"] == from.identity && it["topic"] == "greeting";
    // A lossy message may be lost, so it is said again.
    for _ in 0..if reliable { 1 } else { 5 } {
        from.does("data", json!({"payload": "hello", "reliable": reliable, "topic": "greeting"})).await?;
    }
    let seen = to.sees("data", is_it).await?;
    match seen["reliable"].as_bool() {
        Some(kind) if kind != reliable => Err(format!("it came as reliable: {kind}").into()),
        _ => {
            sleep(Duration::from_millis(50)).await;
            to.take("data");
            Ok(())
        }
    }
}

async fn text(from: &Peer, to: &Peer) -> Outcome {
    let long = "Zoë 🧑‍🚀 ".repeat(4_000);
    for text in ["short".to_owned(), long] {
        from.does("text", json!({"text": text})).await?;
        to.sees("text", |it| it["who"] == from.identity && it["text"] == *text).await?;
    }
    Ok(())
}

async fn rpc(from: &Peer, to: &Peer) -> Outcome {
    let answer = from.does("rpc", json!({"to": to.identity, "payload": "hello"})).await?;
    if answer["answer"] != format!("{} said hello", from.identity) {
        return Err(format!("{} was answered {answer}", from.identity).into());
    }
    let answer = from.does("rpc", json!({"to": to.identity, "payload": "refuse"})).await?;
    if answer["code"] != 1234 {
        return Err(format!("{} was refused with {answer}", from.identity).into());
    }
    Ok(())
}

/// The subscriber asks for the highest layer, the lowest and the highest, and sees its size change each time.
async fn layers(from: &Peer, to: &Peer) -> Outcome {
    for (quality, is_wide) in [("high", true), ("low", false), ("high", true)] {
        // It says again what it sees, in case that it is the wanted size already.
        to.take("video");
        to.does("layer", json!({"who": from.identity, "quality": quality})).await?;
        let is_it = |it: &Value| it["who"] == from.identity && (it["width"].as_u64() >= Some(640)) == is_wide;
        to.sees("video", is_it).await.map_err(|error| format!("{quality}: {error}"))?;
    }
    Ok(())
}

/// Numbers go both ways while the websocket of `cut` is cut; each comes once, in order.
async fn resume(cut: &Peer, other: &Peer, path: &Path) -> Outcome {
    const NUMBERS: u64 = 60;
    const AT: u64 = 15;
    cut.take("data");
    other.take("data");
    for number in 0..NUMBERS {
        if number == AT {
            path.cut();
        }
        for peer in [cut, other] {
            let sent = json!({"payload": number.to_string(), "reliable": true, "topic": "number"});
            peer.does("data", sent).await?;
        }
        sleep(Duration::from_millis(20)).await;
    }
    cut.sees("reconnected", |_| true).await?;
    // What comes once too often comes late.
    sleep(Duration::from_millis(300)).await;
    for (to, from) in [(other, cut), (cut, other)] {
        for number in 0..NUMBERS {
            let it = to.sees("data", |it| it["topic"] == "number").await;
            let it = it.map_err(|error| format!("at number {number}: {error}"))?;
            if it["payload"].as_str() != Some(&number.to_string()) || it["who"] != from.identity {
                return Err(format!("{} expected {number} and got {it}", to.identity).into());
            }
        }
        if let Some(more) = to.take("data").iter().find(|it| it["topic"] == "number") {
            return Err(format!("{} got more: {more}", to.identity).into());
        }
        if to.take("left").iter().any(|it| it["who"] == from.identity) {
            return Err(format!("{} saw {} leave", to.identity, from.identity).into());
        }
    }
    Ok(())
}
