//! What a demo keeps for the next one: the events, and the token for publishing.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::files::{self, told};

/// The database's file, which may not exist yet. A fresh demo deletes it first.
pub(crate) fn storage(folder: &Path, fresh: bool) -> Result<PathBuf, String> {
    files::create(folder)?;
    let storage = folder.join("sse-demo.db");
    if fresh {
        forget(&storage)?;
    }
    Ok(storage)
}

/// Deletes the database, and the write-ahead log with its index beside it.
fn forget(storage: &Path) -> Result<(), String> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = storage.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return told("delete", Path::new(&file), Err(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The publish token of earlier demos, which pages may have stored, or a new one.
pub(crate) fn token(folder: &Path) -> Result<String, String> {
    let path = &folder.join("token");
    if let Ok(kept) = fs::read_to_string(path) {
        let kept = kept.trim_ascii();
        if kept.len() >= 32 && kept.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(kept.to_owned());
        }
    }
    let token = random_token()?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    // What is there is not our token, and others might be able to read it.
    let _ = fs::remove_file(path);
    let written = options.open(path).and_then(|mut file| writeln!(file, "{token}"));
    told("write", path, written)?;
    Ok(token)
}

/// 128 random bits in hexadecimal digits.
fn random_token() -> Result<String, String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = token(folder.path()).expect("written");
        assert_eq!(first.len(), 32);
        assert_eq!(token(folder.path()).as_ref(), Ok(&first));
        let mode = fs::metadata(folder.path().join("token")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("token"), "'; rm -rf /").expect("writable");
        assert_ne!(token(folder.path()).expect("a new one"), first);
    }

    #[test]
    fn a_fresh_demo_finds_no_events() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage_of = |fresh| storage(folder.path(), fresh).expect("writable");
        let storage = storage_of(false);
        fs::write(&storage, "").expect("writable");
        fs::write(folder.path().join("sse-demo.db-wal"), "").expect("writable");
        fs::write(folder.path().join("token"), "").expect("writable");
        assert_eq!(storage_of(true), storage, "deleted");
        assert_eq!(storage_of(true), storage, "nothing to delete");
        let left = fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 1);
    }
}
