//! The core with clients of `roomkey-rtc`, in virtual time, over a link that loses nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::server_message::Message as ToWorker;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use proto::worker_message::Message as FromWorker;
use roomkey_rtc::{
    Candidate, ChannelConfig, ChannelId, Codec, Config, IncomingRtp, MediaKind, Msid, OutgoingRtp, Output,
    PeerConnection, Protocol, SenderId, TcpType,
};
use roomkey_token::{AccessToken, VideoGrant};

use super::agents::WorkerId;
use super::{ConnectionId, Effect, Joining, Refusal, Settings, Sfu};
use crate::clock::Now;
use crate::tokens::Keys;

const STEP: Duration = Duration::from_millis(5);
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

struct Client {
    connection: ConnectionId,
    address: SocketAddr,
    protocol: Protocol,
    rtc: PeerConnection,
    reliable: ChannelId,
    sequence: u32,
    messages: Vec<Message>,
    data: Vec<proto::DataPacket>,
    packets: Vec<IncomingRtp>,
    /// It has not got round to offering what it was asked for.
    is_busy: bool,
    is_closed: bool,
}

impl Client {
    fn new(connection: ConnectionId, now: Instant) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::try_from(connection).unwrap()));
        Self::at(address, connection, now)
    }

    fn at(address: SocketAddr, connection: ConnectionId, now: Instant) -> Self {
        Self::with_candidate(Candidate::host_udp(address).unwrap(), connection, now)
    }

    fn over_tcp(connection: ConnectionId, now: Instant) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000 + u16::try_from(connection).unwrap()));
        Self::with_candidate(Candidate::host_tcp(address, TcpType::Active).unwrap(), connection, now)
    }

    fn with_candidate(candidate: Candidate, connection: ConnectionId, now: Instant) -> Self {
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
            messages: Vec::new(),
            data: Vec::new(),
            packets: Vec::new(),
            is_busy: false,
            is_closed: false,
        }
    }

    fn updates_of(&self, identity: &str) -> Vec<&proto::ParticipantInfo> {
        let updates = self.messages.iter().filter_map(|message| match message {
            Message::Update(update) => Some(&update.participants),
            _ => None,
        });
        updates.flatten().filter(|info| info.identity == identity).collect()
    }
}

struct World {
    sfu: Sfu,
    now: Now,
    to_workers: Vec<(WorkerId, ToWorker)>,
    clients: Vec<Client>,
    media_address: SocketAddr,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
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

    fn try_join(&mut self, identity: &str, grant: VideoGrant) -> Result<usize, Refusal> {
        let client = Client::new(self.clients.len() as u64 + 1, self.now.instant);
        self.join_as(client, identity, grant, |_| {})
    }

    fn join_as(
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
            metadata: String::new(),
            attributes: HashMap::new(),
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
    fn vanish(&mut self, client: usize) -> SocketAddr {
        let silent = Client::at(NOWHERE, self.clients[client].connection, self.now.instant);
        std::mem::replace(&mut self.clients[client], silent).address
    }

    fn join(&mut self, identity: &str) -> usize {
        self.try_join(identity, VideoGrant::join("lab")).unwrap()
    }

    fn request(&mut self, client: usize, request: Request) {
        self.sfu.handle_request(self.clients[client].connection, request, self.now);
    }

    /// Everybody exchanges what there is to exchange while the time passes.
    fn run(&mut self, duration: Duration) {
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

    fn exchange(&mut self) {
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

    fn transmit(&mut self, transmit: &roomkey_rtc::Transmit) {
        assert_eq!(transmit.destination, self.media_address);
        match transmit.protocol {
            Protocol::Udp => self.sfu.handle_datagram(transmit.source, &transmit.payload, self.now),
            Protocol::Tcp => assert!(self.sfu.handle_frame(transmit.source, &transmit.payload, self.now)),
        }
    }

    fn carry_out(&mut self, effect: Effect) {
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

    fn receive(&mut self, connection: ConnectionId, message: Message) {
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

    fn offer(&mut self, client: usize) {
        if let Some(sdp) = self.clients[client].rtc.create_offer(self.now.instant).unwrap() {
            let offer = proto::SessionDescription { r#type: "offer".to_owned(), sdp, ..Default::default() };
            self.request(client, Request::Offer(offer));
        }
    }

    fn publish_audio(&mut self, client: usize) -> SenderId {
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

    fn speak(&mut self, client: usize, sender: SenderId, packets: u64) {
        for index in 0..packets {
            let timestamp = u32::try_from(index * 960).unwrap();
            let packet = OutgoingRtp::new(Codec::Opus, index, timestamp, vec![0xfc, 1, 2, 3])
                .with_audio_level(Some(-10), Some(true));
            self.clients[client].rtc.send_rtp(sender, packet, self.now.instant).unwrap();
            self.run(Duration::from_millis(20));
        }
    }

    fn send_data(&mut self, client: usize, topic: &str, to: &[&str]) {
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

    fn topics(&self, client: usize) -> Vec<(String, String)> {
        let data = self.clients[client].data.iter().filter_map(|packet| match &packet.value {
            Some(Value::User(user)) => Some((packet.participant_identity.clone(), user.topic.clone().unwrap())),
            _ => None,
        });
        data.collect()
    }
}

#[test]
fn the_first_message_is_the_join_and_others_hear_of_each_other() {
    let mut world = World::new();
    let alice = world.join("alice");
    world.run(Duration::from_secs(1));
    let bob = world.join("bob");
    world.run(Duration::from_secs(1));
    let Message::Join(join) = &world.clients[bob].messages[0] else { panic!("not a join") };
    assert_eq!(join.other_participants.len(), 1);
    assert_eq!(join.other_participants[0].identity, "alice");
    assert!(!join.subscriber_primary);
    let seen = world.clients[alice].updates_of("bob");
    assert_eq!(seen.last().unwrap().state, proto::participant_info::State::Active as i32);
}

#[test]
fn reliable_data_reaches_those_whom_it_is_for_once_with_its_sender_named() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.join("alice"), world.join("bob"), world.join("carol"));
    world.run(Duration::from_secs(1));
    world.send_data(alice, "to everybody", &[]);
    world.send_data(alice, "to bob", &["bob"]);
    // What was sent before comes again, as after a resume.
    world.clients[alice].sequence = 0;
    world.send_data(alice, "again", &[]);
    let from_alice = |topic: &str| ("alice".to_owned(), topic.to_owned());
    assert_eq!(world.topics(bob), [from_alice("to everybody"), from_alice("to bob")]);
    assert_eq!(world.topics(carol), [from_alice("to everybody")]);
    assert_eq!(world.topics(alice), []);
    #[expect(deprecated, reason = "clients read it all the same")]
    let kinds: Vec<_> = world.clients[bob].data.iter().map(|packet| packet.kind).collect();
    assert_eq!(kinds, [Kind::Reliable as i32; 2], "by the channel");
}

#[test]
fn audio_flows_to_a_subscriber_and_ends_with_its_publisher() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(alice);
    world.speak(alice, sender, 25);
    let sequences: Vec<_> = world.clients[bob].packets.iter().map(|packet| packet.sequence).collect();
    assert!(sequences.len() >= 24, "{sequences:?}");
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    let subscribed = world.clients[alice].messages.iter().any(|message| matches!(message, Message::TrackSubscribed(_)));
    assert!(subscribed);
    let spoke = world.clients[bob].messages.iter().any(|message| matches!(message, Message::SpeakersChanged(_)));
    assert!(spoke);

    world.request(alice, Request::Leave(proto::LeaveRequest::default()));
    world.run(Duration::from_millis(100));
    assert!(world.clients[alice].is_closed);
    let last = world.clients[bob].updates_of("alice").last().copied().unwrap().clone();
    assert_eq!(last.state, proto::participant_info::State::Disconnected as i32);
    assert_eq!(last.disconnect_reason, proto::DisconnectReason::ClientInitiated as i32);
}

#[test]
fn the_same_identity_takes_the_place_of_the_one_before() {
    let mut world = World::new();
    let first = world.join("alice");
    world.run(Duration::from_secs(1));
    let second = world.join("alice");
    world.run(Duration::from_secs(1));
    let left = world.clients[first].messages.iter().find_map(|message| match message {
        Message::Leave(leave) => Some(leave.reason),
        _ => None,
    });
    assert_eq!(left, Some(proto::DisconnectReason::DuplicateIdentity as i32));
    assert!(world.clients[first].is_closed && !world.clients[second].is_closed);
}

#[test]
fn who_may_not_publish_is_told_so() {
    let mut world = World::new();
    let mut grant = VideoGrant::join("lab");
    grant.can_publish = Some(false);
    let listener = world.try_join("listener", grant).unwrap();
    let other = world.join("other");
    world.run(Duration::from_secs(1));
    world.request(listener, Request::AddTrack(proto::AddTrackRequest { cid: "c".to_owned(), ..Default::default() }));
    world.send_data(listener, "not allowed", &[]);
    let reason = world.clients[listener].messages.iter().find_map(|message| match message {
        Message::RequestResponse(response) => Some(response.reason),
        _ => None,
    });
    assert_eq!(reason, Some(proto::request_response::Reason::NotAllowed as i32));
    assert_eq!(world.topics(other), []);
}

#[test]
fn a_full_room_refuses_but_not_who_is_in_it() {
    let mut world = World::with(|settings| settings.max_participants = 1);
    world.join("alice");
    let refusal = world.try_join("bob", VideoGrant::join("lab")).unwrap_err();
    assert_eq!((refusal.status, refusal.body.as_str()), (500, "connection closed by media"));
    assert!(world.try_join("alice", VideoGrant::join("lab")).is_ok());
}

#[test]
fn a_room_that_is_not_there_is_made_only_where_that_is_allowed() {
    let mut world = World::with(|settings| settings.auto_create = false);
    let refusal = world.try_join("alice", VideoGrant::join("lab")).unwrap_err();
    assert_eq!((refusal.status, refusal.body.as_str()), (404, "requested room does not exist"));
    let mut grant = VideoGrant::join("lab");
    grant.room_create = true;
    assert!(world.try_join("alice", grant).is_ok());
}

#[test]
fn a_room_ends_after_the_last_one_left() {
    let mut world = World::new();
    let alice = world.join("alice");
    world.run(Duration::from_millis(200));
    world.request(alice, Request::Leave(proto::LeaveRequest::default()));
    world.run(Duration::from_secs(10));
    assert_eq!(world.sfu.rooms.len(), 1);
    world.run(Duration::from_secs(20));
    assert_eq!(world.sfu.rooms.len(), 0);
    assert!(world.sfu.names.is_empty() && world.sfu.connections.is_empty());
}

/// A client that comes back, on a single connection.
fn coming_back(connection: ConnectionId, identity: &str, sid: String) -> Joining {
    Joining {
        connection: Some(connection),
        claims: AccessToken::new(identity).with_video(VideoGrant::join("lab")).claims().clone(),
        is_single: true,
        protocol: 16,
        client_protocol: 1,
        capabilities: Vec::new(),
        sdk: String::new(),
        auto_subscribe: true,
        metadata: String::new(),
        attributes: HashMap::new(),
        add_tracks: Vec::new(),
        publisher_offer: None,
        resumes: Some(sid),
    }
}

#[test]
fn who_loses_the_websocket_comes_back_as_the_same_participant() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let Message::Join(join) = world.clients[alice].messages[0].clone() else { panic!("not a join") };
    world.send_data(alice, "before", &[]);
    world.sfu.connection_lost(world.clients[alice].connection, world.now);
    world.run(Duration::from_secs(1));
    let joining = coming_back(99, "alice", join.participant.unwrap().sid);
    world.clients[alice].connection = 99;
    world.clients[alice].messages.clear();
    world.sfu.join(joining, world.now).unwrap();
    world.run(Duration::from_millis(100));
    let Message::Reconnect(reconnect) = &world.clients[alice].messages[0] else { panic!("not a reconnect") };
    assert_eq!(reconnect.last_message_seq, 1);
    world.send_data(alice, "after", &[]);
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["before", "after"]);
}

fn sync_state(publisher_sid: &str, last_seq: u32) -> Request {
    let state = proto::DataChannelReceiveState { publisher_sid: publisher_sid.to_owned(), last_seq };
    Request::SyncState(proto::SyncState { datachannel_receive_states: vec![state], ..Default::default() })
}

#[test]
fn who_joins_anew_gets_the_data_that_it_missed_once() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let Message::Join(join) = world.clients[alice].messages[0].clone() else { panic!("not a join") };
    let alice_sid = join.participant.unwrap().sid;
    world.send_data(alice, "had", &[]);
    world.send_data(alice, "for nobody else", &["carol"]);
    world.sfu.connection_lost(world.clients[bob].connection, world.now);
    world.vanish(bob);
    world.send_data(alice, "missed", &[]);
    world.run(Duration::from_secs(10));
    let bob = world.join("bob");
    // Before the connection is up, so that it waits.
    world.request(bob, sync_state(&alice_sid, 1));
    world.send_data(alice, "live", &[]);
    world.run(Duration::from_secs(1));
    world.request(bob, sync_state(&alice_sid, 1));
    world.run(Duration::from_secs(1));
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["missed", "live"]);
    let stranger = world.join("stranger");
    world.request(stranger, sync_state(&alice_sid, 0));
    world.run(Duration::from_secs(1));
    assert!(world.topics(stranger).is_empty(), "what was said before is not for it");
}

#[test]
fn who_comes_back_on_a_living_connection_gets_nothing_twice() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let sid_of = |world: &World, client: usize| {
        let Message::Join(join) = world.clients[client].messages[0].clone() else { panic!("not a join") };
        join.participant.unwrap().sid
    };
    let (alice_sid, bob_sid) = (sid_of(&world, alice), sid_of(&world, bob));
    world.send_data(alice, "before", &[]);
    world.sfu.connection_lost(world.clients[bob].connection, world.now);
    world.send_data(alice, "meanwhile", &[]);
    world.clients[bob].connection = 99;
    world.sfu.join(coming_back(99, "bob", bob_sid), world.now).unwrap();
    world.request(bob, sync_state(&alice_sid, 1));
    world.run(Duration::from_secs(1));
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["before", "meanwhile"]);
}

#[test]
fn who_does_not_read_its_data_is_let_go_and_may_join_anew() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    world.vanish(bob);
    let topic = "x".repeat(120_000);
    for _ in 0..20 {
        world.send_data(alice, &topic, &[]);
        if world.clients[bob].is_closed {
            break;
        }
    }
    let Some(Message::Leave(leave)) = world.clients[bob].messages.last() else { panic!("not told") };
    assert_eq!(leave.reason(), proto::DisconnectReason::MediaFailure);
    assert_eq!(leave.action(), proto::leave_request::Action::Reconnect);
    let bob = world.join("bob");
    world.run(Duration::from_secs(1));
    world.send_data(alice, "hello", &["bob"]);
    assert_eq!(world.topics(bob), [("alice".to_owned(), "hello".to_owned())]);
}

#[test]
fn who_was_never_here_cannot_come_back() {
    let mut world = World::new();
    let mut client = Client::new(5, world.now.instant);
    client.connection = 5;
    world.clients.push(client);
    let mut joining = coming_back(5, "ghost", "PA_nobody".to_owned());
    joining.is_single = false;
    world.sfu.join(joining, world.now).unwrap();
    world.exchange();
    let Message::Leave(leave) = &world.clients[0].messages[0] else { panic!("not a leave") };
    assert_eq!(leave.action, proto::leave_request::Action::Reconnect as i32);
    assert_eq!(leave.reason, proto::DisconnectReason::StateMismatch as i32);
    assert!(world.clients[0].is_closed && world.sfu.rooms.is_empty());
}

#[test]
fn the_demo_agent_joins_and_answers_chat() {
    let mut world = World::with(|settings| settings.echo_agent = true);
    let alice = world.join("alice");
    world.run(Duration::from_secs(1));
    let Some(agent) = world.clients[alice].messages.iter().find_map(|message| match message {
        Message::Update(update) => update.participants.iter().find(|info| info.identity.starts_with("agent-")).cloned(),
        _ => None,
    }) else {
        panic!("no agent");
    };
    assert_eq!(agent.kind, proto::participant_info::Kind::Agent as i32);
    let header =
        proto::data_stream::Header { stream_id: "s".to_owned(), topic: "lk.chat".to_owned(), ..Default::default() };
    let chunk =
        proto::data_stream::Chunk { stream_id: "s".to_owned(), content: b"hello".to_vec(), ..Default::default() };
    let trailer = proto::data_stream::Trailer { stream_id: "s".to_owned(), ..Default::default() };
    for value in [Value::StreamHeader(header), Value::StreamChunk(chunk), Value::StreamTrailer(trailer)] {
        let client = &mut world.clients[alice];
        let packet = proto::DataPacket { value: Some(value), ..Default::default() };
        client.rtc.send_data(client.reliable, true, packet.encode_to_vec(), world.now.instant).unwrap();
    }
    world.run(Duration::from_secs(1));
    let said: Vec<u8> = world.clients[alice]
        .data
        .iter()
        .filter_map(|packet| match &packet.value {
            Some(Value::StreamChunk(chunk)) => Some(chunk.content.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(String::from_utf8(said).unwrap(), "You said: hello");
    let state = world.clients[alice].updates_of(&agent.identity).last().unwrap().attributes["lk.agent.state"].clone();
    assert_eq!(state, "listening");
}

impl World {
    fn register(&mut self, worker: WorkerId, kind: proto::JobType) {
        let register = proto::RegisterWorkerRequest { r#type: kind as i32, ..Default::default() };
        self.sfu.handle_worker(worker, FromWorker::Register(register), self.now).unwrap();
        self.exchange();
    }

    /// The jobs that a worker was offered and has not answered yet.
    fn offers(&mut self, worker: WorkerId) -> Vec<String> {
        let offered = self
            .to_workers
            .extract_if(.., |(to, message)| *to == worker && matches!(message, ToWorker::Availability(_)));
        let id = |message| match message {
            ToWorker::Availability(request) => request.job.unwrap().id,
            _ => unreachable!("only offers were taken"),
        };
        offered.map(|(_, message)| id(message)).collect()
    }

    fn answer(&mut self, worker: WorkerId, job_id: &str, available: bool) {
        let answer = proto::AvailabilityResponse { job_id: job_id.to_owned(), available, ..Default::default() };
        self.sfu.handle_worker(worker, FromWorker::Availability(answer), self.now).unwrap();
        self.exchange();
    }
}

#[test]
fn a_job_that_a_worker_refuses_goes_to_the_next_one_and_waits_where_there_is_none() {
    let mut world = World::new();
    world.register(1, proto::JobType::JtRoom);
    world.join("alice");
    world.exchange();
    let offered = world.offers(1);
    world.answer(1, &offered[0], false);
    world.run(Duration::from_secs(30));
    assert_eq!(world.offers(1), <[String; 0]>::default(), "it has refused");

    world.register(2, proto::JobType::JtPublisher);
    assert_eq!(world.offers(2), <[String; 0]>::default(), "it takes no rooms");
    let load = proto::UpdateWorkerStatus { load: 0.1, ..Default::default() };
    world.sfu.handle_worker(2, FromWorker::UpdateWorker(load), world.now).unwrap();
    world.exchange();
    assert_eq!(world.offers(2), <[String; 0]>::default(), "and none after it has told its load");

    world.register(3, proto::JobType::JtRoom);
    let offered = world.offers(3);
    assert_eq!(offered.len(), 1);
    world.answer(3, &offered[0], true);
    let assigned =
        world.to_workers.iter().filter(|(to, message)| *to == 3 && matches!(message, ToWorker::Assignment(_)));
    assert_eq!(assigned.count(), 1);
}

#[test]
fn a_worker_that_does_not_answer_or_goes_away_is_passed_over() {
    let mut world = World::new();
    world.register(1, proto::JobType::JtRoom);
    world.register(2, proto::JobType::JtRoom);
    world.join("alice");
    world.exchange();
    assert_eq!((world.offers(1).len(), world.offers(2).len()), (1, 0));
    world.run(Duration::from_secs(8));
    assert_eq!((world.offers(1).len(), world.offers(2).len()), (0, 1));
    world.sfu.worker_lost(2, world.now);
    world.exchange();
    world.register(3, proto::JobType::JtRoom);
    assert_eq!(world.offers(3).len(), 1);
}

#[test]
fn the_demo_agent_comes_where_every_worker_refuses() {
    let mut world = World::with(|settings| settings.echo_agent = true);
    world.register(1, proto::JobType::JtRoom);
    let alice = world.join("alice");
    world.exchange();
    let offered = world.offers(1);
    world.answer(1, &offered[0], false);
    world.run(Duration::from_secs(1));
    let is_agent = |info: &proto::ParticipantInfo| info.kind == proto::participant_info::Kind::Agent as i32;
    let came = world.clients[alice].messages.iter().any(|message| match message {
        Message::Update(update) => update.participants.iter().any(is_agent),
        _ => false,
    });
    assert!(came);
}

#[test]
fn who_may_not_subscribe_gets_data_all_the_same() {
    let mut world = World::new();
    let alice = world.join("alice");
    let mut grant = VideoGrant::join("lab");
    grant.can_subscribe = Some(false);
    let deaf = world.try_join("deaf", grant).unwrap();
    world.run(Duration::from_secs(1));
    world.send_data(alice, "to everybody", &[]);
    assert_eq!(world.topics(deaf), [("alice".to_owned(), "to everybody".to_owned())]);
}

#[test]
fn who_has_two_connections_and_may_not_subscribe_gets_data_on_the_one_that_it_offers() {
    let mut world = World::new();
    let alice = world.join("alice");
    let mut grant = VideoGrant::join("lab");
    grant.can_subscribe = Some(false);
    let deaf = Client::new(2, world.now.instant);
    let deaf = world.join_as(deaf, "deaf", grant, |joining| joining.is_single = false).unwrap();
    world.run(Duration::from_secs(1));
    let Message::Join(join) = world.clients[deaf].messages[0].clone() else { panic!("not a join") };
    assert!(!join.subscriber_primary);
    assert!(!world.clients[deaf].messages.iter().any(|message| matches!(message, Message::Offer(_))));
    assert_eq!(world.clients[alice].updates_of("deaf").len(), 1, "it is active");
    world.send_data(alice, "to everybody", &[]);
    assert_eq!(world.topics(deaf), [("alice".to_owned(), "to everybody".to_owned())]);
}

#[test]
fn a_publisher_hears_what_is_wanted_of_its_video_as_soon_as_anything_is() {
    let mut world = World::new();
    let camera = world.join("camera");
    world.run(Duration::from_secs(1));
    let request = proto::AddTrackRequest {
        cid: "camera".to_owned(),
        r#type: proto::TrackType::Video as i32,
        source: proto::TrackSource::Camera as i32,
        ..Default::default()
    };
    world.request(camera, Request::AddTrack(request));
    world.exchange();
    let sender = world.clients[camera].rtc.add_sender(MediaKind::Video, Msid::new("stream", "camera"), &[]);
    world.offer(camera);
    for index in 0..10 {
        world.run(Duration::from_millis(20));
        let packet = OutgoingRtp::new(Codec::Vp8, index, 0, vec![0x90, 0x80, 1, 0, 0, 0]);
        world.clients[camera].rtc.send_rtp(sender, packet, world.now.instant).unwrap();
    }
    let told = |world: &World| {
        let updates = world.clients[camera].messages.iter().filter_map(|message| match message {
            Message::SubscribedQualityUpdate(update) => Some(update.subscribed_codecs[0].qualities.clone()),
            _ => None,
        });
        updates.collect::<Vec<_>>()
    };
    world.run(Duration::from_secs(5));
    assert!(told(&world).is_empty(), "somebody may come yet");
    world.join("viewer");
    world.run(Duration::from_millis(100));
    assert_eq!(told(&world).len(), 1);
    assert!(told(&world)[0].iter().all(|quality| quality.enabled));
}

#[test]
fn sections_that_a_client_is_about_to_offer_are_not_asked_for_again() {
    let mut world = World::new();
    let listener = world.join("listener");
    world.run(Duration::from_secs(1));
    world.clients[listener].is_busy = true;
    for number in 0..5 {
        let speaker = world.join(&format!("speaker-{number}"));
        world.run(Duration::from_secs(1));
        let sender = world.publish_audio(speaker);
        world.speak(speaker, sender, 5);
    }
    let asked = world.clients[listener].messages.iter().map(|message| match message {
        Message::MediaSectionsRequirement(requirement) => requirement.num_audios,
        _ => 0,
    });
    assert_eq!(asked.sum::<u32>(), 4, "one for each track but the first, for which there was one");
}

#[test]
fn datagrams_of_strangers_change_nothing() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let mut rng = fastrand::Rng::with_seed(3);
    for index in 0..2_000_u16 {
        let length = rng.usize(0..200);
        let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        world.sfu.handle_datagram(SocketAddr::from(([127, 0, 0, 1], index)), &bytes, world.now);
        world.sfu.handle_datagram(world.clients[alice].address, &bytes, world.now);
    }
    world.run(Duration::from_secs(1));
    world.send_data(alice, "still here", &[]);
    assert_eq!(world.topics(bob), [("alice".to_owned(), "still here".to_owned())]);
    assert!(world.sfu.sources.len() <= 2);
}

#[test]
fn who_gets_the_address_of_one_who_vanished_joins_all_the_same() {
    let mut world = World::new();
    let (vanished, speaker) = (world.join("vanished"), world.join("speaker"));
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(speaker);
    world.speak(speaker, sender, 5);
    // The system gives the port of a process that ended to the next one.
    let address = world.vanish(vanished);
    let newcomer = Client::at(address, 3, world.now.instant);
    let newcomer = world.join_as(newcomer, "newcomer", VideoGrant::join("lab"), |_| {}).unwrap();
    // The one before is still sent what everybody is sent.
    world.send_data(speaker, "early", &[]);
    world.speak(speaker, sender, 40);
    world.send_data(speaker, "late", &[]);
    assert!(world.clients[newcomer].rtc.is_connected());
    world.send_data(newcomer, "hello", &[]);
    assert_eq!(world.topics(speaker), [("newcomer".to_owned(), "hello".to_owned())]);
    let said: Vec<_> = world.topics(newcomer).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(said, ["early", "late"]);
    assert!(world.clients[newcomer].packets.len() > 20, "{}", world.clients[newcomer].packets.len());
}

#[test]
fn who_has_no_udp_joins_over_tcp_and_hears_and_is_heard() {
    let mut world = World::with(|settings| settings.has_tcp = true);
    let alice = world.join("alice");
    let bob = Client::over_tcp(2, world.now.instant);
    let bob = world.join_as(bob, "bob", VideoGrant::join("lab"), |_| {}).unwrap();
    world.run(Duration::from_secs(1));
    for (from, to, name) in [(alice, bob, "alice"), (bob, alice, "bob")] {
        let sender = world.publish_audio(from);
        world.speak(from, sender, 20);
        assert!(world.clients[to].packets.len() >= 15, "{}", world.clients[to].packets.len());
        world.send_data(from, "hello", &[]);
        assert_eq!(world.topics(to), [(name.to_owned(), "hello".to_owned())]);
    }
    let trickled = world.clients[bob].messages.iter().filter_map(|message| match message {
        Message::Trickle(trickle) => Some((trickle.candidate_init.contains("tcptype passive"), trickle.r#final)),
        _ => None,
    });
    assert_eq!(trickled.take(2).collect::<Vec<_>>(), [(false, false), (true, true)]);
}

#[test]
fn a_frame_that_is_of_nobody_is_not_taken_and_one_of_somebody_is_until_its_connection_ends() {
    let mut world = World::with(|settings| settings.has_tcp = true);
    let alice = Client::over_tcp(1, world.now.instant);
    let alice = world.join_as(alice, "alice", VideoGrant::join("lab"), |_| {}).unwrap();
    world.run(Duration::from_secs(1));
    let (address, stranger) = (world.clients[alice].address, NOWHERE);
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..500 {
        let bytes: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
        assert!(!world.sfu.handle_frame(stranger, &bytes, world.now));
        assert!(world.sfu.handle_frame(address, &bytes, world.now));
    }
    world.sfu.tcp_ended(address);
    assert!(!world.sfu.handle_frame(address, &[0x80; 20], world.now), "the next connection from there is another one");
    world.run(Duration::from_secs(10));
    assert!(world.sfu.sources.len() <= 1);
}
