//! One server of several: a hub, who may read, the routes, and what it is made of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use sse_server::access::{Access, Reloadable};
use sse_server::http::{self, HttpConfig};
use sse_server::hub::{Hub, HubConfig};
use sse_server::simulation::Stand;
use sse_server::storage::{Retention, keep_trimmed};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::oracle::{HUNG, Oracle, PROMPT};
use crate::plan::{Class, Millis};
use crate::process::Process;
use crate::publisher::last_words;
use crate::relay::{Bus, SimRelay};
use crate::rules::Rules;
use crate::storage::SimStorage;

/// The token with which one publishes.
pub const TOKEN: &str = "simulated-token-of-32-characters";

/// How often it is asked whether it is ready.
const PROBE: Duration = Duration::from_secs(4);

const BACKEND: &[Class] = &[Class::Backend];

const BOUNDED: &str = "what is in memory is bounded, in bytes and in time";

/// What may be in memory beyond the bound: what has come in the moment in which it was kept.
const AT_ONCE: usize = 256 << 10;

/// How long is waited for an append.
const APPEND: Duration = Duration::from_secs(3);

/// All instances, by number.
pub struct Instances {
    pub oracle: Arc<Oracle>,
    pub bus: Arc<Mutex<Bus>>,
    all: Mutex<Vec<Slot>>,
}

#[derive(Default)]
struct Slot {
    running: Option<Arc<Instance>>,
    generations: usize,
    /// When the last one began.
    began: Millis,
}

pub struct Instance {
    pub process: Arc<Process>,
    pub hub: Hub,
    pub access: Access,
    rules: Arc<Reloadable>,
    router: Router,
    pub stand: Stand,
    pub storage: Arc<SimStorage>,
}

impl Instances {
    pub fn start(oracle: &Arc<Oracle>) -> Arc<Self> {
        let hubs = oracle.world.plan.hubs;
        let bus = Arc::new(Mutex::new(Bus::new(hubs)));
        let all = Mutex::new((0..hubs).map(|_| Slot::default()).collect());
        let this = Arc::new(Self { oracle: oracle.clone(), bus, all });
        (0..hubs).for_each(|hub| this.begin(hub));
        this
    }

    fn all(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the next process of a hub.
    pub fn begin(self: &Arc<Self>, hub: usize) {
        let world = &self.oracle.world;
        let generation = {
            let slot = &mut self.all()[hub];
            slot.generations += 1;
            slot.began = world.now();
            slot.generations
        };
        let process = Arc::new(Process::new(hub, generation));
        let instance = Arc::new(self.build(&process));
        self.all()[hub].running = Some(instance.clone());
        let retention = Retention::default().age(world.plan.age);
        let retention = world.plan.keep.map_or(retention, |keep| retention.events(keep));
        tokio::spawn(keep_trimmed(instance.storage.clone(), retention));
        if world.plan.are_probed {
            tokio::spawn(probe(self.oracle.clone(), Arc::downgrade(&instance)));
        }
        world.say(format_args!("hub {hub} starts"));
    }

    fn build(self: &Arc<Self>, process: &Arc<Process>) -> Instance {
        let (oracle, world) = (&self.oracle, &self.oracle.world);
        let storage = Arc::new(SimStorage::new(world, &oracle.disk, process));
        let mut config = HubConfig::default().refresh(world.plan.refresh).memory(world.plan.memory);
        if world.plan.has_relay {
            let (all, hub) = (Arc::downgrade(self), process.hub);
            let on_connected = move || {
                if let Some(all) = all.upgrade() {
                    all.expect_after_connection(hub);
                }
            };
            let relay = SimRelay::new(world, &self.bus, process, on_connected);
            config = config.relay(Arc::new(relay));
        }
        let hub = Hub::with_config(storage.clone(), config);
        let rules = Arc::new(Reloadable::new(Some(Arc::new(Rules::new(oracle, process)))));
        let access = Access::new(rules.clone(), &hub);
        let http = HttpConfig::new(TOKEN).access(access.clone());
        let router = http::router(hub.clone(), http);
        let stand = Stand::new(&hub);
        Instance { process: process.clone(), hub, access, rules, router, stand, storage }
    }

    /// The relay has brought everything that it has missed, a while after it is connected.
    fn expect_after_connection(&self, hub: usize) {
        let oracle = self.oracle.clone();
        let since = oracle.world.now();
        tokio::spawn(async move {
            oracle.world.until(since + PROMPT).await;
            let classes = [Class::Instance, Class::Relay];
            let has_hung = !oracle.world.is_quiet_since(since.saturating_sub(HUNG), BACKEND);
            if !has_hung && oracle.world.is_quiet_since(since.saturating_sub(20), &classes) {
                oracle.expect_shown_out(hub, since);
            }
            oracle.world.until(since + oracle.prompt()).await;
            let classes = [Class::Storage, Class::Instance];
            let has_hung = !oracle.world.is_quiet_since(since.saturating_sub(HUNG), BACKEND);
            if !has_hung && oracle.world.is_quiet_since(since.saturating_sub(2_000), &classes) {
                for channel in 0..oracle.world.plan.channels {
                    oracle.expect(Some(hub), channel, u64::MAX, since);
                }
            }
        });
    }

    /// A hub that takes requests; this one, if it does.
    pub fn one(&self, wanted: usize) -> Option<Arc<Instance>> {
        let all = self.all();
        let mut next = all.iter().cycle().skip(wanted % all.len()).take(all.len());
        next.find_map(|slot| slot.running.clone())
    }

    pub fn get(&self, hub: usize) -> Option<Arc<Instance>> {
        self.all()[hub].running.clone()
    }

    pub fn running(&self) -> Vec<Arc<Instance>> {
        self.all().iter().filter_map(|slot| slot.running.clone()).collect()
    }

    /// For each hub whether it has been there since then.
    pub fn are_there_since(&self, since: Millis) -> bool {
        self.all()
            .iter()
            .all(|slot| slot.running.is_some() && (slot.began == 0 || slot.began < since))
    }

    /// Kills a process when it has just stored something, and nobody knows yet; or after a while.
    pub async fn kill_within_append(&self, hub: usize) {
        let Some(running) = self.get(hub) else { return };
        timeout(APPEND, running.process.stored.notified()).await.ok();
        self.kill(hub);
    }

    /// Kills a process. Nothing of it gets on, and its connections are cut.
    pub fn kill(&self, hub: usize) {
        let running = self.all()[hub].running.take();
        if let Some(running) = running {
            running.process.kill();
        }
    }

    /// Shuts a process down: streams end, requests are answered.
    pub async fn drain(&self, hub: usize) {
        let running = self.all()[hub].running.take();
        let Some(running) = running else { return };
        let oracle = &self.oracle;
        last_words(oracle, &running).await;
        oracle.closes(hub);
        running.hub.close();
        let since = oracle.world.now();
        running.access.close().await;
        sleep(Duration::from_millis(PROMPT)).await;
        if let Some(reader) = oracle.is_reading_from(hub, since) {
            let text = format!("reader {reader} still reads from hub {hub}, which was closed");
            oracle.world.violated("nobody waits for ever", text);
        }
        running.process.kill();
    }

    /// Long after the last event none is in memory.
    pub fn finish(&self) {
        let world = &self.oracle.world;
        // The last event may have come late: where heads are compared seldom, or numbers that stay
        // without events hold up what comes after them.
        if world.plan.is_late || world.plan.refresh > Duration::from_secs(5) {
            return;
        }
        for instance in self.running() {
            let (hub, bytes) = (instance.process.hub, instance.hub.memory());
            if bytes > 0 {
                let text = format!("hub {hub} still keeps {bytes} bytes of events");
                world.violated(BOUNDED, text);
            }
        }
    }

    /// Gives a hub other rules, which are the same.
    pub async fn reload(&self, hub: usize) {
        let Some(instance) = self.get(hub) else { return };
        instance.rules.replace(Some(Arc::new(Rules::new(&self.oracle, &instance.process))));
        instance.access.check_all().await;
    }
}

impl Instance {
    /// Asks over HTTP. None: the process has died.
    pub async fn ask(&self, request: Request<Body>) -> Option<Response<Body>> {
        if self.process.is_dead() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.process.died.notified() => None,
            response = self.router.clone().oneshot(request) => response.ok(),
        }
    }
}

/// Asks now and then whether it is ready, and compares that with what is wrong.
async fn probe(oracle: Arc<Oracle>, instance: std::sync::Weak<Instance>) {
    let world = &oracle.world;
    loop {
        sleep(PROBE).await;
        let Some(instance) = instance.upgrade() else { return };
        if instance.process.is_dead() {
            return;
        }
        let asked = world.now();
        let ready = timeout(Duration::from_secs(20), instance.hub.check()).await;
        if instance.process.is_dead() {
            return;
        }
        let hub = instance.process.hub;
        let is_quiet = world.is_quiet_since(asked.saturating_sub(15_000), &[Class::Storage]);
        match ready {
            Err(_) => {
                let text = format!("hub {hub} does not say whether it is ready");
                world.violated("nobody waits for ever", text);
            }
            Ok(Err(why)) if is_quiet && !instance.hub.is_closed() => {
                let text = format!("hub {hub} says that it is not ready: {why}");
                world.violated("a hub says that it is ready if it is", text);
            }
            Ok(Ok(())) if crate::run::is_full_since(world, asked.saturating_sub(14_000)) => {
                let text = format!("hub {hub} says that it is ready, and nothing can be stored");
                world.violated("a hub says that it is ready if it is", text);
            }
            _ => {}
        }
        let bytes = instance.hub.memory();
        if bytes > world.plan.memory + AT_ONCE {
            let text = format!("hub {hub} keeps {bytes} bytes of events");
            world.violated(BOUNDED, text);
        }
    }
}
