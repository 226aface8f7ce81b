//! What happened in a run, in words.

use crate::plan::{Plan, Shown};
use crate::run::Report;

/// How many lines of the end are told.
const LAST: usize = 40;

/// Who was there, and what went wrong.
fn plan(plan: &Plan) {
    let Plan { hubs, channels, refresh, .. } = plan;
    let relay = if plan.has_relay { "a relay" } else { "no relay" };
    let beside = if plan.is_late { ", another program that appends in two steps" } else { "" };
    println!(
        "seed {}: {hubs} hubs, {relay}, {channels} channels, heads compared every {refresh:?}{beside}",
        plan.seed
    );
    for reader in plan.readers.iter().filter(|reader| reader.begins <= plan.length) {
        let channels: Vec<String> = reader.channels.iter().map(|it| format!("c{it}")).collect();
        let how = if reader.rests { ", at rest" } else { "" };
        let types = if reader.is_choosy { ", events of type t" } else { "" };
        let first = if reader.from_first { "the first event" } else { "where it comes in" };
        println!(
            "reader {} (u{}{how}{types}) reads {} from {first}, from {}",
            reader.number,
            reader.user,
            channels.join(" and "),
            Shown(reader.begins).to_string().trim()
        );
    }
    for disturbance in &plan.disturbances {
        println!("{disturbance}");
    }
}

/// A whole run, from beginning to end.
pub fn whole(of: &Plan, report: &Report) {
    plan(of);
    println!();
    report.lines.iter().for_each(|line| println!("{line}"));
    println!();
    if let Some(violation) = &report.violation {
        println!("broken: {}: {}", violation.rule, violation.text);
    }
    println!(
        "{} events delivered in {}; the sum of all this is {:016x}",
        report.delivered,
        Shown(report.simulated).to_string().trim(),
        report.sum
    );
}

/// A run in which something was.
pub fn of_failure(of: &Plan, report: &Report) {
    println!();
    plan(of);
    println!();
    // Of what came before only what concerns the one that was wronged.
    let text = report.violation.as_ref().map_or("", |violation| &violation.text);
    let mut words = text.split(' ').skip_while(|word| *word != "reader");
    let who = words.next().and(words.next()).map(|number| format!("  reader {number} "));
    let concerns = |line: &str| {
        let is_about = who.as_ref().is_some_and(|who| line.contains(who.as_str()));
        is_about || line.contains("** ") || line.contains(" starts")
    };
    let before = report.lines.len().saturating_sub(LAST);
    let (before, last) = report.lines.split_at(before);
    let told = before.iter().filter(|line| concerns(line));
    let told: Vec<_> = told.collect();
    for line in told.iter().skip(told.len().saturating_sub(LAST)) {
        println!("{line}");
    }
    println!("           … {} lines about others", before.len() - told.len().min(LAST));
    for line in last {
        println!("{line}");
    }
    println!();
    if let Some(violation) = &report.violation {
        println!("broken at {}: {}", Shown(violation.at).to_string().trim(), violation.rule);
        println!("  {}", violation.text);
    }
}
