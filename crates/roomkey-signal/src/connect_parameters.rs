//! What a client says about itself when it connects.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use url::form_urlencoded::Serializer;

use crate::proto::client_info::{Capability, Sdk};
use crate::proto::{
    AddTrackRequest, ClientInfo, ConnectionSettings, JoinRequest, ReconnectReason, SessionDescription, SyncState,
};

/// What a client says about itself and wants, in either version of the endpoint. The writer and the reader of a
/// connect URL share it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConnectParameters {
    /// The SDK, its version and protocol, the platform, capabilities.
    pub client_info: ClientInfo,
    /// Whether to be subscribed to each track in the room unasked.
    pub auto_subscribe: bool,
    /// The same for data tracks; `None` leaves it to the server.
    pub auto_subscribe_data_track: Option<bool>,
    /// Whether the client tells what size it shows each video in.
    pub adaptive_stream: bool,
    /// Whether the server must be a full ICE agent.
    pub disable_ice_lite: bool,
    /// Whether the server may pause video when bandwidth is short; `None` leaves it to the server.
    pub subscriber_allow_pause: Option<bool>,
    /// Set if the client goes on with a session that it has, rather than joining.
    pub resume: Option<Resume>,
    /// The client's first offer. Only [`Endpoint::V1`](crate::Endpoint::V1) carries it.
    pub publisher_offer: Option<SessionDescription>,
    /// Tracks to publish at once. Only [`Endpoint::V1`](crate::Endpoint::V1) carries them.
    pub add_track_requests: Vec<AddTrackRequest>,
    /// If not empty, stands in for the token's metadata. Only [`Endpoint::V1`](crate::Endpoint::V1) carries it.
    pub metadata: String,
    /// Are added to the token's attributes, and go before them.
    pub attributes: HashMap<String, String>,
    /// What the client has of the session that it resumes. Only [`Endpoint::V1`](crate::Endpoint::V1) carries it.
    pub sync_state: Option<SyncState>,
}

/// A session to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resume {
    /// The sid of the participant that the client was. livekit-server accepts a wrong one if the identity is right.
    pub participant_sid: String,
    /// Why the client reconnects.
    pub reason: ReconnectReason,
}

impl Resume {
    /// To go on as the participant of this sid.
    pub fn new(participant_sid: impl Into<String>, reason: ReconnectReason) -> Self {
        Self { participant_sid: participant_sid.into(), reason }
    }
}

impl ConnectParameters {
    /// Of a client that joins, is subscribed to everything, and asks for nothing else.
    pub fn new(client_info: ClientInfo) -> Self {
        Self {
            client_info,
            auto_subscribe: true,
            auto_subscribe_data_track: None,
            adaptive_stream: false,
            disable_ice_lite: false,
            subscriber_allow_pause: None,
            resume: None,
            publisher_offer: None,
            add_track_requests: Vec::new(),
            metadata: String::new(),
            attributes: HashMap::new(),
            sync_state: None,
        }
    }

    /// Sets whether to be subscribed to each track unasked.
    #[must_use]
    pub fn with_auto_subscribe(mut self, auto_subscribe: bool) -> Self {
        self.auto_subscribe = auto_subscribe;
        self
    }

    /// Sets whether the client tells what size it shows each video in.
    #[must_use]
    pub fn with_adaptive_stream(mut self, adaptive_stream: bool) -> Self {
        self.adaptive_stream = adaptive_stream;
        self
    }

    /// Goes on with a session.
    #[must_use]
    pub fn with_resume(mut self, resume: Resume) -> Self {
        self.resume = Some(resume);
        self
    }

    /// Makes the first offer.
    #[must_use]
    pub fn with_publisher_offer(mut self, offer: SessionDescription) -> Self {
        self.publisher_offer = Some(offer);
        self
    }

    /// Publishes a track at once.
    #[must_use]
    pub fn with_add_track_request(mut self, request: AddTrackRequest) -> Self {
        self.add_track_requests.push(request);
        self
    }

    /// Stands in for the token's metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Adds an attribute of the participant.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    pub(crate) fn from_join_request(request: JoinRequest) -> Self {
        let settings = request.connection_settings.unwrap_or_default();
        let reason = request.reconnect_reason();
        Self {
            client_info: request.client_info.unwrap_or_default(),
            auto_subscribe: settings.auto_subscribe,
            auto_subscribe_data_track: settings.auto_subscribe_data_track,
            adaptive_stream: settings.adaptive_stream,
            disable_ice_lite: settings.disable_ice_lite,
            subscriber_allow_pause: settings.subscriber_allow_pause,
            resume: request.reconnect.then(|| Resume::new(request.participant_sid, reason)),
            publisher_offer: request.publisher_offer,
            add_track_requests: request.add_track_requests,
            metadata: request.metadata,
            attributes: request.participant_attributes,
            sync_state: request.sync_state,
        }
    }

    pub(crate) fn to_join_request(&self) -> JoinRequest {
        let settings = ConnectionSettings {
            auto_subscribe: self.auto_subscribe,
            adaptive_stream: self.adaptive_stream,
            subscriber_allow_pause: self.subscriber_allow_pause,
            disable_ice_lite: self.disable_ice_lite,
            auto_subscribe_data_track: self.auto_subscribe_data_track,
        };
        let reason = self.resume.as_ref().map_or(ReconnectReason::RrUnknown, |resume| resume.reason);
        JoinRequest {
            client_info: Some(self.client_info.clone()),
            connection_settings: Some(settings),
            metadata: self.metadata.clone(),
            participant_attributes: self.attributes.clone(),
            add_track_requests: self.add_track_requests.clone(),
            publisher_offer: self.publisher_offer.clone(),
            reconnect: self.resume.is_some(),
            reconnect_reason: reason.into(),
            participant_sid: self.resume.as_ref().map(|resume| resume.participant_sid.clone()).unwrap_or_default(),
            sync_state: self.sync_state.clone(),
        }
    }

    /// Reads the query of the first version, in which every parameter is a key of its own. What is no number is 0,
    /// as in livekit-server.
    pub(crate) fn from_query(pairs: &HashMap<String, String>) -> Self {
        let text = |key: &str| pairs.get(key).cloned().unwrap_or_default();
        let number = |key: &str| pairs.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        let flag = |key: &str| pairs.get(key).filter(|value| !value.is_empty()).map(|value| is_true(value));
        let client_info = ClientInfo {
            sdk: sdk_of(&text("sdk")).into(),
            version: text("version"),
            protocol: number("protocol"),
            client_protocol: number("client_protocol"),
            os: text("os"),
            os_version: text("os_version"),
            device_model: text("device_model"),
            browser: text("browser"),
            browser_version: text("browser_version"),
            network: text("network"),
            capabilities: (text("capabilities").split(','))
                .filter_map(|name| Capability::from_str_name(name.trim()).map(i32::from))
                .collect(),
            ..ClientInfo::default()
        };
        let reason = ReconnectReason::try_from(number("reconnect_reason")).unwrap_or(ReconnectReason::RrUnknown);
        Self {
            auto_subscribe: flag("auto_subscribe").unwrap_or(true),
            auto_subscribe_data_track: flag("auto_subscribe_data_track"),
            adaptive_stream: flag("adaptive_stream").unwrap_or(false),
            disable_ice_lite: flag("disable_ice_lite").unwrap_or(false),
            subscriber_allow_pause: flag("subscriber_allow_pause"),
            resume: flag("reconnect").unwrap_or(false).then(|| Resume::new(text("sid"), reason)),
            ..Self::new(client_info)
        }
    }

    /// Writes what the query of the first version has keys for, and leaves out what is empty.
    pub(crate) fn write_query(&self, query: &mut Serializer<'_, url::UrlQuery<'_>>) {
        let info = &self.client_info;
        let bit = |flag: bool| if flag { "1" } else { "0" };
        let mut text = |key: &str, value: &str| {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        };
        text("sdk", sdk_name(info.sdk()));
        text("version", &info.version);
        text("protocol", &info.protocol.to_string());
        text("client_protocol", &info.client_protocol.to_string());
        text("os", &info.os);
        text("os_version", &info.os_version);
        text("device_model", &info.device_model);
        text("browser", &info.browser);
        text("browser_version", &info.browser_version);
        text("network", &info.network);
        let capabilities: Vec<_> = info.capabilities().map(|capability| capability.as_str_name()).collect();
        text("capabilities", &capabilities.join(","));
        text("auto_subscribe", bit(self.auto_subscribe));
        text("auto_subscribe_data_track", self.auto_subscribe_data_track.map_or("", bit));
        text("adaptive_stream", bit(self.adaptive_stream));
        text("disable_ice_lite", if self.disable_ice_lite { "1" } else { "" });
        text("subscriber_allow_pause", self.subscriber_allow_pause.map_or("", bit));
        if !self.attributes.is_empty() {
            let json = serde_json::to_vec(&self.attributes).expect("a map of strings is JSON");
            text("attributes", &URL_SAFE.encode(json));
        }
        if let Some(resume) = &self.resume {
            text("reconnect", "1");
            text("sid", &resume.participant_sid);
            text("reconnect_reason", &i32::from(resume.reason).to_string());
        }
    }
}

/// The names of SDKs in a query that livekit-server 1.13.5 knows.
const SDKS: [(&str, Sdk); 13] = [
    ("js", Sdk::Js),
    ("swift", Sdk::Swift),
    ("android", Sdk::Android),
    ("flutter", Sdk::Flutter),
    ("go", Sdk::Go),
    ("unity", Sdk::Unity),
    ("reactnative", Sdk::ReactNative),
    ("rust", Sdk::Rust),
    ("python", Sdk::Python),
    ("cpp", Sdk::Cpp),
    ("unityweb", Sdk::UnityWeb),
    ("node", Sdk::Node),
    ("esp32", Sdk::Esp32),
];

fn sdk_of(name: &str) -> Sdk {
    let name = if name == "ios" { "swift" } else { name };
    SDKS.iter().find(|(known, _)| *known == name).map_or(Sdk::Unknown, |(_, sdk)| *sdk)
}

fn sdk_name(sdk: Sdk) -> &'static str {
    SDKS.iter().find(|(_, known)| *known == sdk).map_or("", |(name, _)| name)
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}
