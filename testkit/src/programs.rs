//! Programs of the system that tests, probes and benches run.

use std::env;
use std::path::{Path, PathBuf};

/// nchan, a module of nginx: where Debian puts it.
pub const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// The settings of a Pushpin with nothing outside of this folder: where readers connect, the port
/// at which it takes what is published, and what it signs with. Beside it goes a file `routes`, and
/// the folders `run` and `logs`.
pub fn pushpin_config(folder: &Path, listen: &str, control: u16, key: &str) -> String {
    include_str!("pushpin.conf")
        .replace("{folder}", &folder.display().to_string())
        .replace("{listen}", listen)
        .replace("{control}", &control.to_string())
        .replace("{key}", key)
}

/// Finds a program on the PATH, or where administrators have theirs.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
