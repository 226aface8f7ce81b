//! Test doubles of well-known services, which misbehave as one asks them to: `/DIALECT.TROUBLE` is
//! the base of their URLs, so that a service's own client is pointed there and needs no change.
//!
//! `/openai.cut/v1/chat/completions` is an answer that is cut in the middle of an event. A third
//! part, any word, has requests counted anew: `/openai.limited.my-test`.

use std::fmt::Write as _;

use clap::ValueEnum;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::case::{Act, CHUNKED, Script};
use super::dialect::chunk_of_http;
use super::request::Request;

mod formats;

/// Whose wire format it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Double {
    /// Chat completions of `OpenAI`, and of the many that do the same
    Openai,
    /// Messages of Anthropic
    Anthropic,
    /// streamGenerateContent of Gemini, with alt=sse
    Gemini,
    /// The Model Context Protocol, streamable HTTP of 2025-11-25
    Mcp,
    /// A hub of Mercure
    Mercure,
}

/// What goes wrong: its name in the URL, and what happens.
pub const TROUBLES: [(&str, &str); 13] = [
    ("well", "nothing: the whole answer"),
    ("bytes", "the whole answer, byte by byte"),
    ("slow", "the whole answer, with half a second before each event"),
    ("odd", "the whole answer, with comments, CRLF and a line cut between CR and LF"),
    ("gzip", "the whole answer, compressed event by event"),
    ("cut", "the connection is closed in the middle of an event"),
    ("reset", "the connection is reset in the middle of an event"),
    ("short", "the answer ends properly, but too early and without the mark of its end"),
    ("stall", "after two events nothing more comes, and the connection stays"),
    ("error", "an error comes in the stream, after status 200"),
    ("limited", "429 with Retry-After: 1 for the first request, then the whole answer"),
    ("down", "503 for the first two requests, then the whole answer"),
    ("html", "200 with a page of some proxy in HTML"),
];

impl Double {
    /// Its name, as it stands in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Mcp => "mcp",
            Self::Mercure => "mercure",
        }
    }

    /// What follows the base in a client's settings.
    pub(super) fn base(self) -> &'static str {
        match self {
            Self::Openai => "/v1",
            Self::Anthropic | Self::Gemini => "",
            Self::Mcp => "/mcp",
            Self::Mercure => "/.well-known/mercure",
        }
    }

    /// The double and the trouble that a request asks for.
    pub(super) fn asked(request: &Request) -> Option<(Self, &'static str)> {
        let mut words = request.case_and_run().0.split('.');
        let (name, trouble) = (words.next()?, words.next()?);
        let double = Self::value_variants().iter().find(|double| double.name() == name)?;
        let (trouble, _) = TROUBLES.iter().find(|(known, _)| *known == trouble)?;
        Some((*double, trouble))
    }

    /// What is answered to a request, which is the so-manieth of its name.
    pub(super) fn script(self, trouble: &str, request: &Request, number: usize) -> Script {
        let answer = formats::answer(self, request);
        let events = &answer.events;
        let whole = || events.concat();
        let chunked = |head: &str| Script::head(&head_of(head, answer.head));
        let refused = |status: &str, more: &str| {
            let body = formats::error(self, status);
            Script::head(&format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            ))
        };
        if let Some(status) = answer.refused {
            return refused(status, "");
        }
        if answer.accepted {
            let head = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return Script::head(head);
        }
        let ended = |script: Script| script.send("0\r\n\r\n");
        let each = |script: Script, events: &[String]| {
            events.iter().fold(script, |script, event| script.send(chunk_of_http(event.as_bytes())))
        };
        let middle = events.len() / 2;
        let begun = |script: Script| {
            let script = each(script, &events[..middle]);
            // Half of an event, and not in the middle of a character.
            let half: String = events[middle].chars().take(events[middle].len() / 2).collect();
            script.send(chunk_of_http(half.as_bytes()))
        };
        match trouble {
            "limited" if number == 1 => refused("429 Too Many Requests", "Retry-After: 1\r\n"),
            "down" if number <= 2 => refused("503 Service Unavailable", ""),
            "bytes" => {
                let bytes = whole();
                let script = bytes
                    .as_bytes()
                    .iter()
                    .fold(chunked(""), |script, byte| script.send(chunk_of_http(&[*byte])));
                ended(script)
            }
            "slow" => ended(events.iter().fold(chunked(""), |script, event| {
                script.wait(500).send(chunk_of_http(event.as_bytes()))
            })),
            "odd" => {
                let lines = whole().replace("\r\n", "\n").replace('\n', "\r\n");
                let lines = lines.replace("\r\n\r\n", "\r\n\r\n: a comment\r\n\r\n");
                let script = lines
                    .split_inclusive('\r')
                    .fold(chunked(""), |script, part| script.send(chunk_of_http(part.as_bytes())));
                ended(script)
            }
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                let mut script = chunked("Content-Encoding: gzip\r\n");
                for event in events {
                    script = script.send(chunk_of_http(&flushed(&mut encoder, event)));
                }
                let rest = encoder.finish().expect("memory takes all");
                ended(script.send(chunk_of_http(&rest)))
            }
            "cut" => begun(chunked("")),
            "reset" => begun(chunked("")).reset(),
            "short" => ended(each(chunked(""), &events[..middle])),
            "stall" => each(chunked(""), &events[..middle.min(2)]).then(Act::Hold),
            "error" => {
                let script = each(chunked(""), &events[..middle]);
                let error = formats::error_in_stream(self, request);
                ended(script.send(chunk_of_http(error.as_bytes())))
            }
            "html" => {
                let page = "<html><body><h1>502 Bad Gateway</h1></body></html>";
                Script::head(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{page}",
                    page.len()
                ))
            }
            _ => ended(each(chunked(""), events)),
        }
    }

    /// Base URLs and what happens there, for people.
    pub(super) fn listed(self, address: std::net::SocketAddr) -> String {
        let mut list = String::new();
        for (trouble, what) in TROUBLES {
            let (name, base) = (self.name(), self.base());
            let _ = writeln!(list, "http://{address}/{name}.{trouble}{base}\n  {what}");
        }
        list
    }
}

fn head_of(coding: &str, more: &str) -> String {
    CHUNKED.replacen("\r\n\r\n", &format!("\r\n{coding}{more}\r\n"), 1)
}

/// What an event becomes that is written and flushed.
fn flushed(encoder: &mut GzEncoder<Vec<u8>>, event: &str) -> Vec<u8> {
    use std::io::Write as _;
    encoder.write_all(event.as_bytes()).expect("memory takes all");
    encoder.flush().expect("memory takes all");
    std::mem::take(encoder.get_mut())
}
