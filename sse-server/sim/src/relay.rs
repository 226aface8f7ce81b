//! A broker that loses, delays, repeats and mixes up what it carries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use sse_server::ServiceError;
use sse_server::relay::{Message, News, Relay};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::plan::What;
use crate::process::Process;
use crate::world::{World, pause};

/// Who listens, by hub.
#[derive(Default)]
pub struct Bus {
    ears: Vec<Option<Ear>>,
    connections: u64,
}

#[derive(Clone)]
struct Ear {
    news: mpsc::Sender<News>,
    connection: u64,
    /// When the last message arrives that is under way: order is kept.
    last: Instant,
}

impl Bus {
    pub fn new(hubs: usize) -> Self {
        Self { ears: vec![None; hubs], connections: 0 }
    }

    /// Ends a connection, and not that of the hub's next process, which may be there already.
    fn hang_up(&mut self, hub: usize, connection: u64) {
        self.ears[hub].take_if(|ear| ear.connection == connection);
    }
}

pub struct SimRelay {
    world: Arc<World>,
    bus: Arc<Mutex<Bus>>,
    process: Arc<Process>,
    random: Mutex<Rng>,
    on_connected: Box<dyn Fn() + Send + Sync>,
}

impl SimRelay {
    pub fn new(
        world: &Arc<World>,
        bus: &Arc<Mutex<Bus>>,
        process: &Arc<Process>,
        on_connected: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let random = Mutex::new(world.random("relay", process.number()));
        let (world, bus, process) = (world.clone(), bus.clone(), process.clone());
        Self { world, bus, process, random, on_connected: Box::new(on_connected) }
    }

    fn is_cut(&self) -> bool {
        self.world.is(&What::RelayCut(self.process.hub))
    }

    /// Carries something to all who listen, as far as it comes.
    async fn send_all(&self, news: &[News], to_itself: bool) -> Result<(), ServiceError> {
        self.process.lives().await;
        pause(&self.random, 3).await;
        self.process.lives().await;
        if self.is_cut() {
            return Err(ServiceError::new("send", "the relay is away"));
        }
        if self.world.is(&What::RelayBlocked(self.process.hub)) {
            return Ok(());
        }
        for hub in 0..self.world.plan.hubs {
            if hub == self.process.hub && !to_itself {
                continue;
            }
            for news in news {
                carry(&self.world, &self.bus, &self.random, hub, news);
            }
        }
        Ok(())
    }
}

/// Carries something to one hub.
pub fn carry(
    world: &Arc<World>,
    bus: &Arc<Mutex<Bus>>,
    random: &Mutex<Rng>,
    hub: usize,
    news: &News,
) {
    let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
    if world.is(&What::HintsLost) && random.u8(0..3) > 0 {
        return;
    }
    let copies = if world.is(&What::HintsTwice) { 2 } else { 1 };
    for _ in 0..copies {
        let is_late = world.is(&What::HintsLate);
        let time = Duration::from_millis(random.u64(1..=if is_late { 4_000 } else { 5 }));
        let mut state = lock(bus);
        let Some(ear) = &mut state.ears[hub] else { return };
        let mut at = Instant::now() + time;
        if !is_late {
            at = at.max(ear.last + Duration::from_millis(1));
            ear.last = at;
        }
        let (world, ear) = (world.clone(), ear.clone());
        let (news, bus) = (news.clone(), bus.clone());
        tokio::spawn(async move {
            sleep_until(at).await;
            let is_there =
                lock(&bus).ears[hub].as_ref().is_some_and(|now| now.connection == ear.connection);
            if is_there {
                world.unstored.brought(hub, &news, world.now());
                ear.news.send(news).await.ok();
            }
        });
    }
}

fn lock(bus: &Mutex<Bus>) -> MutexGuard<'_, Bus> {
    bus.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Relay for SimRelay {
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
        let news: Vec<News> = messages.iter().cloned().map(News::Message).collect();
        self.send_all(&news, false).await
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        self.send_all(&[News::Notice(notice.to_owned())], self.echoes()).await
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let hub = self.process.hub;
        loop {
            let changed = self.world.changed.notified();
            if self.is_cut() {
                changed.await;
                continue;
            }
            pause(&self.random, 300).await;
            self.process.lives().await;
            if self.is_cut() {
                continue;
            }
            let connection = {
                let mut bus = lock(&self.bus);
                bus.connections += 1;
                let (news, connection) = (news.clone(), bus.connections);
                bus.ears[hub] = Some(Ear { news, connection, last: Instant::now() });
                connection
            };
            (self.on_connected)();
            if news.send(News::Connected).await.is_err() {
                return;
            }
            while !self.is_cut() {
                tokio::select! {
                biased;
                        () = self.world.changed.notified() => {}
                        () = news.closed() => return,
                        () = self.process.died.notified() => {
                            lock(&self.bus).hang_up(hub, connection);
                            return self.process.lives().await;
                        }
                    }
            }
            lock(&self.bus).hang_up(hub, connection);
            // It takes a while until that is noticed.
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn echoes(&self) -> bool {
        self.world.plan.echoes
    }
}
