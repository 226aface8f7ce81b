//! Output that nobody reads any more, as with `sse-fuzz probe --list | head -1`, is no error.

use std::process::{Command, Stdio};

#[test]
fn who_reads_no_further_is_no_reason_to_complain() {
    for args in [["hostile", "--list"], ["probe", "--list"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
        let command = command.args(args).stdout(writer).stderr(Stdio::piped());
        let output = command.output().expect("cargo has built it");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
