//! A database that fails in all the ways that databases do, as one hub sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use fastrand::Rng;
use sse_server::ServiceError;
use sse_server::storage::{Batch, NewEvent, Outcome, Storage, StoredEvent};
use tokio::time::sleep;

use crate::disk::{Disk, Stored, number_of};
use crate::plan::{Millis, Reader, What};
use crate::process::Process;
use crate::run::overlapping;
use crate::world::{World, pause};

/// When simulations begin, in seconds from 1970.
const BEGINNING: u64 = 1_800_000_000;

/// How many times in a row one event may be asked for, where more are there, by all and by each
/// reader of a channel: after a large event pages are small, and grow, for each reader by itself,
/// who may have resumed.
const ONE_BY_ONE: usize = 6;
const ONE_BY_ONE_EACH: usize = 2;

/// An event that may make pages small, in bytes.
const LARGE: usize = 20_000;

/// How long a storage's short pages may keep what is asked for small.
const SHORT: Millis = 10_000;

/// How long an operation waits for another program.
const LOCK_TIMEOUT: Duration = Duration::from_millis(700);

pub struct SimStorage {
    world: Arc<World>,
    disk: Arc<Mutex<Disk>>,
    process: Arc<Process>,
    random: Mutex<Rng>,
    /// What the server has that its connections lead to, if that is the old one.
    old: Mutex<Option<Vec<Stored>>>,
    /// By channel and position, how many times in a row one event was asked for until there.
    in_a_row: Mutex<BTreeMap<(usize, u64), usize>>,
}

impl SimStorage {
    pub fn new(world: &Arc<World>, disk: &Arc<Mutex<Disk>>, process: &Arc<Process>) -> Self {
        let random = Mutex::new(world.random("storage", process.number()));
        let (world, disk, process) = (world.clone(), disk.clone(), process.clone());
        Self { world, disk, process, random, old: Mutex::default(), in_a_row: Mutex::default() }
    }

    /// From now on its connections lead to a server that is left behind.
    pub fn fail_over(&self) {
        let copy = self.disk().copy();
        *self.old() = Some(copy);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn old(&self) -> MutexGuard<'_, Option<Vec<Stored>>> {
        self.old.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self, of: u8) -> bool {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).u8(0..of) == 0
    }

    /// The way there, or back.
    async fn travel(&self) -> Result<(), ServiceError> {
        let most = if self.world.is(&What::StorageSlow) { 2_500 } else { 15 };
        pause(&self.random, most).await;
        self.process.lives().await;
        let hub = self.process.hub;
        let is_down =
            self.world.is(&What::StorageDown(None)) || self.world.is(&What::StorageDown(Some(hub)));
        if is_down {
            if self.chance(3) {
                // It hangs, until it is given up.
                sleep(Duration::from_secs(4)).await;
                self.process.lives().await;
            }
            return Err(ServiceError::new("reach the storage", "connection refused"));
        }
        Ok(())
    }

    /// Changes what is stored. The answer may get lost.
    async fn change<T>(
        &self,
        work: impl FnOnce(&mut Disk, Millis) -> T + Send,
    ) -> Result<T, ServiceError> {
        self.travel().await?;
        let is_lost = self.world.is(&What::AnswersLost);
        if is_lost && self.chance(4) {
            return Err(ServiceError::new("append", "the connection was lost before"));
        }
        if self.world.is(&What::StorageFull) {
            return Err(ServiceError::new("append", "the disk is full"));
        }
        if self.old().take().is_some() {
            // As drivers do: the next operation is on a new connection.
            return Err(ServiceError::new("append", "this server is read-only"));
        }
        let done = work(&mut self.disk(), self.world.now());
        self.process.stored.notify_waiters();
        if is_lost && self.chance(3) {
            return Err(ServiceError::new("append", "the connection was lost after"));
        }
        self.travel().await?;
        Ok(done)
    }

    /// Reads what is stored, at one moment.
    async fn look<T>(&self, work: impl FnOnce(&[&Stored]) -> T + Send) -> Result<T, ServiceError> {
        self.travel().await?;
        let seen = {
            let old = self.old();
            if let Some(old) = &*old {
                work(&old.iter().collect::<Vec<_>>())
            } else {
                let disk = self.disk();
                work(&disk.channels.iter().map(|channel| &channel.stored).collect::<Vec<_>>())
            }
        };
        if self.world.is(&What::AnswersLost) && self.chance(4) {
            return Err(ServiceError::new("read", "the connection was lost"));
        }
        self.travel().await?;
        Ok(seen)
    }

    /// Takes note of a page that was read after a position. History is not read one by one.
    fn see_page(&self, channel: usize, after: u64, limit: usize, events: &[StoredEvent]) {
        let mut in_a_row = self.in_a_row.lock().unwrap_or_else(PoisonError::into_inner);
        let before = in_a_row.remove(&(channel, after)).unwrap_or_default();
        let [event] = events else { return };
        let since = self.world.now().saturating_sub(SHORT);
        let is_short = overlapping(&self.world, since).any(|what| *what == What::ShortPages);
        if limit > 1 || event.id != after + 1 || event.data.len() > LARGE || is_short {
            return;
        }
        let is_read_by = |reader: &&Reader| reader.channels.contains(&channel);
        let readers = self.world.plan.readers.iter().filter(is_read_by).count();
        if before >= ONE_BY_ONE.max(readers * ONE_BY_ONE_EACH) {
            let hub = self.process.hub;
            let text = format!("hub {hub} asks for one event after {after} of c{channel}, again");
            self.world.violated("history is read in pages", text);
        }
        in_a_row.insert((channel, event.id), before + 1);
    }

    fn is_held(&self, events: &[NewEvent]) -> bool {
        events.iter().any(|event| self.world.is(&What::Held(number_of(&event.channel))))
    }

    /// Waits for another program, if that stands in the way.
    async fn wait_for_locks(&self, events: &[NewEvent]) -> Result<(), ServiceError> {
        if self.is_held(events) {
            sleep(LOCK_TIMEOUT).await;
            self.process.lives().await;
            if self.is_held(events) {
                return Err(ServiceError::new("append", "lock timeout").held());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for SimStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        self.wait_for_locks(events).await?;
        self.change(|disk, now| disk.append(events, now)).await
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        for batch in batches {
            self.wait_for_locks(batch.events).await?;
        }
        let once = |disk: &mut Disk, now| {
            batches.iter().map(|batch| disk.append_once(batch, now)).collect()
        };
        self.change(once).await
    }

    async fn append_free(
        &self,
        batches: &[Batch<'_>],
    ) -> Result<Vec<Option<Outcome>>, ServiceError> {
        let free: Vec<bool> = batches.iter().map(|batch| !self.is_held(batch.events)).collect();
        let once = |disk: &mut Disk, now| {
            let all = batches.iter().zip(free);
            all.map(|(batch, is_free)| is_free.then(|| disk.append_once(batch, now))).collect()
        };
        self.change(once).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        if channel.is_empty() {
            return self.look(|_| 0).await;
        }
        self.look(|channels| channels[number_of(channel)].head).await
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let numbers: Vec<usize> = channels.iter().map(|name| number_of(name)).collect();
        self.look(|all| numbers.into_iter().map(|number| all[number].head).collect()).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let is_short = self.world.is(&What::ShortPages);
        let limit = if is_short { limit.min(1 + usize::from(self.chance(2))) } else { limit };
        let number = number_of(channel);
        let events = self.look(|channels| channels[number].read(after, limit)).await?;
        self.see_page(number, after, limit, &events);
        Ok(events)
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let beginning = SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING);
        let before = before.duration_since(beginning).unwrap_or_default().as_millis();
        let before = Millis::try_from(before).expect("runs are short");
        let age = Millis::try_from(self.world.plan.age.as_millis()).expect("runs are short");
        if before > self.world.now().saturating_sub(age) {
            let text = "events were removed before their time".to_owned();
            self.world.violated("what is stored is kept as long as is set", text);
        }
        self.change(|disk, now| disk.trim(before, limit, now)).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        self.change(|disk, now| disk.shorten(keep, limit, now)).await
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        self.change(|_, _| ()).await
    }

    async fn has_moved(&self) -> Result<bool, ServiceError> {
        self.travel().await?;
        Ok(self.old().take().is_some())
    }

    fn is_late(&self) -> bool {
        self.world.plan.is_late
    }

    async fn begins(&self, channel: &str) -> Result<u64, ServiceError> {
        self.look(|channels| channels[number_of(channel)].base).await
    }
}
