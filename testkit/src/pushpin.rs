//! Pushpin, a GRIP proxy of a test's own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::port::Port;
use crate::processes::kill_with_children;
use crate::programs::pushpin_config;
use crate::services::variable;
use crate::wait::{until, within};

/// What it signs with, and we verify.
pub const KEY: &str = "of-a-proxy-that-lives-for-a-minute";

/// A place of our own, to see whether it holds streams.
const PROBED: &str = "/is-it-ready";

/// What is there.
const PROBE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\n\
                     Grip-Channel: is-it-ready\r\nContent-Length: 7\r\nConnection: close\r\n\r\n\
                     :held\n\n";
const PUBLISHED: &str = r#"{"items":[{"channel":"is-it-ready","formats":{"http-stream":
                         {"content":":published\n\n"}}}]}"#;

/// How long it may take to answer a probe at first. A probe that got lost is sent again, and then
/// it may take twice as long.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);

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

    /// Starts it, again if it was killed, and waits until it holds streams, and publishes in them.
    /// It listens before its processes know of each other, and what comes by then may never be
    /// answered.
    pub async fn again(&mut self) {
        let folder = self.folder.path();
        for name in ["run", "logs"] {
            std::fs::create_dir_all(folder.join(name)).expect("it is ours");
        }
        let (port, control) = (self.port.number(), self.control.number());
        let config = pushpin_config(folder, &self.port.to_string(), control, KEY);
        std::fs::write(folder.join("pushpin.conf"), config).expect("it is ours");
        let probe = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = probe.local_addr().expect("bound");
        let routes = format!("*,path_beg={PROBED} {address}\n* {}\n", self.origins);
        std::fs::write(folder.join("routes"), routes).expect("it is ours");
        let mut command = Command::new(&self.program);
        command.args(["--config", "pushpin.conf"]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        for port in [port, control] {
            let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            until("Pushpin to listen", listens).await;
        }
        let probed = async {
            let mut patience = ANSWERED_WITHIN;
            while !matches!(timeout(patience, self.is_ready(&probe)).await, Ok(Ok(()))) {
                patience *= 2;
                // Not at once, where it has closed the connection.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within("Pushpin to hold a stream", probed).await;
    }

    /// Asks for a stream, and publishes in it.
    async fn is_ready(&self, origin: &TcpListener) -> io::Result<()> {
        let answering = async {
            loop {
                let (mut socket, _) = origin.accept().await?;
                read_until(&mut socket, "\r\n\r\n").await?;
                socket.write_all(PROBE.as_bytes()).await?;
            }
        };
        let probing = async {
            let mut stream = TcpStream::connect(self.address()).await?;
            let request = format!("GET {PROBED} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            read_until(&mut stream, ":held").await?;
            let mut control = TcpStream::connect(("127.0.0.1", self.control.number())).await?;
            let length = PUBLISHED.len();
            let head =
                format!("POST /publish/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            control.write_all((head + PUBLISHED).as_bytes()).await?;
            read_until(&mut stream, ":published").await
        };
        tokio::select! {
            problem = answering => problem,
            ready = probing => ready,
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

/// Reads on until there is this text.
async fn read_until(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
