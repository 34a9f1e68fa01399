//! How the agent says what it says.

use super::*;
use crate::Expression;

const SEGMENT: &str = "lk.segment_id";
const EXPRESSION: &str = "lk.expression";
const HAPPY: &str = r#"{"expression":" with a smile ","mood":"happy"}"#;

impl Stage {
    fn says(&mut self, who: &str, expression: Option<&str>) {
        let key = self.id();
        let segment = format!("SG_{key}");
        self.open(key, who, TRANSCRIPTION_TOPIC, &[(SEGMENT, &segment)]);
        self.chunk(key, "well");
        let trailer: Vec<_> = expression.map(|json| (EXPRESSION, json)).into_iter().collect();
        self.close(key, &trailer);
    }

    fn mood(&self) -> Option<String> {
        self.agent().expression.as_ref()?.mood.clone()
    }
}

fn talking() -> Stage {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "speaking");
    stage
}

#[test]
fn an_expression_is_the_agents_until_it_has_begun_two_more_without_one() {
    let mut stage = talking();
    assert_eq!(stage.agent().expression, None);
    stage.says("helper", Some(HAPPY));
    let happy = stage.agent().expression.clone().unwrap();
    assert_eq!((happy.expression.as_deref(), happy.mood.as_deref()), (Some("with a smile"), Some("happy")));
    stage.says("me", None);
    stage.pass(seconds(3_600));
    assert_eq!(stage.mood().as_deref(), Some("happy"), "it goes with what is said, and not with time");
    stage.says("helper", None);
    assert_eq!(stage.mood().as_deref(), Some("happy"));
    stage.open(7, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_7")]);
    assert_eq!(stage.mood().as_deref(), Some("happy"), "nothing was said yet");
    stage.chunk(7, "we");
    assert_eq!(stage.mood(), None);
    stage.close(7, &[(EXPRESSION, r#"{"mood":"calm"}"#)]);
    assert_eq!(stage.mood().as_deref(), Some("calm"));
}

#[test]
fn an_expression_holds_as_many_turns_as_are_set() {
    for (turns, later, is_there) in [(1, 1, false), (3, 2, true), (3, 3, false), (0, 50, true)] {
        let settings = Settings { expression_turns: turns, ..Settings::default() };
        let mut stage = Stage::with(settings).into_joined(&token("plain"));
        stage.agent_says("helper", "speaking");
        stage.says("helper", Some(HAPPY));
        (0..later).for_each(|_| stage.says("helper", None));
        assert_eq!(stage.mood().is_some(), is_there, "{turns} {later}");
    }
}

#[test]
fn an_expression_is_that_of_the_agent_or_who_speaks_for_it_and_of_this_room() {
    let mut stage = talking();
    stage.put(agent_with("avatar", &[("lk.publish_on_behalf", "helper")]));
    stage.put(agent("second", Some("listening")));
    stage.says("second", Some(HAPPY));
    assert_eq!(stage.mood(), None);
    stage.says("avatar", Some(HAPPY));
    assert_eq!(stage.mood().as_deref(), Some("happy"));
    (0..3).for_each(|_| stage.says("helper", None));
    assert_eq!(stage.mood().as_deref(), Some("happy"), "the agent's own turns are not its worker's");
    stage.says("helper", Some("nonsense"));
    stage.says("helper", Some("{}"));
    assert_eq!(stage.mood().as_deref(), Some("happy"));
    stage.remove("avatar");
    assert_eq!(stage.mood(), None);

    stage.says("helper", Some(HAPPY));
    stage.room_state(ConnectionState::Restarting);
    stage.room_state(ConnectionState::Connected);
    assert_eq!(stage.mood().as_deref(), Some("happy"), "it is the same stay of the agent");
    let happy = Expression { mood: Some("happy".to_owned()), ..Expression::default() };
    stage.end();
    assert_eq!(stage.agent().expression, None);
    let mut kept = Message::new(MessageId::new("helper", "kept"), MessageKind::AgentTranscript, "from before");
    kept.expression = Some(happy);
    stage.handle(Input::RestoreHistory(vec![kept]));
    let (room, _) = stage.connecting().unwrap();
    stage.handle(Input::RoomLeft(room));
    stage.start();
    stage.answer(&token("another"), TokenOrigin::New);
    stage.join();
    stage.agent_says("helper", "speaking");
    assert_eq!(stage.mood(), None);
}
