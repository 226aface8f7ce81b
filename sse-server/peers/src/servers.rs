//! The servers: how each is started, and what its requests look like.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sse_fuzz_peers::servers::{django_at, nchan_command, pushpin_at};
use testkit::daemons::{Daemons, End, Ready, free_port};

use crate::load::{Readers, Request};

/// Names another build of this server, to be measured.
pub const OURS: &str = "SSE_BENCH_SERVER";
/// Names `durable-streams-server`.
pub const DURABLE: &str = "SSE_BENCH_DURABLE_STREAMS";

const TOKEN: &str = "of-a-server-that-lives-for-a-minute";

/// More connections than any bench opens.
const MOST: usize = 25_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Ours,
    DurableStreams,
    Nchan,
    Pushpin,
    Axum,
    /// The same in the program of the next three, which are all under `axum::serve`.
    AxumBeside,
    /// The same stream by a `StreamView` of ours.
    Stream,
    /// A closure, by a `StreamView`.
    View,
    /// Our `EventStreams`, nested in such an application.
    Embedded,
    /// django-eventstream under daphne, with SQLite.
    Django,
    /// A loop of `send`, which is the least that fan-out can cost.
    Floor,
}

/// A server that has been started.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub server: Server,
    pub port: u16,
    pub pid: u32,
}

/// What is published and read. Events of several channels take turns.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub channels: u32,
    /// How many events a request has.
    pub batch: usize,
}

impl Traffic {
    /// One channel, and so many events a request.
    pub fn of(batch: usize) -> Self {
        Self { channels: 1, batch }
    }
}

/// From where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Now,
    Start,
    /// Behind the event with this id, of ours: the others have ids of other forms.
    After(u32),
}

/// A program that cargo has built beside this one.
///
/// # Panics
///
/// If this program does not know where it is.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a program knows where it is");
    this.with_file_name(name)
}

fn named(variable: &str, otherwise: impl FnOnce() -> PathBuf) -> PathBuf {
    env::var_os(variable).map_or_else(otherwise, PathBuf::from)
}

/// What starts this server with a storage.
///
/// # Errors
///
/// If its settings cannot be written into the folder.
pub fn ours_on(storage: &str, port: u16, folder: &Path) -> io::Result<Command> {
    let mut command = Command::new(named(OURS, || program("sse-server")));
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--publish-token", TOKEN]);
    command.args(["--storage", storage]);
    let config = folder.join("config.toml");
    fs::write(&config, "[request-limits]\nchannels = 100\n")?;
    command.arg("--config").arg(config);
    Ok(command)
}

impl Server {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::DurableStreams => "durable-streams",
            Self::Nchan => "nchan",
            Self::Pushpin => "pushpin",
            Self::Axum => "axum",
            Self::AxumBeside => "axum-beside",
            Self::Stream => "stream",
            Self::View => "view",
            Self::Embedded => "embedded",
            Self::Django => "django",
            Self::Floor => "floor",
        }
    }

    /// Starts it in a folder of its own, and waits until it accepts.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(self, daemons: &Daemons) -> Result<Running, String> {
        self.start_with(daemons, &[]).map(|(running, _)| running)
    }

    /// The same with more arguments, for one that is a single program. Returned is its folder, too.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start_with(
        self,
        daemons: &Daemons,
        args: &[&str],
    ) -> Result<(Running, PathBuf), String> {
        let failed = |error: io::Error| format!("{}: {error}", self.name());
        let port = free_port().map_err(failed)?;
        let folder = daemons.folder().join(format!("{}-{port}", self.name()));
        fs::create_dir(&folder).map_err(failed)?;
        let add = |mut command: Command| {
            command.args(args);
            let ready = Ready::Accepts(port);
            let pid = daemons.add(self.name(), command, &folder, ready, End::KillGroup)?;
            Ok((port, pid))
        };
        let (port, pid) = match self {
            Self::Django => django_at(daemons, &folder),
            Self::Pushpin => pushpin_at(daemons, &folder, MOST),
            _ => self.command(port, &folder).and_then(add),
        }
        .map_err(failed)?;
        daemons.wait()?;
        Ok((Running { server: self, port, pid }, folder))
    }

    /// What starts one that is a single program.
    fn command(self, port: u16, folder: &Path) -> io::Result<Command> {
        let address = format!("127.0.0.1:{port}");
        Ok(match self {
            Self::Django | Self::Pushpin => unreachable!("they are several"),
            Self::Ours => {
                let events = folder.join("events.db");
                ours_on(&format!("sqlite:{}", events.display()), port, folder)?
            }
            Self::DurableStreams => {
                let built = || program("../durable-streams/bin/durable-streams-server");
                let mut command = Command::new(named(DURABLE, built));
                command.args(["--port", &port.to_string(), "--data-dir"]).arg(folder.join("data"));
                command
            }
            Self::Nchan => nchan_command(folder, port, MOST)?,
            Self::Axum => {
                let mut command = Command::new(program("examples/axum_sse"));
                command.arg(address);
                command
            }
            Self::AxumBeside | Self::Stream | Self::View | Self::Embedded => {
                let mut command = Command::new(program("sse-bench-embedded"));
                command.arg(address);
                command
            }
            Self::Floor => {
                // This program, even if another build of it has taken its place.
                let mut command = Command::new("/proc/self/exe");
                command.args(["floor", &port.to_string()]);
                command
            }
        })
    }

    /// The request for a stream.
    pub fn stream(self, from: From, Traffic { channels, batch }: Traffic) -> String {
        let path = match self {
            Self::Ours => {
                let channels: Vec<_> = (0..channels).map(|n| format!("channel=c{n}")).collect();
                format!("/events/?{}", channels.join("&"))
            }
            Self::DurableStreams => {
                let offset = if from == From::Now { "now" } else { "-1" };
                let stream = if batch == 1 { "text" } else { "json" };
                format!("/{stream}?offset={offset}&live=sse")
            }
            Self::Embedded => "/sse/events/?channel=c0".to_owned(),
            Self::AxumBeside => "/axum".to_owned(),
            Self::Stream => "/stream".to_owned(),
            Self::View => "/view".to_owned(),
            Self::Nchan if from == From::Start => "/history/?channel=c0".to_owned(),
            Self::Nchan | Self::Axum | Self::Django | Self::Floor => {
                "/events/?channel=c0".to_owned()
            }
            // All that its origin has.
            Self::Pushpin => "/events/?channel=test".to_owned(),
        };
        let position = match from {
            From::Now => None,
            From::Start => Some(0),
            From::After(id) => Some(id),
        };
        let resume = match position {
            Some(id) if self == Self::Ours => {
                let positions: Vec<_> = (0..channels).map(|n| format!("c{n}:{id}")).collect();
                format!("Last-Event-ID: {}\r\n", positions.join(","))
            }
            _ => String::new(),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{resume}\r\n"
        )
    }

    /// What an answer has before it falls silent, if there are no events yet.
    fn ready(self) -> &'static [u8] {
        match self {
            Self::Ours
            | Self::DurableStreams
            | Self::Pushpin
            | Self::Django
            | Self::Stream
            | Self::View
            | Self::Embedded => b"\n\n",
            // They say nothing until there is an event.
            Self::Nchan | Self::Axum | Self::AxumBeside | Self::Floor => b"\r\n\r\n",
        }
    }

    /// Readers with this request.
    pub fn readers(self, request: &str, first: u32, channels: u32) -> Readers<'_> {
        Readers { request, ready: self.ready(), first, channels }
    }

    /// Requests that publish so many events each, to be sent in turns. Where a server takes one
    /// event a request, each is as many requests, sent together. Events of several channels take
    /// turns.
    pub fn publish(self, Traffic { channels, batch: events }: Traffic) -> Vec<Request> {
        let channels = channels as usize;
        let turns = if events.is_multiple_of(channels) { 1 } else { channels };
        (0..turns).map(|turn| self.request(events, turn * events, channels)).collect()
    }

    /// A request whose first event has this number.
    fn request(self, events: usize, first: usize, channels: usize) -> Request {
        let batch = |head: &str, event: &dyn Fn(&str, usize) -> String| {
            let head = format!("{head}Content-Type: application/json\r\n");
            Request::new(&head, events, |text, index| {
                in_array(&event(text, (first + index) % channels), index, events)
            })
        };
        let each = |head: &str, event: &dyn Fn(&str) -> String| {
            Request::pipelined((0..events).map(|_| Request::new(head, 1, |text, _| event(text))))
        };
        match self {
            Self::Ours => batch(
                &format!(
                    "POST /publish/ HTTP/1.1\r\nHost: localhost\r\n\
                     Authorization: Bearer {TOKEN}\r\n"
                ),
                &|text, channel| format!("{{\"channel\":\"c{channel}\",\"text\":\"{text}\"}}"),
            ),
            // Where an event is a request, it need not be JSON, which costs them more.
            Self::DurableStreams if events == 1 => each(
                "POST /text HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n",
                &str::to_owned,
            ),
            Self::DurableStreams => {
                batch("POST /json HTTP/1.1\r\nHost: localhost\r\n", &|text, _| {
                    format!("\"{text}\"")
                })
            }
            Self::Nchan | Self::Floor => each(
                "POST /publish/?channel=c0 HTTP/1.1\r\nHost: localhost\r\n\
                 Content-Type: text/plain\r\n",
                &str::to_owned,
            ),
            Self::AxumBeside | Self::Stream | Self::View | Self::Embedded => {
                unreachable!("they are only read")
            }
            Self::Axum | Self::Pushpin | Self::Django => each(
                "POST /publish/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\
                 Content-Type: application/json\r\n",
                &|text| {
                    let channel = if self == Self::Pushpin { "test" } else { "c0" };
                    format!(
                        "{{\"channel\":\"{channel}\",\"event\":\"message\",\"text\":\"{text}\"}}"
                    )
                },
            ),
        }
    }
}

/// Starts so many instances of this server on one storage, and returns their ports.
///
/// # Errors
///
/// If one does not start.
pub fn instances(daemons: &Daemons, storage: &str, count: usize) -> Result<Vec<u16>, String> {
    let start = |_| {
        let port = free_port()?;
        let folder = daemons.folder().join(format!("instance-{port}"));
        fs::create_dir(&folder)?;
        let command = ours_on(storage, port, &folder)?;
        daemons.add("ours", command, &folder, Ready::Accepts(port), End::KillGroup)?;
        Ok::<_, io::Error>(port)
    };
    let ports: Result<Vec<_>, _> = (0..count).map(start).collect();
    let ports = ports.map_err(|error| format!("ours: {error}"))?;
    daemons.wait()?;
    Ok(ports)
}

/// An event of a batch, with what JSON has around it.
fn in_array(event: &str, index: usize, events: usize) -> String {
    let begin = if index == 0 && events > 1 { "[" } else { "" };
    let end = match index + 1 {
        last if last == events && events > 1 => "]",
        last if last == events => "",
        _ => ",",
    };
    format!("{begin}{event}{end}")
}

impl Running {
    /// Makes the channels, where that must be done.
    ///
    /// # Errors
    ///
    /// If the server refuses it.
    pub fn make_channels(&self) -> io::Result<()> {
        if self.server != Server::DurableStreams {
            return Ok(());
        }
        for (name, kind) in [("text", "text/plain"), ("json", "application/json")] {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            let request = format!(
                "PUT /{name} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            socket.write_all(request.as_bytes())?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            if answer.get(9..10) != Some("2") {
                return Err(io::Error::other(answer));
            }
        }
        Ok(())
    }
}
