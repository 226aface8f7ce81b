//! The server as a program: settings and logs. What it then does is in [`run`].

#![forbid(unsafe_code)]

mod commands;
mod run;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use commands::Cli;
use sse_server::config::{LogFormat, raise_file_limit};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    if let Some(command) = command {
        return command.run();
    }
    raise_file_limit();
    let done = settings.clone().resolve().map_err(Into::into).and_then(|config| {
        log(&config.log, config.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(run::run(config, settings));
        // Whatever is still busy is not waited for: what counts has been by now.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn log(directives: &str, format: LogFormat) -> Result<(), Error> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| format!("--log: {directives:?} is no log filter: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
