//! Data channels, and the queue in front of SCTP.

use std::collections::VecDeque;
use std::fmt;

use str0m::Rtc;
use str0m::channel::Reliability;

/// A data channel of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelId(u32);

/// What a data channel is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelConfig {
    label: String,
    ordered: bool,
    max_retransmits: Option<u16>,
    negotiated: Option<u16>,
}

impl ChannelConfig {
    /// Reliable and ordered. LiveKit's labels are `_reliable`, `_lossy` and `_data_track`.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ordered: true, max_retransmits: None, negotiated: None }
    }

    /// Whether messages arrive in the order in which they were sent.
    pub fn with_ordered(self, ordered: bool) -> Self {
        Self { ordered, ..self }
    }

    /// How often a lost message is sent again; `None`, the default, until it arrives.
    pub fn with_max_retransmits(self, max_retransmits: Option<u16>) -> Self {
        Self { max_retransmits, ..self }
    }

    /// The SCTP stream that both sides agreed on; `None`, the default, lets this side announce the channel (RFC 8832).
    /// LiveKit's are 100, 101 and 102.
    pub fn with_negotiated(self, negotiated: Option<u16>) -> Self {
        Self { negotiated, ..self }
    }

    pub(crate) fn to_str0m(&self) -> str0m::channel::ChannelConfig {
        str0m::channel::ChannelConfig {
            label: self.label.clone(),
            ordered: self.ordered,
            reliability: self
                .max_retransmits
                .map_or(Reliability::Reliable, |retransmits| Reliability::MaxRetransmits { retransmits }),
            negotiated: self.negotiated,
            ..Default::default()
        }
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendDataError {
    /// The channel is not open, or is of another connection.
    NotOpen,
    /// The queue is full. For a reliable channel: wait for [`Event::BufferedAmountLow`](crate::Event::BufferedAmountLow).
    /// For another one: drop the message, as the network would have.
    Full,
    /// The other side takes no message of this size.
    TooLarge {
        /// The largest that it takes, in bytes.
        limit: usize,
    },
}

impl fmt::Display for SendDataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the data channel is not open"),
            Self::Full => f.write_str("the data channel's queue is full"),
            Self::TooLarge { limit } => {
                write!(f, "the message is larger than the {limit} bytes that the other side takes")
            }
        }
    }
}

impl std::error::Error for SendDataError {}

/// What SCTP may hold of reliable channels. Its work for each packet grows with what is in flight, so that more is slower.
pub(crate) const HAND_OVER: usize = 128 * 1024;

/// What SCTP may hold of the other channels. Each kind has its share: neither waits because of the other.
const LOSSY_HAND_OVER: usize = 64 * 1024;

/// What SCTP may hold in all.
pub(crate) const SCTP_BUFFER: usize = HAND_OVER + LOSSY_HAND_OVER;

/// Used where the other side does not say (RFC 8841 section 6).
const DEFAULT_MAX_MESSAGE: usize = 65_536;

/// The channels of a connection.
#[derive(Debug)]
pub(crate) struct Channels {
    list: Vec<Channel>,
    next: u32,
    /// Who is first when messages go to SCTP.
    turn: usize,
    queue_limit: usize,
    most: usize,
    max_message: usize,
}

#[derive(Debug)]
struct Channel {
    id: ChannelId,
    stream: Option<str0m::channel::ChannelId>,
    config: ChannelConfig,
    open: bool,
    queue: VecDeque<Message>,
    /// Bytes in `queue`.
    queued: usize,
    /// Bytes in SCTP when it was last looked at.
    handed_over: usize,
    low_water: Option<usize>,
    above_low_water: bool,
}

struct Message {
    binary: bool,
    bytes: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.bytes.len())
    }
}

impl Channel {
    fn buffered(&self) -> usize {
        self.queued + self.handed_over
    }

    fn is_reliable(&self) -> bool {
        self.config.max_retransmits.is_none()
    }
}

impl Channels {
    pub(crate) fn new(queue_limit: usize, most: usize) -> Self {
        Self { list: Vec::new(), next: 0, turn: 0, queue_limit, most, max_message: DEFAULT_MAX_MESSAGE }
    }

    /// Remembers a channel that SCTP does not know yet.
    pub(crate) fn add(&mut self, config: ChannelConfig) -> ChannelId {
        let id = ChannelId(self.next);
        self.next += 1;
        self.list.push(Channel {
            id,
            stream: None,
            config,
            open: false,
            queue: VecDeque::new(),
            queued: 0,
            handed_over: 0,
            low_water: None,
            above_low_water: false,
        });
        id
    }

    /// Whether another channel has the stream that `config` names.
    pub(crate) fn has_negotiated(&self, rtc: &mut Rtc, config: &ChannelConfig) -> bool {
        let Some(stream) = config.negotiated else { return false };
        self.list.iter().any(|channel| channel.config.negotiated == Some(stream))
            || rtc.direct_api().channel_id_by_sctp_stream_id(stream).is_some()
    }

    /// Whether there are channels that SCTP does not know yet.
    pub(crate) fn has_waiting(&self) -> bool {
        self.list.iter().any(|channel| channel.stream.is_none())
    }

    /// Makes SCTP know those that it doesn't, by `create`. Gives back those whose stream somebody else has.
    pub(crate) fn create_waiting(
        &mut self,
        mut create: impl FnMut(str0m::channel::ChannelConfig) -> Option<str0m::channel::ChannelId>,
    ) -> Vec<ChannelId> {
        let mut lost = Vec::new();
        for channel in self.list.iter_mut().filter(|channel| channel.stream.is_none()) {
            channel.stream = create(channel.config.to_str0m());
            if channel.stream.is_none() {
                lost.push(channel.id);
            }
        }
        self.list.retain(|channel| !lost.contains(&channel.id));
        lost
    }

    /// A stream has opened: one of ours, or one that the other side announced. `None` where that has too many.
    /// `config` is what the other side announced of it.
    pub(crate) fn opened(
        &mut self,
        stream: str0m::channel::ChannelId,
        label: &str,
        config: Option<&str0m::channel::ChannelConfig>,
    ) -> Option<ChannelId> {
        if let Some(channel) = self.list.iter_mut().find(|channel| channel.stream == Some(stream)) {
            channel.open = true;
            return Some(channel.id);
        }
        if self.list.len() >= self.most {
            return None;
        }
        let max_retransmits = match config.map(|config| config.reliability) {
            Some(Reliability::MaxRetransmits { retransmits }) => Some(retransmits),
            // A bound on the time is one on how often it is sent again, too.
            Some(Reliability::MaxPacketLifetime { .. }) => Some(0),
            Some(Reliability::Reliable) | None => None,
        };
        let ordered = config.is_none_or(|config| config.ordered);
        let id = self.add(ChannelConfig::new(label).with_ordered(ordered).with_max_retransmits(max_retransmits));
        let channel = self.list.last_mut().expect("a channel was just added");
        (channel.stream, channel.open) = (Some(stream), true);
        Some(id)
    }

    pub(crate) fn closed(&mut self, stream: str0m::channel::ChannelId) -> Option<ChannelId> {
        let index = self.list.iter().position(|channel| channel.stream == Some(stream))?;
        Some(self.list.remove(index).id)
    }

    /// Forgets a channel that SCTP has not heard of, or tells the stream to close.
    pub(crate) fn stream_or_forget(&mut self, id: ChannelId) -> Option<str0m::channel::ChannelId> {
        let index = self.list.iter().position(|channel| channel.id == id)?;
        match self.list[index].stream {
            Some(stream) => Some(stream),
            None => {
                self.list.remove(index);
                None
            }
        }
    }

    pub(crate) fn id_of(&self, stream: str0m::channel::ChannelId) -> Option<ChannelId> {
        self.list.iter().find(|channel| channel.stream == Some(stream)).map(|channel| channel.id)
    }

    pub(crate) fn label(&self, id: ChannelId) -> Option<&str> {
        self.list.iter().find(|channel| channel.id == id).map(|channel| channel.config.label.as_str())
    }

    /// What the other side said of its largest message: nothing, a size, or 0 for any.
    pub(crate) fn set_max_message(&mut self, said: Option<usize>) {
        self.max_message = match said {
            None => DEFAULT_MAX_MESSAGE,
            Some(0) => usize::MAX,
            Some(size) => size,
        }
        .min(HAND_OVER);
    }

    pub(crate) fn set_low_water(&mut self, id: ChannelId, bytes: usize) {
        if let Some(channel) = self.list.iter_mut().find(|channel| channel.id == id) {
            channel.low_water = Some(bytes);
            channel.above_low_water = channel.buffered() > bytes;
        }
    }

    pub(crate) fn buffered_amount(&self, id: ChannelId) -> usize {
        self.list.iter().find(|channel| channel.id == id).map_or(0, Channel::buffered)
    }

    pub(crate) fn send(
        &mut self,
        rtc: &mut Rtc,
        id: ChannelId,
        binary: bool,
        bytes: Vec<u8>,
    ) -> Result<(), SendDataError> {
        let (limit, queue_limit) = (self.max_message, self.queue_limit);
        let channel = self.list.iter_mut().find(|channel| channel.id == id && channel.open);
        let channel = channel.ok_or(SendDataError::NotOpen)?;
        let size = bytes.len();
        if size > limit {
            return Err(SendDataError::TooLarge { limit });
        }
        let reliable = channel.is_reliable();
        if !channel.queue.is_empty() && channel.queued.saturating_add(size) > queue_limit {
            return Err(SendDataError::Full);
        }
        channel.queue.push_back(Message { binary, bytes });
        channel.queued += size;
        self.hand_over(rtc);
        let channel = self.list.iter_mut().find(|channel| channel.id == id).ok_or(SendDataError::NotOpen)?;
        if !reliable && !channel.queue.is_empty() {
            channel.queue.clear();
            channel.queued = 0;
            return Err(SendDataError::Full);
        }
        if channel.low_water.is_some_and(|low_water| channel.buffered() > low_water) {
            channel.above_low_water = true;
        }
        Ok(())
    }

    /// Gives SCTP what it may hold. Whether it took anything.
    pub(crate) fn hand_over(&mut self, rtc: &mut Rtc) -> bool {
        if self.list.iter().all(|channel| channel.queue.is_empty() && channel.handed_over == 0) {
            return false;
        }
        for channel in self.list.iter_mut().filter(|channel| channel.handed_over > 0) {
            let stream = channel.stream.and_then(|stream| rtc.channel(stream));
            channel.handed_over = stream.map_or(0, |mut stream| stream.buffered_amount());
        }
        let mut held = [false, true].map(|reliable| {
            let channels = self.list.iter().filter(|channel| channel.is_reliable() == reliable);
            channels.map(|channel| channel.handed_over).sum::<usize>()
        });
        let mut took = false;
        let count = self.list.len();
        // One message of each in turn, so that a long queue does not hold up a short one.
        let mut refused = 0;
        while refused < count {
            let channel = &mut self.list[self.turn % count];
            self.turn = (self.turn + 1) % count;
            let share = if channel.is_reliable() { HAND_OVER } else { LOSSY_HAND_OVER };
            let held = &mut held[usize::from(channel.is_reliable())];
            let written = channel.queue.front().is_some_and(|message| {
                let fits = *held == 0 || *held + message.bytes.len() <= share;
                let stream = channel.stream.filter(|_| channel.open && fits).and_then(|stream| rtc.channel(stream));
                stream.is_some_and(|mut stream| stream.write(message.binary, &message.bytes).is_ok_and(|taken| taken))
            });
            if !written {
                refused += 1;
                continue;
            }
            let message = channel.queue.pop_front().expect("a message was just looked at");
            channel.queued -= message.bytes.len();
            channel.handed_over += message.bytes.len();
            *held += message.bytes.len();
            (took, refused) = (true, 0);
        }
        took
    }

    /// A channel that has come down to its low-water mark.
    pub(crate) fn poll_low_water(&mut self) -> Option<ChannelId> {
        let channel = self.list.iter_mut().find(|channel| {
            channel.above_low_water && channel.low_water.is_some_and(|low_water| channel.buffered() <= low_water)
        })?;
        channel.above_low_water = false;
        Some(channel.id)
    }
}
