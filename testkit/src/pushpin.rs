//! Pushpin, a GRIP proxy of a test's own.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::port::Port;
use crate::services::{children, is_running, signal, variable};
use crate::wait::until;

/// What it signs with, and we verify.
pub const KEY: &str = "of-a-proxy-that-lives-for-a-minute";

/// Pushpin in front of an origin. Killed when dropped.
pub struct Pushpin {
    program: String,
    folder: tempfile::TempDir,
    pub port: Port,
    control: Port,
    origin: String,
    settings: String,
    child: Option<Child>,
}

impl Pushpin {
    /// Starts one in front of whatever listens, or will listen, at this port. Without Pushpin on the
    /// machine there is none.
    pub async fn start(origin: u16) -> Option<Self> {
        let program = variable("SSE_TEST_PUSHPIN")?;
        let mut this = Self {
            program,
            folder: tempfile::tempdir().expect("a temporary folder"),
            port: Port::reserve(),
            control: Port::reserve(),
            origin: format!("127.0.0.1:{origin}"),
            settings: format!("sig_key={KEY}"),
            child: None,
        };
        this.again().await;
        Some(this)
    }

    /// Starts it, again if it was killed, and waits until it listens.
    pub async fn again(&mut self) {
        let folder = self.folder.path();
        for name in ["run", "logs"] {
            std::fs::create_dir_all(folder.join(name)).expect("it is ours");
        }
        let (port, control) = (self.port.number(), self.control.number());
        let config = include_str!("pushpin.conf")
            .replace("{folder}", &folder.display().to_string())
            .replace("{port}", &port.to_string())
            .replace("{control}", &control.to_string())
            .replace("{settings}", &self.settings);
        std::fs::write(folder.join("pushpin.conf"), config).expect("it is ours");
        std::fs::write(folder.join("routes"), format!("* {}\n", self.origin)).expect("ours");
        let mut command = Command::new(&self.program);
        command.args(["--config", "pushpin.conf"]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        for port in [port, control] {
            let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            until("Pushpin to listen", listens).await;
        }
    }

    /// The `GRIP_URL` of it.
    pub fn grip_url(&self) -> String {
        format!("{}?verify-key={KEY}&verify-iss=pushpin", self.control())
    }

    /// Where it takes what is published.
    pub fn control(&self) -> String {
        format!("http://{}", self.control)
    }

    /// Where readers connect.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port)
    }

    /// `kill -9`, for all of its processes.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let others = children(child.id());
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        signal("KILL", &others);
        while others.iter().any(|&id| is_running(id)) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Pushpin {
    fn drop(&mut self) {
        self.kill();
    }
}
