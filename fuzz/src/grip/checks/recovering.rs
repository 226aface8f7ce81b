//! What a connection has missed comes, once and in order, whoever asks for it.

use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;
use tokio::time::{Duration, Instant, sleep};

use crate::grip::answer::Event;
use crate::grip::check::{Check, Needs, ask};
use crate::grip::origin::{Held, Origin, Recovered};
use crate::probe::Severity::{Error, Warning};
use crate::probe::finding::{Finding, Judged};

const LAST: &str = "GRIP, Grip-Last";

/// How many events a short gap has, a long history, and one that grows while it is read.
const FEW: usize = 5;
const MANY: usize = 150;
const MEANWHILE: usize = 40;

/// What makes a history longer than one answer may be.
const FILLING_LEN: usize = 900;

/// How long to wait before the next look.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) const CHECKS: [Check; 6] = [
    Check::new(
        "rec.gap",
        Error,
        LAST,
        "What was published since the place in Grip-Last comes at the next link, once and in order",
        ask!(gap_is_closed),
    )
    .with(Needs::Publish),
    Check::new(
        "rec.last-event-id",
        Error,
        "WHATWG 9.2.4",
        "A client that comes back by way of the proxy gets what it has missed, once and in order",
        ask!(last_event_id),
    )
    .with(Needs::Publish),
    Check::new(
        "rec.pages",
        Error,
        LAST,
        "A history of 150 events comes whole, however many answers it takes",
        ask!(pages),
    )
    .with(Needs::Publish),
    Check::new(
        "rec.snapshot",
        Error,
        LAST,
        "While events are published, each answer goes on where the one before has ended",
        ask!(snapshot),
    )
    .with(Needs::Publish),
    Check::new(
        "rec.unknown",
        Warning,
        LAST,
        "A place that the origin does not know is told of, not passed over",
        ask!(unknown),
    ),
    Check::new(
        "rec.malformed",
        Warning,
        LAST,
        "A Grip-Last that cannot be read is no error of the server",
        ask!(malformed),
    ),
];

/// Events that a connection has missed, and how they came.
struct Gap {
    words: Vec<String>,
    recovered: Recovered,
    after: Held,
}

/// Asks at a next link until the last of these is there, or it has taken too long.
async fn recovered(
    origin: &Origin,
    before: &Held,
    words: &[String],
) -> Result<(Recovered, Held), Finding> {
    let deadline = Instant::now() + origin.settings.wait;
    loop {
        let mut held = before.clone();
        let recovered = origin.recover(&mut held).await?;
        let last = words.last().map(String::as_str).unwrap_or_default();
        if recovered.events.iter().any(|event| event.data.contains(last))
            || Instant::now() > deadline
        {
            return Ok((recovered, held));
        }
        sleep(PAUSE).await;
    }
}

async fn gap(origin: &Origin) -> Result<Arc<OnceCell<Gap>>, Finding> {
    let shared = origin.shared::<Gap>();
    let make = async || {
        let before = origin.hold().await?;
        let words = origin.publish(FEW, "").await?;
        let (recovered, after) = recovered(origin, &before, &words).await?;
        Ok::<_, Finding>(Gap { words, recovered, after })
    };
    shared.get_or_try_init(make).await?;
    Ok(shared)
}

/// Which of these words are in which events, in the order of the events.
fn found<'a>(words: &'a [String], events: &[Event]) -> Vec<&'a str> {
    let word_of =
        |event: &Event| words.iter().map(String::as_str).find(|word| event.data.contains(word));
    events.iter().filter_map(word_of).collect()
}

/// What is wrong with the events, if it is not each of these words once, in their order.
fn wrong(words: &[String], events: &[Event]) -> Option<String> {
    let found = found(words, events);
    let missing = words.iter().filter(|word| !found.contains(&word.as_str())).count();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let twice = found.len() - sorted.len();
    let all = words.len();
    if missing > 0 {
        Some(format!("{missing} of {all} events are missing"))
    } else if twice > 0 {
        Some(format!("of {all} events {twice} came again"))
    } else if !found.iter().eq(words.iter()) {
        Some(format!("{all} events came in another order"))
    } else {
        None
    }
}

fn judged(origin: &Origin, recovered: &Recovered, fault: Option<String>) -> Finding {
    let finding = Finding::of(fault);
    recovered.answers.iter().take(2).fold(finding, |it, answer| origin.show(it, answer))
}

async fn gap_is_closed(origin: &Origin) -> Judged {
    let shared = gap(origin).await?;
    let Gap { words, recovered, after } = shared.get().expect("it was made");
    if let Some(fault) = wrong(words, &recovered.events) {
        return Ok(judged(origin, recovered, Some(fault)));
    }
    // The new place is behind them.
    let mut after = after.clone();
    let next = origin.recover(&mut after).await?;
    let again = found(words, &next.events).len();
    let fault = format!("{again} events that had come already came again after the next hold");
    Ok(judged(origin, &next, (again > 0).then_some(fault)))
}

/// All that a client gets with this last event ID.
async fn resumed(origin: &Origin, id: &str) -> Result<Recovered, Finding> {
    let ask = origin.signed(origin.ask().with("Last-Event-ID", id));
    let first = origin.get(&origin.target, ask, false).await?;
    let mut recovered = Recovered { events: first.events(), answers: vec![first.clone()] };
    if !first.hold.is_held() && first.hold.link.is_some() {
        let mut held = origin.page_of(&first)?;
        let rest = origin.recover(&mut held).await?;
        recovered.events.extend(rest.events);
        recovered.answers.extend(rest.answers);
    }
    Ok(recovered)
}

/// The id of the event with this word.
fn id_of(events: &[Event], word: &str) -> Result<String, Finding> {
    let event = events.iter().find(|event| event.data.contains(word));
    let id = event.and_then(|event| event.id.clone());
    id.ok_or_else(|| Finding::inconclusive("events have no ids, or did not come; see rec.gap"))
}

async fn last_event_id(origin: &Origin) -> Judged {
    let shared = gap(origin).await?;
    let Gap { words, recovered, .. } = shared.get().expect("it was made");
    let id = id_of(&recovered.events, &words[0])?;
    let got = resumed(origin, &id).await?;
    if !found(&words[..1], &got.events).is_empty() {
        let fault = "the event with the last event ID itself came again".to_owned();
        return Ok(judged(origin, &got, Some(fault)));
    }
    Ok(judged(origin, &got, wrong(&words[1..], &got.events)))
}

async fn pages(origin: &Origin) -> Judged {
    let before = origin.hold().await?;
    let words = origin.publish(MANY, &format!(" {}", "x".repeat(FILLING_LEN))).await?;
    let (by_link, _) = recovered(origin, &before, &words).await?;
    let fault = wrong(&words, &by_link.events);
    if fault.is_some() {
        return Ok(judged(origin, &by_link, fault.map(|it| format!("at next links, {it}"))));
    }
    let Ok(id) = id_of(&by_link.events, &words[0]) else {
        return Ok(Finding::pass_with("events have no ids: only next links were followed"));
    };
    let got = resumed(origin, &id).await?;
    Ok(judged(origin, &got, wrong(&words[1..], &got.events)))
}

async fn snapshot(origin: &Origin) -> Judged {
    let mut held = origin.hold().await?;
    let words: Vec<String> = (0..MEANWHILE).map(|_| origin.word()).collect();
    let publishing = async {
        for word in &words {
            origin.publish_word(word, "").await?;
        }
        Ok::<_, Finding>(())
    };
    let end = OnceLock::new();
    let publishing = async {
        let published = publishing.await;
        // What was published is there by then.
        end.get_or_init(|| Instant::now() + origin.settings.wait);
        published
    };
    let asking = async {
        let mut got = Recovered::default();
        let mut whole = None;
        let is_over = |time: &Instant| Instant::now() > *time;
        while !end.get().is_some_and(is_over) && !whole.as_ref().is_some_and(is_over) {
            let more = origin.recover(&mut held).await?;
            let is_last = |event: &Event| event.data.contains(&words[MEANWHILE - 1]);
            if whole.is_none() && more.events.iter().any(is_last) {
                // What comes again comes at once.
                whole = Some(Instant::now() + 4 * PAUSE);
            }
            let is_news = !more.events.is_empty();
            got.events.extend(more.events);
            if is_news {
                got.answers.extend(more.answers);
            }
        }
        Ok::<_, Finding>(got)
    };
    let (published, got) = tokio::join!(publishing, asking);
    published?;
    let got = got?;
    Ok(judged(origin, &got, wrong(&words, &got.events)))
}

async fn unknown(origin: &Origin) -> Judged {
    let mut held = origin.hold().await?;
    for id in held.last.values_mut() {
        *id = match id.parse::<u64>() {
            Ok(number) => (number + 1_000_003).to_string(),
            Err(_) => "no-such-id".to_owned(),
        };
    }
    let asked = held.last.clone();
    let got = origin.recover(&mut held).await?;
    let is_passed_over =
        got.events.is_empty() && got.answers.last().is_some_and(|answer| answer.hold.is_held());
    let text = format!(
        "with {asked:?} in Grip-Last the body is empty and the connection goes on: what it has \
         missed is lost, and nobody is told"
    );
    Ok(judged(origin, &got, is_passed_over.then_some(text)))
}

async fn malformed(origin: &Origin) -> Judged {
    let held = origin.hold().await?;
    let name = held.last.keys().next().cloned().unwrap_or_default();
    for value in [
        String::new(),
        ";".to_owned(),
        ",,;=".to_owned(),
        format!("{name}; last-id="),
        format!("{name}; last-id=abc"),
        format!("{name}; last-id=-1"),
        format!("{name}; last-id=99999999999999999999999999"),
        "%ff%; last-id=1".to_owned(),
    ] {
        let ask = origin.ask_next(&held).with("Grip-Last", &value);
        let answer = origin.get(&held.link, ask, true).await?;
        if answer.status().is_some_and(|status| status >= 500) {
            let text = format!("{value:?} in Grip-Last is an error of the server");
            return Ok(origin.show(Finding::fault(text), &answer));
        }
    }
    Ok(Finding::pass())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_missing_doubled_or_moved_are_told() {
        let words = ["a1z", "a2z", "a3z"].map(str::to_owned);
        let wrong = |data: &str| {
            let event = |data: &str| Event { kind: String::new(), data: data.into(), id: None };
            wrong(&words, &data.split(' ').map(event).collect::<Vec<_>>())
        };
        assert_eq!(wrong("x a1z a2z other a3z"), None);
        assert!(wrong("a1z a3z").is_some_and(|text| text.starts_with("1 of 3")));
        assert!(wrong("a1z a2z a2z a3z").is_some_and(|text| text.contains("came again")));
        assert!(wrong("a2z a1z a3z").is_some_and(|text| text.contains("another order")));
    }
}
