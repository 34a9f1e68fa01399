//! What is asked of a token source.

use std::collections::BTreeMap;

use roomkey_token::{RoomAgentDispatch, RoomConfiguration, TokenRequest};
use serde::{Deserialize, Deserializer, Serialize};

/// What a token is fetched for. Everything is optional; whoever makes the token chooses the rest.
///
/// The options are the key of a source's cache: a token is only reused for options that are equal. They are compared by
/// value, and an empty string, map or room configuration is the same as none.
///
/// ```
/// use roomkey_source::FetchOptions;
///
/// let options = FetchOptions::new().with_room_name("lobby").with_participant_name("");
/// assert_eq!(options.room_name(), Some("lobby"));
/// assert_eq!(options.participant_name(), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[doc(alias = "TokenSourceFetchOptions")]
#[doc(alias = "TokenRequestOptions")]
pub struct FetchOptions {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    room_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    participant_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    participant_identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    participant_metadata: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    participant_attributes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    agent_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    agent_metadata: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    deployment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "non_empty_config")]
    room_config: Option<RoomConfiguration>,
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn non_empty_config<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RoomConfiguration>, D::Error> {
    Ok(Option::<RoomConfiguration>::deserialize(deserializer)?.filter(|config| *config != RoomConfiguration::default()))
}

/// A getter and a setter for an optional text.
macro_rules! text_options {
    ($($(#[$doc:meta])* $field:ident, $with:ident;)+) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $field(&self) -> Option<&str> {
                self.$field.as_deref()
            }

            #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), "); an empty text unsets it.")]
            #[must_use]
            pub fn $with(mut self, value: impl Into<String>) -> Self {
                self.$field = Some(value.into()).filter(|text| !text.is_empty());
                self
            }
        )+
    };
}

impl FetchOptions {
    /// Options with nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    text_options! {
        /// The room to join.
        room_name, with_room_name;
        /// The participant's display name.
        participant_name, with_participant_name;
        /// The participant's identity, unique in the room.
        participant_identity, with_participant_identity;
        /// The participant's metadata.
        participant_metadata, with_participant_metadata;
        /// The agent to dispatch to the room.
        agent_name, with_agent_name;
        /// Metadata for the agent's job.
        agent_metadata, with_agent_metadata;
        /// The agent's deployment to target.
        deployment, with_deployment;
    }

    /// The participant's attributes.
    #[must_use]
    pub fn participant_attributes(&self) -> &BTreeMap<String, String> {
        &self.participant_attributes
    }

    /// Adds a participant attribute, or replaces the one of that name.
    #[must_use]
    pub fn with_participant_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.participant_attributes.insert(name.into(), value.into());
        self
    }

    /// Adds participant attributes, each replacing the one of its name.
    #[must_use]
    pub fn with_participant_attributes(
        mut self,
        attributes: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.participant_attributes.extend(attributes.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// How the room is made where this participant is the first in it.
    #[must_use]
    pub fn room_config(&self) -> Option<&RoomConfiguration> {
        self.room_config.as_ref()
    }

    /// Sets [`room_config`](Self::room_config). The agent options stand beside it: see
    /// [`to_request`](Self::to_request).
    #[must_use]
    pub fn with_room_config(mut self, config: RoomConfiguration) -> Self {
        self.room_config = Some(config).filter(|config| *config != RoomConfiguration::default());
        self
    }

    /// The request that a token endpoint takes, for a token function of one's own that calls such an endpoint.
    ///
    /// The agent options are put into the first agent of the room configuration, which is added where there is none.
    ///
    /// ```
    /// use roomkey_source::FetchOptions;
    ///
    /// let request = FetchOptions::new().with_room_name("lobby").with_agent_name("helper").to_request();
    /// assert_eq!(
    ///     serde_json::to_string(&request)?,
    ///     r#"{"room_name":"lobby","room_config":{"agents":[{"agent_name":"helper"}]}}"#,
    /// );
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn to_request(&self) -> TokenRequest {
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        let mut request = TokenRequest::default();
        request.room_name = text(&self.room_name);
        request.participant_name = text(&self.participant_name);
        request.participant_identity = text(&self.participant_identity);
        request.participant_metadata = text(&self.participant_metadata);
        request.participant_attributes = self.participant_attributes.clone();
        request.room_config = self.room_config.clone().unwrap_or_default();

        if self.agent_name.is_some() || self.agent_metadata.is_some() || self.deployment.is_some() {
            if request.room_config.agents.is_empty() {
                request.room_config.agents.push(RoomAgentDispatch::default());
            }
            let agent = &mut request.room_config.agents[0];
            for (field, option) in [
                (&mut agent.agent_name, &self.agent_name),
                (&mut agent.metadata, &self.agent_metadata),
                (&mut agent.deployment, &self.deployment),
            ] {
                if let Some(value) = option {
                    field.clone_from(value);
                }
            }
        }
        request
    }
}
