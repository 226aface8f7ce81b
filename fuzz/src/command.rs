//! What the commands share that talk to others: a runtime, how they end, and arguments that they all have.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// How long tasks may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// An error of a command, which is told in a line.
pub(crate) trait Problem: Display {
    /// Whether it is only that whoever reads the output (`head -1`) has seen enough.
    fn is_broken_pipe(&self) -> bool;
}

/// Does a command's work on a runtime of its own. An error is wrong usage, and told on standard error.
pub(crate) fn run<P: Problem>(
    work: impl Future<Output = Result<ExitCode, P>>,
) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = match runtime.block_on(work) {
        Ok(code) => code,
        Err(problem) if problem.is_broken_pipe() => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("sse-fuzz: {problem}");
            ExitCode::from(2)
        }
    };
    // What the tasks have begun, such as clients, ends with them. A name that is still being looked up is not
    // waited for any longer.
    runtime.shutdown_timeout(ENDING);
    Ok(code)
}

/// Reads `Name: value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it has the form `Name: value`")?;
    let is_line = !text.contains(['\r', '\n', '\0']);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_line && is_name {
        Ok((name.to_owned(), value.trim().to_owned()))
    } else {
        Err("it is one line and has the form `Name: value`".to_owned())
    }
}
