//! Compares what was seen of a client with what a case wants. It knows neither sockets nor
//! processes: the same record gives the same verdict.
//!
//! One rule shapes it: what was not observed is not passed.

use std::fmt;
use std::time::Duration;

use super::case::{Case, Check, Expected};
use super::request::Request;
use crate::verdict::Verdict;

/// How much earlier than asked for a request may come, since two clocks look at it.
const EARLY: Duration = Duration::from_millis(50);

/// A request that comes so soon after the end of the connection before was not waited for.
const AT_ONCE: Duration = Duration::from_millis(100);

/// As many of them are a tight loop.
const LOOP: usize = 10;

/// Requests that the evidence shows.
const SHOWN: usize = 12;

/// Everything that was seen of a client in one run.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// What it has requested.
    pub requests: Vec<Request>,
    /// The events that it has printed.
    pub printed: Vec<Printed>,
    /// Its memory, where that can be seen.
    pub memory: Option<Memory>,
    /// It has ended: of itself with this code, or by a signal if `Some(None)`.
    pub exit: Option<Option<i32>>,
}

/// An event that a client has printed. See `sse-fuzz decode` for the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// The type.
    pub event: String,
    /// The data.
    pub data: String,
    /// The last event ID in force, if it was printed.
    pub id: Option<String>,
}

/// The memory of a process and its children, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What it was when the first request came.
    pub before: u64,
    /// The most that it has been.
    pub peak: u64,
}

/// A verdict, why, and what it rests on.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not a pass; empty for a pass.
    pub reasons: Vec<String>,
    /// What was seen, line by line.
    pub evidence: Vec<String>,
}

/// What one check says; a pass says nothing.
type Finding = Result<(), (Verdict, String)>;

/// Judges a client by what was seen of it.
pub fn judge(case: &Case, seen: &Observation) -> Judgement {
    let findings = findings(case, seen);
    let verdict = verdict(&findings);
    // For a failure, only what made it one: the rest follows from it or is beside the point.
    let reasons = findings.into_iter().filter(|finding| finding.0 == verdict);
    let reasons = reasons.map(|finding| finding.1).collect();
    Judgement { verdict, reasons, evidence: evidence(seen) }
}

fn verdict(findings: &[(Verdict, String)]) -> Verdict {
    findings.iter().map(|finding| finding.0).max().unwrap_or(Verdict::Pass)
}

fn findings(case: &Case, seen: &Observation) -> Vec<(Verdict, String)> {
    let found = |check: &Check| check.judge(case, seen).err();
    let mut findings: Vec<_> = case.checks.iter().filter_map(found).collect();
    findings.extend(case.advice.iter().filter_map(found).map(as_advice));
    let skipped = findings.iter().position(|finding| finding.0 == Verdict::Skip);
    if let Some(skipped) = skipped {
        // What the case is about was not there to be seen.
        findings = vec![findings.swap_remove(skipped)];
    } else if seen.requests.is_empty() {
        findings = vec![(Verdict::Inconclusive, "it made no request".to_owned())];
    } else if seen.requests.len() < case.reach {
        let (made, end) = (seen.requests.len(), ended_while_waiting(seen));
        let text =
            format!("the rule applies to request {}, but it made only {made}{end}", case.reach);
        findings.push((Verdict::Inconclusive, text));
    } else if !seen.requests[case.reach - 1].played {
        let text = format!("the script of connection {} had not reached its end", case.reach);
        findings.push((Verdict::Inconclusive, text));
    }
    findings
}

/// What no standard asks for is no failure.
fn as_advice((verdict, text): (Verdict, String)) -> (Verdict, String) {
    match verdict {
        Verdict::Fail => (Verdict::Warn, format!("{text} (advice: no standard asks for it)")),
        _ => (verdict, text),
    }
}

/// Whether it has been seen to do something wrong.
pub(super) const fn is_wrong(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Fail | Verdict::Warn)
}

/// Whether all has been seen that makes a case right. `elapsed` is the time since the first
/// request; nothing new has come for a while if it `is_quiet`.
pub(super) fn is_settled(
    case: &Case,
    seen: &Observation,
    elapsed: Duration,
    is_quiet: bool,
) -> bool {
    let Some(reached) = seen.requests.get(case.reach - 1) else { return false };
    let is_watched = elapsed.saturating_sub(reached.at) >= case.watch;
    let is_quiet = case.watch > Duration::ZERO || is_quiet;
    is_watched && is_quiet && reached.played && !is_wrong(verdict(&findings(case, seen)))
}

/// Whether what has been seen cannot become a pass any more.
pub(super) fn is_lost(case: &Case, seen: &Observation) -> bool {
    case.all_checks().any(|check| match check {
        Check::AtMost(_) | Check::NoLoop | Check::Bounded(_) | Check::Secret(_) => {
            matches!(check.judge(case, seen), Err((Verdict::Fail, _)))
        }
        _ => false,
    })
}

impl Check {
    fn judge(&self, case: &Case, seen: &Observation) -> Finding {
        let request = |number: usize| seen.requests.get(number - 1);
        match self {
            Self::Events(expected) => events(expected, &seen.printed),
            Self::Data(expected) => {
                let printed: Vec<_> = seen.printed.iter().map(|event| &*event.data).collect();
                let is_it = |(printed, expected): (&&str, &&str)| {
                    printed.trim_end() == *expected || printed.trim() == *expected
                };
                let are =
                    printed.len() == expected.len() && printed.iter().zip(*expected).all(is_it);
                ensure(are, || {
                    format!("events with the data {expected:?} were expected, but {printed:?} came")
                })
            }
            Self::LastEvent(expected) => {
                let last = seen.printed.last();
                let is_it = last.is_some_and(|printed| agrees(expected, printed) != Some(false));
                ensure(is_it, || {
                    format!("the last event should be {expected}, but is {}", Shown(last))
                })
            }
            Self::ComesBack(requests) => ensure(seen.requests.len() >= *requests, || {
                let (made, end) = (seen.requests.len(), ended_while_waiting(seen));
                format!("it made {made} of the {requests} requests that it should{end}")
            }),
            Self::NoLoop => tight_loop(seen),
            Self::Bounded(most) => bounded(seen, *most),
            Self::AtMost(most) => ensure(seen.requests.len() <= *most, || {
                let last = seen.requests.last().map_or(Duration::ZERO, |request| request.at);
                let made = seen.requests.len();
                let last = Seconds(last);
                format!("it made {made} requests within {last}; at most {most} are allowed")
            }),
            Self::LastEventId(number, expected) => request(*number).map_or(Ok(()), |request| {
                let found = request.header("last-event-id");
                ensure(found == expected.as_deref(), || {
                    let (found, expected) = (Value(found), Value(expected.as_deref()));
                    format!(
                        "request {number} has Last-Event-ID {found}, but should have {expected}"
                    )
                })
            }),
            Self::Pause(number, least) => pause(seen, *number, *least),
            Self::Method(number, method) => request(*number).map_or(Ok(()), |request| {
                ensure(request.method == *method, || {
                    format!("request {number} is a {}, but should be a {method}", request.method)
                })
            }),
            Self::Header(number, name, part) => request(*number).map_or(Ok(()), |request| {
                let value = request.header(name).unwrap_or_default();
                let value = String::from_utf8_lossy(value).to_ascii_lowercase();
                ensure(value.contains(part), || {
                    format!("{name} of request {number} is {value:?}, but should contain {part:?}")
                })
            }),
            Self::Body(number, body) => request(*number).map_or(Ok(()), |request| {
                ensure(request.body == body.as_bytes(), || {
                    let found = String::from_utf8_lossy(&request.body);
                    format!("the body of request {number} is {found:?}, but should be {body:?}")
                })
            }),
            Self::Secret(name) => secret(seen, name),
            Self::Http2 if seen.requests.iter().all(|request| request.is_http2) => Ok(()),
            Self::Http2 => {
                let text = "it does not use HTTP/2, so this case shows nothing";
                Err((Verdict::Skip, text.to_owned()))
            }
            Self::HangsUp(number) => request(*number).map_or(Ok(()), |request| {
                ensure(request.ended_by_client, || {
                    let time = case.deadline.as_secs();
                    format!("it kept connection {number} for {time} s, though nothing came")
                })
            }),
            Self::StaysOn(number) => request(*number).map_or(Ok(()), |request| {
                ensure(!request.ended_by_client, || {
                    let end = request.ended.unwrap_or_default();
                    format!("it left connection {number}, which was alive, at {}", Seconds(end))
                })
            }),
            Self::Memory(most) => memory(seen, *most),
            Self::Sound => match seen.exit {
                Some(None) => Err((Verdict::Fail, "a signal ended it".to_owned())),
                // What shells and runtimes exit with after a crash: 101 a panic in Rust, 128 and
                // more a signal.
                Some(Some(code)) if code >= 100 => {
                    Err((Verdict::Fail, format!("it crashed, with exit code {code}")))
                }
                _ => Ok(()),
            },
        }
    }
}

/// What to say of a client that does not come back since its process is over.
fn ended_while_waiting(seen: &Observation) -> String {
    match seen.exit {
        Some(Some(code)) => format!(
            "; its process has ended by itself (exit code {code}), so nothing is left that could \
             come back: let it run while the client waits"
        ),
        _ => String::new(),
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err((Verdict::Fail, otherwise())) }
}

fn events(expected: &[Expected], printed: &[Printed]) -> Finding {
    let mut rest = printed.iter().peekable();
    let mut lacks_id = false;
    for expected in expected {
        let next = rest.peek().copied();
        match next.and_then(|next| agrees(expected, next)) {
            Some(true) => drop(rest.next()),
            None if next.is_some() => {
                lacks_id = true;
                rest.next();
            }
            _ if expected.optional => {}
            _ => {
                let text = format!("{expected} was expected, but {} came", Shown(next));
                return Err((Verdict::Fail, text));
            }
        }
    }
    if let Some(extra) = rest.next() {
        let text = format!("{} came, which is not an event of this stream", Shown(Some(extra)));
        return Err((Verdict::Fail, text));
    }
    if lacks_id {
        let text = "it does not print the id, which matters here".to_owned();
        return Err((Verdict::Inconclusive, text));
    }
    Ok(())
}

/// Whether an event is the one expected; `None` if it is, but for an id that was not printed.
fn agrees(expected: &Expected, printed: &Printed) -> Option<bool> {
    if expected.event != printed.event || expected.data != printed.data {
        return Some(false);
    }
    match (&expected.id, &printed.id) {
        (Some(expected), Some(printed)) => Some(expected == printed),
        (Some(expected), None) if !expected.is_empty() => None,
        _ => Some(true),
    }
}

fn pause(seen: &Observation, number: usize, least: Duration) -> Finding {
    let (Some(request), Some(before)) =
        (seen.requests.get(number - 1), seen.requests.get(number - 2))
    else {
        return Ok(());
    };
    // The one before may be open still; then it was not waited for at all.
    let end = before.ended.unwrap_or(request.at);
    let pause = request.at.saturating_sub(end);
    ensure(pause + EARLY >= least, || {
        let [pause, least] = [pause, least].map(Seconds);
        format!("request {number} came {pause} after the end, not {least} as asked for")
    })
}

/// The requests that came right after the end of the connection before.
fn without_pause(seen: &Observation) -> impl Iterator<Item = bool> {
    seen.requests.windows(2).map(|pair| {
        let end = pair[0].ended.unwrap_or(pair[1].at);
        pair[1].at.saturating_sub(end) < AT_ONCE
    })
}

fn tight_loop(seen: &Observation) -> Finding {
    let at_once = without_pause(seen).filter(|is_at_once| *is_at_once).count();
    ensure(at_once < LOOP, || {
        let made = seen.requests.len();
        let last = Seconds(seen.requests.last().map_or(Duration::ZERO, |request| request.at));
        format!(
            "it made {made} requests within {last}, {at_once} of them less than {} ms after the \
             end of the one before",
            AT_ONCE.as_millis()
        )
    })
}

fn bounded(seen: &Observation, most: usize) -> Finding {
    let mut longest = 0;
    let mut row = 1;
    for is_at_once in without_pause(seen) {
        row = if is_at_once { row + 1 } else { 1 };
        longest = longest.max(row);
    }
    ensure(longest <= most, || {
        format!("it made {longest} requests without a pause; a bound of {most} is high already")
    })
}

fn secret(seen: &Observation, name: &str) -> Finding {
    let mut strangers = seen.requests.iter().filter(|request| request.at_other_origin);
    if let Some(request) = strangers.find(|request| request.header(name).is_some()) {
        let value = Value(request.header(name));
        return Err((Verdict::Fail, format!("{name}: {value} went to another origin")));
    }
    if seen.requests.first().is_some_and(|request| request.header(name).is_none()) {
        let text = format!("the first request has no {name}, so there was no secret to keep");
        return Err((Verdict::Inconclusive, text));
    }
    Ok(())
}

fn memory(seen: &Observation, most: u64) -> Finding {
    let Some(Memory { before, peak }) = seen.memory else {
        let (verdict, text) = if cfg!(target_os = "linux") {
            (Verdict::Inconclusive, "it ended before its memory could be seen")
        } else {
            (Verdict::Skip, "the memory of a process can be seen on Linux only")
        };
        return Err((verdict, text.to_owned()));
    };
    let growth = peak.saturating_sub(before);
    ensure(growth <= most, || {
        let [growth, most] = [growth, most].map(|bytes| bytes >> 20);
        format!("its memory grew by {growth} MiB; {most} MiB are enough for limits of its own")
    })
}

fn evidence(seen: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, request) in seen.requests.iter().take(SHOWN).enumerate() {
        let id = Value(request.header("last-event-id"));
        let place = if request.at_other_origin { " at the other origin" } else { "" };
        let protocol = if request.is_http2 { " by HTTP/2" } else { "" };
        let end = match request.ended {
            Some(end) if request.ended_by_client => format!("left at {}", Seconds(end)),
            Some(end) => format!("ended at {}", Seconds(end)),
            None => "open".to_owned(),
        };
        lines.push(format!(
            "request {} at {}{place}{protocol}: {} {}, Last-Event-ID {id}; {} bytes sent, {end}",
            index + 1,
            Seconds(request.at),
            request.method,
            request.target,
            request.sent
        ));
    }
    if seen.requests.len() > SHOWN {
        lines.push(format!("and {} requests more", seen.requests.len() - SHOWN));
    }
    lines.extend(seen.printed.iter().take(SHOWN).map(|event| format!("printed {event}")));
    if seen.printed.len() > SHOWN {
        lines.push(format!("and {} events more", seen.printed.len() - SHOWN));
    }
    if let Some(Memory { before, peak }) = seen.memory {
        lines.push(format!("memory {} MiB at first, {} MiB at most", before >> 20, peak >> 20));
    }
    lines.push(match seen.exit {
        None => "it was running at the end".to_owned(),
        Some(Some(code)) => format!("it exited with code {code}"),
        Some(None) => "a signal ended it".to_owned(),
    });
    lines
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.as_secs_f64())
    }
}

/// A header's value, or its absence in words.
struct Value<'a>(Option<&'a [u8]>);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{:?}", short(&String::from_utf8_lossy(value))),
            None => f.write_str("(none)"),
        }
    }
}

struct Shown<'a>(Option<&'a Printed>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(printed) => printed.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", short(&self.event), short(&self.data))?;
        self.id.as_ref().map_or(Ok(()), |id| write!(f, " id {:?}", short(id)))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", short(&self.event), short(&self.data))?;
        self.id.as_ref().map_or(Ok(()), |id| write!(f, " id {:?}", short(id)))
    }
}

/// Enough of a text to know it by.
fn short(text: &str) -> &str {
    let end = text.char_indices().nth(80).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

#[cfg(test)]
mod tests;
