//! The URLs that a client connects to.

use std::fmt;

use url::Url;

use crate::connect_parameters::ConnectParameters;
use crate::join_request;

/// A version of the signalling endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a client that met a third would have to be written for it")]
pub enum Endpoint {
    /// `/rtc`: parameters are keys of the query, and there are two peer connections.
    V0,
    /// `/rtc/v1`: parameters are one message in the query, with the client's first offer, and there is one peer
    /// connection.
    V1,
}

impl Endpoint {
    fn segments(self) -> &'static [&'static str] {
        match self {
            Self::V0 => &["rtc"],
            Self::V1 => &["rtc", "v1"],
        }
    }
}

/// Where a LiveKit server is: what the application has as its server URL, such as `wss://example.livekit.cloud`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Reads a server URL. `http` and `https` mean `ws` and `wss`. A path is kept, for a server behind a prefix, and so is a
    /// query; a fragment is dropped.
    ///
    /// # Errors
    /// If it is no URL of a host, has another scheme, or carries a user name or password: that would go into logs.
    pub fn parse(server_url: &str) -> Result<Self, ServerUrlError> {
        let mut url = Url::parse(server_url.trim()).map_err(ServerUrlError::Syntax)?;
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
            return Err(ServerUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerUrlError::Credentials);
        }
        url.set_fragment(None);
        url.path_segments_mut().expect("an http or ws URL has a path").pop_if_empty();
        Ok(Self(with_scheme(url, "ws")))
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether what is sent there goes over TLS.
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "wss"
    }

    /// The `http` URL at which LiveKit Cloud names the regions of a project, to who has a token of it. It is at the root of the
    /// host (client-sdk-js, `RegionUrlProvider.ts`).
    pub fn regions(&self) -> Url {
        let mut url = self.0.clone();
        url.set_path("/settings/regions");
        url.set_query(None);
        with_scheme(url, "http")
    }

    /// The URL of the websocket, without a token: that goes into a header
    /// ([`authorization_header`](crate::ParticipantToken::authorization_header)), or, where there can be none, is
    /// [appended](crate::ParticipantToken::append_to).
    ///
    /// [`Endpoint::V0`] has no place for an offer, tracks, metadata or a sync state.
    pub fn connect(&self, endpoint: Endpoint, parameters: &ConnectParameters) -> Url {
        self.write(endpoint, &[], parameters)
    }

    /// The `http` URL that answers, for the same parameters and token, why [`connect`](Self::connect) was refused.
    pub fn validate(&self, endpoint: Endpoint, parameters: &ConnectParameters) -> Url {
        with_scheme(self.write(endpoint, &["validate"], parameters), "http")
    }

    fn write(&self, endpoint: Endpoint, tail: &[&str], parameters: &ConnectParameters) -> Url {
        let mut url = self.0.clone();
        (url.path_segments_mut().expect("an http or ws URL has a path")).extend(endpoint.segments()).extend(tail);
        let mut query = url.query_pairs_mut();
        match endpoint {
            Endpoint::V0 => parameters.write_query(&mut query),
            Endpoint::V1 => {
                query.append_pair("join_request", &join_request::encode(&parameters.to_join_request()));
            }
        }
        drop(query);
        url
    }
}

fn with_scheme(mut url: Url, plain: &str) -> Url {
    let secure = matches!(url.scheme(), "https" | "wss");
    let scheme = if secure { format!("{plain}s") } else { plain.to_owned() };
    url.set_scheme(&scheme).expect("http and ws change into each other");
    url
}

/// Why a text is no server URL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerUrlError {
    /// It is no URL with a host.
    Syntax(url::ParseError),
    /// Its scheme is none of `wss`, `ws`, `https` and `http`.
    Scheme,
    /// It carries a user name or a password.
    Credentials,
}

impl fmt::Display for ServerUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax(_) => "the server URL is not a URL with a host",
            Self::Scheme => "the server URL must start with wss, ws, https or http",
            Self::Credentials => "the server URL must not have a user name or password in it",
        })
    }
}

impl std::error::Error for ServerUrlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(error) => Some(error),
            Self::Scheme | Self::Credentials => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ClientInfo, client_info::Sdk};

    fn parameters() -> ConnectParameters {
        ConnectParameters::new(ClientInfo { protocol: 16, ..ClientInfo::default() })
    }

    #[test]
    fn a_server_url_becomes_a_websocket_url_with_its_prefix_port_and_query_kept() {
        for (server_url, connect, validate) in [
            ("wss://host", "wss://host/rtc?", "https://host/rtc/validate?"),
            ("https://host:8443/", "wss://host:8443/rtc?", "https://host:8443/rtc/validate?"),
            ("http://host:7880/a/b", "ws://host:7880/a/b/rtc?", "http://host:7880/a/b/rtc/validate?"),
            ("ws://host/a/?k=v#f", "ws://host/a/rtc?k=v&", "http://host/a/rtc/validate?k=v&"),
            (" wss://[::1] ", "wss://[::1]/rtc?", "https://[::1]/rtc/validate?"),
        ] {
            let server_url = ServerUrl::parse(server_url).unwrap();
            let query = "protocol=16&client_protocol=0&auto_subscribe=1&adaptive_stream=0";
            assert_eq!(server_url.connect(Endpoint::V0, &parameters()).as_str(), format!("{connect}{query}"));
            assert_eq!(server_url.validate(Endpoint::V0, &parameters()).as_str(), format!("{validate}{query}"));
        }
    }

    #[test]
    fn regions_are_named_at_the_root_of_the_host_under_the_scheme_of_the_server() {
        for (server_url, regions, is_secure) in [
            ("wss://host/prefix?k=v", "https://host/settings/regions", true),
            ("http://host:7880", "http://host:7880/settings/regions", false),
        ] {
            let server_url = ServerUrl::parse(server_url).unwrap();
            assert_eq!((server_url.regions().as_str(), server_url.is_secure()), (regions, is_secure));
        }
    }

    #[test]
    fn what_a_client_knows_of_itself_is_in_the_query() {
        let mut parameters = parameters().with_adaptive_stream(true).with_auto_subscribe(false);
        parameters.client_info.set_sdk(Sdk::Rust);
        parameters.client_info.os = "Debian é".into();
        let url = ServerUrl::parse("ws://host").unwrap().connect(Endpoint::V0, &parameters);
        assert_eq!(
            url.query().unwrap(),
            "sdk=rust&protocol=16&client_protocol=0&os=Debian+%C3%A9&auto_subscribe=0&adaptive_stream=1"
        );
    }

    #[test]
    fn what_is_no_server_url_is_refused_and_credentials_are_not_shown() {
        assert!(matches!(ServerUrl::parse("host:7880").unwrap_err(), ServerUrlError::Scheme));
        assert!(matches!(ServerUrl::parse("").unwrap_err(), ServerUrlError::Syntax(_)));
        assert_eq!(ServerUrl::parse("ftp://host").unwrap_err(), ServerUrlError::Scheme);
        for url in ["wss://name:secret@host", "wss://secret@host", "wss://:secret@host"] {
            let error = ServerUrl::parse(url).unwrap_err();
            assert_eq!(error, ServerUrlError::Credentials);
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }
}
