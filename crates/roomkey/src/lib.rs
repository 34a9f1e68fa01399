#![doc = include_str!("../README.md")]

#[cfg(feature = "room")]
#[doc(inline)]
pub use roomkey_room as room;
#[cfg(feature = "cpal")]
#[doc(inline)]
pub use roomkey_room::device;
#[cfg(feature = "room")]
pub use roomkey_room::{
    AudioFrame, AudioProcessor, AudioSource, AudioSourceOptions, AudioStream, AudioStreamOptions, ByteStreamOptions,
    ByteStreamReader, ByteStreamWriter, ChatMessage, ConnectError, ConnectErrorKind, ConnectionQuality,
    ConnectionState, DataPacket, DisconnectReason, EncodedVideoFrame, EncryptionKey, EncryptionOptions,
    EncryptionState, FileError, FileSender, IceServer, IceTransportPolicy, KeyError, KeyProvider, KeyProviderOptions,
    LocalParticipant, LocalTrack, LocalTrackPublication, Participant, ParticipantIdentity, ParticipantKind,
    ParticipantSid, ParticipantState, ParticipantTrackPermission, Participants, PublishError, Recording, RemoteTrack,
    Room, RoomBuilder, RoomError, RoomEvent, RoomEvents, RoomInfo, RoomOptions, RoomSid, RpcError, RpcInvocation,
    RpcRequest, SendStreamError, SipDtmf, StreamError, TakeOnce, TextStreamOptions, TextStreamReader, TextStreamWriter,
    TrackKind, TrackPublication, TrackPublishOptions, TrackSid, TrackSource, Transcription, TranscriptionSegment,
    VideoCodec, VideoDecoder, VideoFrame, VideoSettings, VideoSource, VideoSourceOptions, VideoStream,
    VideoStreamOptions, WeakRoom,
};
#[cfg(feature = "session")]
#[doc(inline)]
pub use roomkey_session as session;
#[cfg(feature = "keychain")]
pub use roomkey_source::KeychainStore;
#[cfg(feature = "blocking")]
#[doc(inline)]
pub use roomkey_source::blocking;
#[cfg(feature = "source")]
pub use roomkey_source::{
    BackOff, BoxError, Claims, Clock, CredentialStore, Credentials, DecodeError, Endpoint, EndpointError, FetchError,
    FetchErrorKind, FetchOptions, FixedTokenSource, GrantCheck, Held, HttpClient, HttpError, JobRestartPolicy,
    ManualClock, MemoryStore, Now, NumericDate, ProviderError, ProviderFn, RawJson, RefreshAhead, RejectionSpread,
    RetryPolicy, Reuse, RoomAgentDispatch, RoomConfiguration, Stats, StoreKey, StoredCredentials, SystemClock,
    TokenProvider, TokenRequest, TokenResponse, TokenSource, TokenSourceBuilder, VideoGrant, Watch, http, provider_fn,
};
#[cfg(feature = "file-store")]
pub use roomkey_source::{FileStore, SealingKey};
#[cfg(feature = "minter")]
pub use roomkey_source::{Minter, MinterError, Signer, SignerError};
#[cfg(feature = "reqwest")]
pub use roomkey_source::{ReqwestClient, ReqwestClientBuilder};
#[cfg(feature = "token")]
#[doc(inline)]
pub use roomkey_token as token;
