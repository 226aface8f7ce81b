//! `sse-sim`: what `cargo xtask sim` runs.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::prelude::*;

use crate::mutants::{MUTANTS, Mutant, find};
use crate::plan::Plan;
use crate::run::{Report, run};
use crate::shrink::shrink;
use crate::story;

/// Runs that have failed once, or that show something: each is run always.
const NAMED: &str = include_str!("../seeds.txt");

/// Which seed has found which fault: a line each. Other changes may have another one find it.
const FOUND: &str = include_str!("../found.txt");

/// In how many seeds a fault must be found.
const WITHIN: u64 = 1_000;

/// Of so many seeds one is run twice.
const TWICE: u64 = 20;

struct Options {
    seeds: u64,
    /// The first of them.
    from: u64,
    /// Only this one, with its story.
    seed: Option<u64>,
    /// All of it, and nothing taken away.
    is_whole: bool,
    is_endless: bool,
    mutants: bool,
    /// In how many seeds each must be found.
    within: u64,
    mutant: Option<&'static Mutant>,
    /// After this time no more of them is begun.
    most: Option<Duration>,
}

/// Reads the arguments, and does it.
pub fn main() -> ExitCode {
    match options(lexopt::Parser::from_env()) {
        Ok(options) => execute(&options),
        Err(error) => {
            eprintln!("sse-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(mut args: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let mut options = Options {
        seeds: 0,
        from: 1,
        seed: None,
        is_whole: false,
        is_endless: false,
        mutants: false,
        within: WITHIN,
        mutant: None,
        most: None,
    };
    while let Some(arg) = args.next()? {
        match arg {
            Long("seeds") => options.seeds = args.value()?.parse()?,
            Long("from") => options.from = args.value()?.parse()?,
            Long("seed") => options.seed = Some(args.value()?.parse()?),
            Long("whole") => options.is_whole = true,
            Long("forever") => options.is_endless = true,
            Long("mutants") => options.mutants = true,
            Long("within") => options.within = args.value()?.parse()?,
            Long("seconds") => options.most = Some(Duration::from_secs(args.value()?.parse()?)),
            Long("mutant") => {
                let name = args.value()?.string()?;
                let mutant = find(&name).ok_or_else(|| {
                    let names: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
                    format!("there is no mutant {name:?}: {}", names.join(", "))
                })?;
                options.mutant = Some(mutant);
            }
            _ => return Err(arg.unexpected()),
        }
    }
    if options.seeds == 0 && options.seed.is_none() && !options.mutants && !options.is_endless {
        return Err("say --seeds N, --seed S, --mutants or --forever".into());
    }
    Ok(options)
}

fn execute(options: &Options) -> ExitCode {
    let mutant = options.mutant.map(|mutant| mutant.name);
    if let Some(seed) = options.seed {
        let is_well = tell(seed, mutant, options.is_whole);
        return if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if mutant.is_some() && options.seeds > 0 {
        let Some(found) = first_failure(options.from, options.seeds, mutant) else {
            println!("no seed of {} finds it", options.seeds);
            return ExitCode::FAILURE;
        };
        tell(found, mutant, false);
        return ExitCode::SUCCESS;
    }
    let mut is_well = true;
    if options.seeds > 0 || options.is_endless {
        is_well &= clean(options);
    }
    if options.mutants {
        is_well &= table(options);
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a seed and tells its story. Whether nothing was wrong.
fn tell(seed: u64, mutant: Option<&'static str>, is_whole: bool) -> bool {
    let plan = Plan::of(seed);
    let report = run(&plan, mutant, true);
    if is_whole || report.violation.is_none() {
        story::whole(&plan, &report);
        return report.violation.is_none();
    }
    let (plan, report) = shrink(&plan, mutant);
    story::of_failure(&plan, &report);
    false
}

/// What runs have come to together.
#[derive(Default)]
struct Sum {
    seeds: AtomicU64,
    twice: AtomicU64,
    simulated: AtomicU64,
    delivered: AtomicU64,
    /// What the threads have worked, in milliseconds.
    worked: AtomicU64,
}

impl Sum {
    fn add(&self, report: &Report) {
        self.seeds.fetch_add(1, Ordering::Relaxed);
        self.simulated.fetch_add(report.simulated, Ordering::Relaxed);
        self.delivered.fetch_add(report.delivered, Ordering::Relaxed);
    }

    fn print(&self, begun: Instant) {
        let [seeds, twice, simulated, delivered, worked] =
            [&self.seeds, &self.twice, &self.simulated, &self.delivered, &self.worked]
                .map(|number| number.load(Ordering::Relaxed));
        let seconds = simulated / 1000;
        println!(
            "{seeds} runs ({twice} of them twice, and the same), {delivered} events delivered, {:.0} s",
            begun.elapsed().as_secs_f64()
        );
        println!(
            "{} hours of a system's time; {} simulated seconds a second of one core",
            seconds / 3600,
            simulated / worked.max(1)
        );
    }
}

/// Runs seeds on all cores, one after the other, until one fails.
fn clean(options: &Options) -> bool {
    let begun = Instant::now();
    let sum = Sum::default();
    let named: Vec<u64> = named().collect();
    let next = AtomicU64::new(0);
    let most = named.len() as u64 + options.seeds;
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    let work = || {
        let worked = Instant::now();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= most && !options.is_endless {
                break;
            }
            let after_named = number.checked_sub(named.len() as u64);
            let seed = after_named.map_or_else(
                || named[usize::try_from(number).expect("a few")],
                |number| options.from + number,
            );
            let plan = Plan::of(seed);
            let report = run(&plan, None, false);
            sum.add(&report);
            let mut why = report.violation.map(|violation| violation.rule.to_owned());
            if number.is_multiple_of(TWICE) && why.is_none() {
                sum.twice.fetch_add(1, Ordering::Relaxed);
                let again = run(&plan, None, false);
                if again.sum != report.sum {
                    why = Some("the same seed gives the same run".to_owned());
                }
            }
            if let Some(why) = why {
                println!("seed {seed} fails: {why}");
                failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, why));
            }
            if options.is_endless && number > 0 && number.is_multiple_of(10_000) {
                sum.print(begun);
            }
        }
        let worked = on_core().unwrap_or_else(|| worked.elapsed());
        let worked = u64::try_from(worked.as_millis()).unwrap_or(u64::MAX);
        sum.worked.fetch_add(worked, Ordering::Relaxed);
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    sum.print(begun);
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((seed, _)) = failed.first() {
        let _ = tell(*seed, None, false);
        println!("again: cargo xtask sim --seed {seed}");
    }
    failed.is_empty()
}

/// How long this thread has had a core, where the system tells: on one that others use too, time
/// says little.
fn on_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn named() -> impl Iterator<Item = u64> {
    let lines = NAMED.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().expect("a line begins with a seed"))
}

/// The first seed that finds a fault.
fn first_failure(from: u64, seeds: u64, mutant: Option<&'static str>) -> Option<u64> {
    (from..from + seeds).find(|&seed| run(&Plan::of(seed), mutant, false).violation.is_some())
}

/// Puts each fault into the server, and shows which seed finds it.
fn table(options: &Options) -> bool {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let found: Vec<Mutex<Tried>> = MUTANTS.iter().map(|_| Mutex::default()).collect();
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(mutant) = MUTANTS.get(number) else { break };
        let is_over = || options.most.is_some_and(|most| begun.elapsed() >= most);
        let tried = first_to_find(mutant.name, options.within, is_over);
        // The table comes when all are done.
        match &tried {
            Tried::Not => {}
            Tried::Missed => eprintln!("{}: not found", mutant.name),
            Tried::Found(seed, _) => eprintln!("{}: seed {seed}", mutant.name),
        }
        *found[number].lock().unwrap_or_else(PoisonError::into_inner) = tried;
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    println!("| seed | mutant | what the server does wrong | found because it breaks |");
    println!("|---|---|---|---|");
    let (mut hits, mut missed) = (0, 0);
    for (mutant, tried) in MUTANTS.iter().zip(found) {
        let tried = tried.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (seed, rule) = match tried {
            Tried::Not => continue,
            Tried::Missed => ("-".to_owned(), format!("NOT FOUND in {} seeds", options.within)),
            Tried::Found(seed, ref rule) => (seed.to_string(), rule.to_owned()),
        };
        let count = if matches!(tried, Tried::Missed) { &mut missed } else { &mut hits };
        *count += 1;
        let was = mutant.was.map(|was| format!(" ({was})")).unwrap_or_default();
        println!("| {seed} | `{}` | {}{was} | {rule} |", mutant.name, mutant.fault);
    }
    let not_tried = MUTANTS.len() - hits - missed;
    let took = Duration::from_secs(begun.elapsed().as_secs());
    println!("\n{hits} mutants found, {missed} not, {not_tried} not tried; {took:?}");
    missed == 0 && hits > 0
}

/// What became of a fault.
#[derive(Default)]
enum Tried {
    /// Or not to the end: the time was over.
    #[default]
    Not,
    Missed,
    /// By this seed, which breaks this rule.
    Found(u64, String),
}

/// The first seed that finds a fault, and why; that which has found it before is tried first.
fn first_to_find(mutant: &'static str, within: u64, is_over: impl Fn() -> bool) -> Tried {
    let known = FOUND.lines().filter_map(|line| line.split_once(' '));
    let known = known.filter(|(name, _)| *name == mutant);
    let known = known.filter_map(|(_, seed)| seed.trim().parse().ok());
    for seed in known.chain(1..=within) {
        if is_over() {
            return Tried::Not;
        }
        let plan = Plan::of(seed);
        if let Some(violation) = run(&plan, Some(mutant), false).violation
            // It has to be the fault, and not the seed.
            && run(&plan, None, false).violation.is_none()
        {
            return Tried::Found(seed, violation.rule.to_owned());
        }
    }
    Tried::Missed
}
