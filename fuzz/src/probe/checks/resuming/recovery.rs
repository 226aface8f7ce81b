//! The witness's oracle: a subscriber is cut and resumed again and again, and must have got what
//! the witness got.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::events::{PROMPT, is_reset, own_events};
use crate::probe::context::{Probe, after, is_own};
use crate::probe::finding::{Finding, Judged, Ruling};
use crate::probe::settings::Settings;
use crate::wire::tape::{Seen, Tape};

/// How often it is cut, for how long at least, and how often at most until that time is over. With
/// `--thorough` it is as many times more.
const CUTS: usize = 6;
const LASTING: Duration = Duration::from_secs(1);
const MOST: usize = 30;

/// How often there must have been something to catch up on before a pass says something.
const TESTED: usize = 4;

/// How long a client stays away, until there is something that it misses.
const AWAY: Duration = Duration::from_secs(2);

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Closed after a blank line.
    Between,
    /// Reset, when half of an event has been read.
    MidEvent,
    /// Closed, when the next event's id has been read and its blank line has not.
    AfterId,
}

/// What a subscriber has got over all its connections, and how.
#[derive(Clone, Debug, Default)]
struct Recovery {
    got: Vec<Seen>,
    fault: Fault,
    requests: Vec<usize>,
    /// How often there was something to catch up on.
    tested: usize,
    took: Duration,
    /// It was refused by silence.
    is_unanswered: bool,
    /// There was an explicit sign that something is missing.
    reset: bool,
    quiet: bool,
}

/// What is wrong, each as a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fault {
    refused: Option<String>,
    loss: Option<String>,
    duplicate: Option<String>,
    order: Option<String>,
    bytes: Option<String>,
}

impl Fault {
    /// With some cuts everything counts.
    fn any(&self) -> Option<&String> {
        let Self { refused, loss, duplicate, order, bytes: _ } = self;
        refused.as_ref().or(loss.as_ref()).or(duplicate.as_ref()).or(order.as_ref())
    }
}

pub(super) async fn loss(probe: &Probe) -> Judged {
    plain(probe, |fault| fault.refused.as_ref().or(fault.loss.as_ref())).await
}

pub(super) async fn duplicate(probe: &Probe) -> Judged {
    plain(probe, |fault| fault.duplicate.as_ref()).await
}

pub(super) async fn order(probe: &Probe) -> Judged {
    plain(probe, |fault| fault.order.as_ref()).await
}

pub(super) async fn same_bytes(probe: &Probe) -> Judged {
    plain(probe, |fault| fault.bytes.as_ref()).await
}

pub(super) async fn cut_mid_event(probe: &Probe) -> Judged {
    odd_cut(probe, Cut::MidEvent).await
}

pub(super) async fn cut_after_id(probe: &Probe) -> Judged {
    odd_cut(probe, Cut::AfterId).await
}

/// Whether something is known to go wrong with plain cuts.
pub(super) fn is_faulty(probe: &Probe) -> bool {
    probe.shared::<Recovery>().get().is_some_and(|plain| plain.fault != Fault::default())
}

/// Judges one thing about plain cuts, which are made once for all that look at them.
async fn plain(probe: &Probe, fault: fn(&Fault) -> Option<&String>) -> Judged {
    let shared = probe.shared::<Recovery>();
    let made = shared.get_or_try_init(|| async {
        let (recovery, tapes) = run(probe, Cut::Between).await?;
        probe.keep_all(tapes);
        Ok::<_, Finding>(recovery)
    });
    let recovery = made.await?;
    let mut finding = match fault(&recovery.fault) {
        Some(reason) => recovery.fault(reason),
        None => recovery.faultless(&probe.settings),
    };
    if finding.ruling == Ruling::Fault {
        for tape in probe.tapes.lock().expect("no check panics while it holds this").iter().take(4)
        {
            finding = probe.show(finding, tape);
        }
    }
    Ok(probe.show_witness(finding))
}

async fn odd_cut(probe: &Probe, cut: Cut) -> Judged {
    let (recovery, tapes) = run(probe, cut).await?;
    // What goes wrong without these cuts, too, is not theirs.
    let is_own = !is_faulty(probe);
    let mut finding = match recovery.fault.any() {
        Some(reason) if is_own => recovery.fault(reason),
        Some(_) => Finding::inconclusive("it goes wrong with plain cuts already"),
        None => recovery.faultless(&probe.settings),
    };
    for tape in tapes.iter().take(3) {
        finding = probe.show(finding, tape);
    }
    probe.keep_all(tapes);
    Ok(probe.show_witness(finding))
}

impl Recovery {
    fn fault(&self, reason: &String) -> Finding {
        let is_silence = self.is_unanswered && self.fault.refused.as_ref() == Some(reason);
        Finding::fault(reason).of_time_if(is_silence)
    }

    /// What is found where there is no fault.
    fn faultless(&self, settings: &Settings) -> Finding {
        let (events, connections) = (self.got.len(), self.requests.len());
        let rests_on = format!(
            "{events} events over {connections} connections in {:.1} s, with something to catch up \
             on {} times",
            self.took.as_secs_f32(),
            self.tested
        );
        if self.quiet || events < 2 {
            return Finding::inconclusive("too few events came to both to compare");
        }
        let tested = settings.times(TESTED);
        if self.tested < tested || events < settings.times(settings.min_events) {
            return Finding::inconclusive(format!(
                "no fault in {rests_on}, which is too little to say that there is none: {tested} \
                 times and {} events are asked for; publish more, or wait longer (--wait)",
                settings.times(settings.min_events)
            ));
        }
        let reset = if self.reset { "; it was told of gaps" } else { "" };
        Finding::pass_with(format!("{rests_on}{reset}"))
    }
}

async fn run(probe: &Probe, cut: Cut) -> Result<(Recovery, Vec<Tape>), Finding> {
    let mut recovery = Recovery::default();
    let mut tapes = Vec::new();
    let mut id: Option<String> = None;
    let mut random = fastrand::Rng::with_seed(probe.settings.seed);
    let begun = Instant::now();
    let [cuts, most] = [CUTS, MOST].map(|count| probe.settings.times(count));
    let lasting = LASTING * if probe.settings.thorough { 8 } else { 1 };
    for number in 0..=most {
        let is_last = number == most || number >= cuts && begun.elapsed() >= lasting;
        let wanted = if is_last { 2 } else { random.usize(1..4) };
        let ask = match &id {
            Some(id) => probe.ask().with("Last-Event-ID", id),
            None => probe.ask(),
        };
        let mut connection = probe.head(&ask).await?;
        if !connection.tape.is_stream() {
            let status = connection.tape.status();
            let text = match status {
                Some(status) => format!("resuming after {id:?} is answered with {status}"),
                None => format!("resuming after {id:?} is not answered"),
            };
            recovery.fault.refused = Some(text);
            recovery.is_unanswered = connection.tape.is_unanswered();
            tapes.push(connection.close());
            break;
        }
        // What is read beyond a cut, is read in order to know where to cut.
        let beyond = usize::from(cut != Cut::Between);
        let count = |tape: &Tape| tape.events.iter().filter(|event| is_own(event)).count();
        let patience = PROMPT + probe.settings.wait.min(Duration::from_secs(3));
        connection.until(after(patience), |tape| count(tape) >= wanted + beyond).await;
        let events = connection.tape.events.clone();
        recovery.reset |= connection.tape.events.iter().any(is_reset);
        let mut own: Vec<Seen> = events.iter().filter(|event| is_own(event)).cloned().collect();
        if own.is_empty() && connection.tape.end.is_none() {
            recovery.quiet = true;
        }
        match cut {
            // All that has been read counts.
            Cut::Between => {}
            Cut::MidEvent | Cut::AfterId => drop(own.pop()),
        }
        if cut == Cut::Between {
            id = connection.tape.last_id().map(str::to_owned).or(id);
        } else if let Some(last) = own.last() {
            id = Some(last.last_id.clone());
        }
        recovery.got.extend(own);
        let seen = count(&probe.witness.tape());
        recovery.requests.push(events.len());
        tapes.push(match cut {
            Cut::MidEvent => connection.reset(),
            Cut::Between | Cut::AfterId => connection.leave().await,
        });
        if is_last || recovery.quiet {
            break;
        }
        // There should be something to miss meanwhile.
        let missed = random.usize(1..4);
        let has = |tape: &Tape, missed| count(tape) >= seen + missed;
        let pause = probe.settings.wait.min(AWAY);
        probe.witness.until(after(pause), |tape| has(tape, missed)).await;
        recovery.tested += usize::from(has(&probe.witness.tape(), 1));
    }
    recovery.took = begun.elapsed();
    // What both have, the witness must have got before the last comparison.
    if let Some(last) = recovery.got.last().and_then(|event| event.id.clone()) {
        let has = |tape: &Tape| tape.events.iter().any(|event| event.id.as_ref() == Some(&last));
        probe.witness.until(after(PROMPT), has).await;
    }
    let truth = own_events(&probe.witness.tape());
    let refused = recovery.fault.refused.take();
    recovery.fault = compare(&truth, &recovery.got, recovery.reset);
    recovery.fault.refused = refused;
    Ok((recovery, tapes))
}

/// Compares from the first id that both have to the last one.
fn compare(truth: &[Seen], got: &[Seen], was_told: bool) -> Fault {
    let place: BTreeMap<&str, usize> = truth
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(at, event)| Some((event.id.as_deref()?, at)))
        .collect();
    let mut fault = Fault::default();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut highest: Option<(usize, &str)> = None;
    let mut range: Option<(usize, usize)> = None;
    for event in got {
        let Some(id) = event.id.as_deref() else { continue };
        let count = times.entry(id).or_default();
        *count += 1;
        if *count > 1 {
            fault.duplicate.get_or_insert_with(|| format!("the event {id:?} came twice"));
        }
        let Some(&at) = place.get(id) else { continue };
        let original = &truth[at];
        if (&original.event, &original.data) != (&event.event, &event.data) {
            fault.bytes.get_or_insert_with(|| {
                format!(
                    "{id:?} was {:?} {:?} for the witness, and {:?} {:?} when resuming",
                    original.event, original.data, event.event, event.data
                )
            });
        }
        if *count == 1 {
            match highest {
                Some((before, other)) if before > at => {
                    fault.order.get_or_insert_with(|| format!("{id:?} came after {other:?}"));
                }
                _ => highest = Some((at, id)),
            }
        }
        range = Some(range.map_or((at, at), |(low, high)| (low.min(at), high.max(at))));
    }
    if let Some((low, high)) = range
        && !was_told
    {
        let lost = truth[low..=high].iter().filter_map(|event| event.id.as_deref());
        let lost: Vec<&str> = lost.filter(|id| !times.contains_key(id)).collect();
        if let Some(first) = lost.first() {
            let text = format!("{} events were lost, the first is {first:?}", lost.len());
            fault.loss = Some(text);
        }
    }
    fault
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Fault, compare};
    use crate::wire::tape::Seen;

    fn events(ids: &[&str]) -> Vec<Seen> {
        let event = |id: &&str| Seen {
            at: Duration::ZERO,
            event: "message".to_owned(),
            data: format!("data of {id}"),
            id: Some((*id).to_owned()),
            last_id: (*id).to_owned(),
        };
        ids.iter().map(event).collect()
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let truth = events(&["1", "2", "3", "4", "5", "6"]);
        let kinds = |got: &[&str]| {
            let Fault { loss, duplicate, order, bytes, refused: _ } =
                compare(&truth, &events(got), false);
            [loss, duplicate, order, bytes].map(|fault| fault.is_some())
        };
        assert_eq!(kinds(&["2", "3", "4"]), [false; 4]);
        // What came before or after the time of both cannot be known.
        assert_eq!(kinds(&["0", "1", "2", "7"]), [false; 4]);
        assert_eq!(kinds(&["2", "4"]), [true, false, false, false]);
        assert_eq!(kinds(&["2", "2", "3"]), [false, true, false, false]);
        assert_eq!(kinds(&["2", "4", "3"]), [false, false, true, false]);
        let mut other = events(&["2", "3"]);
        other[1].data = "other".to_owned();
        assert!(compare(&truth, &other, false).bytes.is_some());
        assert!(compare(&truth, &events(&["2", "4"]), true).loss.is_none(), "it was told");
    }
}
