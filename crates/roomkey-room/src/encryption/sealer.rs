//! What seals the frames of a track of this client, or its data.

use std::sync::Arc;

use super::context::{Ivs, Reporter, RoomEncryption, Subject, TrackEncryption};
use super::frame::{self, FrameCodec};
use super::key::{IV, KeySet};
use super::state::EncryptionState;

/// Seals one sequence of frames.
#[derive(Debug)]
pub(crate) struct FrameSealer {
    reporter: Reporter,
    key: SendingKey,
}

impl FrameSealer {
    pub(crate) fn new(track: &TrackEncryption) -> Self {
        let room = Arc::clone(&track.room);
        Self { reporter: Reporter::new(room, Subject::Local(track.id)), key: SendingKey::default() }
    }

    /// Whether it is this track's.
    pub(crate) fn is_of(&self, track: &TrackEncryption) -> bool {
        self.reporter.is_of(track)
    }

    /// The frame as it is sent. Nothing if it can't be sealed: then it is not sent at all.
    pub(crate) fn seal(&mut self, codec: FrameCodec, frame: &[u8]) -> Option<Vec<u8>> {
        let Self { reporter, key } = self;
        let (sealed, state) = match key.next(&reporter.room) {
            Ok((key, key_index, iv)) => match frame::seal(codec, frame, key, key_index, &iv) {
                Some(sealed) => (Some(sealed), EncryptionState::Ok),
                None => (None, EncryptionState::EncryptionFailed),
            },
            Err(state) => (None, state),
        };
        reporter.report(state);
        sealed
    }
}

/// The key that this client sends with, as it was when it was last another one.
#[derive(Debug, Default)]
pub(super) struct SendingKey {
    version: (u64, u64),
    key: Option<(Arc<KeySet>, u8)>,
    ivs: Option<Ivs>,
}

impl SendingKey {
    /// The key, its number, and a number that is used once.
    pub(super) fn next(&mut self, room: &RoomEncryption) -> Result<(&KeySet, u8, [u8; IV]), EncryptionState> {
        let version = room.version();
        if self.version != version {
            self.version = version;
            let key_index = room.keys().key_index();
            self.key = room.keys().key(&room.identity(), key_index).map(|key| (key, key_index));
        }
        let (key, key_index) = self.key.as_ref().ok_or(EncryptionState::MissingKey)?;
        if self.ivs.is_none() {
            self.ivs = Ivs::random();
        }
        let iv = self.ivs.as_mut().ok_or(EncryptionState::InternalError)?.next();
        Ok((key, *key_index, iv))
    }
}
