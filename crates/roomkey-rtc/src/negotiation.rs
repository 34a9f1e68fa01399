//! Offers and answers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use str0m::Rtc;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Simulcast, SimulcastLayer};

use crate::event::{Event, Output};
use crate::media::{Direction, Format, MediaKind, MediaSection, Mid, Msid, Rid};
use crate::peer_connection::PeerConnection;
use crate::sdp::{self, Content, Description};
use crate::sender::SenderId;

/// Why an offer or an answer was not made or not taken. The connection goes on as before.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NegotiationError {
    /// An offer waits for its answer. LiveKit has one side that offers in each connection, so that there is no rollback:
    /// send [`pending_offer`](PeerConnection::pending_offer) again if it may have been lost.
    OfferPending,
    /// There is an answer, and no offer that it could be for.
    NoOffer,
    /// The description can't be used; the text says why.
    Invalid(String),
    /// The connection is closed.
    Closed,
}

impl NegotiationError {
    fn invalid(why: impl fmt::Display) -> Self {
        Self::Invalid(why.to_string())
    }
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfferPending => f.write_str("an offer waits for its answer"),
            Self::NoOffer => f.write_str("there is no offer that this answer could be for"),
            Self::Invalid(why) => write!(f, "the description can't be used: {why}"),
            Self::Closed => f.write_str("the connection is closed"),
        }
    }
}

impl std::error::Error for NegotiationError {}

/// Why [`attach_sender`](PeerConnection::attach_sender) has no place for a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no such section of media.
    UnknownSection,
    /// The other side does not wait for a track there, or another one is attached.
    NotFree,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownSection => "there is no such section of media",
            Self::NotFree => "the section does not wait for a track",
        })
    }
}

impl std::error::Error for AttachError {}

/// What the next negotiation is to change, and what the last one said.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    pub(crate) sections: Vec<Section>,
    offer: Option<Pending>,
    /// Sections to receive in that no offer has placed.
    receivers: Vec<MediaKind>,
    ice_restart: bool,
    /// A sender was detached, which the other side has not been told.
    detached: bool,
    /// Whether data channels have their section.
    pub(crate) has_application: bool,
    /// Whether there was a finished exchange, which settles who leads ICE.
    finished: bool,
}

#[derive(Debug)]
struct Pending {
    token: SdpPendingOffer,
    text: String,
    sections: Vec<(Mid, Content)>,
}

/// One section of the session, in the order of SDP.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) mid: Mid,
    content: Content,
    /// What we made it for; `None` where the other side made it.
    purpose: Option<Purpose>,
    /// As we see it.
    direction: Direction,
    rejected: bool,
    remote_msid: Option<Msid>,
    remote_rids: Vec<Rid>,
    pub(crate) sender: Option<SenderId>,
    simulcast: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Send,
    Receive,
}

impl Section {
    fn new(mid: Mid, content: Content, purpose: Option<Purpose>) -> Self {
        Self {
            mid,
            content,
            purpose,
            direction: Direction::Inactive,
            rejected: false,
            remote_msid: None,
            remote_rids: Vec::new(),
            sender: None,
            simulcast: false,
        }
    }

    fn kind(&self) -> Option<MediaKind> {
        match self.content {
            Content::Media(kind) => Some(kind),
            Content::Application => None,
        }
    }

    fn is_free(&self) -> bool {
        self.purpose.is_none() && !self.rejected && self.sender.is_none() && self.direction.sends()
    }

    /// What our offer says; str0m has taken what the last answer said, which may be less.
    fn wanted(&self) -> Option<str0m::media::Direction> {
        match self.purpose? {
            Purpose::Send if self.sender.is_some() => Some(str0m::media::Direction::SendOnly),
            Purpose::Send => Some(str0m::media::Direction::Inactive),
            Purpose::Receive => Some(str0m::media::Direction::RecvOnly),
        }
    }
}

/// Negotiation.
impl PeerConnection {
    /// A track of ours, for a section that the next offer of this side makes, or an ended one that it uses again.
    ///
    /// `rids` are its simulcast layers, for video; none for no simulcast.
    pub fn add_sender(&mut self, kind: MediaKind, msid: Msid, rids: &[Rid]) -> SenderId {
        let rids = if kind == MediaKind::Video { rids } else { &[] };
        self.senders.add(kind, msid, rids, None)
    }

    /// A track of ours, for a section in which the other side waits for one; the next answer of this side names it.
    ///
    /// # Errors
    ///
    /// [`AttachError`] where the section is not [free](MediaSection::free).
    pub fn attach_sender(&mut self, mid: Mid, msid: Msid) -> Result<SenderId, AttachError> {
        let now = self.now;
        self.begin(now);
        let section = self.negotiation.sections.iter_mut().find(|section| section.mid == mid);
        let section = section.ok_or(AttachError::UnknownSection)?;
        let kind = section.kind().ok_or(AttachError::UnknownSection)?;
        if !section.is_free() {
            return Err(AttachError::NotFree);
        }
        let sender = self.senders.add(kind, msid, &[], Some(mid));
        section.sender = Some(sender);
        self.renew_stream(mid);
        Ok(sender)
    }

    /// Ends a track of ours. Nothing more is sent of it; the other side is told in the next offer or answer of this side.
    pub fn detach_sender(&mut self, sender: SenderId) {
        if self.senders.remove(sender).is_none() {
            return;
        }
        if let Some(section) = self.negotiation.sections.iter_mut().find(|section| section.sender == Some(sender)) {
            section.sender = None;
            self.negotiation.detached |= section.purpose.is_some();
        }
    }

    /// Asks for a section to receive in, in the next offer of this side; the other side puts a track there when it has one.
    pub fn add_receiver(&mut self, kind: MediaKind) {
        self.negotiation.receivers.push(kind);
    }

    /// The section that a sender is in, once an offer or [`attach_sender`](Self::attach_sender) has given it one.
    pub fn sender_mid(&self, sender: SenderId) -> Option<Mid> {
        self.senders.get(sender)?.mid
    }

    /// The sections of media, in the order of SDP.
    pub fn media(&self) -> impl Iterator<Item = MediaSection> + '_ {
        self.negotiation.sections.iter().filter_map(|section| {
            Some(MediaSection {
                mid: section.mid,
                kind: section.kind()?,
                direction: section.direction,
                remote_msid: section.remote_msid.clone(),
                remote_rids: section.remote_rids.clone(),
                sender: section.sender,
                free: section.is_free(),
            })
        })
    }

    /// Looks for a path anew, with the next offer of this side. DTLS, channels and media go on meanwhile over the old one.
    pub fn restart_ice(&mut self) {
        self.negotiation.ice_restart = true;
    }

    /// Whether an offer waits for its answer.
    pub fn has_pending_offer(&self) -> bool {
        self.negotiation.offer.is_some()
    }

    /// The offer that waits for its answer.
    pub fn pending_offer(&self) -> Option<&str> {
        self.negotiation.offer.as_ref().map(|offer| offer.text.as_str())
    }

    /// An offer with all that was added, detached or restarted since the last one; `None` where that is nothing.
    ///
    /// # Errors
    ///
    /// [`NegotiationError::OfferPending`] until the last offer is answered, [`NegotiationError::Closed`].
    pub fn create_offer(&mut self, now: Instant) -> Result<Option<String>, NegotiationError> {
        self.check_open()?;
        if self.negotiation.offer.is_some() {
            return Err(NegotiationError::OfferPending);
        }
        self.begin(now);
        let needs_application = !self.negotiation.has_application && self.channels.has_waiting();
        let negotiation = &self.negotiation;
        if self.senders.unplaced().is_empty()
            && negotiation.receivers.is_empty()
            && !negotiation.ice_restart
            && !negotiation.detached
            && !needs_application
        {
            return Ok(None);
        }
        self.reuse_sections();

        let negotiation = &mut self.negotiation;
        let mut api = self.rtc.sdp_api();
        for section in &negotiation.sections {
            if let Some(direction) = section.wanted().filter(|_| !section.rejected) {
                api.set_direction(section.mid.0, direction);
            }
        }
        for id in self.senders.unplaced() {
            let sender = self.senders.get_mut(id).expect("it was just listed");
            let layers = sender.rids.iter().map(|rid| SimulcastLayer::new(rid.as_str())).collect::<Vec<_>>();
            let simulcast = (!layers.is_empty()).then_some(Simulcast { send: layers, recv: Vec::new() });
            let simulcasts = simulcast.is_some();
            let mid = Mid(api.add_media(
                sender.kind.to_str0m(),
                str0m::media::Direction::SendOnly,
                Some(sender.msid.stream_id.clone()),
                Some(sender.msid.track_id.clone()),
                simulcast,
            ));
            sender.mid = Some(mid);
            let mut section = Section::new(mid, Content::Media(sender.kind), Some(Purpose::Send));
            (section.sender, section.simulcast) = (Some(id), simulcasts);
            negotiation.sections.push(section);
        }
        for kind in negotiation.receivers.drain(..) {
            let mid = Mid(api.add_media(kind.to_str0m(), str0m::media::Direction::RecvOnly, None, None, None));
            negotiation.sections.push(Section::new(mid, Content::Media(kind), Some(Purpose::Receive)));
        }
        if needs_application {
            self.channels.create_waiting(|config| Some(api.add_channel_with_config(config)));
        }
        if negotiation.ice_restart {
            api.ice_restart(true);
        }
        let applied = api.apply();
        self.mutated();
        (self.negotiation.ice_restart, self.negotiation.detached) = (false, false);
        let Some((offer, token)) = applied else { return Ok(None) };
        if !self.negotiation.finished {
            self.leads_ice = !self.ice_lite;
        }
        let text = self.with_msids(&offer.to_sdp_string());
        let description = Description::parse(&text).map_err(NegotiationError::invalid)?;
        let sections = description.sections.iter().map(|section| (section.mid, section.content)).collect();
        self.negotiation.offer = Some(Pending { token, text: text.clone(), sections });
        Ok(Some(text))
    }

    /// Takes the answer to the last offer.
    ///
    /// # Errors
    ///
    /// [`NegotiationError::Invalid`] for an answer that is not for it; the offer then still waits, except where str0m found
    /// the fault, which its text begins with `str0m`: then the connection has to be made anew.
    pub fn accept_answer(&mut self, sdp: &str, now: Instant) -> Result<(), NegotiationError> {
        self.check_open()?;
        let pending = self.negotiation.offer.as_ref().ok_or(NegotiationError::NoOffer)?;
        let description = Description::parse(sdp).and_then(usable).map_err(NegotiationError::invalid)?;
        let answered = description.sections.iter().map(|section| (section.mid, section.content));
        if !answered.eq(pending.sections.iter().copied()) {
            return Err(NegotiationError::invalid("it does not answer the sections of the offer"));
        }
        if description.ice_lite && self.ice_lite {
            return Err(NegotiationError::invalid("both sides would wait for the other one's ICE checks"));
        }
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(NegotiationError::invalid)?;
        self.begin(now);
        let pending = self.negotiation.offer.take().ok_or(NegotiationError::NoOffer)?;
        self.negotiate(|rtc| rtc.sdp_api().accept_answer(pending.token, answer))?;
        self.negotiated(&description);
        Ok(())
    }

    /// Takes an offer, and answers it.
    ///
    /// # Errors
    ///
    /// [`NegotiationError::OfferPending`], [`NegotiationError::Closed`], and [`NegotiationError::Invalid`] for an offer that
    /// can't be used. Where str0m found the fault, which its text begins with `str0m`, the connection has to be made anew.
    pub fn accept_offer(&mut self, sdp: &str, now: Instant) -> Result<String, NegotiationError> {
        self.check_open()?;
        if self.negotiation.offer.is_some() {
            return Err(NegotiationError::OfferPending);
        }
        let description = Description::parse(sdp).and_then(usable).map_err(NegotiationError::invalid)?;
        self.check_sections(&description)?;
        if description.ice_lite && self.ice_lite {
            return Err(NegotiationError::invalid("both sides would wait for the other one's ICE checks"));
        }
        let offer = SdpOffer::from_sdp_string(sdp).map_err(NegotiationError::invalid)?;
        self.begin(now);
        let answer = self.negotiate(|rtc| rtc.sdp_api().accept_offer(offer))?;
        if !self.negotiation.finished {
            self.leads_ice = description.ice_lite;
        }
        self.negotiated(&description);
        let text = self.with_msids(&answer.to_sdp_string());
        Ok(text)
    }

    /// Lets str0m take a description.
    ///
    /// It asserts what it takes for granted of payload types, some of which a stranger can break. A panic ends this
    /// connection and nothing else.
    fn negotiate<T>(
        &mut self,
        take: impl FnOnce(&mut Rtc) -> Result<T, str0m::RtcError>,
    ) -> Result<T, NegotiationError> {
        let taken = catch_unwind(AssertUnwindSafe(|| take(&mut self.rtc)));
        self.ice_changed();
        match taken {
            Ok(taken) => taken.map_err(|error| NegotiationError::invalid(format_args!("str0m: {error}"))),
            Err(_) => {
                let error = "str0m: its payload types contradict each other";
                self.fail(error);
                Err(NegotiationError::invalid(error))
            }
        }
    }

    fn check_open(&self) -> Result<(), NegotiationError> {
        if self.closed { Err(NegotiationError::Closed) } else { Ok(()) }
    }

    /// An offer repeats the sections that there are, in their order; one that was rejected may be replaced (RFC 8829
    /// section 5.2.2).
    fn check_sections(&self, description: &Description) -> Result<(), NegotiationError> {
        let known = &self.negotiation.sections;
        let repeated = description.sections.len() >= known.len()
            && known.iter().zip(&description.sections).all(|(known, offered)| {
                (known.mid == offered.mid && known.content == offered.content)
                    || (known.rejected && known.content != Content::Application)
            });
        let moved = description.sections.iter().enumerate().any(|(index, offered)| {
            known.iter().position(|known| known.mid == offered.mid).is_some_and(|before| before != index)
        });
        let applications =
            description.sections.iter().filter(|section| section.content == Content::Application).count();
        if repeated && !moved && applications <= 1 {
            Ok(())
        } else {
            Err(NegotiationError::invalid("it changes the order or the kind of the sections"))
        }
    }

    /// Puts new tracks into sections of ours whose tracks have ended, as the other side knows. Where it does not know yet, str0m
    /// would see nothing that an offer has to say.
    fn reuse_sections(&mut self) {
        for id in self.senders.unplaced() {
            let sender = self.senders.get_mut(id).expect("it was just listed");
            let (kind, simulcast) = (sender.kind, !sender.rids.is_empty());
            let section = self.negotiation.sections.iter_mut().find(|section| {
                section.purpose == Some(Purpose::Send)
                    && section.content == Content::Media(kind)
                    && section.sender.is_none()
                    && !section.direction.sends()
                    && !section.rejected
                    && !section.simulcast
                    && !simulcast
            });
            if let Some(section) = section {
                section.sender = Some(id);
                let mid = section.mid;
                sender.mid = Some(mid);
                self.renew_stream(mid);
            }
        }
    }

    /// A new track gets an SSRC of its own, so that a receiver does not take it for the earlier one.
    fn renew_stream(&mut self, mid: Mid) {
        let Some(media) = self.rtc.media(mid.0) else { return };
        let resends = self
            .rtc
            .codec_config()
            .iter()
            .any(|params| params.resend().is_some() && media.remote_pts().contains(&params.pt()));
        // str0m can also give a stream another SSRC, but still finds it by the first when a NACK or a PLI comes.
        self.remove_stream(mid);
        let mut direct = self.rtc.direct_api();
        let (ssrc, repair) = (direct.new_ssrc(), direct.new_ssrc());
        direct.declare_stream_tx(ssrc, resends.then_some(repair), mid.0, None);
        self.mutated();
    }

    fn remove_stream(&mut self, mid: Mid) {
        let mut direct = self.rtc.direct_api();
        if let Some(ssrc) = direct.stream_tx_by_mid(mid.0, None).map(|stream| stream.ssrc()) {
            direct.remove_stream_tx(ssrc);
            self.mutated();
        }
    }

    fn with_msids(&self, text: &str) -> String {
        sdp::with_msids(text, |mid| self.senders.in_section(mid).map(|sender| &sender.msid))
    }

    /// str0m makes a stream to send in each section, also where this side only receives or has no track yet. Each takes some
    /// 10 kB, and sends a report a second. Who gets a track makes one again.
    fn remove_idle_streams(&mut self) {
        let idle = |section: &&Section| section.sender.is_none() && section.purpose != Some(Purpose::Send);
        let idle: Vec<_> = self.negotiation.sections.iter().filter(idle).map(|section| section.mid).collect();
        idle.into_iter().for_each(|mid| self.remove_stream(mid));
    }

    /// Takes over what the other side's description says.
    fn negotiated(&mut self, description: &Description) {
        self.negotiation.finished = true;
        for (index, remote) in description.sections.iter().enumerate() {
            let sections = &mut self.negotiation.sections;
            match sections.get(index) {
                Some(known) if known.mid == remote.mid => {}
                Some(_) => {
                    let recycled =
                        std::mem::replace(&mut sections[index], Section::new(remote.mid, remote.content, None));
                    if let Some(sender) = recycled.sender {
                        self.senders.remove(sender);
                    }
                }
                None => sections.push(Section::new(remote.mid, remote.content, None)),
            }
            let section = &mut self.negotiation.sections[index];
            section.rejected = remote.rejected;
            section.direction = if remote.rejected { Direction::Inactive } else { remote.direction.invert() };
            let Content::Media(kind) = section.content else { continue };

            let msid = remote.msid.clone().filter(|_| section.direction.receives());
            let before = std::mem::replace(&mut section.remote_msid, msid.clone());
            section.remote_rids = if msid.is_some() { remote.send_rids.clone() } else { Vec::new() };
            if before != msid {
                let (mid, rids) = (section.mid, section.remote_rids.clone());
                if before.is_some() {
                    self.outputs.push_back(Output::Event(Event::MediaRemoved { mid }));
                }
                if let Some(msid) = msid {
                    self.outputs.push_back(Output::Event(Event::MediaAdded { mid, kind, msid, rids }));
                }
            }

            let (mid, sends) = (section.mid, section.direction.sends());
            let sender = section.sender.and_then(|sender| self.senders.get_mut(sender));
            if let Some(sender) = sender {
                if sends {
                    let formats = self.rtc.media(mid.0).map(|media| formats(&self.rtc, media)).unwrap_or_default();
                    sender.negotiated(&mut self.rtc, formats);
                } else {
                    sender.refused();
                }
            }
        }
        self.remove_idle_streams();
        self.receivers.negotiated(&self.rtc);
        if let Some(application) = description.application() {
            self.negotiation.has_application = true;
            self.channels.set_max_message(application.max_message_size);
            self.create_channels();
        }
        self.remote_candidates = 0;
        self.refresh_ufrag();
    }
}

/// The formats of a section, in the order of the other side's preference.
fn formats(rtc: &Rtc, media: &str0m::media::Media) -> Vec<(Format, u8)> {
    let params = |payload_type| rtc.codec_config().iter().find(|params| params.pt() == payload_type);
    media.remote_pts().iter().filter_map(|payload_type| params(*payload_type)).flat_map(Format::of).collect()
}

/// str0m gives up the connection where these are missing: they are looked for before it sees the description.
fn usable(description: Description) -> Result<Description, sdp::Unreadable> {
    if description.sections.is_empty() {
        return Err("it has no sections");
    }
    if !description.has_ice_credentials {
        return Err("it has no ICE credentials");
    }
    if !description.has_fingerprint {
        return Err("it has no fingerprint of a certificate");
    }
    Ok(description)
}
