//! `cargo xtask demo`: the server on a file, kept alive, with everything to try it.

mod kept;
mod proxy;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use testkit::daemons::free_port;

use proxy::Proxy;

use crate::process::{Interrupts, Running, TICK, built, cargo, exit_code, say, shown, target};
use crate::wasm::{self, Trouble};
use crate::{Failure, Outcome, apt, setup};

/// How long the server may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the server may take to end once it has been asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// With more restarts than this in a minute, the server itself must be broken.
const RESTARTS_A_MINUTE: usize = 20;

#[derive(Debug)]
struct Options {
    listen: SocketAddr,
    fresh: bool,
    /// A GRIP proxy holds the connections.
    pushpin: bool,
}

impl Options {
    fn parse(args: &mut lexopt::Parser) -> Result<Self, lexopt::Error> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let mut options = Self { listen, fresh: false, pushpin: false };
        while let Some(arg) = args.next()? {
            match arg {
                Long("fresh") => options.fresh = true,
                Long("pushpin") => options.pushpin = true,
                Long("listen") => options.listen = args.value()?.parse_with(address)?,
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(options)
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = text.parse::<SocketAddr>().ok();
    // Port 0 would be another one after a restart, and no page would come back.
    let address = address.filter(|address| address.port() != 0);
    address.ok_or("it takes an address and a port, as in 127.0.0.1:8080")
}

struct Demo {
    /// Where readers connect.
    listen: SocketAddr,
    /// What listens there, if it is not the server.
    proxy: Option<Proxy>,
    storage: PathBuf,
    token: String,
    /// Why the live page does not read with sse-client-wasm, if it does not.
    client: Result<(), String>,
    /// Decides who may read a channel. On a public address there is none: the server then asks
    /// whether everyone may read everything.
    doorkeeper: Option<Doorkeeper>,
    interrupts: Interrupts,
}

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let Options { listen, fresh, pushpin } = Options::parse(args)?;
    if pushpin && !listen.ip().is_loopback() {
        let why = "--pushpin is for this machine; --listen takes an address of it then";
        return Err(Failure::Usage(why.to_owned()));
    }
    let interrupts = Interrupts::listen()?;
    // Before the long build. And another server there would look like ours when it is ready.
    port_is_free(listen)?;
    apt::finish_what_was_begun(&mut shown);
    setup::c_compiler(&mut shown)?;
    // The demo goes on without it: the page then reads by the browser's EventSource, and says so.
    let client = wasm::build(&mut shown).map(drop).map_err(Trouble::why);
    if interrupts.arrived() {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(code) = build(&interrupts)? {
        return Ok(code);
    }
    let folder = target().join("demo");
    let storage = kept::storage(&folder, fresh)?;
    let token = kept::token(&folder)?;
    let proxy = if pushpin {
        setup::pushpin(&mut shown)?;
        Some(Proxy::start(listen, &folder)?)
    } else {
        None
    };
    let doorkeeper = if listen.ip().is_loopback() {
        let server = proxy.as_ref().map_or(listen, |proxy| proxy.server);
        let more = proxy.as_ref().map_or("", |proxy| &proxy.settings);
        let doorkeeper = Doorkeeper::start(server, &token, folder.join("access.toml"), more);
        Some(doorkeeper?)
    } else {
        None
    };
    let demo = Demo { listen, proxy, storage, token, client, doorkeeper, interrupts };
    demo.supervise()
}

/// The channel that it keeps.
const CHANNEL: &str = "private";

/// `sse-server/examples/doorkeeper.rs`, which the server asks who may read [`CHANNEL`].
struct Doorkeeper {
    address: SocketAddr,
    /// The server's settings, which say so.
    settings: PathBuf,
    // Only to be dropped.
    _running: Running,
}

impl Doorkeeper {
    fn start(server: SocketAddr, token: &str, settings: PathBuf, more: &str) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let toml = format!(
            "# Written by `cargo xtask demo`.\n\
             [[access.rules]]\nchannel = \"{CHANNEL}\"\nallow = \"backend\"\n\n\
             [[access.rules]]\nchannel = \"*\"\nallow = \"public\"\n\n\
             [access.forward-auth]\nurl = \"http://{address}/\"\ncache = \"1s\"\n{more}"
        );
        fs::write(&settings, toml)?;
        let mut doorkeeper = Command::new(built().join("doorkeeper"));
        doorkeeper.args([&address.to_string(), &format!("http://{server}"), token]);
        let running = Running::start(doorkeeper.stdin(Stdio::null()))?;
        Ok(Self { address, settings, _running: running })
    }
}

/// Whether the server at this address can be used.
fn is_ready(address: SocketAddr) -> bool {
    let answer = minreq::get(format!("http://{address}/health/ready")).with_timeout(1).send();
    answer.is_ok_and(|answer| answer.status_code == 200)
}

fn port_is_free(listen: SocketAddr) -> Result<(), String> {
    TcpListener::bind(listen).map(drop).map_err(|error| {
        let other = SocketAddr::new(listen.ip(), listen.port().wrapping_add(1).max(1024));
        format!(
            "cannot listen on {listen}: {error}\n\
             Perhaps another demo is running. Another port: cargo xtask demo --listen {other}"
        )
    })
}

/// Builds the programs. `Some` if the demo ends here.
fn build(interrupts: &Interrupts) -> Result<Option<ExitCode>, Failure> {
    let mut build =
        Running::start(&mut cargo(&["build", "--bin", "sse-server", "--bin", "doorkeeper"]))?;
    loop {
        if interrupts.arrived() {
            build.stop(STOP_WITHIN, interrupts)?;
            return Ok(Some(ExitCode::SUCCESS));
        }
        match build.ended()? {
            None => thread::sleep(TICK),
            Some(status) if status.success() => return Ok(None),
            // Its output says why.
            Some(status) => return Ok(Some(ExitCode::from(exit_code(status)))),
        }
    }
}

enum Start {
    Ready,
    Ended(ExitStatus),
    Interrupted,
    TooSlow,
}

impl Demo {
    fn supervise(&self) -> Outcome {
        let mut server = self.start()?;
        match self.wait_until_ready(&mut server)? {
            Start::Ready => say(&self.invitation(server.pid())),
            // The server has said why.
            Start::Ended(status) => return Ok(ExitCode::from(exit_code(status))),
            Start::Interrupted => return self.stop(server),
            Start::TooSlow => return Err(self.too_slow().into()),
        }
        let mut restarts = Restarts::default();
        loop {
            if self.interrupts.arrived() {
                return self.stop(server);
            }
            let Some(status) = server.ended()? else {
                thread::sleep(TICK);
                continue;
            };
            // Ctrl-C goes to the server too, and we may see its end before our own signal.
            thread::sleep(4 * TICK);
            if self.interrupts.arrived() {
                return self.stop(server);
            }
            if status.success() {
                say("The server has ended by itself.");
                return Ok(ExitCode::SUCCESS);
            }
            if !restarts.allow(Instant::now()) {
                return Err(format!(
                    "the server has ended {RESTARTS_A_MINUTE} times within a minute, the last time \
                     with {status}; it is not restarted"
                )
                .into());
            }
            say(&format!("The server has ended ({status}). It is started again."));
            server = self.start()?;
            match self.wait_until_ready(&mut server)? {
                Start::Ready => say(&format!("It is ready, as process {}.", server.pid())),
                // The next turn of the loop sees it.
                Start::Ended(_) => {}
                Start::Interrupted => return self.stop(server),
                Start::TooSlow => return Err(self.too_slow().into()),
            }
        }
    }

    fn start(&self) -> io::Result<Running> {
        let mut server = Command::new(built().join("sse-server"));
        server
            .args(["--listen", &self.server().to_string()])
            .args(["--storage", &format!("sqlite:{}", self.storage.display())])
            .args(["--publish-token", &self.token])
            .stdin(Stdio::null());
        if let Some(doorkeeper) = &self.doorkeeper {
            server.arg("--config").arg(&doorkeeper.settings);
        }
        Running::start(&mut server)
    }

    fn wait_until_ready(&self, server: &mut Running) -> io::Result<Start> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.interrupts.arrived() {
                return Ok(Start::Interrupted);
            }
            // With a proxy, by way of it too.
            let addresses = [self.server(), self.listen];
            let ready = addresses.into_iter().all(|address| is_ready(reachable(address)));
            if let Some(status) = server.ended()? {
                return Ok(Start::Ended(status));
            }
            if ready {
                return Ok(Start::Ready);
            }
            if Instant::now() >= deadline {
                return Ok(Start::TooSlow);
            }
            thread::sleep(TICK);
        }
    }

    fn too_slow(&self) -> String {
        let url = format!("http://{}/health/ready", reachable(self.listen));
        format!("the server runs, but {url} has not answered with 200 within 30 seconds")
    }

    fn stop(&self, server: Running) -> Outcome {
        say("Stopping the server.");
        server.stop(STOP_WITHIN, &self.interrupts)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Where the server listens.
    fn server(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.listen, |proxy| proxy.server)
    }

    fn invitation(&self, pid: u32) -> String {
        let url = format!("http://{}", reachable(self.listen));
        let held = match &self.proxy {
            Some(_) => "Pushpin holds the connections, and the page says so. ",
            None => "",
        };
        let token = &self.token;
        let revoking =
            self.doorkeeper.as_ref().map_or_else(String::new, |Doorkeeper { address, .. }| {
                format!(
                    "And take permission back: open {url}/events/?channel={CHANNEL}, then\n  \
                 curl -X POST http://{address}/revoke      (/grant gives it again)\n"
                )
            });
        let without = self.client.as_ref().err().map_or_else(String::new, |why| {
            format!("The page reads by EventSource, without sse-client-wasm: {why}\n")
        });
        format!(
            r#"
The live page, for a browser:
  {url}/events/?channel=test

Publish, from another terminal:
  curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{{"channel":"test","data":{{"text":"hello"}}}}' {url}/publish/

Watch without a browser:
  curl -N '{url}/events/?channel=test'

{held}Try, and see that the page misses nothing:
  - "Cut" on the page breaks its connection as a lost network would
  - `kill -9 {pid}` kills the server; the demo starts it again on the same file and port
  - "One for all tabs" and a second tab: the server sees one connection, and it outlives either tab
{revoking}Ctrl-C here ends the demo; its events are kept for the next one.
{without}"#
        )
    }
}

/// The address to connect to: "all addresses" is one to listen on only.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => [0, 0, 0, 0, 0, 0, 0, 1].into(),
        });
    }
    address
}

/// When the server was restarted within the last minute.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    fn allow(&mut self, now: Instant) -> bool {
        let minute = Duration::from_mins(1);
        while self.0.front().is_some_and(|at| now.duration_since(*at) >= minute) {
            self.0.pop_front();
        }
        let allowed = self.0.len() < RESTARTS_A_MINUTE;
        if allowed {
            self.0.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn parse(args: &[&str]) -> Result<(String, bool, bool), String> {
        let options = Options::parse(&mut lexopt::Parser::from_args(args));
        let Options { listen, fresh, pushpin } = options.map_err(|error| error.to_string())?;
        Ok((listen.to_string(), fresh, pushpin))
    }

    #[test]
    fn flags_are_read() {
        assert_eq!(parse(&[]), Ok(("127.0.0.1:8080".to_owned(), false, false)));
        let fresh = parse(&["--fresh", "--listen", "[::1]:90"]);
        assert_eq!(fresh, Ok(("[::1]:90".to_owned(), true, false)));
        let proxied = parse(&["--listen=127.0.0.1:90", "--pushpin"]);
        assert_eq!(proxied, Ok(("127.0.0.1:90".to_owned(), false, true)));
        for wrong in
            [&["--listen"][..], &["--listen", "8080"], &["--listen", "127.0.0.1:0"], &["x"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    fn answered(answer: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one connection");
            let mut request = [0; 1024];
            let len = stream.read(&mut request).expect("a request");
            let request = String::from_utf8_lossy(&request[..len]);
            assert!(request.starts_with("GET /health/ready HTTP/1.1\r\n"), "{request}");
            stream.write_all(answer.as_bytes()).expect("read");
        });
        let ready = is_ready(address);
        server.join().expect("no panic");
        ready
    }

    #[test]
    fn only_200_is_ready() {
        assert!(answered("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(answered("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(!answered("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
        assert!(!answered("SSH-2.0-OpenSSH_9.2\r\n"));
        assert!(!answered(""));
    }

    #[test]
    fn twenty_restarts_a_minute_are_allowed() {
        let mut restarts = Restarts::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!((0..20).all(|second| restarts.allow(after(second))));
        assert!(!restarts.allow(after(59)));
        assert!(restarts.allow(after(60)));
        assert!(!restarts.allow(after(60)));
        assert!(restarts.allow(after(61)));
    }
}
