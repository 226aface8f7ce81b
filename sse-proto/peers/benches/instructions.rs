//! How many instructions our decoder takes for a byte, counted by valgrind. The counts hardly
//! depend on what else the machine does, so they show a change of a few percent that a clock does
//! not. They do depend on the compiler and the processor, so this is no test.
//!
//! `cargo bench -p sse-peers --bench instructions -- [--update]` compares them with those committed
//! in `instructions.txt`, and fails if one is more than [`TOLERANCE`] worse.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use sse_peers::{BORROWED, CHUNK_LENS, Chunks, Codec, Corpus, Count, OWNED};

/// Of the committed number.
const TOLERANCE: f64 = 0.05;

/// The command line of a process that runs under valgrind begins with this; then come the cell's
/// parts.
const DECODE: &str = "--decode";

/// The chunks in which a long line is cut most often.
const SMALL: &str = "16";

const FORMS: [(&str, Codec); 2] = [("borrowed", BORROWED), ("owned", OWNED)];

const HEAD: &str = "\
# Instructions per byte of sse-proto's decoder: corpus, length of chunks, form of the events.
# A line of 16 MiB (line-16m) costs no more than lines of 1,000 bytes (line-1k).
# `cargo xtask bench instructions` compares with these, and with --update writes them.
# They are of x86-64 and
";

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        [DECODE, corpus, chunk, form] => {
            decode(corpus, chunk, form);
            Ok(())
        }
        [] => measure_all().and_then(|found| compare(&found)),
        ["--update"] => measure_all().and_then(|found| update(&found)),
        _ => {
            eprintln!("instructions: knows only --update");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What valgrind runs, and counts the instructions of.
#[inline(never)]
fn counted_decoding(codec: &Codec, chunks: &Chunks) -> Count {
    (codec.count)(chunks)
}

fn decode(corpus: &str, chunk: &str, form: &str) {
    let named = |corpora: &[Corpus]| corpora.iter().find(|known| known.name == corpus).cloned();
    let corpus = named(&Corpus::all()).or_else(|| named(&Corpus::lines())).expect("a corpus");
    let (_, len) = CHUNK_LENS.into_iter().find(|(name, _)| *name == chunk).expect("a chunk length");
    let (_, codec) = FORMS.into_iter().find(|(name, _)| *name == form).expect("a form");
    let chunks = Chunks::new(corpus.stream.clone(), len);
    let count = counted_decoding(black_box(&codec), black_box(&chunks));
    assert_eq!(count, corpus.count, "all events are found");
}

/// A cell and its instructions per byte.
type Measured = (String, f64);

fn measure_all() -> Result<Vec<Measured>, String> {
    let mut found = Vec::new();
    for corpus in Corpus::all() {
        for (chunk, _) in CHUNK_LENS {
            measure(&corpus, chunk, &mut found)?;
        }
    }
    for corpus in Corpus::lines() {
        measure(&corpus, SMALL, &mut found)?;
    }
    Ok(found)
}

fn measure(corpus: &Corpus, chunk: &str, found: &mut Vec<Measured>) -> Result<(), String> {
    let len = u32::try_from(corpus.stream.len()).expect("a corpus has a few MiB");
    for (form, _) in FORMS {
        let instructions = count_instructions([corpus.name, chunk, form])?;
        let cell = format!("{}-{chunk} {form}", corpus.name);
        found.push((cell, instructions / f64::from(len)));
    }
    Ok(())
}

/// Runs this program under valgrind.
fn count_instructions(cell: [&str; 3]) -> Result<f64, String> {
    let this = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_decoding*")
        .arg(this)
        .arg(DECODE)
        .args(cell);
    let output = valgrind.output().map_err(|error| format!("cannot start valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // ==1234== Collected : 567890
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let collected = collected.and_then(|(_, number)| number.trim().parse().ok());
    match collected {
        Some(number) if output.status.success() && number > 0.0 => Ok(number),
        _ => Err(format!("valgrind counted nothing in {}:\n{said}", cell.join("-"))),
    }
}

fn update(found: &[Measured]) -> Result<(), String> {
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_err(|error| format!("cannot start rustc: {error}"))?;
    let mut file = format!("{HEAD}# {}\n", String::from_utf8_lossy(&rustc.stdout).trim());
    for (cell, per_byte) in found {
        println!("{cell:<20} {per_byte:>8.4}");
        writeln!(file, "{cell} {per_byte:.4}").expect("a string takes all text");
    }
    fs::write(committed_path(), file).map_err(|error| format!("cannot write: {error}"))
}

fn compare(found: &[Measured]) -> Result<(), String> {
    let committed = fs::read_to_string(committed_path());
    let committed = committed.map_err(|error| format!("cannot read the numbers: {error}"))?;
    let numbers: Vec<_> = committed.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    let mut worse = Vec::new();
    println!("{:<20} {:>8} {:>10}", "instructions/byte", "now", "change");
    for (cell, now) in found {
        let before = numbers.iter().find(|(name, _)| name == cell);
        let before = before.and_then(|(_, number)| number.parse::<f64>().ok());
        let before = before.ok_or_else(|| format!("instructions.txt has no number for {cell}"))?;
        let change = now / before - 1.0;
        // Adding 0 makes -0 a plain one.
        let shown = (change * 1000.0).round() / 10.0 + 0.0;
        println!("{cell:<20} {now:>8.4} {shown:>+8.1} %");
        if change > TOLERANCE {
            worse.push(cell.as_str());
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than {:.0} % worse than in instructions.txt: {}; if that is meant, write the numbers with \
         `cargo xtask bench instructions --update`",
        TOLERANCE * 100.0,
        worse.join(", "),
    ))
}

fn committed_path() -> impl AsRef<Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}
