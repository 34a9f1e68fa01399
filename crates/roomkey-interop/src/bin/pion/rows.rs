//! What is tried, each in a connection of its own.

use std::time::Duration;

use roomkey::BoxError;
use roomkey_rtc::{
    ChannelConfig, ChannelId, Codec, Config, Event, MediaKind, Msid, OutgoingRtp, Rid, SendDataError, SenderId, red,
};
use serde_json::json;

use crate::now;
use crate::pair::{Offerer, Pair, payload, word};

const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";
const LARGE: usize = 50_000;

/// Packets of a track.
const PACKETS: u64 = 100;

pub(crate) type Outcome = Result<(), BoxError>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Row {
    Data(Offerer),
    Negotiated(Offerer),
    LaterChannel(Offerer),
    LargestMessage(Offerer),
    Bulk { loss: u8 },
    ChannelCloses,
    ToPion(MediaKind, Offerer),
    FromPion(MediaKind, Offerer),
    Everything(Offerer),
    LossyVideoToPion,
    LossyVideoFromPion,
    Simulcast,
    Red,
    NextTrack,
    Bandwidth,
    Restart(Offerer),
    Lite(Offerer),
    LiteRestart,
    LateCandidate(Offerer),
    RoomkeyCloses,
    PionCloses,
}

impl Row {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        use MediaKind::{Audio, Video};
        use Offerer::{Pion, Roomkey};
        let offered = [Roomkey, Pion].into_iter().flat_map(|offerer| {
            [
                Self::Data(offerer),
                Self::Negotiated(offerer),
                Self::LaterChannel(offerer),
                Self::LargestMessage(offerer),
                Self::ToPion(Audio, offerer),
                Self::FromPion(Audio, offerer),
                Self::ToPion(Video, offerer),
                Self::FromPion(Video, offerer),
                Self::Everything(offerer),
                Self::Restart(offerer),
                Self::LateCandidate(offerer),
                Self::Lite(offerer),
            ]
        });
        offered.chain([
            Self::LiteRestart,
            Self::Bulk { loss: 0 },
            Self::Bulk { loss: 2 },
            Self::LossyVideoToPion,
            Self::LossyVideoFromPion,
            Self::Simulcast,
            Self::Red,
            Self::NextTrack,
            Self::Bandwidth,
            Self::ChannelCloses,
            Self::RoomkeyCloses,
            Self::PionCloses,
        ])
    }

    pub(crate) fn name(self) -> String {
        let by = |offerer| match offerer {
            Offerer::Roomkey => "roomkey offers",
            Offerer::Pion => "pion offers",
        };
        match self {
            Self::Data(who) => format!("{}: reliable and lossy messages both ways, one of 50,000 bytes", by(who)),
            Self::Negotiated(who) => format!("{}: negotiated channels", by(who)),
            Self::LaterChannel(who) => format!("{}: each side opens a channel when connected", by(who)),
            Self::LargestMessage(who) => format!("{}: the largest message that each side takes", by(who)),
            Self::Bulk { loss } => format!("4 MB in messages of 40 kB both ways at once, {loss} % of datagrams lost"),
            Self::ChannelCloses => "a channel closes, by each side".to_owned(),
            Self::ToPion(kind, who) => format!("{}: {} to pion", by(who), media(kind)),
            Self::FromPion(kind, who) => format!("{}: {} from pion", by(who), media(kind)),
            Self::Everything(who) => format!("{}: audio, video and data both ways in one connection", by(who)),
            Self::LossyVideoToPion => "video to pion at 3 % loss is sent again".to_owned(),
            Self::LossyVideoFromPion => "video from pion at 3 % loss is asked for again".to_owned(),
            Self::Simulcast => "three layers to pion, and a PLI for one".to_owned(),
            Self::Red => "redundant audio to pion, which takes none, arrives as Opus".to_owned(),
            Self::NextTrack => "a track to pion ends and another takes its section".to_owned(),
            Self::Bandwidth => "bandwidth estimated from pion's feedback".to_owned(),
            Self::Restart(who) => format!("{} an ICE restart: data goes on", by(who)),
            Self::Lite(who) => format!("{}: roomkey is ICE lite", by(who)),
            Self::LiteRestart => "pion restarts ICE with roomkey, which is ICE lite: data goes on".to_owned(),
            Self::LateCandidate(who) => format!("{}: all candidates come after the answer", by(who)),
            Self::RoomkeyCloses => "roomkey closes the connection".to_owned(),
            Self::PionCloses => "pion closes the connection".to_owned(),
        }
    }

    pub(crate) async fn run(self) -> Outcome {
        match self {
            Self::Data(who) => {
                let (mut pair, reliable, lossy) = with_channels(&Config::new(), who).await?;
                exchange(&mut pair, reliable, lossy).await
            }
            Self::Negotiated(who) => negotiated(who).await,
            Self::LaterChannel(who) => later_channel(who).await,
            Self::LargestMessage(who) => largest_message(who).await,
            Self::Bulk { loss } => bulk(loss).await,
            Self::ChannelCloses => channel_closes().await,
            Self::ToPion(kind, who) => {
                let mut pair = Pair::start(&Config::new()).await?;
                let sender = send_track(&mut pair, kind, who).await?;
                pair.connected().await?;
                to_pion(&mut pair, sender, kind).await
            }
            Self::FromPion(kind, who) => {
                let mut pair = Pair::start(&Config::new()).await?;
                receive_track(&mut pair, kind, who).await?;
                pair.connected().await?;
                from_pion(&mut pair, kind).await
            }
            Self::Everything(who) => everything(who).await,
            Self::LossyVideoToPion => lossy_video_to_pion().await,
            Self::LossyVideoFromPion => lossy_video_from_pion().await,
            Self::Simulcast => simulcast().await,
            Self::Red => redundant().await,
            Self::NextTrack => next_track().await,
            Self::Bandwidth => bandwidth().await,
            Self::Restart(who) => restart(&Config::new(), who).await,
            Self::Lite(who) => {
                let (mut pair, reliable, lossy) = with_channels(&Config::new().with_ice_lite(true), who).await?;
                exchange(&mut pair, reliable, lossy).await
            }
            Self::LiteRestart => restart(&Config::new().with_ice_lite(true), Offerer::Pion).await,
            Self::LateCandidate(who) => late_candidate(who).await,
            Self::RoomkeyCloses => {
                let (mut pair, ..) = with_channels(&Config::new(), Offerer::Roomkey).await?;
                pair.connection.close();
                pair.sees("closed", |seen| seen["label"] == RELIABLE).await?;
                pair.sees("state", |seen| seen["state"] == "closed").await.map(drop)
            }
            Self::PionCloses => {
                let (mut pair, ..) = with_channels(&Config::new(), Offerer::Roomkey).await?;
                pair.does("close", json!({})).await?;
                pair.event("end", |event| (*event == Event::Closed).then_some(())).await
            }
        }
    }
}

fn media(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "Opus",
        MediaKind::Video => "VP8 and a PLI back",
    }
}

/// A connection with both of LiveKit's channels, announced by who offers.
async fn with_channels(config: &Config, offerer: Offerer) -> Result<(Pair, ChannelId, ChannelId), BoxError> {
    let mut pair = Pair::start(config).await?;
    offer_channels(&mut pair, offerer).await?;
    pair.negotiate(offerer).await?;
    pair.connected().await?;
    let (reliable, lossy) = channels(&mut pair).await?;
    Ok((pair, reliable, lossy))
}

async fn offer_channels(pair: &mut Pair, offerer: Offerer) -> Outcome {
    match offerer {
        Offerer::Roomkey => {
            pair.connection.open_channel(ChannelConfig::new(RELIABLE));
            pair.connection.open_channel(lossy_config());
        }
        Offerer::Pion => {
            pair.does("channel", json!({"label": RELIABLE, "ordered": true})).await?;
            pair.does("channel", json!({"label": LOSSY, "ordered": false, "maxRetransmits": 0})).await?;
        }
    }
    Ok(())
}

fn lossy_config() -> ChannelConfig {
    ChannelConfig::new(LOSSY).with_ordered(false).with_max_retransmits(Some(0))
}

async fn channels(pair: &mut Pair) -> Result<(ChannelId, ChannelId), BoxError> {
    let (reliable, said) = pair.channel(RELIABLE).await?;
    if said["ordered"] != true || !said["maxRetransmits"].is_null() {
        return Err(format!("pion takes it for {said}").into());
    }
    let (lossy, said) = pair.channel(LOSSY).await?;
    if said["ordered"] != false || said["maxRetransmits"] != 0 {
        return Err(format!("pion takes it for {said}").into());
    }
    Ok((reliable, lossy))
}

/// Messages both ways, in both channels.
async fn exchange(pair: &mut Pair, reliable: ChannelId, lossy: ChannelId) -> Outcome {
    for (channel, label) in [(reliable, RELIABLE), (lossy, LOSSY)] {
        for size in [1, 1_000, 1_200, 15_000] {
            pair.sends(channel, label, size).await?;
            pair.gets(channel, label, size).await?;
        }
    }
    pair.sends(reliable, RELIABLE, LARGE).await?;
    pair.gets(reliable, RELIABLE, LARGE).await?;
    pair.connection.send_data(reliable, false, "dobrý den", now())?;
    pair.sees("message", |seen| seen["text"] == "dobrý den").await?;
    pair.does("send", json!({"label": RELIABLE, "text": "dobrý den"})).await?;
    if pair.message(reliable).await? != (false, "dobrý den".into()) {
        return Err("the text changed on its way".into());
    }
    // All at once keep their order.
    for size in 1..=100 {
        pair.connection.send_data(reliable, true, vec![0; size], now())?;
    }
    for size in 1..=100 {
        let got = pair.sees("message", |seen| seen["label"] == RELIABLE).await?;
        if got["size"] != size {
            return Err(format!("message {size} came as {got}").into());
        }
    }
    Ok(())
}

async fn negotiated(offerer: Offerer) -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    for (label, stream, ordered) in [(RELIABLE, 100, true), (LOSSY, 101, false)] {
        let config = if ordered { ChannelConfig::new(label) } else { lossy_config() };
        pair.connection.open_channel(config.with_negotiated(Some(stream)));
        let mut arguments = json!({"label": label, "ordered": ordered, "negotiated": stream});
        if !ordered {
            arguments["maxRetransmits"] = json!(0);
        }
        pair.does("channel", arguments).await?;
    }
    pair.negotiate(offerer).await?;
    pair.connected().await?;
    let (reliable, lossy) = channels(&mut pair).await?;
    exchange(&mut pair, reliable, lossy).await
}

async fn later_channel(offerer: Offerer) -> Outcome {
    let (mut pair, ..) = with_channels(&Config::new(), offerer).await?;
    pair.connection.open_channel(ChannelConfig::new("ours"));
    let (ours, _) = pair.channel("ours").await?;
    pair.does("channel", json!({"label": "theirs"})).await?;
    let (theirs, _) = pair.channel("theirs").await?;
    for (channel, label) in [(ours, "ours"), (theirs, "theirs")] {
        pair.sends(channel, label, LARGE).await?;
        pair.gets(channel, label, LARGE).await?;
    }
    Ok(())
}

async fn largest_message(offerer: Offerer) -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    offer_channels(&mut pair, offerer).await?;
    let (offer, answer) = pair.negotiate(offerer).await?;
    pair.connected().await?;
    let (reliable, _) = channels(&mut pair).await?;
    let ours = if offerer == Offerer::Roomkey { offer } else { answer };
    let said = ours.lines().find_map(|line| line.strip_prefix("a=max-message-size:")).and_then(|n| n.parse().ok());
    let refused = pair.connection.send_data(reliable, true, vec![0; 8 << 20], now());
    let Err(SendDataError::TooLarge { limit }) = refused else { return Err("8 MiB are not refused".into()) };
    let in_turn = async {
        pair.sends(reliable, RELIABLE, limit).await.map_err(|error| format!("{limit} bytes to pion: {error}"))?;
        let most = said.unwrap_or(65_536).min(1 << 20);
        pair.gets(reliable, RELIABLE, most).await.map_err(|error| format!("{most} bytes from pion: {error}"))
    };
    Ok(in_turn.await?)
}

async fn bulk(loss: u8) -> Outcome {
    const SIZE: usize = 40_000;
    const COUNT: usize = 100;
    let (mut pair, reliable, _) = with_channels(&Config::new(), Offerer::Roomkey).await?;
    pair.loss = loss;
    for _ in 0..COUNT {
        pair.connection.send_data(reliable, true, vec![1; SIZE], now())?;
        pair.does("send", json!({"label": RELIABLE, "size": SIZE})).await?;
    }
    for number in 0..COUNT {
        let got = pair.sees("message", |seen| seen["label"] == RELIABLE).await?;
        let (_, bytes) = pair.message(reliable).await?;
        if got["size"] != SIZE || bytes.len() != SIZE {
            return Err(format!("message {number} came as {got} and {} bytes", bytes.len()).into());
        }
    }
    Ok(())
}

async fn channel_closes() -> Outcome {
    let (mut pair, reliable, lossy) = with_channels(&Config::new(), Offerer::Roomkey).await?;
    pair.connection.close_channel(reliable);
    pair.sees("closed", |seen| seen["label"] == RELIABLE).await?;
    let closed = |wanted| move |event: &Event| (*event == Event::ChannelClosed { id: wanted }).then_some(());
    pair.event("end of our channel", closed(reliable)).await?;
    pair.does("close_channel", json!({"label": LOSSY})).await?;
    pair.event("end of pion's channel", closed(lossy)).await?;
    pair.connection.open_channel(ChannelConfig::new("after"));
    let (after, _) = pair.channel("after").await?;
    pair.sends(after, "after", 10).await?;
    pair.gets(after, "after", 10).await
}

fn codec(kind: MediaKind) -> Codec {
    match kind {
        MediaKind::Audio => Codec::Opus,
        MediaKind::Video => Codec::Vp8,
    }
}

fn packet(kind: MediaKind) -> impl Fn(u64) -> OutgoingRtp {
    move |number| {
        let step = if kind == MediaKind::Audio { 960 } else { 3000 };
        OutgoingRtp::new(codec(kind), number, (number * step) as u32, payload(kind, number))
            .with_marker(kind == MediaKind::Video)
    }
}

fn track(kind: MediaKind) -> Msid {
    Msid::new("PA_roomkey|TR_1", format!("TR_{}", word(kind)))
}

/// Negotiates a track of ours.
async fn send_track(pair: &mut Pair, kind: MediaKind, offerer: Offerer) -> Result<SenderId, BoxError> {
    if offerer == Offerer::Roomkey {
        let sender = pair.connection.add_sender(kind, track(kind), &[]);
        pair.negotiate(offerer).await?;
        return Ok(sender);
    }
    pair.does("receive", json!({"kind": word(kind)})).await?;
    pair.negotiate(offerer).await?;
    let free = pair.connection.media().find(|section| section.free && section.kind == kind);
    let sender = pair.connection.attach_sender(free.ok_or("no section is free")?.mid, track(kind))?;
    pair.negotiate(offerer).await?;
    Ok(sender)
}

/// Negotiates a track of pion's.
async fn receive_track(pair: &mut Pair, kind: MediaKind, offerer: Offerer) -> Outcome {
    if offerer == Offerer::Roomkey {
        pair.connection.add_receiver(kind);
    }
    pair.does("track", json!({"kind": word(kind), "stream": "pion", "track": format!("TR_{}", word(kind))})).await?;
    pair.negotiate(offerer).await.map(drop)
}

async fn to_pion(pair: &mut Pair, sender: SenderId, kind: MediaKind) -> Outcome {
    pair.send_rtp(sender, 0..PACKETS, packet(kind)).await?;
    let seen = pair.sees("track", |seen| seen["kind"] == word(kind)).await?;
    let Msid { stream_id, track_id, .. } = track(kind);
    if seen["stream"] != stream_id || seen["track"] != track_id {
        return Err(format!("pion takes it for {seen}").into());
    }
    pair.pion_gets_rtp(kind, "", PACKETS).await?;
    if kind == MediaKind::Video {
        pair.does("pli", json!({"kind": "video"})).await?;
        let asked = |event: &Event| matches!(event, Event::KeyframeRequested { sender: of, .. } if *of == sender);
        pair.event("request for a key frame", |event| asked(event).then_some(())).await?;
    }
    Ok(())
}

async fn from_pion(pair: &mut Pair, kind: MediaKind) -> Outcome {
    let (mid, msid) = pair
        .event("track of pion's", |event| {
            if let Event::MediaAdded { mid, kind: of, msid, .. } = event
                && *of == kind
            {
                Some((*mid, msid.clone()))
            } else {
                None
            }
        })
        .await?;
    if msid != Msid::new("pion", format!("TR_{}", word(kind))) {
        return Err(format!("its name came as {msid:?}").into());
    }
    if pair.gets_rtp(kind, PACKETS, PACKETS).await? != mid {
        return Err("the packets came in another section".into());
    }
    if kind == MediaKind::Video {
        if !pair.connection.request_keyframe(mid, None) {
            return Err("there is no stream to ask for a key frame".into());
        }
        pair.sees("pli", |seen| seen["kind"] == "video").await?;
    }
    Ok(())
}

async fn everything(offerer: Offerer) -> Outcome {
    let (mut pair, reliable, lossy) = with_channels(&Config::new(), offerer).await?;
    for kind in [MediaKind::Audio, MediaKind::Video] {
        // What comes from pion is looked at by kind.
        pair.events.clear();
        let sender = send_track(&mut pair, kind, offerer).await?;
        to_pion(&mut pair, sender, kind).await.map_err(|error| format!("{} to pion: {error}", word(kind)))?;
        receive_track(&mut pair, kind, offerer).await?;
        from_pion(&mut pair, kind).await.map_err(|error| format!("{} from pion: {error}", word(kind)))?;
    }
    exchange(&mut pair, reliable, lossy).await
}

async fn lossy_video_to_pion() -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    let sender = send_track(&mut pair, MediaKind::Video, Offerer::Roomkey).await?;
    pair.connected().await?;
    pair.send_rtp(sender, 0..20, packet(MediaKind::Video)).await?;
    pair.loss = 3;
    pair.send_rtp(sender, 20..300, packet(MediaKind::Video)).await?;
    pair.loss = 0;
    pair.send_rtp(sender, 300..310, packet(MediaKind::Video)).await?;
    match pair.pion_gets_rtp(MediaKind::Video, "", 300).await? {
        0 => Err("nothing was sent again".into()),
        _ => Ok(()),
    }
}

async fn lossy_video_from_pion() -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    receive_track(&mut pair, MediaKind::Video, Offerer::Roomkey).await?;
    pair.connected().await?;
    pair.loss = 3;
    pair.gets_rtp(MediaKind::Video, 300, 297).await.map(drop)
}

async fn simulcast() -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    let rids = ["q", "h", "f"].map(str::parse::<Rid>);
    let rids = rids.into_iter().collect::<Result<Vec<_>, _>>()?;
    let sender = pair.connection.add_sender(MediaKind::Video, track(MediaKind::Video), &rids);
    pair.negotiate(Offerer::Roomkey).await?;
    pair.connected().await?;
    for number in 0..PACKETS {
        for rid in &rids {
            pair.connection.send_rtp(sender, packet(MediaKind::Video)(number).with_rid(Some(*rid)), now())?;
        }
        pair.run_for(Duration::from_millis(10)).await?;
    }
    for rid in &rids {
        pair.pion_gets_rtp(MediaKind::Video, rid.as_str(), PACKETS - 25)
            .await
            .map_err(|error| format!("layer {rid}: {error}"))?;
    }
    pair.does("pli", json!({"kind": "videoh"})).await?;
    let asked = |event: &Event| {
        if let Event::KeyframeRequested { rid, .. } = event { Some(*rid) } else { None }
    };
    let rid = pair.event("request for a key frame", asked).await?;
    if rid == Some(rids[1]) { Ok(()) } else { Err(format!("a key frame of {rid:?} is asked for").into()) }
}

async fn redundant() -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    let sender = send_track(&mut pair, MediaKind::Audio, Offerer::Roomkey).await?;
    pair.connected().await?;
    let packet = |number: u64| {
        let earlier = payload(MediaKind::Audio, number.saturating_sub(1));
        let payload = red::encode(111, &[(960, &earlier)], &payload(MediaKind::Audio, number));
        OutgoingRtp::new(Codec::Red, number, (number * 960) as u32, payload)
    };
    pair.send_rtp(sender, 0..PACKETS, packet).await?;
    pair.pion_gets_rtp(MediaKind::Audio, "", PACKETS).await.map(drop)
}

async fn next_track() -> Outcome {
    let mut pair = Pair::start(&Config::new()).await?;
    let first = pair.connection.add_sender(MediaKind::Video, track(MediaKind::Video), &[]);
    pair.negotiate(Offerer::Roomkey).await?;
    pair.connected().await?;
    pair.send_rtp(first, 0..50, packet(MediaKind::Video)).await?;
    pair.sees("track", |_| true).await?;
    pair.pion_gets_rtp(MediaKind::Video, "", 50).await?;
    pair.connection.detach_sender(first);
    pair.negotiate(Offerer::Roomkey).await?;
    let second = pair.connection.add_sender(MediaKind::Video, Msid::new("PA_roomkey", "TR_second"), &[]);
    let (offer, _) = pair.negotiate(Offerer::Roomkey).await?;
    if offer.matches("m=video").count() != 1 {
        return Err("the section is not used again".into());
    }
    pair.send_rtp(second, 1_000..1_050, packet(MediaKind::Video)).await?;
    pair.sees("track", |seen| seen["track"] == "TR_second").await?;
    pair.sees("rtp", |seen| seen["first"] == 1_000 && seen["count"] == 50 && seen["changed"] == 0).await.map(drop)
}

async fn bandwidth() -> Outcome {
    let mut pair = Pair::start(&Config::new().with_bandwidth_estimation(Some(300_000))).await?;
    let sender = send_track(&mut pair, MediaKind::Video, Offerer::Roomkey).await?;
    pair.connected().await?;
    pair.send_rtp(sender, 0..300, packet(MediaKind::Video)).await?;
    pair.pion_gets_rtp(MediaKind::Video, "", 300).await?;
    let estimated = |event: &Event| matches!(event, Event::BandwidthEstimated { .. }).then_some(());
    pair.event("estimate", estimated).await
}

fn ufrag(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"))
}

/// Data goes on, after new credentials on both sides and a new socket at pion.
async fn restart(config: &Config, offerer: Offerer) -> Outcome {
    let mut pair = Pair::start(config).await?;
    offer_channels(&mut pair, offerer).await?;
    let before = pair.negotiate(offerer).await?;
    pair.connected().await?;
    let (reliable, lossy) = channels(&mut pair).await?;
    pair.sends(reliable, RELIABLE, LARGE).await?;
    for round in 1..=2 {
        let after = match offerer {
            Offerer::Roomkey => {
                pair.connection.restart_ice();
                pair.negotiate(offerer).await?
            }
            Offerer::Pion => pair.pion_offers(true).await?,
        };
        if ufrag(&before.0) == ufrag(&after.0) || ufrag(&before.1) == ufrag(&after.1) {
            return Err("the credentials are the old ones".into());
        }
        pair.sees("ice", |seen| seen["state"] == "connected")
            .await
            .map_err(|error| format!("restart {round}: {error}"))?;
        pair.run_for(Duration::from_millis(500)).await?;
        exchange(&mut pair, reliable, lossy).await.map_err(|error| format!("restart {round}: {error}"))?;
    }
    // The old path would be given up within this time.
    pair.run_for(Duration::from_secs(8)).await?;
    exchange(&mut pair, reliable, lossy).await.map_err(|error| format!("8 s later: {error}").into())
}

async fn late_candidate(offerer: Offerer) -> Outcome {
    let mut pair = Pair::start_without_candidate(&Config::new()).await?;
    offer_channels(&mut pair, offerer).await?;
    let (offer, answer) = pair.negotiate(offerer).await?;
    pair.run_for(Duration::from_millis(100)).await?;
    let candidate = pair.candidate()?;
    let ours = if offerer == Offerer::Roomkey { offer } else { answer };
    let trickled = candidate.to_trickle_json(pair.connection.local_ufrag(), &ours);
    pair.connection.add_local_candidate(candidate);
    pair.does("candidate", json!({"candidate": serde_json::from_str::<serde_json::Value>(&trickled)?})).await?;
    pair.connected().await?;
    let (reliable, lossy) = channels(&mut pair).await?;
    exchange(&mut pair, reliable, lossy).await
}
