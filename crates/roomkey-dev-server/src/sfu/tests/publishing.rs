//! Requests for tracks and for subscriptions: what is taken, what waits, and what is remembered.

use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_rtc::{MediaKind, Msid};
use roomkey_token::VideoGrant;

use super::world::{Client, World};

fn microphone(cid: &str) -> proto::AddTrackRequest {
    let source = proto::TrackSource::Microphone as i32;
    proto::AddTrackRequest { cid: cid.to_owned(), source, ..Default::default() }
}

impl World {
    /// Why a client was refused a track, each time.
    fn refusals(&self, client: usize) -> Vec<Reason> {
        let messages = self.clients[client].messages.iter();
        let reason = |message: &Message| match message {
            Message::RequestResponse(response) => Some(response.reason()),
            _ => None,
        };
        messages.filter_map(reason).collect()
    }

    fn published(&self, client: usize) -> Vec<String> {
        let sid = |message: &Message| match message {
            Message::TrackPublished(published) => Some(published.track.as_ref().unwrap().sid.clone()),
            _ => None,
        };
        self.clients[client].messages.iter().filter_map(sid).collect()
    }

    /// The tracks that a client may have or no longer, as it was told.
    fn allowed(&self, client: usize) -> Vec<bool> {
        let allowed = |message: &Message| match message {
            Message::SubscriptionPermissionUpdate(update) => Some(update.allowed),
            _ => None,
        };
        self.clients[client].messages.iter().filter_map(allowed).collect()
    }

    fn subscribe_to(&mut self, client: usize, sid: &str, subscribe: bool) {
        let update = proto::UpdateSubscription { track_sids: vec![sid.to_owned()], subscribe, ..Default::default() };
        self.request(client, Request::Subscription(update));
        self.run(Duration::from_millis(100));
    }

    fn permit(&mut self, client: usize, all_participants: bool) {
        let permission = proto::SubscriptionPermission { all_participants, ..Default::default() };
        self.request(client, Request::SubscriptionPermission(permission));
        self.run(Duration::from_millis(100));
    }
}

#[test]
fn a_track_whose_cid_is_in_use_is_published_when_the_one_before_ends() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let first = world.publish_audio(alice);
    world.request(alice, Request::AddTrack(microphone("microphone")));
    world.request(alice, Request::AddTrack(microphone("microphone")));
    world.run(Duration::from_millis(100));
    assert_eq!(world.refusals(alice), [Reason::Queued; 2]);
    assert_eq!(world.published(alice).len(), 1);

    // The end of the one and the section of the next are in one offer.
    world.clients[alice].rtc.detach_sender(first);
    let second = world.clients[alice].rtc.add_sender(MediaKind::Audio, Msid::new("stream", "microphone"), &[]);
    world.offer(alice);
    world.run(Duration::from_millis(100));
    let published = world.published(alice);
    assert_eq!(published.len(), 2);
    world.clients[bob].packets.clear();
    world.speak(alice, second, 20);
    assert!(world.clients[bob].packets.len() >= 10, "{}", world.clients[bob].packets.len());
    let tracks = &world.clients[bob].updates_of("alice").last().unwrap().tracks;
    assert_eq!(tracks.iter().map(|track| &track.sid).collect::<Vec<_>>(), [&published[1]]);

    world.clients[alice].rtc.detach_sender(second);
    world.offer(alice);
    world.run(Duration::from_millis(100));
    assert_eq!(world.published(alice).len(), 3);
}

#[test]
fn what_is_no_audio_and_no_video_is_not_published() {
    let mut world = World::new();
    let alice = world.join("alice");
    for kind in [proto::TrackType::Data as i32, 7] {
        world.request(alice, Request::AddTrack(proto::AddTrackRequest { r#type: kind, ..microphone("d") }));
    }
    world.run(Duration::from_millis(100));
    assert_eq!(world.refusals(alice), [Reason::UnsupportedType; 2]);
    assert!(world.published(alice).is_empty());
}

#[test]
fn tracks_and_what_is_repeated_in_them_are_bounded() {
    let mut world = World::new();
    let alice = world.join("alice");
    let layers = vec![proto::VideoLayer::default(); 200];
    let codec = proto::SimulcastCodec { layers: layers.clone(), ..Default::default() };
    let excessive = [
        proto::AddTrackRequest { layers, ..microphone("layers") },
        proto::AddTrackRequest { simulcast_codecs: vec![codec], ..microphone("layers of a codec") },
        proto::AddTrackRequest { simulcast_codecs: vec![Default::default(); 200], ..microphone("codecs") },
        proto::AddTrackRequest { audio_features: vec![0; 200], ..microphone("features") },
        proto::AddTrackRequest { packet_trailer_features: vec![0; 200], ..microphone("trailers") },
        microphone(&"long".repeat(20_000)),
    ];
    for request in excessive.clone() {
        world.request(alice, Request::AddTrack(request));
    }
    world.run(Duration::from_millis(100));
    assert_eq!(world.refusals(alice), vec![Reason::LimitExceeded; excessive.len()]);
    for _ in 0..70 {
        world.request(alice, Request::AddTrack(microphone("again")));
    }
    world.run(Duration::from_millis(100));
    let refusals = world.refusals(alice);
    let count = |reason| refusals.iter().filter(|refusal| **refusal == reason).count();
    assert_eq!((count(Reason::Queued), count(Reason::LimitExceeded)), (63, excessive.len() + 6));
}

#[test]
fn a_track_that_was_given_up_does_not_come_back_by_a_permission() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(alice);
    let sid = world.published(alice).remove(0);
    world.subscribe_to(bob, &sid, false);
    for all_participants in [true, false, true] {
        world.permit(alice, all_participants);
    }
    world.clients[bob].packets.clear();
    world.speak(alice, sender, 10);
    assert!(world.clients[bob].packets.is_empty());
    world.subscribe_to(bob, &sid, true);
    world.speak(alice, sender, 10);
    assert!(!world.clients[bob].packets.is_empty());
}

#[test]
fn a_track_that_was_asked_for_and_denied_comes_when_it_is_allowed() {
    let mut world = World::new();
    let alice = world.join("alice");
    let bob = Client::new(2, world.now.instant);
    let bob = world.join_as(bob, "bob", VideoGrant::join("lab"), |joining| joining.auto_subscribe = false).unwrap();
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(alice);
    let sid = world.published(alice).remove(0);
    world.permit(alice, false);
    world.subscribe_to(bob, &sid, true);
    world.speak(alice, sender, 5);
    assert!(world.clients[bob].packets.is_empty());
    world.permit(alice, true);
    world.speak(alice, sender, 10);
    assert_eq!(world.allowed(bob), [false, true]);
    assert!(!world.clients[bob].packets.is_empty());
}
