//! Permissions that come and go at random, on two instances under load: from the answer to a
//! revocation until the permission is given back, its reader gets nothing that is published in that
//! time, live or replayed, on no instance.
//!
//! `SSE_SEED` sets the random choices.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use access::{Grants, Site};
use fastrand::Rng;
use serde_json::json;
use server::within;
use sse_proto::{Control, Cursor, Decoder, Frame};
use sse_server::config::{RelayChoice, StorageChoice};
use sse_server::hub::HubConfig;
use sse_server::relay::RelayOptions;
use sse_server::storage::Retention;
use testkit::{access, server, services};
use tokio::time::sleep;

const USERS: [&str; 4] = ["u0", "u1", "u2", "u3"];
/// How often permissions change, and how much must be seen meanwhile to show anything.
const CHANGES: usize = 60;
const DELIVERED: u64 = 1000;
const ENDED: u64 = 10;
/// How often they change at most, on a machine that is slow.
const MOST_CHANGES: usize = 3000;

struct World {
    again: String,
    sites: [Site; 2],
    channels: [String; 2],
    grants: Arc<Grants>,
    /// The number that the next event carries.
    next: AtomicU64,
    /// For each user and channel that was revoked, the first number that was published after the
    /// answer.
    revoked: Mutex<HashMap<(&'static str, String), u64>>,
    delivered: AtomicU64,
    /// How many streams were ended by an error, and how many were refused.
    ended: AtomicU64,
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl World {
    async fn start(storage: &str, relay: &str, again: String) -> Arc<Self> {
        let delay = Some(Duration::from_millis(20));
        let grants = Arc::new(Grants { delay, ..Grants::default() });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let channels = ["a", "b"].map(|name| format!("{name}-{:x}", now.as_nanos()));
        for user in USERS {
            for channel in &channels {
                grants.grant(Some(user), channel);
            }
        }
        let site = async || {
            let storage = StorageChoice::parse(storage).expect("a storage");
            let storage = storage.open(Retention::default()).await.expect("the storage opens");
            // Instances of other programs, over the same relay, have another and do not count.
            let options = RelayOptions::default().secret(again.as_str());
            let relay = RelayChoice::parse(relay).expect("a relay").open_with(&options).await;
            let relay = relay.expect("the relay opens").expect("a relay");
            Site::start(storage, HubConfig::default().relay(relay), grants.clone()).await
        };
        let sites = [site().await, site().await];
        Arc::new(Self {
            again,
            sites,
            channels,
            grants,
            next: AtomicU64::new(0),
            revoked: Mutex::default(),
            delivered: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn site(&self, random: &mut Rng) -> &Site {
        &self.sites[random.usize(..self.sites.len())]
    }

    /// A reader has just got this event.
    fn got(&self, user: &'static str, channel: &str, number: u64) {
        self.delivered.fetch_add(1, Ordering::SeqCst);
        let revoked =
            self.revoked.lock().expect("no panic").get(&(user, channel.to_owned())).copied();
        assert!(
            revoked.is_none_or(|first| number < first),
            "{user} got {number} of {channel}, and may not from {revoked:?} on ({})",
            self.again
        );
    }
}

/// Publishes numbers for as long as it is let.
async fn publisher(world: Arc<World>, mut random: Rng) {
    loop {
        let index = random.usize(..2);
        let number = world.next.fetch_add(1, Ordering::SeqCst);
        world.site(&mut random).publish(&world.channels[index], json!([index, number])).await;
        sleep(Duration::from_millis(random.u64(..3))).await;
    }
}

/// Opens streams of a user until it is over: from where the last one ended, from the beginning, or
/// from now.
async fn reader(world: Arc<World>, user: &'static str, mut random: Rng) {
    let mut last = None;
    while !world.is_over() {
        let some: &[String] = match random.u8(..3) {
            0 => &world.channels[..1],
            1 => &world.channels[1..],
            _ => &world.channels,
        };
        let query: Vec<_> = some.iter().map(|name| format!("channel={name}")).collect();
        let from = match random.u8(..3) {
            0 => last.take().unwrap_or_default(),
            1 => some.iter().map(|name| (&**name, 0)).collect::<Cursor<'_>>().to_string(),
            _ => String::new(),
        };
        let headers = format!("X-User: {user}\r\nLast-Event-ID: {from}\r\n");
        let path = format!("/events/?{}", query.join("&"));
        let mut stream = world.site(&mut random).get(&path, &headers).await;
        assert_eq!(stream.status, 200);
        if stream.header("content-length").is_some() {
            world.refused.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(random.u64(..10))).await;
            continue;
        }
        // Not until the end, or nobody would ever be new.
        let most = random.usize(1..400);
        let mut decoder = Decoder::new();
        let mut count = 0;
        while count < most {
            let block = stream.until("\n\n").await;
            let mut frames = decoder.decode(block.as_bytes());
            while let Some(frame) = frames.next_frame() {
                let Ok(Frame::Event(event)) = frame else { panic!("unexpected {frame:?}") };
                match Control::of(&event) {
                    None => {
                        count += 1;
                        let (channel, number): (usize, u64) =
                            serde_json::from_str(event.data()).expect("a channel and a number");
                        world.got(user, &world.channels[channel], number);
                        last = Some(event.last_event_id().to_owned());
                    }
                    Some(Control::Error(_)) => {
                        world.ended.fetch_add(1, Ordering::SeqCst);
                        count = most;
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

async fn prove(storage: &str, relay: &str) {
    let seed = std::env::var("SSE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let again = format!("{relay}, SSE_SEED={seed}");
    println!("{again}");
    let mut random = Rng::with_seed(seed);
    let world = World::start(storage, relay, again).await;
    let publishers: Vec<_> =
        (0..3).map(|_| tokio::spawn(publisher(world.clone(), random.fork()))).collect();
    let readers = USERS.iter().flat_map(|&user| [user, user]);
    let readers: Vec<_> =
        readers.map(|user| tokio::spawn(reader(world.clone(), user, random.fork()))).collect();
    let mut is_revoked = HashMap::new();
    let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
    let is_enough = || count(&world.delivered) > DELIVERED && count(&world.ended) > ENDED;
    for change in 0..MOST_CHANGES {
        if change >= CHANGES && is_enough() {
            break;
        }
        let user = USERS[random.usize(..USERS.len())];
        let channel = world.channels[random.usize(..2)].clone();
        let is_revoked = is_revoked.entry((user, channel.clone())).or_insert(false);
        if std::mem::replace(is_revoked, !*is_revoked) {
            // Before it is given: from then on all may be read, also what was published meanwhile.
            world.revoked.lock().expect("no panic").remove(&(user, channel.clone()));
            world.grants.grant(Some(user), &channel);
        } else {
            world.grants.revoke(Some(user), &channel);
            let (status, answer) = world.site(&mut random).changed(Some(user), &channel).await;
            assert_eq!((status, &answer["instances"]), (200, &json!(1)), "{answer}");
            // Whatever is numbered from now on is published after the answer.
            let first = world.next.load(Ordering::SeqCst);
            world.revoked.lock().expect("no panic").insert((user, channel), first);
        }
        sleep(Duration::from_millis(random.u64(..60))).await;
        let failed = readers.iter().any(tokio::task::JoinHandle::is_finished);
        assert!(!failed, "a reader has failed; its message is above");
    }
    // Nobody is left waiting for what does not come.
    for ((user, channel), _) in is_revoked.into_iter().filter(|(_, is_revoked)| *is_revoked) {
        world.revoked.lock().expect("no panic").remove(&(user, channel.clone()));
        world.grants.grant(Some(user), &channel);
    }
    world.is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        within("a reader to end", reader).await.expect("it has not failed");
    }
    publishers.iter().for_each(tokio::task::JoinHandle::abort);
    let (delivered, ended) = (count(&world.delivered), count(&world.ended));
    println!("{delivered} deliveries, {ended} streams ended, {} refused", count(&world.refused));
    assert!(is_enough(), "the load was too small to show anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_by_redis() {
    let Some(redis) = services::redis() else { return };
    prove(&redis, &redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_by_postgres() {
    let Some(postgres) = services::postgres().await else { return };
    prove(&postgres, &postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_by_rabbitmq() {
    let (Some(redis), Some(amqp)) = (services::redis(), services::amqp()) else { return };
    prove(&redis, &amqp).await;
}
