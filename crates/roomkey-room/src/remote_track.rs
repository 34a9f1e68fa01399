//! A track that comes in.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::command::Command;
use crate::media::Sinks;
use crate::names::TrackSid;
use crate::publication::TrackKind;

/// A track of somebody else, as it comes in. A cheap handle; it does not keep the room alive.
///
/// A track can be listened to any number of times. What comes while nobody listens is dropped.
#[derive(Clone)]
pub struct RemoteTrack {
    pub(crate) sid: TrackSid,
    pub(crate) kind: TrackKind,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) commands: mpsc::WeakUnboundedSender<Command>,
}

impl RemoteTrack {
    /// The sid of its publication.
    pub fn sid(&self) -> &TrackSid {
        &self.sid
    }

    /// Audio or video.
    pub fn kind(&self) -> TrackKind {
        self.kind
    }

    pub(crate) fn command(&self, command: Command) {
        // A room that is over takes none.
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(command);
        }
    }

    /// Asks the publisher of a video for a key frame, with which a decoder can begin. One comes in some 100 ms.
    pub fn request_keyframe(&self) {
        self.command(Command::RequestKeyframe { track: self.sid.clone() });
    }
}

impl fmt::Debug for RemoteTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTrack").field("sid", &self.sid).field("kind", &self.kind).finish_non_exhaustive()
    }
}
