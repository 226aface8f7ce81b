//! `soak`: readers that come and go for hours, while events are published and old ones are deleted.
//! Nothing may be lost, and nothing may grow.
//!
//! Readers come in companies. Each second one company comes, and the one that has been there
//! longest leaves without a word. Who comes has missed up to some hundred events, and gets them;
//! who leaves must have had every event since, once and in order.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, failed, stop};
use crate::load::{Crowd, Plan, publish};
use crate::plot::{Line, over_time};
use crate::report::{Column, Row};
use crate::servers::{From, Running, Server, Traffic};
use crate::system::resident;

/// How long it takes without `--minutes`.
const MINUTES: u32 = 30;

/// How many companies are there at a time, and how often one takes the place of another.
const COMPANIES: usize = 100;
const EVERY: Duration = Duration::from_secs(1);

/// Events a second.
const RATE: u32 = 4;

/// How many events are kept, and how many a reader has missed at most. What is kept is counted from
/// time to time only, and more of it may be gone when a reader has come.
const KEPT: u32 = 2_000;
const MISSED: u32 = 500;

/// How long a reader may take to get what has been published, and a server to let go.
const WITHIN: Duration = Duration::from_secs(30);
const TO_CLOSE: Duration = Duration::from_secs(3);

/// How many looks there are at the server, and at most one a second.
const LOOKS: u32 = 240;

/// What may grow without being a leak: memory by a tenth and two megabytes, the descriptors of who
/// is just coming or going, and threads for files that are read and written just then.
const MEMORY: (f64, f64) = (1.1, 2e6);
const DESCRIPTORS: f64 = 200.0;
const THREADS: f64 = 10.0;

/// A run that is shorter is to be looked at, and not to be shown.
const SHOWN: u32 = 30;

/// What the server has at some time.
#[derive(Clone, Copy, Debug)]
struct Look {
    minutes: f64,
    memory: f64,
    descriptors: f64,
    threads: f64,
    file: f64,
}

/// What is shown of it: the title, the name, the value, its unit.
type Shows = (&'static str, &'static str, fn(&Look) -> f64, f64);
const SHOWS: [Shows; 4] = [
    ("resident memory, MB", "memory", |look| look.memory, 1e6),
    ("open descriptors", "descriptors", |look| look.descriptors, 1.0),
    ("threads", "threads", |look| look.threads, 1.0),
    ("SQLite's files, MB", "file", |look| look.file, 1e6),
];

/// Readers that have come together.
struct Company {
    crowd: Crowd,
    size: usize,
    first: u32,
}

/// What all readers have got who are gone.
#[derive(Debug, Default)]
struct Got {
    readers: usize,
    deliveries: u64,
}

/// Runs it.
///
/// # Errors
///
/// If there are fewer readers than companies; if an event is lost, comes twice or out of order, if
/// a stream is refused or closed, or if memory, descriptors, threads or files have grown since the
/// second quarter.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    bench.report.begin("soak");
    let minutes = bench.options.minutes.unwrap_or(if bench.options.quick { 1 } else { MINUTES });
    let time = Duration::from_secs(60 * u64::from(minutes));
    let readers = bench.streams();
    if readers < COMPANIES {
        return Err(format!(
            "{readers} readers are too few: at least {COMPANIES}, one for each company"
        ));
    }
    if bench.servers(&[Server::Ours]).is_empty() {
        return Err("soak is for ours only".to_owned());
    }
    let failed = failed(Server::Ours);
    let keeps = ["--retention-events", &KEPT.to_string()];
    let (running, folder) = Server::Ours.start_with(bench.daemons, &keeps)?;
    let (acknowledged, ends) = (AtomicU32::new(0), AtomicBool::new(false));
    let (looks, got) = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let port = running.port;
            let mut plan = Plan { first: 0, requests: MISSED, every: Duration::ZERO };
            while !ends.load(Ordering::Relaxed) {
                publish(port, Server::Ours.publish(Traffic::of(1)), plan)?;
                plan.first += plan.requests;
                acknowledged.store(plan.first, Ordering::Relaxed);
                // The last of a second ends before the next one begins.
                thread::sleep(plan.every);
                plan = Plan { requests: RATE, every: Duration::from_secs(1) / RATE, ..plan };
            }
            Ok(())
        });
        let is_over = || publisher.is_finished();
        let soaked = soak(running, &folder, readers, time, &acknowledged, is_over);
        ends.store(true, Ordering::Relaxed);
        let sent = publisher.join().unwrap_or_else(|_| Err(std::io::Error::other("panic")));
        sent.and(soaked)
    })
    .map_err(&failed)?;
    thread::sleep(TO_CLOSE);
    let closed = look(running.pid, &folder, f64::from(minutes)).map_err(&failed)?;
    stop(bench.daemons);
    println!(
        "{minutes} minutes: {} readers, {} at a time; {} events published, {} delivered, each once \
         and in order",
        got.readers,
        readers / COMPANIES * COMPANIES,
        acknowledged.load(Ordering::Relaxed),
        got.deliveries
    );
    let lines = SHOWS.map(|(title, _, value, unit)| {
        let points = looks.iter().map(|look| (look.minutes, value(look) / unit)).collect();
        Line { title, points }
    });
    let folder = if minutes < SHOWN { "target/performance" } else { "docs/performance" };
    let drawn = over_time("minutes", &lines)?;
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(Path::new(folder).join("soak.svg"), drawn));
    written.map_err(|error| format!("cannot write {folder}/soak.svg: {error}"))?;
    report(bench, &looks, closed)
}

/// Has readers come and go for so long.
fn soak(
    running: Running,
    folder: &Path,
    readers: usize,
    time: Duration,
    acknowledged: &AtomicU32,
    is_over: impl Fn() -> bool,
) -> std::io::Result<(Vec<Look>, Got)> {
    let published = || acknowledged.load(Ordering::Relaxed);
    let mut got = Got::default();
    let mut companies = std::collections::VecDeque::with_capacity(COMPANIES + 1);
    while published() == 0 && !is_over() {
        thread::sleep(Duration::from_millis(10));
    }
    for number in 0..COMPANIES {
        companies.push_back(come(running.port, readers / COMPANIES, published(), number)?);
    }
    let (begun, mut looks) = (Instant::now(), Vec::new());
    let (mut change, mut number) = (begun + EVERY, COMPANIES);
    let between = (time / LOOKS).max(Duration::from_secs(1));
    while begun.elapsed() < time && !is_over() {
        let mut events = 0;
        for company in &mut companies {
            events += company.crowd.turn(Duration::ZERO)?;
        }
        if Instant::now() >= change {
            change += EVERY;
            companies.push_back(come(running.port, readers / COMPANIES, published(), number)?);
            number += 1;
            if let Some(company) = companies.pop_front() {
                leave(company, published(), &mut got)?;
            }
        }
        if begun.elapsed() >= between * u32::try_from(looks.len()).unwrap_or(u32::MAX) {
            looks.push(look(running.pid, folder, begun.elapsed().as_secs_f64() / 60.0)?);
        }
        if events == 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    for company in companies {
        leave(company, published(), &mut got)?;
    }
    Ok((looks, got))
}

/// Readers who have missed some of what was published.
fn come(port: u16, size: usize, published: u32, number: usize) -> std::io::Result<Company> {
    // Each company another number, from none to the most.
    let missed = u32::try_from(number * 37 % MISSED as usize).unwrap_or(0);
    let first = published.saturating_sub(missed);
    // Ids are counted from 1, and events from 0.
    let request = Server::Ours.stream(From::After(first), Traffic::of(1));
    let readers = Server::Ours.readers(&request, first, 1);
    let mut crowd = Crowd::new()?;
    crowd.group(readers);
    crowd.deliveries[0].timed = false;
    crowd.open(port, size, readers, WITHIN)?;
    Ok(Company { crowd, size, first })
}

/// They go once they have all that was published.
fn leave(company: Company, published: u32, got: &mut Got) -> std::io::Result<()> {
    let Company { mut crowd, size, first } = company;
    let all = size as u64 * u64::from(published - first);
    crowd.turn_until(WITHIN, |crowd| crowd.deliveries[0].count >= all)?;
    crowd.deliveries[0].sound().map_err(std::io::Error::other)?;
    got.readers += size;
    got.deliveries += crowd.deliveries[0].count;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a few gigabytes at most")]
fn look(pid: u32, folder: &Path, minutes: f64) -> std::io::Result<Look> {
    let count = |folder: String| Ok::<_, std::io::Error>(fs::read_dir(folder)?.count() as f64);
    let mut file = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("events.db") {
            // One that is removed meanwhile has no length.
            file += entry.metadata().map_or(0, |data| data.len());
        }
    }
    Ok(Look {
        minutes,
        memory: resident(pid)? as f64,
        descriptors: count(format!("/proc/{pid}/fd"))?,
        threads: count(format!("/proc/{pid}/task"))?,
        file: file as f64,
    })
}

/// The medians of each quarter, and whether something grows.
fn report(bench: &mut Bench<'_>, looks: &[Look], closed: Look) -> Result<(), String> {
    let quarter = |number: usize| &looks[looks.len() * number / 4..looks.len() * (number + 1) / 4];
    let mut rows = Vec::new();
    for number in 0..5 {
        let (label, looks) = match number {
            4 => ("all closed".to_owned(), std::slice::from_ref(&closed)),
            _ => (format!("quarter {}", number + 1), quarter(number)),
        };
        for look in looks {
            for (_, what, value, _) in SHOWS {
                bench.report.add("soak", &label, what, value(look));
            }
        }
        rows.push(Row { label: label.clone(), case: "soak".to_owned(), who: label });
    }
    let decimals = |unit: f64| usize::from(unit > 1.0);
    let columns =
        SHOWS.map(|(title, what, _, unit)| Column::new(title, what, unit, decimals(unit)));
    bench.report.table("soak", &rows, &columns);
    let mut grown = Vec::new();
    for (title, what, _, unit) in SHOWS {
        let of = |quarter| bench.report.median("soak", quarter, what).unwrap_or(f64::NAN);
        let (early, late) = (of("quarter 2"), of("quarter 4"));
        bench.report.ratio(&format!("soak.{what}"), late / early);
        if has_grown(what, early, late) {
            grown.push(format!("{title}: {:.1}, and {:.1} at the end", early / unit, late / unit));
        }
    }
    if grown.is_empty() { Ok(()) } else { Err(format!("it grows: {}", grown.join("; "))) }
}

fn has_grown(what: &str, early: f64, late: f64) -> bool {
    let most = match what {
        "descriptors" => early + DESCRIPTORS,
        "threads" => early + THREADS,
        _ => MEMORY.0 * early + MEMORY.1,
    };
    // Not a number is no proof.
    late.partial_cmp(&most).is_none_or(std::cmp::Ordering::is_gt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_of_a_few_bytes_for_each_reader_is_seen_within_an_hour() {
        // A hundred readers come each second, for half an hour between the two.
        let leaks = |bytes: f64| has_grown("memory", 30e6, 30e6 + 100.0 * 1_800.0 * bytes);
        assert!(!leaks(0.0) && leaks(30.0));
        assert!(has_grown("descriptors", 10_050.0, 10_300.0) && has_grown("threads", 16.0, 30.0));
        assert!(!has_grown("descriptors", 10_050.0, 10_150.0) && !has_grown("threads", 16.0, 18.0));
        assert!(has_grown("memory", f64::NAN, 1.0) && has_grown("file", 1.0, f64::NAN));
    }
}
