//! What a hold says, and what the client gets before and meanwhile.

use std::time::Duration;

use crate::grip::answer::{Answer, ends_between_events, events};
use crate::grip::check::{Check, Run, ask};
use crate::grip::hold::INSTRUCT;
use crate::grip::origin::Origin;
use crate::probe::Severity::{Error, Note, Warning};
use crate::probe::finding::{Finding, Judged};

const HOLD: &str = "GRIP, Grip-Hold";

/// As many channels as a connection has in Pushpin's settings as they come.
const MOST_CHANNELS: usize = 20;

/// The longest first answer whose ids Pushpin builds.
const MOST_BYTES: usize = 100_000;

/// What filters there are.
const FILTERS: [&str; 5] = ["skip-self", "skip-users", "require-sub", "build-id", "var-subst"];

/// What holds connections open in proxies and networks between.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

pub(super) const CHECKS: [Check; 11] = [
    Check::new(
        "hld.type",
        Error,
        "WHATWG 9.2.4",
        "The client gets status 200 and an event stream",
        ask!(kind),
    ),
    Check::new("hld.whole", Error, HOLD, "An answer to the proxy ends at once", Run::Look(whole)),
    Check::new("hld.mode", Error, HOLD, "The connection is held as a stream", ask!(mode)),
    Check::new(
        "hld.grammar",
        Error,
        "GRIP, headers",
        "The headers of GRIP have the forms that proxies read",
        Run::Look(grammar),
    ),
    Check::new(
        "hld.channels",
        Warning,
        "Pushpin, connection_subscription_max",
        "It is on 1 to 20 channels; a proxy leaves out the others without a word",
        Run::Look(channels),
    ),
    Check::new(
        "hld.filters",
        Warning,
        "GRIP, Grip-Feature",
        "Filters are among those that the proxy has",
        Run::Look(filters),
    ),
    Check::new(
        "hld.ids",
        Error,
        "GRIP, build-id",
        "The ids that the proxy builds have the place in each channel",
        Run::Look(ids),
    ),
    Check::new(
        "hld.percent",
        Error,
        "GRIP, build-id",
        "Where the proxy builds ids, percent signs in bodies are written twice",
        Run::Look(percent),
    ),
    Check::new(
        "hld.body",
        Error,
        "WHATWG 9.2.6",
        "A body ends between events: what is published is written right behind it",
        Run::Look(body),
    ),
    Check::new(
        "hld.size",
        Error,
        "Pushpin, maximum instruct size",
        "A first answer whose ids the proxy builds has at most 100,000 bytes",
        ask!(size),
    ),
    Check::new(
        "hld.keep-alive",
        Note,
        "WHATWG 9.2.7",
        "The proxy breaks a silence once a minute, with what is a comment or an event of its own",
        ask!(keep_alive),
    ),
];

async fn kind(origin: &Origin) -> Judged {
    let answer = origin.first().await?;
    let head = answer.tape.head.as_ref();
    let status = answer.status().unwrap_or_default();
    // An origin that cannot set a status has the proxy set it.
    let own = head.and_then(|head| head.header("grip-status"));
    let type_of = head.map(crate::wire::tape::Head::essence).unwrap_or_default();
    let fault = if status != 200 || own.is_some_and(|own| !own.starts_with("200")) {
        Some(format!("the status of a held stream is {status}"))
    } else if type_of != "text/event-stream" && type_of != INSTRUCT {
        Some(format!("the media type of a held stream is {type_of:?}"))
    } else {
        None
    };
    Ok(origin.show(Finding::of(fault), answer))
}

fn whole(answer: &Answer) -> Option<String> {
    let text = "the answer is not over after 5 s: the proxy reads all of it before it holds the \
                connection";
    (!answer.is_complete()).then(|| text.to_owned())
}

async fn mode(origin: &Origin) -> Judged {
    let answer = origin.first().await?;
    let text = "it is held as a response (long-polling): one event ends it";
    let is_response = answer.hold.mode.as_deref() == Some("response");
    Ok(origin.show(Finding::of(is_response.then(|| text.to_owned())), answer))
}

fn grammar(answer: &Answer) -> Option<String> {
    answer.hold.problems.first().cloned()
}

fn channels(answer: &Answer) -> Option<String> {
    let count = answer.hold.channels.len();
    let is_wrong = answer.hold.is_held() && !(1..=MOST_CHANNELS).contains(&count);
    is_wrong.then(|| format!("the connection is held on {count} channels"))
}

fn filters(answer: &Answer) -> Option<String> {
    let mut all = answer.hold.channels.iter().flat_map(|channel| &channel.filters);
    let unknown = all.find(|name| !FILTERS.contains(&name.as_str()))?;
    Some(format!("there is no filter {unknown:?}"))
}

/// The names in `%(NAME)s`; the error is a percent sign that is neither that nor written twice.
fn names(format: &str) -> Result<Vec<&str>, ()> {
    let mut names = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
        } else {
            let (name, after) =
                rest.strip_prefix('(').and_then(|it| it.split_once(')')).ok_or(())?;
            rest = after.strip_prefix('s').ok_or(())?;
            names.push(name);
        }
    }
    Ok(names)
}

fn ids(answer: &Answer) -> Option<String> {
    let hold = &answer.hold;
    if !hold.is_held() || !hold.builds_ids() {
        return None;
    }
    let Some(format) = hold.meta.get("id_format") else {
        return Some("there is the filter build-id, but no id_format in Grip-Set-Meta".to_owned());
    };
    let Ok(names) = names(format) else {
        let text = "has a percent sign that is neither %(CHANNEL)s nor written twice";
        return Some(format!("id_format {format:?} {text}"));
    };
    let places = hold.places();
    if let Some(name) = names.iter().find(|name| !places.contains_key(**name)) {
        let text = "which is no channel of the hold with a prev-id; is it the prefix?";
        return Some(format!("id_format {format:?} has {name:?}, {text}"));
    }
    let lacks = |name: &&String| !names.contains(&name.as_str());
    let missing = places.keys().find(lacks)?;
    Some(format!("id_format {format:?} has no place for {missing:?}"))
}

fn percent(answer: &Answer) -> Option<String> {
    let at = answer.shown().err()?;
    let near = &answer.body[at.saturating_sub(20)..answer.body.len().min(at + 20)];
    let near = String::from_utf8_lossy(near).into_owned();
    Some(format!(
        "the filter build-id cannot read the percent sign in {near:?}: the client gets nothing; \
         write it twice"
    ))
}

fn body(answer: &Answer) -> Option<String> {
    let goes_on = answer.hold.is_held() || answer.hold.link.is_some();
    let text = "the body ends within an event, which the next one would continue";
    (goes_on && !ends_between_events(&answer.body)).then(|| text.to_owned())
}

async fn size(origin: &Origin) -> Judged {
    origin.first().await?;
    let answers = origin.answers();
    let is_first = |answer: &Answer| !answer.tape.request.windows(9).any(|it| it == b"Grip-Last");
    let firsts = answers.iter().filter(|answer| is_first(answer) && answer.hold.builds_ids());
    let Some(longest) = firsts.max_by_key(|answer| answer.body.len()) else {
        return Ok(Finding::pass_with("the proxy builds no ids"));
    };
    let len = longest.body.len();
    let text = format!("a first answer has {len} bytes: the proxy makes a 502 of it; send pages");
    Ok(origin.show(Finding::of((len > MOST_BYTES).then_some(text)), longest))
}

async fn keep_alive(origin: &Origin) -> Judged {
    let answer = origin.first().await?;
    let show = |finding| Ok(origin.show(finding, answer));
    let Some(alive) = &answer.hold.keep_alive else {
        return show(Finding::fault("there is no Grip-Keep-Alive: a quiet stream looks dead"));
    };
    let has_id = alive.bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
    let has_id = has_id.into_iter().any(|line| line.starts_with(b"id"));
    let fault = if alive.bytes.is_empty() {
        "Grip-Keep-Alive is empty: nothing is written"
    } else if !ends_between_events(&alive.bytes) {
        "Grip-Keep-Alive ends within a line or an event, which the next one would continue"
    } else if has_id && events(&alive.bytes).iter().any(|event| event.id.is_some()) {
        "Grip-Keep-Alive has an id: it replaces the one that the client comes back with"
    } else if alive.period > LONGEST_SILENCE {
        return show(Finding::fault("Grip-Keep-Alive comes less than once a minute"));
    } else {
        return show(Finding::pass());
    };
    // These break the stream.
    show(Finding::fail(fault))
}
