//! What known servers send, as data: the request that they expect, their bytes with all quirks, the
//! events in them, and what is to happen at the end.

use std::time::Duration;

use serde::Deserialize;

use super::case::{Case, Check, Expected, Script};

/// The files, so that the program needs none beside it.
const FILES: [&str; 7] = [
    include_str!("../../dialects/llm.json"),
    include_str!("../../dialects/mcp.json"),
    include_str!("../../dialects/feeds.json"),
    include_str!("../../dialects/home.json"),
    include_str!("../../dialects/flags.json"),
    include_str!("../../dialects/graphql.json"),
    include_str!("../../dialects/django.json"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    dialects: Vec<Dialect>,
}

/// What one kind of server sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// The word after `dialect.` in the case's id.
    pub name: String,
    /// Whose it is, and which version.
    pub server: String,
    /// What is special about it, in one sentence.
    pub quirk: String,
    request: Ask,
    /// The response's head: status line and headers.
    head: Vec<String>,
    /// The stream in the writes that make it, one code point for each byte.
    writes: Vec<String>,
    /// What is in it, as `sse-fuzz decode` prints it.
    expect: Vec<Item>,
    end: End,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    method: String,
    /// How a client resumes, in words.
    #[allow(dead_code, reason = "for people, and for other readers of the files")]
    resume: String,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Item {
    Event {
        event: String,
        data: String,
        id: String,
        /// Clients that know the dialect may keep it to themselves.
        #[serde(default)]
        optional: bool,
    },
    Retry {
        retry: u64,
    },
}

/// What the server does after the last byte, and the client then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "then")]
enum End {
    /// The stream stays open.
    Open,
    /// The server closes it, and the client comes back with this id.
    Reconnect { last_event_id: Option<String> },
    /// The server closes it, and the client does not come back.
    Stop,
}

/// How the bytes of a dialect are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    AsWritten,
    Bytes,
    Anywhere,
}

/// All of them.
///
/// # Panics
///
/// Never: the files are part of the program, and tested.
pub fn dialects() -> Vec<Dialect> {
    let files = FILES.map(|file| {
        let file: File = serde_json::from_str(file).expect("the dialects are tested");
        debug_assert!(file.about.ends_with('.'), "`about` is a sentence");
        file.dialects
    });
    files.into_iter().flatten().collect()
}

pub(super) fn cases() -> Vec<Case> {
    let dialects = dialects();
    let cuts = [Cut::AsWritten, Cut::Bytes, Cut::Anywhere];
    dialects.iter().flat_map(|dialect| cuts.map(|cut| dialect.case(cut))).collect()
}

impl Dialect {
    /// The stream, write by write.
    ///
    /// # Panics
    ///
    /// Never, for those of [`dialects`].
    pub fn writes(&self) -> Vec<Vec<u8>> {
        let byte = |char| u8::try_from(char).expect("bytes are written as U+0000 to U+00FF");
        self.writes.iter().map(|write| write.chars().map(byte).collect()).collect()
    }

    /// The events in the stream.
    pub fn events(&self) -> Vec<Expected> {
        let event = |item: &Item| match item.clone() {
            Item::Event { event, data, id, optional } => {
                Some(Expected { event, data, id: Some(id), optional })
            }
            Item::Retry { .. } => None,
        };
        self.expect.iter().filter_map(event).collect()
    }

    /// The reconnection times in the stream, in milliseconds.
    pub fn retries(&self) -> Vec<u64> {
        let retry = |item: &Item| match item {
            Item::Retry { retry } => Some(*retry),
            Item::Event { .. } => None,
        };
        self.expect.iter().filter_map(retry).collect()
    }

    fn case(&self, cut: Cut) -> Case {
        let (suffix, how) = match cut {
            Cut::AsWritten => ("", "as it is written"),
            Cut::Bytes => (".bytes", "byte by byte"),
            Cut::Anywhere => (".random", "cut anywhere"),
        };
        let id = format!("dialect.{}{suffix}", self.name);
        let title = format!("{}, {how}", self.server);
        let reference = "as seen";
        let then = match &self.end {
            End::Open => "and stays",
            End::Reconnect { .. } => "and resumes when the stream ends",
            End::Stop => "and does not repeat the request when the stream ends",
        };
        let correct = format!("Delivers the events {then}. {}", self.quirk);
        let mut case =
            Case::new(&id, &title, reference, &correct).check(Check::Events(self.events()));
        if self.request.method == "POST" {
            let body = self.request.body.as_deref().unwrap_or_default();
            case = case
                .post(body)
                .check(Check::Method(1, "POST"))
                .check(Check::Body(1, body.to_owned()))
                .rests_on(&["post.request", "post.end"]);
        }
        let script = self.script(cut);
        match &self.end {
            End::Open => case.on(script.hold()).check(Check::StaysOn(1)),
            End::Reconnect { last_event_id } => {
                let again = Script::head(&self.head()).alive();
                let case = case.on(script).on(again).resumes(2, last_event_id.as_deref());
                match self.retries().last() {
                    Some(&retry) => case.check(Check::Pause(2, Duration::from_millis(retry))),
                    None => case,
                }
            }
            End::Stop => case.on(script).advise(Check::AtMost(1)).watch(3),
        }
    }

    fn head(&self) -> String {
        let mut head = self.head.join("\r\n");
        head.push_str("\r\nConnection: close\r\n\r\n");
        head
    }

    fn script(&self, cut: Cut) -> Script {
        if cut == Cut::AsWritten {
            let script = Script::head(&self.head());
            return self.writes().into_iter().fold(script, |script, write| {
                // A pause, so that the writes arrive as such.
                script.send(write).wait(10)
            });
        }
        // Chunks of HTTP keep their borders through whatever is between.
        let head = self.head().replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut script = Script::head(&head);
        let bytes = self.writes().concat();
        let mut rest = bytes.as_slice();
        let mut seed = 0x9E37_79B9_u32;
        while !rest.is_empty() {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = if cut == Cut::Bytes { 1 } else { 1 + (seed >> 24) as usize % 23 };
            let (chunk, others) = rest.split_at(len.min(rest.len()));
            script = script.send(chunk_of_http(chunk));
            rest = others;
        }
        if matches!(self.end, End::Open) { script } else { script.send("0\r\n\r\n") }
    }
}

/// `chunk = chunk-size CRLF chunk-data CRLF` (RFC 9112, section 7.1).
pub(super) fn chunk_of_http(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
