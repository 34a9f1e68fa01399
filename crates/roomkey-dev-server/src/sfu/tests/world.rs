//! Clients of `roomkey-rtc`, in virtual time, over a link that loses nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::server_message::Message as ToWorker;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_rtc::{
    Candidate, ChannelConfig, ChannelId, Codec, Config, IncomingRtp, MediaKind, Msid, OutgoingRtp, Output,
    PeerConnection, Protocol, SenderId, TcpType,
};
use roomkey_token::{AccessToken, VideoGrant};

use crate::clock::Now;
use crate::sfu::agents::WorkerId;
use crate::sfu::{ConnectionId, Effect, Joining, Refusal, Settings, Sfu};
use crate::tokens::Keys;

pub(super) const STEP: Duration = Duration::from_millis(5);
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

pub(super) struct Client {
    pub(super) connection: ConnectionId,
    pub(super) address: SocketAddr,
    pub(super) protocol: Protocol,
    pub(super) rtc: PeerConnection,
    pub(super) reliable: ChannelId,
    pub(super) sequence: u32,
    /// Packets of audio.
    pub(super) spoken: u64,
    pub(super) messages: Vec<Message>,
    pub(super) data: Vec<proto::DataPacket>,
    pub(super) packets: Vec<IncomingRtp>,
    /// It has not got round to offering what it was asked for.
    pub(super) is_busy: bool,
    pub(super) is_closed: bool,
}

impl Client {
    pub(super) fn new(connection: ConnectionId, now: Instant) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::try_from(connection).unwrap()));
        Self::at(address, connection, now)
    }

    pub(super) fn at(address: SocketAddr, connection: ConnectionId, now: Instant) -> Self {
        Self::with_candidate(Candidate::host_udp(address).unwrap(), connection, now)
    }

    pub(super) fn over_tcp(connection: ConnectionId, now: Instant) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000 + u16::try_from(connection).unwrap()));
        Self::with_candidate(Candidate::host_tcp(address, TcpType::Active).unwrap(), connection, now)
    }

    pub(super) fn with_candidate(candidate: Candidate, connection: ConnectionId, now: Instant) -> Self {
        let (address, protocol) = (candidate.address(), candidate.protocol());
        let mut rtc = PeerConnection::new(&Config::new(), now);
        rtc.add_local_candidate(candidate);
        let reliable = rtc.open_channel(ChannelConfig::new("_reliable"));
        rtc.open_channel(ChannelConfig::new("_lossy").with_ordered(false).with_max_retransmits(Some(0)));
        rtc.add_receiver(MediaKind::Audio);
        Self {
            connection,
            address,
            protocol,
            rtc,
            reliable,
            sequence: 0,
            spoken: 0,
            messages: Vec::new(),
            data: Vec::new(),
            packets: Vec::new(),
            is_busy: false,
            is_closed: false,
        }
    }

    /// Who began or ceased to speak, as it was told.
    pub(super) fn speakers(&self) -> Vec<(String, bool)> {
        let changes = self.messages.iter().filter_map(|message| match message {
            Message::SpeakersChanged(changed) => Some(&changed.speakers),
            _ => None,
        });
        changes.flatten().map(|speaker| (speaker.sid.clone(), speaker.active)).collect()
    }

    pub(super) fn updates_of(&self, identity: &str) -> Vec<&proto::ParticipantInfo> {
        let updates = self.messages.iter().filter_map(|message| match message {
            Message::Update(update) => Some(&update.participants),
            _ => None,
        });
        updates.flatten().filter(|info| info.identity == identity).collect()
    }
}

pub(super) struct World {
    pub(super) sfu: Sfu,
    pub(super) now: Now,
    pub(super) to_workers: Vec<(WorkerId, ToWorker)>,
    pub(super) clients: Vec<Client>,
    pub(super) media_address: SocketAddr,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let media_address = SocketAddr::from(([127, 0, 0, 1], 7_882));
        let mut settings = Settings {
            media_address,
            has_tcp: false,
            empty_timeout: Duration::from_secs(300),
            departure_timeout: Duration::from_secs(20),
            max_participants: 0,
            auto_create: true,
            echo_agent: false,
            data_queue_limit: 1024 * 1024,
        };
        change(&mut settings);
        let keys = Keys::new(&[("devkey".to_owned(), "secret".to_owned())], true).unwrap();
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
        Self {
            sfu: Sfu::new(settings, Arc::new(keys), 7),
            now,
            clients: Vec::new(),
            to_workers: Vec::new(),
            media_address,
        }
    }

    pub(super) fn try_join(&mut self, identity: &str, grant: VideoGrant) -> Result<usize, Refusal> {
        let client = Client::new(self.clients.len() as u64 + 1, self.now.instant);
        self.join_as(client, identity, grant, |_| {})
    }

    pub(super) fn join_as(
        &mut self,
        mut client: Client,
        identity: &str,
        grant: VideoGrant,
        change: impl FnOnce(&mut Joining),
    ) -> Result<usize, Refusal> {
        let connection = client.connection;
        let offer = client.rtc.create_offer(self.now.instant).unwrap().unwrap();
        let mut joining = Joining {
            connection: Some(connection),
            claims: AccessToken::new(identity).with_video(grant).claims().clone(),
            is_single: true,
            protocol: 16,
            client_protocol: 1,
            capabilities: Vec::new(),
            sdk: "test".to_owned(),
            auto_subscribe: true,
            add_tracks: Vec::new(),
            publisher_offer: Some(proto::SessionDescription {
                r#type: "offer".to_owned(),
                sdp: offer,
                ..Default::default()
            }),
            resumes: None,
        };
        change(&mut joining);
        self.sfu.join(joining, self.now)?;
        self.clients.push(client);
        Ok(self.clients.len() - 1)
    }

    /// The client is gone without a word, and its address is free. Where it was.
    pub(super) fn vanish(&mut self, client: usize) -> SocketAddr {
        let silent = Client::at(NOWHERE, self.clients[client].connection, self.now.instant);
        std::mem::replace(&mut self.clients[client], silent).address
    }

    pub(super) fn join(&mut self, identity: &str) -> usize {
        self.try_join(identity, VideoGrant::join("lab")).unwrap()
    }

    pub(super) fn request(&mut self, client: usize, request: Request) {
        self.sfu.handle_request(self.clients[client].connection, request, self.now);
    }

    /// Everybody exchanges what there is to exchange while the time passes.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now.instant + duration;
        while self.now.instant < end {
            self.exchange();
            self.now.instant += STEP;
            self.now.wall += STEP;
            self.sfu.handle_timeout(self.now);
            for client in &mut self.clients {
                client.rtc.handle_timeout(self.now.instant);
            }
        }
        self.exchange();
    }

    pub(super) fn exchange(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(effect) = self.sfu.poll_effect() {
                is_quiet = false;
                self.carry_out(effect);
            }
            for client in 0..self.clients.len() {
                loop {
                    match self.clients[client].rtc.poll() {
                        Output::Transmit(transmit) => {
                            is_quiet = false;
                            self.transmit(&transmit);
                        }
                        Output::Event(roomkey_rtc::Event::Data { bytes, .. }) => {
                            let packet = proto::DataPacket::decode(bytes.as_slice()).unwrap();
                            self.clients[client].data.push(packet);
                        }
                        Output::Event(roomkey_rtc::Event::RtpReceived { packet, .. }) => {
                            self.clients[client].packets.push(packet);
                        }
                        Output::Event(_) => {}
                        Output::Timeout(_) => break,
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    pub(super) fn transmit(&mut self, transmit: &roomkey_rtc::Transmit) {
        assert_eq!(transmit.destination, self.media_address);
        match transmit.protocol {
            Protocol::Udp => self.sfu.handle_datagram(transmit.source, &transmit.payload, self.now),
            Protocol::Tcp => assert!(self.sfu.handle_frame(transmit.source, &transmit.payload, self.now)),
        }
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Transmit { protocol, destination, payload } => {
                let mut clients = self.clients.iter_mut();
                if let Some(client) = clients.find(|client| client.address == destination) {
                    assert_eq!(protocol, client.protocol);
                    client.rtc.handle_packet(self.now.instant, protocol, self.media_address, destination, &payload);
                }
            }
            Effect::Send { connection, message } => self.receive(connection, message),
            Effect::Close { connection } => {
                let found = self.clients.iter_mut().find(|client| client.connection == connection);
                found.unwrap().is_closed = true;
            }
            Effect::Worker { worker, message } => self.to_workers.push((worker, message)),
            Effect::Happened(_) => {}
        }
    }

    pub(super) fn receive(&mut self, connection: ConnectionId, message: Message) {
        let at = self.clients.iter().position(|client| client.connection == connection).unwrap();
        match &message {
            Message::Answer(answer) => self.clients[at].rtc.accept_answer(&answer.sdp, self.now.instant).unwrap(),
            Message::Trickle(trickle) => {
                let candidate = Candidate::from_trickle_json(&trickle.candidate_init).unwrap().unwrap();
                self.clients[at].rtc.add_remote_candidate(candidate);
            }
            Message::MediaSectionsRequirement(requirement) if !self.clients[at].is_busy => {
                let is_video = requirement.num_videos > 0;
                self.clients[at].rtc.add_receiver(if is_video { MediaKind::Video } else { MediaKind::Audio });
                self.offer(at);
            }
            _ => {}
        }
        self.clients[at].messages.push(message);
    }

    pub(super) fn offer(&mut self, client: usize) {
        if let Some(sdp) = self.clients[client].rtc.create_offer(self.now.instant).unwrap() {
            let offer = proto::SessionDescription { r#type: "offer".to_owned(), sdp, ..Default::default() };
            self.request(client, Request::Offer(offer));
        }
    }

    pub(super) fn publish_audio(&mut self, client: usize) -> SenderId {
        let request = proto::AddTrackRequest {
            cid: "microphone".to_owned(),
            source: proto::TrackSource::Microphone as i32,
            ..Default::default()
        };
        self.request(client, Request::AddTrack(request));
        self.exchange();
        let sender = self.clients[client].rtc.add_sender(MediaKind::Audio, Msid::new("stream", "microphone"), &[]);
        self.offer(client);
        self.run(Duration::from_millis(100));
        sender
    }

    pub(super) fn speak(&mut self, client: usize, sender: SenderId, packets: u64) {
        for _ in 0..packets {
            let index = self.clients[client].spoken;
            self.clients[client].spoken += 1;
            let timestamp = u32::try_from(index * 960).unwrap();
            let packet = OutgoingRtp::new(Codec::Opus, index, timestamp, vec![0xfc, 1, 2, 3])
                .with_audio_level(Some(-10), Some(true));
            self.clients[client].rtc.send_rtp(sender, packet, self.now.instant).unwrap();
            self.run(Duration::from_millis(20));
        }
    }

    pub(super) fn send_data(&mut self, client: usize, topic: &str, to: &[&str]) {
        let client = &mut self.clients[client];
        client.sequence += 1;
        // As Python's SDK does, it says the contrary of what it is.
        #[expect(deprecated, reason = "clients write it all the same")]
        let packet = proto::DataPacket {
            kind: Kind::Lossy as i32,
            sequence: client.sequence,
            destination_identities: to.iter().map(|identity| (*identity).to_owned()).collect(),
            value: Some(Value::User(proto::UserPacket { topic: Some(topic.to_owned()), ..Default::default() })),
            ..Default::default()
        };
        client.rtc.send_data(client.reliable, true, packet.encode_to_vec(), self.now.instant).unwrap();
        self.run(Duration::from_millis(20));
    }

    /// Sends a reliable packet as it is.
    pub(super) fn send_packet(&mut self, client: usize, packet: &proto::DataPacket) {
        let client = &mut self.clients[client];
        client.rtc.send_data(client.reliable, true, packet.encode_to_vec(), self.now.instant).unwrap();
        self.run(Duration::from_millis(20));
    }

    pub(super) fn sid_of(&self, client: usize) -> String {
        let Message::Join(join) = &self.clients[client].messages[0] else { panic!("not a join") };
        join.participant.as_ref().unwrap().sid.clone()
    }

    pub(super) fn topics(&self, client: usize) -> Vec<(String, String)> {
        let data = self.clients[client].data.iter().filter_map(|packet| match &packet.value {
            Some(Value::User(user)) => Some((packet.participant_identity.clone(), user.topic.clone().unwrap())),
            _ => None,
        });
        data.collect()
    }
}

pub(super) fn coming_back(connection: ConnectionId, identity: &str, sid: String) -> Joining {
    Joining {
        connection: Some(connection),
        claims: AccessToken::new(identity).with_video(VideoGrant::join("lab")).claims().clone(),
        is_single: true,
        protocol: 16,
        client_protocol: 1,
        capabilities: Vec::new(),
        sdk: String::new(),
        auto_subscribe: true,
        add_tracks: Vec::new(),
        publisher_offer: None,
        resumes: Some(sid),
    }
}
