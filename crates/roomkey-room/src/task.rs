//! The task that owns the core, the sockets and the clock.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use roomkey_signal::ServerUrl;
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::Bytes;

use crate::clock;
use crate::command::{Command, ReliableData};
use crate::connect_error::ConnectError;
use crate::connection_state::{ConnectionState, DisconnectReason};
use crate::core::{Core, DialId, Effect, Errand, FetchId, InvocationId, LocalTrackId, Refusal, SocketId};
use crate::encryption::{EncryptionState, RoomEncryption, Subject, TrackEncryption};
use crate::error::{PublishError, RoomError};
use crate::event::{Broadcast, RoomEvent};
use crate::local_sids::LocalSids;
use crate::media::{RtpOutlet, Sinks};
use crate::participant::Participants;
use crate::region_failover::RegionCache;
use crate::region_request;
use crate::room_info::RoomInfo;
use crate::rpc::error::RpcError;
use crate::rpc_method::RpcMethods;
use crate::sockets::{Sockets, local_addresses};
use crate::streams::{StreamInput, Streams};
use crate::token_times::TokenTimes;
use crate::websocket::{self, Websocket};

mod telling;

const LONGEST_DATAGRAM: usize = 2_048;
/// Datagrams that are read before anything else has a turn.
const BATCH: usize = 64;

/// What the task needs of the room's handle and gives to it.
pub(crate) struct Task {
    pub(crate) core: Core,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) own_commands: mpsc::WeakUnboundedSender<Command>,
    pub(crate) data: mpsc::UnboundedReceiver<ReliableData>,
    pub(crate) events: Arc<Broadcast>,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) local_sids: Arc<LocalSids>,
    pub(crate) state: watch::Sender<ConnectionState>,
    pub(crate) participants: watch::Sender<Arc<Participants>>,
    pub(crate) info: watch::Sender<Arc<RoomInfo>>,
    pub(crate) token: watch::Sender<TokenTimes>,
    pub(crate) connected: Option<oneshot::Sender<Result<(), ConnectError>>>,
    pub(crate) server_url: ServerUrl,
    pub(crate) region_cache: Arc<RegionCache>,
    pub(crate) local_addresses: Option<Vec<IpAddr>>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) methods: RpcMethods,
    pub(crate) encryption: Option<Arc<RoomEncryption>>,
    /// What was said last of each track's, and whether it was told.
    pub(crate) encryption_states: HashMap<Subject, (EncryptionState, bool)>,
    pub(crate) io: Io,
}

/// The sockets.
#[derive(Default)]
pub(crate) struct Io {
    websocket: Option<Box<Websocket>>,
    dialing: Option<(DialId, BoxFuture<'static, Dialed>)>,
    fetching: Option<(FetchId, BoxFuture<'static, Regions>)>,
    sockets: HashMap<SocketId, Sockets>,
    streams: Streams,
    outlets: Vec<(LocalTrackId, Box<dyn RtpOutlet>)>,
    buffer: Vec<u8>,
}

/// A list of regions as it came, and how long it holds.
type Regions = Option<(Vec<u8>, Option<Duration>)>;

enum Dialed {
    Websocket(Result<Box<Websocket>, Refusal>),
    Validated(Refusal),
}

enum Input {
    Command(Option<Command>),
    Data(Option<ReliableData>),
    Message(Option<Bytes>),
    Dialed(DialId, Dialed),
    Regions(FetchId, Regions),
    Datagram(SocketId, usize, SocketAddr, SocketAddr),
    Stream(StreamInput),
    /// A source has something to send, or who listens wants something.
    Woken,
    Answer(InvocationId, Result<String, RpcError>),
    Timeout,
}

impl Task {
    /// Runs until the room is over, or all handles are gone and the server has been told.
    ///
    /// It is boxed, since a future has room for what it is called with and for what it moves it to.
    pub(crate) async fn run(mut self: Box<Self>) {
        self.io.buffer.resize(LONGEST_DATAGRAM, 0);
        let (mut has_handles, mut has_data) = (true, true);
        loop {
            self.carry_out();
            if self.core.is_over() {
                break;
            }
            let input = self.next(has_handles, has_data).await;
            let now = clock::now();
            match input {
                Input::Command(Some(command)) => self.obey(command, now),
                Input::Command(None) => {
                    has_handles = false;
                    self.leave(now);
                }
                Input::Data(Some(data)) => self.send_reliable(data, now),
                Input::Data(None) => has_data = false,
                Input::Message(Some(bytes)) => self.core.handle_message(&bytes, now),
                Input::Message(None) => {
                    self.io.websocket = None;
                    self.core.handle_closed(now);
                }
                Input::Dialed(dial, dialed) => {
                    self.io.dialing = None;
                    match dialed {
                        Dialed::Websocket(Ok(websocket)) => {
                            self.io.websocket = Some(websocket);
                            self.core.handle_opened(dial, now);
                        }
                        Dialed::Websocket(Err(refusal)) => self.core.handle_refused(dial, refusal, now),
                        Dialed::Validated(refusal) => self.core.handle_validated(dial, &refusal, now),
                    }
                }
                Input::Regions(fetch, regions) => {
                    self.io.fetching = None;
                    self.core.handle_regions(fetch, regions, now);
                }
                Input::Datagram(sockets, length, source, destination) => {
                    self.receive(sockets, length, source, destination, now);
                    self.take_what_is_behind_datagrams(now);
                }
                Input::Stream(input) => self.take_stream(input, now),
                Input::Answer(id, answer) => self.core.respond(id, answer, now),
                Input::Woken | Input::Timeout => {
                    self.send_media(now);
                    for track in self.sinks.handle_timeout(now) {
                        self.core.request_keyframe(&track, now);
                    }
                    self.core.handle_timeout(now);
                }
            }
        }
        self.finish().await;
    }

    async fn next(&mut self, has_handles: bool, has_data: bool) -> Input {
        let can_send_data = has_data && self.core.can_send_data();
        let now = clock::now();
        let outlets = self.io.outlets.iter().filter_map(|(_, outlet)| outlet.next_due(now)).min();
        let deadline = [self.core.timeout(), outlets, self.sinks.timeout()].into_iter().flatten().min();
        let Io { websocket, dialing, fetching, sockets, streams, buffer, .. } = &mut self.io;
        tokio::select! {
            biased;
            command = self.commands.recv(), if has_handles => Input::Command(command),
            message = poll_fn(|cx| poll_message(websocket, cx)) => Input::Message(message),
            (dial, dialed) = poll_fn(|cx| poll_numbered(dialing, cx)) => Input::Dialed(dial, dialed),
            (fetch, regions) = poll_fn(|cx| poll_numbered(fetching, cx)) => Input::Regions(fetch, regions),
            () = self.sinks.woken() => Input::Woken,
            (id, answer) = self.methods.next_answer() => Input::Answer(id, answer),
            () = until(deadline) => Input::Timeout,
            // Behind what has its time: whoever always has more for us does not stop the clock.
            (id, length, source, destination) = poll_fn(|cx| poll_sockets(sockets, buffer, cx)) => {
                Input::Datagram(id, length, source, destination)
            }
            input = poll_fn(|cx| streams.poll(cx)) => Input::Stream(input),
            data = self.data.recv(), if can_send_data => Input::Data(data),
        }
    }

    /// Takes what has arrived, a batch at most.
    fn receive(&mut self, first: SocketId, length: usize, source: SocketAddr, destination: SocketAddr, now: Instant) {
        let mut received = (first, length, source, destination);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..BATCH {
            let (sockets, length, source, destination) = received;
            self.core.handle_datagram(sockets, source, destination, &self.io.buffer[..length], now);
            self.carry_out();
            // The next await asks again with the task's own waker.
            match poll_sockets(&mut self.io.sockets, &mut self.io.buffer, &mut cx) {
                Poll::Ready(next) => received = next,
                Poll::Pending => return,
            }
        }
    }

    /// One of each, so that datagrams without end don't keep them waiting.
    fn take_what_is_behind_datagrams(&mut self, now: Instant) {
        // The next await asks again with the task's own waker.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(input) = self.io.streams.poll(&mut cx) {
            self.take_stream(input, now);
        }
        if self.core.can_send_data()
            && let Ok(data) = self.data.try_recv()
        {
            self.send_reliable(data, now);
        }
    }

    fn take_stream(&mut self, input: StreamInput, now: Instant) {
        match input {
            StreamInput::Opened((sockets, stream), ends) => self.core.handle_stream_opened(sockets, stream, ends, now),
            StreamInput::Received((sockets, stream), length) => {
                self.core.handle_stream_bytes(sockets, stream, self.io.streams.received(length), now);
            }
            StreamInput::Closed((sockets, stream)) => self.core.handle_stream_closed(sockets, stream, now),
            StreamInput::Resolved(sockets, lookup, found) => {
                self.core.handle_resolved(sockets, lookup, &found, now);
            }
        }
    }

    fn run_errand(&mut self, sockets: SocketId, errand: Errand) {
        let streams = &mut self.io.streams;
        match errand {
            Errand::Resolve { lookup, host } => streams.resolve(sockets, lookup, host),
            Errand::Connect { stream, target } => streams.connect((sockets, stream), target, self.tls.clone()),
            Errand::Write { stream, bytes, may_be_lost } => {
                if !streams.write((sockets, stream), &bytes, may_be_lost) {
                    streams.disconnect((sockets, stream));
                    self.core.handle_stream_closed(sockets, stream, clock::now());
                }
            }
            Errand::Disconnect { stream } => streams.disconnect((sockets, stream)),
        }
    }

    fn send_media(&mut self, now: Instant) {
        let mut has_sent = false;
        for (id, outlet) in &mut self.io.outlets {
            while let Some(packet) = outlet.poll(now) {
                // Until the track is negotiated, and while the connection is away, what is said is lost.
                has_sent |= self.core.send_rtp(*id, packet, now).is_ok();
            }
        }
        if has_sent {
            self.core.settle(now);
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Publish { id, attach, reply } => {
                let Some((mut outlet, mut request)) = attach() else {
                    // Whoever gave the wait up does not want the track anyway.
                    let _ = reply.send(Err(PublishError::AlreadyPublished));
                    return;
                };
                outlet.set_waker(self.sinks.waker());
                outlet.set_muted(request.is_muted);
                let encryption = self.track_encryption(id);
                request.is_encrypted = encryption.is_some();
                outlet.set_encryption(encryption);
                self.io.outlets.push((id, outlet));
                let (commands, local_sids) = (self.own_commands.clone(), Arc::clone(&self.local_sids));
                let reply = Box::new(move |result: Result<_, _>| {
                    let has_failed = result.is_err();
                    if let Ok(sid) = &result {
                        // Before whoever published it can ask for it.
                        local_sids.insert(id, sid);
                    }
                    // Whoever gave the wait up does not want the track.
                    if (reply.send(result).is_err() || has_failed)
                        && let Some(commands) = commands.upgrade()
                    {
                        let _ = commands.send(Command::Unpublish { id });
                    }
                });
                self.core.publish(id, request, reply, now);
            }
            Command::Unpublish { id } => {
                self.core.unpublish(id, now);
                self.end_outlet(id);
            }
            Command::SetMuted { id, muted } => {
                self.set_outlet_muted(id, muted);
                self.core.set_muted(id, muted, now);
            }
            Command::SetSubscribed { track, subscribed, reply } => {
                let _ = reply.send(self.core.set_subscribed(&track, subscribed, now));
            }
            Command::SetTrackSettings { track, settings } => self.core.set_track_settings(&track, settings, now),
            Command::SetSubscriptionPermission { is_for_all, permissions } => {
                self.core.set_subscription_permission(is_for_all, permissions, now);
            }
            Command::RequestKeyframe { track } => self.core.request_keyframe(&track, now),
            Command::ChangeOwn { change, reply } => {
                self.core.change_own(change, Box::new(move |result| drop(reply.send(result))), now);
            }
            Command::CancelCall { number } => self.core.cancel_call(number),
            Command::Call { number, request, reply } => {
                self.core.call(number, &request, Box::new(move |result| drop(reply.send(result))), now);
            }
            Command::SetMethod { name, method } => {
                self.core.set_method(&name, method.is_some());
                match method {
                    Some(method) => self.methods.register(name, method),
                    None => self.methods.unregister(&name),
                }
            }
            Command::Lossy { packet, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(self.core.send_packet(*packet, false, now));
                }
            }
            Command::SetEncryptionEnabled { enabled, reply } => {
                let _ = reply.send(self.set_encryption_enabled(enabled, now));
            }
            Command::NetworkChanged => self.core.network_changed(now),
            Command::CutWebsocket => {
                self.io.websocket = None;
                self.core.handle_closed(now);
            }
            Command::Leave => self.leave(now),
        }
    }

    /// What seals the frames of a track, where they are to be sealed.
    fn track_encryption(&self, id: LocalTrackId) -> Option<TrackEncryption> {
        let room = self.encryption.as_ref().filter(|encryption| encryption.is_enabled())?;
        Some(TrackEncryption { room: Arc::clone(room), id })
    }

    fn set_encryption_enabled(&mut self, enabled: bool, now: Instant) -> Result<(), RoomError> {
        let Some(encryption) = self.encryption.clone() else {
            return Err(RoomError::Invalid("the room was joined without keys for encryption"));
        };
        if encryption.is_enabled() == enabled {
            return Ok(());
        }
        encryption.set_enabled(enabled);
        // What waits was made in the old way. The tracks are sent again once they are published anew.
        self.set_sending(None, false);
        for (id, outlet) in &mut self.io.outlets {
            outlet.set_encryption(enabled.then(|| TrackEncryption { room: Arc::clone(&encryption), id: *id }));
        }
        self.core.set_encrypted(enabled, now);
        Ok(())
    }

    /// Tells what has changed of tracks' encryption.
    fn tell_encryption(&mut self) {
        let Some(reports) = self.encryption.as_ref().map(|encryption| encryption.reports.take()) else { return };
        for (subject, state) in reports {
            if self.encryption_states.get(&subject).is_some_and(|(known, _)| *known == state) {
                continue;
            }
            self.encryption_states.insert(subject.clone(), (state, false));
            self.tell_encryption_of(&subject);
        }
    }

    /// Tells of a track's encryption what was not told, once the track is known.
    fn tell_encryption_of(&mut self, subject: &Subject) {
        let Some((state, false)) = self.encryption_states.get(subject).copied() else { return };
        let sid = match subject {
            Subject::Local(id) => self.local_sids.get(*id),
            Subject::Remote(sid) => Some(sid.clone()),
        };
        let Some((participant, publication)) = sid.and_then(|sid| self.core.members().track(&sid)) else { return };
        if let Some((_, is_told)) = self.encryption_states.get_mut(subject) {
            *is_told = true;
        }
        self.tell(RoomEvent::E2eeStateChanged { participant, publication: Some(publication), state });
    }

    fn send_reliable(&mut self, data: ReliableData, now: Instant) {
        if data.is_given_up() {
            return;
        }
        let ReliableData { packet, reply, place } = data;
        let _ = reply.send(self.core.send_packet(*packet, true, now));
        drop(place);
    }

    /// What was asked for before goes first: ends of streams are in the queue of data. What comes meanwhile is late.
    fn leave(&mut self, now: Instant) {
        for _ in 0..self.data.len() {
            if let Ok(data) = self.data.try_recv() {
                self.send_reliable(data, now);
            }
        }
        self.core.leave(now);
    }

    fn end_outlet(&mut self, id: LocalTrackId) {
        self.local_sids.remove(id);
        self.sid_changed();
        self.io.outlets.retain(|(known, _)| *known != id);
    }

    /// Wakes who waits for something of an own track, and knows it by its sid.
    fn sid_changed(&self) {
        self.participants.send_modify(|_| {});
    }

    fn outlet(&mut self, id: LocalTrackId) -> Option<&mut Box<dyn RtpOutlet>> {
        self.io.outlets.iter_mut().find(|(known, _)| *known == id).map(|(_, outlet)| outlet)
    }

    /// Of one track, or of all that are published.
    fn set_sending(&mut self, track: Option<LocalTrackId>, sending: bool) {
        for (id, outlet) in &mut self.io.outlets {
            if track.map_or_else(|| self.local_sids.get(*id).is_some(), |track| track == *id) {
                outlet.set_sending(sending);
            }
        }
    }

    fn set_outlet_muted(&mut self, id: LocalTrackId, muted: bool) {
        if let Some(outlet) = self.outlet(id) {
            outlet.set_muted(muted);
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Transmit { sockets, transmit } => {
                    if let Some(sockets) = self.io.sockets.get_mut(&sockets) {
                        sockets.send(transmit);
                    }
                }
                Effect::Errand { sockets, errand } => self.run_errand(sockets, errand),
                Effect::Send(bytes) => {
                    if self.io.websocket.as_mut().is_some_and(|websocket| !websocket.send(bytes)) {
                        self.io.websocket = None;
                        self.core.handle_closed(clock::now());
                    }
                }
                Effect::Happened(happened) => self.happened(happened),
                Effect::Bind { sockets } => self.bind(sockets),
                Effect::Unbind { sockets } => {
                    self.io.streams.remove(sockets);
                    self.io.sockets.remove(&sockets);
                }
                Effect::Dial { dial, url, authorization } => {
                    self.io.websocket = None;
                    let tls = self.tls.clone();
                    let opening =
                        async move { Dialed::Websocket(websocket::open(&url, authorization, tls).await.map(Box::new)) };
                    self.io.dialing = Some((dial, Box::pin(opening)));
                }
                Effect::Validate { dial, url, authorization } => {
                    let tls = self.tls.clone();
                    let asking = async move { Dialed::Validated(websocket::validate(&url, authorization, tls).await) };
                    self.io.dialing = Some((dial, Box::pin(asking)));
                }
                Effect::FetchRegions { fetch, url, authorization } => {
                    let tls = self.tls.clone();
                    let asking = async move { region_request::get(&url, authorization, tls).await };
                    self.io.fetching = Some((fetch, Box::pin(asking)));
                }
                Effect::KeepRegions(list) => self.region_cache.keep(self.server_url.clone(), list),
                Effect::CloseWebsocket => {
                    self.io.dialing = None;
                    if !self.core.is_over() {
                        self.io.websocket = None;
                    }
                }
            }
        }
        self.tell_encryption();
        if std::mem::take(&mut self.core.members().has_changed) {
            let participants = Arc::new(self.core.members().participants.clone());
            self.participants.send_replace(participants);
        }
    }

    fn bind(&mut self, id: SocketId) {
        let addresses = match &self.local_addresses {
            Some(addresses) => Ok(addresses.clone()),
            None => local_addresses(self.server_url.host()),
        };
        match addresses.and_then(|addresses| Sockets::bind(&addresses)) {
            Ok(sockets) => {
                let addresses = sockets.addresses();
                self.io.sockets.insert(id, sockets);
                self.core.handle_bound(id, addresses, clock::now());
            }
            Err(error) => {
                self.io.sockets.remove(&id);
                self.core.handle_bind_failed(io::Error::new(error.kind(), error.to_string()), clock::now());
            }
        }
    }

    fn tell(&self, event: RoomEvent) {
        self.events.tell(event);
    }

    /// Gives back what the application captures with, before it hears that the room is over: it may publish the same in the
    /// next room at once.
    fn let_go(&mut self) {
        self.io.outlets.clear();
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.data.close();
        while self.data.try_recv().is_ok() {}
    }

    async fn finish(mut self: Box<Self>) {
        self.carry_out();
        self.sinks.end_all();
        self.let_go();
        // The borrow ends before the value is replaced, which waits for all borrows.
        let is_untold = matches!(*self.state.borrow(), ConnectionState::Connected);
        if is_untold {
            self.state.send_replace(ConnectionState::Disconnected(DisconnectReason::Unknown));
        }
        self.events.end();
        if let Some(websocket) = self.io.websocket.take() {
            websocket.close().await;
        }
    }
}

fn poll_message(websocket: &mut Option<Box<Websocket>>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
    match websocket {
        Some(websocket) => websocket.poll_message(cx),
        None => Poll::Pending,
    }
}

fn poll_numbered<T>(under_way: &mut Option<(u64, BoxFuture<'static, T>)>, cx: &mut Context<'_>) -> Poll<(u64, T)> {
    match under_way {
        Some((number, future)) => Pin::new(future).poll(cx).map(|outcome| (*number, outcome)),
        None => Poll::Pending,
    }
}

fn poll_sockets(
    all: &mut HashMap<SocketId, Sockets>,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<(SocketId, usize, SocketAddr, SocketAddr)> {
    for (id, sockets) in all {
        if let Poll::Ready((length, source, destination)) = sockets.poll_receive(cx, buffer) {
            return Poll::Ready((*id, length, source, destination));
        }
    }
    Poll::Pending
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
