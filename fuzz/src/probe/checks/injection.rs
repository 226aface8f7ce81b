//! `inj`: what is published, or asked for, must not become lines of its own in others' streams.
//!
//! Each text has a word that has never been used before. Whatever line the word stands in then, or
//! begins, comes from it.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use crate::probe::ask::Ask;
use crate::probe::check::Needs::Publish;
use crate::probe::check::Severity::Security;
use crate::probe::check::{Check, Run, Turn, ask};
use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged, Ruling};
use crate::probe::lines::lines;
use crate::probe::payload::{PAYLOADS, Payload};
use crate::probe::publish::{Fields, Published};
use crate::verdict::Verdict;
use crate::wire::shown::shown;
use crate::wire::tape::{Mark, Seen, Tape};

/// What a request has that may come back.
const REFLECTED: &[Check] = &[
    reflecting("inj.path", "A line end in the path makes no line", ask!(path)),
    reflecting("inj.query", "A line end in the query makes no line", ask!(query)),
    reflecting("inj.user-agent", "User-Agent makes no line", ask!(user_agent)),
    reflecting("inj.cookie", "Cookie makes no line", ask!(cookie)),
    reflecting("inj.last-event-id", "Last-Event-ID makes no line", ask!(last_event_id)),
];

const fn reflecting(id: &'static str, title: &'static str, run: Run) -> Check {
    Check::new(id, Security, "advice", title, run).at(Turn::Last)
}

/// The fields that texts are published in, and where it has gone wrong.
const REFERENCES: [(&str, &str); 6] = [
    ("data", "CVE-2026-33128"),
    ("event", "CVE-2026-22735"),
    ("id", "CVE-2026-22735"),
    ("retry", "CVE-2026-29085"),
    ("comment", "CVE-2026-33128"),
    ("topic", "advice"),
];

/// Every payload in every field, after what is reflected.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = REFLECTED.to_vec();
    for (field, reference) in REFERENCES {
        checks.extend(PAYLOADS.iter().map(|payload| {
            let title = format!("Published in {field}, {} changes nothing else", payload.about);
            Check::new("", Security, reference, "", Run::Publish(field, payload))
                .with(Publish)
                .named(name(field, payload), title)
        }));
    }
    checks
}

fn name(field: &str, payload: &Payload) -> String {
    format!("inj.{field}-{}", payload.name)
}

/// How long a published event may take before it is said that nothing comes any more: a machine may
/// have much else to do.
const PATIENCE: Duration = Duration::from_secs(15);

/// Among how many events a pulse is looked for.
const RECENT: usize = 50;

/// How much is put in where a payload has `*`.
const MUCH: usize = 1 << 20;

/// Whether a line begins with what stood after a line end.
fn is_own_line(tape: &[u8], parts: &[Vec<u8>]) -> Option<String> {
    let lines = lines(tape);
    let line = lines
        .iter()
        .find(|line| parts.iter().any(|part| !part.is_empty() && line.text.starts_with(part)))?;
    Some(shown(line.text))
}

fn split(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|byte| matches!(byte, b'\r' | b'\n')).map(<[u8]>::to_vec).collect()
}

/// Publishes a text in a field, and looks what comes of it.
pub(super) async fn publish(probe: &Probe, field: &str, payload: &Payload) -> Judged {
    let Some(hook) = probe.hook() else { return Ok(Finding::skip("there is no way to publish")) };
    if !hook.takes(field) {
        return Ok(Finding::skip(format!("the way to publish has no {{{field}}}")));
    }
    if payload.name == "surrogate" && !hook.is_json(field) {
        return Ok(Finding::skip("a lone surrogate can be written in JSON only"));
    }
    if let Some(since) = probe.dead_since() {
        let text = format!(
            "nothing comes any more since {since}, on a new stream either; name this check to do \
             it alone"
        );
        return Ok(Finding::inconclusive(text));
    }
    if let Err(finding) = probe.hook_works().await {
        return Ok(finding);
    }
    let mark = probe.word();
    let text = filled(payload.text, &mark);
    let mut fields = Fields::default().with("data", &mark).with("event", "message");
    if hook.takes("id") {
        fields = fields.with("id", &mark);
    }
    fields = fields.with(field, &text);
    let witness = probe.watched();
    let usual = usual(probe, &witness.tape());
    let before = witness.tape().total;
    let said = match hook.publish(&fields).await {
        Ok(said) => said,
        Err(error) => {
            return Ok(Finding::fault(format!("after it: {error}")).of_time_if(is_late(&error)));
        }
    };
    if let Published::Unsayable(why) = said {
        return Ok(Finding::skip(why));
    }
    // What comes before the event that is published next, is all that there is.
    let next = probe.publish_pulse().await.map_err(|why| {
        let text = format!("after it, nothing can be published any more: {why}");
        Finding::fault(text).of_time_if(is_late(&why))
    })?;
    let is_there = |tape: &Tape| tape.events.iter().rev().any(|event| event.data.contains(&next));
    if !witness.until(after(PATIENCE), is_there).await {
        // Where a new stream is no better, this one is to blame, and the others cannot be judged.
        if !probe.watch_anew().await {
            probe.is_dead_since(name(field, payload));
        }
        let tape = witness.tape();
        let text = if tape.end.is_some() {
            "after it, the stream ended"
        } else {
            "after it, nothing comes any more"
        };
        let begin = usize::try_from(before).unwrap_or(usize::MAX).min(tape.body.len());
        let finding = Finding::fault(text).of_time_if(tape.end.is_none());
        return Ok(finding.saw(&probe.target, &tail(&tape, begin)));
    }
    let tape = witness.tape();
    let end = tape.events.iter().rposition(|event| event.data.contains(&next)).unwrap_or(0);
    let begin = usize::try_from(before).unwrap_or(usize::MAX).min(tape.body.len());
    let (events, bytes) = (&tape.events[..end], &tape.body[begin..]);
    let finding = verdict(field, &text, &mark, events, bytes, &said, &usual);
    let is_quiet = finding.ruling == Ruling::Is(Verdict::Pass);
    Ok(if is_quiet { finding } else { finding.saw(&probe.target, &tail(&tape, begin)) })
}

fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// What came of the pulse that came last.
fn usual(probe: &Probe, tape: &Tape) -> Usual {
    let accepted = probe.accepted();
    let of = |event: &Seen| accepted.iter().rev().find_map(|pulse| Usual::of(event, &pulse.word));
    tape.events.iter().rev().take(RECENT).find_map(of).unwrap_or_default()
}

/// What has come since, as evidence.
fn tail(tape: &Tape, begin: usize) -> Tape {
    let mut seen = Tape::new(tape.request.clone());
    seen.body = tape.body[begin..].to_vec();
    seen.total = seen.body.len() as u64;
    let at = tape.marks.last().map(|mark| mark.at).unwrap_or_default();
    seen.marks.push(Mark { at, end: seen.body.len() });
    let bytes = seen.body.clone();
    seen.decode(&bytes, at);
    seen.end.clone_from(&tape.end);
    seen
}

/// What the server makes of a text that is nothing special: it may put it into quotes or braces,
/// and give it a type of its own.
#[derive(Clone, Debug)]
struct Usual {
    before: String,
    after: String,
    event: String,
}

impl Default for Usual {
    fn default() -> Self {
        Self { before: String::new(), after: String::new(), event: "message".to_owned() }
    }
}

impl Usual {
    /// As an event shows that came of a word.
    fn of(event: &Seen, word: &str) -> Option<Self> {
        let (before, after) = event.data.split_once(word)?;
        let (before, after) = (before.to_owned(), after.to_owned());
        Some(Self { before, after, event: event.event.clone() })
    }

    /// The text in an event's data: as it is, or as a JSON string where that is usual.
    fn text<'a>(&self, data: &'a str) -> Option<Cow<'a, str>> {
        let text = data.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        if self.before.ends_with('"') && self.after.starts_with('"') {
            return serde_json::from_str(&format!("\"{text}\"")).ok().map(Cow::Owned);
        }
        Some(text.into())
    }
}

fn verdict(
    field: &str,
    text: &[u8],
    mark: &str,
    events: &[Seen],
    bytes: &[u8],
    said: &Published,
    usual: &Usual,
) -> Finding {
    let parts = split(text);
    // A first line that is the field's own value begins no line by itself.
    if parts.len() > 1
        && let Some(line) = is_own_line(bytes, &parts[1..])
    {
        return Finding::fault(format!("INJECTED: {line} is a line of its own"));
    }
    let is_of_it = |event: &&Seen| {
        [&event.data, &event.event, &event.last_id].iter().any(|text| text.contains(mark))
    };
    let is_marked = text.windows(mark.len()).any(|part| part == mark.as_bytes());
    let found: Vec<&Seen> = events.iter().filter(is_of_it).collect();
    if let Published::Refused(why) = said {
        return match found.first() {
            Some(_) => Finding::warn(format!("it was refused, and came all the same: {why}")),
            None => Finding::pass_with(format!("refused: {}", shown(why.as_bytes()))),
        };
    }
    let Ok(sent) = str::from_utf8(text) else {
        return Finding::pass_with("taken, and nothing broke");
    };
    let [event] = found[..] else {
        return match found.len() {
            0 if field == "data" && !is_marked => Finding::pass_with("nothing was injected"),
            0 => Finding::warn("it was accepted, and no event came of it"),
            count => Finding::fault(format!("INJECTED: {count} events came of one")),
        };
    };
    if field != "event" && event.event != usual.event {
        return Finding::fault(format!("INJECTED: the type became {:?}", event.event));
    }
    let data = usual.text(&event.data);
    if field != "data" && data.as_deref() != Some(mark) {
        return Finding::fault(format!("INJECTED: the data became {:?}", event.data));
    }
    if field == "data" {
        let as_lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let is_as_sent = data.as_deref() == Some(sent);
        let is_same = is_as_sent || data.is_some_and(|data| data == as_lines(sent));
        if !is_same && !sent.contains("\\ud800") {
            let text = format!("the data became {}", shown(event.data.as_bytes()));
            return Finding::warn(text);
        }
        return Finding::pass_with(if is_as_sent { "preserved" } else { "normalised" });
    }
    Finding::pass_with("one event came of it, and its data is as it was")
}

fn filled(text: &[u8], word: &str) -> Vec<u8> {
    let mut filled = Vec::new();
    for &byte in text {
        match byte {
            b'@' => filled.extend_from_slice(word.as_bytes()),
            b'*' => filled.extend(std::iter::repeat_n(b'x', MUCH)),
            byte => filled.push(byte),
        }
    }
    filled
}

async fn path(probe: &Probe) -> Judged {
    encoded(probe, |plain, end, word| format!("{plain}{end}{word}")).await
}

async fn query(probe: &Probe) -> Judged {
    let path = probe.target.path();
    let sign = if path.contains('?') { '&' } else { '?' };
    let with = |end: &str, word: &str| {
        let value = format!("x{end}{word}");
        format!("{path}{sign}channel={value}&lastEventId={value}&topic={value}")
    };
    encoded(probe, |_, end, word| with(end, word)).await
}

async fn user_agent(probe: &Probe) -> Judged {
    header(probe, "User-Agent", "x").await
}

async fn cookie(probe: &Probe) -> Judged {
    header(probe, "Cookie", "x=").await
}

async fn last_event_id(probe: &Probe) -> Judged {
    header(probe, "Last-Event-ID", "x").await
}

/// Sends a word in a header, after a CR: with an LF it would be two headers, and a bare CR is what
/// a server may overlook.
async fn header(probe: &Probe, name: &str, before: &str) -> Judged {
    let word = probe.word();
    let ask = probe.ask().with(name, format!("{before}\r{word}"));
    reflected(probe, Finding::pass(), &ask, word).await
}

/// Sends a word after each kind of line end, in a path that is made of the plain one, the end and
/// the word.
async fn encoded(probe: &Probe, path: impl Fn(&str, &str, &str) -> String) -> Judged {
    let own = probe.target.path();
    let plain = own.split('?').next().unwrap_or_default();
    let mut finding = Finding::pass();
    for end in ["%0A", "%0D", "%0D%0A"] {
        let word = probe.word();
        let ask = probe.ask().path(&path(plain, end, &word));
        finding = reflected(probe, finding, &ask, word).await?;
    }
    Ok(finding)
}

/// Whether a word comes back in a line of its own; `Err` if it does.
async fn reflected(probe: &Probe, finding: Finding, ask: &Ask, word: String) -> Judged {
    let mut connection = probe.head(ask).await?;
    let until = after(Duration::from_millis(300));
    connection.until(until, |tape| tape.total > 0 || tape.end.is_some()).await;
    connection.until(after(Duration::from_millis(100)), |tape| tape.end.is_some()).await;
    let tape = connection.close();
    let head = tape.head.as_ref().map(|head| head.text.clone()).unwrap_or_default();
    let parts = [word.into_bytes()];
    let is_stream = tape.is_stream();
    let line = is_own_line(head.as_bytes(), &parts)
        .or_else(|| is_own_line(&tape.body, &parts).filter(|_| is_stream));
    match line {
        Some(line) => {
            let text = format!("INJECTED: {line} is a line of its own");
            Err(probe.show(Finding::fault(text), &tape))
        }
        None => Ok(probe.show(finding, &tape)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Usual, filled, is_own_line, name, split, verdict};
    use crate::probe::finding::Ruling;
    use crate::probe::payload::PAYLOADS;
    use crate::probe::publish::{FIELDS, Published};
    use crate::verdict::Verdict;
    use crate::wire::tape::Tape;

    /// An event as a server writes it that thinks of nothing, or of everything.
    fn rendered(field: &str, text: &[u8], mark: &str, is_careful: bool) -> Vec<u8> {
        let text = String::from_utf8_lossy(text).into_owned();
        let value = |name: &str, usual: &str| {
            let value = if name == field { text.clone() } else { usual.to_owned() };
            if is_careful && name != "data" { value.replace(['\r', '\n', '\0'], "") } else { value }
        };
        let mut data = value("data", mark);
        if is_careful {
            data = data.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\ndata: ");
        }
        let [id, kind, retry, comment] = [
            value("id", mark),
            value("event", "message"),
            value("retry", "9"),
            value("comment", ""),
        ];
        format!(":{comment}\nretry: {retry}\nid: {id}\nevent: {kind}\ndata: {data}\n\n")
            .into_bytes()
    }

    #[test]
    fn every_payload_with_a_line_end_is_seen_in_every_field_and_none_is_where_it_was_kept() {
        for field in FIELDS.into_iter().filter(|field| *field != "topic") {
            for payload in PAYLOADS {
                let id = name(field, payload);
                let text = filled(payload.text, "zmark");
                let judged = |is_careful: bool| {
                    let bytes = rendered(field, &text, "zmark", is_careful);
                    let mut tape = Tape::new(Vec::new());
                    tape.decode(&bytes, Duration::ZERO);
                    let said = Published::Accepted;
                    let usual = Usual::default();
                    verdict(field, &text, "zmark", &tape.events, &bytes, &said, &usual).ruling
                };
                let has_end = text.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
                if has_end {
                    assert_eq!(judged(false), Ruling::Fault, "{id}");
                }
                assert_ne!(judged(true), Ruling::Fault, "{id}");
            }
        }
    }

    /// As servers do that encode data as JSON, that put it into an object, or that have a type of
    /// their own for all.
    #[test]
    fn what_a_server_always_does_is_not_injected() {
        for (shape, kind) in [("\"@\"", "message"), ("{\"text\":\"@\"}", "update"), ("@", "data")] {
            let rendered = |data: &str| {
                let data = if shape.contains('"') {
                    let quoted = serde_json::to_string(data).expect("it is a text");
                    shape.replace("\"@\"", &quoted)
                } else {
                    data.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\ndata: ")
                };
                format!("event: {kind}\ndata: {data}\n\n").into_bytes()
            };
            let read = |bytes: &[u8]| {
                let mut tape = Tape::new(Vec::new());
                tape.decode(bytes, Duration::ZERO);
                tape.events
            };
            let usual = Usual::of(&read(&rendered("zpulse"))[0], "zpulse").expect("it is there");
            let judged = |field: &str, text: &[u8], data: &str| {
                let bytes = rendered(data);
                let (events, said) = (read(&bytes), Published::Accepted);
                verdict(field, text, "zmark", &events, &bytes, &said, &usual).ruling
            };
            for payload in PAYLOADS.iter().filter(|payload| payload.name != "surrogate") {
                let text = filled(payload.text, "zmark");
                let Ok(data) = str::from_utf8(&text) else { continue };
                let pass = Ruling::Is(Verdict::Pass);
                assert_eq!(judged("data", &text, data), pass, "{shape} {}", payload.name);
            }
            assert_eq!(judged("id", b"azmark", "zmark"), Ruling::Is(Verdict::Pass), "{shape}");
            assert_eq!(judged("id", b"azmark", "other zmark"), Ruling::Fault, "{shape}");
        }
    }

    #[test]
    fn a_line_of_its_own_is_seen_whatever_ends_lines() {
        let text = filled(b"a@\r\nb@", "w");
        let parts = split(&text);
        assert_eq!(parts, [b"aw".to_vec(), b"".to_vec(), b"bw".to_vec()]);
        assert!(is_own_line(b"data: aw\ndata: bw\n\n", &parts[1..]).is_none());
        assert!(is_own_line(b"data: aw\rbw\n\n", &parts[1..]).is_some());
    }
}
