//! The participant that livekit-server makes of a token.

use std::collections::BTreeMap;

/// What the server makes of the claims of someone who joins; see [`Claims::participant`](crate::Claims::participant).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantClaims {
    /// `sub`, or `jti` where `sub` is empty.
    pub identity: String,
    /// The display name.
    pub name: String,
    /// What kind of participant this is.
    pub kind: ParticipantKind,
    /// Details of the kind; unknown names are dropped.
    pub kind_details: Vec<ParticipantKindDetail>,
    /// Metadata, opaque to LiveKit.
    pub metadata: String,
    /// Attributes, as they stand in the claims.
    pub attributes: BTreeMap<String, String>,
    /// What the participant may do in the room.
    pub permission: ParticipantPermission,
}

/// What a participant may do in its room (`ParticipantPermission` of `livekit_models.proto`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantPermission {
    /// Subscribe to tracks.
    pub can_subscribe: bool,
    /// Publish tracks.
    pub can_publish: bool,
    /// Publish data.
    pub can_publish_data: bool,
    /// The sources that may be published; empty means all.
    pub can_publish_sources: Vec<TrackSource>,
    /// Invisible to others.
    pub hidden: bool,
    /// Counts as a recorder.
    pub recorder: bool,
    /// Change one's own name, metadata and attributes.
    pub can_update_metadata: bool,
    /// Counts as an agent.
    pub agent: bool,
    /// Subscribe to metrics.
    pub can_subscribe_metrics: bool,
    /// Manage an agent session remotely.
    pub can_manage_agent_session: bool,
}

/// An enum of the protocol with the names that tokens use for its values.
macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$attribute])* $variant,)+
        }

        impl $name {
            /// The name that tokens use, in lower case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The value with that name, read in any case.
            pub(crate) fn parse(name: &str) -> Option<Self> {
                $(if name.eq_ignore_ascii_case($text) {
                    return Some(Self::$variant);
                })+
                None
            }
        }
    };
}

named_enum! {
    /// The kind of a participant (`ParticipantInfo.Kind`).
    ///
    /// Only a server should choose it: agents and egress do not count towards a room's limit of participants.
    #[derive(Default)]
    ParticipantKind {
        /// A client.
        #[default]
        Standard = "standard",
        /// An ingress, which only publishes.
        Ingress = "ingress",
        /// An egress, which only subscribes.
        Egress = "egress",
        /// A SIP participant.
        Sip = "sip",
        /// An agent.
        Agent = "agent",
        /// A connector.
        Connector = "connector",
        /// A bridge.
        Bridge = "bridge",
    }
}

impl ParticipantKind {
    /// The kind that livekit-server reads from a `kind` claim: any case, and an unknown name is [`Self::Standard`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::parse(name).unwrap_or(Self::Standard)
    }
}

named_enum! {
    /// A detail of a participant's kind (`ParticipantInfo.KindDetail`).
    ParticipantKindDetail {
        /// An agent that runs on LiveKit Cloud.
        CloudAgent = "cloud_agent",
        /// A participant forwarded from another room.
        Forwarded = "forwarded",
        /// Connected through WhatsApp.
        ConnectorWhatsapp = "connector_whatsapp",
        /// Connected through Twilio.
        ConnectorTwilio = "connector_twilio",
        /// Bridged from RTSP.
        BridgeRtsp = "bridge_rtsp",
        /// Part of a simulation.
        Simulation = "simulation",
    }
}

impl ParticipantKindDetail {
    /// The detail that livekit-server reads from an entry of a `kindDetails` claim; it drops an unknown name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::parse(name)
    }
}

named_enum! {
    /// Where a track comes from (`TrackSource`).
    TrackSource {
        /// Not known.
        Unknown = "unknown",
        /// A camera.
        Camera = "camera",
        /// A microphone.
        Microphone = "microphone",
        /// A shared screen.
        ScreenShare = "screen_share",
        /// The sound of a shared screen.
        ScreenShareAudio = "screen_share_audio",
    }
}

impl TrackSource {
    /// The source that livekit-server reads from an entry of `canPublishSources`: any case, and an unknown name is
    /// [`Self::Unknown`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::parse(name).unwrap_or(Self::Unknown)
    }
}
