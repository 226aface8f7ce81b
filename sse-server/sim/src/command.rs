//! `sse-sim`: what `cargo xtask sim` runs.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
        is_well &= table(options.within);
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
    let has_failed = AtomicBool::new(false);
    let work = || {
        let worked = Instant::now();
        while !has_failed.load(Ordering::Relaxed) {
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
                failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, why));
                has_failed.store(!options.is_endless, Ordering::Relaxed);
            }
            if options.is_endless && number > 0 && number.is_multiple_of(10_000) {
                sum.print(begun);
            }
        }
        let worked = u64::try_from(worked.elapsed().as_millis()).unwrap_or(u64::MAX);
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
    for (seed, why) in &failed {
        println!("seed {seed} fails: {why}");
    }
    if let Some((seed, _)) = failed.first() {
        let _ = tell(*seed, None, false);
        println!("again: cargo xtask sim --seed {seed}");
    }
    failed.is_empty()
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
fn table(within: u64) -> bool {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let found: Vec<Mutex<Option<(u64, String)>>> =
        MUTANTS.iter().map(|_| Mutex::default()).collect();
    let work = || loop {
        let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("a few");
        let Some(mutant) = MUTANTS.get(number) else { break };
        let first = (1..=within).find_map(|seed| {
            let violation = run(&Plan::of(seed), Some(mutant.name), false).violation?;
            Some((seed, violation.rule.to_owned()))
        });
        // The table comes when all are done.
        let seed =
            first.as_ref().map_or("not found".to_owned(), |(seed, _)| format!("seed {seed}"));
        eprintln!("{}: {seed}", mutant.name);
        *found[number].lock().unwrap_or_else(PoisonError::into_inner) = first;
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    println!("{:>5}  {:<28}{:<66}found because", "seed", "mutant", "what the server does wrong");
    let mut missed = 0;
    for (mutant, found) in MUTANTS.iter().zip(&found) {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let (seed, rule) = found.clone().map_or_else(
            || ("-".to_owned(), format!("NOT FOUND in {within} seeds")),
            |(seed, rule)| (seed.to_string(), rule),
        );
        missed += usize::from(found.is_none());
        let was = mutant.was.map(|was| format!(" ({was})")).unwrap_or_default();
        println!("{seed:>5}  {:<28}{:<66}{rule}", mutant.name, format!("{}{was}", mutant.fault));
    }
    let took = Duration::from_secs(begun.elapsed().as_secs());
    println!("{} of {} mutants found, {took:?}", MUTANTS.len() - missed, MUTANTS.len());
    missed == 0
}
