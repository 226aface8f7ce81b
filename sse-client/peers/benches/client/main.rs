//! How fast clients are, side by side and end to end: a server on this machine sends a long stream
//! as fast as it is read, and each client reads all of it, in a process of its own, on a runtime of
//! one thread. In rounds, in a new random order each round, so that whatever else the machine does
//! hits them alike; each time after a shorter stream that is not measured. Ratios are taken round
//! by round.
//!
//! `cargo bench -p sse-client-peers --bench client -- [--quick] [PEER…]`. Absolute numbers say as
//! much about the machine as about the clients; the ratios in the last lines are what this is for.
//!
//! - `server` is what they read from, in a process of its own.
//! - `reader` is a client in its process.
//! - `contest` has all of them read.
//! - `report` writes tables and ratios.

mod contest;
mod reader;
mod report;
mod server;

use std::env;
use std::process::ExitCode;

use sse_client_peers::{Client, Corpus, LIMIT, OURS, OURS_BY_HYPER, PEERS};

use crate::reader::READ;
use crate::server::{Chunks, SERVE, Server};

const ROUNDS: usize = 31;
const QUICK_ROUNDS: usize = 5;

/// How often a corpus of 4 MiB is sent in one stream.
const PASSES: usize = 16;

/// What is measured. The third corpus is for decoders: events of 1 MiB.
const STREAMS: [(&str, Chunks); 3] =
    [("a", Chunks::Large), ("b", Chunks::Large), ("a", Chunks::Events)];

fn main() -> ExitCode {
    let mut rounds = ROUNDS;
    let mut peers = Vec::new();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // From cargo.
            "--bench" => {}
            SERVE => return done(server::serve().map_err(|error| error.to_string())),
            READ => {
                let name = args.next().unwrap_or_default();
                return done(reader::serve(&name).map_err(|error| error.to_string()));
            }
            "--quick" => rounds = QUICK_ROUNDS,
            name => {
                let Some(peer) = PEERS.iter().find(|peer| peer.name == name) else {
                    let names = PEERS.map(|peer| peer.name).join(", ");
                    eprintln!("client: there is no peer {name:?}; there are {names}");
                    return ExitCode::from(2);
                };
                peers.push(*peer);
            }
        }
    }
    if peers.is_empty() {
        peers = PEERS.to_vec();
    }
    done(run(&peers, rounds))
}

fn done(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(peers: &[Client], rounds: usize) -> Result<(), String> {
    let server = Server::start().map_err(|error| error.to_string())?;
    let ours = [OURS, OURS_BY_HYPER].into_iter();
    let clients: Vec<_> = ours.chain(peers.iter().copied()).chain([LIMIT]).collect();
    let mut results = Vec::new();
    let corpora = Corpus::all();
    for (name, chunks) in STREAMS {
        let corpus = corpora.iter().find(|corpus| corpus.name == name).ok_or("no such corpus")?;
        eprintln!("measuring {name} …");
        let entries = contest::hold(&server, (corpus, chunks), &clients, rounds, PASSES)?;
        println!("{}", report::table(corpus, chunks, PASSES, &entries));
        results.push((chunks, entries));
    }
    for line in report::ratios(&results) {
        println!("{line}");
    }
    Ok(())
}
