//! The proof: a real server on SQLite, killed with SIGKILL at random moments under load; and the
//! same with a disk that is full for a while, and a log that is not read any more.
//!
//! `SSE_KILLS` sets how often (default 20 each) and `SSE_SEED` the random choices;
//! `cargo xtask proof --kills 1000 --seed 7` is the comfortable way. Moments of kills and of the
//! operating system are not repeatable, so the same seed makes the same choices, not the same run.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use server::Server;
use testkit::server;
use testkit::traffic::Load;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// What happens to the server in a round.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is killed, and started again.
    Killed,
    /// Its disk is full, and then there is room again.
    DiskFull,
    /// What reads its log ends. Until it is started again, what it logs goes nowhere.
    LogLeft,
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_reach_everyone_exactly_once_though_the_server_is_killed() {
    prove(Server::start(&[]).await, None, &[Fault::Killed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_log_that_is_not_read_lose_nothing_either() {
    let Some((server, disk)) = SmallDisk::with_server().await else { return };
    let faults = [Fault::DiskFull, Fault::LogLeft, Fault::DiskFull, Fault::Killed];
    prove(server, Some(disk), &faults).await;
}

async fn prove(mut server: Server, disk: Option<SmallDisk>, faults: &[Fault]) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let rounds: u64 = number("SSE_KILLS").unwrap_or(20);
    let seed = number("SSE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let again = format!("SSE_SEED={seed} SSE_KILLS={rounds}");
    println!("seed {seed}, {rounds} rounds of {faults:?} ({again})");
    let mut random = Rng::with_seed(seed);
    let load = Load::begin(&server.address.to_string(), again, &mut random).await;
    let start = Instant::now();
    for (round, fault) in (1..=rounds).zip(faults.iter().cycle()) {
        load.record().begin_round(round);
        sleep(Duration::from_millis(random.u64(..1000))).await;
        load.record().note(format!("strikes: {fault:?}"));
        match fault {
            Fault::Killed => {
                server.kill().await;
                sleep(Duration::from_millis(random.u64(..200))).await;
                server.restart().await;
            }
            Fault::DiskFull => {
                let disk = disk.as_ref().expect("one of its own");
                disk.fill();
                sleep(Duration::from_millis(random.u64(..500))).await;
                disk.empty();
            }
            Fault::LogLeft => server.leave_log(),
        }
        load.is_back(&format!("{fault:?}"), &mut random).await;
        if round % 100 == 0 {
            println!("{round} rounds in {} s", start.elapsed().as_secs());
        }
    }
    load.end().await;
}

/// A disk of its own for a server, which can be full. It lasts as long as the process that has made
/// it.
struct SmallDisk {
    holder: Child,
    /// As it is seen from here: a file that takes the room.
    other: PathBuf,
}

impl SmallDisk {
    /// If this machine lets a process have mounts of its own.
    async fn with_server() -> Option<(Server, Self)> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount = "mount -t tmpfs -o size=64m tmpfs \"$1\" && echo mounted && exec sleep 86400";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]);
        command.arg(folder.path()).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = command.spawn().ok()?;
        let mut said = String::new();
        let stdout = holder.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut said).await.expect("readable");
        if said.is_empty() {
            eprintln!("left out, it needs mounts of its own");
            return None;
        }
        let id = holder.id().expect("it runs").to_string();
        let wrapper = ["nsenter", "--user", "--mount", "--preserve-credentials", "-t", &id];
        let other = format!("/proc/{id}/root{}/other", folder.path().display()).into();
        let wrapper = wrapper.map(str::to_owned).to_vec();
        let server = Server::start_always_under(wrapper, folder, &[]).await;
        Some((server, Self { holder, other }))
    }

    fn fill(&self) {
        let mut file = File::create(&self.other).expect("it can be made");
        // Until it is full, to the last page.
        while file.write_all(&vec![0; 64 << 10]).is_ok() || file.write_all(&[0]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(&self.other).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.holder.start_kill().ok();
    }
}
