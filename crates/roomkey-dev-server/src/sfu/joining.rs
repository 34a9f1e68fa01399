//! A client comes: into a room that is there or is made, or back to the participant that it was.

use livekit_protocol as proto;
use proto::signal_response::Message;
use roomkey_token::{Claims, RoomConfiguration};

use super::room::Room;
use super::{ConnectionId, Context, Effect, RoomId, Sfu};
use crate::clock::Now;
use crate::event::Event;

/// A client's request to join, with the claims of its verified token and what it says of itself in them.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    /// None for a participant of the server itself.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) claims: Claims,
    /// One peer connection for both directions.
    pub(crate) is_single: bool,
    pub(crate) protocol: i32,
    pub(crate) client_protocol: i32,
    pub(crate) capabilities: Vec<i32>,
    /// The SDK's name and version.
    pub(crate) sdk: String,
    pub(crate) auto_subscribe: bool,
    pub(crate) add_tracks: Vec<proto::AddTrackRequest>,
    pub(crate) publisher_offer: Option<proto::SessionDescription>,
    /// The participant to come back to.
    pub(crate) resumes: Option<String>,
}

/// Why a client gets no websocket: an HTTP status and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

/// The first protocol version that knows the `action` of a `leave`.
const PROTOCOL_WITH_LEAVE_ACTION: i32 = 13;

impl Sfu {
    /// Whether the room of a token is there or may be made.
    ///
    /// # Errors
    ///
    /// The refusal that livekit-server would answer.
    pub(crate) fn check_room(&self, claims: &Claims) -> Result<(), Refusal> {
        let video = claims.video.as_ref();
        let name = video.map(|video| video.room.as_str()).unwrap_or_default();
        let may_create = self.settings.auto_create || video.is_some_and(|video| video.room_create);
        if self.names.contains_key(name) || may_create {
            return Ok(());
        }
        Err(Refusal::new(404, "requested room does not exist"))
    }

    /// A client joins or resumes. What it is answered is among the effects.
    ///
    /// # Errors
    ///
    /// The status and text to answer in place of a websocket.
    pub(crate) fn join(&mut self, joining: Joining, now: Now) -> Result<(), Refusal> {
        let name = joining.claims.video.as_ref().map(|video| video.room.clone()).unwrap_or_default();
        if let Some(sid) = &joining.resumes {
            let room = self.names.get(&name).copied();
            self.resume(room, &joining, sid, now);
            return Ok(());
        }
        self.check_room(&joining.claims)?;
        let id = match self.names.get(&name) {
            Some(id) => *id,
            None => self.create_room(&name, joining.claims.room_config.as_ref(), now),
        };
        let connection = joining.connection;
        let joined = self.in_room(id, now, |room, cx| room.join(joining, cx)).expect("the room is there");
        let participant = joined?;
        self.connections.extend(connection.map(|connection| (connection, (id, participant))));
        self.after(id, now);
        Ok(())
    }

    pub(super) fn create_room(&mut self, name: &str, config: Option<&RoomConfiguration>, now: Now) -> RoomId {
        self.last_room += 1;
        let id = self.last_room;
        let Self { settings, keys, rng, effects, .. } = self;
        let mut cx = Context { now, rng, effects, settings, keys };
        let room = Room::new(name, config, &mut cx);
        cx.happened(Event::RoomStarted { room: name.to_owned() });
        self.rooms.insert(id, room);
        self.names.insert(name.to_owned(), id);
        id
    }

    fn resume(&mut self, room: Option<RoomId>, joining: &Joining, sid: &str, now: Now) {
        let connection = joining.connection;
        let resumed = room.and_then(|room| {
            let participant = self.in_room(room, now, |room, cx| room.resume(joining, sid, cx))??;
            Some((room, participant))
        });
        match resumed {
            Some(seat) => {
                self.connections.extend(connection.map(|connection| (connection, seat)));
                self.after(seat.0, now);
            }
            None => {
                let Some(connection) = connection else { return };
                let leave = refused_resume(joining.protocol);
                self.effects.push_back(Effect::Send { connection, message: Message::Leave(leave) });
                self.effects.push_back(Effect::Close { connection });
            }
        }
    }
}

/// What a client that has nothing to come back to is told: join anew.
fn refused_resume(protocol: i32) -> proto::LeaveRequest {
    let reason = proto::DisconnectReason::StateMismatch as i32;
    if protocol < PROTOCOL_WITH_LEAVE_ACTION {
        return proto::LeaveRequest { reason, can_reconnect: true, ..Default::default() };
    }
    let action = proto::leave_request::Action::Reconnect as i32;
    proto::LeaveRequest { reason, action, ..Default::default() }
}
