//! `cargo xtask probe`: `sse-fuzz probe` on this server and on others, side by side.
//!
//! Each is started by itself, on a free port and in a throw-away folder, and is stopped before the next
//! one is started. What others get wrong is no failure of this command; what ours does, is.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::process::{built, cargo, exit_code, say, target};
use crate::{Outcome, usage};
use testkit::daemons::Daemons;

mod servers;

use servers::{Probing, SERVERS, Server};
pub(crate) use servers::{nchan_command, nchan_is_there};

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    servers: Vec<&'static str>,
    html: Option<PathBuf>,
    strict: bool,
    aggressive: bool,
    /// All is built already.
    built: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--strict" => options.strict = true,
                "--aggressive" => options.aggressive = true,
                "--built" => options.built = true,
                "--html" => {
                    let file = args.next().ok_or("--html needs a FILE")?;
                    options.html = Some(file.into());
                }
                name => {
                    let server = SERVERS.iter().find(|server| server.name == name);
                    let names = || SERVERS.map(|server| server.name).join(", ");
                    let unknown = || format!("probe knows no {name:?}; it probes {}", names());
                    options.servers.push(server.ok_or_else(unknown)?.name);
                }
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

pub(crate) fn run(args: &[String]) -> Outcome {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(problem) => return Ok(usage(&problem)),
    };
    let mut run = |mut command: Command| command.status().is_ok_and(|status| status.success());
    for server in options.chosen() {
        let set_up = server.set_up.map_or(Ok(()), |set_up| set_up(&mut run));
        set_up.map_err(|why| {
            format!("{}: {why}\nName the servers to probe if it is to be left out", server.name)
        })?;
    }
    if !options.built {
        let build = [
            "build",
            "-p",
            "ssekit-fuzz",
            "-p",
            "ssekit-server",
            "--bins",
            "--example",
            "axum_sse",
        ];
        let status = cargo(&build).status();
        let status = status.map_err(|error| format!("cannot start cargo: {error}"))?;
        if !status.success() {
            return Ok(ExitCode::from(exit_code(status)));
        }
    }
    probe(&options)
}

/// Probes one server after the other, and puts the reports together.
fn probe(options: &Options) -> Outcome {
    let reports = target().join("probe");
    let cannot = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(&reports).map_err(cannot)?;
    let daemons = Daemons::new("sse-probe").map_err(cannot)?;
    let mut written = Vec::new();
    let mut trouble = Vec::new();
    for server in options.chosen() {
        let folder = daemons.folder().join(server.name);
        std::fs::create_dir(&folder).map_err(cannot)?;
        let started = (server.start)(&daemons, &folder);
        let started = started.map_err(|error| format!("cannot start {}: {error}", server.name));
        let probing = started.and_then(|probing| daemons.wait().map(|()| probing))?;
        say(&format!("\n{}\n", probing.name));
        let file = reports.join(server.name).with_extension("json");
        let status = daemons.run(command(options, &probing, &file)).map_err(cannot)?;
        daemons.stop();
        match exit_code(status) {
            0 | 4 => {}
            1 if server.name != OURS => {}
            1 => trouble.push(format!("{}: it has failures", server.name)),
            code => trouble.push(format!("{}: it could not be probed ({code})", server.name)),
        }
        written.push(file);
    }
    let html = options.html.clone().unwrap_or_else(|| reports.join("report.html"));
    let mut merge = Command::new(built().join("sse-fuzz"));
    merge.arg("probe").arg("--html").arg(&html);
    for file in &written {
        merge.arg("--merge").arg(file);
    }
    let merged = daemons.run(merge).map_err(cannot)?;
    if exit_code(merged) == 2 {
        return Err("the reports cannot be put together".to_owned());
    }
    say(&format!("\nAll of them side by side, with the evidence: {}", html.display()));
    if trouble.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(trouble.join("\n")) }
}

/// The one whose failures are ours.
const OURS: &str = "ours";

fn command(options: &Options, probing: &Probing, file: &Path) -> Command {
    let mut command = Command::new(built().join("sse-fuzz"));
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

#[cfg(test)]
mod tests {
    use super::{Options, SERVERS};

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn all_are_probed_unless_some_are_named() {
        let names = |args: &[&str]| {
            let options = parse(args).expect("these are right");
            options.chosen().map(|server| server.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["--strict"]), SERVERS.map(|server| server.name));
        assert_eq!(names(&["axum", "--html", "x.html", "ours"]), ["ours", "axum"]);
        assert!(parse(&["apache"]).expect_err("unknown").contains("nchan, pushpin"));
        assert!(parse(&["--html"]).is_err());
    }
}
