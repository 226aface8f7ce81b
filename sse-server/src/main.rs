//! The server as a program: settings and logs. What it then does is in [`run`].

#![forbid(unsafe_code)]

mod commands;
mod log;
#[cfg(feature = "manual")]
mod manual;
mod run;
mod signals;
mod systemd;

use std::io::Write;
use std::process::ExitCode;

use commands::Cli;
use sse_server::config::{GripVariables, Settings, raise_file_limit};

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(code) = manual::write(<Cli as clap::CommandFactory>::command()) {
        return code;
    }
    let (Cli { command, .. }, flags) = Cli::read();
    if let Some(command) = command {
        return command.run();
    }
    let port = match port() {
        Ok(port) => port,
        Err(problem) => {
            eprintln!("error: PORT: {problem}");
            return ExitCode::from(2);
        }
    };
    let sockets = match systemd::Sockets::take() {
        Ok(sockets) => sockets,
        Err(problem) => {
            eprintln!("error: LISTEN_FDS: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let inherited = sockets.described();
    raise_file_limit();
    let config = Settings::of(&flags).and_then(|mut settings| {
        settings.port = port;
        settings.grip_variables = GripVariables::of_process();
        settings.inherited = Some(inherited);
        settings.resolve()
    });
    let done = config.map_err(Into::into).and_then(|config| {
        // Until the end, so that the last lines are written.
        let _log = log::start(&config.log, config.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(run::run(config, flags, sockets));
        // Whatever is still busy is not waited for: what counts has been by now.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If it cannot be printed, the status still tells.
            writeln!(std::io::stderr(), "error: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

/// What the variable says that platforms give to programs.
fn port() -> Result<Option<u16>, String> {
    match std::env::var("PORT") {
        Ok(port) if !port.trim().is_empty() => port.trim().parse().map(Some).map_err(|_| {
            format!("{port:?} is no port; write for example 8080, or set SSE_SERVER_LISTEN instead")
        }),
        _ => Ok(None),
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;
