//! How fast event streams are decoded and encoded, side by side: everyone in one process, in
//! rounds, in a new random order each round, so that whatever else the machine does hits them
//! alike. Ratios are taken round by round.
//!
//! `cargo bench -p sse-peers --bench codec -- [--quick] [CELL…]`. A cell is a corpus and a chunk
//! size for decoders, such as `a-64k`; the same after `stream-` for adapters that make streams of
//! events; a corpus after `encode-` for encoders. Absolute numbers say as much about the machine as
//! about the code; the ratios in the last lines are what this is for.
//!
//! - `contest` has contestants do the work of a cell, and measures them.
//! - `decoding` and `encoding` are that work, and have the contestants.
//! - `report` writes tables and ratios.

mod contest;
mod decoding;
mod encoding;
mod report;

use std::env;
use std::process::ExitCode;

use sse_peers::{CHUNK_LENS, Chunks, Corpus, Count};

use crate::contest::{Contest, Work};
use crate::decoding::Decoding;
use crate::encoding::Encoding;

/// More than enough for a median that is worth two decimals.
const ROUNDS: usize = 31;
const QUICK_ROUNDS: usize = 5;

/// The events of the others are longer than some adapters take without being told to.
const STREAMED: [&str; 2] = ["a", "b"];

/// Cells that make one table.
struct Group<'c> {
    title: String,
    cells: Vec<Cell<'c>>,
    ratios: fn(&Contest) -> Vec<String>,
}

/// A name, and how to set up the work.
type Cell<'c> = (String, Box<dyn Fn() -> Box<dyn Work> + 'c>);

fn main() -> ExitCode {
    let mut rounds = ROUNDS;
    let mut wanted = Vec::new();
    for arg in env::args().skip(1) {
        match arg.as_str() {
            // From cargo.
            "--bench" => {}
            "--quick" => rounds = QUICK_ROUNDS,
            _ => wanted.push(arg),
        }
    }
    let corpora = Corpus::all();
    let groups = groups(&corpora);
    let known: Vec<_> =
        groups.iter().flat_map(|group| &group.cells).map(|(name, _)| name.as_str()).collect();
    if let Some(stray) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("codec: there is no cell {stray:?}; there are {}", known.join(", "));
        return ExitCode::from(2);
    }

    let mut ratios = Vec::new();
    for group in &groups {
        let mut contests = Vec::new();
        for (cell, set_up) in &group.cells {
            if !wanted.is_empty() && !wanted.contains(cell) {
                continue;
            }
            eprintln!("measuring {cell} …");
            match Contest::hold(cell, &*set_up(), rounds) {
                Ok(contest) => contests.push(contest),
                Err(wrong) => {
                    eprintln!("codec: {wrong}");
                    return ExitCode::FAILURE;
                }
            }
        }
        if !contests.is_empty() {
            println!("{}", report::table(&group.title, &contests));
            ratios.extend(contests.iter().flat_map(group.ratios));
        }
    }
    for ratio in ratios {
        println!("{ratio}");
    }
    ExitCode::SUCCESS
}

fn groups(corpora: &[Corpus]) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    for corpus in corpora {
        let mib = (corpus.stream.len() + (1 << 19)) >> 20;
        let (name, about, events) = (corpus.name, corpus.about, corpus.count.events);
        groups.push(Group {
            title: format!("{name}: {about} ({mib} MiB, {events} events)"),
            cells: decoding(corpus, "", Decoding::by_codecs),
            ratios: report::codec_ratios,
        });
    }
    for corpus in corpora.iter().filter(|corpus| STREAMED.contains(&corpus.name)) {
        groups.push(Group {
            title: format!("{}, as a stream of events", corpus.name),
            cells: decoding(corpus, "stream-", Decoding::by_adapters),
            ratios: report::adapter_ratios,
        });
    }
    let encoding = |corpus| -> Box<dyn Work> { Box::new(Encoding::new(corpus)) };
    groups.push(Group {
        title: "encoding".to_owned(),
        cells: corpora
            .iter()
            .map(|corpus| -> Cell<'_> {
                (format!("encode-{}", corpus.name), Box::new(move || encoding(corpus)))
            })
            .collect(),
        ratios: report::encoder_ratios,
    });
    groups
}

/// A cell for each length of chunks.
fn decoding<'c>(
    corpus: &'c Corpus,
    prefix: &str,
    by: fn(Chunks, Count) -> Decoding,
) -> Vec<Cell<'c>> {
    let cell = |(chunk, len)| -> Cell<'c> {
        let work = move || -> Box<dyn Work> {
            Box::new(by(Chunks::new(corpus.stream.clone(), len), corpus.count))
        };
        (format!("{prefix}{}-{chunk}", corpus.name), Box::new(work))
    };
    CHUNK_LENS.map(cell).into()
}
