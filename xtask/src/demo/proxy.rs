//! `--pushpin`: a GRIP proxy that holds the readers' connections, in front of the server.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::daemons::free_port;
use testkit::programs::{find, pushpin_config};

use crate::process::{Running, TICK};

/// What it signs with.
const KEY: &str = "of-a-demo-on-this-machine-alone";

/// How long it may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Pushpin, which ends when dropped.
pub(super) struct Proxy {
    running: Running,
    /// What the server's settings must say.
    pub(super) settings: String,
    /// Where the server listens.
    pub(super) server: SocketAddr,
}

impl Proxy {
    /// Starts one that listens here. Its files are in this folder.
    pub(super) fn start(listen: SocketAddr, folder: &Path) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot start Pushpin: {error}");
        let program = find("pushpin").unwrap_or_else(|| PathBuf::from("pushpin"));
        let folder = std::path::absolute(folder.join("pushpin")).map_err(cannot)?;
        let _ = fs::remove_dir_all(&folder);
        for name in ["run", "logs"] {
            fs::create_dir_all(folder.join(name)).map_err(cannot)?;
        }
        let control = free_port().map_err(cannot)?;
        let server = SocketAddr::from(([127, 0, 0, 1], free_port().map_err(cannot)?));
        let config = pushpin_config(&folder, &listen.to_string(), control, KEY);
        fs::write(folder.join("pushpin.conf"), config).map_err(cannot)?;
        fs::write(folder.join("routes"), format!("* {server}\n")).map_err(cannot)?;
        let mut command = Command::new(program);
        command.args(["--config", "pushpin.conf"]).current_dir(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running::start(&mut command).map_err(cannot)?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(listen).is_err() {
            let has_ended = running.ended().map_err(cannot)?.is_some();
            if has_ended || Instant::now() >= deadline {
                let logs = folder.join("logs").display().to_string();
                return Err(format!("Pushpin does not listen on {listen}; its logs are in {logs}"));
            }
            thread::sleep(TICK);
        }
        let settings = format!(
            "\n[grip]\nurls = [\"http://127.0.0.1:{control}?verify-key={KEY}&verify-iss=pushpin\"]\n"
        );
        Ok(Self { running, settings, server })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It is several processes, and ends all of them if it is asked to.
        if let Some(pid) = i32::try_from(self.running.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.running.ended().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
            thread::sleep(TICK);
        }
    }
}
