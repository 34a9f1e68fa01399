//! Whether the user is heard.

use std::fmt;

use tokio::sync::watch;

use crate::session::Session;
use crate::session_task::Request;

/// Mutes a session's microphone and unmutes it; from [`Session::microphone`].
///
/// What is set here is the user's wish, and belongs to the session: it is there before the microphone is published, and holds
/// in the room that follows a lost one and in those of later starts, until it is changed. Where a start's
/// [`Microphone`](crate::Microphone) has options that say [`muted`](roomkey_room::TrackPublishOptions::muted), it begins so.
/// While it is muted, nothing that is captured is sent, nor kept for an agent that is not there yet; what was kept before is
/// sent when the agent comes. Without a microphone it is a wish and nothing more.
///
/// It is the user's wish, and not what the server makes of it: a track that was muted by the server's administrator is muted
/// in [`participants`](Session::participants), and not here. It is a cheap handle, and keeps the session as the session's own
/// handles do.
#[derive(Clone)]
#[must_use]
pub struct MicrophoneSwitch {
    session: Session,
}

impl MicrophoneSwitch {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// Sends nothing of what the user says, and tells the others so.
    pub fn mute(&self) {
        self.set_muted(true);
    }

    /// Sends it again.
    pub fn unmute(&self) {
        self.set_muted(false);
    }

    /// The one if `is_muted`, and the other if not.
    pub fn set_muted(&self, is_muted: bool) {
        let muted = &self.session.shown().muted;
        let is_other = muted.send_if_modified(|now| std::mem::replace(now, is_muted) != is_muted);
        if is_other {
            self.session.request(Request::MuteChanged);
        }
    }

    /// Whether the user wants to be muted.
    pub fn is_muted(&self) -> bool {
        *self.session.shown().muted.borrow()
    }

    /// The same, now and later.
    pub fn muted(&self) -> watch::Receiver<bool> {
        self.session.shown().muted.subscribe()
    }
}

impl fmt::Debug for MicrophoneSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MicrophoneSwitch").field("is_muted", &self.is_muted()).finish_non_exhaustive()
    }
}
