//! A client: one task with a websocket, a UDP socket and a single peer connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomkey::BoxError;
use roomkey_rtc::{
    Candidate, ChannelConfig, ChannelId, Codec, Config, Event, MediaKind, Msid, OutgoingRtp, Output, PeerConnection,
    SenderId,
};
use roomkey_signal::{ClientEvent, ClientOutput, ConnectParameters, Endpoint};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::clock;
use crate::heard::{Heard, Totals, count};
use crate::server::Server;
use crate::speech::{PACE, Speech, TIMESTAMP_STEP};

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a join, a resume or a leave may take.
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST_DATAGRAM: usize = 2_048;
/// Datagrams that are read before anything else has a turn.
const BATCH: usize = 64;
/// Messages that are sent again after a resume at most.
const KEPT: usize = 64;
const CID: &str = "microphone";

/// A client that runs until it leaves, is parted from, or is dropped: then it vanishes without a word.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) sid: String,
    pub(crate) heard: Arc<Mutex<Heard>>,
    commands: mpsc::UnboundedSender<Command>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Connected,
    Over(String),
}

#[derive(Debug, Clone, Copy)]
enum Command {
    /// Publishes a track of this number and speaks.
    Publish(u32),
    SendData,
    CutWebsocket,
    Leave,
}

impl Client {
    /// Joins; media and the data channel are up when this returns. Dropping it half-way drops the sockets.
    pub(crate) async fn join(
        server: &Server,
        room: &str,
        identity: &str,
        totals: &Arc<Totals>,
    ) -> Result<Self, BoxError> {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let now = clock::now();
        let (sender, commands) = mpsc::unbounded_channel();
        let (state, states) = watch::channel(State::Connecting);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let mut session = Session {
            address: udp.local_addr()?,
            rtc: PeerConnection::new(&Config::new().with_red(false), now),
            signal: roomkey_signal::Client::new(server.token(room, identity)?, now, clock::unix_time()),
            url: server.url.clone(),
            websocket: None,
            udp,
            reliable: None,
            is_open: false,
            state,
            totals: Arc::clone(totals),
            heard: Arc::clone(&heard),
            wants_offer: false,
            is_resuming: false,
            last_offer: 0,
            last_answer: None,
            speaker: None,
            sent: Vec::new(),
            sequence: 0,
        };
        session.rtc.add_local_candidate(Candidate::host_udp(session.address)?);
        session.reliable = Some(session.rtc.open_channel(ChannelConfig::new("_reliable")));
        session.rtc.open_channel(ChannelConfig::new("_lossy").with_ordered(false).with_max_retransmits(Some(0)));
        session.rtc.add_receiver(MediaKind::Audio);
        let offer = session.rtc.create_offer(now)?.ok_or("nothing to offer")?;
        let offer = session.description(offer);
        session.dial(parameters().with_publisher_offer(offer)).await?;
        let task = tokio::spawn(session.run(commands));
        let mut client = Self { sid: String::new(), heard, commands: sender, state: states, task };
        client.wait(|state| *state != State::Connecting).await?;
        match client.state() {
            State::Over(why) => Err(format!("{identity} in {room}: {why}").into()),
            State::Connecting | State::Connected => {
                client.sid = client.heard.lock().expect("no holder panics").own_sid.clone();
                Ok(client)
            }
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) async fn wait(&mut self, is: impl FnMut(&State) -> bool) -> Result<(), BoxError> {
        // A task that ended has said so in the state before.
        let waited = timeout(PATIENCE, self.state.wait_for(is)).await.map(|state| state.map(drop));
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("the client's task ended".into()),
            Err(_) => Err(format!("waited {PATIENCE:?} while {:?}", self.state()).into()),
        }
    }

    pub(crate) fn publish(&self, number: u32) {
        self.command(Command::Publish(number));
    }

    pub(crate) fn send_data(&self) {
        self.command(Command::SendData);
    }

    /// Breaks off the websocket, and resumes.
    pub(crate) fn cut_websocket(&self) {
        self.command(Command::CutWebsocket);
    }

    /// Leaves with a word.
    pub(crate) async fn leave(mut self) -> Result<(), BoxError> {
        self.command(Command::Leave);
        self.wait(|state| matches!(state, State::Over(_))).await
    }

    fn command(&self, command: Command) {
        // Of a client that was parted from in the meantime.
        let _ = self.commands.send(command);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Session {
    url: roomkey_signal::ServerUrl,
    websocket: Option<WebSocket>,
    udp: UdpSocket,
    address: SocketAddr,
    rtc: PeerConnection,
    signal: roomkey_signal::Client,
    reliable: Option<ChannelId>,
    is_open: bool,
    state: watch::Sender<State>,
    totals: Arc<Totals>,
    heard: Arc<Mutex<Heard>>,
    /// Something waits for an offer that the last one, still unanswered, does not have.
    wants_offer: bool,
    is_resuming: bool,
    last_offer: u32,
    last_answer: Option<proto::SessionDescription>,
    speaker: Option<Speaker>,
    /// The last reliable messages, for a resume.
    sent: Vec<proto::DataPacket>,
    sequence: u32,
}

struct Speaker {
    number: u32,
    sender: Option<SenderId>,
    sequence: u64,
    next: Instant,
}

impl Session {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let ended = self.drive(&mut commands).await;
        let why = ended.err().map_or_else(|| "left".to_owned(), |error| error.to_string());
        self.state.send_replace(State::Over(why));
    }

    async fn drive(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Result<(), BoxError> {
        let mut buffer = vec![0; LONGEST_DATAGRAM];
        loop {
            let deadline = self.settle().await?;
            if self.signal.is_over() {
                return Ok(());
            }
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.obey(command)?,
                    None => return Ok(()),
                },
                frame = next(&mut self.websocket) => match frame {
                    Some(Ok(Frame::Binary(bytes))) => self.signal.handle_message(&bytes, clock::now())?,
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => {
                        self.websocket = None;
                        self.signal.handle_closed();
                    }
                    Some(Ok(_)) => {}
                },
                received = self.udp.recv_from(&mut buffer) => self.receive(received, &mut buffer),
                () = sleep_until(deadline.into()) => {
                    let now = clock::now();
                    self.rtc.handle_timeout(now);
                    self.signal.handle_timeout(now);
                    self.speak(now)?;
                }
            }
        }
    }

    fn receive(&mut self, first: std::io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        let (mut received, now) = (first, clock::now());
        for _ in 0..BATCH {
            // An error is that of an earlier datagram.
            if let Ok((length, source)) = received {
                self.rtc.handle_datagram(now, source, self.address, &buffer[..length]);
            }
            received = match self.udp.try_recv_from(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                other => other,
            };
        }
    }

    /// Does all that there is to do, and says until when there is nothing.
    async fn settle(&mut self) -> Result<Instant, BoxError> {
        loop {
            let mut deadline = self.poll_media()?;
            if let Some(output) = self.signal.poll_output() {
                self.carry_out(output).await?;
                continue;
            }
            deadline = self.signal.poll_timeout().map_or(deadline, |at| at.min(deadline));
            let speaks = self.speaker.as_ref().filter(|speaker| speaker.sender.is_some());
            return Ok(speaks.map_or(deadline, |speaker| speaker.next.min(deadline)));
        }
    }

    fn poll_media(&mut self) -> Result<Instant, BoxError> {
        loop {
            match self.rtc.poll() {
                // A full socket buffer is a lost datagram.
                Output::Transmit(transmit) => drop(self.udp.try_send_to(&transmit.payload, transmit.destination)),
                Output::Timeout(at) => return Ok(at),
                Output::Event(Event::RtpReceived { packet, .. }) => {
                    let mut heard = self.heard.lock().expect("no holder panics");
                    heard.speech(&packet.payload, &self.totals, clock::now());
                }
                Output::Event(Event::Data { bytes, .. }) => self.hear_data(&bytes)?,
                Output::Event(Event::ChannelOpened { id, .. }) if Some(id) == self.reliable => self.is_open = true,
                Output::Event(Event::Closed) => return Err("the peer connection closed".into()),
                Output::Event(_) => {}
            }
            if self.is_open && self.rtc.is_connected() {
                self.set_connected();
            }
        }
    }

    fn set_connected(&self) {
        let is_joined = !self.signal.participant_sid().is_empty() && !self.is_resuming;
        if is_joined && *self.state.borrow() == State::Connecting {
            self.state.send_replace(State::Connected);
        }
    }

    fn hear_data(&self, bytes: &[u8]) -> Result<(), BoxError> {
        let packet = proto::DataPacket::decode(bytes)?;
        if let Some(proto::data_packet::Value::User(user)) = &packet.value
            && let Some(number) = user.payload.first_chunk()
        {
            let mut heard = self.heard.lock().expect("no holder panics");
            let own = self.signal.participant_sid();
            heard.data(own, &packet.participant_sid, u64::from_be_bytes(*number), &self.totals);
        }
        Ok(())
    }

    async fn carry_out(&mut self, output: ClientOutput) -> Result<(), BoxError> {
        match output {
            ClientOutput::Transmit(bytes) => {
                if let Some(websocket) = &mut self.websocket {
                    // One that is gone says so when it is read.
                    let _ = websocket.send(Frame::Binary(bytes.into())).await;
                }
            }
            ClientOutput::Close => self.websocket = None,
            ClientOutput::Event(event) => self.handle(event).await?,
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events that ask nothing of a client")]
    async fn handle(&mut self, event: ClientEvent) -> Result<(), BoxError> {
        match event {
            ClientEvent::Joined(_) => {
                let sid = self.signal.participant_sid().to_owned();
                self.heard.lock().expect("no holder panics").own_sid = sid;
            }
            ClientEvent::Message(message) => self.handle_message(*message)?,
            ClientEvent::Resumed(reconnect) => self.synchronise(reconnect.as_deref())?,
            ClientEvent::LeaveRequested(leave) => return Err(leave.reason.as_str_name().into()),
            ClientEvent::Disconnected(_) if !self.signal.is_over() => self.resume().await?,
            _ => {}
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "messages that ask nothing of a client")]
    fn handle_message(&mut self, message: Response) -> Result<(), BoxError> {
        let now = clock::now();
        match message {
            // The answer to an offer that went down with a websocket is of no use.
            Response::Answer(answer) if answer.id == self.last_offer || answer.id == 0 => {
                self.rtc.accept_answer(&answer.sdp, now)?;
                self.last_answer = Some(answer);
                self.heard.lock().expect("no holder panics").sections = self.rtc.media().count();
                if std::mem::take(&mut self.wants_offer) {
                    self.offer()?;
                }
                if !self.rtc.has_pending_offer() && std::mem::take(&mut self.is_resuming) {
                    self.signal.set_reconnected();
                    count(&self.totals.resumes);
                    self.set_connected();
                }
            }
            Response::Trickle(trickle) => {
                if let Ok(Some(candidate)) = Candidate::from_trickle_json(&trickle.candidate_init) {
                    self.rtc.add_remote_candidate(candidate);
                }
            }
            Response::MediaSectionsRequirement(requirement) => {
                // None missing means that the free ones can be had with any offer, and without a change there is none.
                for _ in 0..requirement.num_audios.max(1) {
                    self.rtc.add_receiver(MediaKind::Audio);
                }
                self.offer()?;
            }
            Response::TrackPublished(published) if published.cid == CID => {
                if let Some(speaker) = self.speaker.as_mut().filter(|speaker| speaker.sender.is_none()) {
                    let msid = Msid::new("stream", CID);
                    speaker.sender = Some(self.rtc.add_sender(MediaKind::Audio, msid, &[]));
                    speaker.next = now;
                    self.offer()?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn offer(&mut self) -> Result<(), BoxError> {
        if self.rtc.has_pending_offer() {
            self.wants_offer = true;
            return Ok(());
        }
        if let Some(offer) = self.rtc.create_offer(clock::now())? {
            let offer = self.description(offer);
            self.request(Request::Offer(offer));
        }
        Ok(())
    }

    fn description(&mut self, sdp: String) -> proto::SessionDescription {
        self.last_offer += 1;
        proto::SessionDescription { r#type: "offer".to_owned(), sdp, id: self.last_offer, ..Default::default() }
    }

    fn request(&mut self, request: Request) {
        // What is refused while there is no websocket is said again by the resume.
        let _ = self.signal.send(request);
    }

    async fn resume(&mut self) -> Result<(), BoxError> {
        let reason = proto::ReconnectReason::RrSignalDisconnected;
        let resume = self.signal.resume(reason).ok_or("there is nothing to resume")?;
        self.is_resuming = true;
        self.state.send_replace(State::Connecting);
        self.dial(parameters().with_resume(resume)).await
    }

    async fn dial(&mut self, parameters: ConnectParameters) -> Result<(), BoxError> {
        let mut request = self.url.connect(Endpoint::V1, &parameters).as_str().into_client_request()?;
        let (name, value) = self.signal.token().authorization_header();
        request.headers_mut().insert(name, HeaderValue::from_str(&value)?);
        let (websocket, _) = timeout(PATIENCE, connect_async(request)).await??;
        self.websocket = Some(websocket);
        self.signal.handle_opened(clock::now());
        Ok(())
    }

    /// What a client that resumed says, and sends again.
    fn synchronise(&mut self, reconnect: Option<&proto::ReconnectResponse>) -> Result<(), BoxError> {
        let state = proto::SyncState {
            answer: self.last_answer.clone(),
            subscription: Some(proto::UpdateSubscription::default()),
            ..Default::default()
        };
        self.request(Request::SyncState(state));
        let last = reconnect.map_or(u32::MAX, |reconnect| reconnect.last_message_seq);
        let lost: Vec<_> = self.sent.iter().filter(|packet| packet.sequence > last).cloned().collect();
        for packet in lost {
            self.transmit(&packet)?;
        }
        self.rtc.restart_ice();
        match self.rtc.pending_offer().map(str::to_owned) {
            Some(pending) => {
                self.wants_offer = true;
                let offer = self.description(pending);
                self.request(Request::Offer(offer));
            }
            None => self.offer()?,
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<(), BoxError> {
        let now = clock::now();
        match command {
            Command::Publish(number) => {
                self.speaker = Some(Speaker { number, sender: None, sequence: 0, next: now });
                self.request(Request::AddTrack(proto::AddTrackRequest {
                    cid: CID.to_owned(),
                    name: CID.to_owned(),
                    source: proto::TrackSource::Microphone as i32,
                    disable_red: true,
                    ..Default::default()
                }));
            }
            Command::SendData => self.send_data()?,
            Command::CutWebsocket => {
                if self.websocket.take().is_some() {
                    self.state.send_replace(State::Connecting);
                    self.signal.handle_closed();
                }
            }
            Command::Leave => self.signal.leave(now),
        }
        Ok(())
    }

    fn send_data(&mut self) -> Result<(), BoxError> {
        self.sequence += 1;
        let payload = u64::from(self.sequence).to_be_bytes().to_vec();
        let user = proto::UserPacket { payload, ..Default::default() };
        let value = Some(proto::data_packet::Value::User(user));
        let packet = proto::DataPacket { sequence: self.sequence, value, ..Default::default() };
        self.transmit(&packet)?;
        count(&self.totals.data_sent);
        self.sent.push(packet);
        if self.sent.len() > KEPT {
            self.sent.remove(0);
        }
        Ok(())
    }

    fn transmit(&mut self, packet: &proto::DataPacket) -> Result<(), BoxError> {
        let reliable = self.reliable.ok_or("no reliable channel")?;
        Ok(self.rtc.send_data(reliable, true, packet.encode_to_vec(), clock::now())?)
    }

    /// Sends the packets that are due.
    fn speak(&mut self, now: Instant) -> Result<(), BoxError> {
        let Some(speaker) = &mut self.speaker else { return Ok(()) };
        let Some(sender) = speaker.sender else { return Ok(()) };
        while speaker.next <= now {
            speaker.next += PACE;
            let speech = Speech {
                publisher: speaker.number,
                sequence: speaker.sequence,
                is_measured: self.totals.is_measuring.load(Ordering::Relaxed),
                sent: now.saturating_duration_since(self.totals.start),
            };
            let timestamp = u32::try_from(speaker.sequence & 0xf_ffff).unwrap_or_default() * TIMESTAMP_STEP;
            let packet = OutgoingRtp::new(Codec::Opus, speaker.sequence, timestamp, speech.encode())
                .with_audio_level(Some(-20), Some(true));
            match self.rtc.send_rtp(sender, packet, now) {
                Ok(()) => {
                    speaker.sequence += 1;
                    if speech.is_measured {
                        count(&self.totals.audio_sent);
                    }
                }
                // Until the answer comes.
                Err(roomkey_rtc::SendError::NotNegotiated | roomkey_rtc::SendError::NotConnected) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn parameters() -> ConnectParameters {
    let mut info = proto::ClientInfo { version: "load".to_owned(), protocol: 16, ..Default::default() };
    info.set_sdk(proto::client_info::Sdk::Rust);
    ConnectParameters::new(info)
}

async fn next(websocket: &mut Option<WebSocket>) -> Option<Result<Frame, tokio_tungstenite::tungstenite::Error>> {
    match websocket {
        Some(websocket) => websocket.next().await,
        None => std::future::pending().await,
    }
}
