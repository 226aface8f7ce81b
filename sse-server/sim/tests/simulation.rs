//! The simulator itself: it finds nothing in the server as it is, finds faults that are put in, and
//! says the same each time. `cargo xtask sim` runs as many seeds as you like; these are few.

use sse_server_sim::mutants::{MUTANTS, NETWORK, find};
use sse_server_sim::plan::Plan;
use sse_server_sim::run::run;
use sse_server_sim::shrink::shrink;

#[test]
fn nothing_is_wrong_in_a_few_seeds() {
    for seed in 1..=25 {
        let report = run(&Plan::of(seed), None, false);
        assert_eq!(report.violation, None, "seed {seed}");
        assert!(report.simulated > 60_000, "seed {seed} ran to its end");
    }
    let delivered = (1..=5).map(|seed| run(&Plan::of(seed), None, false).delivered);
    assert!(delivered.sum::<u64>() > 500, "readers got events");
}

#[test]
fn the_same_seed_gives_the_same_lines() {
    for seed in [3, 14] {
        let [one, other] = [(); 2].map(|()| run(&Plan::of(seed), None, true));
        assert_eq!(one.lines, other.lines, "seed {seed}");
        assert_eq!(one.sum, other.sum);
    }
    let [one, other] = [1, 2].map(|seed| run(&Plan::of(seed), None, false).sum);
    assert_ne!(one, other, "seeds differ");
}

#[test]
fn a_fault_is_found_and_less_than_the_whole_plan_shows_it() {
    let mutant = find("reset-swallowed").expect("it is in the list").name;
    let found =
        (1..=1_000).find(|&seed| run(&Plan::of(seed), Some(mutant), false).violation.is_some());
    let plan = Plan::of(found.expect("a seed finds it"));
    let whole = run(&plan, Some(mutant), true);
    let (small, report) = shrink(&plan, Some(mutant));
    let rule = |violation: Option<sse_server_sim::world::Violation>| violation.map(|it| it.rule);
    assert_eq!(rule(report.violation), rule(whole.violation));
    let size = |plan: &Plan| plan.disturbances.len() + plan.publishers.len();
    assert!(size(&small) < size(&plan), "{} of {}", size(&small), size(&plan));
    assert_eq!(run(&plan, None, false).violation, None, "it was the fault, not the seed");
}

#[test]
fn what_seeds_have_found_they_find_again() {
    for (seed, mutant) in [(24, "ahead-spins"), (255, "known-not-told"), (555, "loss-told-twice")] {
        let mutant = find(mutant).expect("it is in the list").name;
        let plan = Plan::of(seed);
        assert!(run(&plan, Some(mutant), false).violation.is_some(), "{mutant} in seed {seed}");
        assert_eq!(run(&plan, None, false).violation, None, "seed {seed}, mended");
    }
}

#[test]
fn every_mutant_is_in_the_source_once_and_in_the_list() {
    let mut sources = String::new();
    let mut folders =
        vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|name| name == "rs") {
                sources += &std::fs::read_to_string(path).expect("text");
            }
        }
    }
    let named = sources.split("mutant!(\"").skip(1);
    let named: Vec<&str> = named.map(|rest| rest.split('"').next().expect("a name")).collect();
    for mutant in MUTANTS.iter().chain(NETWORK) {
        assert!(named.contains(&mutant.name), "{} is nowhere in the server", mutant.name);
    }
    for name in named {
        assert!(find(name).is_some(), "{name} is not in the list");
    }
}
