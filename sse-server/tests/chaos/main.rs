//! The proof for many instances: three of them, as processes, on one PostgreSQL and with a relay
//! between them, under load; and every round something is killed. Readers, who use the real client,
//! are led to any of them and cut off again and again.
//!
//! What must hold is said in [`traffic`]; in particular nobody is told to reset. At the end of each
//! round the publishers pause, and all readers have to get all there is. Half a minute after the
//! last cause has ended at the latest, every instance publishes again.
//!
//! `SSE_ROUNDS` sets how many rounds (default 7, one for each kind of fault) and `SSE_SEED` the
//! random choices; `cargo xtask proof --instances --rounds 100 --seed 7` is the comfortable way.
//! Moments are those of the operating system, so the same seed makes the same choices, not the same
//! run.

mod door;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use door::Door;
use fastrand::Rng;
use sse_client::reqwest;
use testkit::{server, services, traffic};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use traffic::{CHANNELS, Payload, Record};
use world::{Fault, INSTANCES, Relay, World};

/// For each instance.
const PUBLISHERS: usize = 2;
const READERS: usize = 12;

/// How long after the end of its cause no publishing may fail any more.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// How long publishers may wait for answers.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);

/// How long readers wait for an answer of the proxy: what it gets while it starts, it may never
/// answer.
const PROXY_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_told_by_redis_lose_and_repeat_nothing() {
    prove(Relay::Redis, false).await;
}

/// Readers are behind a Pushpin, and a Django site publishes as well; both are killed too.
#[tokio::test(flavor = "multi_thread")]
async fn three_instances_behind_pushpin_lose_and_repeat_nothing() {
    prove(Relay::Redis, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_told_by_postgres_lose_and_repeat_nothing() {
    prove(Relay::Postgres, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_told_by_rabbitmq_lose_and_repeat_nothing() {
    prove(Relay::Amqp, false).await;
}

async fn prove(relay: Relay, proxied: bool) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let rounds: u64 = number("SSE_ROUNDS").unwrap_or(7);
    let seed = number("SSE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let place = if proxied { " behind Pushpin" } else { "" };
    let again = format!("{relay:?}{place}, SSE_SEED={seed} SSE_ROUNDS={rounds}");
    println!("{again}");
    let record = Arc::new(Record::new(again.clone()));
    let mut random = Rng::with_seed(seed);
    let Some(world) = World::start(relay, proxied, record.clone()).await else { return };
    let mut site = Site::open(world, record.clone(), &mut random).await;
    let mut faults = Vec::new();
    for round in 1..=rounds {
        record.begin_round(round);
        if faults.is_empty() {
            faults = relay.faults(proxied, &mut random);
        }
        let mut struck = vec![faults.pop().expect("just filled")];
        if random.u8(..3) == 0 {
            // Something else at the same time.
            let all = relay.faults(proxied, &mut random);
            struck.extend(all.into_iter().find(|fault| !fault.is_of(struck[0])));
        }
        site.round(&struck, &mut random).await;
        if round % 10 == 0 {
            println!("{again}: {round} rounds");
        }
    }
    site.end(&mut random).await;
    record.check();
}

/// Instances with everybody who uses them.
struct Site {
    world: World,
    record: Arc<Record>,
    doors: Vec<Door>,
    readers: Vec<JoinHandle<()>>,
    publishers: Vec<JoinHandle<()>>,
    http: reqwest::Client,
}

impl Site {
    async fn open(world: World, record: Arc<Record>, random: &mut Rng) -> Self {
        let (doors, readers, publishers) = (Vec::new(), Vec::new(), Vec::new());
        let http = reqwest::Client::new();
        let mut this = Self { world, record, doors, readers, publishers, http };
        this.add_readers(READERS, None, random).await;
        let instances = this.world.instances.iter().cycle().take(INSTANCES * PUBLISHERS);
        let urls = instances.map(|instance| instance.url("/publish/"));
        let django = this.world.django.iter().map(|django| format!("{}/publish/", django.url));
        for (number, url) in urls.chain(django).enumerate() {
            let publisher = traffic::publisher(number, url, this.record.clone(), random.fork());
            this.publishers.push(tokio::spawn(publisher));
        }
        this
    }

    /// Adds readers and waits until they know their positions.
    async fn add_readers(&mut self, count: usize, from: Option<u64>, random: &mut Rng) {
        let (is_placed, mut all_placed) = tokio::sync::mpsc::channel(1);
        for _ in 0..count {
            let channels = traffic::channels_of(self.readers.len(), random);
            let number = self.record.add_reader(&channels);
            let addresses = self.world.addresses();
            let door = Door::open(number, addresses, self.record.clone(), random.fork()).await;
            let from = from.map(|from| {
                let cursor = channels.iter().map(|&channel| (channel, from));
                cursor.collect::<sse_proto::Cursor<'_>>().to_string()
            });
            let mut source = traffic::builder(&door.address.to_string(), &channels, from);
            if self.world.pushpin.is_some() {
                source = source.session(|config| config.response_timeout(PROXY_ANSWERS_WITHIN));
            }
            self.doors.push(door);
            let source = source.build().expect("a client");
            let reader = traffic::reader(source, number, self.record.clone(), is_placed.clone());
            self.readers.push(tokio::spawn(reader));
        }
        drop(is_placed);
        timeout(server::DEADLINE, all_placed.recv()).await.expect("all know their positions");
    }

    async fn round(&mut self, faults: &[Fault], random: &mut Rng) {
        pause(random, 400).await;
        for &fault in faults {
            self.cut_some(random);
            self.world.strike(fault).await;
            pause(random, 100).await;
        }
        if random.bool() {
            self.publish_quietly(random.usize(..INSTANCES), random).await;
        }
        pause(random, 400).await;
        self.cut_some(random);
        // Instances last: they do not start without the others.
        let (instances, services): (Vec<Fault>, Vec<Fault>) =
            faults.iter().partition(|fault| matches!(fault, Fault::Instance(_) | Fault::Django));
        for fault in services.into_iter().chain(instances) {
            self.world.mend(fault).await;
            if random.bool() {
                self.publish_quietly(random.usize(..INSTANCES), random).await;
            }
        }
        let mended = Instant::now();
        pause(random, 300).await;
        self.cut_some(random);
        pause(random, 300).await;
        self.publishes_again(mended, random).await;
        self.catch_up().await;
    }

    /// Waits until every instance publishes.
    async fn publishes_again(&self, mended: Instant, random: &mut Rng) {
        for number in 0..INSTANCES {
            while !self.publish_quietly(number, random).await {
                if mended.elapsed() > BACK_WITHIN {
                    let text = format!("instance {number} does not publish again");
                    self.record.fail("", &text);
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Has the publishers pause, and waits until all readers have got everything.
    async fn catch_up(&self) {
        let paused = timeout(ANSWERED_WITHIN, self.record.traffic.write()).await;
        let Ok(_paused) = paused else {
            self.world.say_where().await;
            self.record.fail("", "a publisher waits for ever")
        };
        self.record.note("publishers pause".to_owned());
        self.record.reach(&self.readers, async || self.world.ends().await).await;
        self.record.still_running(&self.publishers);
        self.record.note("all have got everything".to_owned());
    }

    /// Publishes to the quiet channel, where nothing else would draw attention to a missed event.
    /// Whether it was acknowledged at once.
    async fn publish_quietly(&self, instance: usize, random: &mut Rng) -> bool {
        let url = self.world.instances[instance].url("/publish/");
        let channel = CHANNELS.last().expect("there are some");
        let mark = format!("quiet {}", random.u64(..));
        let payload = Payload { channel: (*channel).to_owned(), mark };
        let (http, record) = (self.http.clone(), self.record.clone());
        let published =
            tokio::spawn(
                async move { traffic::publish(&http, &url, &record, vec![payload]).await },
            );
        // Before anything is mended, if possible. Without a database the refusal takes longer.
        let answered = timeout(Duration::from_millis(500), published).await;
        answered.is_ok_and(|published| published.expect("no panic"))
    }

    fn cut_some(&self, random: &mut Rng) {
        for (number, door) in self.doors.iter().enumerate() {
            if random.u8(..4) == 0 {
                self.record.note(format!("reader {number} is cut off"));
                door.cut();
            }
        }
    }

    /// Some more readers, who begin with the first events, get all that there ever was.
    async fn end(mut self, random: &mut Rng) {
        self.record.is_over.store(true, Ordering::Relaxed);
        for publisher in std::mem::take(&mut self.publishers) {
            publisher.await.expect("it has not failed");
        }
        self.add_readers(INSTANCES, Some(0), random).await;
        self.catch_up().await;
        for reader in &self.readers {
            reader.abort();
        }
    }
}

async fn pause(random: &mut Rng, most: u64) {
    sleep(Duration::from_millis(random.u64(..most))).await;
}
