//! What the fuzzers begin with: the vectors of the decoder, texts that mean something, and what was
//! found before, which is in `fuzz/targets/seeds/NAME/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::targets::decoder::input;
use crate::vectors;

/// The folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The inputs that a target begins with.
///
/// # Panics
///
/// If the files cannot be read.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "decoder" | "peers" => vectors::all()
            .iter()
            .map(|case| input(&case.bytes(), !case.last_event_id.is_empty(), case.wanted()))
            .collect(),
        _ => Vec::new(),
    };
    let found = workspace().join("fuzz/targets/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(&found)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    files.sort();
    seeds.extend(files.iter().map(|file| fs::read(file).expect("a seed can be read")));
    seeds
}

/// Writes them into a folder, a file for each.
///
/// # Errors
///
/// If the folder cannot be written to.
pub fn write(target: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (index, seed) in of(target).iter().enumerate() {
        fs::write(folder.join(format!("seed-{index}")), seed)?;
    }
    Ok(())
}
