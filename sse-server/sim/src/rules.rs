//! A backend that says who may read what, and a manager that asks it and remembers for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use sse_server::access::{AccessError, AccessRequest, ChannelManager, Principal};
use tokio::time::{Instant, sleep};

use crate::disk::number_of;
use crate::oracle::Oracle;
use crate::plan::{PATIENCE, RECHECK, What};
use crate::process::Process;
use crate::world::pause;

/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);

pub struct Rules {
    oracle: Arc<Oracle>,
    process: Arc<Process>,
    random: Mutex<Rng>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    allowed: BTreeMap<(String, String), Instant>,
    /// How often something was forgotten: an answer from before is not kept.
    changes: u64,
}

impl Rules {
    pub fn new(oracle: &Arc<Oracle>, process: &Arc<Process>) -> Self {
        let random = Mutex::new(oracle.world.random("rules", process.number()));
        let (oracle, process) = (oracle.clone(), process.clone());
        Self { oracle, process, random, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, user: &str, channel: &str) -> Result<bool, AccessError> {
        let world = &self.oracle.world;
        let way = || if world.is(&What::BackendSlow) { 2_000 } else { 10 };
        pause(&self.random, way()).await;
        self.process.lives().await;
        if world.is(&What::BackendDown) {
            let hangs = self.random.lock().unwrap_or_else(PoisonError::into_inner).u8(0..4) == 0;
            if hangs {
                sleep(Duration::from_secs(15)).await;
            }
            return Err(AccessError::Unavailable("the backend is away".to_owned()));
        }
        let user = user.strip_prefix('u').and_then(|user| user.parse().ok()).unwrap_or_default();
        let may = self.oracle.may_read(user, number_of(channel));
        // It may not be so any more when the answer comes.
        pause(&self.random, way()).await;
        self.process.lives().await;
        Ok(may)
    }
}

#[async_trait]
impl ChannelManager for Rules {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
        Ok(user.map_or_else(Principal::anonymous, Principal::user))
    }

    async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
        let user = principal.name().unwrap_or_default();
        let question = (user.to_owned(), channel.to_owned());
        let changes = {
            let memory = self.memory();
            if memory.allowed.get(&question).is_some_and(|at| at.elapsed() < REMEMBERED) {
                return Ok(true);
            }
            memory.changes
        };
        let may = self.ask(user, channel).await?;
        let mut memory = self.memory();
        if may && memory.changes == changes {
            memory.allowed.insert(question, Instant::now());
        }
        Ok(may)
    }

    async fn permission_changed(&self, user: Option<&str>, channel: &str) {
        let mut memory = self.memory();
        memory.changes += 1;
        memory.allowed.remove(&(user.unwrap_or_default().to_owned(), channel.to_owned()));
    }

    async fn changes_missed(&self) {
        let mut memory = self.memory();
        memory.changes += 1;
        memory.allowed.clear();
    }

    fn recheck(&self) -> Option<Duration> {
        Some(RECHECK)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
