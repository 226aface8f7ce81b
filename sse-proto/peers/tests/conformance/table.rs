//! Writes `CONFORMANCE.md`.

use std::fmt::{self, Write};

use sse_peers::{CODECS, Codec};

use crate::cases::Group;
use crate::verdicts::{self, Verdict};

const HEAD: &str = "\
# Conformance, side by side

What decoders of event streams make of the cases in [`sse-proto/vectors`](../vectors), all of which are
about the WHATWG standard: those about limits and comments, which are additions of ours, are left out.

Each case is run whole, in single bytes, and cut in two at every place. A crate agrees only if each time
these are right: all events, with type, data and last event ID; the last event ID at the end; and the
last reconnection time.

| | |
|---|---|
| ✓ | agrees |
| ✗ | differs in at least one chunking |
| panics | panics in at least one chunking |

How each crate is used stands at the head of its file in [`src/peers`](src/peers). A crate that does not
tell the last event ID is taken to have that of its last event.

This file is written by a test, and `cargo test -p sse-peers` fails if it is not up to date. To update it:
`SSE_UPDATE=1 cargo test -p sse-peers`.
";

/// The table of these cases.
pub(crate) fn write(groups: &[Group]) -> String {
    let mut table = HEAD.to_owned();
    write_to(&mut table, groups).expect("a string takes all text");
    table
}

fn write_to(table: &mut String, groups: &[Group]) -> fmt::Result {
    let crates = crates();
    let mut columns = vec![Vec::new(); crates.len()];
    let mut details = String::new();
    for group in groups {
        write!(details, "\n## {}\n\n{}\n\n", group.name, group.about)?;
        write_header(&mut details, "case", &crates)?;
        for case in &group.cases {
            write!(details, "| {} |", case.name)?;
            for (codec, verdicts) in crates.iter().zip(&mut columns) {
                let verdict = verdicts::of(codec, case);
                verdicts.push(verdict);
                let mark = match verdict {
                    Verdict::Agrees => "✓",
                    Verdict::Differs => "✗",
                    Verdict::Panics => "panics",
                };
                write!(details, " {mark} |")?;
            }
            details.push('\n');
        }
    }

    let cases: usize = groups.iter().map(|group| group.cases.len()).sum();
    write!(table, "\n## Sums, of {cases} cases\n\n")?;
    write_header(table, "", &crates)?;
    for (name, wanted) in
        [("agrees", Verdict::Agrees), ("differs", Verdict::Differs), ("panics", Verdict::Panics)]
    {
        write!(table, "| {name} |")?;
        for verdicts in &columns {
            let count = verdicts.iter().filter(|verdict| **verdict == wanted).count();
            write!(table, " {count} |")?;
        }
        table.push('\n');
    }
    table.push_str(&details);
    Ok(())
}

/// One for each crate. Ours has two forms that differ only in who owns the text.
fn crates() -> Vec<Codec> {
    let mut crates = CODECS.to_vec();
    crates.dedup_by_key(|codec| if codec.ours { "ours" } else { codec.name });
    crates
}

fn write_header(table: &mut String, first: &str, crates: &[Codec]) -> fmt::Result {
    write!(table, "| {first} |")?;
    for codec in crates {
        write!(table, " {} {} |", codec.name, codec.version)?;
    }
    writeln!(table, "\n|---|{}", ":-:|".repeat(crates.len()))
}
