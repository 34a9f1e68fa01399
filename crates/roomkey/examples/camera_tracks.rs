//! Camera tracks: a list of them, with places for who has none; what one shows, as a film and as a picture.
//!
//! `cargo run --example camera_tracks` runs against a dev server that it starts itself, where a second client shows a clip.
//! With `--token-endpoint URL` it waits for whoever shows something in that room. `--out FILE.ivf` names the film, whose
//! picture lies beside it; `--in FILE.ivf` another clip.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use local::{Local, argument};
use roomkey::room::{IvfReader, IvfWriter, VideoDecoder, VideoSourceOptions, Vp8KeyframeDecoder};
use roomkey::session::{Session, StartOptions, TrackFilter, TrackRef};
use roomkey::{
    BoxError, EncodedVideoFrame, LocalTrack, Room, TrackPublishOptions, TrackSource, VideoSource, VideoStreamOptions,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
/// How much of the camera is recorded.
const FRAMES: usize = 30;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let out = argument("--out").map_or_else(|| std::env::temp_dir().join("roomkey-camera.ivf"), PathBuf::from);

    let session = Session::of(local.token_source().bind(local.options("alice")));
    session.start(StartOptions::new()).await?;
    let mut cameras = session.tracks(TrackFilter::source(TrackSource::Camera).placeholders(true));
    show(&cameras.borrow_and_update());

    let camera_man = if local.is_own() { Some(CameraMan::start(&local).await?) } else { None };

    // The list, whenever it changes, until somebody shows something.
    let shown = async {
        loop {
            let list = Arc::clone(&cameras.borrow_and_update());
            show(&list);
            let of_others = list.iter().filter(|camera| !camera.participant.is_local);
            if let Some(track) = of_others.filter_map(|camera| session.remote_track(camera)).next() {
                return Ok::<_, BoxError>(track);
            }
            cameras.changed().await?;
        }
    };
    let track = timeout(PATIENCE, shown).await.map_err(|_| "nobody shows anything")??;

    // Encoded frames, from a key frame on, as a film.
    let mut frames = track.video_stream(VideoStreamOptions::new());
    let first = timeout(PATIENCE, frames.next()).await?.ok_or("the track ended")?;
    let (width, height) = first.dimensions.ok_or("a key frame says how large it is")?;
    let file = BufWriter::new(File::create(&out)?);
    let mut film = IvfWriter::new(file, first.codec, u16::try_from(width)?, u16::try_from(height)?)?;
    film.write(&first)?;
    for _ in 1..FRAMES {
        film.write(&timeout(PATIENCE, frames.next()).await?.ok_or("the track ended")?)?;
    }
    film.finish()?;
    println!("film             {FRAMES} frames of {}, {width} x {height}: {}", first.codec.mime_type(), out.display());

    // A key frame of VP8 is a picture, without a decoder and with one.
    if let Some(webp) = first.to_webp() {
        let picture = out.with_extension("webp");
        fs::write(&picture, webp)?;
        println!("picture          {}", picture.display());
        let decoded = Vp8KeyframeDecoder::new().decode(&first)?.ok_or("a key frame is a picture")?;
        println!("decoded          {} bytes of red, green and blue", decoded.to_rgb().len());
    }

    if let Some(camera_man) = camera_man {
        camera_man.stop().await;
    }
    session.end().await;
    local.stop().await;
    Ok(())
}

fn show(cameras: &[TrackRef]) {
    for camera in cameras {
        let what = camera.publication.as_ref().map_or("no camera", |publication| publication.mime_type.as_str());
        println!("list             {} of {}: {what}", camera.id(), camera.participant.identity);
    }
    println!("list             -");
}

/// Another client, which shows a clip again and again.
struct CameraMan {
    room: Room,
    showing: tokio::task::JoinHandle<()>,
}

impl CameraMan {
    async fn start(local: &Local) -> Result<Self, BoxError> {
        let clip = argument("--in").unwrap_or_else(|| CLIP.to_owned());
        let mut clip = IvfReader::new(File::open(clip)?)?;
        let (codec, (width, height)) = (clip.codec(), clip.dimensions());
        let clip = clip.by_ref().collect::<Result<Vec<_>, _>>()?;

        let credentials = local.token_source().fetch(&local.options("bob")).await?;
        let room = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
        let camera = VideoSource::new(VideoSourceOptions::new(codec, width, height));
        let track = LocalTrack::video("camera", &camera);
        room.local_participant().publish_track(track, TrackPublishOptions::new()).await?;
        let showing = tokio::spawn(async move {
            let mut frames = clip.iter().cycle();
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / FRAMES_PER_SECOND);
            for index in 0.. {
                ticks.tick().await;
                let Some(frame) = frames.next() else { return };
                let elapsed = Duration::from_secs(1) * index / FRAMES_PER_SECOND;
                // What nobody wants yet is left out.
                let _ = camera.capture_frame(&EncodedVideoFrame::new(codec, elapsed, Arc::clone(&frame.data)));
            }
        });
        Ok(Self { room, showing })
    }

    async fn stop(self) {
        self.showing.abort();
        self.room.close().await;
    }
}

const FRAMES_PER_SECOND: u32 = 15;
/// Colour bars, which are there in a clone of the repository.
const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../roomkey-room/tests/data/video/vp8.ivf");
