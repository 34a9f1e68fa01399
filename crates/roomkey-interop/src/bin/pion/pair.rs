//! A connection of ours on a socket, and pion's in its program.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use roomkey::BoxError;
use roomkey_rtc::{Candidate, ChannelId, Config, Event, MediaKind, Mid, OutgoingRtp, Output, PeerConnection, SenderId};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UdpSocket;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::now;

/// How long something may take.
const BOUND: Duration = Duration::from_secs(15);

/// Between two packets of a track.
const PACE: Duration = Duration::from_millis(10);

/// Which side makes the offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offerer {
    Roomkey,
    Pion,
}

pub(crate) struct Pair {
    pub(crate) connection: PeerConnection,
    pub(crate) events: Vec<Event>,
    /// Of a hundred datagrams that come or go, so many get lost.
    pub(crate) loss: u8,
    socket: UdpSocket,
    address: SocketAddr,
    buffer: Vec<u8>,
    deadline: Instant,
    lines: mpsc::UnboundedReceiver<Value>,
    stdin: ChildStdin,
    answers: HashMap<u64, Value>,
    seen: Vec<Value>,
    next: u64,
    random: fastrand::Rng,
    _child: Child,
}

impl Pair {
    /// Both sides, our address known to ours.
    pub(crate) async fn start(config: &Config) -> Result<Self, BoxError> {
        let mut pair = Self::start_without_candidate(config).await?;
        let candidate = pair.candidate()?;
        pair.connection.add_local_candidate(candidate);
        Ok(pair)
    }

    pub(crate) async fn start_without_candidate(config: &Config) -> Result<Self, BoxError> {
        let below = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/interop/pion/peer");
        let program = std::env::var_os("ROOMKEY_PION_PEER").map_or_else(|| PathBuf::from(below), PathBuf::from);
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("ROOMKEY_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("pion did not start ({error}): tests/interop/setup all builds it"))?;
        let (heard, lines) = mpsc::unbounded_channel();
        tokio::spawn(listen(child.stdout.take().ok_or("no stdout")?, heard));
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let now = now();
        let mut pair = Self {
            connection: PeerConnection::new(config, now),
            events: Vec::new(),
            loss: 0,
            address: socket.local_addr()?,
            socket,
            buffer: vec![0; 65_536],
            deadline: now,
            lines,
            stdin: child.stdin.take().ok_or("no stdin")?,
            answers: HashMap::new(),
            seen: Vec::new(),
            next: 0,
            random: fastrand::Rng::with_seed(7),
            _child: child,
        };
        pair.sees("ready", |_| true).await?;
        Ok(pair)
    }

    pub(crate) fn candidate(&self) -> Result<Candidate, BoxError> {
        Ok(Candidate::host_udp(self.address)?)
    }

    /// Runs both sides until `find` finds something; the error says that `what` did not come.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut find: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, BoxError> {
        let end = now() + BOUND;
        loop {
            self.drain().await;
            if let Some(found) = find(self) {
                return Ok(found);
            }
            if let Some(failure) = self.connection.failure() {
                return Err(format!("{failure}, before {what}").into());
            }
            if now() >= end {
                return Err(format!("no {what} in time; {}", self.latest()).into());
            }
            self.wait(end).await.map_err(|why| format!("no {what}: {why}"))?;
        }
    }

    pub(crate) async fn run_for(&mut self, time: Duration) -> Result<(), BoxError> {
        let end = now() + time;
        loop {
            self.drain().await;
            if now() >= end {
                return Ok(());
            }
            self.wait(end).await?;
        }
    }

    /// Does what the connection wants done.
    async fn drain(&mut self) {
        loop {
            match self.connection.poll() {
                Output::Transmit(sent) => {
                    if self.random.u8(0..100) >= self.loss {
                        // A socket of pion's that is gone is a lost datagram.
                        let _ = self.socket.send_to(&sent.payload, sent.destination).await;
                    }
                }
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => break self.deadline = at,
            }
        }
    }

    /// Waits for one thing to happen, and tells the connection.
    async fn wait(&mut self, end: Instant) -> Result<(), BoxError> {
        tokio::select! {
            line = self.lines.recv() => {
                let line = line.ok_or("pion ended")?;
                self.heard(line);
            }
            got = self.socket.recv_from(&mut self.buffer) => {
                let (size, from) = got?;
                if self.random.u8(0..100) >= self.loss {
                    self.connection.handle_datagram(now(), from, self.address, &self.buffer[..size]);
                }
            }
            () = tokio::time::sleep_until(self.deadline.min(end).into()) => {
                self.connection.handle_timeout(now());
            }
        }
        Ok(())
    }

    fn heard(&mut self, line: Value) {
        if let Some(id) = line["id"].as_u64() {
            self.answers.insert(id, line);
            return;
        }
        if line["saw"] == "candidate" {
            let candidate = Candidate::from_trickle_json(&line["candidate"].to_string());
            if let Ok(Some(candidate)) = candidate {
                self.connection.add_remote_candidate(candidate);
            }
        }
        self.seen.push(line);
    }

    /// Tells pion to do something and waits for its answer.
    pub(crate) async fn does(&mut self, what: &str, mut arguments: Value) -> Result<Value, BoxError> {
        let id = self.tell(what, &mut arguments).await?;
        self.answer(what, id).await
    }

    async fn tell(&mut self, what: &str, arguments: &mut Value) -> Result<u64, BoxError> {
        self.next += 1;
        let id = self.next;
        (arguments["id"], arguments["do"]) = (json!(id), json!(what));
        self.stdin.write_all(format!("{arguments}\n").as_bytes()).await?;
        Ok(id)
    }

    async fn answer(&mut self, what: &str, id: u64) -> Result<Value, BoxError> {
        let answer = self.until(&format!("answer to {what}"), |pair| pair.answers.remove(&id)).await?;
        match answer.get("error") {
            Some(error) => Err(format!("pion: {what} failed: {error}").into()),
            None => Ok(answer["ok"].clone()),
        }
    }

    /// Waits until pion has seen something that is so; each thing is told once.
    pub(crate) async fn sees(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value, BoxError> {
        self.until(&format!("{what} at pion"), |pair| {
            let at = pair.seen.iter().position(|seen| seen["saw"] == what && is_it(seen))?;
            Some(pair.seen.remove(at))
        })
        .await
    }

    /// Waits for an event of ours; each is told once.
    pub(crate) async fn event<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> Result<T, BoxError> {
        self.until(what, |pair| {
            let (at, found) = pair.events.iter().enumerate().find_map(|(at, event)| Some(at).zip(find(event)))?;
            pair.events.remove(at);
            Some(found)
        })
        .await
    }

    /// An offer and its answer. What they say.
    pub(crate) async fn negotiate(&mut self, offerer: Offerer) -> Result<(String, String), BoxError> {
        match offerer {
            Offerer::Roomkey => {
                let offer = self.connection.create_offer(now())?.ok_or("there is nothing to offer")?;
                let answer = self.does("accept_offer", json!({"sdp": offer})).await?;
                let answer = answer.as_str().ok_or("pion made no answer")?.to_owned();
                self.connection.accept_answer(&answer, now())?;
                Ok((offer, answer))
            }
            Offerer::Pion => self.pion_offers(false).await,
        }
    }

    pub(crate) async fn pion_offers(&mut self, restart: bool) -> Result<(String, String), BoxError> {
        let offer = self.does("offer", json!({"restart": restart})).await?;
        let offer = offer.as_str().ok_or("pion made no offer")?.to_owned();
        let answer = self.connection.accept_offer(&offer, now())?;
        self.does("accept_answer", json!({"sdp": answer})).await?;
        Ok((offer, answer))
    }

    pub(crate) async fn connected(&mut self) -> Result<(), BoxError> {
        self.until("connection", |pair| pair.connection.is_connected().then_some(())).await?;
        self.sees("state", |seen| seen["state"] == "connected").await?;
        Ok(())
    }

    /// Our channel of a label, once both sides can use it, and what pion says of it.
    pub(crate) async fn channel(&mut self, wanted: &str) -> Result<(ChannelId, Value), BoxError> {
        let id = self
            .event(&format!("channel {wanted}"), |event| {
                if let Event::ChannelOpened { id, label } = event
                    && label == wanted
                {
                    Some(*id)
                } else {
                    None
                }
            })
            .await?;
        Ok((id, self.sees("channel", |seen| seen["label"] == wanted).await?))
    }

    /// A message of so many bytes to pion.
    pub(crate) async fn sends(&mut self, channel: ChannelId, label: &str, size: usize) -> Result<(), BoxError> {
        self.connection.send_data(channel, true, pattern(size), now())?;
        let got = self.sees("message", |seen| seen["label"] == label).await?;
        if got["size"] == size && got["intact"] == true {
            return Ok(());
        }
        Err(format!("pion got {got} for {size} bytes").into())
    }

    /// A message of so many bytes from pion.
    pub(crate) async fn gets(&mut self, channel: ChannelId, label: &str, size: usize) -> Result<(), BoxError> {
        self.does("send", json!({"label": label, "size": size})).await?;
        let got = self.message(channel).await?;
        if got == (true, pattern(size)) {
            return Ok(());
        }
        Err(format!("{} bytes came of {size}, binary: {}", got.1.len(), got.0).into())
    }

    /// The next message in a channel of ours, and whether it is binary.
    pub(crate) async fn message(&mut self, channel: ChannelId) -> Result<(bool, Vec<u8>), BoxError> {
        self.event("message", |event| {
            if let Event::Data { id, binary, bytes } = event
                && *id == channel
            {
                Some((*binary, bytes.clone()))
            } else {
                None
            }
        })
        .await
    }

    /// Sends packets of one of our tracks, `numbers` of them.
    pub(crate) async fn send_rtp(
        &mut self,
        sender: SenderId,
        numbers: std::ops::Range<u64>,
        packet: impl Fn(u64) -> OutgoingRtp,
    ) -> Result<(), BoxError> {
        for number in numbers {
            self.connection.send_rtp(sender, packet(number), now())?;
            self.run_for(PACE).await?;
        }
        Ok(())
    }

    /// Waits until pion has got `count` packets, or more, of a track, all as they were sent. How many came again, as RTX.
    pub(crate) async fn pion_gets_rtp(&mut self, kind: MediaKind, rid: &str, count: u64) -> Result<u64, BoxError> {
        let got = self
            .sees("rtp", |seen| {
                seen["kind"] == word(kind) && seen["rid"] == rid && seen["count"].as_u64() >= Some(count)
            })
            .await?;
        let resent = got["resent"].as_u64().filter(|_| got["changed"] == 0 && got["twice"] == 0);
        resent.ok_or_else(|| format!("pion got {got}").into())
    }

    /// Has pion send packets and waits for `least` of them, each once and as it was sent. Their section.
    pub(crate) async fn gets_rtp(&mut self, kind: MediaKind, count: u64, least: u64) -> Result<Mid, BoxError> {
        let id = self.tell("send_rtp", &mut json!({"kind": word(kind), "count": count})).await?;
        self.answer("send_rtp", id).await?;
        self.run_for(Duration::from_millis(300)).await?;
        let mut numbers = std::collections::BTreeSet::new();
        let (mut section, mut start) = (None, None);
        for event in &self.events {
            let Event::RtpReceived { mid, packet, .. } = event else { continue };
            let number = number(kind, &packet.payload).ok_or("a short packet came")?;
            let step = if kind == MediaKind::Audio { 960 } else { 3000 };
            let first = *start.get_or_insert_with(|| packet.sequence.wrapping_sub(number));
            let intact = *packet.payload == *payload(kind, number)
                && u64::from(packet.timestamp) == number * step
                && packet.marker == (kind == MediaKind::Video)
                && packet.sequence.wrapping_sub(number) == first;
            if !intact || !numbers.insert(number) {
                return Err(format!("packet {number} came twice or changed: {packet:?}").into());
            }
            section = Some(*mid);
        }
        if (numbers.len() as u64) < least {
            return Err(format!("{} of {count} packets came; {}", numbers.len(), self.latest()).into());
        }
        section.ok_or_else(|| "no packet came".into())
    }

    /// What was seen last, for the table.
    fn latest(&self) -> String {
        let mut text = "roomkey saw".to_owned();
        for event in self.events.iter().rev().take(4) {
            write!(text, " {event:?}").ok();
        }
        write!(text, " (ignored {}), pion saw", self.connection.ignored_datagrams()).ok();
        for seen in self.seen.iter().rev().take(4) {
            write!(text, " {seen}").ok();
        }
        text
    }
}

async fn listen(stdout: ChildStdout, heard: mpsc::UnboundedSender<Value>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(line) = serde_json::from_str(&line) else { continue };
        if heard.send(line).is_err() {
            return;
        }
    }
}

pub(crate) fn word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 7 % 251) as u8).collect()
}

/// As the program of pion makes it.
pub(crate) fn payload(kind: MediaKind, number: u64) -> Vec<u8> {
    let descriptor: &[u8] = if kind == MediaKind::Video { &[0x10] } else { &[] };
    [descriptor, &number.to_be_bytes(), &pattern(64)].concat()
}

fn number(kind: MediaKind, payload: &[u8]) -> Option<u64> {
    let rest = if kind == MediaKind::Video { payload.get(1..)? } else { payload };
    Some(u64::from_be_bytes(*rest.first_chunk()?))
}
