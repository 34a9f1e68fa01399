//! The tracks that the agent is heard in.

use std::fmt;
use std::sync::Arc;

use roomkey_room::{ConnectionState, RemoteTrack, Room, TrackSid};
use tokio::sync::watch;

use crate::agent_state::AgentSnapshot;

/// The agent's voice: the track that it is heard in now, and each other one that it is heard in later; from
/// [`Session::agent_audio`](crate::Session::agent_audio).
///
/// There is another one when another agent comes, in the room that follows a lost one and in that of the next start, and when an
/// agent publishes its sound anew. Each is good for any number of
/// [`audio_stream`](RemoteTrack::audio_stream)s, which end with it. A session that is gone has no more of them; this does not
/// keep it.
pub struct AgentAudio {
    agent: watch::Receiver<Arc<AgentSnapshot>>,
    room: watch::Receiver<Option<Room>>,
    /// The one that was given last, while it is received. Its room is told by a channel of its: an agent that stays has the
    /// same sid in the next stay of this client.
    given: Option<(watch::Receiver<ConnectionState>, TrackSid)>,
}

impl AgentAudio {
    pub(crate) fn new(agent: watch::Receiver<Arc<AgentSnapshot>>, room: watch::Receiver<Option<Room>>) -> Self {
        Self { agent, room, given: None }
    }

    /// The next one, at once where the agent is heard in one that was not given yet; `None` once the session is gone. Dropping
    /// the future loses none; one that has ended before it was asked for is left out.
    pub async fn next(&mut self) -> Option<RemoteTrack> {
        loop {
            if let Some(track) = self.current() {
                return Some(track);
            }
            tokio::select! {
                changed = self.agent.changed() => changed.ok()?,
                changed = self.room.changed() => changed.ok()?,
            }
        }
    }

    fn current(&mut self) -> Option<RemoteTrack> {
        let agent = Arc::clone(&self.agent.borrow_and_update());
        let room = self.room.borrow_and_update();
        let publication = agent.audio.as_ref().and_then(|audio| audio.publication.as_ref());
        let Some(publication) = publication.filter(|publication| publication.is_subscribed) else {
            self.given = None;
            return None;
        };
        let room = room.as_ref()?;
        let stay = room.connection_state();
        if self.given.as_ref().is_some_and(|(given_in, sid)| *sid == publication.sid && given_in.same_channel(&stay)) {
            return None;
        }
        let track = room.track(&publication.sid)?;
        self.given = Some((stay, publication.sid.clone()));
        Some(track)
    }
}

impl fmt::Debug for AgentAudio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentAudio").field("given", &self.given.as_ref().map(|(_, sid)| sid)).finish_non_exhaustive()
    }
}
