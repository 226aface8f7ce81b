//! The file of SQLite's write-ahead log, laid out before it is used.
//!
//! To sync what was written over is one write to the disk. Where the file has grown, the file
//! system has to record its new length too, and a commit takes twice as long. SQLite writes its log
//! from the start again after each checkpoint, so that only the first round grows; but a server
//! that is calm takes hours for that round, and begins another whenever it is started.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing::debug;

use super::CHECKPOINT_PAGES;

/// A page and its header in the log.
const FRAME: usize = 4096 + 24;

/// How much is written at a time: what SQLite writes. Linux keeps in its memory what was written at
/// once as one piece, and looks through all of the piece with each write to a part of it.
const PIECE: usize = 4096;

/// Lays out the log of a file, unless it has one: then somebody uses the file, or it is to be
/// recovered. Without it, all works as well, at first more slowly.
pub(super) fn lay_out(path: &Path) {
    if let Err(error) = try_to_lay_out(path) {
        debug!(%error, "the log of SQLite was not laid out");
    }
}

fn try_to_lay_out(path: &Path) -> io::Result<()> {
    let log = beside(path, "-wal");
    if log.try_exists()? {
        return Ok(());
    }
    let database = fs::metadata(path)?;
    let new = beside(path, "-wal-new");
    let file = match OpenOptions::new().write(true).create_new(true).open(&new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Of a server that was killed, or of one that does the same right now, whose file then
            // does not become the log.
            fs::remove_file(&new)?;
            return Ok(());
        }
        file => file?,
    };
    // The log is there whole or not at all, and never in place of another: what another process
    // has written meanwhile is its log.
    let done = fill(file, &database).and_then(|()| fs::hard_link(&new, &log));
    fs::remove_file(&new)?;
    done
}

/// Zeros are no log: SQLite takes them for an empty one.
fn fill(mut file: File, database: &Metadata) -> io::Result<()> {
    // Who may write to the one may write to the other, as SQLite has it.
    file.set_permissions(database.permissions())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};

        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (database.uid(), database.gid()) {
            fchown(&file, Some(database.uid()), Some(database.gid()))?;
        }
    }
    let zeros = vec![0; PIECE];
    let mut left = usize::try_from(CHECKPOINT_PAGES).expect("positive") * FRAME;
    while left > 0 {
        let len = left.min(PIECE);
        file.write_all(&zeros[..len])?;
        left -= len;
    }
    file.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;

    /// A file that SQLite has made, in a folder of its own.
    fn database() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a b.db");
        let connection = Connection::open(&path).expect("it can be made");
        connection.pragma_update(None, "journal_mode", "WAL").expect("it has a log");
        connection.close().expect("nobody uses it");
        (folder, path)
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("it is there");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("a name").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn insert(connection: &Connection, count: usize) {
        let sql = "CREATE TABLE IF NOT EXISTS t (data BLOB);";
        connection.execute_batch(sql).expect("there is room");
        for _ in 0..count {
            connection.execute("INSERT INTO t VALUES (randomblob(9000))", []).expect("room");
        }
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a number")
    }

    #[test]
    fn a_log_that_was_laid_out_is_written_over_and_read_again() {
        let (folder, path) = database();
        lay_out(&path);
        assert_eq!(names(&folder), ["a b.db", "a b.db-wal"]);
        let log = beside(&path, "-wal");
        let len = fs::metadata(&log).expect("it is there").len();
        let connection = Connection::open(&path).expect("it opens");
        insert(&connection, 100);
        assert_eq!(fs::metadata(&log).expect("it is there").len(), len);
        // As after a crash: another opens what nobody has closed.
        let copy = folder.path().join("copy.db");
        fs::copy(&path, &copy).expect("it can be copied");
        fs::copy(&log, beside(&copy, "-wal")).expect("it can be copied");
        assert_eq!(count(&Connection::open(&copy).expect("it opens")), 100);
        assert_eq!(count(&connection), 100);
    }

    #[test]
    fn a_log_that_is_there_stays() {
        let (folder, path) = database();
        let connection = Connection::open(&path).expect("it opens");
        insert(&connection, 10);
        lay_out(&path);
        insert(&connection, 10);
        assert_eq!(count(&Connection::open(&path).expect("it opens")), 20);
        assert_eq!(names(&folder), ["a b.db", "a b.db-shm", "a b.db-wal"]);
    }

    #[test]
    fn what_was_begun_and_not_ended_is_no_log_and_is_cleared_away() {
        let (folder, path) = database();
        fs::write(beside(&path, "-wal-new"), "half of it").expect("there is room");
        lay_out(&path);
        assert_eq!(names(&folder), ["a b.db"]);
        lay_out(&path);
        assert_eq!(names(&folder), ["a b.db", "a b.db-wal"]);
    }

    #[cfg(unix)]
    #[test]
    fn whoever_may_write_to_the_file_may_write_to_its_log() {
        use std::os::unix::fs::PermissionsExt;

        let (_folder, path) = database();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).expect("it is ours");
        lay_out(&path);
        let log = fs::metadata(beside(&path, "-wal")).expect("it is there");
        assert_eq!(log.permissions().mode() & 0o777, 0o660);
    }
}
