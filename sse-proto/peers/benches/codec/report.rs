//! Writes tables and ratios.

use std::fmt::{self, Write as _};

use sse_peers::{BORROWED, FRAMED, OWNED, STREAM};

use crate::contest::{Contest, Entry, MEMCHR2, MEMCPY, Role, Speed};
use crate::encoding::{ENCODE_INTO, RENDERED};

/// A line for each contestant, a column for each cell.
pub(crate) fn table(title: &str, contests: &[Contest]) -> String {
    let mut table = String::new();
    write_table(&mut table, title, contests).expect("a string takes all text");
    table
}

fn write_table(table: &mut String, title: &str, contests: &[Contest]) -> fmt::Result {
    write!(table, "\n{title}\n")?;
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

/// The lines `ratio NAME OURS/THEIRS` of a cell of decoders. More is better. The best of several is
/// the one that leaves us the least.
pub(crate) fn codec_ratios(contest: &Contest) -> Vec<String> {
    let borrowed = speed(contest, BORROWED.name);
    let owned = speed(contest, OWNED.name);
    let peers = speeds(contest, |entry| matches!(entry.role, Role::Peer { .. }));
    let owned_peers = speeds(contest, |entry| entry.role == Role::Peer { keeps: true });
    let comparisons = [
        ("peer", least(borrowed, peers)),
        ("limit", least(borrowed, speed(contest, MEMCHR2).into_iter())),
        ("owned-peer", least(owned, owned_peers)),
    ];
    let lines = comparisons.into_iter().filter_map(|(name, ratio)| {
        Some(format!("ratio codec.{}.{name} {:.2}", contest.cell, ratio?))
    });
    lines.collect()
}

/// Those of a cell of adapters: each of ours against each of the others.
pub(crate) fn adapter_ratios(contest: &Contest) -> Vec<String> {
    let ours = [("stream", STREAM.name), ("framed", FRAMED.name)];
    each_against_each(contest, "stream-", &ours)
}

/// Those of a cell of encoders: each of ours against each of the others, and against memcpy.
pub(crate) fn encoder_ratios(contest: &Contest) -> Vec<String> {
    let ours = [("encode", ENCODE_INTO), ("rendered", RENDERED)];
    each_against_each(contest, "encode-", &ours)
}

fn each_against_each(contest: &Contest, prefix: &str, ours: &[(&str, &str)]) -> Vec<String> {
    let cell = contest.cell.strip_prefix(prefix).unwrap_or(&contest.cell);
    let mut lines = Vec::new();
    for (kind, name) in ours {
        for other in contest.entries.iter().filter(|entry| entry.role != Role::Ours) {
            let theirs = if other.name == MEMCPY { "memcpy" } else { other.name };
            if let Some(ratio) = least(speed(contest, name), other.result.iter()) {
                lines.push(format!("ratio {kind}.{cell}.{theirs} {ratio:.2}"));
            }
        }
    }
    lines
}

fn speed<'a>(contest: &'a Contest, name: &str) -> Option<&'a Speed> {
    speeds(contest, |entry| entry.name == name).next()
}

fn speeds(contest: &Contest, wanted: impl Fn(&Entry) -> bool) -> impl Iterator<Item = &Speed> {
    let entries = contest.entries.iter().filter(move |entry| wanted(entry));
    entries.filter_map(|entry| entry.result.as_ref().ok())
}

fn least<'a>(ours: Option<&Speed>, theirs: impl Iterator<Item = &'a Speed>) -> Option<f64> {
    let ours = ours?;
    theirs.map(|theirs| ours.ratio(theirs)).min_by(f64::total_cmp)
}
