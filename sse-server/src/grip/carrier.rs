//! Carrying events from the hub to the proxies.
//!
//! A channel is carried from the moment a connection is held on it, or something is published to it
//! here, and as long as a proxy may hold somebody: each proxy has a place in the channel's log, and
//! goes on from there when it has taken what came before. So the order is kept, whatever has to be
//! tried again, and events of other instances and programs are carried too. Several instances may
//! carry the same event; a proxy takes the first.
//!
//! Events without an id are carried by the instance where they were published, and once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::{Grip, GripError, GripProxy, Item};
use crate::ServiceError;
use crate::hub::{Carried, Follower, Hub};
use crate::metrics::{Metrics, ProxyError};
use crate::seldom::Seldom;
use crate::storage::NewEvent;

/// How many requests to one proxy are under way.
const PARALLEL: usize = 16;

/// Most bytes of a request to publish; Pushpin takes 1,000,000 as it comes.
const MOST_BYTES: usize = 900_000;

/// How long a proxy may fail before it is given up: what it has missed by then, it asks for.
const GIVE_UP: Duration = Duration::from_secs(10);

/// The pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// How long a channel is carried that something was published to here, and nobody is known to read.
const UNREAD: Duration = Duration::from_mins(1);

/// How many channels are carried at most for connections that are held. A client that may open
/// streams names channels, and each takes some memory for minutes.
const MOST: usize = 250_000;

/// How many events without an id may wait for a proxy, and how often each is tried.
const QUEUE: usize = 1024;
const TRIES: usize = 3;

/// Carries events. Cloning gives another handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Carrier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    grip: Grip,
    lines: Vec<Arc<Line>>,
    carried: Mutex<HashMap<Arc<str>, Arc<Mutex<Until>>>>,
    most: usize,
}

/// How long a channel is carried.
#[derive(Debug)]
struct Until {
    time: Instant,
    is_over: bool,
}

/// What leads to one proxy.
#[derive(Debug)]
struct Line {
    proxy: GripProxy,
    slots: Semaphore,
    failing: Mutex<Option<Instant>>,
    /// The proxy was given up, and has not been told so yet.
    is_lost: watch::Sender<bool>,
    live: mpsc::Sender<Item>,
    refused: Seldom,
    metrics: Metrics,
}

impl Carrier {
    /// Carries what is published in this hub. Must be called in a Tokio runtime.
    pub(crate) fn start(hub: &Hub, grip: &Grip, metrics: &Metrics) -> Self {
        Self::start_for(MOST, hub, grip, metrics)
    }

    fn start_for(most: usize, hub: &Hub, grip: &Grip, metrics: &Metrics) -> Self {
        let lines = grip.proxies().iter().map(|proxy| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let line = Arc::new(Line {
                proxy: proxy.clone(),
                slots: Semaphore::new(PARALLEL),
                failing: Mutex::default(),
                is_lost: watch::Sender::new(false),
                live: sender,
                refused: Seldom::default(),
                metrics: metrics.clone(),
            });
            tokio::spawn(carry_live(line.clone(), queue));
            line
        });
        let lines = lines.collect();
        let (hub, grip) = (hub.clone(), grip.clone());
        let shared = Arc::new(Shared { hub, grip, lines, carried: Mutex::default(), most });
        let weak = Arc::downgrade(&shared);
        shared.hub.on_published(Box::new(move |events| {
            if let Some(shared) = weak.upgrade() {
                Self(shared).take(events);
            }
        }));
        Self(shared)
    }

    /// Carries these channels for as long as a hold may last that is given now, for so long until
    /// the proxy asks again, from an event on that is not later than the last one that can be read
    /// by now.
    pub(crate) async fn hold(
        &self,
        channels: &[Arc<str>],
        pace: Duration,
    ) -> Result<(), ServiceError> {
        let time = 3 * pace + UNREAD;
        for channel in channels.iter().filter(|channel| self.0.hub.is_lasting(channel)) {
            if self.is_full_for(channel) {
                let text = format!("{} channels are carried to proxies already", self.0.most);
                return Err(ServiceError::new("hold a stream", text));
            }
            self.carry(channel, None, time).await?;
        }
        Ok(())
    }

    fn is_full_for(&self, channel: &Arc<str>) -> bool {
        let carried = self.0.carried();
        carried.len() >= self.0.most && !carried.contains_key(channel)
    }

    /// Takes what was published here.
    fn take(&self, events: &[(&NewEvent, u64)]) {
        let mut firsts: HashMap<&Arc<str>, u64> = HashMap::new();
        for (event, id) in events {
            if *id > 0 {
                firsts.entry(&event.channel).or_insert(*id);
                continue;
            }
            let item = self.0.item(&event.channel, &Carried::live(event));
            for line in &self.0.lines {
                if line.live.try_send(item.clone()).is_err() {
                    line.has_missed(1);
                }
            }
        }
        firsts.retain(|channel, _| !self.0.carried().contains_key(*channel));
        for (channel, first) in firsts {
            let (this, channel) = (self.clone(), channel.clone());
            tokio::spawn(async move {
                if let Err(error) = this.carry(&channel, Some(first - 1), UNREAD).await {
                    warn!(%error, "proxies are not told of what is published");
                }
            });
        }
    }

    /// Carries a channel for so long, if it is not carried already from after this event.
    async fn carry(
        &self,
        channel: &Arc<str>,
        after: Option<u64>,
        time: Duration,
    ) -> Result<(), ServiceError> {
        let time = Instant::now() + time;
        let prolong = |carried: &HashMap<Arc<str>, Arc<Mutex<Until>>>| {
            let until = carried.get(channel);
            until.map(|until| {
                let mut until = lock(until);
                until.time = until.time.max(time);
            })
        };
        if prolong(&self.0.carried()).is_some() {
            return Ok(());
        }
        let mut followers = Vec::new();
        for line in &self.0.lines {
            followers.push((line.clone(), self.0.hub.follow(channel, after).await?));
        }
        let until = Arc::new(Mutex::new(Until { time, is_over: false }));
        {
            let mut carried = self.0.carried();
            // Somebody may have been quicker, and then from no later event: it was there before.
            if prolong(&carried).is_some() {
                return Ok(());
            }
            carried.insert(channel.clone(), until.clone());
        }
        for (line, follower) in followers {
            let (shared, channel) = (self.0.clone(), channel.clone());
            tokio::spawn(follow(shared, line, follower, channel, until.clone()));
        }
        Ok(())
    }
}

/// Carries a channel to one proxy.
async fn follow(
    shared: Arc<Shared>,
    line: Arc<Line>,
    mut follower: Follower,
    channel: Arc<str>,
    until: Arc<Mutex<Until>>,
) {
    loop {
        let time = lock(&until).time;
        let next = async {
            tokio::select! {
                // What is there when the hub is closed goes first.
                biased;
                events = follower.next() => Some(events),
                () = shared.hub.closed() => None,
            }
        };
        let Ok(events) = timeout_at(time, next).await else {
            if is_over(&shared, &channel, &until) {
                return;
            }
            continue;
        };
        // The server is ending.
        let Some(events) = events else { return };
        let items: Vec<Item> = events.iter().map(|event| shared.item(&channel, event)).collect();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let mut part = Vec::new();
            let mut size = 0;
            while let Some(item) =
                items.next_if(|item| part.is_empty() || size + item.size() <= MOST_BYTES)
            {
                size += item.size();
                part.push(item);
            }
            if !line.carry(&part, &mut follower).await {
                break;
            }
        }
    }
}

/// Whether a channel is carried no more. The first to find out takes note for all proxies.
fn is_over(shared: &Shared, channel: &str, until: &Mutex<Until>) -> bool {
    let mut carried = shared.carried();
    let mut until = lock(until);
    if !until.is_over && until.time <= Instant::now() {
        until.is_over = true;
        carried.remove(channel);
    }
    until.is_over
}

/// Carries events without an id to one proxy, in the order in which they were published.
async fn carry_live(line: Arc<Line>, mut items: mpsc::Receiver<Item>) {
    let mut part = Vec::new();
    while items.recv_many(&mut part, 100).await > 0 {
        let mut published = line.proxy.publish(&part).await;
        for _ in 1..TRIES {
            if !matches!(published, Err(GripError::Unreachable(..))) {
                break;
            }
            sleep(PAUSES[0]).await;
            published = line.proxy.publish(&part).await;
        }
        if published.is_err() {
            line.has_missed(part.len());
        }
        part.clear();
    }
}

impl Line {
    /// Publishes these, however often it takes. Whether that was done: otherwise the proxy was
    /// given up meanwhile, and the place is after what it will ask for.
    async fn carry(self: &Arc<Self>, items: &[Item], follower: &mut Follower) -> bool {
        let mut pause = PAUSES[0];
        loop {
            if *self.is_lost.borrow() {
                // Before the proxy asks: what comes after this place is carried to it.
                follower.skip();
                let mut is_lost = self.is_lost.subscribe();
                is_lost.wait_for(|is_lost| !is_lost).await.ok();
                return false;
            }
            let published = {
                let _slot = self.slots.acquire().await.expect("never closed");
                self.proxy.publish(items).await
            };
            match published {
                Ok(()) => {
                    *lock(&self.failing) = None;
                    return true;
                }
                Err(error @ GripError::Refused(..)) => {
                    self.metrics.proxy_error(ProxyError::Refused, items.len());
                    if let Some(times) = self.refused.happened() {
                        let at = follower.at();
                        warn!(%error, times, at, "connections ask for what is not carried");
                    }
                    return true;
                }
                Err(error) => self.has_failed(&error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Events without an id did not get there, for which nobody can ask.
    fn has_missed(&self, events: usize) {
        self.metrics.proxy_error(ProxyError::Missed, events);
        if let Some(times) = self.refused.happened() {
            let proxy = self.proxy.control();
            warn!(proxy, times, "a proxy does not get on; it misses events without an id");
        }
    }

    fn has_failed(self: &Arc<Self>, error: &GripError) {
        let mut failing = lock(&self.failing);
        let Some(since) = *failing else {
            *failing = Some(Instant::now());
            warn!(%error, "will be tried again");
            return;
        };
        if since.elapsed() < GIVE_UP || self.is_lost.send_replace(true) {
            return;
        }
        self.metrics.proxy_error(ProxyError::GivenUp, 1);
        warn!(%error, "the proxy will be asked to recover when it is there again");
        let line = self.clone();
        tokio::spawn(async move {
            while let Err(GripError::Unreachable(..)) = line.proxy.recover().await {
                sleep(PAUSES[1]).await;
            }
            info!(proxy = line.proxy.control(), "the proxy is there again");
            *lock(&line.failing) = None;
            line.is_lost.send_replace(false);
        });
    }
}

impl Shared {
    /// An event as an item.
    fn item(&self, channel: &str, event: &Carried) -> Item {
        let (head, tail) = event.parts();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let item = if event.id > 0 {
            // The filter that builds ids halves it again.
            let text = |bytes: &[u8]| text(bytes).replace('%', "%%");
            let content = [&*text(head), "id: %I\n", &*text(&tail)].concat();
            Item::stream(self.grip.events(channel), content)
                .content_filters(&["build-id"])
                .ids(&event.id.to_string(), &(event.id - 1).to_string())
        } else {
            let is_lasting = self.hub.is_lasting(channel);
            let to = if is_lasting { self.grip.live(channel) } else { self.grip.events(channel) };
            Item::stream(to, text(head) + &text(&tail))
        };
        if event.skip_users().is_empty() {
            return item;
        }
        item.meta("skip_users", skip_users(event.skip_users()))
    }

    fn carried(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Mutex<Until>>>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the filter has it: names with commas between, which none of them has itself.
fn skip_users(users: &[String]) -> String {
    let users: Vec<_> =
        users.iter().map(|user| sse_proto::encode_channel(user).to_string()).collect();
    users.join(",")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is done in between that could leave half of something.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn who_names_channels_after_channels_makes_the_server_carry_so_many_only() {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let grip = Grip::new(["http://127.0.0.1:9?verify-key=k".parse().expect("a GRIP_URL")]);
        let carrier = Carrier::start_for(2, &hub, &grip, &Metrics::default());
        let hold = async |name: &str| carrier.hold(&[name.into()], UNREAD).await;
        for name in ["a", "b", "a"] {
            hold(name).await.expect(name);
        }
        let refused = hold("c").await.expect_err("one too many").to_string();
        assert!(refused.contains("2 channels are carried"), "{refused}");
        hold("b").await.expect("it is carried");
    }
}
