//! A client's session under anything that a network, a server, a clock and a caller can do to it:
//! it never turns in a tight loop, loses no id, delivers what the standard says, and nothing once
//! it is closed.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use sse_proto::{
    Backoff, Failure, Item, Policy, Reader, Request, ResponseHead, SessionConfig, Step, Terminator,
    nanos,
};

use crate::oracle;

/// The longest that a server can make it wait, the longest range of chance, and the longest floor
/// here.
const LONGEST: Duration = Duration::from_secs(3600 + 30 + 66);

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    policy: u8,
    terminator: u8,
    has_error_events: bool,
    fresh_credentials: bool,
    max_failures: Option<u8>,
    floor_ms: u16,
    seed: u64,
    id: Option<&'a str>,
    happenings: Vec<Happening<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Happening<'a> {
    Time(u16),
    /// To the moment that the session has named.
    Due,
    Answer {
        status: u8,
        is_stream: bool,
        retry_after: Option<u32>,
    },
    Stream(&'a [u8]),
    Event {
        kind: u8,
        id: Option<u8>,
    },
    End,
    Error,
    Unsent,
    Reconnect,
    Close,
}

/// What is known of the session from outside.
struct Model<'a> {
    input: &'a Input<'a>,
    reader: Reader,
    now: Duration,
    due: Option<Duration>,
    last_connect: Option<Duration>,
    /// Requests since the last progress, and since the beginning.
    tries: u32,
    requests: u32,
    was_told_to_reconnect: bool,
    /// The last event ID that was committed, and the one that this connection began with.
    id: String,
    id_before: String,
    /// The bytes of this connection, and what they delivered.
    stream: Vec<u8>,
    delivered: Vec<(String, String, String)>,
}

pub(crate) fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut model = Model::new(&input);
    model.poll();
    for happening in &input.happenings {
        model.happen(happening);
        model.poll();
    }
}

impl<'a> Model<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let policy = [Policy::Resilient, Policy::Strict, Policy::Once, Policy::Resume];
        let floor = Duration::from_millis(u64::from(input.floor_ms) + 1);
        let mut config = SessionConfig::default()
            .policy(policy[usize::from(input.policy % 4)])
            .fresh_credentials(input.fresh_credentials)
            .max_failures(input.max_failures.map(u32::from))
            .backoff(Backoff::default().min(floor));
        if input.has_error_events {
            config = config.error_events(["error"]);
        }
        config = match input.terminator % 4 {
            1 => config.until("[DONE]"),
            2 => config.must_end_with("[DONE]"),
            3 => config.must_end_with(Terminator::EventType("done".to_owned())),
            _ => config,
        };
        let mut reader = Reader::new(config, input.seed);
        reader.set_last_event_id(input.id.map(str::to_owned));
        let id = input.id.unwrap_or_default().to_owned();
        Self {
            input,
            reader,
            now: Duration::ZERO,
            due: None,
            last_connect: None,
            tries: 0,
            requests: 0,
            was_told_to_reconnect: false,
            id_before: id.clone(),
            id,
            stream: Vec::new(),
            delivered: Vec::new(),
        }
    }

    fn happen(&mut self, happening: &Happening<'_>) {
        let was_closed = self.reader.session().closed();
        let (was_open, now) = (self.reader.session().is_open(), self.now);
        let session = self.reader.session_mut();
        match *happening {
            Happening::Time(time) => self.now += Duration::from_millis(time.into()),
            Happening::Due => self.now = self.due.unwrap_or(now).max(now),
            Happening::Answer { status, is_stream, retry_after } => {
                let status = [200, 200, 200, 204, 401, 404, 429, 500, 503][usize::from(status % 9)];
                let content_type = if is_stream { "text/event-stream" } else { "text/html" };
                let content_type = Some(content_type.as_bytes());
                let retry_after = retry_after.map(|time| nanos(Duration::from_secs(time.into())));
                let head = ResponseHead { status, content_type, retry_after };
                session.handle_response(nanos(now), &head);
                if session.is_open() && !was_open {
                    self.id_before.clone_from(&self.id);
                    self.stream.clear();
                    self.delivered.clear();
                }
            }
            Happening::Stream(bytes) => self.read(bytes),
            Happening::Event { kind, id } => {
                let kinds = [
                    "data: a",
                    "event: e\ndata: b",
                    "event: keep-alive\ndata",
                    "event: stream-open\ndata",
                    "event: stream-reset\ndata: {\"channels\":[\"a\"]}",
                    "event: stream-error\ndata: {}",
                    "event: error\ndata: c",
                    "event: done\ndata: d",
                    "data: [DONE]",
                    "retry: 0",
                    ": comment",
                ];
                let kind = kinds[usize::from(kind) % kinds.len()];
                let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
                self.read(format!("{id}{kind}\n\n").as_bytes());
            }
            Happening::End => session.handle_end(nanos(now)),
            Happening::Error => session.handle_error(nanos(now)),
            Happening::Unsent => session.handle_unsent(nanos(now), Failure::Network),
            Happening::Reconnect => {
                self.was_told_to_reconnect = true;
                session.reconnect(nanos(now));
            }
            Happening::Close => session.close(),
        }
        if was_closed.is_some() {
            assert_eq!(
                self.reader.session().closed(),
                was_closed,
                "closed for good, and for one reason"
            );
        }
    }

    /// Bytes arrive, if there is a stream for them to arrive on; if not, nothing comes of them.
    fn read(&mut self, bytes: &[u8]) {
        let was_open = self.reader.session().is_open();
        let mut items = self.reader.handle_bytes(nanos(self.now), bytes);
        let mut new = Vec::new();
        while let Some(item) = items.next_item() {
            match item.expect("nothing here is near a limit") {
                Item::Event(event) | Item::Error(event) => new.push((
                    event.event_type().to_owned(),
                    event.data().to_owned(),
                    event.last_event_id().to_owned(),
                )),
                Item::Reset { .. } => {
                    new.push(("stream-reset".into(), String::new(), String::new()));
                }
                item => panic!("nobody asked for {item:?}"),
            }
        }
        if !was_open {
            assert!(new.is_empty(), "delivered without an open stream: {new:?}");
            return;
        }
        self.delivered.extend(new);
        self.stream.extend(bytes);
        let (items, id) = oracle::parse(&self.stream, &self.id_before);
        let expected: Vec<_> = items.into_iter().filter_map(delivered_as).collect();
        if self.reader.session().is_open() {
            assert_eq!(self.delivered, expected, "of {:?}", self.stream.escape_ascii().to_string());
            assert_eq!(self.reader.last_event_id().unwrap_or_default(), id, "an id was lost");
            self.id = id;
        } else {
            assert!(expected.starts_with(&self.delivered), "closed, but {:?}", self.delivered);
        }
        let is_progress = |event: &(String, String, String)| event.0 != "error";
        if self.delivered.iter().any(is_progress) || find(&self.stream, b"keep-alive") {
            self.tries = 0;
        }
    }

    /// Does what a driver does, and sees that it has something to wait for.
    fn poll(&mut self) {
        let closed = self.reader.session().closed();
        let now = self.now;
        match self.reader.session_mut().poll(nanos(now)) {
            Step::Connect(request) => {
                check(request, &self.id, self.input);
                assert_eq!(self.reader.last_event_id().unwrap_or_default(), self.id);
                let floor = Duration::from_millis(u64::from(self.input.floor_ms) + 1);
                let earliest = self.last_connect.map_or(Duration::ZERO, |last| last + floor);
                assert!(now >= earliest, "a request at {now:?}, before {earliest:?}");
                self.last_connect = Some(now);
                self.tries += 1;
                self.requests += 1;
                assert_eq!(closed, None, "it was closed");
                if let Some(max) = self.input.max_failures
                    && !self.was_told_to_reconnect
                {
                    assert!(self.tries <= u32::from(max).max(1), "{} tries of {max}", self.tries);
                }
                let is_once = self.input.policy % 4 == 2 && !self.input.fresh_credentials;
                assert!(!is_once || self.requests == 1, "a request that may be made once");
                let next = self.reader.session_mut().poll(nanos(now));
                assert_eq!(next, Step::Read, "one request, then its answer is to be read");
                self.due = self.until();
            }
            Step::Read => self.due = self.until(),
            Step::Sleep => {
                let until = self.until().expect("a time to wake up");
                assert!(until <= now + LONGEST, "to sleep until {until:?} at {now:?}");
                self.due = Some(until);
            }
            Step::Stop(reason) => {
                assert!(closed.is_none_or(|closed| closed == reason));
                self.due = None;
                return;
            }
        }
        assert!(self.due.is_none_or(|due| due > now), "a tight loop: {:?} at {now:?}", self.due);
    }
}

impl Model<'_> {
    /// When the session wants to be polled.
    fn until(&self) -> Option<Duration> {
        let until = self.reader.session().until();
        (until != u64::MAX).then(|| Duration::from_nanos(until))
    }
}

/// What comes of an event, unless it ends the session.
fn delivered_as(item: oracle::Item) -> Option<(String, String, String)> {
    let oracle::Item::Event { event, data, id } = item else { return None };
    match event.as_str() {
        "stream-open" | "keep-alive" => None,
        "stream-reset" => Some((event, String::new(), String::new())),
        _ => Some((event, data, id)),
    }
}

/// A request resumes from the last id that was committed, or says that it cannot.
fn check(request: Request, id: &str, input: &Input<'_>) {
    let is_control = |c: char| c.is_control() && c != '\t';
    let is_sendable = !id.contains(is_control) && id.trim_ascii() == id;
    let expected = (!id.is_empty() && is_sendable).then_some(id);
    assert_eq!(request.sends_id, expected.is_some(), "an id was lost");
    assert_eq!(request.id_withheld, !is_sendable);
    assert_eq!(request.by_get, input.policy % 4 == 3 && expected.is_some());
}

fn find(stream: &[u8], word: &[u8]) -> bool {
    stream.windows(word.len()).any(|part| part == word)
}
