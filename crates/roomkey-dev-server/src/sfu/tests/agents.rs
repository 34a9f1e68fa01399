//! Agents: workers and the demo agent.

use std::time::Duration;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;
use proto::server_message::Message as ToWorker;
use proto::signal_response::Message;
use proto::worker_message::Message as FromWorker;

use super::world::World;
use crate::sfu::agents::WorkerId;

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

/// What a client sends of a text on `lk.chat`.
fn chat(stream_id: &str, text: &str) -> [Value; 3] {
    let stream_id = stream_id.to_owned();
    let header =
        proto::data_stream::Header { stream_id: stream_id.clone(), topic: "lk.chat".to_owned(), ..Default::default() };
    let chunk = proto::data_stream::Chunk {
        stream_id: stream_id.clone(),
        content: text.as_bytes().to_vec(),
        ..Default::default()
    };
    let trailer = proto::data_stream::Trailer { stream_id, ..Default::default() };
    [Value::StreamHeader(header), Value::StreamChunk(chunk), Value::StreamTrailer(trailer)]
}

impl World {
    fn say(&mut self, client: usize, value: Value) {
        self.send_packet(client, &proto::DataPacket { value: Some(value), ..Default::default() });
    }

    /// What the demo agent said to a client.
    fn heard(&self, client: usize) -> Vec<String> {
        let said = |packet: &proto::DataPacket| match &packet.value {
            Some(Value::StreamChunk(chunk)) => Some(String::from_utf8_lossy(&chunk.content).into_owned()),
            _ => None,
        };
        let texts = self.clients[client].data.iter().filter_map(said);
        texts.filter(|text| text.starts_with("You said")).collect()
    }
}

#[test]
fn texts_that_never_end_do_not_make_the_demo_agent_deaf_to_others() {
    let mut world = World::with(|settings| settings.echo_agent = true);
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let [header, chunk, trailer] = chat("bob's", "hello");
    world.say(bob, header);
    for number in 0..100 {
        let [header, ..] = chat(&format!("{number}"), "");
        world.say(alice, header);
    }
    for value in chat("last", "still there?") {
        world.say(alice, value);
    }
    world.say(bob, chunk);
    world.say(bob, trailer);
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(bob), ["You said: still there?", "You said: hello"]);
}

#[test]
fn texts_of_two_that_have_one_id_are_two_texts() {
    let mut world = World::with(|settings| settings.echo_agent = true);
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let (alices, bobs) = (chat("same", "of alice"), chat("same", "of bob"));
    for (of_alice, of_bob) in alices.into_iter().zip(bobs) {
        world.say(alice, of_alice);
        world.say(bob, of_bob);
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.heard(bob), ["You said: of alice", "You said: of bob"]);
}
