//! What a reader that was there all the time never got, and nobody else either.
//!
//! No other reader shows it. There are two witnesses. What was published and accepted must come:
//! that is proof. Ids that count by one and then leave one out are a sign only, for they may count
//! what is not for this stream: other channels, events of other users, rows that were taken back.
//! A hole is a fault only if the server itself has an event for it when it is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::events::{PROMPT, is_reset, number, numbered};
use crate::probe::context::{Probe, Pulse, after, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::probe::lines::lines;
use crate::wire::tape::{Seen, Tape};

/// So many steps from id to id, or so many accepted events, must be without a hole before that says
/// something: of faults that are as rare as one in a hundred, two of three are found then. With
/// `--thorough` it is as many times more.
const ENOUGH: usize = 100;

/// Ids count by one if so many of a hundred steps are by one.
const DENSE: usize = 90;

/// How long what is published may be on its way, and how much of it may be at a time.
const CALM: Duration = Duration::from_secs(3);
const RECENT: usize = 50;

/// How many holes are asked for again.
const ASKED: usize = 3;

/// How probable it may be that a hole which is a loss has spared all that was published here.
const CHANCE: f64 = 0.05;

/// Where ids leave out numbers.
#[derive(Clone, Copy, Debug)]
struct Hole<'a> {
    before: &'a Seen,
    after: &'a Seen,
}

/// How ids count.
#[derive(Debug, Default)]
struct Steps<'a> {
    ones: usize,
    holes: Vec<Hole<'a>>,
}

impl<'a> Steps<'a> {
    /// From event to event. Ids of keep-alives, and of blocks without data, are ids too: `named`
    /// has them all.
    fn of(events: &'a [Seen], named: &BTreeSet<String>) -> Self {
        let mut steps = Self::default();
        let mut last: BTreeMap<String, (u64, &Seen)> = BTreeMap::new();
        let mut is_used_twice = false;
        for event in events {
            let Some((frame, number)) = counted(event) else { continue };
            if let Some((before, other)) = last.get(&frame).copied() {
                // What came again, or late, is for other checks.
                let Some(step @ 1..) = number.checked_sub(before) else {
                    is_used_twice |= number == before && event.data != other.data;
                    continue;
                };
                // An event that has the id of the one before has left its own out.
                let is_explained = std::mem::take(&mut is_used_twice);
                if step == 1 || is_explained || named.contains(&previous(event, number)) {
                    steps.ones += 1;
                } else {
                    steps.holes.push(Hole { before: other, after: event });
                }
            }
            last.insert(frame, (number, event));
        }
        steps
    }

    fn count(&self) -> usize {
        self.ones + self.holes.len()
    }

    fn are_dense(&self) -> bool {
        self.ones > 0 && self.ones * 100 >= self.count() * DENSE
    }
}

impl Hole<'_> {
    /// Whether an id has the form of the ids here, and a number that is left out.
    fn has(&self, id: &str) -> bool {
        let (Some((frame, low)), Some((_, high))) = (counted(self.before), counted(self.after))
        else {
            return false;
        };
        let is_between = |number| number > low && number < high;
        numbered(id, "") == Some(frame) && number(id).is_some_and(is_between)
    }
}

/// An id without its number, and the number.
fn counted(event: &Seen) -> Option<(String, u64)> {
    let id = event.id.as_deref()?;
    Some((numbered(id, "")?, number(id)?))
}

/// The id that would come before an event's own, whose number is above 0.
fn previous(event: &Seen, own: u64) -> String {
    let id = event.id.as_deref().unwrap_or_default();
    numbered(id, &(own - 1).to_string()).unwrap_or_default()
}

/// All ids that a stream has named, those of blocks without data as well.
fn named(tape: &Tape) -> BTreeSet<String> {
    let lines = lines(&tape.body).into_iter().map(|line| line.field());
    let ids = lines.filter(|(name, _)| *name == b"id");
    let ids = ids.map(|(_, id)| String::from_utf8_lossy(id).into_owned());
    ids.chain(tape.events.iter().filter_map(|event| event.id.clone())).collect()
}

/// Of what was accepted while the reader was there, what never came, although something did that
/// was published when it had been accepted: how much was accepted in that time, and what is
/// missing.
fn unheard(accepted: &[Pulse], events: &[Seen]) -> (usize, Vec<String>) {
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    let has = |pulse: &Pulse| data.iter().any(|data| data.contains(&pulse.word));
    let (came, others): (Vec<_>, Vec<_>) = accepted.iter().partition(|pulse| has(pulse));
    let first = came.iter().map(|pulse| pulse.done).min();
    let Some((first, last)) = first.zip(came.iter().map(|pulse| pulse.begun).max()) else {
        return (0, Vec::new());
    };
    let missing = others.iter().filter(|pulse| pulse.begun > first && pulse.done < last);
    let missing: Vec<_> = missing.map(|pulse| pulse.word.clone()).collect();
    (came.len() + missing.len(), missing)
}

/// Whether the events' own numbers go on where the ids leave one out: then nothing is missing.
fn data_goes_on(events: &[Seen], holes: &[Hole<'_>]) -> bool {
    let step =
        |before: &Seen, after: &Seen| number(&after.data)?.checked_sub(number(&before.data)?);
    let is_one = |pair: &[Seen]| step(&pair[0], &pair[1]) == Some(1);
    let ones = events.windows(2).filter(|pair| is_one(pair)).count();
    ones * 100 >= events.len().saturating_sub(1) * DENSE
        && holes.iter().all(|hole| step(hole.before, hole.after) == Some(1))
}

pub(super) async fn judge(probe: &Probe) -> Judged {
    let enough = probe.settings.times(ENOUGH);
    let deadline = probe.witness.start() + probe.settings.wait;
    let count = |tape: &Tape| tape.events.iter().filter(|event| is_own(event)).count();
    probe.witness.until(deadline, |tape| count(tape) > enough || tape.end.is_some()).await;
    // What is on its way may still come.
    let accepted = probe.accepted();
    let all = |tape: &Tape| {
        let has = |word: &str| tape.events.iter().any(|event| event.data.contains(word));
        accepted.iter().rev().take(RECENT).all(|pulse| has(&pulse.word))
    };
    probe.witness.until(after(CALM), |tape| tape.end.is_some() || all(tape)).await;
    let (events, named) = {
        let tape = probe.witness.tape();
        (tape.events.clone(), named(&tape))
    };
    if events.iter().any(is_reset) {
        return Ok(Finding::inconclusive("the stream itself said that something is missing"));
    }
    let own: Vec<Seen> = events.iter().filter(|event| is_own(event)).cloned().collect();
    let steps = Steps::of(&own, &named);
    let (accepted, missing) = unheard(&accepted, &events);
    if let Some(first) = missing.first() {
        return Ok(unheard_of(probe, first, missing.len(), accepted));
    }
    let finding = match steps.holes.as_slice() {
        [] if accepted >= enough => {
            Finding::pass_with(format!("all of {accepted} accepted events came"))
        }
        [] if steps.are_dense() && steps.ones >= enough => {
            Finding::pass_with(format!("{} steps from id to id, none with a hole", steps.ones))
        }
        [] if steps.are_dense() => too_few(steps.ones.max(accepted), enough),
        holes if !steps.are_dense() => uncounted(accepted, holes.len(), enough),
        holes => {
            if is_told_apart(accepted, own.len(), holes.len()) {
                Finding::pass_with(format!(
                    "the ids have {} holes, but all of {accepted} accepted events came: they count \
                     other things, too",
                    holes.len()
                ))
            } else if data_goes_on(&own, holes) {
                Finding::pass_with(format!(
                    "the ids have {} holes, and the numbers in the data go on: nothing is missing",
                    holes.len()
                ))
            } else {
                asked_again(probe, &steps).await?
            }
        }
    };
    Ok(probe.show_witness(finding))
}

/// Whether holes that are losses would have hit what was published here, almost for certain.
fn is_told_apart(accepted: usize, events: usize, holes: usize) -> bool {
    let [accepted, events] =
        [accepted, events].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let share = f64::from(accepted.min(events)) / f64::from(events.max(1));
    (1.0 - share).powi(i32::try_from(holes).unwrap_or(i32::MAX)) <= CHANCE
}

/// What was accepted never came.
fn unheard_of(probe: &Probe, first: &str, count: usize, accepted: usize) -> Finding {
    let text = format!(
        "{count} of {accepted} accepted events never came to a reader that was there all the time, \
         though later ones did: the first had the data {first:?}"
    );
    if count * 2 > accepted {
        let text = format!("{text}; so many that it may be meant: does the stream show all?");
        return probe.show_witness(Finding::inconclusive(text));
    }
    probe.show_witness(Finding::fault(text))
}

fn too_few(seen: usize, enough: usize) -> Finding {
    Finding::inconclusive(format!(
        "no hole in {seen} events; it takes {enough} to say that there is none: publish \
         (--publish, --publish-url), or wait longer (--wait)"
    ))
}

/// Where ids do not count by one, only what was published tells.
fn uncounted(accepted: usize, holes: usize, enough: usize) -> Finding {
    if accepted >= enough {
        return Finding::pass_with(format!("all of {accepted} accepted events came"));
    }
    let how = if holes > 0 { "do not count by one" } else { "have no number that counts" };
    Finding::inconclusive(format!(
        "the ids {how}, so only what is published shows a hole, and {accepted} of {enough} events \
         were: publish (--publish, --publish-url), or wait longer (--wait)"
    ))
}

/// Asks for what should come after the id before a hole.
async fn asked_again(probe: &Probe, steps: &Steps<'_>) -> Judged {
    let holes = &steps.holes;
    for hole in holes.iter().rev().take(ASKED) {
        let before = &hole.before.last_id;
        let mut connection = probe.resume(before).await?;
        connection.until(after(PROMPT), |tape| tape.events.iter().any(is_own)).await;
        let ids = connection.tape.events.iter().filter_map(|event| event.id.clone());
        let found: Vec<String> = ids.filter(|id| hole.has(id)).collect();
        let tape = connection.close();
        let Some(id) = found.first() else {
            probe.keep(tape);
            continue;
        };
        // It may have been late.
        let has = |tape: &Tape| tape.events.iter().any(|event| event.id.as_ref() == Some(id));
        if probe.witness.until(after(PROMPT), has).await {
            continue;
        }
        let text = format!(
            "a reader that was there all the time got {:?} after {before:?}; resumed after \
             {before:?}, another gets {id:?}, which the first never got",
            hole.after.last_id
        );
        return Ok(probe.show(Finding::fault(text), &tape));
    }
    let first = &holes[0];
    Ok(Finding::warn(format!(
        "ids count by one, but for {} of {} steps, as from {:?} to {:?}, and nobody gets what is \
         between: an event that is lost for all, or an id of something else; publish (--publish, \
         --publish-url) to have it told",
        holes.len(),
        steps.count(),
        first.before.last_id,
        first.after.last_id
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Pulse, Steps, data_goes_on, is_told_apart, unheard};
    use crate::wire::tape::Seen;

    fn event(id: &str, data: &str) -> Seen {
        Seen {
            at: Duration::ZERO,
            event: "message".to_owned(),
            data: data.to_owned(),
            id: Some(id.to_owned()),
            last_id: id.to_owned(),
        }
    }

    /// How many steps by one, and how many holes.
    fn steps(ids: &[&str], named: &[&str]) -> (usize, usize) {
        let events: Vec<Seen> = ids.iter().map(|id| event(id, "x")).collect();
        let named: BTreeSet<String> = named.iter().map(|id| (*id).to_owned()).collect();
        let steps = Steps::of(&events, &named);
        (steps.ones, steps.holes.len())
    }

    #[test]
    fn a_number_that_is_left_out_is_a_hole_and_what_came_late_or_twice_is_not() {
        assert_eq!(steps(&["t:1", "t:2", "t:4", "t:5"], &[]), (2, 1));
        assert_eq!(steps(&["t:1", "t:2", "t:4", "t:3", "t:5"], &["t:3"]), (3, 0));
        assert_eq!(steps(&["t:1", "t:1", "t:2"], &[]), (1, 0));
        let twice = [("t:1", "a"), ("t:2", "b"), ("t:2", "c"), ("t:4", "d")];
        let twice = twice.map(|(id, data)| event(id, data));
        assert!(Steps::of(&twice, &BTreeSet::new()).holes.is_empty(), "fmt.id-unique");
        assert_eq!(steps(&["t:2", "t:4"], &["t:3"]), (1, 0), "a block without data has it");
        assert_eq!(steps(&["a:1", "b:7", "a:2", "b:8"], &[]), (2, 0), "each channel counts");
        assert_eq!(steps(&["a:1,b:7", "a:1,b:8", "a:2,b:8"], &[]), (1, 0));
        assert_eq!(steps(&["1700-0", "1800-0", "one"], &[]), (0, 0));
    }

    #[test]
    fn only_what_was_followed_by_something_published_later_is_missing() {
        let start = Instant::now();
        let accepted = |length: u64| {
            let pulse = |(at, word): (u64, &str)| {
                let begun = start + Duration::from_secs(at);
                Pulse { word: word.to_owned(), begun, done: begun + Duration::from_millis(length) }
            };
            let words = ["early", "a", "b", "c", "late"];
            (0..).zip(words).map(pulse).collect::<Vec<_>>()
        };
        let events = ["a", "c"].map(|word| event("1", &format!("data {word}")));
        assert_eq!(unheard(&accepted(900), &events), (3, vec!["b".to_owned()]));
        assert_eq!(unheard(&accepted(1100), &events).1, [""; 0], "the order is the server's");
        assert_eq!(unheard(&accepted(900), &[event("1", "other")]), (0, Vec::new()));
    }

    #[test]
    fn holes_are_innocent_only_if_losses_would_have_hit_what_was_published() {
        assert!(is_told_apart(100, 100, 1), "nothing else was published");
        assert!(!is_told_apart(50, 100, 1), "it may have been another's");
        assert!(is_told_apart(50, 100, 5));
        assert!(!is_told_apart(0, 100, 50));
    }

    #[test]
    fn numbers_in_the_data_tell_that_an_id_belongs_to_something_else() {
        let judged = |data: [&str; 4]| {
            let ids = ["1", "2", "4", "5"];
            let events: Vec<Seen> =
                ids.iter().zip(data).map(|(id, data)| event(id, data)).collect();
            let steps = Steps::of(&events, &BTreeSet::new());
            assert!(steps.holes[0].has("3") && !steps.holes[0].has("4"));
            data_goes_on(&events, &steps.holes)
        };
        assert!(judged(["tick 1", "tick 2", "tick 3", "tick 4"]));
        assert!(!judged(["tick 1", "tick 2", "tick 4", "tick 5"]));
        assert!(!judged(["x", "x", "x", "x"]));
    }
}
