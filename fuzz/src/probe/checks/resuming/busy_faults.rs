//! Compares what many readers got with what was published.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::events::{number, numbered};
use crate::probe::finding::Finding;
use crate::wire::tape::{Seen, Tape};

/// An event that was published.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) word: String,
    pub(super) begun: Instant,
    pub(super) done: Instant,
    pub(super) is_accepted: bool,
}

/// A subscriber, over all its connections.
#[derive(Debug)]
pub(super) struct Reader {
    /// What is published from then on, is for it.
    pub(super) since: Instant,
    /// It was told that something is missing.
    pub(super) is_told: bool,
    pub(super) tapes: Vec<Tape>,
    /// What it was told on its last connection, if that was no stream.
    pub(super) refused: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// Those that are there all the time.
    pub(super) steady: Vec<Reader>,
    /// Those that connect meanwhile.
    pub(super) late: Vec<Reader>,
    /// Those that are cut again and again.
    pub(super) cut: Vec<Reader>,
}

/// A fault, and where it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    text: String,
    reader: usize,
    /// Among all events of the reader.
    event: usize,
    /// Something did not come in time.
    is_of_time: bool,
}

/// What is wrong, each with the first reader to whom it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    loss: Option<Fault>,
    duplicate: Option<Fault>,
    order: Option<Fault>,
    connect_loss: Option<Fault>,
    resume_loss: Option<Fault>,
    resume_duplicate: Option<Fault>,
}

/// How many events are shown before and after a fault.
const BEFORE: usize = 5;
const AFTER: usize = 6;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Loss,
    Duplicate,
    Order,
    ConnectLoss,
    ResumeLoss,
    ResumeDuplicate,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Loss,
        Self::Duplicate,
        Self::Order,
        Self::ConnectLoss,
        Self::ResumeLoss,
        Self::ResumeDuplicate,
    ];

    /// Whether it happens to readers that are cut and resume.
    pub(super) const fn is_resuming(self) -> bool {
        matches!(self, Self::ResumeLoss | Self::ResumeDuplicate)
    }
}

impl Faults {
    const fn get(&self, kind: Kind) -> Option<&Fault> {
        match kind {
            Kind::Loss => self.loss.as_ref(),
            Kind::Duplicate => self.duplicate.as_ref(),
            Kind::Order => self.order.as_ref(),
            Kind::ConnectLoss => self.connect_loss.as_ref(),
            Kind::ResumeLoss => self.resume_loss.as_ref(),
            Kind::ResumeDuplicate => self.resume_duplicate.as_ref(),
        }
    }

    /// What a check finds.
    pub(super) fn of(&self, kind: Kind) -> Option<Finding> {
        self.get(kind).map(|fault| Finding::fault(&*fault.text).of_time_if(fault.is_of_time))
    }

    /// For each fault, the part of the connections in which it can be seen.
    pub(super) fn places(&self, readers: &Readers) -> Vec<(Kind, Vec<Tape>)> {
        let place = |kind: Kind| {
            let fault = self.get(kind)?;
            let readers = match kind {
                Kind::ConnectLoss => &readers.late,
                Kind::ResumeLoss | Kind::ResumeDuplicate => &readers.cut,
                Kind::Loss | Kind::Duplicate | Kind::Order => &readers.steady,
            };
            Some((kind, part(readers.get(fault.reader)?, fault.event)))
        };
        Kind::ALL.into_iter().filter_map(place).collect()
    }
}

/// The events around one, each connection by itself.
fn part(reader: &Reader, event: usize) -> Vec<Tape> {
    let (from, to) = (event.saturating_sub(BEFORE), event + AFTER);
    let mut begin = 0;
    let mut parts = Vec::new();
    for tape in &reader.tapes {
        let end = begin + tape.events.len();
        let is_near = begin < to && end > from || tape.events.is_empty() && begin == event;
        if is_near && parts.len() < 5 {
            let mut part = Tape::new(tape.request.clone());
            part.head = tape.head.clone();
            let events = from.saturating_sub(begin)..(to.min(end) - begin);
            part.events = tape.events.get(events).unwrap_or_default().to_vec();
            part.total = tape.total;
            part.end.clone_from(&tape.end);
            parts.push(part);
        }
        begin = end;
    }
    parts
}

/// The words of a reader's events, with the event's place.
fn words<'a>(reader: &'a Reader, sent: &BTreeMap<&str, usize>) -> Vec<(usize, usize, &'a Seen)> {
    let events = reader.tapes.iter().flat_map(|tape| &tape.events).enumerate();
    let mut words = Vec::new();
    for (at, event) in events {
        let parts = event.data.split(|char: char| !char.is_ascii_alphanumeric());
        let found = parts.flat_map(apart).filter_map(|word| sent.get(word));
        words.extend(found.map(|sent| (at, *sent, event)));
    }
    words
}

/// Words that stand together: a server may put several texts into one event, or put each into
/// quotes. The probe's own words end with the `z` after the `q`.
fn apart(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begin = 0;
    let mut has_number = false;
    for (at, char) in text.char_indices() {
        has_number |= char == 'q';
        if char == 'z' && has_number {
            words.push(&text[begin..=at]);
            (begin, has_number) = (at + 1, false);
        }
    }
    if begin < text.len() {
        words.push(&text[begin..]);
    }
    words
}

/// A name by which an event can be found again: its id if it has one.
fn name(event: &Seen) -> &str {
    event.id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&event.data)
}

pub(super) fn judge(sent: &[Sent], readers: &Readers) -> Faults {
    let Readers { steady, late, cut } = readers;
    let places: BTreeMap<&str, usize> =
        sent.iter().enumerate().map(|(at, sent)| (sent.word.as_str(), at)).collect();
    let mut names: BTreeMap<usize, &str> = BTreeMap::new();
    for reader in steady.iter().chain(late).chain(cut) {
        for (_, at, event) in words(reader, &places) {
            names.entry(at).or_insert_with(|| name(event));
        }
    }
    let mut faults = Faults::default();
    let mut note = |place: fn(&mut Faults) -> &mut Option<Fault>, reader: usize, event, text| {
        place(&mut faults).get_or_insert(Fault { text, reader, event, is_of_time: false });
    };
    let all = sent.len();
    for (index, reader) in steady.iter().enumerate() {
        let got = words(reader, &places);
        let who = format!("one of {} readers", steady.len());
        if let Some((count, event, text)) = lost(reader, &got, sent, &names) {
            let text = format!("{count} of {all} events never came to {who}: {text}");
            note(|faults| &mut faults.loss, index, event, text);
        }
        if let Some((count, event, text)) = repeated(&got) {
            let text = format!("{count} times an event came again to {who}: {text}");
            note(|faults| &mut faults.duplicate, index, event, text);
        }
        if let Some((event, text)) = disordered(&got, sent).or_else(|| backwards(&got)) {
            note(|faults| &mut faults.order, index, event, text);
        }
    }
    for (index, reader) in late.iter().enumerate() {
        let got = words(reader, &places);
        if let Some((count, event, text)) = lost(reader, &got, sent, &names) {
            let text = format!(
                "{count} of {all} events, published after a reader had got its head, never came to \
                 it: {text}"
            );
            note(|faults| &mut faults.connect_loss, index, event, text);
        }
    }
    for (index, reader) in cut.iter().enumerate() {
        let got = words(reader, &places);
        let over = format!("over {} connections", reader.tapes.len());
        if let Some((count, event, text)) = lost(reader, &got, sent, &names) {
            let text = format!("{count} of {all} events were lost {over}: {text}");
            note(|faults| &mut faults.resume_loss, index, event, text);
        }
        if let Some((count, event, text)) = repeated(&got) {
            let text = format!("{count} times an event came again {over}: {text}");
            note(|faults| &mut faults.resume_duplicate, index, event, text);
        }
    }
    for (reader, told) in cut.iter().enumerate() {
        if let Some(text) = told.refused.clone() {
            let event = told.tapes.iter().map(|tape| tape.events.len()).sum();
            let is_of_time = told.tapes.last().is_some_and(Tape::is_unanswered);
            faults.resume_loss.get_or_insert(Fault { text, reader, event, is_of_time });
        }
    }
    if faults.order.is_none() {
        faults.order = differing(steady, &places);
    }
    faults
}

/// An id without its number.
fn frame(id: &str) -> Option<String> {
    numbered(id, "")
}

/// The first id that is lower than one before: a client that is cut off in between resumes too
/// late.
fn backwards(got: &[(usize, usize, &Seen)]) -> Option<(usize, String)> {
    let mut seen = BTreeSet::new();
    let got = got.iter().filter(|(_, at, _)| seen.insert(*at));
    let counted: Option<Vec<(usize, u64, &str)>> = got
        .map(|(event, _, seen)| {
            let id = seen.id.as_deref()?;
            Some((*event, number(id)?, id))
        })
        .collect();
    let counted = counted?;
    // They are counted only if nothing but the number differs, and no number is there twice.
    let frames: BTreeSet<_> = counted.iter().map(|(_, _, id)| frame(id)).collect();
    let numbers: BTreeSet<u64> = counted.iter().map(|(_, number, _)| *number).collect();
    if frames.len() != 1 || numbers.len() != counted.len() {
        return None;
    }
    let steps = || counted.windows(2).filter(|pair| pair[1].1 < pair[0].1);
    let pair = steps().next()?;
    let count = steps().count();
    let text =
        format!("{count} times an id went back: {:?} came before {:?}", pair[0].2, pair[1].2);
    Some((pair[1].0, text))
}

/// What was accepted, and has not come, although something has that was published later.
fn lost(
    reader: &Reader,
    got: &[(usize, usize, &Seen)],
    sent: &[Sent],
    names: &BTreeMap<usize, &str>,
) -> Option<(usize, usize, String)> {
    if reader.is_told {
        return None;
    }
    let has: BTreeSet<usize> = got.iter().map(|(_, at, _)| *at).collect();
    let newest = has.iter().map(|at| sent[*at].begun).max()?;
    let is_lost = |at: &usize| {
        let sent = &sent[*at];
        sent.is_accepted && sent.begun > reader.since && sent.done < newest && !has.contains(at)
    };
    let lost: Vec<usize> = (0..sent.len()).filter(is_lost).collect();
    let first = *lost.first()?;
    // Where it should have come: before the first that was published after it.
    let next = got.iter().find(|(_, at, _)| sent[*at].begun > sent[first].done);
    let (event, before) = next.map_or((0, ""), |(at, _, event)| (*at, name(event)));
    let text = match names.get(&first) {
        Some(name) => format!("the first is {name:?}, which others got; {before:?} came"),
        None => format!("the first is {:?}; {before:?}, published later, came", sent[first].word),
    };
    Some((lost.len(), event, text))
}

fn repeated(got: &[(usize, usize, &Seen)]) -> Option<(usize, usize, String)> {
    let mut seen = BTreeSet::new();
    let again: Vec<_> = got.iter().filter(|(_, at, _)| !seen.insert(*at)).collect();
    let (event, _, first) = again.first()?;
    Some((again.len(), *event, format!("the first is {:?}", name(first))))
}

/// The first event that came before one which had been accepted before it was published.
fn disordered(got: &[(usize, usize, &Seen)], sent: &[Sent]) -> Option<(usize, String)> {
    let mut seen = BTreeSet::new();
    let mut newest: Option<(Instant, &Seen)> = None;
    for (event, at, now) in got {
        if !seen.insert(*at) {
            continue;
        }
        if let Some((begun, other)) = newest
            && sent[*at].is_accepted
            && sent[*at].done < begun
        {
            let (other, now) = (name(other), name(now));
            let text = format!("{other:?} came before {now:?}, which had been accepted before");
            return Some((*event, text));
        }
        let begun = sent[*at].begun;
        if newest.is_none_or(|(before, _)| before < begun) {
            newest = Some((begun, now));
        }
    }
    None
}

/// Two readers to which the same events with ids came in different orders. A client that resumes
/// after one of them misses in one order what it gets twice in the other.
fn differing(steady: &[Reader], places: &BTreeMap<&str, usize>) -> Option<Fault> {
    let firsts = |reader: &Reader| {
        let mut seen = BTreeSet::new();
        let mut got = words(reader, places);
        got.retain(|(_, at, event)| event.id.is_some() && seen.insert(*at));
        got.iter().map(|(event, at, seen)| (*event, *at, name(seen).to_owned())).collect::<Vec<_>>()
    };
    let model = firsts(steady.first()?);
    let rank: BTreeMap<usize, usize> =
        model.iter().enumerate().map(|(rank, (_, at, _))| (*at, rank)).collect();
    for (index, reader) in steady.iter().enumerate().skip(1) {
        let mut highest: Option<(usize, String)> = None;
        for (event, at, name) in firsts(reader) {
            let Some(&rank) = rank.get(&at) else { continue };
            match &highest {
                Some((before, other)) if *before > rank => {
                    let text = format!(
                        "{other:?} came before {name:?} to reader {}, and after it to the first",
                        index + 1
                    );
                    return Some(Fault { text, reader: index, event, is_of_time: false });
                }
                _ => highest = Some((rank, name)),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Faults, Kind, Reader, Readers, Sent, apart, judge};
    use crate::wire::tape::Tape;

    /// Publications a second apart, `a` to `f`, and `1` to `3`. Those that are named
    /// in `together` take long enough to overlap with the next, and so do the numbers.
    fn sent(start: Instant, together: &str) -> Vec<Sent> {
        let words = ["a", "b", "c", "d", "e", "f", "1", "2", "3"];
        let time = |at: usize| start + Duration::from_secs(1 + at as u64);
        let made = words.iter().enumerate().map(|(at, word)| {
            let length = match word.parse::<u8>() {
                Ok(_) => 2500,
                Err(_) if together.contains(word) => 1500,
                Err(_) => 500,
            };
            let done = time(at) + Duration::from_millis(length);
            Sent { word: (*word).to_owned(), begun: time(at), done, is_accepted: true }
        });
        made.collect()
    }

    /// A reader's connections: a word for each, a letter for each event.
    fn reader(since: Instant, got: &str) -> Reader {
        let tapes = got.split(' ').map(|letters| {
            let mut tape = Tape::new(b"GET / HTTP/1.1\r\n\r\n".to_vec());
            for letter in letters.chars() {
                let event = format!("id: {letter}\ndata: {letter}\n\n");
                tape.decode(event.as_bytes(), Duration::ZERO);
            }
            tape
        });
        Reader { since, is_told: false, tapes: tapes.collect(), refused: None }
    }

    fn found(steady: &[&str], late: &[&str], cut: &[&str]) -> Vec<Kind> {
        let start = Instant::now();
        let readers = |all: &[&str]| all.iter().map(|got| reader(start, got)).collect::<Vec<_>>();
        let readers = Readers { steady: readers(steady), late: readers(late), cut: readers(cut) };
        let faults = judge(&sent(start, "cd"), &readers);
        // What is found can be shown.
        for (_, tapes) in faults.places(&readers) {
            assert!(tapes.iter().any(|tape| !tape.events.is_empty()));
        }
        Kind::ALL.into_iter().filter(|kind| faults.get(*kind).is_some()).collect()
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        for (steady, cut, expected) in [
            (&["abcdef", "abcdef"][..], &["abc def"][..], &[][..]),
            // At the same time there are two orders; but one for all.
            (&["abdcef", "abdcef"], &[], &[]),
            (&["abdcef", "abcdef"], &[], &[Kind::Order]),
            (&["abcdef", "bacdef"], &[], &[Kind::Order]),
            (&["abcdef", "abdef"], &[], &[Kind::Loss]),
            // What is still on its way cannot be known.
            (&["abcde"], &["ab"], &[]),
            (&["abcdecdef"], &[], &[Kind::Duplicate]),
            (&["abcdef"], &["abc ef"], &[Kind::ResumeLoss]),
            (&["abcdef"], &["abc cdef"], &[Kind::ResumeDuplicate]),
        ] {
            assert_eq!(found(steady, &[], cut), expected, "{steady:?} {cut:?}");
        }
        assert_eq!(found(&["abcdef"], &["abcef"], &[]), [Kind::ConnectLoss]);
    }

    #[test]
    fn words_are_found_in_quotes_and_where_several_stand_together() {
        assert_eq!(apart("z1fq7z"), ["z1fq7z"]);
        assert_eq!(apart("z1fq7zz1fq8z"), ["z1fq7z", "z1fq8z"]);
        let start = Instant::now();
        let sent = sent(start, "");
        for (texts, expected) in [(&["\"a\"", "b c", "d"][..], None), (&["\"a\"", "c"], Some(()))] {
            let mut tape = Tape::new(Vec::new());
            for text in texts {
                tape.decode(format!("data: {text}\n\n").as_bytes(), Duration::ZERO);
            }
            let steady =
                vec![Reader { since: start, is_told: false, tapes: vec![tape], refused: None }];
            let faults = judge(&sent, &Readers { steady, ..Readers::default() });
            assert_eq!(faults.loss.map(drop), expected, "{texts:?}");
        }
    }

    #[test]
    fn counted_ids_must_not_go_back_even_for_all_readers_alike() {
        let start = Instant::now();
        let since = start + Duration::from_millis(6500);
        let order = |got: &[&str]| {
            let steady = got.iter().map(|got| reader(since, got)).collect();
            judge(&sent(start, ""), &Readers { steady, ..Readers::default() }).order
        };
        assert_eq!(order(&["123", "123"]), None);
        assert!(order(&["213", "213"]).is_some_and(|fault| fault.text.contains("went back")));
    }

    #[test]
    fn who_came_later_or_was_told_has_lost_nothing() {
        let start = Instant::now();
        let one = |reader| Readers { steady: vec![reader], ..Readers::default() };
        let sent = sent(start, "");
        let late = reader(start + Duration::from_millis(2500), "cdef");
        assert_eq!(judge(&sent, &one(late)), Faults::default());
        let mut told = reader(start, "abf");
        told.is_told = true;
        assert_eq!(judge(&sent, &one(told)), Faults::default());
        let mut refused = sent.clone();
        refused[2].is_accepted = false;
        assert_eq!(judge(&refused, &one(reader(start, "abdef"))), Faults::default());
    }
}
