//! The program on the front page of `sse-server`'s documentation, in a package that has nothing but
//! what the page says: it must build, and answer with a stream. Beside it, the same with axum's
//! `Sse`, for what each costs to build.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::daemons::{Daemons, End, Ready, free_port};

use crate::files;
use crate::process::{Run, cargo, output, say};

/// Where the program of the page listens.
const ADDRESS: &str = "127.0.0.1:8080";

/// The stream, asked for by a reader that has the first eight.
const REQUEST: &str = "GET /numbers HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: 8\r\n\r\n";
const STREAM: &str = ":\n\nid: 9\ndata: 9\n\nid: 10\ndata: 10\n\n";

/// What a reader of the page copies.
#[derive(Debug, PartialEq, Eq)]
struct FrontPage {
    /// The `cargo add` commands.
    adds: String,
    program: String,
}

/// Builds and runs it. The packages are unpacked in `packages`; `folder` is for what is made.
pub(super) fn check(packages: &Path, folder: &Path, run: Run<'_>) -> Result<(), String> {
    let server = packages.join(format!("ssekit-server-{}", super::VERSION));
    let page = FrontPage::of(&files::read(&server.join("src/lib.rs"))?)
        .map_err(|why| format!("the front page of ssekit-server: {why}"))?;
    let port = free_port().map_err(|error| error.to_string())?;
    let patches = ["ssekit-proto", "ssekit-server"].map(|name| {
        let unpacked = packages.join(format!("{name}-{}", super::VERSION));
        format!("{name} = {{ path = {:?} }}\n", unpacked.display().to_string())
    });
    let patches = format!("\n[patch.crates-io]\n{}", patches.concat());
    let ours = folder.join("stream-view");
    let main = page.program.replace(ADDRESS, &format!("127.0.0.1:{port}"));
    let cost = build(&ours, &(manifest(&page.adds)? + &patches), &main, run)?;
    answers(&ours, port)?;
    let without = page.adds.lines().filter(|add| !add.contains("ssekit-server"));
    let without = without.collect::<Vec<_>>().join("\n");
    let axum = folder.join("axum-sse");
    let axum_cost = build(&axum, &manifest(&without)?, include_str!("axum_sse.rs"), run)?;
    for (what, cost) in [("the program of the front page", cost), ("with axum's Sse", axum_cost)] {
        say(&format!("{what}: {cost}"));
    }
    for made in [ours, axum] {
        files::told("remove", &made, fs::remove_dir_all(&made))?;
    }
    Ok(())
}

impl FrontPage {
    fn of(source: &str) -> Result<Self, String> {
        let lines: Vec<&str> = source
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        let (adds, rest) = block(&lines, &["sh"]).ok_or("it has no block of commands")?;
        let (program, _) = block(rest, &["", "no_run", "rust"]).ok_or("it has no program")?;
        let is_hidden = |line: &&&str| line.trim() == "#" || line.trim_start().starts_with("# ");
        if let Some(hidden) = program.iter().find(is_hidden) {
            return Err(format!("its readers do not see the line {hidden:?}, which they need"));
        }
        let program = program.join("\n") + "\n";
        if !program.contains(ADDRESS) {
            return Err(format!("its program does not listen at {ADDRESS}"));
        }
        Ok(Self { adds: adds.join("\n"), program })
    }
}

/// The lines of the first block of these kinds, and what is after it.
fn block<'l>(lines: &'l [&'l str], kinds: &[&str]) -> Option<(&'l [&'l str], &'l [&'l str])> {
    let mut rest = lines;
    loop {
        let begin = rest.iter().position(|line| line.starts_with("```"))?;
        let kind = &rest[begin][3..];
        let within = &rest[begin + 1..];
        let end = within.iter().position(|line| *line == "```")?;
        rest = &within[end + 1..];
        if kinds.contains(&kind) {
            return Some((&within[..end], rest));
        }
    }
}

/// What these commands make of a new package's manifest.
fn manifest(adds: &str) -> Result<String, String> {
    let mut manifest = "[package]\nname = \"fresh\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                        [[bin]]\nname = \"fresh\"\npath = \"main.rs\"\n\n[workspace]\n\n\
                        [dependencies]\n"
        .to_owned();
    for line in adds.lines() {
        let words = line.strip_prefix("cargo add ").ok_or(format!("{line:?} adds nothing"))?;
        let mut words = words.split_whitespace();
        let (mut names, mut rest) = (Vec::new(), String::new());
        while let Some(word) = words.next() {
            match word {
                "--no-default-features" => rest += ", default-features = false",
                "--features" => {
                    let features: Vec<_> = words.next().unwrap_or_default().split(',').collect();
                    let _ = write!(rest, ", features = {features:?}");
                }
                _ if word.starts_with('-') => return Err(format!("{word} is not known here")),
                name => names.push(name),
            }
        }
        for name in names {
            let _ = writeln!(manifest, "{name} = {{ version = \"*\"{rest} }}");
        }
    }
    Ok(manifest)
}

/// Builds a package from nothing, and says what that has cost.
fn build(folder: &Path, manifest: &str, main: &str, run: Run<'_>) -> Result<String, String> {
    let _ = fs::remove_dir_all(folder);
    files::create(folder)?;
    files::write(&folder.join("Cargo.toml"), manifest)?;
    files::write(&folder.join("main.rs"), main)?;
    // The versions that everything else is tested with.
    files::write(&folder.join("Cargo.lock"), files::read(Path::new("Cargo.lock"))?)?;
    let within = |args: &[&str]| {
        let mut cargo = cargo(args);
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("build"));
        cargo
    };
    if !run(within(&["fetch"])) {
        return Err("its dependencies cannot be had".to_owned());
    }
    let tree = output(&mut within(&["tree", "-e", "normal", "--prefix", "none"]))?;
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let packages: BTreeSet<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let start = Instant::now();
    if !run(within(&["build"])) {
        return Err(format!("it does not build:\n{main}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let others = packages.len().saturating_sub(1);
    Ok(format!("{others} packages beside its own, built from nothing in {seconds:.1} s"))
}

/// Runs it, and compares what it answers.
fn answers(folder: &Path, port: u16) -> Result<(), String> {
    let daemons = Daemons::new("front-page").map_err(|error| error.to_string())?;
    let program = Command::new(folder.join("build/debug/fresh"));
    let ready = Ready::Accepts(port);
    daemons
        .add("the program of the front page", program, daemons.folder(), ready, End::KillGroup)
        .map_err(|error| error.to_string())?;
    daemons.wait()?;
    let answer = asked(port).map_err(|error| format!("its program does not answer: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&*answer, ""));
    if !head.contains("text/event-stream") || body != STREAM {
        return Err(format!("its program answers {answer:?}"));
    }
    Ok(())
}

fn asked(port: u16) -> io::Result<String> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    socket.write_all(REQUEST.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = include_str!("../../../sse-server/src/lib.rs");

    #[test]
    fn a_reader_copies_the_commands_and_the_program_as_they_stand() {
        let page = FrontPage::of(SOURCE).expect("it has both");
        assert!(page.adds.starts_with("cargo add axum"), "{page:?}");
        // Indented as it is on the page.
        assert!(page.program.contains("\n    let app = Router::new()"), "{page:?}");
        assert!(page.program.contains("\n#[tokio::main]\n"), "{page:?}");
        assert!(!page.program.contains("//!") && !page.program.contains("```"), "{page:?}");
        let manifest = manifest(&page.adds).expect("it can be read");
        let server = "\nssekit-server = { version = \"*\", default-features = false }\n";
        assert!(manifest.contains(server), "{manifest}");
        assert!(manifest.contains("\ntokio = { version = \"*\", features = [\"macros\", "));
    }

    #[test]
    fn what_a_reader_cannot_see_or_copy_is_no_front_page() {
        let page = |text: &str| {
            let lines = text.lines().map(|line| format!("//! {line}\n"));
            FrontPage::of(&(lines.collect::<String>() + "code\n"))
        };
        let program = format!("fn main() {{\n    listen(\"{ADDRESS}\")\n}}");
        let adds = "```sh\ncargo add axum\n```";
        let whole = page(&format!("text\n{adds}\n```text\nother\n```\n```\n{program}\n```"));
        let expected = FrontPage { adds: "cargo add axum".into(), program: program.clone() + "\n" };
        assert_eq!(whole, Ok(expected));
        for wrong in [
            format!("```\n{program}\n```"),
            adds.to_owned(),
            format!("{adds}\n```\n# use hidden;\n{program}\n```"),
            format!("{adds}\n```\nfn main() {{\n    # hidden();\n{program}\n```"),
            format!("{adds}\n```\nfn main() {{}}\n```"),
            format!("{adds}\n```\n{program}"),
        ] {
            page(&wrong).expect_err(&wrong);
        }
        for wrong in ["npm add axum", "cargo add axum --path x"] {
            manifest(wrong).expect_err(wrong);
        }
    }
}
