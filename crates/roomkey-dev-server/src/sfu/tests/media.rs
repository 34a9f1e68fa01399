//! Tracks from who publishes to who subscribes.

use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_rtc::{Codec, MediaKind, Msid, OutgoingRtp};
use roomkey_token::VideoGrant;

use super::world::World;

#[test]
fn audio_flows_to_a_subscriber_and_ends_with_its_publisher() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(alice);
    world.speak(alice, sender, 25);
    let sequences: Vec<_> = world.clients[bob].packets.iter().map(|packet| packet.sequence).collect();
    assert!(sequences.len() >= 24, "{sequences:?}");
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    let subscribed = world.clients[alice].messages.iter().any(|message| matches!(message, Message::TrackSubscribed(_)));
    assert!(subscribed);
    let spoke = world.clients[bob].messages.iter().any(|message| matches!(message, Message::SpeakersChanged(_)));
    assert!(spoke);

    world.request(alice, Request::Leave(proto::LeaveRequest::default()));
    world.run(Duration::from_millis(100));
    assert!(world.clients[alice].is_closed);
    let last = world.clients[bob].updates_of("alice").last().copied().unwrap().clone();
    assert_eq!(last.state, proto::participant_info::State::Disconnected as i32);
    assert_eq!(last.disconnect_reason, proto::DisconnectReason::ClientInitiated as i32);
}

#[test]
fn who_may_not_publish_is_told_so() {
    let mut world = World::new();
    let mut grant = VideoGrant::join("lab");
    grant.can_publish = Some(false);
    let listener = world.try_join("listener", grant).unwrap();
    let other = world.join("other");
    world.run(Duration::from_secs(1));
    world.request(listener, Request::AddTrack(proto::AddTrackRequest { cid: "c".to_owned(), ..Default::default() }));
    world.send_data(listener, "not allowed", &[]);
    let reason = world.clients[listener].messages.iter().find_map(|message| match message {
        Message::RequestResponse(response) => Some(response.reason),
        _ => None,
    });
    assert_eq!(reason, Some(proto::request_response::Reason::NotAllowed as i32));
    assert_eq!(world.topics(other), []);
}

#[test]
fn a_publisher_hears_what_is_wanted_of_its_video_as_soon_as_anything_is() {
    let mut world = World::new();
    let camera = world.join("camera");
    world.run(Duration::from_secs(1));
    let request = proto::AddTrackRequest {
        cid: "camera".to_owned(),
        r#type: proto::TrackType::Video as i32,
        source: proto::TrackSource::Camera as i32,
        ..Default::default()
    };
    world.request(camera, Request::AddTrack(request));
    world.exchange();
    let sender = world.clients[camera].rtc.add_sender(MediaKind::Video, Msid::new("stream", "camera"), &[]);
    world.offer(camera);
    for index in 0..10 {
        world.run(Duration::from_millis(20));
        let packet = OutgoingRtp::new(Codec::Vp8, index, 0, vec![0x90, 0x80, 1, 0, 0, 0]);
        world.clients[camera].rtc.send_rtp(sender, packet, world.now.instant).unwrap();
    }
    let told = |world: &World| {
        let updates = world.clients[camera].messages.iter().filter_map(|message| match message {
            Message::SubscribedQualityUpdate(update) => Some(update.subscribed_codecs[0].qualities.clone()),
            _ => None,
        });
        updates.collect::<Vec<_>>()
    };
    world.run(Duration::from_secs(5));
    assert!(told(&world).is_empty(), "somebody may come yet");
    world.join("viewer");
    world.run(Duration::from_millis(100));
    assert_eq!(told(&world).len(), 1);
    assert!(told(&world)[0].iter().all(|quality| quality.enabled));
}

#[test]
fn sections_that_a_client_is_about_to_offer_are_not_asked_for_again() {
    let mut world = World::new();
    let listener = world.join("listener");
    world.run(Duration::from_secs(1));
    world.clients[listener].is_busy = true;
    for number in 0..5 {
        let speaker = world.join(&format!("speaker-{number}"));
        world.run(Duration::from_secs(1));
        let sender = world.publish_audio(speaker);
        world.speak(speaker, sender, 5);
    }
    let asked = world.clients[listener].messages.iter().map(|message| match message {
        Message::MediaSectionsRequirement(requirement) => requirement.num_audios,
        _ => 0,
    });
    assert_eq!(asked.sum::<u32>(), 4, "one for each track but the first, for which there was one");
}

#[test]
fn who_comes_while_somebody_speaks_is_told_and_who_no_longer_listens_too() {
    let mut world = World::new();
    let speaker = world.join("speaker");
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(speaker);
    world.speak(speaker, sender, 40);
    let listener = world.join("listener");
    world.speak(speaker, sender, 60);
    let own = world.clients[speaker].speakers();
    assert_eq!(own.iter().map(|(_, active)| *active).collect::<Vec<_>>(), [true], "nothing has changed since");
    assert_eq!(world.clients[listener].speakers(), own);

    let info = world.clients[listener].updates_of("speaker").last().map(|info| info.tracks[0].sid.clone());
    let joined = world.clients[listener].messages.iter().find_map(|message| match message {
        Message::Join(join) => join.other_participants.first().map(|info| info.tracks[0].sid.clone()),
        _ => None,
    });
    let unsubscribe = proto::UpdateSubscription {
        track_sids: vec![info.or(joined).unwrap()],
        subscribe: false,
        ..Default::default()
    };
    world.request(listener, Request::Subscription(unsubscribe));
    world.speak(speaker, sender, 40);
    assert_eq!(world.clients[speaker].speakers(), own);
    let heard: Vec<_> = world.clients[listener].speakers().into_iter().map(|(_, active)| active).collect();
    assert_eq!(heard, [true, false]);
}
