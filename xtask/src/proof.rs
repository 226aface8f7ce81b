//! `cargo xtask proof`: the test that kills the server, alone and for as long as one likes.

use std::process::ExitCode;

use crate::process::{cargo, exit_code};
use crate::{Outcome, usage};

pub(crate) fn run(args: &[String]) -> Outcome {
    let mut kills = None;
    let mut seed = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let number = match arg.as_str() {
            "--kills" => &mut kills,
            "--seed" => &mut seed,
            _ => return Ok(usage(&format!("proof knows no {arg:?}"))),
        };
        *number = args.next().and_then(|value| value.parse::<u64>().ok());
        if number.is_none() {
            return Ok(usage(&format!("{arg} needs a whole number")));
        }
    }
    let Some(kills) = kills.filter(|kills| *kills > 0) else {
        return Ok(usage("proof needs --kills N, at least 1"));
    };
    let mut test = cargo(&["test", "-p", "sse-server", "--test", "kill9", "--", "--nocapture"]);
    test.env("SSE_KILLS", kills.to_string());
    if let Some(seed) = seed {
        test.env("SSE_SEED", seed.to_string());
    }
    let status = test.status().map_err(|error| format!("cannot start cargo: {error}"))?;
    Ok(ExitCode::from(exit_code(status)))
}
