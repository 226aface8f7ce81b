//! Man pages and shell completions, for `cargo xtask dist`. Only with the feature `manual`.

use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate_to};

/// Writes them to the folder in `SSE_MANUAL`, if it is set, which is then all there is to do.
pub(crate) fn write(mut command: Command) -> Option<ExitCode> {
    let folder = std::env::var_os("SSE_MANUAL")?;
    let name = command.get_name().to_owned();
    // A page for each command is enough, without one for what `help` says of it.
    let pages = command.clone().disable_help_subcommand(true);
    let mut completions = [Shell::Bash, Shell::Fish, Shell::Zsh].into_iter();
    let done = completions
        .try_for_each(|shell| generate_to(shell, &mut command, &*name, &folder).map(drop))
        .and_then(|()| clap_mangen::generate_to(pages, Path::new(&folder)));
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("SSE_MANUAL: cannot write the manual: {error}");
            ExitCode::FAILURE
        }
    })
}
