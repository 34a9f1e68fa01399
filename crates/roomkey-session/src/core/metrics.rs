//! Measures the phases of a start.

use std::time::Instant;

use crate::agent_state::AgentSnapshot;
use crate::session_metrics::SessionMetrics;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    begun: Option<Instant>,
    token_at: Option<Instant>,
    room_at: Option<Instant>,
    measured: SessionMetrics,
}

impl Metrics {
    pub(crate) fn begin(&mut self, now: Instant) {
        *self = Self { begun: Some(now), ..Self::default() };
    }

    pub(crate) fn token(&mut self, now: Instant) {
        self.token_at = Some(now);
        self.measured.token = self.begun.map(|begun| now - begun);
    }

    pub(crate) fn room(&mut self, now: Instant) {
        self.room_at = Some(now);
        self.measured.connect = self.token_at.map(|token_at| now - token_at);
    }

    pub(crate) fn agent(&mut self, agent: &AgentSnapshot, now: Instant) {
        let Some((begun, room_at)) = self.begun.zip(self.room_at) else { return };
        if agent.participant.is_some() {
            self.measured.agent_join.get_or_insert(now - room_at);
        }
        if agent.state.is_connected() {
            self.measured.agent_ready.get_or_insert(now - begun);
        }
    }

    pub(crate) fn audio(&mut self, now: Instant) {
        if let Some(begun) = self.begun {
            self.measured.first_audio.get_or_insert(now - begun);
        }
    }

    pub(crate) fn measured(&self) -> SessionMetrics {
        self.measured
    }
}
