//! The least that the work can cost on this machine: a loop of `send` over all sockets, bytes that
//! are written and synced, rows of SQLite without anything around them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, sockopt,
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A server that sends what is published to all who read, and does nothing else. It stops for a
/// reader whose buffer is full.
///
/// # Errors
///
/// If the system refuses something.
pub fn serve(port: u16) -> io::Result<()> {
    let listener =
        net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    net::listen(&listener, 65_535)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    // Those that have asked for nothing yet, or publish.
    let mut others: Vec<Option<(OwnedFd, Vec<u8>)>> = vec![None];
    let mut readers: Vec<OwnedFd> = Vec::new();
    let mut events = Vec::with_capacity(64);
    let mut buffer = vec![0; 64 << 10];
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            if number == 0 {
                let socket = net::accept_with(&listener, SocketFlags::CLOEXEC)?;
                sockopt::set_tcp_nodelay(&socket, true)?;
                let data = epoll::EventData::new_u64(others.len() as u64);
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
                others.push(Some((socket, Vec::new())));
                continue;
            }
            let Some((socket, request)) = &mut others[number] else { continue };
            let (len, _) = recv(&*socket, &mut buffer[..], RecvFlags::empty())?;
            if len == 0 {
                others[number] = None;
                continue;
            }
            request.extend_from_slice(&buffer[..len]);
            if request.starts_with(b"GET ") {
                if request.ends_with(b"\r\n\r\n") {
                    all(socket, HEAD)?;
                    epoll::delete(&epoll, &*socket)?;
                    readers.extend(others[number].take().map(|(socket, _)| socket));
                }
                continue;
            }
            // What came together is sent together, as a good server does it.
            let (mut frames, mut answers) = (Vec::new(), Vec::new());
            let mut done = 0;
            while let Some((body, end)) = body(&request[done..]) {
                frame(&request[done + body..done + end], &mut frames);
                answers.extend_from_slice(ANSWER);
                done += end;
            }
            request.drain(..done);
            for reader in &readers {
                all(reader, &frames)?;
            }
            all(socket, &answers)?;
        }
    }
}

fn all(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            // A reader that has gone.
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Where the body of a request begins and ends, once it is whole.
fn body(request: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(request, b"\r\n\r\n")?;
    let length = memchr::memmem::find(&request[..head], b"Content-Length: ")?;
    let digits = &request[length + b"Content-Length: ".len()..head];
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    let end = head + 4 + length;
    (request.len() >= end).then_some((head + 4, end))
}

/// Adds an event in chunked framing, as the servers send it.
fn frame(text: &[u8], frames: &mut Vec<u8>) {
    let (before, after) = (b"id: c0:1\ndata: ", b"\n\n");
    let len = before.len() + text.len() + after.len();
    frames.extend_from_slice(format!("{len:x}\r\n").as_bytes());
    for part in [before, text, after, b"\r\n"] {
        frames.extend_from_slice(part);
    }
}

/// The bytes of an event on disk, about.
const ROW: [u8; 240] = [b'x'; 240];

/// Events per second that are appended to a file and synced, each alone.
///
/// # Errors
///
/// If the file cannot be written.
pub fn synced_writes(folder: &Path, time: Duration) -> io::Result<f64> {
    let mut file = File::create(folder.join("floor.log"))?;
    let (start, mut count) = (Instant::now(), 0.0);
    while start.elapsed() < time {
        file.write_all(&ROW)?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / start.elapsed().as_secs_f64())
}

/// Events per second of SQLite alone, with so many in a transaction, each on disk before the next.
///
/// # Errors
///
/// If the database refuses.
pub fn bare_sqlite(folder: &Path, each: u32, time: Duration) -> Result<f64, rusqlite::Error> {
    let file = folder.join(format!("floor-{each}.db"));
    let connection = Connection::open(&file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS event (channel INTEGER, id INTEGER, data BLOB, at INTEGER,
         PRIMARY KEY (channel, id)) WITHOUT ROWID",
    )?;
    let last = connection.query_row("SELECT max(id) FROM event", [], |row| row.get(0));
    let mut id: i64 = last.unwrap_or(0);
    let mut insert = connection.prepare("INSERT INTO event VALUES (1, ?1, ?2, 0)")?;
    let (start, mut count) = (Instant::now(), 0.0);
    while start.elapsed() < time {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..each {
            id += 1;
            insert.execute((id, &ROW[..]))?;
        }
        connection.execute_batch("COMMIT")?;
        count += f64::from(each);
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(insert);
    drop(connection);
    let _ = fs::remove_file(file);
    Ok(count / seconds)
}
