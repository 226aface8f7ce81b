//! `cargo xtask bench idle`: how much memory an open stream costs while nothing happens, beside
//! axum's `Sse`.
//!
//! Each server is a process of its own, and its resident memory is measured. That excludes what the
//! kernel keeps for a socket, and includes what the allocator keeps for itself. The first streams
//! do not count, so that what a server has only once is not in the result.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use sse_server_peers::{OTHER_DESCRIPTORS, count, enough_descriptors, program};

use testkit::daemons::{Daemons, End, Ready, free_port};

/// How many are open already when the measurement begins.
const FIRST: usize = 1_000;

/// How long a server may take to answer one request.
const WITHIN: Duration = Duration::from_secs(30);

/// How long we wait until the memory does not change any more.
const CALM_WITHIN: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_millis(500);

struct Server {
    name: &'static str,
    command: fn(port: u16) -> Command,
    /// What the answer to a request has at last, before the server falls silent.
    last: &'static [u8],
}

const SERVERS: [Server; 2] = [
    Server { name: "ours", command: ours, last: b"\n\n" },
    // It says nothing until there is an event.
    Server { name: "axum", command: axum, last: b"\r\n\r\n" },
];

fn ours(port: u16) -> Command {
    let mut command = Command::new(program("sse-server"));
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--storage", "memory"]);
    command
}

fn axum(port: u16) -> Command {
    let mut command = Command::new(program("examples/axum_sse"));
    command.arg(format!("127.0.0.1:{port}"));
    command
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench idle: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let streams = count()?;
    if !cfg!(target_os = "linux") {
        return Err("memory is read from /proc, which is there on Linux only".to_owned());
    }
    enough_descriptors(FIRST + streams + OTHER_DESCRIPTORS)?;
    let daemons = Daemons::new("sse-bench").map_err(|error| error.to_string())?;
    println!("\n{:24}{:>10} bytes a stream, of {streams}", "", "");
    let mut ours = None;
    for server in &SERVERS {
        let bytes = measure(&daemons, server, streams)
            .map_err(|error| format!("{}: {error}", server.name))?;
        daemons.stop();
        println!("{:24}{bytes:>10.0}", server.name);
        match ours {
            None => ours = Some(bytes),
            Some(ours) => {
                println!("ratio idle.{streams}.{}.memory {:.2}", server.name, ours / bytes);
            }
        }
    }
    Ok(())
}

/// The bytes that one more stream costs a server.
fn measure(daemons: &Daemons, server: &Server, streams: usize) -> Result<f64, String> {
    let failed = |error: io::Error| error.to_string();
    let folder = daemons.folder().join(server.name);
    fs::create_dir(&folder).map_err(failed)?;
    let port = free_port().map_err(failed)?;
    let (command, ready) = ((server.command)(port), Ready::Accepts(port));
    let pid = daemons.add(server.name, command, &folder, ready, End::KillGroup).map_err(failed)?;
    daemons.wait()?;
    let mut open = Vec::with_capacity(FIRST + streams);
    let mut resident_with = |count: usize| {
        while open.len() < count {
            open.push(open_stream(port, server.last)?);
        }
        calm(pid)
    };
    let before = resident_with(FIRST).map_err(failed)?;
    let after = resident_with(FIRST + streams).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "a few gigabytes at most")]
    Ok((after as f64 - before as f64) / streams as f64)
}

/// Opens a stream, and reads what comes at first.
fn open_stream(port: u16, last: &[u8]) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(WITHIN))?;
    let request = "GET /events/?channel=test HTTP/1.1\r\nHost: localhost\r\n\
                   Accept: text/event-stream\r\nUser-Agent: bench\r\n\r\n";
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.windows(last.len()).any(|part| part == last) {
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(socket);
    }
    Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()))
}

/// The resident memory of a process once it does not change any more.
fn calm(pid: u32) -> io::Result<u64> {
    let deadline = Instant::now() + CALM_WITHIN;
    let mut last = resident(pid)?;
    loop {
        thread::sleep(CALM);
        let now = resident(pid)?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::Error::other("it has ended"))
}
