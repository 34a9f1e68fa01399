//! `RoomConfiguration`: how a room is set up when the first participant joins it, and which agents it gets.

use std::collections::BTreeMap;

use crate::proto_json::{ProtoJson, proto_enum, proto_message};
use crate::raw_json::RawJson;

/// How a room is made when a participant is the first to join it: the `roomConfig` claim of a token and the
/// `room_config` of a token request. It is ignored where the room exists already.
///
/// Serialization is proto3 JSON in snake_case, as token endpoints take it, with unset fields left out; a token carries
/// the same in camelCase. Reading accepts either case for each field, numbers as strings, `null` as unset, and ignores
/// unknown fields, as livekit-server does (`RoomConfiguration` of `livekit_room.proto`).
///
/// ```
/// use roomkey_token::{RoomAgentDispatch, RoomConfiguration};
///
/// let config = RoomConfiguration::new()
///     .with_max_participants(2)
///     .with_agent(RoomAgentDispatch::new("helper"));
/// assert_eq!(
///     serde_json::to_string(&config).unwrap(),
///     r#"{"max_participants":2,"agents":[{"agent_name":"helper"}]}"#,
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RoomConfiguration {
    /// The name of this configuration; not the name of the room, and ignored in a token.
    pub name: String,
    /// Seconds to keep the room open while nobody has joined; 0 takes the server's default.
    pub empty_timeout: u32,
    /// Seconds to keep the room open after the last participant left; 0 takes the server's default.
    pub departure_timeout: u32,
    /// The most participants, agents and egress not counted; 0 sets no limit.
    pub max_participants: u32,
    /// The room's metadata.
    pub metadata: String,
    /// Recordings to start with the room (`RoomEgress`), kept as it is: this crate does not look into it, except that
    /// minting refuses one that holds credentials.
    pub egress: Option<RawJson>,
    /// Least delay of playout, in milliseconds.
    pub min_playout_delay: u32,
    /// Most delay of playout, in milliseconds.
    pub max_playout_delay: u32,
    /// Keep audio and video in sync where the playout delay is above 200 ms.
    pub sync_streams: bool,
    /// Agents to dispatch to the room.
    pub agents: Vec<RoomAgentDispatch>,
    /// Tags of the room.
    pub tags: BTreeMap<String, String>,
}

impl RoomConfiguration {
    /// A configuration with nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`empty_timeout`](Self::empty_timeout), in seconds.
    #[must_use]
    pub fn with_empty_timeout(mut self, seconds: u32) -> Self {
        self.empty_timeout = seconds;
        self
    }

    /// Sets [`departure_timeout`](Self::departure_timeout), in seconds.
    #[must_use]
    pub fn with_departure_timeout(mut self, seconds: u32) -> Self {
        self.departure_timeout = seconds;
        self
    }

    /// Sets [`max_participants`](Self::max_participants).
    #[must_use]
    pub fn with_max_participants(mut self, participants: u32) -> Self {
        self.max_participants = participants;
        self
    }

    /// Sets [`metadata`](Self::metadata).
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Adds an agent to [`agents`](Self::agents).
    #[must_use]
    pub fn with_agent(mut self, agent: RoomAgentDispatch) -> Self {
        self.agents.push(agent);
        self
    }

    /// Adds a tag, or replaces the one of that name.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Sets [`egress`](Self::egress).
    #[must_use]
    pub fn with_egress(mut self, egress: RawJson) -> Self {
        self.egress = Some(egress);
        self
    }
}

proto_message!(RoomConfiguration {
    name: "name",
    empty_timeout: "emptyTimeout" | "empty_timeout",
    departure_timeout: "departureTimeout" | "departure_timeout",
    max_participants: "maxParticipants" | "max_participants",
    metadata: "metadata",
    egress: "egress",
    min_playout_delay: "minPlayoutDelay" | "min_playout_delay",
    max_playout_delay: "maxPlayoutDelay" | "max_playout_delay",
    sync_streams: "syncStreams" | "sync_streams",
    agents: "agents",
    tags: "tags",
});

/// One agent to dispatch to a room (`RoomAgentDispatch` of `livekit_agent_dispatch.proto`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RoomAgentDispatch {
    /// The agent's name; empty dispatches the agent that registered without one.
    pub agent_name: String,
    /// Metadata for the job.
    pub metadata: String,
    /// Whether the job is restarted when it fails; LiveKit Cloud only.
    pub restart_policy: JobRestartPolicy,
    /// The deployment to target; empty is the production one.
    pub deployment: String,
    /// Attributes of the agent's participant.
    pub attributes: BTreeMap<String, String>,
}

impl RoomAgentDispatch {
    /// A dispatch of the agent of this name.
    #[must_use]
    pub fn new(agent_name: impl Into<String>) -> Self {
        Self { agent_name: agent_name.into(), ..Self::default() }
    }

    /// Sets [`metadata`](Self::metadata).
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Sets [`deployment`](Self::deployment).
    #[must_use]
    pub fn with_deployment(mut self, deployment: impl Into<String>) -> Self {
        self.deployment = deployment.into();
        self
    }

    /// Sets [`restart_policy`](Self::restart_policy).
    #[must_use]
    pub fn with_restart_policy(mut self, policy: JobRestartPolicy) -> Self {
        self.restart_policy = policy;
        self
    }

    /// Adds an attribute, or replaces the one of that name.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }
}

proto_message!(RoomAgentDispatch {
    agent_name: "agentName" | "agent_name",
    metadata: "metadata",
    restart_policy: "restartPolicy" | "restart_policy",
    deployment: "deployment",
    attributes: "attributes",
});

/// Whether an agent's job is restarted when it fails (`JobRestartPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobRestartPolicy {
    /// `JRP_ON_FAILURE`: restart.
    #[default]
    OnFailure,
    /// `JRP_NEVER`: don't.
    Never,
}

proto_enum!(JobRestartPolicy {
    OnFailure = 0 | "JRP_ON_FAILURE",
    Never = 1 | "JRP_NEVER",
});

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RoomConfiguration, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn either_case_of_a_field_is_read_and_both_together_are_refused() {
        let expected = RoomConfiguration::new().with_empty_timeout(61).with_agent(RoomAgentDispatch::new("a"));
        assert_eq!(read(r#"{"emptyTimeout":61,"agents":[{"agentName":"a"}]}"#).unwrap(), expected);
        assert_eq!(read(r#"{"empty_timeout":61,"agents":[{"agent_name":"a"}]}"#).unwrap(), expected);
        assert!(read(r#"{"empty_timeout":61,"emptyTimeout":61}"#).is_err());
    }

    #[test]
    fn a_number_may_be_a_string_or_have_an_integral_fraction_and_nothing_else() {
        for same in ["120", "\"120\"", "120.0", "1.2e2", "\"1.2e2\""] {
            let config = read(&format!(r#"{{"emptyTimeout":{same}}}"#)).unwrap();
            assert_eq!(config.empty_timeout, 120, "{same}");
        }
        for odd in ["-1", "1.5", "4294967296", "\" 120\"", "\"x\"", "true", "{}"] {
            assert!(read(&format!(r#"{{"emptyTimeout":{odd}}}"#)).is_err(), "{odd}");
        }
    }

    #[test]
    fn null_is_unset_and_unknown_fields_and_enum_values_are_ignored() {
        let json = r#"{"emptyTimeout":null,"agents":[{"restartPolicy":"JRP_SOMETIMES","x":[{}]}],"nope":{"x":[1]}}"#;
        assert_eq!(read(json).unwrap(), RoomConfiguration::new().with_agent(RoomAgentDispatch::default()));
    }

    #[test]
    fn the_restart_policy_is_read_by_name_and_by_number() {
        for never in ["\"JRP_NEVER\"", "1"] {
            let config = read(&format!(r#"{{"agents":[{{"restart_policy":{never}}}]}}"#)).unwrap();
            assert_eq!(config.agents[0].restart_policy, JobRestartPolicy::Never);
        }
        assert!(read(r#"{"agents":[{"restart_policy":true}]}"#).is_err());
    }

    #[test]
    fn debug_does_not_show_an_egress() {
        let egress = RawJson::new(r#"{"room":{"fileOutputs":[{"s3":{"secret":"hush"}}]}}"#).unwrap();
        let config = RoomConfiguration::new().with_egress(egress);
        assert!(!format!("{config:?}").contains("hush"));
    }
}
