//! An example that runs as a program of its own.

use std::net::SocketAddr;
use std::process::Stdio;

use testkit::port::Port;
use testkit::server::{Response, send};
use testkit::wait::until;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// At a port that it keeps while it is started again.
pub(crate) struct Example {
    pub(crate) port: Port,
    path: &'static str,
    args: Vec<String>,
    child: Child,
}

impl Example {
    pub(crate) async fn start(path: &'static str, args: &[&str]) -> Self {
        let port = Port::reserve();
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        let child = launch(path, &port, &args).await;
        Self { port, path, args, child }
    }

    /// SIGKILL: no goodbye, no flush.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it is running");
    }

    /// Starts again at the same port.
    pub(crate) async fn restart(&mut self) {
        self.child = launch(self.path, &self.port, &self.args).await;
    }

    pub(crate) async fn send(&self, request: &str) -> Response {
        send(SocketAddr::from(([127, 0, 0, 1], self.port.number())), request.as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> u16 {
        let len = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}");
        let kind = "Content-Type: application/x-www-form-urlencoded";
        self.send(&format!("{head}\r\n{kind}\r\n\r\n{body}")).await.status
    }
}

async fn launch(path: &str, port: &Port, args: &[String]) -> Child {
    let mut command = Command::new(path);
    command.arg(port.to_string()).args(args).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().expect("it starts");
    let listens = async || TcpStream::connect(("127.0.0.1", port.number())).await.is_ok();
    until("an example to listen", listens).await;
    child
}
