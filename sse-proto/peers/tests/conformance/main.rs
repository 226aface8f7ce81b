//! Which decoder reads what as the standard says: `CONFORMANCE.md` is what this finds, and a
//! difference between the two is a failure.
//!
//! - `cases` picks those of the vectors that are about the standard alone.
//! - `verdicts` runs a decoder over a case in many chunkings.
//! - `table` writes it all down.

mod cases;
mod table;
mod verdicts;

use std::path::Path;
use std::{env, fs};

use sse_peers::CODECS;

use crate::verdicts::Verdict;

#[test]
fn we_agree_with_every_case() {
    for case in cases::all().iter().flat_map(|group| &group.cases) {
        for codec in CODECS.iter().filter(|codec| codec.ours) {
            assert_eq!(verdicts::of(codec, case), Verdict::Agrees, "{}: {}", codec.name, case.name);
        }
    }
}

#[test]
fn the_committed_table_is_what_we_find() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md");
    let found = table::write(&cases::all());
    if env::var_os("SSE_UPDATE").is_some() {
        fs::write(&path, found).expect("the table can be written");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differing: Vec<_> = found.lines().filter(|line| !committed.contains(line)).collect();
    assert!(
        committed == found,
        "CONFORMANCE.md is not what is found:\n{}\n\
         If that is right, update it with\n    SSE_UPDATE=1 cargo test -p sse-peers",
        differing.join("\n"),
    );
}
