//! `cargo xtask bench connect`: how long 10,000 clients take that come at once, beside axum's `Sse`
//! and nginx with nchan.
//!
//! Two measurements. `connect`: streams are requested one after the other, without waiting for the
//! answers, as after a restart of the server. It ends when all have the head of their answer.
//! `storm`: the same with readers that come back and have events to catch up. It ends when all have
//! their last event. axum keeps no events, so it is not in the second.
//!
//! The servers take turns, and the best time of each counts: other work on the machine only adds to
//! it.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use sse_fuzz_peers::servers::nchan_command;
use sse_server_peers::{MOST, OTHER_DESCRIPTORS, count, enough_descriptors, program};
use testkit::daemons::{Daemons, End, Ready, free_port};

/// How many events each has missed in the storm.
const EVENTS: usize = 100;

/// How often each server is measured.
const ROUNDS: usize = 3;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_mins(2);

const TOKEN: &str = "of-a-server-that-lives-for-a-minute";

struct Server {
    name: &'static str,
    start: fn(port: u16, folder: &Path) -> io::Result<Command>,
    /// None: it keeps nothing.
    history: Option<History>,
}

#[derive(Clone, Copy)]
struct History {
    /// Where a stream begins that has missed what there is, and what its request has beside.
    path: &'static str,
    header: &'static str,
    /// The beginning of a request that publishes this text, and its body.
    publish: fn(text: &str) -> (String, String),
}

const SERVERS: [Server; 3] = [
    Server {
        name: "ours",
        start: ours,
        history: Some(History {
            path: "/events/?channel=test",
            header: "Last-Event-ID: test:0\r\n",
            publish: |text| {
                let head = format!("/publish/ HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n");
                (head, format!("{{\"channel\":\"test\",\"text\":\"{text}\"}}"))
            },
        }),
    },
    Server { name: "axum", start: axum, history: None },
    Server {
        name: "nchan",
        start: nchan,
        history: Some(History {
            path: "/history/?channel=test",
            header: "",
            publish: |text| {
                let head = "/publish/?channel=test HTTP/1.1\r\nContent-Type: text/plain\r\n";
                (head.to_owned(), text.to_owned())
            },
        }),
    },
];

#[expect(clippy::unnecessary_wraps, reason = "nchan's settings are a file")]
fn ours(port: u16, folder: &Path) -> io::Result<Command> {
    let mut command = Command::new(program("sse-server"));
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--publish-token", TOKEN]);
    command.args(["--storage", &format!("sqlite:{}", folder.join("events.db").display())]);
    Ok(command)
}

#[expect(clippy::unnecessary_wraps, reason = "nchan's settings are a file")]
fn axum(port: u16, _: &Path) -> io::Result<Command> {
    let mut command = Command::new(program("examples/axum_sse"));
    command.arg(format!("127.0.0.1:{port}"));
    Ok(command)
}

fn nchan(port: u16, folder: &Path) -> io::Result<Command> {
    nchan_command(folder, port, MOST + OTHER_DESCRIPTORS)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench connect: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let count = count()?;
    enough_descriptors(count + 2 * OTHER_DESCRIPTORS)?;
    let daemons = Daemons::new("sse-bench").map_err(|error| error.to_string())?;
    for (bench, is_storm) in [("connect", false), ("storm", true)] {
        println!("\n{bench:24}{:>10} seconds, {count} streams", "");
        let mut best = [f64::INFINITY; SERVERS.len()];
        for round in 0..ROUNDS {
            for (server, best) in SERVERS.iter().zip(&mut best) {
                if is_storm && server.history.is_none() {
                    continue;
                }
                let folder = daemons.folder().join(format!("{bench}-{}-{round}", server.name));
                let time = measure(&daemons, server, &folder, count, is_storm);
                daemons.stop();
                *best = best.min(time.map_err(|error| format!("{}: {error}", server.name))?);
            }
        }
        for (server, time) in SERVERS.iter().zip(best).filter(|(_, time)| time.is_finite()) {
            println!("{:24}{time:>10.2}", server.name);
        }
        for (server, time) in SERVERS.iter().zip(best).skip(1).filter(|(_, time)| time.is_finite())
        {
            println!("ratio {bench}.{count}.{}.time {:.2}", server.name, best[0] / time);
        }
    }
    Ok(())
}

/// The seconds until all have what they came for.
fn measure(
    daemons: &Daemons,
    server: &Server,
    folder: &Path,
    count: usize,
    is_storm: bool,
) -> Result<f64, String> {
    let failed = |error: io::Error| error.to_string();
    fs::create_dir(folder).map_err(failed)?;
    let port = free_port().map_err(failed)?;
    let command = (server.start)(port, folder).map_err(failed)?;
    daemons
        .add(server.name, command, folder, Ready::Accepts(port), End::KillGroup)
        .map_err(failed)?;
    daemons.wait()?;
    let (path, more, last) = match server.history.filter(|_| is_storm) {
        Some(History { path, header, publish }) => {
            for number in 1..=EVENTS {
                let (head, body) = publish(&format!("event {number} of the storm"));
                post(port, &head, &body).map_err(failed)?;
            }
            (path, header, format!("event {EVENTS} of the storm\n\n"))
        }
        None => ("/events/?channel=test", "", "\r\n\r\n".to_owned()),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{more}\r\n"
    );
    let start = Instant::now();
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        stream.write_all(request.as_bytes()).map_err(failed)?;
        streams.push(stream);
    }
    for stream in &mut streams {
        read(stream, last.as_bytes()).map_err(failed)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn post(port: u16, head: &str, body: &str) -> io::Result<()> {
    let len = body.len();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let request = format!(
        "POST {head}Host: localhost\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.set_read_timeout(Some(WITHIN))?;
    socket.read_to_string(&mut answer)?;
    let is_good = ["200", "201", "202"].iter().any(|status| answer.get(9..12) == Some(status));
    if is_good { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// Reads up to and including this.
fn read(stream: &mut TcpStream, last: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(WITHIN))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let start = answer.len().saturating_sub(last.len());
        let len = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..len]);
        if answer.len() > 12 && answer.get(9..12) != Some(b"200") || len == 0 {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        if answer[start..].windows(last.len()).any(|part| part == last) {
            return Ok(());
        }
    }
}
