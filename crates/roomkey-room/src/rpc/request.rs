//! What is asked for, as the two ends see it.

use std::time::Duration;

use crate::names::ParticipantIdentity;

/// A call of a method of another participant.
#[doc(alias = "PerformRpcData")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcRequest {
    /// Whose method it is.
    pub destination_identity: ParticipantIdentity,
    /// The method's name.
    pub method: String,
    /// What it gets, in a form that caller and method agree on; often JSON.
    pub payload: String,
    /// How long the answer may take once the recipient has acknowledged the request; 15 seconds unless set.
    pub response_timeout: Duration,
    /// How long the acknowledgement may take; 7 seconds unless set.
    pub max_round_trip: Duration,
}

impl RpcRequest {
    /// A call of this method of this participant.
    pub fn new(
        destination_identity: impl Into<ParticipantIdentity>,
        method: impl Into<String>,
        payload: impl Into<String>,
    ) -> Self {
        Self {
            destination_identity: destination_identity.into(),
            method: method.into(),
            payload: payload.into(),
            response_timeout: Duration::from_secs(15),
            max_round_trip: MAX_ROUND_TRIP,
        }
    }

    /// Waits so long for the answer, once the recipient has acknowledged the request.
    #[must_use]
    pub fn with_response_timeout(mut self, response_timeout: Duration) -> Self {
        self.response_timeout = response_timeout;
        self
    }

    /// Waits so long for the acknowledgement. More is for networks on which data waits for long before it is sent.
    #[must_use]
    pub fn with_max_round_trip(mut self, max_round_trip: Duration) -> Self {
        self.max_round_trip = max_round_trip;
        self
    }

    /// How long the recipient is told that it has: what is left of the caller's time after a slow round trip, and a second at
    /// least.
    pub(crate) fn time_to_respond(&self) -> Duration {
        self.response_timeout.saturating_sub(self.max_round_trip).max(Duration::from_secs(1))
    }
}

/// A call by another participant of a method of ours.
#[doc(alias = "RpcInvocationData")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcInvocation {
    /// The id that the caller gave it.
    pub request_id: String,
    /// Who calls.
    pub caller_identity: ParticipantIdentity,
    /// The method's name.
    pub method: String,
    /// What the caller sends.
    pub payload: String,
    /// How long the caller waits for the answer, as it says itself.
    pub response_timeout: Duration,
}

/// How long a request and its acknowledgement may be under way, unless the caller says otherwise.
pub(crate) const MAX_ROUND_TRIP: Duration = Duration::from_secs(7);
