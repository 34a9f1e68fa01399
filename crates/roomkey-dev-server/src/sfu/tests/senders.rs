//! Whom a data packet names as its sender, and what is not passed on at all.

use std::time::Duration;

use livekit_protocol as proto;
use proto::DisconnectReason as Reason;
use proto::data_packet::Value;
use proto::data_stream::header::ContentHeader;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_token::VideoGrant;

use super::world::{Client, World};

fn header(content: ContentHeader) -> Value {
    let stream_id = "s".to_owned();
    Value::StreamHeader(proto::data_stream::Header { stream_id, content_header: Some(content), ..Default::default() })
}

fn text() -> Value {
    header(ContentHeader::TextHeader(proto::data_stream::TextHeader::default()))
}

fn bytes() -> Value {
    header(ContentHeader::ByteHeader(proto::data_stream::ByteHeader::default()))
}

fn chat() -> Value {
    Value::ChatMessage(proto::ChatMessage { message: "hello".to_owned(), ..Default::default() })
}

fn in_name_of(identity: &str, value: Value) -> proto::DataPacket {
    proto::DataPacket { participant_identity: identity.to_owned(), value: Some(value), ..Default::default() }
}

impl World {
    fn join_agent(&mut self, identity: &str) -> usize {
        let mut grant = VideoGrant::join("lab");
        grant.agent = true;
        self.try_join(identity, grant).unwrap()
    }

    /// Who is named in what a client got, and whether it is marked as generated.
    fn senders(&self, client: usize) -> Vec<(&str, bool)> {
        let is_generated = |packet: &proto::DataPacket| match &packet.value {
            Some(Value::ChatMessage(message)) => message.generated,
            Some(Value::StreamHeader(header)) => match &header.content_header {
                Some(ContentHeader::TextHeader(text)) => text.generated,
                _ => false,
            },
            _ => false,
        };
        let data = self.clients[client].data.iter();
        data.map(|packet| (packet.participant_identity.as_str(), is_generated(packet))).collect()
    }
}

#[test]
fn an_agents_texts_are_in_the_name_of_whom_it_speaks_for_and_nobody_elses_are() {
    let mut world = World::new();
    let (agent, alice, mallory) = (world.join_agent("agent"), world.join("alice"), world.join("mallory"));
    world.run(Duration::from_secs(1));
    for value in [text(), chat(), bytes()] {
        world.send_packet(agent, &in_name_of("alice", value));
    }
    world.send_packet(agent, &in_name_of("", text()));
    let expected = [("alice", true), ("alice", true), ("agent", false), ("agent", false)];
    assert_eq!(world.senders(alice), expected);
    world.clients[alice].data.clear();
    for value in [text(), chat()] {
        world.send_packet(mallory, &in_name_of("alice", value));
    }
    assert_eq!(world.senders(alice), [("mallory", false); 2]);
}

#[test]
fn who_joins_anew_gets_what_an_agent_said_in_its_name_meanwhile() {
    let mut world = World::new();
    let (agent, alice) = (world.join_agent("agent"), world.join("alice"));
    world.run(Duration::from_secs(1));
    let sid = world.sid_of(agent);
    world.clients[agent].sequence = 5;
    world.sfu.connection_lost(world.clients[alice].connection, world.now);
    world.vanish(alice);
    world.send_packet(agent, &proto::DataPacket { sequence: 6, ..in_name_of("alice", text()) });
    world.run(Duration::from_secs(1));
    let alice = world.join("alice");
    let state = proto::DataChannelReceiveState { publisher_sid: sid, last_seq: 5 };
    let state = proto::SyncState { datachannel_receive_states: vec![state], ..Default::default() };
    world.request(alice, Request::SyncState(state));
    world.run(Duration::from_secs(1));
    assert_eq!(world.senders(alice), [("alice", true)]);
}

#[test]
#[expect(deprecated, reason = "older clients read the sender in the user's packet")]
fn who_is_hidden_is_not_named_by_its_data() {
    let mut world = World::new();
    let alice = world.join("alice");
    let mut grant = VideoGrant::join("lab");
    grant.hidden = true;
    let hidden = world.try_join("hidden", grant).unwrap();
    world.run(Duration::from_secs(1));
    world.send_data(hidden, "topic", &[]);
    world.send_packet(hidden, &in_name_of("hidden", text()));
    assert_eq!(world.senders(alice), [("", false); 2]);
    let Some(Value::User(user)) = &world.clients[alice].data[0].value else { panic!("not a user's") };
    assert_eq!((user.participant_identity.as_str(), user.participant_sid.as_str()), ("", ""));
}

#[test]
fn only_agents_transcribe_and_metrics_go_to_nobody() {
    let mut world = World::new();
    let (agent, alice, mallory) = (world.join_agent("agent"), world.join("alice"), world.join("mallory"));
    world.run(Duration::from_secs(1));
    let transcription = || Value::Transcription(proto::Transcription::default());
    for sender in [mallory, agent] {
        world.send_packet(sender, &in_name_of("", transcription()));
        world.send_packet(sender, &in_name_of("", Value::Metrics(proto::MetricsBatch::default())));
    }
    assert_eq!(world.senders(alice), [("agent", false)]);
}

#[test]
fn a_packet_that_is_sent_again_after_a_join_anew_goes_out_once() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let said = |topic: &str, nonce: u8| {
        let user = proto::UserPacket { topic: Some(topic.to_owned()), nonce: vec![nonce; 16], ..Default::default() };
        in_name_of("", Value::User(user))
    };
    world.send_packet(alice, &said("once", 1));
    let client = Client::new(3, world.now.instant);
    let alice = world.join_as(client, "alice", VideoGrant::join("lab"), |_| {}).unwrap();
    world.run(Duration::from_secs(1));
    world.send_packet(alice, &said("once", 1));
    world.send_packet(alice, &said("another", 2));
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["once", "another"]);
}

#[test]
fn who_leaves_says_of_itself_what_a_client_may_say() {
    let mut world = World::new();
    let alice = world.join("alice");
    for (number, (said, told)) in [
        (Reason::UserRejected, Reason::UserRejected),
        (Reason::UserUnavailable, Reason::UserUnavailable),
        (Reason::AgentError, Reason::AgentError),
        (Reason::ParticipantRemoved, Reason::ClientInitiated),
        (Reason::ServerShutdown, Reason::ClientInitiated),
        (Reason::UnknownReason, Reason::ClientInitiated),
    ]
    .into_iter()
    .enumerate()
    {
        let identity = format!("leaver-{number}");
        let leaver = world.join(&identity);
        world.run(Duration::from_secs(1));
        world.request(leaver, Request::Leave(proto::LeaveRequest { reason: said as i32, ..Default::default() }));
        world.run(Duration::from_millis(100));
        assert_eq!(world.clients[alice].updates_of(&identity).last().unwrap().disconnect_reason(), told);
    }
    assert!(!world.clients[alice].messages.iter().any(|message| matches!(message, Message::Leave(_))));
}
