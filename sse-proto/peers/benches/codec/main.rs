//! How fast decoders are, side by side: all of them in one process, in rounds, in a new random order
//! each round, so that whatever else the machine does hits them alike. Ratios are taken round by round.
//!
//! `cargo bench -p sse-peers --bench codec -- [--quick] [CELL…]`. A cell is a corpus and a chunk size,
//! such as `a-64k`. Absolute numbers say as much about the machine as about the decoders; the ratios in
//! the last lines are what this is for.
//!
//! - `contest` has the contestants and measures them in one cell.
//! - `report` writes tables and ratios.

mod contest;
mod report;

use std::env;
use std::process::ExitCode;

use sse_peers::{CHUNK_LENS, Chunks, Corpus};

use crate::contest::Contest;

/// More than enough for a median that is worth two decimals.
const ROUNDS: usize = 31;
const QUICK_ROUNDS: usize = 5;

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
    let cell_name = |corpus: &Corpus, chunk: &str| format!("{}-{chunk}", corpus.name);
    let cells: Vec<_> = corpora
        .iter()
        .flat_map(|corpus| CHUNK_LENS.map(|(chunk, _)| cell_name(corpus, chunk)))
        .collect();
    if let Some(stray) = wanted.iter().find(|name| !cells.contains(name)) {
        eprintln!("codec: there is no cell {stray:?}; there are {}", cells.join(", "));
        return ExitCode::from(2);
    }

    let mut ratios = Vec::new();
    for corpus in &corpora {
        let mut contests = Vec::new();
        for (chunk, len) in CHUNK_LENS {
            let cell = cell_name(corpus, chunk);
            if !wanted.is_empty() && !wanted.contains(&cell) {
                continue;
            }
            eprintln!("measuring {cell} …");
            let chunks = Chunks::new(corpus.stream.clone(), len);
            match Contest::hold(cell, &chunks, corpus.count, rounds) {
                Ok(contest) => contests.push(contest),
                Err(wrong) => {
                    eprintln!("codec: {wrong}");
                    return ExitCode::FAILURE;
                }
            }
        }
        if !contests.is_empty() {
            println!("{}", report::table(corpus, &contests));
            ratios.extend(contests.iter().flat_map(report::ratios));
        }
    }
    for ratio in ratios {
        println!("{ratio}");
    }
    ExitCode::SUCCESS
}
