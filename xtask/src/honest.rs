//! `cargo xtask honest`: clients that are right go through `sse-fuzz hostile` again and again, and
//! must not be accused of anything. They are in `fuzz/peers/files/clients`; the one in Rust is this
//! project's own, `fuzz/examples/native.rs`.

use std::env;
use std::process::{Command, ExitCode};

use lexopt::prelude::*;

use crate::process::{built, cargo, ended, say, workspace};
use crate::{Failure, Outcome};

/// A client, and the command that `sse-fuzz hostile --check` gets for it; without one it brings the
/// suite along.
const CLIENTS: [(&str, Option<&str>); 4] = [
    (
        "fetch",
        Some("env NODE_EXTRA_CA_CERTS={ca} node FOLDER/fetch.mjs {url} {header} {method} {body}"),
    ),
    ("http-client", Some("python3 FOLDER/http_client.py {url} {header} {method} {body} {ca}")),
    ("native", Some("BUILT/examples/native {url} {header} {method} {body} {ca}")),
    ("chromium", None),
];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut runs = 1;
    let mut chosen = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long("runs") => runs = args.value()?.parse::<u32>()?,
            Value(name) => {
                let client = CLIENTS.into_iter().find(|(known, _)| name == **known);
                let names = CLIENTS.map(|(name, _)| name).join(", ");
                let unknown =
                    || format!("there is no client {}; there are {names}", name.display());
                chosen.push(client.ok_or_else(|| Failure::Usage(unknown()))?);
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen.extend(CLIENTS);
    }
    let both = ["--bin", "sse-fuzz", "--example", "native"];
    let code = ended(cargo(&[&["build", "-p", "ssekit-fuzz"], &both[..]].concat()))?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    let fuzz = built().join("sse-fuzz");
    let folder = workspace().join("fuzz/peers/files/clients");
    for run in 1..=runs {
        for (name, client) in &chosen {
            say(&format!("run {run} of {runs}: {name}"));
            let command = if let Some(client) = client {
                let mut hostile = Command::new(&fuzz);
                let client = client.replace("FOLDER", &folder.display().to_string());
                let client = client.replace("BUILT", &built().display().to_string());
                hostile.args(["hostile", "--jobs", "8", "--check"]).arg(client);
                hostile
            } else {
                let mut python = Command::new("python3");
                python.arg(folder.join("chromium_run.py")).arg(&fuzz).arg("5");
                if env::var_os("SSE_CHROMEDRIVER").is_none() {
                    python.env("SSE_CHROMEDRIVER", "chromedriver");
                }
                python
            };
            if ended(command)? != ExitCode::SUCCESS {
                let why = format!("{name} is right, and was accused in run {run}: see above");
                return Err(why.into());
            }
        }
    }
    say(&format!("nobody was accused in {runs} runs"));
    Ok(ExitCode::SUCCESS)
}
