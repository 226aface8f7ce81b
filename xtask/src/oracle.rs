//! `cargo xtask oracle`: the decoder beside the standard written down as code, on as many random
//! streams as one likes.

use std::process::ExitCode;

use crate::process::{cargo, exit_code};
use crate::{Outcome, usage};

const TEST: &str = "long_run::many_random_streams_are_read_as_the_standard_says";

pub(crate) fn run(args: &[String]) -> Outcome {
    let mut cases = None;
    let mut seed = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let number = match arg.as_str() {
            "--cases" => &mut cases,
            "--seed" => &mut seed,
            _ => return Ok(usage(&format!("oracle knows no {arg:?}"))),
        };
        *number = args.next().and_then(|value| value.parse::<u64>().ok());
        if number.is_none() {
            return Ok(usage(&format!("{arg} needs a whole number")));
        }
    }
    let Some(cases) = cases.filter(|cases| *cases > 0) else {
        return Ok(usage("oracle needs --cases N, at least 1"));
    };
    let test = ["test", "--release", "-p", "ssekit-proto", "--test", "conformance"];
    let mut test = cargo(&test);
    test.args(["--", "--nocapture", "--exact", TEST]).env("SSE_RANDOM_CASES", cases.to_string());
    if let Some(seed) = seed {
        test.env("SSE_RANDOM_SEED", seed.to_string());
    }
    let status = test.status().map_err(|error| format!("cannot start cargo: {error}"))?;
    Ok(ExitCode::from(exit_code(status)))
}
