//! Reads requests, strictly unless that is the fault.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) version: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.all(name).first().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Reads a request; `Err` is the status to refuse it with.
pub(super) async fn read(
    fault: &str,
    socket: &mut TcpStream,
    raw: &mut Vec<u8>,
) -> Result<Option<Request>, u16> {
    let end = loop {
        if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if raw.len() > 32 << 10 && fault != "rob.headers" {
            return Err(431);
        }
        let patience = if fault == "rob.slowloris" { 100 } else { 10 };
        let reading = timeout(Duration::from_secs(patience), socket.read_buf(raw));
        match reading.await {
            Err(_) => return Err(408),
            Ok(Ok(0) | Err(_)) => return Ok(None),
            Ok(Ok(_)) => {}
        }
    };
    let head: Vec<u8> = raw.drain(..end + 4).collect();
    let mut lines = head[..end]
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let words: Vec<&str> = first.split(' ').collect();
    let [method, path, version] = words[..] else { return Err(400) };
    let mut headers = Vec::new();
    for line in lines {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Err(400) };
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        let is_framing = matches!(name.trim(), "Content-Length" | "Transfer-Encoding");
        let is_odd = headers.iter().any(|(other, _)| *other == name)
            || name.trim() != name
            || !line[colon + 1..].trim_ascii().iter().all(u8::is_ascii_digit);
        if is_framing && is_odd && fault != "rob.framing" {
            return Err(400);
        }
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    let (method, path, version) = (method.to_owned(), path.to_owned(), version.to_owned());
    let mut request = Request { method, path, version, headers, body: Vec::new() };
    if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().unwrap_or(0);
        if request.header("expect").is_some() {
            drop(socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await);
        }
        while raw.len() < length {
            match timeout(Duration::from_secs(10), socket.read_buf(raw)).await {
                Ok(Ok(1..)) => {}
                _ => return Err(400),
            }
        }
        request.body = raw.drain(..length).collect();
    }
    Ok(Some(request))
}
