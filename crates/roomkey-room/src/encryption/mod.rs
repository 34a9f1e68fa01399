//! End-to-end encryption, as LiveKit's clients have it: frames and packets of data are sealed with AES-GCM before they are sent,
//! with keys that the server never sees.
//!
//! The facts are those of LiveKit's clients, which have no document for them: `client-sdk-js` (`src/e2ee`), `rust-sdks`
//! (`livekit/src/room/e2ee`) and the frame cryptor in LiveKit's libwebrtc (`api/crypto/frame_crypto_transformer.cc`).

mod context;
mod data;
mod frame;
mod kdf;
mod key;
mod key_provider;
mod nal;
mod opener;
mod options;
mod sealer;
mod sif;
mod state;

pub(crate) use context::{RoomEncryption, Subject, TrackEncryption};
pub(crate) use data::DataEncryption;
pub(crate) use frame::FrameCodec;
pub use key::{EncryptionKey, KeySize};
pub use key_provider::{KeyError, KeyProvider, KeyProviderOptions};
pub(crate) use opener::FrameOpener;
pub use options::EncryptionOptions;
pub(crate) use sealer::FrameSealer;
pub use state::EncryptionState;

#[cfg(test)]
mod tests;
