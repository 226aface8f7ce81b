//! `cargo xtask oracle`: the decoder beside the standard written down as code, on as many random
//! streams as you like.

use lexopt::prelude::*;

use crate::process::{cargo, ended};
use crate::{Failure, Outcome};

const TEST: &str = "long_run::many_random_streams_are_read_as_the_standard_says";

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let (mut cases, mut seed) = (0_u64, None::<u64>);
    while let Some(arg) = args.next()? {
        match arg {
            Long("cases") => cases = args.value()?.parse()?,
            Long("seed") => seed = Some(args.value()?.parse()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    if cases == 0 {
        return Err(Failure::Usage("oracle needs --cases N, at least 1".to_owned()));
    }
    let test = ["test", "--release", "-p", "ssekit-proto", "--test", "conformance"];
    let mut test = cargo(&test);
    test.args(["--", "--nocapture", "--exact", TEST]).env("SSE_RANDOM_CASES", cases.to_string());
    if let Some(seed) = seed {
        test.env("SSE_RANDOM_SEED", seed.to_string());
    }
    ended(test)
}
