//! Events in any order: nothing panics, nothing grows without bound, and what is promised holds.

use std::collections::{HashMap, HashSet};

use roomkey_room::{ConnectErrorKind, DisconnectReason, ParticipantState, RoomError};

use super::*;
use crate::{RestartPolicy, SendOptions};

const LIMIT: usize = 40;

/// How many sends an outbox has at most.
const MOST_WAITING: usize = 257;

#[test]
fn whatever_happens_in_whatever_order_the_promises_hold() {
    for seed in 0..60 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let restart = if chance.bool() { RestartPolicy::Attempts(2) } else { RestartPolicy::Never };
        let mut stage = Stage::with(Settings { history_limit: LIMIT, restart, seed, ..Settings::default() });
        let mut promises = Promises::default();
        for _ in 0..1_500 {
            step(&mut stage, &mut chance);
            promises.check(&stage);
            stage.log.retain(is_still_needed);
        }
        if chance.bool() {
            // A session that goes on, in whatever room it has by then, leaves nobody waiting.
            calm_down(&mut stage);
            promises.check(&stage);
            promises.check_sent(&stage, seed);
            stage.log.retain(is_still_needed);
        }
        // Whoever waits is told in the end.
        stage.end();
        stage.pass(seconds(60));
        promises.check(&stage);
        promises.check_settled(&stage, seed);
    }
}

/// What the next steps look back at.
fn is_still_needed(output: &Output) -> bool {
    matches!(output, Output::FetchToken { .. } | Output::Connect { .. } | Output::SendText(_) | Output::State(_))
}

/// From here on the network, the token server and the agent do what they should, but for one room that is lost while it sends.
fn calm_down(stage: &mut Stage) {
    if stage.state().is_disconnected() {
        stage.start();
    }
    stage.send("one more", SendOptions::default());
    let mut is_lost = false;
    for _ in 0..2 * MOST_WAITING {
        if stage.state().is_disconnected() {
            stage.start();
        }
        if let Some((room, _)) = stage.connecting().filter(|(room, _)| stage.core.room() != Some(*room)) {
            stage.handle(Input::RoomLeft(room));
        }
        if stage.fetches() > 0 {
            stage.answer(&token("calm"), TokenOrigin::New);
        }
        if let Some(room) = stage.core.room() {
            if stage.room != Some(room) || stage.state() == SessionState::Connecting {
                stage.join();
            }
            stage.room_state(ConnectionState::Connected);
            stage.put(agent("helper", Some("listening")));
            match stage.given() {
                Some(_) if !is_lost => {
                    is_lost = true;
                    stage.room_state(ConnectionState::Disconnected(DisconnectReason::SignalClose));
                }
                Some(send) => stage.room(RoomInput::Sent(send, Ok(()))),
                None => {}
            }
        }
        stage.pass(Duration::from_millis(500));
    }
}

fn step(stage: &mut Stage, chance: &mut fastrand::Rng) {
    let key = chance.u64(0..200);
    let who = ["me", "helper", "second", "friend"][chance.usize(0..4)];
    let segment = format!("SG_{}", chance.u8(0..30));
    let has_fetch = stage.fetches() > 0;
    let room = stage.connecting().map(|(room, _)| room);
    match chance.u8(0..28) {
        0 => drop(stage.start_with(if chance.bool() { Ready::Room } else { Ready::Agent }, MicrophonePlan::PreConnect)),
        1 if chance.u8(0..6) == 0 => drop(stage.end()),
        2 => drop(stage.prepare()),
        3 if has_fetch => {
            let origin = if chance.bool() { TokenOrigin::New } else { TokenOrigin::Held };
            let credentials = if chance.bool() { token("plain") } else { dispatching("dispatch") };
            stage.answer(&credentials, origin);
        }
        4 if room.is_some() => stage.join(),
        5 => {
            let error =
                ConnectError::from([ConnectErrorKind::NotAllowed, ConnectErrorKind::Unavailable][chance.usize(0..2)]);
            room.into_iter().for_each(|room| stage.handle(Input::RoomNotJoined(room, error.clone())));
        }
        6 => room.into_iter().for_each(|room| stage.handle(Input::RoomLeft(room))),
        7 if stage.room.is_some() => {
            let states = [
                ConnectionState::Connected,
                ConnectionState::Resuming,
                ConnectionState::Restarting,
                ConnectionState::Disconnected(DisconnectReason::SignalClose),
            ];
            let is_rare = chance.u8(0..4) != 0;
            stage.room_state(states[chance.usize(0..if is_rare { 3 } else { 4 })]);
        }
        8 | 9 if stage.room.is_some() => {
            let states = [None, Some("listening"), Some("thinking"), Some("odd")];
            let mut participant = agent(who, states[chance.usize(0..4)]);
            participant.state = if chance.bool() { ParticipantState::Active } else { ParticipantState::Joined };
            stage.put(participant);
        }
        10 if stage.room.is_some() => stage.remove(who),
        11..=13 if stage.room.is_some() => {
            let topic = [TRANSCRIPTION_TOPIC, CHAT_TOPIC, "other"][chance.usize(0..3)];
            let is_final = if chance.bool() { "true" } else { "false" };
            stage.open(key, who, topic, &[("lk.segment_id", &segment), ("lk.transcription_final", is_final)]);
        }
        14..=17 if stage.room.is_some() => {
            let most = if chance.u8(0..20) == 0 { 255 } else { 127 };
            let bytes = (0..chance.usize(0..40)).map(|_| chance.u8(32..most)).collect();
            stage.room(RoomInput::Text(key, bytes));
        }
        18 | 19 if stage.room.is_some() => {
            let outcome = if chance.u8(0..5) == 0 { Err("broken".into()) } else { Ok(()) };
            stage.room(RoomInput::TextClosed(key, BTreeMap::new(), outcome));
        }
        20 if stage.room.is_some() => {
            let segment = LegacySegment {
                speaker: who.into(),
                track_sid: None,
                id: segment,
                text: "said".to_owned(),
                is_final: chance.bool(),
            };
            stage.room(RoomInput::LegacySegment(segment));
        }
        21 => drop(stage.send("hello", SendOptions::default())),
        22 if stage.room.is_some() => {
            if let Some(send) = stage.given() {
                stage.room(RoomInput::Sent(
                    send,
                    if chance.bool() { Ok(()) } else { Err(SendError::Room(RoomError::Disconnected.into())) },
                ));
            }
        }
        23 if stage.room.is_some() => {
            stage.room(RoomInput::MicrophonePublished("TR_mic".into()));
            stage.room(RoomInput::MicrophoneReceived("TR_mic".into()));
        }
        24 => {
            let kept = Message::new(MessageId::new(who, segment), MessageKind::Chat, "kept");
            stage.handle(Input::RestoreHistory(vec![kept]));
        }
        25 | 26 => {
            let id = MessageId::new("me", format!("own-{}", stage.last_id.saturating_sub(chance.u64(0..9))));
            stage.edit(&id, "hello again");
        }
        _ => stage.pass(Duration::from_millis(chance.u64(0..4_000))),
    }
}

#[derive(Default)]
struct Promises {
    list: Vec<MessageId>,
    settled: HashMap<MessageId, Status>,
    created: HashSet<MessageId>,
    starts: HashSet<StartId>,
}

impl Promises {
    fn check(&mut self, stage: &Stage) {
        let mut anew = HashSet::new();
        for output in &stage.log {
            match output {
                Output::MessageEvent(MessageEvent::Created(message)) => {
                    self.created.insert(message.id.clone());
                    self.settled.remove(&message.id);
                    anew.insert(message.id.clone());
                }
                Output::MessageEvent(event) => {
                    let message = event.message();
                    assert!(self.created.contains(&message.id), "{} was never created", message.id);
                    if let Some(settled) = self.settled.get(&message.id) {
                        assert_eq!(*settled, message.status, "a settled status went back");
                        assert!(matches!(event, MessageEvent::Changed(_)), "settled twice");
                    } else if message.status.is_settled() {
                        self.settled.insert(message.id.clone(), message.status.clone());
                    }
                }
                Output::Messages(list) => self.check_list(list, &anew),
                Output::StartResult(start, _) => {
                    assert!(self.starts.insert(*start), "a start was answered twice");
                }
                _ => {}
            }
        }
        assert!(stage.core.poll_timeout(stage.now.at).is_none_or(|due| due >= stage.now.at));
    }

    /// `anew`: what had gone, for want of room, and came again.
    fn check_list(&mut self, list: &[Arc<Message>], anew: &HashSet<MessageId>) {
        assert!(list.len() <= LIMIT);
        let ids: Vec<_> = list.iter().map(|message| message.id.clone()).collect();
        let unique: HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "an id is there twice");
        // Those that were there before are in the same order.
        let before: Vec<_> = self.list.iter().filter(|id| unique.contains(id) && !anew.contains(id)).collect();
        let old: HashSet<_> = before.iter().copied().collect();
        let after: Vec<_> = ids.iter().filter(|id| old.contains(id)).collect();
        let moved = before.iter().zip(&after).filter(|(one, other)| one != other).count();
        assert_eq!(moved, 0, "messages changed places");
        self.list = ids;
    }

    fn check_sent(&self, stage: &Stage, seed: u64) {
        assert_eq!(stage.state(), SessionState::Connected, "seed {seed}");
        let pending = stage.list().iter().filter(|message| message.status == Status::Pending).count();
        assert_eq!(pending, 0, "seed {seed}: something is never sent, and does not fail either");
    }

    fn check_settled(&self, stage: &Stage, seed: u64) {
        let open = stage.list().iter().filter(|message| !message.status.is_settled()).count();
        assert_eq!(open, 0, "seed {seed}: something is under way in a session that ended");
        assert!(stage.state().is_disconnected(), "seed {seed}");
    }
}
