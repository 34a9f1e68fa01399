#![doc = include_str!("../README.md")]

mod agent_audio;
mod agent_expectation;
mod agent_state;
mod builder;
mod call_agent;
mod clock;
mod core;
mod error;
mod event_stream;
mod message;
mod microphone_switch;
mod options;
mod plug_ins;
mod preconnect_stream;
mod room_link;
mod rpc;
mod send_message;
mod send_options;
mod session;
mod session_event;
mod session_metrics;
mod session_state;
mod session_task;
#[cfg(test)]
mod session_tests;
mod start_options;
mod text_streams;
mod track_ref;
mod transcript_filter;
mod transfer;

pub use agent_audio::AgentAudio;
pub use agent_expectation::{AgentExpectation, AgentSelector};
pub use agent_state::{AgentFailure, AgentSnapshot, AgentState};
pub use builder::SessionBuilder;
pub use call_agent::CallAgent;
pub use error::{
    AgentError, EncryptionError, NoEncryption, NotEditable, ReceiveError, SendError, SessionError, StartError,
};
pub use event_stream::EventStream;
pub use message::{
    Attachment, AttachmentStatus, Expression, Message, MessageEvent, MessageId, MessageKind, Status, TimedSpan,
};
pub use microphone_switch::MicrophoneSwitch;
pub use options::{Ready, RestartPolicy, SendPolicy};
pub use plug_ins::OutgoingMessage;
pub use rpc::{CallError, MethodGuard, Rpc};
pub use send_message::SendMessage;
pub use send_options::{OutgoingFile, SendOptions};
pub use session::Session;
pub use session_event::SessionEvent;
pub use session_metrics::SessionMetrics;
pub use session_state::{EndReason, SessionState};
pub use start_options::{Microphone, StartOptions};
pub use text_streams::TextStreams;
pub use track_ref::{TrackFilter, TrackRef};
pub use transcript_filter::TranscriptFilter;
pub use transfer::Transfer;
