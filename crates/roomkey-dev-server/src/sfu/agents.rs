//! Agents: the workers that registered on `/agent`, and the rooms that want one of them.
//!
//! A room asks for the agents that its first token names, or for any agent without a name. A dispatch that no worker
//! takes waits for one as long as the room is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::server_message::Message;
use proto::worker_message::Message as WorkerRequest;
use roomkey_token::{AccessToken, ParticipantKind, RoomAgentDispatch, TrackSource, VideoGrant};

use super::room::server_info;
use super::{Effect, RoomId, Sfu};
use crate::clock::Now;
use crate::event::Event;

/// A websocket of a worker, numbered by the shell.
pub(crate) type WorkerId = u64;

/// Why a worker is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerRefusal {
    /// It did not register first.
    NotRegistered,
    /// It registered twice.
    RegisteredTwice,
}

/// A worker that does not answer an offer of a job for this long is passed over.
const AVAILABILITY_PATIENCE: Duration = Duration::from_secs(7);
/// How long the token of an agent is good for.
const AGENT_TOKEN_TTL: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Agents {
    workers: BTreeMap<WorkerId, Worker>,
    jobs: BTreeMap<String, Job>,
}

#[derive(Debug)]
struct Worker {
    sid: String,
    agent_name: String,
    allowed: Option<proto::ParticipantPermission>,
    /// Jobs for publishers or participants are not made here.
    takes_rooms: bool,
    is_available: bool,
}

/// An agent that a room wants and does not have.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    dispatch: RoomAgentDispatch,
    /// The workers that did not want it.
    refused_by: BTreeSet<WorkerId>,
}

impl From<RoomAgentDispatch> for Waiting {
    fn from(dispatch: RoomAgentDispatch) -> Self {
        Self { dispatch, refused_by: BTreeSet::new() }
    }
}

#[derive(Debug)]
struct Job {
    room: RoomId,
    info: proto::Job,
    dispatch: RoomAgentDispatch,
    worker: WorkerId,
    /// The workers that were asked before.
    refused_by: BTreeSet<WorkerId>,
    /// When the worker has to have answered; nothing once it took the job.
    answer_until: Option<Instant>,
}

impl Agents {
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.jobs.values().filter_map(|job| job.answer_until).min()
    }

    fn worker_for(&self, agent_name: &str, except: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let able = |(id, worker): &(&WorkerId, &Worker)| {
            worker.agent_name == agent_name && worker.takes_rooms && worker.is_available && !except.contains(id)
        };
        // The one with the fewest jobs, and of those the first that came.
        let load = |id: &WorkerId| self.jobs.values().filter(|job| job.worker == *id).count();
        self.workers.iter().filter(able).map(|(id, _)| *id).min_by_key(load)
    }
}

impl Sfu {
    /// A message of a worker.
    ///
    /// # Errors
    ///
    /// The worker does not keep to the protocol: close its websocket.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a worker's messages that want nothing of this server")]
    pub(crate) fn handle_worker(
        &mut self,
        id: WorkerId,
        request: WorkerRequest,
        now: Now,
    ) -> Result<(), WorkerRefusal> {
        let is_registered = self.agents.workers.contains_key(&id);
        match request {
            WorkerRequest::Register(_) if is_registered => return Err(WorkerRefusal::RegisteredTwice),
            WorkerRequest::Register(register) => self.register_worker(id, register, now),
            _ if !is_registered => return Err(WorkerRefusal::NotRegistered),
            WorkerRequest::Availability(response) => self.handle_availability(id, response, now),
            WorkerRequest::UpdateJob(update) => self.handle_job_update(id, &update),
            WorkerRequest::UpdateWorker(update) => {
                let is_full = update.status == Some(proto::WorkerStatus::WsFull as i32);
                if let Some(worker) = self.agents.workers.get_mut(&id) {
                    worker.is_available = !is_full && !update.draining;
                }
                self.dispatch_everywhere(now);
            }
            WorkerRequest::Ping(ping) => {
                let pong = proto::WorkerPong { last_timestamp: ping.timestamp, timestamp: now.unix_ms() };
                self.effects.push_back(Effect::Worker { worker: id, message: Message::Pong(pong) });
            }
            // A job that is simulated, or moved after a reconnect: livekit-server answers neither.
            _ => {}
        }
        Ok(())
    }

    /// A worker's websocket is gone. Its agents are participants: they leave or stay by themselves.
    pub(crate) fn worker_lost(&mut self, id: WorkerId, now: Now) {
        let Some(worker) = self.agents.workers.remove(&id) else { return };
        self.effects.push_back(Effect::Happened(Event::WorkerGone { agent: worker.agent_name }));
        let unanswered: Vec<_> = self
            .agents
            .jobs
            .iter()
            .filter(|(_, job)| job.worker == id && job.answer_until.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for job in unanswered {
            self.pass_over(&job, now);
        }
        self.agents.jobs.retain(|_, job| job.worker != id);
    }

    fn register_worker(&mut self, id: WorkerId, register: proto::RegisterWorkerRequest, now: Now) {
        let sid = crate::ids::draw("AW_", &mut self.rng);
        let response = proto::RegisterWorkerResponse {
            worker_id: sid.clone(),
            server_info: Some(server_info()),
            ..Default::default()
        };
        self.effects.push_back(Effect::Worker { worker: id, message: Message::Register(response) });
        self.effects.push_back(Effect::Happened(Event::WorkerRegistered { agent: register.agent_name.clone() }));
        let worker = Worker {
            sid,
            agent_name: register.agent_name,
            allowed: register.allowed_permissions,
            takes_rooms: register.r#type == proto::JobType::JtRoom as i32,
            is_available: true,
        };
        self.agents.workers.insert(id, worker);
        self.dispatch_everywhere(now);
    }

    fn dispatch_everywhere(&mut self, now: Now) {
        for room in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.dispatch_agents(room, now);
        }
    }

    /// Offers the agents that a room still wants to workers.
    pub(super) fn dispatch_agents(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.dispatches.is_empty() || room.participants.is_empty() {
            return;
        }
        let mut waiting = Vec::new();
        for wanted in std::mem::take(&mut room.dispatches) {
            if self.agents.worker_for(&wanted.dispatch.agent_name, &wanted.refused_by).is_some() {
                self.offer_job(id, wanted.dispatch, wanted.refused_by, now);
            } else if self.settings.echo_agent {
                let agent = wanted.dispatch.agent_name.clone();
                self.in_room(id, now, |room, cx| {
                    room.start_echo(&agent, cx);
                    cx.happened(Event::AgentDispatched { room: room.name().to_owned(), agent });
                });
            } else {
                waiting.push(wanted);
            }
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.dispatches.extend(waiting);
        }
    }

    fn offer_job(&mut self, id: RoomId, dispatch: RoomAgentDispatch, refused_by: BTreeSet<WorkerId>, now: Now) {
        let Some(worker) = self.agents.worker_for(&dispatch.agent_name, &refused_by) else { return };
        let Some(room) = self.rooms.get(&id) else { return };
        let job_id = crate::ids::draw("AJ_", &mut self.rng);
        let state = proto::JobState {
            status: proto::JobStatus::JsRunning as i32,
            started_at: now.unix_ms() * 1_000_000,
            updated_at: now.unix_ms() * 1_000_000,
            worker_id: self.agents.workers[&worker].sid.clone(),
            ..Default::default()
        };
        let info = proto::Job {
            id: job_id.clone(),
            dispatch_id: crate::ids::draw("AD_", &mut self.rng),
            r#type: proto::JobType::JtRoom as i32,
            room: Some(room.info.clone()),
            metadata: dispatch.metadata.clone(),
            agent_name: dispatch.agent_name.clone(),
            state: Some(state),
            ..Default::default()
        };
        let request = proto::AvailabilityRequest { job: Some(info.clone()), ..Default::default() };
        self.effects.push_back(Effect::Worker { worker, message: Message::Availability(request) });
        let answer_until = Some(now.instant + AVAILABILITY_PATIENCE);
        self.agents.jobs.insert(job_id, Job { room: id, info, dispatch, worker, refused_by, answer_until });
    }

    fn handle_availability(&mut self, id: WorkerId, response: proto::AvailabilityResponse, now: Now) {
        let Some(job) = self.agents.jobs.get_mut(&response.job_id) else { return };
        if job.worker != id || job.answer_until.is_none() {
            return;
        }
        if response.terminate {
            self.agents.jobs.remove(&response.job_id);
            return;
        }
        if !response.available {
            self.pass_over(&response.job_id, now);
            return;
        }
        job.answer_until = None;
        let Some(room) = self.rooms.get(&job.room) else { return };
        let worker = &self.agents.workers[&id];
        let identity = if response.participant_identity.is_empty() {
            format!("agent-{}", response.job_id)
        } else {
            response.participant_identity.clone()
        };
        let mut token = AccessToken::new(identity)
            .with_kind(ParticipantKind::Agent)
            .with_name(response.participant_name)
            .with_metadata(response.participant_metadata)
            .with_video(agent_grant(room.name(), worker.allowed.as_ref()))
            .with_ttl(AGENT_TOKEN_TTL);
        for (name, value) in response.participant_attributes {
            token = token.with_attribute(name, value);
        }
        if !job.dispatch.agent_name.is_empty() {
            token = token.with_attribute("lk.agent_name", job.dispatch.agent_name.clone());
        }
        let token = match self.keys.sign(&token, now.wall) {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(%error, "an agent whose token can't be signed");
                return;
            }
        };
        let event = Event::AgentDispatched { room: room.name().to_owned(), agent: job.dispatch.agent_name.clone() };
        let assignment = proto::JobAssignment { job: Some(job.info.clone()), url: None, token };
        self.effects.push_back(Effect::Worker { worker: id, message: Message::Assignment(assignment) });
        self.effects.push_back(Effect::Happened(event));
    }

    fn handle_job_update(&mut self, id: WorkerId, update: &proto::UpdateJobStatus) {
        let is_over = matches!(
            proto::JobStatus::try_from(update.status),
            Ok(proto::JobStatus::JsSuccess | proto::JobStatus::JsFailed)
        );
        if is_over && self.agents.jobs.get(&update.job_id).is_some_and(|job| job.worker == id) {
            self.agents.jobs.remove(&update.job_id);
        }
    }

    /// The next worker is asked, or else the demo agent comes; without either, the room waits for another worker.
    fn pass_over(&mut self, job: &str, now: Now) {
        let Some(mut job) = self.agents.jobs.remove(job) else { return };
        job.refused_by.insert(job.worker);
        if let Some(room) = self.rooms.get_mut(&job.room) {
            room.dispatches.push(Waiting { dispatch: job.dispatch, refused_by: job.refused_by });
            self.dispatch_agents(job.room, now);
        }
    }

    pub(super) fn handle_agents_timeout(&mut self, now: Now) {
        let late: Vec<_> = self
            .agents
            .jobs
            .iter()
            .filter(|(_, job)| job.answer_until.is_some_and(|until| until <= now.instant))
            .map(|(id, _)| id.clone())
            .collect();
        for job in late {
            self.pass_over(&job, now);
        }
    }

    /// A room ended: so do the jobs in it.
    pub(super) fn end_jobs_of(&mut self, room: RoomId) {
        let ended: Vec<_> = self
            .agents
            .jobs
            .iter()
            .filter(|(_, job)| job.room == room)
            .map(|(id, job)| (id.clone(), job.worker))
            .collect();
        for (job_id, worker) in ended {
            self.agents.jobs.remove(&job_id);
            let termination = proto::JobTermination { job_id };
            self.effects.push_back(Effect::Worker { worker, message: Message::Termination(termination) });
        }
    }
}

/// What an agent may do: what its worker asked for, or everything that a participant may.
fn agent_grant(room: &str, allowed: Option<&proto::ParticipantPermission>) -> VideoGrant {
    let mut grant = VideoGrant::join(room);
    grant.agent = true;
    grant.can_update_own_metadata = Some(true);
    if let Some(allowed) = allowed {
        grant.can_publish = Some(allowed.can_publish);
        grant.can_subscribe = Some(allowed.can_subscribe);
        grant.can_publish_data = Some(allowed.can_publish_data);
        grant.can_update_own_metadata = Some(allowed.can_update_metadata);
        grant.hidden = allowed.hidden;
        let sources = allowed.can_publish_sources.iter().filter_map(|source| source_of(*source));
        grant = grant.with_can_publish_sources(sources);
    }
    grant
}

fn source_of(source: i32) -> Option<TrackSource> {
    match proto::TrackSource::try_from(source).ok()? {
        proto::TrackSource::Camera => Some(TrackSource::Camera),
        proto::TrackSource::Microphone => Some(TrackSource::Microphone),
        proto::TrackSource::ScreenShare => Some(TrackSource::ScreenShare),
        proto::TrackSource::ScreenShareAudio => Some(TrackSource::ScreenShareAudio),
        proto::TrackSource::Unknown => None,
    }
}
