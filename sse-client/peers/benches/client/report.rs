//! Writes tables and ratios.

use std::fmt::{self, Write as _};

use sse_client_peers::{Corpus, LIMIT, OURS, OURS_BY_HYPER};

use crate::contest::Entry;
use crate::server::Chunks;

/// One corpus, a line for each client.
pub(crate) fn table(corpus: &Corpus, chunks: Chunks, passes: usize, entries: &[Entry]) -> String {
    let mut table = String::new();
    write_table(&mut table, corpus, chunks, passes, entries).expect("a string takes all text");
    table
}

fn write_table(
    table: &mut String,
    corpus: &Corpus,
    chunks: Chunks,
    passes: usize,
    entries: &[Entry],
) -> fmt::Result {
    let events = count(corpus.count.events * passes);
    let bytes = count(corpus.stream.len() * passes);
    let mib = bytes / f64::from(1 << 20);
    let each = if chunks == Chunks::Events { ", a chunk for each" } else { "" };
    let (name, about) = (corpus.name, corpus.about);
    writeln!(table, "\n{name}: {about}{each} ({mib:.0} MiB, {events} events)")?;
    writeln!(
        table,
        "{:<22}{:>10}{:>9}{:>8}{:>14}{:>18}",
        "", "k events/s", "MB/s", "", "CPU, ns/event", "ours: speed, CPU"
    )?;
    let ours = entries.iter().find(|entry| entry.client.name == OURS.name);
    for entry in entries {
        let (speed, spread) = entry.speed();
        write!(
            table,
            "{:<22}{:>10.0}{:>9.0} ±{:>4.1} %{:>14.0}",
            entry.client.name,
            speed * events / 1e3,
            speed * bytes / 1e6,
            spread * 100.0,
            entry.cpu() / events * 1e9,
        )?;
        if let Some(ours) = ours {
            write!(table, "{:>11.2}×{:>5.2}×", ours.speed_ratio(entry), ours.cpu_ratio(entry))?;
        }
        table.push('\n');
    }
    Ok(())
}

/// The lines `ratio NAME OURS/THEIRS` of large chunks, and after them those of chunks of an event
/// each: of several streams, the one that is the worst for us. More throughput is better, and less
/// of the processor's time; that of the client alone, which a server or a machine that is busy with
/// other things slows down less. Ours by hyper is beside ours by reqwest, too.
pub(crate) fn ratios(results: &[(Chunks, Vec<Entry>)]) -> Vec<String> {
    let of = |wanted| results.iter().filter(move |(chunks, _)| *chunks == wanted);
    let large: Vec<_> = of(Chunks::Large).map(|(_, entries)| entries.as_slice()).collect();
    let events: Vec<_> = of(Chunks::Events).map(|(_, entries)| entries.as_slice()).collect();
    let mut lines = ratios_of("client", &large);
    lines.extend(ratios_of("client-events", &events));
    lines
}

fn ratios_of(name: &str, results: &[&[Entry]]) -> Vec<String> {
    let Some(first) = results.first() else {
        return Vec::new();
    };
    let others = [OURS.name, OURS_BY_HYPER.name, LIMIT.name];
    let is_peer = |entry: &&Entry| !others.contains(&entry.client.name);
    let lines = |name: &str, ours: &str, theirs: &str| {
        let pairs = results.iter().filter_map(|entries| {
            let find = |name| entries.iter().find(|entry| entry.client.name == name);
            Some((find(ours)?, find(theirs)?))
        });
        let speed = pairs.clone().map(|(ours, theirs)| ours.speed_ratio(theirs));
        let cpu = pairs.map(|(ours, theirs)| ours.cpu_ratio(theirs));
        let speed = speed.min_by(f64::total_cmp).map(|ratio| format!("throughput {ratio:.2}"));
        let cpu = cpu.max_by(f64::total_cmp).map(|ratio| format!("cpu {ratio:.2}"));
        let ratios = speed.into_iter().chain(cpu);
        ratios.map(|ratio| format!("ratio {name}.{ratio}")).collect::<Vec<_>>()
    };
    let by_hyper = lines(&format!("{name}-hyper.reqwest"), OURS_BY_HYPER.name, OURS.name);
    let peers = first.iter().filter(is_peer).map(|peer| peer.client.name);
    let peers = peers.flat_map(|peer| lines(&format!("{name}.{peer}"), OURS.name, peer));
    by_hyper.into_iter().chain(peers).collect()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("a stream has less than 4 GiB"))
}
