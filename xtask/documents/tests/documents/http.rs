//! Blocks of HTTP: requests are sent to the server, and an answer is compared with the one that
//! came to the last request, if it has the same status; other answers are to other requests.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use documents::{Block, fits};

use crate::files;

/// The answer to the last request.
#[derive(Debug, Default)]
pub(crate) struct Last(Option<Message>);

#[derive(Debug)]
struct Message {
    first: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Last {
    pub(crate) fn block(&mut self, block: &Block, server: SocketAddr) -> Result<(), String> {
        let message = parse(&block.text)?;
        let is_answer = message.first.starts_with("HTTP/1.1 ");
        if message.header("content-type") == Some("application/json")
            || message.body.starts_with('{')
        {
            files::json(&message.body)?;
        }
        if is_answer {
            return match self.0.take_if(|found| found.first == message.first) {
                Some(found) => found.is(&message),
                None => Ok(()),
            };
        }
        if !message.first.ends_with(" HTTP/1.1") {
            // The headers of a message alone.
            return Ok(());
        }
        let answer = send(&message, server)?;
        if !answer.first.starts_with("HTTP/1.1 2") {
            return Err(format!("it was answered with {answer:?}"));
        }
        self.0 = Some(answer);
        Ok(())
    }
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    fn is(&self, expected: &Self) -> Result<(), String> {
        let headers_are = expected
            .headers
            .iter()
            .all(|(name, value)| self.header(name).is_some_and(|found| fits(found, value)));
        let body_is = expected.body.is_empty() || fits(self.body.trim(), expected.body.trim());
        if headers_are && body_is {
            return Ok(());
        }
        Err(format!("it was answered with {self:?}"))
    }
}

fn parse(text: &str) -> Result<Message, String> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default();
    if !first.contains("HTTP/1.1") {
        // Headers alone, as in an answer of which the rest is clear.
        lines = head.lines();
        first = "";
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("no header: {line}"))?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(Message { first: first.to_owned(), headers, body: body.to_owned() })
}

/// Sends a request, and reads the answer's head and what of its body comes with it.
fn send(request: &Message, server: SocketAddr) -> Result<Message, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let body = request.body.trim_end();
    let mut text = format!("{}\r\n", request.first);
    for (name, value) in &request.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if request.header("host").is_none() {
        let _ = write!(text, "Host: {server}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let len = stream.read(&mut chunk).map_err(failed)?;
        if len == 0 {
            return Err("there was no answer".to_owned());
        }
        answer.extend_from_slice(&chunk[..len]);
    }
    parse(&String::from_utf8_lossy(&answer).replace("\r\n", "\n"))
}
