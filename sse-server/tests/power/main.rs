//! The proof: whenever the power is cut, what the server has promised by then is in the storage.
//!
//! A real server, and the database it uses, run under `strace`, which writes down in one order what
//! they write, sync, name and send. Then the power is cut at many places of that record: the files
//! are put together as a [disk](disk) may have them by then, with what was not synced lost, torn or
//! out of order. Our own code opens them, and what is there is compared with every answer and every
//! event that had gone out before the cut.
//!
//! `SSE_POWER_RUNS` sets how many runs are recorded (default 2; of a database a quarter of them),
//! `SSE_CUTS` how often each is cut, `SSE_SEED` the random choices. `cargo xtask proof --power` is
//! the comfortable way.

mod check;
mod databases;
mod disk;
mod load;
mod service;
mod trace;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use check::{Found, Promised, check};
use disk::{CUTS, Cut, Disk, Fault};
use fastrand::Rng;
use load::{Amount, Attempt, Load};
use rusqlite::Connection;
use sse_server::storage::{SqliteStorage, Storage};
use tempfile::TempDir;
use testkit::server::{Server, until};
use trace::{Act, Step};

/// What a disk does not do that it should, each with why that is the same as a setting of SQLite.
const FAULTS: [(Fault, &str); 2] = [
    (Fault::NoSync, "synchronous=OFF"),
    // Commits are not synced then, but what moves them into the file is.
    (Fault::NoSyncOf("-wal"), "synchronous=NORMAL"),
];

/// How many runs there are if nobody says how many.
pub(crate) const SHORT: u64 = 2;

/// How many of its events a channel keeps in some runs.
const KEEP: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_is_in_the_sqlite_file_after_a_power_cut() {
    if !can_record() {
        return;
    }
    let runs = number("SSE_POWER_RUNS").unwrap_or(SHORT);
    let (seed, mut rng) = seeded(runs);
    let (mut sum, start) = (Sum::default(), Instant::now());
    for run in 1..=runs {
        let record = Record::of_sqlite(run, &mut rng).await;
        if let Err(why) = cut_sqlite(&record, &mut sum, &mut rng).await {
            panic!("run {run} of SSE_SEED={seed} SSE_POWER_RUNS={runs}: {why}");
        }
        if run % 10 == 0 || run == runs {
            println!("{run} runs in {} s: {sum}", start.elapsed().as_secs());
        }
    }
}

/// What one or more lives of a server have done, and what was asked of it.
pub(crate) struct Record {
    steps: Vec<Step>,
    attempts: Vec<Attempt>,
    /// What was there before.
    before: TempDir,
    /// Where the files were.
    folder: PathBuf,
    /// So many events of a channel are kept at least, if not all.
    keep: Option<u64>,
}

impl Record {
    async fn of_sqlite(run: u64, rng: &mut Rng) -> Self {
        let (files, logs) = (in_memory(), in_memory());
        let (folder, log) = (files.path().to_owned(), logs.path().join("log"));
        // Now and then so much that the write-ahead log is moved into the file meanwhile.
        let is_much = run.is_multiple_of(8);
        let keep = (run % 5 == 3).then_some(KEEP);
        let flags = keep.map(|keep| ["--retention-events".to_owned(), keep.to_string()]);
        let flags: Vec<&str> = flags.iter().flatten().map(String::as_str).collect();
        let load = Arc::new(Load::default());
        let mut server = Server::start_always_under(trace::recorder(&log), files, &flags).await;
        let lives = rng.usize(1..=2);
        for life in 1..=lives {
            let time = Duration::from_millis(rng.u64(300..900));
            load.publish(&server, Amount { time, is_much }, rng).await;
            // A clean end moves the write-ahead log into the file, too.
            if rng.bool() {
                server.signal("-TERM");
                server.wait().await;
            } else {
                server.kill().await;
            }
            recorded(&log).await;
            if life < lives {
                server.restart().await;
            }
        }
        let steps = trace::read(&fs::read_to_string(&log).expect("readable"), &folder);
        let attempts = load.attempts().clone();
        let record = Self { steps, attempts, before: in_memory(), folder, keep };
        record.is_complete();
        record
    }

    /// Nothing was overlooked: put together, the record makes up the files that are really there,
    /// and has all answers.
    fn is_complete(&self) {
        let mut promised = Promised::default();
        for step in &self.steps {
            if let Act::Sent { bytes } = &step.act {
                promised.learn(bytes);
            }
        }
        for attempt in &self.attempts {
            for ((channel, _), id) in attempt.events.iter().zip(attempt.ids.iter().flatten()) {
                let is_known = promised.0.contains(&((*channel).to_owned(), *id));
                assert!(is_known, "{channel}:{id} was answered, and is not in the record");
            }
        }
        // What a process was killed at may have been done or not.
        let differs = [true, false].map(|with_all| self.differs(with_all));
        assert!(differs.contains(&None), "what is there is not what was recorded: {differs:?}");
    }

    /// The first difference between the record and the files.
    fn differs(&self, with_all: bool) -> Option<String> {
        let mut disk = self.disk(Fault::None);
        let steps = self.steps.iter().filter(|step| with_all || step.is_certain);
        steps.for_each(|step| disk.act(step));
        let mut rng = Rng::new();
        let mut files = |disk: &Disk| {
            let mut files = disk.after(Cut::Kept, &mut rng);
            files.retain(|name, _| !name.to_string_lossy().ends_with("-shm"));
            files
        };
        let (said, there) = (files(&disk), files(&Disk::new(&self.folder, Fault::None)));
        if !said.keys().eq(there.keys()) {
            return Some(format!("{:?} and {:?}", said.keys(), there.keys()));
        }
        said.iter().zip(there.values()).find(|((_, said), there)| said != there).map(
            |((name, said), there)| {
                let place = said.iter().zip(there).position(|(said, there)| said != there);
                let lens = (said.len(), there.len());
                format!("{} at {place:?}, of lengths {lens:?}", name.display())
            },
        )
    }

    /// Where to cut: somewhere, and right after something was promised.
    fn places(&self, count: usize, rng: &mut Rng) -> BTreeSet<usize> {
        let is_promise = |step: &Step| match &step.act {
            Act::Sent { bytes } => Promised::default().learn(bytes) > 0,
            _ => false,
        };
        let promises: Vec<usize> = (1..=self.steps.len())
            .zip(&self.steps)
            .filter_map(|(after, step)| is_promise(step).then_some(after))
            .collect();
        let somewhere = |rng: &mut Rng| rng.usize(..=self.steps.len());
        let mut places = BTreeSet::from([self.steps.len()]);
        for _ in 0..count / 2 {
            places.insert(promises[rng.usize(..promises.len())]);
            places.insert(somewhere(rng));
        }
        places
    }
}

/// What was done in all runs.
#[derive(Default)]
pub(crate) struct Sum {
    runs: usize,
    calls: usize,
    cuts: usize,
    /// Changes that were not synced when the power was cut.
    unsynced: usize,
    promised: usize,
    servers: usize,
    caught: usize,
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, calls, cuts, unsynced, promised, servers, caught } = self;
        write!(
            f,
            "{runs} records of {calls} calls, cut {cuts} times with {unsynced} changes not synced; {promised} promises \
             kept; {servers} servers started on what was left; {caught} faults caught"
        )
    }
}

/// Cuts the power at some places of a record.
async fn cut_sqlite(record: &Record, sum: &mut Sum, rng: &mut Rng) -> Result<(), String> {
    let places =
        record.places(usize::try_from(number("SSE_CUTS").unwrap_or(40)).expect("fits"), rng);
    let mut disk = record.disk(Fault::None);
    let mut faulty: Vec<_> =
        FAULTS.iter().map(|&(fault, like)| (record.disk(fault), like, false)).collect();
    let mut promised = Promised::default();
    let whole = rng.choice(places.iter().copied()).expect("there are some");
    for place in 0..=record.steps.len() {
        if let Some(step) = place.checked_sub(1).map(|last| &record.steps[last]) {
            disk.act(step);
            for (disk, ..) in &mut faulty {
                disk.act(step);
            }
            if let Act::Sent { bytes } = &step.act {
                promised.learn(bytes);
            }
        }
        if !places.contains(&place) {
            continue;
        }
        let cut = CUTS[sum.cuts % CUTS.len()];
        let folder = in_memory();
        disk.restore(cut, folder.path(), rng);
        let copy = (place == whole).then(|| copy_of(folder.path()));
        let file = folder.path().join("events.db");
        let found = check_sqlite(&file, record, &promised).await;
        let found = found.and_then(|found| match &found.lost[..] {
            [] => Ok(found),
            [first, ..] => Err(format!("lost: {} events, {first:?} first", found.lost.len())),
        });
        let found = found.map_err(|why| format!("cut {cut:?} after call {place}: {why}"))?;
        if let Some(copy) = copy {
            serves(&copy.path().join("events.db"), &found, record).await;
            sum.servers += 1;
        }
        sum.cuts += 1;
        sum.unsynced += disk.unsynced();
        sum.promised += promised.0.len();
        for (disk, _, is_caught) in faulty.iter_mut().filter(|(_, _, is_caught)| !is_caught) {
            let folder = in_memory();
            disk.restore(Cut::Lost, folder.path(), rng);
            let found = check_sqlite(&folder.path().join("events.db"), record, &promised).await;
            *is_caught = found.map_or(true, |found| !found.lost.is_empty());
            sum.caught += usize::from(*is_caught);
        }
    }
    sum.runs += 1;
    sum.calls += record.steps.len();
    match faulty.iter().find(|(_, _, is_caught)| !is_caught) {
        Some((_, like, _)) => {
            Err(format!("nothing was lost as if with {like}: this proves nothing"))
        }
        None => Ok(()),
    }
}

async fn check_sqlite(file: &Path, record: &Record, promised: &Promised) -> Result<Found, String> {
    let storage = SqliteStorage::open(file).await.map_err(|error| error.to_string())?;
    let storage: Arc<dyn Storage> = Arc::new(storage);
    let found = check(&storage, &record.attempts, promised, record.keep).await;
    storage.close().await;
    let found = found?;
    let connection = Connection::open(file).map_err(|error| error.to_string())?;
    let sound: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if sound == "ok" { Ok(found) } else { Err(sound) }
}

/// A whole server starts on it. A reader that has seen nothing gets all there is; what is published
/// comes next.
async fn serves(file: &Path, found: &Found, record: &Record) {
    let server = Server::start_on(&format!("sqlite:{}", file.display()), &[]).await;
    for (channel, head) in &found.heads {
        let published = server.publish(&format!(r#"{{"channel":"{channel}","text":"new"}}"#)).await;
        assert_eq!(published["id"], format!("{channel}:{}", head + 1));
        let id = format!("Last-Event-ID: {channel}:0\r\n");
        let mut stream = server.get(&format!("/events/?channel={channel}"), &id).await;
        let seen = stream.until(&format!("id: {channel}:{}\n", head + 1)).await;
        if record.keep.is_none() {
            assert!(!seen.contains("stream-reset"), "{channel} has all of its events");
            let ids = seen.lines().filter_map(|line| line.strip_prefix("id: "));
            let ids: Vec<String> = ids.map(str::to_owned).collect();
            let all: Vec<String> = (0..=head + 1).map(|id| format!("{channel}:{id}")).collect();
            assert!(ids == all || ids == all[1..], "{channel}: {ids:?}");
        }
    }
}

impl Record {
    fn disk(&self, fault: Fault) -> Disk {
        let mut disk = Disk::new(self.before.path(), fault);
        disk.move_to(&self.folder);
        disk
    }
}

/// A folder whose files need no disk, where there is memory for that.
pub(crate) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = in_memory();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("it can be copied");
    }
    copy
}

/// Waits until the recorder has written down the ends of all whom it has recorded.
pub(crate) async fn recorded(log: &Path) {
    until("the end of the record", async || {
        let log = fs::read_to_string(log).unwrap_or_default();
        let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for line in log.lines() {
            let thread = line.split(' ').next().unwrap_or_default();
            begun.insert(thread);
            if line.contains(" +++ ") {
                ended.insert(thread);
            }
        }
        begun == ended
    })
    .await;
}

/// Whether this machine lets one process record another.
pub(crate) fn can_record() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]).stdin(Stdio::null());
    let works = strace.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("left out, it needs strace, and the right to use it");
    }
    works
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

pub(crate) fn seeded(runs: u64) -> (u64, Rng) {
    let seed = number("SSE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, {runs} runs (SSE_SEED={seed} SSE_POWER_RUNS={runs})");
    (seed, Rng::with_seed(seed))
}
