//! The faulty server as a process of its own, for checks that look at the process.

use std::env;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::faulty::Server;

/// What fault the process is to have.
const FAULT: &str = "SSE_FUZZ_TEST_FAULT";

/// What it says before its address.
const HERE: &str = "listening at ";

/// The process; dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    /// Held open: it writes when it ends.
    _lines: Lines<BufReader<ChildStdout>>,
    base: String,
}

impl Process {
    /// Runs this program again, to do nothing but to serve.
    pub(crate) async fn start(fault: &str) -> Self {
        let this = env::current_exe().expect("this program has a place");
        let mut command = Command::new(this);
        command.args(["--ignored", "--exact", "--nocapture", "process::serves_until_it_is_ended"]);
        command.env(FAULT, fault).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it can be run once more");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        loop {
            let line = lines.next_line().await.expect("it can be read").expect("an address");
            if let Some((_, base)) = line.split_once(HERE) {
                let base = base.to_owned();
                return Self { child, _lines: lines, base };
            }
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other tests run it, as a process of its own"]
async fn serves_until_it_is_ended() {
    let Ok(fault) = env::var(FAULT) else { return };
    let mut terminations = signal(SignalKind::terminate()).expect("signals can be heard");
    let server = Server::start(&fault);
    println!("{HERE}{}", server.url(""));
    terminations.recv().await;
    if fault != "rob.terminate" {
        server.end().await;
    }
}
