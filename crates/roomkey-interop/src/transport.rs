//! Which paths our client's media may take, so that the rows can be run over each.

use std::fmt;
use std::str::FromStr;

use roomkey_room::IceTransportPolicy;

/// Said on a command line, and to a program that this one starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// Any path: UDP where it passes.
    #[default]
    Any,
    /// No UDP.
    Tcp,
    /// TURN servers alone, which the server has to name.
    Relay,
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, true)
    }
}

impl From<Transport> for IceTransportPolicy {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Any => Self::All,
            Transport::Tcp => Self::Tcp,
            Transport::Relay => Self::Relay,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Tcp => "tcp",
            Self::Relay => "relay",
        })
    }
}
