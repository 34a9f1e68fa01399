//! A client's end, in virtual time.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

use std::time::{Duration, Instant};

use roomkey_signal::proto::leave_request::Action;
use roomkey_signal::proto::signal_request::Message as Request;
use roomkey_signal::proto::signal_response::Message as Response;
use roomkey_signal::proto::{
    DisconnectReason, JoinResponse, LeaveRequest, MuteTrackRequest, ParticipantInfo, ParticipantUpdate, Pong,
    ReconnectReason, ReconnectResponse, RoomMovedResponse, SignalRequest, SignalResponse, SyncState,
};
use roomkey_signal::{
    Client, ClientEvent, ClientOutput, DisconnectCause, FIRST_MESSAGE_TIMEOUT, LEAVE_TIMEOUT, LeaveAction,
    MAX_QUEUED_REQUESTS, ParticipantToken, SendErrorKind, decode_request, encode_request, encode_response,
};

/// A client, the time, and short ways to feed the one as time goes by.
struct Harness {
    client: Client,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "an instant to count from; nothing waits")]
        let now = Instant::now();
        let unix_time = Duration::from_millis(1_000_000);
        Self { client: Client::new(ParticipantToken::new("first-token"), now, unix_time), now }
    }

    fn joined() -> Self {
        let mut harness = Self::new();
        harness.client.handle_opened(harness.now);
        let outputs = harness.receive(Response::Join(join()));
        assert_eq!(outputs, [ClientOutput::Event(ClientEvent::Joined(Box::new(join())))]);
        harness
    }

    fn lost() -> Self {
        let mut harness = Self::joined();
        harness.client.handle_closed();
        let cause = DisconnectCause::WebsocketClosed;
        assert_eq!(harness.outputs(), [ClientOutput::Close, ClientOutput::Event(ClientEvent::Disconnected(cause))]);
        harness
    }

    fn resumed() -> Self {
        let mut harness = Self::lost();
        harness.client.resume(ReconnectReason::RrSignalDisconnected).unwrap();
        harness.client.handle_opened(harness.now);
        let outputs = harness.receive(Response::Reconnect(ReconnectResponse::default()));
        assert_eq!(outputs, [ClientOutput::Event(ClientEvent::Resumed(Some(Box::default())))]);
        harness
    }

    fn receive(&mut self, message: Response) -> Vec<ClientOutput> {
        let bytes = encode_response(&SignalResponse { message: Some(message) });
        self.client.handle_message(&bytes, self.now).unwrap();
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<ClientOutput> {
        std::iter::from_fn(|| self.client.poll_output()).collect()
    }

    /// Goes to the next time that the client names.
    fn next_timeout(&mut self) -> Vec<ClientOutput> {
        self.now = self.client.poll_timeout().unwrap();
        self.client.handle_timeout(self.now);
        self.outputs()
    }

    fn ping(&mut self) -> (i64, i64) {
        match &self.next_timeout()[..] {
            [ClientOutput::Transmit(bytes)] => match decode_request(bytes).unwrap().message {
                Some(Request::PingReq(ping)) => (ping.timestamp, ping.rtt),
                _ => panic!("not a ping"),
            },
            outputs => panic!("{outputs:?}"),
        }
    }
}

fn join() -> JoinResponse {
    let participant = Some(ParticipantInfo { sid: "PA_me".into(), ..Default::default() });
    JoinResponse { participant, ping_interval: 5, ping_timeout: 15, ..Default::default() }
}

fn mute(sid: &str) -> Request {
    Request::Mute(MuteTrackRequest { sid: sid.into(), muted: true })
}

fn transmit(message: Request) -> ClientOutput {
    ClientOutput::Transmit(encode_request(&SignalRequest { message: Some(message) }))
}

fn disconnected(cause: DisconnectCause) -> [ClientOutput; 2] {
    [ClientOutput::Close, ClientOutput::Event(ClientEvent::Disconnected(cause))]
}

#[test]
fn a_server_that_says_nothing_for_five_seconds_is_given_up() {
    let mut harness = Harness::new();
    assert_eq!(harness.client.poll_timeout(), None);
    harness.client.handle_opened(harness.now);
    let start = harness.now;
    assert_eq!(harness.next_timeout(), disconnected(DisconnectCause::FirstMessageTimeout));
    assert_eq!(harness.now - start, FIRST_MESSAGE_TIMEOUT);
    assert!(harness.client.is_over() && harness.client.poll_timeout().is_none());
}

#[test]
fn a_first_message_that_is_no_join_is_no_session() {
    let mut harness = Harness::new();
    harness.client.handle_opened(harness.now);
    let outputs = harness.receive(Response::Update(ParticipantUpdate::default()));
    assert_eq!(format!("{outputs:?}"), r#"[Close, Event(Disconnected(UnexpectedFirstMessage { kind: "update" }))]"#);
    assert!(harness.client.is_over());
}

#[test]
fn pings_go_at_once_and_each_interval_and_say_the_last_round_trip_time() {
    let mut harness = Harness::joined();
    assert_eq!(harness.ping(), (1_000_000, 0));
    harness.now += Duration::from_millis(30);
    let answer = |timestamp| Response::PongResp(Pong { last_ping_timestamp: timestamp, timestamp: 0 });
    assert_eq!(harness.receive(answer(77)), [], "an answer to what was never asked");
    let time = ClientEvent::RoundTripTime(Duration::from_millis(30));
    assert_eq!(harness.receive(answer(1_000_000)), [ClientOutput::Event(time)]);
    assert_eq!(harness.receive(answer(1_000_000)), [], "a second answer");
    assert_eq!(harness.ping(), (1_005_000, 30));
    assert_eq!(harness.ping(), (1_010_000, 30));
}

#[test]
fn any_message_keeps_the_connection_and_silence_ends_it_but_not_the_session() {
    let mut harness = Harness::joined();
    for _ in 0..10 {
        harness.ping();
        harness.receive(Response::Pong(1));
    }
    let heard = harness.now;
    let mut outputs = harness.next_timeout();
    while matches!(outputs[..], [ClientOutput::Transmit(_)]) {
        outputs = harness.next_timeout();
    }
    assert_eq!(outputs, disconnected(DisconnectCause::PingTimeout));
    assert_eq!(harness.now - heard, Duration::from_secs(15));
    assert!(!harness.client.is_over());
    let resume = harness.client.resume(ReconnectReason::RrSignalDisconnected).unwrap();
    assert_eq!(resume.participant_sid, "PA_me");
}

#[test]
fn a_server_that_names_no_interval_is_not_pinged() {
    let mut harness = Harness::new();
    harness.client.handle_opened(harness.now);
    harness.receive(Response::Join(JoinResponse { ping_interval: 0, ping_timeout: -1, ..join() }));
    assert_eq!(harness.client.poll_timeout(), None);
}

#[test]
fn what_is_sent_before_the_join_waits_for_it() {
    let mut harness = Harness::new();
    harness.client.send(mute("early")).unwrap();
    harness.client.handle_opened(harness.now);
    assert_eq!(harness.outputs(), []);
    let outputs = harness.receive(Response::Join(join()));
    assert_eq!(outputs[1..], [transmit(mute("early"))]);
}

#[test]
fn requests_wait_for_the_end_of_a_resume_and_what_makes_the_resume_does_not() {
    let sync = || Request::SyncState(SyncState::default());
    let mut harness = Harness::lost();
    harness.client.send(mute("one")).unwrap();
    let error = harness.client.send(sync()).unwrap_err();
    assert_eq!((error.why, *error.request), (SendErrorKind::NotConnected, sync()));
    assert!(harness.client.resume(ReconnectReason::RrSignalDisconnected).is_some());
    harness.client.handle_opened(harness.now);
    harness.client.send(mute("two")).unwrap();
    harness.receive(Response::Reconnect(ReconnectResponse::default()));
    harness.client.send(mute("three")).unwrap();
    harness.client.send(sync()).unwrap();
    assert_eq!(harness.outputs(), [transmit(sync())]);
    harness.client.set_reconnected();
    assert_eq!(harness.outputs(), ["one", "two", "three"].map(|sid| transmit(mute(sid))));
    harness.client.set_reconnected();
    harness.client.send(mute("four")).unwrap();
    assert_eq!(harness.outputs(), [transmit(mute("four"))]);
}

#[test]
fn a_resume_that_breaks_off_keeps_what_waits_and_pings_go_on_after_it() {
    let mut harness = Harness::resumed();
    harness.client.send(mute("one")).unwrap();
    harness.client.handle_closed();
    assert_eq!(harness.outputs(), disconnected(DisconnectCause::WebsocketClosed));
    for _ in 0..3 {
        // Handshakes that fail.
        assert!(harness.client.resume(ReconnectReason::RrSignalDisconnected).is_some());
    }
    assert_eq!(harness.outputs(), []);
    harness.client.handle_opened(harness.now);
    harness.receive(Response::Reconnect(ReconnectResponse::default()));
    harness.ping();
    harness.client.set_reconnected();
    assert_eq!(harness.outputs(), [transmit(mute("one"))]);
}

#[test]
fn only_so_much_waits_and_what_does_is_not_lost_to_what_does_not() {
    let mut harness = Harness::lost();
    for number in 0..MAX_QUEUED_REQUESTS {
        harness.client.send(mute(&number.to_string())).unwrap();
    }
    let error = harness.client.send(mute("over")).unwrap_err();
    assert_eq!((error.why, *error.request), (SendErrorKind::QueueFull, mute("over")));
    harness.client.resume(ReconnectReason::RrSignalDisconnected).unwrap();
    harness.client.handle_opened(harness.now);
    harness.receive(Response::Reconnect(ReconnectResponse::default()));
    harness.client.set_reconnected();
    assert_eq!(harness.outputs().len(), MAX_QUEUED_REQUESTS);
}

#[test]
fn an_old_server_resumes_with_any_message_and_that_one_is_told_too() {
    let mut harness = Harness::lost();
    harness.client.resume(ReconnectReason::RrSignalDisconnected).unwrap();
    harness.client.handle_opened(harness.now);
    let update = Response::Update(ParticipantUpdate::default());
    let events = [ClientEvent::Resumed(None), ClientEvent::Message(Box::new(update.clone()))];
    assert_eq!(harness.receive(update), events.map(ClientOutput::Event));
}

#[test]
fn a_leave_says_what_is_next() {
    let cases = [
        (LeaveRequest { action: Action::Disconnect.into(), ..Default::default() }, LeaveAction::Disconnect),
        (LeaveRequest { action: Action::Resume.into(), ..Default::default() }, LeaveAction::Resume),
        (LeaveRequest { action: Action::Reconnect.into(), ..Default::default() }, LeaveAction::Reconnect),
        (LeaveRequest { can_reconnect: true, ..Default::default() }, LeaveAction::Reconnect),
        (LeaveRequest { action: 99, ..Default::default() }, LeaveAction::Disconnect),
    ];
    for (leave, action) in cases {
        for mut harness in [Harness::joined(), Harness::resumed()] {
            let outputs = harness.receive(Response::Leave(leave.clone()));
            let [ClientOutput::Close, ClientOutput::Event(ClientEvent::LeaveRequested(asked))] = &outputs[..] else {
                panic!("{outputs:?}");
            };
            assert_eq!(asked.action, action);
            assert_eq!(harness.client.is_over(), action != LeaveAction::Resume);
            let resume = harness.client.resume(ReconnectReason::RrUnknown);
            assert_eq!(resume.is_some(), action == LeaveAction::Resume);
        }
    }
}

#[test]
fn a_resume_that_is_refused_ends_the_session() {
    let mut harness = Harness::lost();
    harness.client.resume(ReconnectReason::RrSignalDisconnected).unwrap();
    harness.client.handle_opened(harness.now);
    let reason = DisconnectReason::StateMismatch.into();
    harness.receive(Response::Leave(LeaveRequest { reason, action: 2, ..Default::default() }));
    assert!(harness.client.is_over());
    assert_eq!(harness.client.send(mute("late")).unwrap_err().why, SendErrorKind::Over);
}

#[test]
fn who_leaves_waits_a_moment_for_the_server_and_is_told_once() {
    for answer in [0, 1, 2] {
        let mut harness = Harness::joined();
        harness.client.leave(harness.now);
        let reason = DisconnectReason::ClientInitiated.into();
        let leave = LeaveRequest { reason, ..Default::default() };
        assert_eq!(harness.outputs(), [transmit(Request::Leave(leave.clone()))]);
        assert_eq!(harness.client.send(mute("late")).unwrap_err().why, SendErrorKind::Over);
        let start = harness.now;
        let outputs = match answer {
            0 => harness.receive(Response::Leave(leave)),
            1 => {
                harness.client.handle_closed();
                harness.outputs()
            }
            _ => harness.next_timeout(),
        };
        assert_eq!(outputs, disconnected(DisconnectCause::Left));
        assert_eq!(harness.now - start, if answer == 2 { LEAVE_TIMEOUT } else { Duration::ZERO });
        harness.client.handle_closed();
        harness.client.leave(harness.now);
        assert_eq!(harness.outputs(), []);
    }
    let mut harness = Harness::lost();
    harness.client.leave(harness.now);
    assert_eq!(harness.outputs(), disconnected(DisconnectCause::Left));
}

#[test]
fn the_newest_token_is_kept_and_never_shown() {
    let mut harness = Harness::joined();
    let outputs = harness.receive(Response::RefreshToken("second-token".into()));
    assert_eq!(outputs, [ClientOutput::Event(ClientEvent::TokenRefreshed)]);
    assert_eq!(harness.client.token().as_str(), "second-token");
    let participant = Some(ParticipantInfo { sid: "PA_moved".into(), ..Default::default() });
    let moved = RoomMovedResponse { token: "third-token".into(), participant, ..Default::default() };
    let outputs = harness.receive(Response::RoomMoved(moved));
    assert_eq!(harness.client.token().as_str(), "third-token");
    assert_eq!(harness.client.participant_sid(), "PA_moved");
    let shown = format!("{:?} {outputs:?}", harness.client);
    assert!(!shown.contains("-token"), "{shown}");
}

#[test]
fn what_cannot_be_read_is_dropped_and_all_goes_on() {
    let mut harness = Harness::joined();
    assert!(harness.client.handle_message(&[0xff; 5], harness.now).is_err());
    assert_eq!(harness.outputs(), []);
    harness.client.send(mute("still")).unwrap();
    assert_eq!(harness.outputs(), [transmit(mute("still"))]);
}

#[test]
fn a_resume_with_the_websocket_still_open_closes_that_one() {
    let mut harness = Harness::joined();
    assert!(harness.client.resume(ReconnectReason::RrPublisherFailed).is_some());
    assert_eq!(harness.outputs(), [ClientOutput::Close]);
    assert_eq!(harness.client.poll_timeout(), None);
    assert!(Harness::new().client.resume(ReconnectReason::RrUnknown).is_none(), "nothing to go on with");
}
