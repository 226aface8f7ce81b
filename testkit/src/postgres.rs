//! PostgreSQL as one of the [`Daemons`], with a database that is gone with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::daemons::{Daemons, End, Ready, as_user, free_port};

/// The folder of its programs: the one in `SSE_TEST_POSTGRES_BIN`, or the newest that Debian has.
pub fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("SSE_TEST_POSTGRES_BIN").filter(|folder| !folder.is_empty());
    if let Some(folder) = named {
        return Some(folder.into());
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").is_file()).max()
}

/// Starts one in a folder that is made for it, without waiting. `settings` are more of its
/// arguments. Returns its port: the user is `postgres`, without a password.
pub fn add(
    daemons: &Daemons,
    programs: &Path,
    folder: &Path,
    settings: &[&str],
) -> io::Result<u16> {
    fs::create_dir(folder)?;
    let port = free_port()?;
    // It refuses to be root.
    let mut command = as_user("postgres", folder)?;
    command
        .args(["sh", "-c"])
        .arg(
            "programs=$1 folder=$2 port=$3; shift 3
             \"$programs\"/initdb -D \"$folder\"/data -U postgres --auth=trust --no-sync \
             --encoding=UTF8 --locale=C || exit
             exec \"$programs\"/postgres -D \"$folder\"/data -p \"$port\" \
             -c listen_addresses=127.0.0.1 -c unix_socket_directories=\"$folder\" \"$@\"",
        )
        .arg("sh")
        .args([programs, folder])
        .arg(port.to_string())
        .args(settings);
    let ready = Ready::Says("is ready to accept connections");
    daemons.add("PostgreSQL", command, folder, ready, End::Quit)?;
    Ok(port)
}
