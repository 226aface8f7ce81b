//! Programs of the system that tests, probes and benches run.

use std::env;
use std::path::PathBuf;

/// nchan, a module of nginx: where Debian puts it.
pub const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Finds a program on the PATH, or where administrators have theirs.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
