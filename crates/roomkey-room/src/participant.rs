//! Who is in the room.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::names::{ParticipantIdentity, ParticipantSid, TrackSid};
use crate::publication::{TrackPublication, TrackSource};

/// What is known of a participant at one moment. A later change is another value.
#[doc(alias = "RemoteParticipant")]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Participant {
    /// The sid of this stay.
    pub sid: ParticipantSid,
    /// Who it is.
    pub identity: ParticipantIdentity,
    /// What to show; it may be empty.
    pub name: String,
    /// What the application says of it.
    pub metadata: String,
    /// What the application says of it, by key. Agents say their state here, under `lk.agent.state`.
    pub attributes: Arc<HashMap<String, String>>,
    /// What kind of participant it is.
    pub kind: ParticipantKind,
    /// How far it has come in joining.
    pub state: ParticipantState,
    /// What it may do.
    pub permission: ParticipantPermission,
    /// When it joined, by the server's clock.
    pub joined_at: SystemTime,
    /// Its tracks, in the order in which they were published.
    pub publications: Vec<Arc<TrackPublication>>,
    /// Whether it is speaking now.
    pub is_speaking: bool,
    /// How loud it is, from 0 to 1, while it is speaking.
    pub audio_level: f32,
    /// How good its connection is.
    pub connection_quality: ConnectionQuality,
    /// Whether it is this client.
    pub is_local: bool,
    /// Which version of the client protocol it speaks: from 1 on RPC over streams, from 2 on streams in one packet.
    pub client_protocol: i32,
    /// Whether it reads streams that are compressed.
    pub reads_deflate: bool,
}

impl Participant {
    /// Whether all that it publishes is encrypted end to end, and it publishes something.
    pub fn is_encrypted(&self) -> bool {
        !self.publications.is_empty() && self.publications.iter().all(|publication| publication.is_encrypted)
    }

    /// A participant of whom nothing but this is known.
    pub fn new(sid: impl Into<ParticipantSid>, identity: impl Into<ParticipantIdentity>) -> Self {
        Self {
            sid: sid.into(),
            identity: identity.into(),
            name: String::new(),
            metadata: String::new(),
            attributes: Arc::default(),
            kind: ParticipantKind::Standard,
            state: ParticipantState::Active,
            permission: ParticipantPermission::default(),
            joined_at: SystemTime::UNIX_EPOCH,
            publications: Vec::new(),
            is_speaking: false,
            audio_level: 0.0,
            connection_quality: ConnectionQuality::Unknown,
            is_local: false,
            client_protocol: 0,
            reads_deflate: false,
        }
    }

    /// The attribute of this key.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    /// The publication of this sid.
    pub fn publication(&self, sid: &TrackSid) -> Option<&Arc<TrackPublication>> {
        self.publications.iter().find(|publication| publication.sid == *sid)
    }

    /// The first publication of this source.
    pub fn publication_of(&self, source: TrackSource) -> Option<&Arc<TrackPublication>> {
        self.publications.iter().find(|publication| publication.source == source)
    }
}

/// What kind of participant one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum ParticipantKind {
    /// An application or a person.
    #[default]
    Standard,
    /// Brings a stream from elsewhere.
    Ingress,
    /// Records or streams the room.
    Egress,
    /// A telephone.
    Sip,
    /// An agent.
    Agent,
    /// Connects another system, such as WhatsApp.
    Connector,
    /// Any other kind.
    Other,
}

impl ParticipantKind {
    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Sip => "sip",
            Self::Agent => "agent",
            Self::Connector => "connector",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ParticipantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a participant has come in joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum ParticipantState {
    /// Its signalling is being set up.
    #[default]
    Joining,
    /// It has been answered; media and data are not up.
    Joined,
    /// It can be sent data.
    Active,
    /// It has left.
    Disconnected,
}

impl ParticipantState {
    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Active => "active",
            Self::Disconnected => "disconnected",
        }
    }
}

impl fmt::Display for ParticipantState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a participant may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ParticipantPermission {
    /// May subscribe to tracks.
    pub can_subscribe: bool,
    /// May publish tracks.
    pub can_publish: bool,
    /// May send data.
    pub can_publish_data: bool,
    /// May publish these sources only; all if empty.
    pub can_publish_sources: Vec<TrackSource>,
    /// Others don't see it.
    pub hidden: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_metadata: bool,
}

/// How good a participant's connection is, as the server judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum ConnectionQuality {
    /// The server has not said.
    #[default]
    Unknown,
    /// Nothing comes.
    Lost,
    /// Bad enough to be noticed.
    Poor,
    /// Some loss.
    Good,
    /// As it should be.
    Excellent,
}

impl ConnectionQuality {
    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Lost => "lost",
            Self::Poor => "poor",
            Self::Good => "good",
            Self::Excellent => "excellent",
        }
    }
}

impl fmt::Display for ConnectionQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All participants of a room at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Participants {
    /// This client, once it has joined.
    pub local: Option<Arc<Participant>>,
    /// The others by identity.
    pub remote: BTreeMap<ParticipantIdentity, Arc<Participant>>,
    /// The identities of the others in the order in which they came into this client's view.
    pub order: Vec<ParticipantIdentity>,
}

impl Participants {
    /// The participant of this identity, this client included.
    pub fn get(&self, identity: &ParticipantIdentity) -> Option<&Arc<Participant>> {
        self.local.as_ref().filter(|local| local.identity == *identity).or_else(|| self.remote.get(identity))
    }

    /// The others, in the order in which they came into view.
    pub fn remote(&self) -> impl Iterator<Item = &Arc<Participant>> {
        self.order.iter().filter_map(|identity| self.remote.get(identity))
    }
}
