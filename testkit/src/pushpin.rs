//! Pushpin, a GRIP proxy of a test's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;

use crate::port::Port;
use crate::processes::kill_with_children;
use crate::programs::pushpin_config;
use crate::services::variable;
use crate::wait::until;

/// What it signs with, and we verify.
pub const KEY: &str = "of-a-proxy-that-lives-for-a-minute";

/// Pushpin in front of an origin. Killed when dropped.
pub struct Pushpin {
    program: String,
    folder: tempfile::TempDir,
    pub port: Port,
    control: Port,
    /// Where it asks: the first that answers.
    origins: String,
    child: Option<Child>,
}

impl Pushpin {
    /// Starts one in front of whatever listens, or will listen, at this port. Without Pushpin on
    /// the machine there is none.
    pub async fn start(origin: u16) -> Option<Self> {
        let mut this = Self::reserve()?;
        this.in_front_of(&[(Ipv4Addr::LOCALHOST, origin).into()]).await;
        Some(this)
    }

    /// One that is not started yet, but has its place.
    pub fn reserve() -> Option<Self> {
        let program = variable("SSE_TEST_PUSHPIN")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, control) = (Port::reserve(), Port::reserve());
        Some(Self { program, folder, port, control, origins: String::new(), child: None })
    }

    /// Starts it in front of these.
    pub async fn in_front_of(&mut self, origins: &[SocketAddr]) {
        self.origins = origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.again().await;
    }

    /// Where readers connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// Starts it, again if it was killed, and waits until it listens.
    pub async fn again(&mut self) {
        let folder = self.folder.path();
        for name in ["run", "logs"] {
            std::fs::create_dir_all(folder.join(name)).expect("it is ours");
        }
        let (port, control) = (self.port.number(), self.control.number());
        let config = pushpin_config(folder, &self.port.to_string(), control, KEY);
        std::fs::write(folder.join("pushpin.conf"), config).expect("it is ours");
        std::fs::write(folder.join("routes"), format!("* {}\n", self.origins)).expect("ours");
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
        kill_with_children(child.id());
        child.wait().expect("it ends");
    }
}

impl Drop for Pushpin {
    fn drop(&mut self) {
        self.kill();
    }
}
