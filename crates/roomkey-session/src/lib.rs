#![doc = include_str!("../README.md")]
#![allow(dead_code, unused_imports, reason = "the shell that drives the core is not here")]

mod agent_expectation;
mod agent_state;
mod core;
mod error;
mod message;
mod options;
mod room_errors;
mod send_options;
mod session_event;
mod session_metrics;
mod session_state;
mod track_ref;

pub use agent_expectation::{AgentExpectation, AgentSelector};
pub use agent_state::{AgentFailure, AgentSnapshot, AgentState};
pub use error::{ReceiveError, SendError, SessionError, StartError};
pub use message::{
    Attachment, AttachmentStatus, Expression, Message, MessageEvent, MessageId, MessageKind, Status, TimedSpan,
};
pub use options::{Ready, RestartPolicy, SendPolicy};
pub use room_errors::{ConnectError, PublishError, RoomError};
pub use send_options::{OutgoingFile, SendOptions};
pub use session_event::SessionEvent;
pub use session_metrics::SessionMetrics;
pub use session_state::{EndReason, SessionState};
pub use track_ref::{TrackFilter, TrackRef};
