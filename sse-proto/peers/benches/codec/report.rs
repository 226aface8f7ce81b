//! Writes tables and ratios.

use std::fmt::{self, Write as _};

use sse_peers::{BORROWED, Corpus, Form, OWNED};

use crate::contest::{Contest, Entry, MEMCHR2, Speed};

/// One corpus: a line for each contestant, a column for each cell.
pub(crate) fn table(corpus: &Corpus, contests: &[Contest]) -> String {
    let mut table = String::new();
    write_table(&mut table, corpus, contests).expect("a string takes all text");
    table
}

fn write_table(table: &mut String, corpus: &Corpus, contests: &[Contest]) -> fmt::Result {
    let mib = (corpus.stream.len() + (1 << 19)) >> 20;
    let events = corpus.count.events;
    write!(table, "\n{}: {} ({mib} MiB, {events} events)\n", corpus.name, corpus.about)?;
    write!(table, "{:<22}", "MB/s")?;
    for contest in contests {
        write!(table, "{:>16}", contest.cell)?;
    }
    table.push('\n');
    let mut notes = String::new();
    let names = contests.first().map_or(&[][..], |contest| &contest.entries);
    for (index, entry) in names.iter().enumerate() {
        write!(table, "{:<22}", entry.name)?;
        for contest in contests {
            match &contest.entries[index].result {
                Ok(Speed { median, spread, .. }) => {
                    write!(table, "{median:>9.0} ±{:>3.0} %", spread * 100.0)?;
                }
                Err(left_out) => {
                    write!(table, "{:>16}", "too slow")?;
                    let (name, cell) = (entry.name, &contest.cell);
                    let (kib, time) = (left_out.len >> 10, left_out.time.as_secs_f64());
                    writeln!(notes, "left out: {name}, {cell}: {time:.1} s for {kib} KiB")?;
                }
            }
        }
        table.push('\n');
    }
    table.push_str(&notes);
    Ok(())
}

/// The lines `ratio NAME OURS/THEIRS` of a cell. More is better. The best of several is the one that
/// leaves us the least.
pub(crate) fn ratios(contest: &Contest) -> Vec<String> {
    let ours = |name| speeds(contest, move |entry| entry.name == name).next();
    let borrowed = ours(BORROWED.name);
    let owned = ours(OWNED.name);
    let peers = speeds(contest, |entry| entry.codec.is_some_and(|codec| !codec.ours));
    let owned_peers = speeds(contest, |entry| {
        entry.codec.is_some_and(|codec| !codec.ours && codec.form != Form::Borrowed)
    });
    let limit = speeds(contest, |entry| entry.name == MEMCHR2);
    let comparisons = [
        ("peer", least(borrowed, peers)),
        ("limit", least(borrowed, limit)),
        ("owned-peer", least(owned, owned_peers)),
    ];
    let lines = comparisons.into_iter().filter_map(|(name, ratio)| {
        Some(format!("ratio codec.{}.{name} {:.2}", contest.cell, ratio?))
    });
    lines.collect()
}

fn speeds(contest: &Contest, wanted: impl Fn(&Entry) -> bool) -> impl Iterator<Item = &Speed> {
    let entries = contest.entries.iter().filter(move |entry| wanted(entry));
    entries.filter_map(|entry| entry.result.as_ref().ok())
}

fn least<'a>(ours: Option<&Speed>, theirs: impl Iterator<Item = &'a Speed>) -> Option<f64> {
    let ours = ours?;
    theirs.map(|theirs| ours.ratio(theirs)).min_by(f64::total_cmp)
}
