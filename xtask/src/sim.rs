//! `cargo xtask sim`: several hubs in simulated time, from as many seeds as you like.

use crate::Outcome;
use crate::process::{cargo, ended};

/// The arguments are the simulator's own: it says which there are.
pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    // Built once to run long.
    let run = ["run", "--quiet", "--profile", "sim", "-p", "sse-server-sim", "--"];
    let mut simulation = cargo(&run);
    simulation.args(args.raw_args()?);
    ended(simulation)
}
