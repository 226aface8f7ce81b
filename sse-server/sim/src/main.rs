//! `sse-sim`: see `cargo xtask sim` and `docs/proof.md`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    sse_server_sim::command::main()
}
