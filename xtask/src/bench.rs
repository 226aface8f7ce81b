//! `cargo xtask bench`: measurements beside others, as a table of benches.
//!
//! Each runs in release mode and shows its output as it comes. The bench decides what to
//! measure and how; this file sets up what it needs.

use std::process::ExitCode;

use crate::process::{cargo, ended, say, shown};
use crate::wasm::{self, Trouble};
use crate::{Failure, Outcome, setup};

struct Bench {
    name: &'static str,
    args: &'static str,
    about: &'static str,
    run: fn(&[&str]) -> Outcome,
}

const BENCHES: [Bench; 6] = [
    Bench {
        name: "codec",
        args: "[--quick] [CELL…]",
        about: "How fast event streams are decoded and encoded, beside other crates: about 3 minutes,\n    \
                with --quick 30 seconds. A CELL is a corpus and a length of chunks, such as a-64k;\n    \
                stream-a-64k is the same by way of streams of events, encode-a is encoding.",
        run: codec,
    },
    Bench {
        name: "client",
        args: "[--quick] [PEER…]",
        about: "How fast clients read a stream over loopback, beside other crates: about 2 minutes,\n    \
                with --quick half a minute. A PEER is a crate's name.",
        run: client,
    },
    Bench {
        name: "instructions",
        args: "[--update]",
        about: "How many instructions the decoder takes for a byte, beside the committed numbers;\n    \
                more than 5 % more is a failure. --update writes them. Needs valgrind.",
        run: instructions,
    },
    Bench {
        name: "wasm",
        args: "",
        about: "How fast events reach a listener in a page, beside the browser's own EventSource and\n    \
                npm's eventsource-parser: about a minute. Needs a browser.",
        run: wasm,
    },
    Bench {
        name: "idle",
        args: "[STREAMS]",
        about: "How much memory the server takes for an open stream on which nothing happens, beside\n    \
                axum's Sse: half a minute, once both are built. Without STREAMS it takes 10000.\n    \
                Needs Linux, and as many open files.",
        run: idle,
    },
    Bench {
        name: "connect",
        args: "[COUNT]",
        about: "How long many take that come at once, and a storm of readers that come back with 100\n    \
                events to catch up, beside axum's Sse and nginx with nchan: a minute, once both are\n    \
                built. Without COUNT it takes 10000. Needs Linux, and as many open files.",
        run: connect,
    },
];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let args = args.raw_args()?.map(|arg| arg.into_string().map_err(lexopt::Error::from));
    let args: Vec<_> = args.collect::<Result<_, _>>()?;
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let Some((name, args)) = args.split_first() else {
        for bench in &BENCHES {
            say(&format!("cargo xtask bench {} {}\n    {}", bench.name, bench.args, bench.about));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == *name) else {
        let names = BENCHES.each_ref().map(|bench| bench.name).join(", ");
        return Err(Failure::Usage(format!("there is no bench {name:?}: {names}")));
    };
    let known = |arg: &&&str| match bench.args {
        "[STREAMS]" | "[COUNT]" => args.len() == 1 && arg.parse::<usize>().is_ok(),
        known => {
            known.contains(&format!("[{arg}]")) || known.ends_with("…]") && !arg.starts_with('-')
        }
    };
    if let Some(stray) = args.iter().find(|arg| !known(arg)) {
        return Err(Failure::Usage(format!("bench {name} does not take {stray:?}")));
    }
    (bench.run)(args)
}

fn codec(args: &[&str]) -> Outcome {
    cargo_bench("sse-peers", "codec", args)
}

fn client(args: &[&str]) -> Outcome {
    cargo_bench("sse-client-peers", "client", args)
}

fn instructions(args: &[&str]) -> Outcome {
    setup::valgrind(&mut shown)?;
    cargo_bench("sse-peers", "instructions", args)
}

fn wasm(_: &[&str]) -> Outcome {
    let browser = setup::Browser::set_up(&mut shown)?;
    let package = wasm::build(&mut shown).map_err(Trouble::why)?;
    // What it measures runs in the browser: the rest may be as the tests have built it.
    let mut bench =
        cargo(&["bench", "-p", "sse-client-wasm-peers", "--bench", "page", "--profile", "dev"]);
    browser.hand_to(&mut bench);
    package.hand_to(&mut bench);
    ended(bench)
}

fn idle(args: &[&str]) -> Outcome {
    servers("idle", args)
}

fn connect(args: &[&str]) -> Outcome {
    setup::nchan(&mut shown)?;
    servers("connect", args)
}

/// Builds this server and axum's as they would be installed, and measures them.
fn servers(target: &str, args: &[&str]) -> Outcome {
    for build in [
        ["-p", "ssekit-server", "--bin", "sse-server"],
        ["-p", "ssekit-fuzz", "--example", "axum_sse"],
    ] {
        let built = ended(cargo(&[&["build", "--release"][..], &build].concat()))?;
        if built != ExitCode::SUCCESS {
            return Ok(built);
        }
    }
    cargo_bench("sse-server-peers", target, args)
}

/// Runs a bench target, whose output is ours.
fn cargo_bench(package: &str, target: &str, args: &[&str]) -> Outcome {
    let mut bench = cargo(&["bench", "-p", package, "--bench", target, "--"]);
    bench.args(args);
    ended(bench)
}
