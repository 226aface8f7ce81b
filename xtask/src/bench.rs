//! `cargo xtask bench`: measurements beside others, as a table of benches.
//!
//! Each runs in release mode and shows its output as it comes. The bench decides what to
//! measure and how; this file sets up what it needs.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::process::{cargo, ended, say, shown, target};
use crate::tool::Tool;
use crate::wasm::{self, Trouble};
use crate::{Failure, Outcome, django, services, setup};

struct Bench {
    name: &'static str,
    args: &'static str,
    about: &'static str,
    run: fn(&[&str]) -> Outcome,
}

const BENCHES: [Bench; 13] = [
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
        name: "connect",
        args: "[--quick] [--rounds N] [COUNT] [SERVER…]",
        about: "How long many take that come at once: without COUNT 10000. Like all that follow beside\n    \
                durable-streams, nginx with nchan and axum's Sse, or those that you name (ours,\n    \
                durable-streams, nchan, pushpin, axum, view, embedded, django, postgres, floor). In five rounds, with\n    \
                --quick in one. They need Linux, and 20000 open files. SSE_BENCH_SERVER names another build of this server.",
        run: |args| servers("connect", args),
    },
    Bench {
        name: "idle",
        args: "[--quick] [--rounds N] [COUNT] [SERVER…]",
        about: "How much memory a server takes for an open stream on which nothing happens, and what it\n    \
                gives back.",
        run: |args| servers("idle", args),
    },
    Bench {
        name: "fanout",
        args: "[--quick] [--rounds N] [SERVER…]",
        about: "What it costs to bring an event to 1,000 and to 10,000 readers, and when each has it;\n    \
                beside a loop that only sends.",
        run: |args| servers("fanout", args),
    },
    Bench {
        name: "publish",
        args: "[--quick] [--rounds N] [SERVER…]",
        about: "How many events a second become durable, from 1 to 256 publishers and in batches;\n    \
                beside SQLite alone, and on PostgreSQL by HTTP and by `sse_publish` (postgres), where it is there.",
        run: |args| servers("publish", args),
    },
    Bench {
        name: "replay",
        args: "[--quick] [--rounds N] [SERVER…]",
        about: "How fast a reader gets what it has missed, and whether others notice.",
        run: |args| servers("replay", args),
    },
    Bench {
        name: "storm",
        args: "[--quick] [--rounds N] [COUNT] [SERVER…]",
        about: "How long many readers take that come back at once and have 100 events to catch up.",
        run: |args| servers("storm", args),
    },
    Bench {
        name: "soak",
        args: "[--quick] [--minutes N] [COUNT]",
        about: "10000 readers, or COUNT, of whom a hundredth comes and goes each second while events are\n    \
                published and old ones deleted: 30 minutes, with --quick 1. Each must get every event once and\n    \
                in order, and memory, descriptors and threads must not grow. Draws performance/soak.svg, from\n    \
                half an hour on in docs, else in target.",
        run: |args| servers("soak", &[args, &["ours"]].concat()),
    },
    Bench {
        name: "engines",
        args: "[--quick] [--rounds N] [ENGINE…]",
        about: "How many events a second become durable in each storage, for one instance and for several:\n    \
                sqlite, postgres, redis (each write synced), redis-everysec; and what a NATS server with\n    \
                JetStream could do at most, jetstream-1, or three of them, jetstream-3. About 4 minutes.",
        run: engines,
    },
    Bench {
        name: "all",
        args: "[--quick] [--rounds N] [SERVER…]",
        about: "All from connect to storm, and plots: 20 minutes, with --quick 2. It writes\n    \
                docs/performance.md, with --quick target/performance/performance.md.",
        run: |args| servers("all", args),
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
    let known = |arg: &&&str| {
        bench.args.contains(&format!("[{arg}]"))
            || bench.args.contains(&format!("[{arg} "))
            || bench.args.ends_with("…]") && !arg.starts_with('-')
            || bench.args.ends_with("[COUNT]") && arg.parse::<u32>().is_ok()
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

/// Builds this server and the others as they would be installed, and measures them.
fn servers(target: &str, args: &[&str]) -> Outcome {
    let values: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name| {
        let mut names = values.iter().filter(|name| name.parse::<usize>().is_err()).peekable();
        names.peek().is_none() || names.any(|asked| **asked == name)
    };
    let mut bench = Command::new(target_folder("release/sse-bench"));
    if is_wanted("nchan") {
        setup::nchan(&mut shown).map_err(|why| format!("nchan: {why}"))?;
    }
    if is_wanted("pushpin") {
        setup::pushpin(&mut shown).map_err(|why| format!("pushpin: {why}"))?;
    }
    if matches!(target, "publish" | "all") && is_wanted("django") {
        django::set_up(&mut shown).map_err(|why| format!("django: {why}"))?;
        bench.env(django::VARIABLE, django::python());
    }
    if is_wanted("durable-streams") {
        bench.env("SSE_BENCH_DURABLE_STREAMS", durable_streams()?);
    }
    let mut builds = Vec::new();
    if is_wanted("axum") {
        builds.push(["-p", "ssekit-fuzz", "--example", "axum_sse"]);
    }
    if ["axum-beside", "stream", "view", "embedded"].into_iter().any(is_wanted) {
        builds.push(["-p", "sse-server-peers", "--bin", "sse-bench-embedded"]);
    }
    built_and_run(bench, target, args, builds)
}

/// Builds the bench, this server, and this; then runs the bench in our place.
fn built_and_run(
    mut bench: Command,
    target: &str,
    args: &[&str],
    mut builds: Vec<[&'static str; 4]>,
) -> Outcome {
    builds.push(["-p", "sse-server-peers", "--bin", "sse-bench"]);
    if env::var_os("SSE_BENCH_SERVER").is_none() {
        builds.push(["-p", "ssekit-server", "--bin", "sse-server"]);
    }
    for build in builds {
        let built = ended(cargo(&[&["build", "--release"][..], &build].concat()))?;
        if built != ExitCode::SUCCESS {
            return Ok(built);
        }
    }
    bench.arg(target).args(args);
    // It replaces this process, so Ctrl-C reaches it, and it stops what it has started.
    let error = bench.exec();
    Err(format!("cannot start {}: {error}", bench.get_program().display()).into())
}

/// Builds this server, and gets the services that it keeps events in, or might.
fn engines(args: &[&str]) -> Outcome {
    let programs = setup::Programs::set_up(&mut shown)?;
    let nats = setup::nats_server(&mut shown).map_err(|why| format!("nats-server: {why}"))?;
    let mut bench = Command::new(target_folder("release/sse-bench"));
    bench.envs(services::programs(&programs)).env("SSE_BENCH_NATS_SERVER", nats);
    built_and_run(bench, "engines", args, Vec::new())
}

fn target_folder(name: &str) -> PathBuf {
    env::current_dir().unwrap_or_default().join(target()).join(name)
}

/// The program of durable-streams, which is built once.
fn durable_streams() -> Result<PathBuf, String> {
    const VERSION: &str = "0.1.5";
    let tool = Tool::new(&target_folder("durable-streams"), &format!("durable-streams {VERSION}"))?;
    let program = tool.folder().join("bin/durable-streams-server");
    let works =
        |_: &str| if program.is_file() { Ok(()) } else { Err("it is not there".to_owned()) };
    if !tool.is_kept(works) {
        tool.begin()?;
        let mut install = cargo(&["install", "durable-streams", "--locked", "--version", VERSION]);
        install.arg("--root").arg(tool.folder());
        // It is no package of this workspace, and leaves nothing in its target folder.
        install.env("CARGO_TARGET_DIR", tool.folder().join("build"));
        if !shown(install) {
            return Err(format!(
                "durable-streams {VERSION} cannot be built; name the servers to measure"
            ));
        }
        let _ = fs::remove_dir_all(tool.folder().join("build"));
        tool.finish("")?;
    }
    Ok(program)
}

/// Runs a bench target, whose output is ours.
fn cargo_bench(package: &str, target: &str, args: &[&str]) -> Outcome {
    let mut bench = cargo(&["bench", "-p", package, "--bench", target, "--"]);
    bench.args(args);
    ended(bench)
}
