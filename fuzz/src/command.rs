//! What the commands share: a runtime, how they end, and arguments that several have.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::wire::tls::{Trust, TrustError};

/// How long tasks may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// Does a command's work on a runtime of its own. An error is wrong usage, and goes to standard
/// error.
pub(crate) fn run<E: Error + 'static>(
    work: impl Future<Output = Result<ExitCode, E>>,
) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = match runtime.block_on(work) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sse-fuzz: {error}");
            ExitCode::from(2)
        }
    };
    // What the tasks have started, such as clients, ends with them. This does not wait for names
    // that are still being looked up.
    runtime.shutdown_timeout(ENDING);
    Ok(code)
}

/// Whether only the reader of the output has seen enough (`head -1`).
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What the names on the command line mean: an id means itself, a section all of its ids, no name
/// everything. The error is a name that means nothing.
pub(crate) fn chosen<T>(
    all: Vec<T>,
    names: &[String],
    id: impl Fn(&T) -> &str,
) -> Result<Vec<T>, String> {
    let is_meant = |name: &String, item: &T| {
        let rest = id(item).strip_prefix(name.trim_end_matches('.'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(name) = names.iter().find(|name| !all.iter().any(|item| is_meant(name, item))) {
        return Err(name.clone());
    }
    let is_chosen = |item: &T| names.is_empty() || names.iter().any(|name| is_meant(name, item));
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// Prints ids and titles for `--list`.
pub(crate) fn list<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<ExitCode> {
    let mut out = anstream::stdout();
    for (id, title) in rows {
        writeln!(out, "{id:32} {title}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose certificates are trusted.
#[derive(Args, Debug)]
pub(crate) struct Believed {
    /// Trusts the certificates in this PEM file, and those that they have signed, instead of the
    /// system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trusts any certificate, for servers that have signed their own
    #[arg(long)]
    insecure: bool,
}

impl Believed {
    pub(crate) fn trust(&self) -> Result<Trust, TrustError> {
        match &self.ca {
            Some(path) => Trust::authority(path),
            None if self.insecure => Ok(Trust::anyone()),
            None => Ok(Trust::default()),
        }
    }
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
