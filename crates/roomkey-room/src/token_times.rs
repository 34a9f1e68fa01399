//! From when until when the token in use is good.

use std::time::{Duration, SystemTime};

use roomkey_signal::ParticipantToken;

/// From when until when the token is good that a room is joined and come back to with. The token itself is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenTimes {
    /// When it was made, as it says, by the clock of whoever made it; when this client got it, where it does not say.
    pub made_at: SystemTime,
    /// When it expires, where it says so.
    pub expires_at: Option<SystemTime>,
    /// Whether the server gave it during the stay, in the place of the application's.
    pub is_refreshed: bool,
}

impl TokenTimes {
    /// Of a token that was received at this time. Its signature is not looked at.
    pub fn of(participant_token: &str, received_at: SystemTime) -> Self {
        Self::read(&ParticipantToken::new(participant_token), received_at, false)
    }

    pub(crate) fn read(token: &ParticipantToken, received_at: SystemTime, is_refreshed: bool) -> Self {
        let (made_at, expires_at) = token.times();
        Self { made_at: made_at.unwrap_or(received_at), expires_at, is_refreshed }
    }

    /// How old it is; nothing, where another clock says that it is made later.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.made_at).unwrap_or_default()
    }

    /// How long it is good for; nothing, once it has expired, and `None` where it does not say.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        Some(self.expires_at?.duration_since(now).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_token_says_how_old_it_is_and_how_long_it_is_good_for() {
        let second = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        // {"nbf":100,"exp":700}
        let times = TokenTimes::of("e30.eyJuYmYiOjEwMCwiZXhwIjo3MDB9.", second(110));
        assert_eq!(times.age(second(130)), Duration::from_secs(30));
        assert_eq!(times.remaining(second(130)), Some(Duration::from_secs(570)));
        assert_eq!(times.remaining(second(900)), Some(Duration::ZERO));

        let opaque = TokenTimes::of("opaque", second(110));
        assert_eq!((opaque.age(second(130)), opaque.remaining(second(130))), (Duration::from_secs(20), None));
        assert!(!format!("{opaque:?}").contains("opaque"));
    }
}
