//! A server's end of one websocket, in virtual time.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

use std::time::{Duration, Instant};

use roomkey_signal::proto::signal_request::Message as Request;
use roomkey_signal::proto::signal_response::Message as Response;
use roomkey_signal::proto::{
    DisconnectReason, LeaveRequest, MuteTrackRequest, Ping, Pong, SignalRequest, SignalResponse, TrickleRequest,
};
use roomkey_signal::{
    CloseCause, CloseCode, DecodeError, Frame, LeaveAction, MAX_REQUEST_SIZE, Server, ServerEvent, ServerLimits,
    ServerOutput, encode_request, encode_response,
};

struct Harness {
    server: Server,
    now: Instant,
}

impl Harness {
    fn new(limits: &ServerLimits) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an instant to count from; nothing waits")]
        let now = Instant::now();
        Self { server: Server::new(16, limits, now, Duration::from_millis(1_000)), now }
    }

    fn receive(&mut self, message: Request) -> Vec<ServerOutput> {
        self.server.handle_binary(&encode_request(&SignalRequest { message: Some(message) }), self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<ServerOutput> {
        std::iter::from_fn(|| self.server.poll_output()).collect()
    }

    fn next_timeout(&mut self) -> Vec<ServerOutput> {
        self.now = self.server.poll_timeout().unwrap();
        self.server.handle_timeout(self.now);
        self.outputs()
    }
}

fn binary(message: Response) -> ServerOutput {
    ServerOutput::Transmit(Frame::Binary(encode_response(&SignalResponse { message: Some(message) })))
}

fn closed(code: CloseCode, cause: CloseCause) -> [ServerOutput; 2] {
    [ServerOutput::Close(code), ServerOutput::Event(ServerEvent::Closed(cause))]
}

fn mute() -> Request {
    Request::Mute(MuteTrackRequest { sid: "TR_a".into(), muted: true })
}

#[test]
fn pings_of_both_kinds_are_answered_with_the_time_and_not_told() {
    let mut harness = Harness::new(&ServerLimits::default());
    harness.now += Duration::from_millis(234);
    assert_eq!(harness.receive(Request::Ping(9)), [binary(Response::Pong(1_234))]);
    let pong = Pong { last_ping_timestamp: 5, timestamp: 1_234 };
    assert_eq!(harness.receive(Request::PingReq(Ping { timestamp: 5, rtt: 7 })), [binary(Response::PongResp(pong))]);
}

#[test]
fn a_client_that_sends_text_is_answered_in_text_until_it_sends_binary() {
    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.handle_text(r#"{"ping":"1"}"#, harness.now);
    let text = Frame::Text(r#"{"pong":"1000"}"#.into());
    assert_eq!(harness.outputs(), [ServerOutput::Transmit(text)]);
    assert_eq!(harness.receive(Request::Ping(1)), [binary(Response::Pong(1_000))]);
}

#[test]
fn a_leave_is_echoed_the_websocket_closed_and_nothing_said_after_it() {
    let mut harness = Harness::new(&ServerLimits::default());
    let leave = LeaveRequest { reason: DisconnectReason::ClientInitiated.into(), ..Default::default() };
    let mut outputs = harness.receive(Request::Leave(leave.clone()));
    assert_eq!(outputs.remove(0), binary(Response::Leave(leave)));
    assert_eq!(outputs, closed(CloseCode::Normal, CloseCause::Left(DisconnectReason::ClientInitiated)));
    assert!(harness.server.is_closed() && harness.server.poll_timeout().is_none());
    harness.server.send(Response::Pong(1));
    harness.server.disconnect(LeaveAction::Disconnect, DisconnectReason::RoomDeleted);
    harness.server.supersede();
    harness.server.handle_closed();
    assert_eq!(harness.receive(mute()), []);
}

#[test]
fn a_client_that_is_silent_is_pinged_each_ten_seconds_and_kept() {
    let mut harness = Harness::new(&ServerLimits::default());
    let start = harness.now;
    for count in 1..=100 {
        assert_eq!(harness.next_timeout(), [ServerOutput::WebsocketPing]);
        assert_eq!(harness.now - start, Duration::from_secs(10) * count);
    }
}

#[test]
fn with_an_idle_timeout_anything_that_comes_puts_it_off() {
    let mut limits = ServerLimits::default();
    limits.idle_timeout = Some(Duration::from_secs(15));
    let mut harness = Harness::new(&limits);
    assert_eq!(harness.next_timeout(), [ServerOutput::WebsocketPing]);
    harness.server.handle_websocket_ping(harness.now);
    assert_eq!(harness.next_timeout(), [ServerOutput::WebsocketPing]);
    assert_eq!(harness.receive(Request::Ping(1)).len(), 1);
    let heard = harness.now;
    assert_eq!(harness.next_timeout(), [ServerOutput::WebsocketPing]);
    assert_eq!(harness.next_timeout(), closed(CloseCode::Normal, CloseCause::Idle));
    assert_eq!(harness.now - heard, Duration::from_secs(15));
}

#[test]
fn a_flood_of_messages_is_cut_off_and_a_steady_stream_is_not() {
    let limits = ServerLimits::default();
    let mut harness = Harness::new(&limits);
    for _ in 0..limits.messages_per_second * 60 {
        harness.now += Duration::from_secs(1) / limits.messages_per_second;
        assert_eq!(harness.receive(mute()).len(), 1);
        assert!(!harness.server.is_closed());
    }
    let mut taken = 0;
    let last = loop {
        let outputs = harness.receive(mute());
        if harness.server.is_closed() {
            break outputs;
        }
        taken += 1;
        assert!(taken <= limits.message_burst);
    };
    assert_eq!(last, closed(CloseCode::PolicyViolation, CloseCause::TooManyMessages));
    assert!(taken >= limits.message_burst - 1, "{taken}");
}

#[test]
fn a_flood_of_bytes_is_cut_off() {
    let limits = ServerLimits::default();
    let mut harness = Harness::new(&limits);
    let trickle = TrickleRequest { candidate_init: "x".repeat(MAX_REQUEST_SIZE - 100), ..Default::default() };
    for _ in 0..limits.byte_burst as usize / MAX_REQUEST_SIZE {
        assert_eq!(harness.receive(Request::Trickle(trickle.clone())).len(), 1);
    }
    let outputs = harness.receive(Request::Trickle(trickle));
    assert_eq!(outputs, closed(CloseCode::PolicyViolation, CloseCause::TooManyBytes));
}

#[test]
fn what_cannot_be_read_closes_as_livekit_server_does() {
    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.handle_binary(&[0xff; 4], harness.now);
    let outputs = harness.outputs();
    assert_eq!(outputs[0], ServerOutput::Close(CloseCode::Normal));
    let cause = &outputs[1];
    assert!(matches!(
        cause,
        ServerOutput::Event(ServerEvent::Closed(CloseCause::Undecodable(DecodeError::Protobuf(_))))
    ));

    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.handle_binary(&vec![0; MAX_REQUEST_SIZE + 1], harness.now);
    assert_eq!(harness.outputs()[0], ServerOutput::Close(CloseCode::MessageTooBig));
    assert_eq!(u16::from(CloseCode::MessageTooBig), 1009);

    // What a newer client sends is not wrong.
    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.handle_binary(&[0xc2, 0x3e, 0], harness.now);
    assert_eq!(harness.outputs(), []);
    assert!(!harness.server.is_closed());
}

#[test]
fn a_disconnect_says_what_is_next_and_a_newer_websocket_says_nothing() {
    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.disconnect(LeaveAction::Reconnect, DisconnectReason::StateMismatch);
    let reason = DisconnectReason::StateMismatch.into();
    let leave = LeaveRequest { reason, action: 2, ..Default::default() };
    let mut outputs = harness.outputs();
    assert_eq!(outputs.remove(0), binary(Response::Leave(leave)));
    assert_eq!(outputs, closed(CloseCode::Normal, CloseCause::Disconnected));

    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.supersede();
    assert_eq!(harness.outputs(), closed(CloseCode::Normal, CloseCause::Superseded));

    let mut harness = Harness::new(&ServerLimits::default());
    harness.server.handle_closed();
    let event = ServerEvent::Closed(CloseCause::WebsocketClosed);
    assert_eq!(harness.outputs(), [ServerOutput::Event(event)]);
}

#[test]
fn a_request_is_shown_by_its_kind_only() {
    let mut harness = Harness::new(&ServerLimits::default());
    assert_eq!(format!("{:?}", harness.receive(mute())), "[Event(Request(mute))]");
}
