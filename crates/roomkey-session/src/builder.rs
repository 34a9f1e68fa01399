//! The settings of a session.

use std::fmt;
use std::time::Duration;

use roomkey_room::{EncryptionOptions, RoomBuilder};
use roomkey_source::FixedTokenSource;

use crate::agent_expectation::AgentExpectation;
use crate::options::{RestartPolicy, SendPolicy, Settings};
use crate::session::Session;

/// Sets up a [`Session`]; from [`Session::builder`].
#[derive(Clone)]
#[must_use]
pub struct SessionBuilder {
    source: FixedTokenSource,
    room: RoomBuilder,
    encryption: Option<EncryptionOptions>,
    settings: Settings,
}

impl SessionBuilder {
    pub(crate) fn new(source: FixedTokenSource) -> Self {
        let settings = Settings { seed: fastrand::u64(..), ..Settings::default() };
        Self { source, room: RoomBuilder::default(), encryption: None, settings }
    }

    /// Sets which agent is waited for.
    pub fn agent(mut self, expectation: AgentExpectation) -> Self {
        self.settings.expectation = expectation;
        self
    }

    /// Sets how long an agent may take to come and to begin its work, from when the room is joined: 20 s unless set.
    pub fn agent_timeout(mut self, timeout: Duration) -> Self {
        self.settings.agent_timeout = timeout;
        self
    }

    /// Sets how long an agent that left may be away before it is given up: 3 s unless set.
    pub fn leave_grace(mut self, grace: Duration) -> Self {
        self.settings.leave_grace = grace;
        self
    }

    /// Sets how rooms are joined.
    pub fn room_options(mut self, options: RoomBuilder) -> Self {
        self.room = options;
        self
    }

    /// Encrypts rooms end to end, with these keys; see [`RoomBuilder::encryption`]. The agent and all others need the keys
    /// too. [`Session::set_encryption_enabled`] turns it off and on.
    pub fn encryption(mut self, options: EncryptionOptions) -> Self {
        self.encryption = Some(options);
        self
    }

    /// Sets how many messages are kept, 1,000 unless set; beyond that the first ones go.
    pub fn history_limit(mut self, messages: usize) -> Self {
        self.settings.history_limit = messages;
        self
    }

    /// Sets whether messages wait for the agent.
    pub fn send_policy(mut self, policy: SendPolicy) -> Self {
        self.settings.send_policy = policy;
        self
    }

    /// Sets whether a room that is lost is followed by another one.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.settings.restart = policy;
        self
    }

    /// The session: no token is fetched and no room joined until it is started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, in which the session has its task. The runtime needs time and network.
    pub fn build(self) -> Session {
        let room = match self.encryption {
            Some(encryption) => self.room.encryption(encryption),
            None => self.room,
        };
        Session::new(self.settings, self.source, room)
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
