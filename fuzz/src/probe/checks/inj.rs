//! `inj`: odd texts, published or asked with, and the streams of others.
//!
//! Each text has a word that nobody has used before. Whatever line the word stands in then, or begins,
//! comes from it.

use std::time::Duration;

use super::Judged;
use crate::probe::catalogue::{Check, FIELDS, PAYLOADS, Payload};
use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, shown};
use crate::probe::lines::lines;
use crate::probe::publish::{Fields, Hook, Published};
use crate::probe::tape::{Seen, Tape};

/// How long a published event may take.
const PROMPT: Duration = Duration::from_secs(3);

/// How much is put in where a payload has `*`.
const MUCH: usize = 1 << 20;

pub(super) async fn judge(probe: &Probe, check: &Check) -> Judged {
    let word = check.id().trim_start_matches("inj.");
    let product = FIELDS.into_iter().find_map(|field| {
        let name = word.strip_prefix(field)?.strip_prefix('-')?;
        Some((field, PAYLOADS.iter().find(|payload| payload.name == name)?))
    });
    match (product, probe.hook()) {
        (Some((field, payload)), Some(hook)) => published(probe, check, hook, field, payload).await,
        _ => reflected(probe, check).await,
    }
}

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

async fn published(
    probe: &Probe,
    check: &Check,
    hook: &Hook,
    field: &str,
    payload: &Payload,
) -> Judged {
    if !hook.takes(field) {
        return Ok(Finding::skip(format!("the way to publish has no {{{field}}}")));
    }
    if payload.name == "surrogate" && !hook.is_json(field) {
        return Ok(Finding::skip("a lone surrogate can be written in JSON only"));
    }
    if let Some(since) = probe.dead_since.get() {
        let text = format!("nothing comes any more since {since}; name this check to do it alone");
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
    let before = probe.witness.tape().total;
    let said = match hook.publish(&fields).await {
        Ok(said) => said,
        Err(error) => return Ok(Finding::fault(check, format!("after it: {error}"))),
    };
    if let Published::Unsayable(why) = said {
        return Ok(Finding::skip(why));
    }
    // What comes before the event that is published next, is all that there is.
    let next = probe.publish_pulse().await.map_err(|why| {
        Finding::fault(check, format!("after it, nothing can be published any more: {why}"))
    })?;
    let is_there = |tape: &Tape| tape.events.iter().rev().any(|event| event.data.contains(&next));
    let came = probe.witness.until(after(PROMPT), is_there).await;
    let tape = probe.witness.tape();
    if !came {
        // The first one is to blame; what comes after it cannot be seen.
        probe.dead_since.get_or_init(|| check.id().to_owned());
        let text = if tape.end.is_some() {
            "after it, the stream ended"
        } else {
            "after it, nothing comes any more"
        };
        return Ok(Finding::fault(check, text).saw(&probe.target, &tape));
    }
    let end = tape.events.iter().rposition(|event| event.data.contains(&next)).unwrap_or(0);
    let begin = usize::try_from(before).unwrap_or(usize::MAX).min(tape.body.len());
    let finding =
        verdict(check, field, &text, &mark, &tape.events[..end], &tape.body[begin..], &said);
    let is_quiet = finding.verdict == crate::verdict::Verdict::Pass;
    Ok(if is_quiet { finding } else { finding.saw(&probe.target, &tail(&tape, begin)) })
}

/// What has come since, as evidence.
fn tail(tape: &Tape, begin: usize) -> Tape {
    let mut seen = Tape::new(tape.request.clone());
    seen.body = tape.body[begin..].to_vec();
    seen.total = seen.body.len() as u64;
    let at = tape.marks.last().map(|mark| mark.at).unwrap_or_default();
    seen.marks.push(crate::probe::tape::Mark { at, end: seen.body.len() });
    let bytes = seen.body.clone();
    seen.decode(&bytes, at);
    seen
}

fn verdict(
    check: &Check,
    field: &str,
    text: &[u8],
    mark: &str,
    events: &[Seen],
    bytes: &[u8],
    said: &Published,
) -> Finding {
    let parts = split(text);
    // A first line that is the field's own value begins no line by itself.
    if parts.len() > 1
        && let Some(line) = is_own_line(bytes, &parts[1..])
    {
        return Finding::fault(check, format!("INJECTED: {line} is a line of its own"));
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
            count => Finding::fault(check, format!("INJECTED: {count} events came of one")),
        };
    };
    let is_typed = field != "event" && event.event != "message";
    if is_typed {
        return Finding::fault(check, format!("INJECTED: the type became {:?}", event.event));
    }
    if field != "data" && event.data != mark {
        return Finding::fault(check, format!("INJECTED: the data became {:?}", event.data));
    }
    if field == "data" {
        let as_lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let is_same = event.data == sent || event.data == as_lines(sent);
        if !is_same && !sent.contains("\\ud800") {
            let text = format!("the data became {}", shown(event.data.as_bytes()));
            return Finding::warn(text);
        }
        return Finding::pass_with(if event.data == sent { "preserved" } else { "normalised" });
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

/// Sends a word after each kind of line end, and looks whether it comes back in a line of its own.
async fn reflected(probe: &Probe, check: &Check) -> Judged {
    let mut finding = Finding::pass();
    for (encoded, raw) in [("%0A", "\n"), ("%0D", "\r"), ("%0D%0A", "\r\n")] {
        let word = probe.word();
        let ask = probe.ask();
        let path = probe.target.path();
        let plain = path.split('?').next().unwrap_or_default().to_owned();
        let ask = match check.id() {
            "inj.path" => ask.path(&format!("{plain}{encoded}{word}")),
            "inj.query" => {
                let sign = if path.contains('?') { '&' } else { '?' };
                let value = format!("x{encoded}{word}");
                ask.path(&format!("{path}{sign}channel={value}&lastEventId={value}&topic={value}"))
            }
            // A header with a raw line end is two headers; a bare CR is what a server may overlook.
            "inj.user-agent" => ask.with("User-Agent", format!("x\r{word}")),
            "inj.cookie" => ask.with("Cookie", format!("x=\r{word}")),
            _ => ask.with("Last-Event-ID", format!("x\r{word}")),
        };
        let is_header = !matches!(check.id(), "inj.path" | "inj.query");
        if is_header && raw != "\r" {
            continue;
        }
        let mut connection = probe.head(&ask).await?;
        let until = after(Duration::from_millis(300));
        connection.until(until, |tape| tape.total > 0 || tape.end.is_some()).await;
        connection.until(after(Duration::from_millis(100)), |tape| tape.end.is_some()).await;
        let tape = connection.close();
        let head = tape.head.as_ref().map(|head| head.text.clone()).unwrap_or_default();
        let parts = [word.into_bytes()];
        let is_stream = tape.is_stream();
        let line = is_own_line(head.as_bytes(), &parts)
            .or_else(|| is_own_line(&tape.body, &parts).filter(|_| is_stream));
        if let Some(line) = line {
            let text = format!("INJECTED: {line} is a line of its own");
            return Ok(probe.show(Finding::fault(check, text), &tape));
        }
        finding = probe.show(finding, &tape);
    }
    Ok(finding)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{filled, is_own_line, split, verdict};
    use crate::probe::catalogue::{FIELDS, PAYLOADS, checks};
    use crate::probe::publish::Published;
    use crate::probe::tape::Tape;
    use crate::verdict::Verdict;

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
                let id = format!("inj.{field}-{}", payload.name);
                let check = checks().into_iter().find(|check| check.id() == id).expect("a check");
                let text = filled(payload.text, "zmark");
                let judged = |is_careful: bool| {
                    let bytes = rendered(field, &text, "zmark", is_careful);
                    let mut tape = Tape::new(Vec::new());
                    tape.decode(&bytes, Duration::ZERO);
                    let said = Published::Accepted;
                    verdict(&check, field, &text, "zmark", &tape.events, &bytes, &said).verdict
                };
                let has_end = text.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
                if has_end {
                    assert_eq!(judged(false), Verdict::Fail, "{id}");
                }
                assert_ne!(judged(true), Verdict::Fail, "{id}");
            }
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
