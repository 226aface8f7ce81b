//! `docs/performance.md`: the tables of one run, with words that say what they mean.

use std::fs;
use std::path::Path;
use std::thread;

use crate::report::Report;

/// The words, with the places of the tables: `{publish}` and so on.
const WORDS: &str = include_str!("page.md");

/// Where it was measured, and how busy the machine is at the end, which is when this is asked.
fn machine() -> String {
    let first = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let load = first("/proc/loadavg");
    let mut load = load.split(' ').skip(1);
    format!(
        "{} cores, Linux {}, load average {} over five minutes and {} over fifteen at the end of the run",
        thread::available_parallelism().map_or(0, usize::from),
        first("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default(),
        load.next().unwrap_or_default(),
        load.next().unwrap_or_default()
    )
}

/// Writes the page and its pictures into a folder.
///
/// # Errors
///
/// If they cannot be written.
pub fn write(
    docs: &Path,
    report: &Report,
    rounds: usize,
    pictures: &[(&'static str, String)],
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write into {}: {error}", docs.display());
    let folder = docs.join("performance");
    fs::create_dir_all(&folder).map_err(failed)?;
    for (name, svg) in pictures {
        fs::write(folder.join(format!("{name}.svg")), svg).map_err(failed)?;
    }
    let mut page = WORDS.replace("{rounds}", &rounds.to_string());
    page = page.replace("{machine}", &machine());
    for name in ["publish", "fanout", "replay", "connect", "storm", "idle"] {
        page = page.replace(&format!("{{{name}}}"), report.section(name).trim());
    }
    fs::write(docs.join("performance.md"), page).map_err(failed)
}
