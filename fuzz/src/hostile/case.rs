//! What a case is made of: the server's script, and what a correct client does.

use std::sync::Arc;
use std::time::Duration;

/// The head of an event stream that ends when the connection does.
pub(super) const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// The reference of what no standard asks for, but practice.
pub(super) const ADVICE: &str = "advice";

/// The head of an event stream in chunks.
pub(super) const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
     Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// One way to misbehave, and what a correct client makes of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Case {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) correct: String,
    pub(super) reference: String,
    pub(super) needs: Needs,
    /// What the first request gets, the second …; the last stands for all that follow.
    pub(super) scripts: Vec<Script>,
    pub(super) checks: Vec<Check>,
    /// The same, where no standard asks for it: a client that does otherwise is warned of it.
    pub(super) advice: Vec<Check>,
    /// Cases about what this one takes for granted, besides those that its bytes show
    /// ([`super::basis`]).
    pub(super) rests_on: Vec<&'static str>,
    /// As many requests must come before the rule has been put to the test. With fewer there is no
    /// verdict, unless a check says that coming back is the rule.
    pub(super) reach: usize,
    /// How long to watch after that request, for what must not happen.
    pub(super) watch: Duration,
    /// How long to wait for what must happen, from the first request on.
    pub(super) deadline: Duration,
}

/// What the client must be able to do for a case.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    /// Sends a POST with this body.
    pub(super) post: Option<String>,
    /// Sends this header, a secret.
    pub(super) header: Option<(&'static str, &'static str)>,
    /// Takes user name and password out of the URL.
    pub(super) userinfo: bool,
    /// Speaks TLS, and believes the server's certificate.
    pub(super) tls: bool,
}

/// What the server does on one connection, after it has read the request. Then it closes.
#[derive(Clone, Debug, Default)]
#[must_use]
pub(super) struct Script(pub(super) Vec<Act>);

#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Writes this text; `{self}` and `{next}` stand for URLs of the case, `{other}` for one at the
    /// other origin, which is in the clear, `{soon}` for a date in four seconds.
    Head(String),
    Send(Vec<u8>),
    Wait(Duration),
    /// The same bytes again and again, up to a total.
    Flood {
        unit: Arc<[u8]>,
        total: u64,
    },
    /// A block with its own id and no data, as many times.
    Ids(u32),
    /// Keeps the connection until the client closes it.
    Hold,
    /// The same, with a comment each second.
    Alive,
    /// Cuts it with a TCP reset; in HTTP/2 that of the stream only.
    Reset,
    /// Says that the connection will be of no more use, and goes on (HTTP/2 only).
    GoAway,
    /// Says that something is wrong, and drops the connection with all that is on it; without
    /// HTTP/2 it says nothing.
    Abandon,
}

/// Something to be seen of a correct client.
#[derive(Clone, Debug)]
pub(super) enum Check {
    /// It prints these events and no others, in this order.
    Events(Vec<Expected>),
    /// It prints as many events, with these data. White space after them, or at both ends, is for
    /// other cases.
    Data(&'static [&'static str]),
    /// The last event that it prints is this one.
    LastEvent(Expected),
    /// It makes as many requests, or more.
    ComesBack(usize),
    /// It makes no more requests than these.
    AtMost(usize),
    /// It does not come back in a tight loop, however often it comes.
    NoLoop,
    /// It follows no more redirects than these without a pause.
    Bounded(usize),
    /// A request has this `Last-Event-ID`, or none.
    LastEventId(usize, Option<Vec<u8>>),
    /// A request comes so long after the connection before has ended, or never.
    Pause(usize, Duration),
    /// A request has this method.
    Method(usize, &'static str),
    /// A request has this header, with this in its value.
    Header(usize, &'static str, &'static str),
    /// A request has this body.
    Body(usize, String),
    /// The first request has the header, and none at the other origin has it.
    Secret(&'static str),
    /// It has asked by HTTP/2; if not, there was nothing to see.
    Http2,
    /// It ends a connection that the server keeps open.
    HangsUp(usize),
    /// It keeps a connection that the server keeps open.
    StaysOn(usize),
    /// It needs no more memory than at its first request plus this, in bytes.
    Memory(u64),
    /// It did not crash: it runs still, or has ended of itself with a code below 100.
    Sound,
}

/// An event that a client prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The type.
    pub event: String,
    /// The data.
    pub data: String,
    /// The last event ID in force; not compared if `None`.
    pub id: Option<String>,
    /// A client may keep it to itself.
    pub optional: bool,
}

impl Expected {
    pub(super) fn new(event: &str, data: &str, id: &str) -> Self {
        Self {
            event: event.to_owned(),
            data: data.to_owned(),
            id: Some(id.to_owned()),
            optional: false,
        }
    }
}

impl Case {
    pub(super) fn new(id: &str, title: &str, reference: &str, correct: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            correct: correct.to_owned(),
            reference: reference.to_owned(),
            needs: Needs::default(),
            scripts: Vec::new(),
            checks: vec![Check::Sound],
            advice: Vec::new(),
            rests_on: Vec::new(),
            reach: 1,
            watch: Duration::ZERO,
            deadline: Duration::from_secs(8),
        }
    }

    /// The name that never changes: a section and a word, such as `parse.bom`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the server does, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What a correct client does, in one sentence.
    pub fn correct(&self) -> &str {
        &self.correct
    }

    /// Where that is written.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The method of the request that the case is for.
    pub const fn method(&self) -> &'static str {
        if self.needs.post.is_some() { "POST" } else { "GET" }
    }

    /// The types of the events that a correct client delivers, for clients that must name those
    /// that they listen to.
    pub fn types(&self) -> Vec<&str> {
        let mut types = vec!["message"];
        for check in self.all_checks() {
            if let Check::Events(events) = check {
                types.extend(events.iter().map(|event| event.event.as_str()));
            }
        }
        types.sort_unstable();
        types.dedup();
        types
    }

    /// The body of the request that the case is for.
    pub fn body(&self) -> &str {
        self.needs.post.as_deref().unwrap_or_default()
    }

    pub(super) fn on(mut self, script: Script) -> Self {
        self.scripts.push(script);
        self
    }

    /// A check of what the reference asks for.
    pub(super) fn check(mut self, check: Check) -> Self {
        if self.reference == ADVICE {
            return self.advise(check);
        }
        self.checks.push(check);
        self
    }

    /// A check of what is only advice, whatever the reference.
    pub(super) fn advise(mut self, check: Check) -> Self {
        self.advice.push(check);
        self
    }

    /// This case is not about what those are about.
    pub(super) fn rests_on(mut self, cases: &[&'static str]) -> Self {
        self.rests_on.extend_from_slice(cases);
        self
    }

    /// All checks: of what the reference asks for, and of advice.
    pub(super) fn all_checks(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().chain(&self.advice)
    }

    pub(super) fn events(self, events: &[(&str, &str, &str)]) -> Self {
        let events = events.iter().map(|(event, data, id)| Expected::new(event, data, id));
        let events = events.collect();
        self.check(Check::Events(events))
    }

    /// Coming back is the rule, with this id.
    pub(super) fn resumes(mut self, request: usize, id: Option<&str>) -> Self {
        let id = id.map(|id| id.as_bytes().to_vec());
        let checks = if self.reference == ADVICE { &mut self.advice } else { &mut self.checks };
        // Before the events: those that are missing follow from this.
        checks.insert(0, Check::LastEventId(request, id));
        checks.insert(0, Check::ComesBack(request));
        // A reconnection time of a client's own is a few seconds (9.2.2), and may be more.
        self.deadline = self.deadline.max(Duration::from_secs(12));
        self.reach(request)
    }

    pub(super) const fn reach(mut self, requests: usize) -> Self {
        self.reach = requests;
        self
    }

    pub(super) const fn watch(mut self, seconds: u64) -> Self {
        self.watch = Duration::from_secs(seconds);
        self
    }

    pub(super) const fn deadline(mut self, seconds: u64) -> Self {
        self.deadline = Duration::from_secs(seconds);
        self
    }

    pub(super) fn post(mut self, body: &str) -> Self {
        self.needs.post = Some(body.to_owned());
        self
    }

    pub(super) const fn secret(mut self, name: &'static str, value: &'static str) -> Self {
        self.needs.header = Some((name, value));
        self
    }

    pub(super) const fn tls(mut self) -> Self {
        self.needs.tls = true;
        self
    }

    /// The script for a request, counted from 1.
    pub(super) fn script(&self, request: usize) -> &Script {
        let index = request.min(self.scripts.len()) - 1;
        &self.scripts[index]
    }
}

impl Script {
    /// Starts with this text, in which URLs are filled in; see [`Act::Head`].
    pub(super) fn head(text: &str) -> Self {
        Self(vec![Act::Head(text.to_owned())])
    }

    /// An event stream that begins with these bytes.
    pub(super) fn stream(bytes: impl AsRef<[u8]>) -> Self {
        Self::head(STREAM).send(bytes)
    }

    /// A response without a body, with these lines in its head.
    pub(super) fn status(status: &str, lines: &str) -> Self {
        Self::head(&format!(
            "HTTP/1.1 {status}\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    }

    pub(super) fn then(mut self, act: Act) -> Self {
        self.0.push(act);
        self
    }

    pub(super) fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Act::Send(bytes.as_ref().to_vec()))
    }

    pub(super) fn wait(self, milliseconds: u64) -> Self {
        self.then(Act::Wait(Duration::from_millis(milliseconds)))
    }

    pub(super) fn flood(self, unit: impl AsRef<[u8]>, total: u64) -> Self {
        self.then(Act::Flood { unit: unit.as_ref().into(), total })
    }

    pub(super) fn hold(self) -> Self {
        self.then(Act::Hold)
    }

    /// Keeps the connection, so that no client takes it for dead.
    pub(super) fn alive(self) -> Self {
        self.then(Act::Alive)
    }

    /// A pause that lets the client read what came before. Where the end of a connection is an
    /// error, some HTTP clients drop what they have not handed on yet: what comes in one read or in
    /// two must not decide.
    pub(super) fn settle(self) -> Self {
        self.wait(300)
    }

    pub(super) fn reset(self) -> Self {
        self.settle().then(Act::Reset)
    }

    pub(super) fn go_away(self) -> Self {
        self.then(Act::GoAway)
    }

    pub(super) fn abandon(self) -> Self {
        self.settle().then(Act::Abandon)
    }
}
