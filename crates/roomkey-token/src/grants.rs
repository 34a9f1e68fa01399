//! The grants of an access token, each the claim of the same name.

use crate::fill::json_object;
use crate::participant::{ParticipantPermission, TrackSource};

/// Setters that take whatever becomes the type of the field: `true` for a `bool` and an `Option<bool>`, a `&str`.
macro_rules! setters {
    ($grant:ident { $($with:ident: $field:ident: $type:ty,)+ }) => {
        impl $grant {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, value: impl Into<$type>) -> Self {
                    self.$field = value.into();
                    self
                }
            )+
        }
    };
}

/// The `video` claim: what its holder may do with rooms, and in a room.
///
/// An absent `can_publish` and `can_subscribe` allow, an absent `can_publish_data` follows `can_publish`, every other
/// absent permission denies ([`permission`](Self::permission) applies this). Field names and meanings are those of
/// `VideoGrant` in livekit/protocol's `auth/grants.go`.
///
/// ```
/// use roomkey_token::VideoGrant;
///
/// let listener = VideoGrant::join("lobby").with_can_publish(false);
/// assert!(!listener.permission().can_publish_data);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "VideoGrants")]
pub struct VideoGrant {
    /// Create rooms, and delete any.
    pub room_create: bool,
    /// List rooms.
    pub room_list: bool,
    /// Record rooms: start, stop and list egress.
    pub room_record: bool,
    /// Administer `room`: its participants, metadata, data and agent dispatches.
    pub room_admin: bool,
    /// Join `room`.
    pub room_join: bool,
    /// The room that `room_join` and `room_admin` speak of.
    pub room: String,
    /// Publish tracks; absent allows.
    pub can_publish: Option<bool>,
    /// Subscribe to tracks; absent allows.
    pub can_subscribe: Option<bool>,
    /// Publish data; absent follows `can_publish`.
    pub can_publish_data: Option<bool>,
    /// The sources that may be published, by name (`camera`, `microphone`, ...); empty allows all. It narrows
    /// `can_publish` and does not bring back what `can_publish: false` takes.
    pub can_publish_sources: Vec<String>,
    /// Change one's own name, metadata and attributes; absent denies.
    pub can_update_own_metadata: Option<bool>,
    /// Manage ingresses.
    pub ingress_admin: bool,
    /// Be invisible to other participants.
    pub hidden: bool,
    /// Count as a recorder.
    pub recorder: bool,
    /// Register as an agent worker.
    pub agent: bool,
    /// Subscribe to metrics; absent denies.
    pub can_subscribe_metrics: Option<bool>,
    /// Manage an agent session remotely; absent denies.
    pub can_manage_agent_session: Option<bool>,
    /// The room to which participants of `room` may be moved or forwarded.
    pub destination_room: String,
}

impl VideoGrant {
    /// A grant to join `room`, with LiveKit's default permissions: publish, subscribe, send data.
    #[must_use]
    pub fn join(room: impl Into<String>) -> Self {
        Self { room_join: true, room: room.into(), ..Self::default() }
    }

    /// Sets [`can_publish_sources`](Self::can_publish_sources).
    #[must_use]
    pub fn with_can_publish_sources(mut self, sources: impl IntoIterator<Item = TrackSource>) -> Self {
        self.can_publish_sources = sources.into_iter().map(|source| source.as_str().to_owned()).collect();
        self
    }

    /// What a participant who joins with this grant may do, with livekit-server's defaults applied.
    #[must_use]
    pub fn permission(&self) -> ParticipantPermission {
        let can_publish = self.can_publish.unwrap_or(true);
        ParticipantPermission {
            can_subscribe: self.can_subscribe.unwrap_or(true),
            can_publish,
            can_publish_data: self.can_publish_data.unwrap_or(can_publish),
            can_publish_sources: self.can_publish_sources.iter().map(|name| TrackSource::from_name(name)).collect(),
            hidden: self.hidden,
            recorder: self.recorder,
            can_update_metadata: self.can_update_own_metadata.unwrap_or(false),
            agent: self.agent,
            can_subscribe_metrics: self.can_subscribe_metrics.unwrap_or(false),
            can_manage_agent_session: self.can_manage_agent_session.unwrap_or(false),
        }
    }
}

json_object!(VideoGrant {
    room_create: "roomCreate" b"roomcreate",
    room_list: "roomList" b"roomlist",
    room_record: "roomRecord" b"roomrecord",
    room_admin: "roomAdmin" b"roomadmin",
    room_join: "roomJoin" b"roomjoin",
    room: "room" b"room",
    can_publish: "canPublish" b"canpublish",
    can_subscribe: "canSubscribe" b"cansubscribe",
    can_publish_data: "canPublishData" b"canpublishdata",
    can_publish_sources: "canPublishSources" b"canpublishsources",
    can_update_own_metadata: "canUpdateOwnMetadata" b"canupdateownmetadata",
    ingress_admin: "ingressAdmin" b"ingressadmin",
    hidden: "hidden" b"hidden",
    recorder: "recorder" b"recorder",
    agent: "agent" b"agent",
    can_subscribe_metrics: "canSubscribeMetrics" b"cansubscribemetrics",
    can_manage_agent_session: "canManageAgentSession" b"canmanageagentsession",
    destination_room: "destinationRoom" b"destinationroom",
});

setters!(VideoGrant {
    with_room_create: room_create: bool,
    with_room_list: room_list: bool,
    with_room_record: room_record: bool,
    with_room_admin: room_admin: bool,
    with_room_join: room_join: bool,
    with_room: room: String,
    with_can_publish: can_publish: Option<bool>,
    with_can_subscribe: can_subscribe: Option<bool>,
    with_can_publish_data: can_publish_data: Option<bool>,
    with_can_update_own_metadata: can_update_own_metadata: Option<bool>,
    with_ingress_admin: ingress_admin: bool,
    with_hidden: hidden: bool,
    with_recorder: recorder: bool,
    with_agent: agent: bool,
    with_can_subscribe_metrics: can_subscribe_metrics: Option<bool>,
    with_can_manage_agent_session: can_manage_agent_session: Option<bool>,
    with_destination_room: destination_room: String,
});

/// The `sip` claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "SIPGrants")]
pub struct SipGrant {
    /// Manage SIP trunks and dispatch rules.
    pub admin: bool,
    /// Make outbound calls.
    pub call: bool,
}

json_object!(SipGrant { admin: "admin" b"admin", call: "call" b"call" });

setters!(SipGrant {
    with_admin: admin: bool,
    with_call: call: bool,
});

/// The `agent` claim: LiveKit Cloud's agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "AgentGrants")]
pub struct AgentGrant {
    /// Create, update and delete agents.
    pub admin: bool,
    /// Manage simulations and scenarios.
    pub simulation_admin: bool,
    /// Use the agents' databases.
    pub database_admin: bool,
    /// Manage the dispatch queue. Not known to livekit-server 1.13.5, which ignores it.
    pub dispatch_admin: bool,
}

json_object!(AgentGrant {
    admin: "admin" b"admin",
    simulation_admin: "simulationAdmin" b"simulationadmin",
    database_admin: "databaseAdmin" b"databaseadmin",
    dispatch_admin: "dispatchAdmin" b"dispatchadmin" lenient,
});

setters!(AgentGrant {
    with_admin: admin: bool,
    with_simulation_admin: simulation_admin: bool,
    with_database_admin: database_admin: bool,
    with_dispatch_admin: dispatch_admin: bool,
});

/// The `agentEndpoint` claim: calls of an agent's HTTP endpoints. Not known to livekit-server 1.13.5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "AgentEndpointGrants")]
pub struct AgentEndpointGrant {
    /// Call endpoints that are not public.
    pub call: bool,
    /// The agent; empty for every agent of the project.
    pub agent_name: String,
    /// The deployment; empty for every deployment.
    pub deployment: String,
}

json_object!(AgentEndpointGrant { call: "call" b"call", agent_name: "agentName" b"agentname", deployment: "deployment" b"deployment" });

setters!(AgentEndpointGrant {
    with_call: call: bool,
    with_agent_name: agent_name: String,
    with_deployment: deployment: String,
});

/// The `agentThread` claim: stored conversations of agents. Not known to livekit-server 1.13.5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "AgentThreadGrants")]
pub struct AgentThreadGrant {
    /// Every thread of the project.
    pub all: bool,
    /// The scope in which threads may be created and listed.
    pub scope: String,
    /// The threads that may be read, written and deleted.
    pub thread_ids: Vec<String>,
    /// List threads.
    pub list: bool,
    /// Create threads.
    pub create: bool,
    /// Write to threads.
    pub write: bool,
    /// Read threads.
    pub read: bool,
    /// Delete threads.
    pub delete: bool,
}

json_object!(AgentThreadGrant {
    all: "all" b"all",
    scope: "scope" b"scope",
    thread_ids: "threadIds" b"threadids",
    list: "list" b"list",
    create: "create" b"create",
    write: "write" b"write",
    read: "read" b"read",
    delete: "delete" b"delete",
});

setters!(AgentThreadGrant {
    with_all: all: bool,
    with_scope: scope: String,
    with_thread_ids: thread_ids: Vec<String>,
    with_list: list: bool,
    with_create: create: bool,
    with_write: write: bool,
    with_read: read: bool,
    with_delete: delete: bool,
});

/// The `inference` claim: LiveKit Inference, which is billed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "InferenceGrants")]
pub struct InferenceGrant {
    /// Use LiveKit Inference.
    pub perform: bool,
}

json_object!(InferenceGrant { perform: "perform" b"perform" });

setters!(InferenceGrant {
    with_perform: perform: bool,
});

/// The `observability` claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "ObservabilityGrants")]
pub struct ObservabilityGrant {
    /// Publish observability data.
    pub write: bool,
}

json_object!(ObservabilityGrant { write: "write" b"write" });

setters!(ObservabilityGrant {
    with_write: write: bool,
});
