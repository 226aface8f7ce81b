//! `cargo xtask probe`: `sse-fuzz probe` on this server and on others, side by side.
//!
//! Each is started by itself, on a free port and in a throw-away folder, and is stopped before the
//! next one is started. What others get wrong is no failure of this program; what ours gets wrong
//! is.
//!
//! It takes `[SERVER…] [--html FILE] [--strict] [--aggressive]`, and writes the reports into the
//! folder `probe` beside the one that it lies in.

#![forbid(unsafe_code)]

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use lexopt::prelude::*;
use sse_fuzz_peers::servers::{Probing, SERVERS, Server};
use testkit::daemons::Daemons;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    servers: Vec<&'static str>,
    html: Option<PathBuf>,
    strict: bool,
    aggressive: bool,
}

impl Options {
    fn parse(args: &mut lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Long("strict") => options.strict = true,
                Long("aggressive") => options.aggressive = true,
                Long("html") => options.html = Some(args.value()?.into()),
                Value(name) => {
                    let server = SERVERS.iter().find(|server| name == server.name);
                    let names = SERVERS.map(|server| server.name).join(", ");
                    let unknown =
                        || format!("there is no server {}; there are {names}", name.display());
                    options.servers.push(server.ok_or_else(unknown)?.name);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(options)
    }

    fn chosen(&self) -> impl Iterator<Item = &'static Server> {
        let is_chosen =
            |server: &&Server| self.servers.is_empty() || self.servers.contains(&server.name);
        SERVERS.iter().filter(is_chosen)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(&mut lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("sse-fuzz-peers: {problem}");
            return ExitCode::from(2);
        }
    };
    match probe(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sse-fuzz-peers: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Probes one server after the other, and puts the reports together.
fn probe(options: &Options) -> Result<(), String> {
    let cannot = |error: std::io::Error| error.to_string();
    let this = env::current_exe().map_err(cannot)?;
    let built = this.parent().unwrap_or(Path::new("."));
    // As cargo names its folders: this is `target/debug`.
    let reports = built.parent().unwrap_or(built).join("probe");
    std::fs::create_dir_all(&reports).map_err(cannot)?;
    let daemons = Daemons::new("sse-probe").map_err(cannot)?;
    let mut written = Vec::new();
    let mut trouble = Vec::new();
    for server in options.chosen() {
        let folder = daemons.folder().join(server.name);
        std::fs::create_dir(&folder).map_err(cannot)?;
        let started = (server.start)(&daemons, built, &folder);
        let started = started.map_err(|error| format!("cannot start {}: {error}", server.name));
        let probing = started.and_then(|probing| daemons.wait().map(|()| probing))?;
        println!("\n{}\n", probing.name);
        let file = reports.join(server.name).with_extension("json");
        let status = daemons.run(command(built, options, &probing, &file)).map_err(cannot)?;
        daemons.stop();
        match code(status) {
            0 | 4 => {}
            1 if server.name != OURS => {}
            1 => trouble.push(format!("{}: it has failures", server.name)),
            code => trouble.push(format!("{}: it could not be probed ({code})", server.name)),
        }
        written.push(file);
    }
    let html = options.html.clone().unwrap_or_else(|| reports.join("report.html"));
    let mut merge = Command::new(built.join("sse-fuzz"));
    merge.arg("probe").arg("--html").arg(&html);
    for file in &written {
        merge.arg("--merge").arg(file);
    }
    if code(daemons.run(merge).map_err(cannot)?) == 2 {
        return Err("the reports cannot be put together".to_owned());
    }
    let workspace = env::current_dir().unwrap_or_default();
    let shown = html.strip_prefix(workspace).unwrap_or(&html);
    println!("\nAll of them side by side, with the evidence: {}", shown.display());
    if trouble.is_empty() { Ok(()) } else { Err(trouble.join("\n")) }
}

/// The one whose failures are ours.
const OURS: &str = "ours";

fn command(built: &Path, options: &Options, probing: &Probing, file: &Path) -> Command {
    let mut command = Command::new(built.join("sse-fuzz"));
    command.args(["probe", &probing.url, "--name", &probing.name]).args(&probing.args);
    command.arg("--json").arg(file);
    if options.strict {
        command.arg("--strict");
    }
    if options.aggressive {
        command.arg("--aggressive");
        if let Some(pid) = probing.pid {
            command.args(["--pid", &pid.to_string()]);
        }
    }
    command
}

/// How it has ended, as shells say it: its own code, or 128 and the signal.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Options, SERVERS};

    fn parse(args: &[&str]) -> Result<Options, lexopt::Error> {
        Options::parse(&mut lexopt::Parser::from_args(args))
    }

    #[test]
    fn all_are_probed_unless_some_are_named() {
        let names = |args: &[&str]| {
            let options = parse(args).expect("these are right");
            options.chosen().map(|server| server.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["--strict"]), SERVERS.map(|server| server.name));
        assert_eq!(names(&["axum", "--html", "x.html", "ours"]), ["ours", "axum"]);
        let unknown = parse(&["apache"]).expect_err("unknown").to_string();
        assert!(unknown.contains("nchan, pushpin"), "{unknown}");
        assert!(parse(&["--html"]).is_err());
    }
}
