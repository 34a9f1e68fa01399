//! Cases 47 and 48: lists of tracks.

use super::*;
use crate::core::tracks::list as list_of;
use crate::{TrackFilter, TrackRef};

fn ids(tracks: &[TrackRef]) -> Vec<String> {
    tracks.iter().map(TrackRef::id).collect()
}

fn with_camera(identity: &str, is_subscribed: bool) -> Participant {
    let mut participant = Participant::new(format!("PA_{identity}"), identity);
    let mut camera = publication(&format!("TR_{identity}"), TrackSource::Camera);
    camera.is_subscribed = is_subscribed;
    participant.publications = vec![Arc::new(publication("TR_voice", TrackSource::Microphone)), Arc::new(camera)];
    participant
}

fn room(others: &[Participant]) -> Participants {
    let mut participants = Participants::default();
    let mut local = with_camera("me", false);
    local.is_local = true;
    replace(&mut participants, Arc::new(local));
    for other in others {
        replace(&mut participants, Arc::new(other.clone()));
    }
    participants
}

#[test]
fn cameras_come_and_go_this_clients_first_then_in_the_order_of_joining() {
    let cameras = TrackFilter::source(TrackSource::Camera);
    let all = cameras.clone().only_subscribed(false);
    let mut participants = room(&[with_camera("zoe", true), with_camera("adam", false)]);
    assert_eq!(ids(&list_of(&participants, &cameras)), ["me_Camera_TR_me", "zoe_Camera_TR_zoe"]);
    let every = ["me_Camera_TR_me", "zoe_Camera_TR_zoe", "adam_Camera_TR_adam"];
    assert_eq!(ids(&list_of(&participants, &all)), every);

    replace(&mut participants, Arc::new(with_camera("adam", true)));
    assert_eq!(ids(&list_of(&participants, &cameras)), every);
    let mut muted = with_camera("zoe", true);
    let mut camera = TrackPublication::clone(&muted.publications[1]);
    camera.is_muted = true;
    muted.publications[1] = Arc::new(camera);
    replace(&mut participants, Arc::new(muted));
    let list = list_of(&participants, &cameras);
    assert_eq!(ids(&list), every);
    assert!(list[1].publication.as_ref().unwrap().is_muted);

    replace(&mut participants, Arc::new(Participant::new("PA_zoe", "zoe")));
    assert_eq!(ids(&list_of(&participants, &cameras)), ["me_Camera_TR_me", "adam_Camera_TR_adam"]);
}

#[test]
fn of_one_participant_the_order_is_that_of_the_sources() {
    let mut participants = room(&[]);
    participants.remote.clear();
    let filter = TrackFilter::sources([TrackSource::Camera, TrackSource::Microphone]);
    assert_eq!(ids(&list_of(&participants, &filter)), ["me_Camera_TR_me", "me_Microphone_TR_voice"]);
}

#[test]
fn a_placeholder_is_replaced_where_it_stands() {
    let filter = TrackFilter::source(TrackSource::Camera).placeholders(true);
    let mut participants = room(&[Participant::new("PA_zoe", "zoe"), with_camera("adam", true)]);
    let list = list_of(&participants, &filter);
    assert_eq!(ids(&list), ["me_Camera_TR_me", "zoe_Camera_placeholder", "adam_Camera_TR_adam"]);
    assert!(list[1].is_placeholder());
    replace(&mut participants, Arc::new(with_camera("zoe", false)));
    assert!(list_of(&participants, &filter)[1].is_placeholder(), "it is not received");
    replace(&mut participants, Arc::new(with_camera("zoe", true)));
    let replaced = ["me_Camera_TR_me", "zoe_Camera_TR_zoe", "adam_Camera_TR_adam"];
    assert_eq!(ids(&list_of(&participants, &filter)), replaced);
}
