//! `cargo xtask probe`: `sse-fuzz probe` on this server and on others, side by side.
//!
//! What the others need is set up here. `fuzz/peers` starts them and probes them.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use lexopt::prelude::*;

use crate::process::{Run, built, cargo, ended, shown};
use crate::{Failure, Outcome, django, setup};

/// What a server needs beside what cargo builds.
type SetUp = fn(Run<'_>) -> Result<(), String>;

/// The servers of `fuzz/peers`.
const SERVERS: [(&str, Option<SetUp>); 5] = [
    ("ours", None),
    ("django", Some(|run| django::set_up(run).map(drop))),
    ("nchan", Some(setup::nchan)),
    ("pushpin", Some(setup::pushpin)),
    ("axum", None),
];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut probe = Command::new(built().join("sse-fuzz-peers"));
    let mut chosen = Vec::new();
    let mut is_built = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("built") => is_built = true,
            Long("strict") => drop(probe.arg("--strict")),
            Long("aggressive") => drop(probe.arg("--aggressive")),
            Long("html") => drop(probe.arg("--html").arg(args.value()?)),
            Value(name) => {
                let server = SERVERS.iter().find(|(known, _)| name == **known);
                let names = SERVERS.map(|(name, _)| name).join(", ");
                let unknown =
                    || format!("there is no server {}; there are {names}", name.display());
                chosen.push(server.ok_or_else(|| Failure::Usage(unknown()))?);
                probe.arg(&name);
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen.extend(&SERVERS);
    }
    for (name, set_up) in chosen {
        set_up
            .map_or(Ok(()), |set_up| set_up(&mut shown))
            .map_err(|why| format!("{name}: {why}\nTo leave it out, name the servers to probe"))?;
    }
    let mut builds = vec![&["-p", "sse-fuzz-peers"][..]];
    if !is_built {
        builds.push(&[
            "-p",
            "ssekit-fuzz",
            "-p",
            "ssekit-server",
            "--bins",
            "--example",
            "axum_sse",
        ]);
    }
    for build in builds {
        let built = ended(cargo(&[&["build"], build].concat()))?;
        if built != ExitCode::SUCCESS {
            return Ok(built);
        }
    }
    probe.env(django::VARIABLE, django::python());
    // It replaces this process, so Ctrl-C reaches it, and it stops what it has started.
    let error = probe.exec();
    Err(format!("cannot start {}: {error}", probe.get_program().display()).into())
}
