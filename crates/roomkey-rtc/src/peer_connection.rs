//! The connection, and how it is driven.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::media::KeyframeRequestKind;
use str0m::net::Receive;
use str0m::{Input, Rtc};

use crate::candidate::{Candidate, Protocol};
use crate::channel::{ChannelConfig, ChannelId, Channels, SendDataError};
use crate::config::Config;
use crate::event::{ConnectionError, Event, IceState, Output, Transmit};
use crate::media::{Mid, Rid};
use crate::negotiation::Negotiation;
use crate::receiver::Receivers;
use crate::sender::{OutgoingRtp, SendError, SenderId, Senders};
use crate::stun::checked_ufrag;

/// One WebRTC peer connection.
///
/// The [crate's page](crate) says how to drive it. No method blocks, none reads a clock; time that goes backwards counts as
/// standing still. Keys and identifiers are random.
pub struct PeerConnection {
    pub(crate) rtc: Rtc,
    pub(crate) now: Instant,
    pub(crate) ice_lite: bool,
    eager_ice: bool,
    /// Whether this side leads the connectivity checks (RFC 8445 section 6.1.1).
    pub(crate) leads_ice: bool,
    connected: bool,
    pub(crate) closed: bool,
    failure: Option<ConnectionError>,
    ufrag: String,
    /// str0m has to hear the time again before it says how long it can wait.
    tick: bool,
    /// str0m has not been asked for everything that it has to say.
    unpolled: bool,
    pub(crate) outputs: VecDeque<Output>,
    deadline: Instant,
    pub(crate) negotiation: Negotiation,
    pub(crate) senders: Senders,
    pub(crate) receivers: Receivers,
    pub(crate) channels: Channels,
    pub(crate) remote_candidates: usize,
    ignored_datagrams: u64,
}

impl PeerConnection {
    /// A connection to nobody, at the time `now`.
    pub fn new(config: &Config, now: Instant) -> Self {
        let mut connection = Self {
            rtc: config.to_str0m().build(now),
            now,
            ice_lite: config.ice_lite,
            eager_ice: config.eager_ice,
            leads_ice: false,
            connected: false,
            closed: false,
            failure: None,
            ufrag: String::new(),
            tick: false,
            unpolled: true,
            outputs: VecDeque::new(),
            deadline: now,
            negotiation: Negotiation::default(),
            senders: Senders::default(),
            receivers: Receivers::default(),
            channels: Channels::new(config.data_queue_limit, config.max_channels),
            remote_candidates: 0,
            ignored_datagrams: 0,
        };
        // Without a first time, an offer would start an ICE agent that never wakes.
        connection.advance(now);
        connection.refresh_ufrag();
        connection
    }

    /// The name by which the other side's connectivity checks address this connection: the part before the colon of their
    /// USERNAME (RFC 8445 section 7.2.2). It changes with an ICE restart.
    pub fn local_ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Adds an address of a socket of ours. Do so before the first offer or answer, which then carries it; send one that
    /// comes later to the other side by trickle.
    pub fn add_local_candidate(&mut self, candidate: Candidate) {
        let now = self.now;
        self.begin(now);
        let _ = self.rtc.add_local_candidate(candidate.0);
        self.ice_changed();
    }

    /// Takes back an address whose socket is gone.
    pub fn remove_local_candidate(&mut self, candidate: &Candidate) {
        let now = self.now;
        self.begin(now);
        self.rtc.direct_api().invalidate_candidate(&candidate.0);
        self.mutated();
    }

    /// Adds an address of the other side's. Those beyond 128 since the last negotiation are passed over.
    pub fn add_remote_candidate(&mut self, candidate: Candidate) {
        const MOST: usize = 128;
        if self.remote_candidates == MOST {
            return;
        }
        self.remote_candidates += 1;
        let now = self.now;
        self.begin(now);
        self.rtc.add_remote_candidate(candidate.0);
        self.ice_changed();
    }

    /// Whether ICE and DTLS have come up, and the connection has not closed since.
    pub fn is_connected(&self) -> bool {
        self.connected && !self.closed
    }

    /// What made the connection close by itself.
    pub fn failure(&self) -> Option<&ConnectionError> {
        self.failure.as_ref()
    }

    /// How many datagrams and frames were not understood, and had no effect.
    pub fn ignored_datagrams(&self) -> u64 {
        self.ignored_datagrams
    }

    /// Whether a datagram is a connectivity check. Where several connections share a socket, it says whose the other
    /// datagrams of its source are, by [`accepts`](Self::accepts).
    pub fn is_connectivity_check(datagram: &[u8]) -> bool {
        checked_ufrag(datagram).is_some()
    }

    /// Whether a packet is a connectivity check for this connection, by the name that it has. The first one on a TCP
    /// connection says whose that is, with all that comes on it later.
    pub fn is_checked_by(&self, packet: &[u8]) -> bool {
        checked_ufrag(packet).is_some_and(|ufrag| ufrag == self.ufrag.as_bytes())
    }

    /// Whether a datagram is for this connection, where several share a socket.
    ///
    /// It looks at who a connectivity check is for, and at who sent what is none. An address can pass from a peer that
    /// vanished to another one before the connection to the first has ended: then the connection that last accepted a
    /// check from there has the rest, too, and this is not to be asked about it. Before the connection is up it can be
    /// wrong about other datagrams, so that the connections of a shared socket are better
    /// [`ICE lite`](Config::with_ice_lite); with one socket for each connection, don't ask.
    pub fn accepts(&self, source: SocketAddr, destination: SocketAddr, datagram: &[u8]) -> bool {
        // str0m looks at the sender first.
        if checked_ufrag(datagram).is_some_and(|ufrag| ufrag != self.ufrag.as_bytes()) {
            return false;
        }
        Receive::new(str0m::net::Protocol::Udp, source, destination, datagram)
            .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(self.now, receive)))
    }

    /// Takes a datagram that has come from `source` to the local address `destination`.
    ///
    /// What is not understood has no effect, and is counted by [`ignored_datagrams`](Self::ignored_datagrams).
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        self.handle_packet(now, Protocol::Udp, source, destination, datagram);
    }

    /// Takes a packet of either protocol: a datagram, or what was in a [frame](crate::framing) of a TCP connection between
    /// these addresses.
    ///
    /// What is not understood has no effect, and is counted by [`ignored_datagrams`](Self::ignored_datagrams).
    pub fn handle_packet(
        &mut self,
        now: Instant,
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
        packet: &[u8],
    ) {
        self.begin(now);
        let Ok(receive) = Receive::new(protocol.to_str0m(), source, destination, packet) else {
            self.ignored_datagrams += 1;
            return;
        };
        if self.rtc.handle_input(Input::Receive(self.now, receive)).is_err() {
            self.ignored_datagrams += 1;
        }
        self.ice_changed();
    }

    /// Tells the time. Call it when the time of the last [`Output::Timeout`] has come; earlier and later do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        let now = self.now;
        self.advance(now);
    }

    /// What is to be done next. Poll until it is [`Output::Timeout`].
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        if self.unpolled {
            match self.pump() {
                Some(output) => return output,
                None => self.unpolled = false,
            }
        }
        Output::Timeout(self.deadline)
    }

    /// Says good-bye to the other side. Poll once more, to send it; [`Event::Closed`] comes then.
    pub fn close(&mut self) {
        let now = self.now;
        self.begin(now);
        if self.closed {
            return;
        }
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
        while let Some(output) = self.pump() {
            if matches!(output, Output::Transmit(_)) {
                self.outputs.push_back(output);
            }
        }
        self.rtc.disconnect();
        if !self.closed {
            self.closed = true;
            self.outputs.push_back(Output::Event(Event::Closed));
        }
    }

    /// Sends a packet.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the packet is dropped.
    pub fn send_rtp(&mut self, sender: SenderId, packet: OutgoingRtp, now: Instant) -> Result<(), SendError> {
        if !self.is_connected() {
            return Err(SendError::NotConnected);
        }
        self.begin(now);
        let found = self.senders.get_mut(sender).ok_or(SendError::UnknownSender)?;
        let sent = found.send(&mut self.rtc, packet, self.now);
        self.mutated();
        sent
    }

    /// Asks the other side for a key frame (PLI). Whether it has sent anything there.
    pub fn request_keyframe(&mut self, mid: Mid, rid: Option<Rid>) -> bool {
        let now = self.now;
        self.begin(now);
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_rx_by_mid(mid.0, rid.map(|rid| rid.0));
        let found = stream.map(|stream| stream.request_keyframe(KeyframeRequestKind::Pli)).is_some();
        self.mutated();
        found
    }

    /// Opens a data channel: at once where there is a section for channels, else with the next offer or answer.
    ///
    /// [`Event::ChannelOpened`] says when it can be used. [`Event::ChannelClosed`] comes instead where another channel has
    /// the stream that the configuration names.
    pub fn open_channel(&mut self, config: ChannelConfig) -> ChannelId {
        let now = self.now;
        self.begin(now);
        let taken = self.channels.has_negotiated(&mut self.rtc, &config);
        let id = self.channels.add(config);
        if taken {
            self.channels.stream_or_forget(id);
            self.outputs.push_back(Output::Event(Event::ChannelClosed { id }));
        } else if self.negotiation.has_application {
            self.create_channels();
        }
        id
    }

    /// Closes a data channel; [`Event::ChannelClosed`] says when it is gone.
    pub fn close_channel(&mut self, id: ChannelId) {
        let now = self.now;
        self.begin(now);
        if let Some(stream) = self.channels.stream_or_forget(id) {
            self.rtc.direct_api().close_data_channel(stream);
            self.mutated();
        }
    }

    /// The label of a data channel.
    pub fn channel_label(&self, id: ChannelId) -> Option<&str> {
        self.channels.label(id)
    }

    /// Sends a message.
    ///
    /// SCTP gets at most 128 kB at a time of reliable channels, since it becomes slow with more; the rest waits in a queue
    /// of the channel's.
    ///
    /// # Errors
    ///
    /// [`SendDataError`]; the message is not sent then.
    pub fn send_data(
        &mut self,
        id: ChannelId,
        binary: bool,
        bytes: impl Into<Vec<u8>>,
        now: Instant,
    ) -> Result<(), SendDataError> {
        if self.closed {
            return Err(SendDataError::NotOpen);
        }
        self.begin(now);
        let sent = self.channels.send(&mut self.rtc, id, binary, bytes.into());
        self.mutated();
        sent
    }

    /// How many bytes of a channel wait to be sent or to be acknowledged, as of the last poll.
    pub fn buffered_amount(&self, id: ChannelId) -> usize {
        self.channels.buffered_amount(id)
    }

    /// Asks for [`Event::BufferedAmountLow`] each time that what waits comes down to so many bytes from more.
    pub fn set_low_water(&mut self, id: ChannelId, bytes: usize) {
        self.channels.set_low_water(id, bytes);
    }

    /// Begins a change at the time `now`: whatever str0m has still to say of the last one is taken first, since it wants
    /// to be asked until it has nothing more.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while self.unpolled {
            match self.pump() {
                Some(output) => self.outputs.push_back(output),
                None => self.unpolled = false,
            }
        }
    }

    /// Ends a change that brought str0m no time.
    pub(crate) fn mutated(&mut self) {
        (self.unpolled, self.tick) = (true, true);
    }

    /// Ends a change that gave ICE something to do. Checks before their time help the side that leads them; made by the
    /// other side, they cost its peer a turn.
    pub(crate) fn ice_changed(&mut self) {
        self.unpolled = true;
        self.tick |= self.is_eager();
    }

    pub(crate) fn refresh_ufrag(&mut self) {
        let ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        if self.ufrag != ufrag {
            self.ufrag = ufrag;
        }
    }

    /// Makes SCTP know the channels that it does not.
    pub(crate) fn create_channels(&mut self) {
        let mut direct = self.rtc.direct_api();
        let lost = self.channels.create_waiting(|config| {
            // str0m panics on a stream that it has, and the other side can have opened it.
            let taken = config.negotiated.is_some_and(|stream| direct.channel_id_by_sctp_stream_id(stream).is_some());
            (!taken).then(|| direct.create_data_channel(config))
        });
        self.outputs.extend(lost.into_iter().map(|id| Output::Event(Event::ChannelClosed { id })));
        self.mutated();
    }

    fn is_eager(&self) -> bool {
        self.eager_ice && self.leads_ice && !self.connected
    }

    fn advance(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fail(error);
        }
        self.unpolled = true;
    }

    pub(crate) fn fail(&mut self, error: impl fmt::Display) {
        self.rtc.disconnect();
        if !self.closed {
            self.closed = true;
            self.failure = Some(ConnectionError::new(error));
            self.outputs.push_back(Output::Event(Event::Closed));
        }
    }

    /// The next thing that str0m has to say, or `None` when it waits for time or input.
    fn pump(&mut self) -> Option<Output> {
        /// str0m asks for the same instant again while a channel waits for a stream to be free.
        const SHORTEST_WAIT: Duration = Duration::from_millis(1);
        let mut again = 4;
        loop {
            let at = match self.rtc.poll_output() {
                Ok(str0m::Output::Transmit(transmit)) => {
                    return Some(Output::Transmit(Transmit {
                        protocol: Protocol::of(transmit.proto),
                        source: transmit.source,
                        destination: transmit.destination,
                        payload: transmit.contents.into(),
                    }));
                }
                Ok(str0m::Output::Event(event)) => match self.translate(event) {
                    Some(event) => return Some(Output::Event(event)),
                    None => continue,
                },
                Ok(str0m::Output::Timeout(at)) => at,
                Err(error) => {
                    self.fail(error);
                    return self.outputs.pop_back();
                }
            };
            let due = at <= self.now && again > 0;
            again -= u32::from(due);
            if std::mem::take(&mut self.tick) || due || self.channels.hand_over(&mut self.rtc) {
                let now = self.now;
                self.advance(now);
                continue;
            }
            if let Some(id) = self.channels.poll_low_water() {
                return Some(Output::Event(Event::BufferedAmountLow { id }));
            }
            self.deadline = at.max(self.now + SHORTEST_WAIT);
            return None;
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events of parts of str0m that are not used here")]
    fn translate(&mut self, event: str0m::Event) -> Option<Event> {
        use str0m::Event as E;
        match event {
            E::IceConnectionStateChange(state) => Some(Event::IceStateChanged(match state {
                str0m::IceConnectionState::New => IceState::New,
                str0m::IceConnectionState::Checking => IceState::Checking,
                str0m::IceConnectionState::Connected => IceState::Connected,
                str0m::IceConnectionState::Completed => IceState::Completed,
                str0m::IceConnectionState::Disconnected => IceState::Disconnected,
            })),
            E::Connected => {
                self.connected = true;
                Some(Event::Connected)
            }
            E::Closed => {
                let first = !self.closed;
                self.closed = true;
                first.then_some(Event::Closed)
            }
            E::RtpPacket(packet) => {
                let (mid, rid, packet) = self.receivers.receive(&mut self.rtc, packet)?;
                Some(Event::RtpReceived { mid, rid, packet })
            }
            E::KeyframeRequest(request) => {
                let mid = Mid(request.mid);
                let sender = self.senders.in_section(mid)?.id;
                Some(Event::KeyframeRequested { sender, mid, rid: request.rid.map(Rid) })
            }
            E::ChannelOpen(stream, label) => {
                let config = self.rtc.channel(stream).and_then(|channel| channel.config().cloned());
                let Some(id) = self.channels.opened(stream, &label, config.as_ref()) else {
                    self.rtc.direct_api().close_data_channel(stream);
                    self.tick = true;
                    return None;
                };
                Some(Event::ChannelOpened { id, label })
            }
            E::ChannelData(data) => {
                let id = self.channels.id_of(data.id)?;
                Some(Event::Data { id, binary: data.binary, bytes: data.data })
            }
            E::ChannelClose(stream) => Some(Event::ChannelClosed { id: self.channels.closed(stream)? }),
            E::EgressBitrateEstimate(str0m::bwe::BweKind::Twcc { estimate, .. }) => {
                Some(Event::BandwidthEstimated { bits_per_second: estimate.as_u64() })
            }
            _ => None,
        }
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnection")
            .field("ufrag", &self.ufrag)
            .field("connected", &self.connected)
            .field("closed", &self.closed)
            .field("sections", &self.negotiation.sections.len())
            .finish_non_exhaustive()
    }
}
