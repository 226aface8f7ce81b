//! The power is cut under PostgreSQL and Redis.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use testkit::port::Port;
use testkit::processes::kill_with_children;
use testkit::server::Server;

use crate::check::{Found, Promised, check};
use crate::disk::{CUTS, Cut, Disk, Fault};
use crate::load::{Amount, Load};
use crate::service::Service;
use crate::trace::{self, Act};
use crate::{Record, SHORT, Sum, can_record, in_memory, number, recorded, seeded};

/// What a setting has led to.
#[derive(Debug, Default)]
struct Losses {
    /// After how many cuts something that was promised was gone.
    cuts: usize,
    /// The most events that were gone at once, and how many seconds before the cut the first of
    /// them had been promised.
    most: usize,
    oldest: f64,
    /// How often it did not start, or was not in order.
    broken: usize,
    /// How often it started only when its own tool had cut off the end of its log.
    repaired: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_is_in_postgres_after_a_power_cut() {
    let Some(service) = Service::postgres(&["-c", "fsync=on"]) else { return };
    if !can_record() {
        return;
    }
    let (runs, is_short) = runs();
    let (_, mut rng) = seeded(runs);
    let mut sum = Sum::default();
    for _ in 0..runs {
        let losses = cut(&service, true, &mut sum, &mut rng).await;
        assert_eq!(losses.cuts, 0, "{losses:?}");
    }
    println!("PostgreSQL: {sum}");
    // That something would be seen is shown by settings that do not promise it.
    let unsafe_settings = ["fsync=off", "synchronous_commit=off"];
    for setting in unsafe_settings.into_iter().take(if is_short { 1 } else { 2 }) {
        let service = Service::postgres(&["-c", setting]).expect("it was there");
        let losses = cut(&service, false, &mut Sum::default(), &mut rng).await;
        println!("PostgreSQL with {setting}: {losses:?}");
        assert!(losses.cuts + losses.broken > 0, "{setting} loses nothing: this proves nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_redis_has_what_its_settings_promise() {
    let appending = |how| ["--save", "", "--appendonly", "yes", "--appendfsync", how];
    // Whether something may be lost. The second shows that it would be seen.
    let settings = [
        ("appendfsync always", appending("always").to_vec(), false),
        ("nothing", vec!["--save", "", "--appendonly", "no"], true),
        ("appendfsync everysec", appending("everysec").to_vec(), true),
        ("appendfsync no", appending("no").to_vec(), true),
        ("save 1 1", vec!["--save", "1 1", "--appendonly", "no"], true),
    ];
    if !can_record() {
        return;
    }
    let (runs, is_short) = runs();
    let (_, mut rng) = seeded(runs);
    for (name, setting, may_lose) in settings.into_iter().take(if is_short { 2 } else { 5 }) {
        let Some(service) = Service::redis(&setting) else { return };
        let (mut sum, mut all) = (Sum::default(), Losses::default());
        for _ in 0..runs {
            let losses = cut(&service, true, &mut sum, &mut rng).await;
            all.cuts += losses.cuts;
            all.repaired += losses.repaired;
            all.most = all.most.max(losses.most);
            all.oldest = all.oldest.max(losses.oldest);
        }
        println!("Redis with {name}: {all:?}; {sum}");
        assert_eq!(all.cuts > 0, may_lose, "{name}");
    }
}

/// How many runs there are of each, and whether that is the short form.
fn runs() -> (u64, bool) {
    let runs = number("SSE_POWER_RUNS").unwrap_or(SHORT);
    (runs.div_ceil(4), runs <= SHORT)
}

/// Records a server on this database, and cuts its power at some places. `is_sound`: whatever was
/// lost, it starts, and what is there is in order.
async fn cut(service: &Service, is_sound: bool, sum: &mut Sum, rng: &mut Rng) -> Losses {
    let record = record(service, rng).await;
    // Each of them is a start of the database.
    let (_, is_short) = runs();
    let count = number("SSE_CUTS").unwrap_or(40) / if is_short { 10 } else { 5 };
    let places = record.places(usize::try_from(count).expect("fits"), rng);
    let mut disk = record.disk(Fault::None);
    let (mut promised, mut times) = (Promised::default(), Vec::new());
    let mut losses = Losses::default();
    for (step, place) in record.steps.iter().zip(1..) {
        disk.act(step);
        if let Act::Sent { bytes } = &step.act {
            let before: BTreeSet<_> = promised.0.clone();
            if promised.learn(bytes) > 0 {
                times.extend(promised.0.difference(&before).map(|id| (id.clone(), step.time)));
            }
        }
        // Nothing is promised while the tables are made.
        if !places.contains(&place) || promised.0.is_empty() {
            continue;
        }
        let cut = CUTS[sum.cuts % CUTS.len()];
        let found = restore(service, &disk, cut, &record, &promised, &mut losses, rng).await;
        sum.cuts += 1;
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                assert!(!is_sound, "{service:?}, cut {cut:?} after call {place}: {why}");
                losses.broken += 1;
                continue;
            }
        };
        sum.unsynced += disk.unsynced();
        sum.promised += promised.0.len() - found.lost.len();
        if !found.lost.is_empty() {
            losses.cuts += 1;
            losses.most = losses.most.max(found.lost.len());
            let lost = times.iter().filter(|(id, _)| found.lost.contains(id));
            let first = lost.map(|(_, time)| *time).fold(step.time, f64::min);
            losses.oldest = losses.oldest.max(step.time - first);
        }
    }
    sum.runs += 1;
    sum.calls += record.steps.len();
    losses
}

async fn record(service: &Service, rng: &mut Rng) -> Record {
    let (files, logs, before) = (in_memory(), in_memory(), in_memory());
    let log = logs.path().join("log");
    let data = service.prepare(files.path());
    let copied = Command::new("cp").arg("-a").arg(&data).arg(before.path().join("data")).status();
    assert!(copied.expect("cp is there").success());
    let port = Port::reserve();
    let words = service.command(files.path(), &port).join(" ");
    let mut wrapper = trace::recorder(&log);
    let script =
        format!("{words} >/dev/null 2>&1 & echo $! > {}.pid; exec \"$0\" \"$@\"", log.display());
    wrapper.extend(["sh".to_owned(), "-c".to_owned(), script]);
    let url = service.url(&port);
    let flags = ["--storage", &url];
    let mut server = Server::start_always_under(wrapper, in_memory(), &flags).await;
    let load = Arc::new(Load::default());
    let time = Duration::from_millis(rng.u64(1000..2000));
    load.publish(&server, Amount { time, is_much: false }, rng).await;
    server.kill().await;
    let id = fs::read_to_string(log.with_extension("pid")).expect("it was written");
    kill_with_children(id.trim().parse().expect("a process"));
    recorded(&log).await;
    let steps = trace::read(&fs::read_to_string(&log).expect("readable"), &data);
    let attempts = load.attempts().clone();
    let folder = files.path().to_owned();
    let record = Record { steps, attempts, before, folder, keep: None };
    record.is_complete();
    record
}

async fn restore(
    service: &Service,
    disk: &Disk,
    cut: Cut,
    record: &Record,
    promised: &Promised,
    losses: &mut Losses,
    rng: &mut Rng,
) -> Result<Found, String> {
    let (folder, port) = (in_memory(), Port::reserve());
    disk.restore(cut, folder.path(), rng);
    let running = match service.start(folder.path(), &port).await {
        Err(why) => {
            if !service.repair(folder.path()) {
                return Err(why);
            }
            losses.repaired += 1;
            service.start(folder.path(), &port).await?
        }
        started => started?,
    };
    let found = check(running.storage(), &record.attempts, promised, record.keep).await;
    running.storage().close().await;
    found
}
