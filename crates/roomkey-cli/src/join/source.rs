//! Where the token comes from.

use std::fmt;

use roomkey::{Credentials, Endpoint, EndpointError, FetchOptions, FixedTokenSource, TokenSource};

use crate::join::Arguments;

/// The development token server of a `roomkey dev` on this machine.
const LOCAL: &str = "http://127.0.0.1:7880/api/v2/sandbox/connection-details";
/// The room where none is named: that of the token which `roomkey dev` prints.
const LOCAL_ROOM: &str = "dev";

/// Where the token comes from. The token does not show.
#[derive(PartialEq, Eq)]
pub(crate) enum Choice {
    /// The user has one.
    Literal { url: String, token: String },
    /// A token endpoint gives it.
    Endpoint { url: String, options: FetchOptions },
    /// The dev server of this machine gives it.
    Local { options: FetchOptions },
}

impl Choice {
    /// What the command line and the environment say. A token endpoint that is named comes before a token that is there.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self, ChoiceError> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let options = FetchOptions::new()
            .with_room_name(text(&arguments.room))
            .with_participant_identity(text(&arguments.identity))
            .with_participant_name(text(&arguments.name))
            .with_agent_name(text(&arguments.agent))
            .with_agent_metadata(text(&arguments.agent_metadata));
        let has_options = options != FetchOptions::new();
        match (&arguments.token_endpoint, &arguments.url, &arguments.token) {
            (Some(url), _, _) => Ok(Self::Endpoint { url: url.clone(), options }),
            (None, Some(_), Some(_)) if has_options => Err(ChoiceError::OptionsWithToken),
            (None, Some(url), Some(token)) => Ok(Self::Literal { url: url.clone(), token: token.clone() }),
            (None, Some(_), None) => Err(ChoiceError::NoToken),
            (None, None, Some(_)) => Err(ChoiceError::NoUrl),
            (None, None, None) => {
                let room = options.room_name().unwrap_or(LOCAL_ROOM).to_owned();
                Ok(Self::Local { options: options.with_room_name(room) })
            }
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// The source.
    pub(crate) fn into_source(self) -> Result<FixedTokenSource, EndpointError> {
        Ok(match self {
            Self::Literal { url, token } => TokenSource::literal(Credentials::new(url, token)),
            Self::Endpoint { url, options } => Endpoint::new(url).build()?.bind(options),
            Self::Local { options } => Endpoint::new(LOCAL).build()?.bind(options),
        })
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal { url, .. } => f.debug_struct("Literal").field("url", url).finish_non_exhaustive(),
            Self::Endpoint { options, .. } => {
                f.debug_struct("Endpoint").field("options", options).finish_non_exhaustive()
            }
            Self::Local { options } => f.debug_struct("Local").field("options", options).finish(),
        }
    }
}

/// Why the arguments do not name a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChoiceError {
    NoToken,
    NoUrl,
    OptionsWithToken,
}

impl fmt::Display for ChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoToken => {
                "there is a server URL, from --url or LIVEKIT_URL, and no token for it: give --token or LIVEKIT_TOKEN, or name \
                 a --token-endpoint"
            }
            Self::NoUrl => "there is a token, from --token or LIVEKIT_TOKEN, and no server for it: give --url or LIVEKIT_URL",
            Self::OptionsWithToken => {
                "--room, --identity, --name, --agent and --agent-metadata are for a token endpoint; a token from --token or \
                 LIVEKIT_TOKEN says these itself"
            }
        })
    }
}

impl std::error::Error for ChoiceError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::tests::arguments;

    #[test]
    fn without_arguments_the_dev_server_of_this_machine_gives_the_token() {
        let options = FetchOptions::new().with_room_name("dev");
        assert_eq!(Choice::of(&arguments(&[])), Ok(Choice::Local { options }));
        let Ok(Choice::Local { options }) = Choice::of(&arguments(&["--room", "lab", "--agent", "echo"])) else {
            panic!()
        };
        assert_eq!((options.room_name(), options.agent_name()), (Some("lab"), Some("echo")));
    }

    #[test]
    fn a_token_needs_a_url_and_a_url_a_token() {
        let url = ["--url", "ws://127.0.0.1:7880"];
        assert_eq!(Choice::of(&arguments(&url)), Err(ChoiceError::NoToken));
        assert_eq!(Choice::of(&arguments(&["--token", "t"])), Err(ChoiceError::NoUrl));
        let both = ["--url", "ws://127.0.0.1:7880", "--token", "t0ps3cret"];
        let choice = Choice::of(&arguments(&both)).expect("both are there");
        assert!(matches!(choice, Choice::Literal { .. }));
        assert!(!format!("{choice:?}").contains("t0ps3cret"));
        let named = ["--url", "ws://127.0.0.1:7880", "--token", "t", "--room", "lab"];
        assert_eq!(Choice::of(&arguments(&named)), Err(ChoiceError::OptionsWithToken));
    }

    #[test]
    fn a_token_endpoint_is_asked_for_what_the_options_say() {
        let given = [
            "--token-endpoint",
            "https://example.com/token",
            "--identity",
            "alice",
            "--agent",
            "echo",
            "--agent-metadata",
            "{}",
        ];
        let Ok(Choice::Endpoint { url, options }) = Choice::of(&arguments(&given)) else { panic!() };
        assert_eq!(url, "https://example.com/token");
        assert_eq!((options.participant_identity(), options.agent_metadata()), (Some("alice"), Some("{}")));
    }
}
