//! One run: everything begins, goes wrong, heals, and is compared with what must be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use sse_server::relay::{Message, News};
use sse_server::simulation::Simulation;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::disk::{Disk, name_of};
use crate::instance::{Instances, TOKEN};
use crate::oracle::{Oracle, PROMPT};
use crate::plan::{CALM, Class, Disturbance, Millis, Plan, What};
use crate::relay::carry;
use crate::world::{Log, Violation, World};
use crate::{publisher, reader};

/// What a run has come to.
#[derive(Debug)]
pub struct Report {
    pub violation: Option<Violation>,
    /// A sum over everything that has happened, byte by byte.
    pub sum: u64,
    pub lines: Vec<String>,
    pub simulated: Millis,
    pub delivered: u64,
}

/// Runs a plan, with this fault in the server.
pub fn run(plan: &Plan, mutant: Option<&'static str>, keeps_lines: bool) -> Report {
    let runtime = runtime();
    let report = runtime.block_on(simulate(plan.clone(), mutant, Log::new(keeps_lines)));
    // What still waits, waits for ever.
    runtime.shutdown_background();
    report
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build().expect("a runtime without sockets needs nothing")
}

async fn simulate(plan: Plan, mutant: Option<&'static str>, log: Log) -> Report {
    let _simulation = Simulation::begin(plan.seed, mutant);
    let world = World::new(plan, log);
    let plan = &world.plan;
    let disk = Arc::new(Mutex::new(Disk::new(plan.channels)));
    let oracle = Oracle::new(&world, &disk);
    let instances = Instances::start(&oracle);
    for publisher in plan.publishers.clone() {
        tokio::spawn(publisher::publish(instances.clone(), publisher));
    }
    for reader in plan.readers.clone() {
        tokio::spawn(reader::read(instances.clone(), reader));
    }
    if plan.is_late {
        tokio::spawn(publisher::append_late(oracle.clone()));
    }
    for (number, disturbance) in plan.disturbances.iter().cloned().enumerate() {
        tokio::spawn(disturb(instances.clone(), number, disturbance));
    }
    let last = plan.disturbances.iter().map(|it| it.at + it.lasts).max().unwrap_or_default();
    let end = last.max(plan.length) + CALM;
    tokio::select! {
            biased;
        () = world.failed.notified() => {}
        () = world.until(end) => {
            oracle.finish();
            instances.finish();
        }
    }
    let simulated = world.now();
    let (violation, log) = world.take();
    let sum = log.sum();
    let lines = log.lines.unwrap_or_default();
    Report { violation, sum, lines, simulated, delivered: oracle.delivered() }
}

/// Has something go wrong, and heal.
async fn disturb(instances: Arc<Instances>, number: usize, disturbance: Disturbance) {
    let Disturbance { at, lasts, what } = disturbance;
    let world = instances.oracle.world.clone();
    world.until(at).await;
    world.begin(&what);
    let now = world.now();
    let over = Duration::from_millis(lasts);
    match what {
        What::Wiped => {
            let gap = world.random("gap", number).u64(1..=900);
            instances.oracle.disk().wipe(gap, now);
        }
        What::FailOver => {
            instances.running().iter().for_each(|instance| instance.storage.fail_over());
        }
        What::Crash(hub) => {
            if world.random("crash", number).bool() {
                instances.kill_within_append(hub).await;
            } else {
                instances.kill(hub);
            }
            sleep(over).await;
            begin_if_gone(&instances, hub);
        }
        What::Drain(hub) => {
            instances.drain(hub).await;
            sleep(over).await;
            begin_if_gone(&instances, hub);
        }
        What::Reload(hub) => instances.reload(hub).await,
        What::WrongHint(channel) => {
            let mut random = world.random("hint", number);
            let head = instances.oracle.disk().channels[channel].stored.head;
            let message = Message::new(name_of(channel), Some(head + random.u64(1..2_000)));
            let random = Mutex::new(random);
            for hub in 0..world.plan.hubs {
                carry(&world, &instances.bus, &random, hub, &News::Message(message.clone()));
            }
        }
        What::Revoked(user, channel) => {
            revoke(&instances, number, user, channel);
        }
        _ => {}
    }
    world.until(at + lasts).await;
    if let What::Revoked(user, channel) = what {
        world.say(format_args!("u{user} may read c{channel} again"));
        instances.oracle.permit(user, channel, true);
        tokio::spawn(tell(instances.clone(), number, user, channel, true));
    }
    world.end(&what);
}

fn begin_if_gone(instances: &Arc<Instances>, hub: usize) {
    if instances.get(hub).is_none() {
        instances.begin(hub);
    }
}

/// Takes a permission back, and says so until that is confirmed.
fn revoke(instances: &Arc<Instances>, number: usize, user: usize, channel: usize) {
    instances.oracle.permit(user, channel, false);
    tokio::spawn(tell(instances.clone(), number, user, channel, false));
}

async fn tell(instances: Arc<Instances>, number: usize, user: usize, channel: usize, may: bool) {
    let oracle = &instances.oracle;
    let world = &oracle.world;
    let mut random = world.random("tell", 2 * number + usize::from(may));
    loop {
        if oracle.may_read(user, channel) != may {
            return;
        }
        let hubs = world.plan.hubs;
        let Some(instance) = instances.one(random.usize(0..hubs)) else {
            sleep(Duration::from_millis(300)).await;
            continue;
        };
        let hub = instance.process.hub;
        world.say(format_args!(
            "hub {hub} is told that permissions of u{user} for c{channel} changed"
        ));
        let asked = world.now();
        let body =
            serde_json::json!({"user": format!("u{user}"), "channel": format!("c{channel}")});
        let request = Request::post("/permissions/changed")
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Body::from(body.to_string()))
            .expect("it is in order");
        let answer = timeout(Duration::from_mins(1), instance.ask(request)).await;
        let status = answer.ok().flatten().map(|response| response.status().as_u16());
        world.say(format_args!("hub {hub} answers {status:?} for u{user} and c{channel}"));
        if status == Some(200) {
            let since = asked.saturating_sub(15_000);
            // Instances whose relay works do so at once; the one that was told in any case.
            let is_quiet = world.is_quiet_since(since, &[Class::Relay])
                && instances.are_there_since(asked.saturating_sub(PROMPT));
            let has_relay = world.plan.has_relay;
            // The hub that was told knows it if what it says is heard by nobody. Who is not heard
            // itself is taken for gone.
            let is_said = !has_relay || world.plan.echoes;
            let is_deaf = spans(world, asked, |what| *what == What::RelayBlocked(hub));
            let is_only_blocked = is_said && is_only_blocked_since(world, since);
            let is_mute =
                |other| overlapping(world, since).any(|what| *what == What::RelayBlocked(other));
            let others =
                |other| has_relay && (is_quiet || is_only_blocked && (is_deaf || !is_mute(other)));
            let at_once = (0..hubs).map(|other| other == hub || others(other)).collect();
            oracle.confirm(user, channel, asked, at_once);
            return;
        }
        let quiet = [Class::Relay, Class::Backend, Class::Instance];
        if status.is_some() && world.is_quiet_since(asked.saturating_sub(25_000), &quiet) {
            let text = format!("a change for u{user} and c{channel} was answered with {status:?}");
            world.violated("another's trouble is not mine", text);
        }
        sleep(Duration::from_millis(random.u64(200..2_000))).await;
    }
}

/// Whether the storage has taken nothing more all the time since then.
pub fn is_full_since(world: &World, since: Millis) -> bool {
    spans(world, since, |what| *what == What::StorageFull)
}

/// Whether a disturbance of this kind covers the time from then to now.
fn spans(world: &World, since: Millis, is_it: impl Fn(&What) -> bool) -> bool {
    let now = world.now();
    world.plan.disturbances.iter().any(|disturbance| {
        is_it(&disturbance.what)
            && disturbance.at <= since
            && disturbance.at + disturbance.lasts > now
            && world.is(&disturbance.what)
    })
}

/// Whether since then nothing was wrong with the relay but that it brought nobody what hubs said.
fn is_only_blocked_since(world: &World, since: Millis) -> bool {
    overlapping(world, since)
        .all(|what| what.class() != Class::Relay || matches!(what, What::RelayBlocked(_)))
}

/// What was wrong at some time since then.
pub fn overlapping(world: &World, since: Millis) -> impl Iterator<Item = &What> {
    let now = world.now();
    let all = world.plan.disturbances.iter();
    let all = all.filter(move |it| it.at <= now && it.at + it.lasts + 1 >= since);
    all.map(|it| &it.what)
}
