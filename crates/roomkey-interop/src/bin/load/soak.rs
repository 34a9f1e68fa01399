//! Rooms whose clients come, talk, leave, vanish, break off and resume, and come twice; and the rules that hold all the time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use roomkey::BoxError;
use tokio::time::{sleep, sleep_until};

use crate::client::{Client, State};
use crate::clock;
use crate::heard::{Totals, read};
use crate::server::Server;

const ROOMS: u64 = 8;
const MOST: usize = 4;
const FEWEST: usize = 2;
const MINUTE: Duration = Duration::from_secs(60);
/// A vanished client is given up after 15 seconds, an empty room after 20; each is looked at every 5.
const DEPARTURE: Duration = Duration::from_secs(60);
/// How much the server's memory may grow after the first minute: 20 % and this, in kB.
const GROWTH: u64 = 4 * 1024;
const SHOWN: usize = 20;

pub(crate) async fn run(roomkey: &Path, minutes: u64, seed: u64) -> Result<(), BoxError> {
    let server = Arc::new(Server::start(roomkey).await?);
    let start = clock::now();
    let totals = Arc::new(Totals::new(start));
    let end = start + MINUTE * u32::try_from(minutes.max(1))?;
    let rooms: Vec<_> = (0..ROOMS)
        .map(|number| {
            let rng = Rng::with_seed(seed.wrapping_mul(ROOMS).wrapping_add(number));
            let room = Room {
                name: format!("soak-{number}"),
                server: Arc::clone(&server),
                totals: Arc::clone(&totals),
                rng,
                members: Vec::new(),
                joins: 0,
            };
            tokio::spawn(room.run(end))
        })
        .collect();
    println!("seed {seed}, RSS at the start: {} kB", server.rss()?);
    let (mut first, mut last) = (0, 0);
    for minute in 1..=minutes.max(1) {
        // A moment before the rooms wind up.
        let at = start + MINUTE * u32::try_from(minute)? - Duration::from_millis(500);
        sleep_until(at.into()).await;
        last = server.rss()?;
        if minute == 1 {
            first = last;
        }
        line(minute, &server, &totals, last);
    }
    for room in rooms {
        room.await?;
    }
    if !server.is_empty_within(DEPARTURE).await {
        totals.violation(format!("{} rooms are still there {DEPARTURE:?} after everybody left", server.rooms()));
    }
    let after = server.rss()?;
    let limit = first + first / 5 + GROWTH;
    println!("RSS after the first minute {first} kB, at the end {last} kB, after the rooms ended {after} kB");
    if last.max(after) > limit {
        totals.violation(format!("memory grew beyond {limit} kB"));
    }
    let violations = totals.violations();
    for violation in violations.iter().take(SHOWN) {
        println!("FAILED: {violation}");
    }
    println!("{} failed", violations.len());
    if violations.is_empty() { Ok(()) } else { Err(format!("seed {seed} broke rules").into()) }
}

fn line(minute: u64, server: &Server, totals: &Totals, rss: u64) {
    println!(
        "minute {minute}: {} joins, {} resumes, {} left, {} data sent, {} heard, {} audio packets heard, {} rooms, \
         {rss} kB, {} failed",
        server.events("participant_joined"),
        read(&totals.resumes),
        server.events("participant_left"),
        read(&totals.data_sent),
        read(&totals.data_heard),
        read(&totals.audio_heard),
        server.rooms(),
        totals.violations().len(),
    );
}

struct Room {
    name: String,
    server: Arc<Server>,
    totals: Arc<Totals>,
    rng: Rng,
    members: Vec<Member>,
    joins: u32,
}

struct Member {
    identity: String,
    client: Client,
    is_publisher: bool,
}

impl Room {
    async fn run(mut self, end: Instant) {
        while clock::now() < end {
            if let Err(error) = self.act().await {
                self.totals.violation(format!("{}: {error}", self.name));
            }
            self.look_after_members();
            sleep(Duration::from_millis(self.rng.u64(20..200))).await;
        }
        if let Err(error) = self.wind_up().await {
            self.totals.violation(format!("{}: {error}", self.name));
        }
    }

    async fn act(&mut self) -> Result<(), BoxError> {
        if self.members.len() < FEWEST {
            let identity = self.new_identity();
            return self.join(identity).await;
        }
        let at = self.rng.usize(0..self.members.len());
        match self.rng.u32(0..100) {
            0..5 if self.members.len() < MOST => {
                let identity = self.new_identity();
                self.join(identity).await
            }
            5..8 => self.members.swap_remove(at).client.leave().await,
            8..10 => {
                // Its sockets go without a word.
                drop(self.members.swap_remove(at));
                Ok(())
            }
            10..14 => {
                let member = &mut self.members[at];
                member.client.cut_websocket();
                // The cut is noticed before the resume is waited for.
                sleep(Duration::from_millis(20)).await;
                member.client.wait(|state| *state != State::Connecting).await
            }
            14..16 => self.join_twice(at).await,
            16..24 if !self.members[at].is_publisher => {
                self.members[at].is_publisher = true;
                self.members[at].client.publish(self.joins);
                Ok(())
            }
            _ => {
                for _ in 0..self.rng.u32(1..10) {
                    self.members[at].client.send_data();
                }
                Ok(())
            }
        }
    }

    fn new_identity(&self) -> String {
        format!("member-{}", self.joins)
    }

    async fn join(&mut self, identity: String) -> Result<(), BoxError> {
        self.joins += 1;
        let client = Client::join(&self.server, &self.name, &identity, &self.totals).await?;
        self.members.push(Member { identity, client, is_publisher: false });
        Ok(())
    }

    /// The one that was there is told to go.
    async fn join_twice(&mut self, at: usize) -> Result<(), BoxError> {
        let Member { identity, mut client, .. } = self.members.swap_remove(at);
        self.join(identity.clone()).await?;
        client.wait(|state| matches!(state, State::Over(_))).await?;
        let state = client.state();
        if state == State::Over("DUPLICATE_IDENTITY".to_owned()) {
            return Ok(());
        }
        Err(format!("{identity}, who came twice, is {state:?}").into())
    }

    /// Nobody is parted from who did not ask for it.
    fn look_after_members(&mut self) {
        let (name, totals) = (&self.name, &self.totals);
        self.members.retain(|member| match member.client.state() {
            State::Over(why) => {
                totals.violation(format!("{name}: {} was parted from: {why}", member.identity));
                false
            }
            State::Connecting | State::Connected => true,
        });
    }

    /// Each hears a last message of every other, and all leave.
    async fn wind_up(&mut self) -> Result<(), BoxError> {
        sleep(Duration::from_secs(2)).await;
        self.look_after_members();
        let before: Vec<_> = self.members.iter().map(|member| self.heard_by(member)).collect();
        for member in &self.members {
            member.client.send_data();
        }
        sleep(Duration::from_secs(2)).await;
        for (member, before) in self.members.iter().zip(before) {
            let after = self.heard_by(member);
            for ((sender, before), after) in self.members.iter().zip(before).zip(after) {
                if sender.client.sid != member.client.sid && after.is_none_or(|after| before == Some(after)) {
                    let (own, other) = (&member.identity, &sender.identity);
                    self.totals.violation(format!("{}: {own} did not get the last message of {other}", self.name));
                }
            }
        }
        for member in self.members.drain(..) {
            member.client.leave().await?;
        }
        Ok(())
    }

    /// The number of the last message that a member got of each.
    fn heard_by(&self, member: &Member) -> Vec<Option<u64>> {
        let heard = member.client.heard.lock().expect("no holder panics");
        self.members.iter().map(|sender| heard.last_data.get(&sender.client.sid).copied()).collect()
    }
}
