//! What is said without a terminal, and when it has been answered.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use roomkey::session::{AgentState, MessageEvent, MessageId, Status};
use tokio::time::Instant;

use crate::join::speaker::Speaker;

/// How long the agent is quiet before what it said counts as its whole answer: it may say more than one thing.
const PAUSE: Duration = Duration::from_millis(300);

/// Texts that are said one after the other, each when the one before it has been answered.
#[derive(Debug)]
pub(crate) struct Script {
    texts: VecDeque<String>,
    current: Option<Current>,
    /// What the agent is in the middle of saying.
    streaming: BTreeSet<MessageId>,
    agent: Agent,
    /// When the agent did something last.
    last_heard: Instant,
}

/// What was said last, until it has been answered.
#[derive(Debug)]
struct Current {
    is_answered: bool,
    /// What the agent was in the middle of saying by then, which is no answer to it.
    earlier: BTreeSet<MessageId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    Absent,
    Attentive,
    Busy,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Say this, and ask again.
    Say(String),
    /// Nothing until something happens, or this time.
    Wait(Option<Instant>),
    /// All has been said and answered.
    Leave,
}

impl Script {
    pub(crate) fn new(texts: Vec<String>, now: Instant) -> Self {
        Self { texts: texts.into(), current: None, streaming: BTreeSet::new(), agent: Agent::Absent, last_heard: now }
    }

    /// The agent is in another state.
    pub(crate) fn handle_agent(&mut self, state: &AgentState, now: Instant) {
        self.last_heard = now;
        self.agent = match state {
            AgentState::Thinking | AgentState::Speaking => Agent::Busy,
            AgentState::Listening => Agent::Attentive,
            // It was at work before.
            AgentState::Idle | AgentState::Buffering | AgentState::Other(_) if self.agent != Agent::Absent => {
                Agent::Attentive
            }
            AgentState::Disconnected
            | AgentState::Connecting
            | AgentState::Buffering
            | AgentState::Initializing
            | AgentState::Idle
            | AgentState::Reconnecting
            | AgentState::Failed(_)
            | AgentState::Other(_) => Agent::Absent,
        };
    }

    /// Something became of a message. Gives what is to be shown: what the agent has said to its end since the first text.
    pub(crate) fn handle_message<'a>(
        &mut self,
        event: &'a MessageEvent,
        speaker: Speaker,
        now: Instant,
    ) -> Option<&'a str> {
        if speaker != Speaker::Agent {
            return None;
        }
        self.last_heard = now;
        let message = event.message();
        match event {
            MessageEvent::Created(_) | MessageEvent::Changed(_) => {
                if message.status == Status::Streaming {
                    self.streaming.insert(message.id.clone());
                }
                None
            }
            MessageEvent::Finalized(_) | MessageEvent::Aborted(_) => {
                self.streaming.remove(&message.id);
                let current = self.current.as_mut()?;
                current.is_answered |= !current.earlier.contains(&message.id);
                Some(&message.text)
            }
        }
    }

    /// What is to be done.
    pub(crate) fn poll(&mut self, now: Instant) -> Step {
        if let Some(current) = &self.current {
            if !current.is_answered || !self.streaming.is_empty() || self.agent == Agent::Busy {
                return Step::Wait(None);
            }
            let quiet_at = self.last_heard + PAUSE;
            if now < quiet_at {
                return Step::Wait(Some(quiet_at));
            }
            self.current = None;
        }
        if self.texts.is_empty() {
            return Step::Leave;
        }
        if self.agent == Agent::Absent {
            return Step::Wait(None);
        }
        self.current = Some(Current { is_answered: false, earlier: self.streaming.clone() });
        self.texts.pop_front().map_or(Step::Leave, Step::Say)
    }

    /// What is waited for, in words that complete "in the time given, …".
    pub(crate) fn waits_for(&self) -> &'static str {
        match &self.current {
            None => "no agent was at work in the room",
            Some(current) if current.is_answered => "the agent did not end its answer",
            Some(_) => "the agent did not answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roomkey::session::{Message, MessageKind};

    use super::*;
    use crate::clock;

    fn message(id: &str, status: Status) -> Arc<Message> {
        let mut message =
            Message::new(MessageId::new("agent", id), MessageKind::AgentTranscript, format!("text of {id}"));
        message.status = status;
        Arc::new(message)
    }

    fn begun(id: &str) -> MessageEvent {
        MessageEvent::Created(message(id, Status::Streaming))
    }

    fn done(id: &str) -> MessageEvent {
        MessageEvent::Finalized(message(id, Status::Final))
    }

    fn script(texts: &[&str]) -> (Script, Instant) {
        let now = clock::now();
        (Script::new(texts.iter().map(|&text| text.to_owned()).collect(), now), now)
    }

    #[test]
    fn each_text_is_said_when_the_one_before_it_is_answered() {
        let (mut script, now) = script(&["one", "two"]);
        assert_eq!(script.poll(now), Step::Wait(None));
        assert_eq!(script.waits_for(), "no agent was at work in the room");
        script.handle_agent(&AgentState::Listening, now);
        assert_eq!(script.poll(now), Step::Say("one".to_owned()));
        assert_eq!(script.poll(now), Step::Wait(None));
        assert_eq!(script.waits_for(), "the agent did not answer");

        script.handle_agent(&AgentState::Thinking, now);
        assert_eq!(script.handle_message(&begun("a"), Speaker::Agent, now), None);
        assert_eq!(script.handle_message(&done("a"), Speaker::Agent, now), Some("text of a"));
        assert_eq!(script.poll(now + PAUSE), Step::Wait(None), "the agent is busy");
        script.handle_agent(&AgentState::Listening, now);
        assert_eq!(script.poll(now), Step::Wait(Some(now + PAUSE)));
        assert_eq!(script.poll(now + PAUSE), Step::Say("two".to_owned()));

        script.handle_message(&done("b"), Speaker::Agent, now);
        assert_eq!(script.poll(now + PAUSE), Step::Leave);
    }

    #[test]
    fn what_the_agent_began_before_is_no_answer() {
        let (mut script, now) = script(&["one"]);
        script.handle_message(&begun("greeting"), Speaker::Agent, now);
        script.handle_agent(&AgentState::Listening, now);
        assert_eq!(script.poll(now), Step::Say("one".to_owned()));
        assert_eq!(script.handle_message(&done("greeting"), Speaker::Agent, now), Some("text of greeting"));
        assert_eq!(script.poll(now + PAUSE), Step::Wait(None));
        script.handle_message(&done("answer"), Speaker::Agent, now);
        assert_eq!(script.poll(now + PAUSE), Step::Leave);
    }

    #[test]
    fn an_answer_of_several_messages_is_waited_for_to_its_end() {
        let (mut script, now) = script(&["one"]);
        script.handle_agent(&AgentState::Listening, now);
        script.poll(now);
        script.handle_message(&done("a"), Speaker::Agent, now);
        script.handle_message(&begun("b"), Speaker::Agent, now + PAUSE / 2);
        assert_eq!(script.poll(now + PAUSE * 3), Step::Wait(None));
        assert_eq!(script.waits_for(), "the agent did not end its answer");
        script.handle_message(&done("b"), Speaker::Agent, now + PAUSE * 3);
        assert_eq!(script.poll(now + PAUSE * 4), Step::Leave);
    }

    #[test]
    fn what_others_say_is_no_answer() {
        let (mut script, now) = script(&["one"]);
        script.handle_agent(&AgentState::Listening, now);
        script.poll(now);
        for speaker in [Speaker::You, Speaker::Other] {
            assert_eq!(script.handle_message(&done("a"), speaker, now), None);
        }
        assert_eq!(script.poll(now + PAUSE), Step::Wait(None));
    }
}
