//! Whether a token is for what was asked: pure.

use std::fmt;

use roomkey_token::Claims;

use crate::options::FetchOptions;

/// What a source does with a token whose room or identity is not the one that was asked for: a backend that ignores what
/// it is asked, or mixes up its answers.
///
/// Only a room and an identity that the options name are compared, and only with what a JWT says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantCheck {
    /// Takes it without a word: the backend may choose.
    Ignore,
    /// Takes it, with a warning by `tracing`.
    #[default]
    Warn,
    /// Refuses it: the fetch fails with [`GrantMismatch`](crate::FetchErrorKind::GrantMismatch), and it is not held.
    Deny,
}

/// What a token has that is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Room,
    Identity,
}

impl Mismatch {
    pub(crate) fn find(claims: &Claims, options: &FetchOptions) -> Option<Self> {
        let room = claims.video.as_ref().map_or("", |video| &video.room);
        if options.room_name().is_some_and(|asked| asked != room) {
            return Some(Self::Room);
        }
        let is_other = options.participant_identity().is_some_and(|asked| asked != claims.identity());
        is_other.then_some(Self::Identity)
    }
}

/// Neither the room nor the identity is named: they may be personal.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room => "the token is for another room than the one that was asked for",
            Self::Identity => "the token is for another participant than the one that was asked for",
        })
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use roomkey_token::VideoGrant;

    use super::*;

    #[test]
    fn what_the_options_name_is_compared_and_nothing_else() {
        let mut claims = Claims::default();
        claims.sub = "alice".to_owned();
        claims.video = Some(VideoGrant::join("lobby"));
        let options =
            |room: &str, identity: &str| FetchOptions::new().with_room_name(room).with_participant_identity(identity);
        for (room, identity, found) in [
            ("", "", None),
            ("lobby", "", None),
            ("lobby", "alice", None),
            ("Lobby", "alice", Some(Mismatch::Room)),
            ("lobby", "bob", Some(Mismatch::Identity)),
            ("hall", "bob", Some(Mismatch::Room)),
        ] {
            assert_eq!(Mismatch::find(&claims, &options(room, identity)), found, "{room} {identity}");
        }
        assert_eq!(Mismatch::find(&Claims::default(), &options("lobby", "")), Some(Mismatch::Room));
    }
}
