//! Publishers: they send requests, and those again that were not answered.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use fastrand::Rng;
use serde_json::Value;
use sse_server::storage::NewEvent;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::disk::{STRANGER, name_of, number_of, serial_of};
use crate::instance::{Instance, Instances, TOKEN};
use crate::oracle::{HUNG, Oracle, PROMPT, user_name};
use crate::plan::{Class, Disturbance, Publisher, What};
use crate::run::overlapping;
use crate::world::{World, pause};

/// How long a publisher waits for an answer before it tries again.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long it takes until what the storage has failed to do is done again: a call that hangs is
/// given up, and the next one comes after a pause.
const RECOVERY: u64 = 4_000;

/// How long a hub has been there until its relay is connected.
const CONNECTING: u64 = 5_000;

/// Publishes until the time is over.
pub async fn publish(instances: Arc<Instances>, plan: Publisher) {
    let world = &instances.oracle.world;
    let mut random = world.random("publisher", plan.number);
    let width = Arc::new(Semaphore::new(plan.width));
    let pauses = Mutex::new(world.random("pauses", plan.number));
    while world.now() < world.plan.length {
        pause(&pauses, plan.pause).await;
        let permit = width.clone().acquire_owned().await.expect("never closed");
        let events = events(&mut random, world);
        let (instances, seed) = (instances.clone(), random.u64(..));
        tokio::spawn(async move {
            request(&instances, plan, events, Rng::with_seed(seed)).await;
            drop(permit);
        });
    }
}

/// What a request has in it.
fn events(random: &mut Rng, world: &World) -> Vec<NewEvent> {
    let (channels, users) = (world.plan.channels, world.plan.users);
    // Who waits for a channel that is held has those behind it wait that want another one of its
    // channels: then nobody knows who has to wait.
    let is_held = |it: &Disturbance| matches!(it.what, What::Held(_));
    let only = world.plan.disturbances.iter().any(is_held).then(|| random.usize(0..channels));
    let count = if random.u8(0..4) == 0 { random.usize(2..=6) } else { 1 };
    let skipped = (random.u8(0..8) == 0).then(|| user_name(random.usize(0..users)));
    let is_stored = random.u8(0..16) > 0;
    let event = |random: &mut Rng| {
        let channel = name_of(only.unwrap_or_else(|| random.usize(0..channels)));
        let event_type = if random.u8(0..3) == 0 { "t" } else { "message" };
        let len = match random.u8(0..60) {
            0 => 30_000,
            1..=6 => 2_000,
            _ => random.usize(0..60),
        };
        NewEvent::new(channel, event_type, "x".repeat(len))
            .skip_users(skipped.iter().cloned().collect())
            .store(is_stored)
    };
    (0..count).map(|_| event(random)).collect()
}

async fn request(instances: &Instances, plan: Publisher, mut events: Vec<NewEvent>, random: Rng) {
    let oracle = &instances.oracle;
    let world = &oracle.world;
    let number = oracle.request(&mut events);
    let body = json(&events);
    let unstored = unstored(&events);
    let random = Mutex::new(random);
    let hub = || random.lock().unwrap_or_else(PoisonError::into_inner).usize(0..world.plan.hubs);
    // With a key, another process may know that the request was stored, and not whether its events
    // were seen.
    let mut first = None;
    for attempt in 1.. {
        pause(&random, 5).await;
        let Some(instance) = instances.one(hub()) else {
            pause(&random, 500).await;
            continue;
        };
        let first = first.get_or_insert_with(|| instance.clone());
        let is_sure = !plan.has_keys || Arc::ptr_eq(first, &instance);
        let mut request = Request::post("/publish/")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json");
        if plan.has_keys {
            request = request.header("idempotency-key", format!("request-{number}"));
        }
        let request = request.body(Body::from(body.clone())).expect("it is in order");
        let at = instance.process.hub;
        let serials = data_of(&events);
        world.say(format_args!(
            "publisher {} asks hub {at} to publish {serials} (try {attempt})",
            plan.number
        ));
        let asked = world.now();
        world.unstored.asked(at, &unstored, asked);
        let answer = async {
            let response = instance.ask(request).await?;
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 20).await.ok()?;
            Some((status, body))
        };
        let answer = timeout(PATIENCE, answer).await;
        let took = world.now() - asked;
        if let Ok(Some((status, _))) = &answer {
            world.unstored.answered(at, &unstored, world.now(), is_sure && *status == 200);
        }
        let is_quiet = world.is_quiet_since(asked.saturating_sub(1), &[Class::Instance])
            && is_free(instances, &events, asked.saturating_sub(1_000));
        if took > PROMPT && is_quiet {
            let text = format!("{serials} waited {took} ms for hub {at}");
            world.violated("nobody waits for ever", text);
        }
        match answer {
            Ok(Some((200, body))) => {
                let ids = ids(&body);
                world.say(format_args!("hub {at} has published {serials} as {ids:?}"));
                let stored = oracle.answered(number, Some(ids));
                expect(instances, stored, at, asked);
                if is_sure && !unstored.is_empty() {
                    expect_told(instances, unstored, asked);
                }
                return;
            }
            Ok(Some((status, body))) => {
                let why = String::from_utf8_lossy(&body);
                world.say(format_args!("hub {at} answers {status} for {serials}: {why}"));
                if status != 503 {
                    let text = format!("{serials}: {status} {why}");
                    world.violated("requests that are in order are published", text);
                } else if is_quiet {
                    let text = format!("{serials}: {why}");
                    world.violated("another's trouble is not mine", text);
                } else if !plan.has_keys && !unstored.is_empty() && !instance.hub.is_closed() {
                    let text = format!("{serials}, which needs no storage: {why}");
                    world.violated("another's trouble is not mine", text);
                }
            }
            Ok(None) | Err(_) => world.say(format_args!("nobody answers for {serials}")),
        }
        if !plan.has_keys {
            // It is there once or not at all, and that is all that is known.
            oracle.answered(number, None);
            return;
        }
        pause(&random, 1_000).await;
    }
}

/// Publishes what is stored nowhere, right before a hub is closed.
pub async fn last_words(oracle: &Oracle, instance: &Instance) {
    let world = &oracle.world;
    let at = instance.process.hub;
    let mut random = world.random("last words", usize::try_from(world.now()).expect("soon"));
    for _ in 0..random.usize(0..4) {
        let channel = name_of(random.usize(0..world.plan.channels));
        let mut events = vec![NewEvent::new(channel, "t", String::new()).store(false)];
        let number = oracle.request(&mut events);
        let (shown, serials) = (unstored(&events), data_of(&events));
        world.unstored.asked(at, &shown, world.now());
        let published = timeout(Duration::from_millis(50), instance.hub.publish(events)).await;
        let is_published = matches!(published, Ok(Ok(_)));
        if published.is_ok() {
            world.unstored.answered(at, &shown, world.now(), is_published);
        }
        world.say(format_args!("hub {at} is told {serials} at its end: {is_published}"));
        oracle.answered(number, None);
    }
}

/// Whether nothing has been wrong with the storage that these events could have to wait for.
fn is_free(instances: &Instances, events: &[NewEvent], since: u64) -> bool {
    let channels = events.iter().map(|event| number_of(&event.channel)).collect::<Vec<_>>();
    overlapping(&instances.oracle.world, since).all(|what| match what {
        What::Held(channel) => !channels.contains(channel),
        what => what.class() != Class::Storage,
    })
}

/// What was published must arrive, at this hub and at the others.
fn expect(instances: &Instances, stored: Vec<(usize, u64, u64)>, at: usize, asked: u64) {
    let oracle = instances.oracle.clone();
    let done = oracle.world.now();
    tokio::spawn(async move {
        let world = &oracle.world;
        let prompt = oracle.prompt();
        world.until(done + prompt).await;
        let since = asked.saturating_sub(PROMPT);
        let is_ours = |what: &What| match what {
            What::Crash(hub) | What::Drain(hub) | What::Reload(hub) => *hub == at,
            what => what.class() == Class::Storage,
        };
        let is_backend = |what: &What| what.class() == Class::Backend;
        let has_hung = overlapping(world, since.saturating_sub(HUNG)).any(is_backend);
        if !has_hung && !overlapping(world, since).any(is_ours) {
            for (channel, id, when) in &stored {
                oracle.expect(Some(at), *channel, *id, *when);
            }
        }
        let refresh = u64::try_from(world.plan.refresh.as_millis()).expect("seconds");
        if !world.plan.has_relay {
            world.until(done + prompt + refresh).await;
        }
        let classes = [Class::Storage, Class::Backend, Class::Instance, Class::Relay];
        if world.is_quiet_since(since.saturating_sub(HUNG), &classes) {
            for (channel, id, when) in &stored {
                oracle.expect(None, *channel, *id, *when);
            }
        } else if world.plan.has_relay {
            expect_after_failures(&oracle, &stored, since).await;
        }
    });
}

/// What is not stored is brought to all other hubs, if nothing is wrong.
fn expect_told(instances: &Instances, serials: Vec<u64>, asked: u64) {
    // The relay is connected a while after the start.
    let is_connected = asked > CONNECTING && instances.are_there_since(asked - CONNECTING);
    if !instances.oracle.world.plan.has_relay || !is_connected {
        return;
    }
    let (oracle, hubs) = (instances.oracle.clone(), instances.running());
    tokio::spawn(async move {
        let world = &oracle.world;
        world.until(world.now() + PROMPT).await;
        let classes = [Class::Storage, Class::Backend, Class::Instance, Class::Relay];
        if !world.is_quiet_since(asked.saturating_sub(HUNG), &classes) {
            return;
        }
        for hub in hubs.iter().map(|instance| instance.process.hub) {
            let is_missed = |serial: &&u64| world.unstored.shown_since(hub, **serial, asked) == 0;
            if let Some(serial) = serials.iter().find(is_missed) {
                let text = format!("hub {hub} never had #{serial}, which is not stored");
                world.violated("other instances are told of what is not stored", text);
            }
        }
    });
}

/// What the relay has told of arrives also where the storage has failed since, once it is back.
async fn expect_after_failures(oracle: &Oracle, stored: &[(usize, u64, u64)], since: u64) {
    let world = &oracle.world;
    let settled = oracle.prompt() + RECOVERY;
    while !world.is_quiet_since(world.now().saturating_sub(settled), &[Class::Storage]) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let is_storage = |what: &What| {
        matches!(what, What::StorageDown(_) | What::StorageSlow | What::AnswersLost)
            || matches!(what, What::StorageFull | What::ShortPages)
            || matches!(what.class(), Class::Reader | Class::Permission)
    };
    if overlapping(world, since.saturating_sub(8_000)).all(is_storage) {
        for (channel, id, when) in stored {
            oracle.expect(None, *channel, *id, *when);
        }
    }
}

fn data_of(events: &[NewEvent]) -> String {
    let mut text = String::new();
    for event in events {
        let serial = event.data.split(' ').next().unwrap_or_default();
        let what = if event.store { "" } else { " unstored" };
        write!(text, "#{serial} ({}{what}) ", event.channel).expect("memory");
    }
    text.trim_end().to_owned()
}

/// The numbers of those that are not stored.
fn unstored(events: &[NewEvent]) -> Vec<u64> {
    let unstored = events.iter().filter(|event| !event.store);
    unstored.filter_map(|event| serial_of(&event.data)).collect()
}

fn json(events: &[NewEvent]) -> String {
    let all = events.iter().map(|event| {
        serde_json::json!({
            "channel": &*event.channel,
            "event": event.event_type,
            "text": event.data,
            "store": event.store,
            "skip_users": event.skip_users,
        })
    });
    Value::Array(all.collect()).to_string()
}

/// The numbers in an answer.
fn ids(body: &[u8]) -> Vec<Option<u64>> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = |entry: &Value| entry["id"].as_str()?.rsplit(':').next()?.parse().ok();
    answer.as_array().map(|all| all.iter().map(id).collect()).unwrap_or_default()
}

/// Another program, which takes a number, and stores the event a moment later.
pub async fn append_late(oracle: Arc<Oracle>) {
    let world = &oracle.world;
    let mut random = world.random("stranger", 0);
    while world.now() < world.plan.length {
        tokio::time::sleep(Duration::from_millis(random.u64(100..6_000))).await;
        let channel = random.usize(0..world.plan.channels);
        let numbered = world.now();
        let id = {
            let mut disk = oracle.disk();
            let id = disk.channels[channel].take_number();
            disk.channels[channel].pending.insert(id, numbered);
            id
        };
        let wait = match random.u8(0..10) {
            0 => random.u64(1_000..4_000),
            _ => random.u64(1..300),
        };
        let (oracle, is_stored) = (oracle.clone(), random.u8(0..12) > 0);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let now = oracle.world.now();
            let mut disk = oracle.disk();
            let channel_state = &mut disk.channels[channel];
            if is_stored && id > channel_state.stored.base {
                let data = format!("{STRANGER} c{channel} late");
                channel_state.put(id, (STRANGER, "message", &data, &[]), numbered, now);
                oracle.world.say(format_args!("another program has stored {id} of c{channel}"));
            }
        });
    }
}
