//! Sources and streams at the ends of a real connection: RTP over SRTP, losses made good by NACK and RTX, requests for key
//! frames by PLI. The network is seeded, and time is virtual.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use roomkey_rtc::{
    Candidate, ChannelConfig, Config, Event, MediaKind, Mid, Msid, Output, PeerConnection, Rid, SenderId,
};

use super::{CODECS, Encoder, millis};
use crate::video::outlet::VideoOutlet;
use crate::video::source::{Captured, VideoSource};
use crate::video::source_options::VideoSourceOptions;
use crate::video::stream::{VideoInlet, VideoStream, VideoStreamOptions};
use crate::video::{EncodedVideoFrame, VideoQuality};

const CLIENT: usize = 0;
const SERVER: usize = 1;

type Datagram = (usize, SocketAddr, SocketAddr, Vec<u8>);

/// A client that publishes, and a server that receives each layer.
struct Pair {
    sides: [PeerConnection; 2],
    deadlines: [Instant; 2],
    now: Instant,
    random: fastrand::Rng,
    /// Of a hundred datagrams.
    loss: u8,
    /// Up to so much is added to the delay, so that datagrams overtake each other.
    jitter: Duration,
    under_way: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
    largest: usize,
    sender: SenderId,
    outlet: VideoOutlet,
    inlets: Vec<(Option<Rid>, VideoInlet, VideoStream)>,
    mid: Option<Mid>,
    is_open: bool,
}

impl Pair {
    fn new(seed: u64, source: &VideoSource) -> Self {
        let now = crate::video::test_clock();
        let mut sides =
            [Config::new(), Config::new().with_ice_lite(true)].map(|config| PeerConnection::new(&config, now));
        for (side, port) in sides.iter_mut().zip([5_000, 6_000]) {
            side.add_local_candidate(Candidate::host_udp(([127, 0, 0, 1], port).into()).unwrap());
        }
        let outlet = source.outlet().unwrap();
        let rids = outlet.rids();
        sides[CLIENT].open_channel(ChannelConfig::new("_reliable"));
        let sender = sides[CLIENT].add_sender(MediaKind::Video, Msid::new("-", "camera"), &rids);
        let offer = sides[CLIENT].create_offer(now).unwrap().unwrap();
        let answer = sides[SERVER].accept_offer(&offer, now).unwrap();
        sides[CLIENT].accept_answer(&answer, now).unwrap();
        let names = if rids.is_empty() { vec![None] } else { rids.into_iter().map(Some).collect() };
        let inlets = names.into_iter().map(|rid| {
            let (inlet, stream) = VideoInlet::new(VideoStreamOptions::new(), None);
            (rid, inlet, stream)
        });
        let mut pair = Self {
            sides,
            deadlines: [now; 2],
            now,
            random: fastrand::Rng::with_seed(seed),
            loss: 0,
            jitter: Duration::ZERO,
            under_way: BTreeMap::new(),
            sent: 0,
            largest: 0,
            sender,
            outlet,
            inlets: inlets.collect(),
            mid: None,
            is_open: false,
        };
        for _ in 0..100 {
            pair.run_for(millis(50));
        }
        assert!(pair.is_open && pair.mid.is_some());
        pair.outlet.set_active(true);
        pair
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            if self.now >= end {
                return;
            }
            let timeouts = self.inlets.iter().filter_map(|(_, inlet, _)| inlet.poll_timeout());
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let next = timeouts.chain(arrival).chain(self.deadlines).min().unwrap();
            self.now = next.min(end).max(self.now);
            let now = self.now;
            while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
                let (to, source, destination, payload) = entry.remove();
                self.sides[to].handle_datagram(now, source, destination, &payload);
                self.drain();
            }
            for side in [CLIENT, SERVER] {
                if self.deadlines[side] <= now {
                    self.sides[side].handle_timeout(now);
                }
            }
            for (rid, inlet, _) in &mut self.inlets {
                inlet.handle_timeout(now);
                if inlet.poll_keyframe_request(now) {
                    self.sides[SERVER].request_keyframe(self.mid.unwrap(), *rid);
                }
            }
        }
    }

    fn drain(&mut self) {
        for from in [CLIENT, SERVER] {
            loop {
                match self.sides[from].poll() {
                    Output::Transmit(transmit) => {
                        self.largest = self.largest.max(transmit.payload.len());
                        if self.random.u8(0..100) >= self.loss {
                            self.sent += 1;
                            let arrival = self.now + millis(20) + self.jitter.mul_f64(self.random.f64());
                            let datagram = (1 - from, transmit.source, transmit.destination, transmit.payload);
                            self.under_way.insert((arrival, self.sent), datagram);
                        }
                    }
                    Output::Event(event) => self.handle_event(event),
                    Output::Timeout(at) => break self.deadlines[from] = at,
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "others are not about media")]
    fn handle_event(&mut self, event: Event) {
        match event {
            Event::ChannelOpened { .. } => self.is_open = true,
            Event::MediaAdded { mid, .. } => self.mid = Some(mid),
            Event::RtpReceived { rid, packet, .. } => {
                let (_, inlet, _) = self.inlets.iter_mut().find(|(known, ..)| *known == rid).unwrap();
                inlet.push(self.now, packet);
            }
            Event::KeyframeRequested { rid, .. } => self.outlet.request_keyframe(rid),
            _ => {}
        }
    }

    fn send(&mut self) {
        for packet in self.outlet.poll_packets(usize::MAX) {
            self.sides[CLIENT].send_rtp(self.sender, packet, self.now).unwrap();
        }
    }

    fn received(&mut self, layer: usize) -> Vec<EncodedVideoFrame> {
        let stream = &mut self.inlets[layer].2;
        std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
    }
}

/// So many frames of each layer through a network that loses packets. Who is asked for a key frame makes one.
fn run(source: &VideoSource, pair: &mut Pair, seed: u64, frames: u64) -> Vec<Vec<EncodedVideoFrame>> {
    let options = source.options().clone();
    let mut encoder = Encoder::new(options.codec(), seed);
    let mut requests = source.keyframe_requests();
    let mut sent = vec![Vec::new(); options.layers().len()];
    let mut wants_keyframe = vec![true; sent.len()];
    for index in 0..frames {
        while let Some(quality) = requests.next().now_or_never().flatten() {
            let layer = options.layers().iter().position(|layer| layer.quality == quality).unwrap();
            wants_keyframe[layer] = true;
        }
        for (at, layer) in options.layers().iter().enumerate() {
            let is_keyframe = std::mem::take(&mut wants_keyframe[at]);
            let size = if is_keyframe { 9_000 } else { 1_500 };
            let layer = options.is_simulcast().then_some(layer.quality);
            let frame = encoder.frame(millis(index * 33), size, is_keyframe).with_layer(layer);
            assert_eq!(source.capture_frame(&frame), Ok(Captured::Queued));
            sent[at].push(frame);
        }
        pair.send();
        pair.run_for(millis(33));
    }
    pair.loss = 0;
    pair.run_for(millis(1_000));
    sent
}

#[test]
fn frames_of_every_codec_get_through_a_network_that_loses_packets() {
    for (seed, codec) in CODECS.into_iter().enumerate() {
        let source = VideoSource::new(VideoSourceOptions::new(codec, 64, 50));
        let mut pair = Pair::new(seed as u64, &source);
        (pair.loss, pair.jitter) = (3, millis(5));
        let sent = run(&source, &mut pair, 1, 120).remove(0);
        let received = pair.received(0);
        let mut last = None;
        for frame in &received {
            let index = sent.iter().position(|sent| sent.data == frame.data).unwrap();
            assert!(frame.is_keyframe || last == Some(index - 1), "{codec:?}: {index} after {last:?}");
            last = Some(index);
        }
        assert!(received.len() >= 100, "{codec:?}: {} of 120, {:?}", received.len(), pair.inlets[0].2);
        assert_eq!(pair.inlets[0].2.stats().malformed_frames, 0);
        assert!(pair.largest <= 1_200, "a datagram of {} bytes", pair.largest);
    }
}

#[test]
fn each_layer_of_a_simulcast_arrives_and_gets_the_key_frames_that_it_asks_for() {
    let source = VideoSource::new(VideoSourceOptions::new(CODECS[0], 1_280, 720).with_simulcast());
    let mut pair = Pair::new(9, &source);
    let sent = run(&source, &mut pair, 1, 30);
    assert!(pair.largest <= 1_200, "a datagram of {} bytes", pair.largest);
    for (layer, sent) in sent.iter().enumerate() {
        let received = pair.received(layer);
        assert!(received.iter().map(|frame| &frame.data).eq(sent.iter().map(|frame| &frame.data)), "layer {layer}");
        assert!(received.iter().map(|frame| frame.elapsed).eq(sent.iter().map(|frame| frame.elapsed)), "layer {layer}");
    }
    let mut requests = source.keyframe_requests();
    while requests.next().now_or_never().is_some() {}
    pair.inlets[1].2.request_keyframe();
    pair.run_for(millis(1_000));
    assert_eq!(requests.next().now_or_never(), Some(Some(VideoQuality::Medium)));
    assert_eq!(requests.next().now_or_never(), None);
}
