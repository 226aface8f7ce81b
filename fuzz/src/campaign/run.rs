//! A campaign: draws cases, plays them, and looks after each whether the server is well.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::case::Case;
use super::generate::{self, Known};
use super::reproducer::Reproducer;
use super::shrink::shrink;
use super::subject::{Fault, Kind, Subject};
use crate::probe::Hook;
use crate::wire::target::Target;
use crate::wire::witness::Witness;

/// How many cases before the one that shows it may have been needed.
const RECENT: usize = 8;

/// How many cases since the witness got something are suspected if it gets no more: the first ones.
const SUSPECTS: usize = 64;

/// How many ids of the witness are taken up.
const IDS: usize = 16;

/// What to do, and how much of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Headers for every request. Default: none.
    pub headers: Vec<(String, String)>,
    /// How to publish, so that the witness has something to get. Default: not at all.
    pub publish: Option<Hook>,
    /// How to start the server, and to start it again when it is dead. Default: it runs, and comes
    /// back by itself if it does.
    pub start: Option<Vec<String>>,
    /// The same seed makes the same cases. Default: 1.
    pub seed: u64,
    /// How many cases there are at most. Each is followed by a plain request. Default: 1000.
    pub cases: u64,
    /// How long all of it may take. Default: 60 s.
    pub time: Duration,
    /// How long an answer may take. Longer is more certain on slow servers. Default: 3 s.
    pub patience: Duration,
    /// How long it is looked at the witness in the beginning. Default: 2 s.
    pub warm_up: Duration,
    /// How long a finding may be made smaller. Default: 20 s.
    pub shrinking: Duration,
    /// Where the files of the findings go. Default: nowhere.
    pub folder: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            publish: None,
            start: None,
            seed: 1,
            cases: 1000,
            time: Duration::from_mins(1),
            patience: Duration::from_secs(3),
            warm_up: Duration::from_secs(2),
            shrinking: Duration::from_secs(20),
            folder: None,
        }
    }
}

/// One bucket.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What to play to see it.
    pub reproducer: Reproducer,
    /// Whether it was seen again.
    pub is_confirmed: bool,
    /// How often something like it came.
    pub count: u64,
    /// Its file.
    pub file: Option<PathBuf>,
}

/// What came of a campaign.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The server's stream, without secrets.
    pub url: String,
    /// What the cases were drawn from.
    pub seed: u64,
    /// How many there were.
    pub cases: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Why it has ended early, or could not begin.
    pub problem: Option<String>,
}

impl Report {
    /// How many findings were seen again.
    pub fn confirmed(&self) -> usize {
        self.findings.iter().filter(|finding| finding.is_confirmed).count()
    }
}

/// Runs a campaign, and tells each new finding and, now and then, how many cases there have been.
/// What there is so far is in `report` at any time, for a caller that ends it early.
pub async fn run(
    target: Target,
    settings: &Settings,
    report: &std::sync::Mutex<Report>,
    mut tell: impl FnMut(&Finding),
) {
    let deadline = Instant::now() + settings.time;
    let lock = || report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *lock() = Report { url: target.shown(), seed: settings.seed, ..Report::default() };
    let fail = |problem: String| lock().problem = Some(problem);
    let mut subject = Subject::new(target, settings.headers.clone(), settings.patience);
    subject.hook = settings.publish.clone();
    subject.start = settings.start.clone();
    if let Err(problem) = subject.begin().await {
        return fail(problem);
    }
    let Some(mut witness) = subject.witness().await else {
        return fail("the stream was there, and is there no more".to_owned());
    };
    let warm = Instant::now() + settings.warm_up;
    while Instant::now() < warm && witness.tape().marks.len() < 20 {
        let after = witness.tape().total;
        subject.is_heard(&witness, after, warm - Instant::now()).await;
    }
    subject.learn_silence(&witness);

    let mut recent: VecDeque<Case> = VecDeque::new();
    // What the witness gets may have been on its way already: some of the cases before are among
    // these.
    let mut suspected: Vec<Case> = Vec::new();
    let mut heard = (witness.tape().total, Instant::now());
    for number in 0..settings.cases {
        if Instant::now() >= deadline {
            break;
        }
        let ids = ids(&witness);
        let known = Known { target: &subject.target, ids: &ids };
        let case = generate::case(settings.seed, number, &known);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(case.clone());
        if suspected.len() < SUSPECTS {
            suspected.push(case.clone());
        }
        lock().cases = number + 1;
        let played = subject.play(&case).await.err();
        let total = witness.tape().total;
        if total > heard.0 {
            heard = (total, Instant::now());
            suspected = recent.iter().cloned().collect();
        }
        let is_last = number + 1 == settings.cases;
        let Some(fault) = look(&subject, &witness, played, heard, is_last).await else { continue };
        // Only this case can have done it, so only this case is played again.
        let suspects = match fault.kind {
            Kind::WitnessStarved => std::mem::take(&mut suspected),
            _ => vec![case],
        };
        let is_known = {
            let mut report = lock();
            let bucket = report.findings.iter_mut().find(|one| explains(one, &fault, &suspects));
            bucket.map(|finding| finding.count += 1).is_some()
        };
        if !is_known {
            let limit = deadline.max(Instant::now() + settings.shrinking / 4);
            let limit = limit.min(Instant::now() + settings.shrinking);
            let finding = examine(&mut subject, &fault, suspects, &recent, limit, settings).await;
            let mut report = lock();
            let same = |one: &&mut Finding| {
                one.reproducer.kind == finding.reproducer.kind
                    && one.reproducer.parts() == finding.reproducer.parts()
            };
            if let Some(one) = report.findings.iter_mut().find(same) {
                one.count += 1;
            } else {
                tell(&finding);
                report.findings.push(finding);
            }
        }
        recent.clear();
        suspected.clear();
        if !subject.revive().await {
            return fail(
                "the server does not answer any more, and does not come back; \
                 with --start it is started again"
                    .to_owned(),
            );
        }
        match subject.witness().await {
            Some(new) => witness = new,
            None => return fail("the server does not let the witness in again".to_owned()),
        }
        subject.is_served(&witness).await;
        heard = (witness.tape().total, Instant::now());
    }
}

/// What is wrong after a case: with the server, with the witness, or with the answer, the gravest
/// first.
async fn look(
    subject: &Subject,
    witness: &Witness,
    played: Option<Fault>,
    heard: (u64, Instant),
    is_last: bool,
) -> Option<Fault> {
    if !subject.is_alive().await {
        return Some(Fault::new(Kind::Dead, "it does not answer the plain request any more"));
    }
    if witness.tape().end.is_some() {
        return Some(Fault::new(Kind::WitnessCut, "a reader that did nothing wrong was cut"));
    }
    // In the end there is time to wait for what comes, or does not.
    let within = if is_last {
        subject.silence.min(Duration::from_secs(5)).saturating_sub(heard.1.elapsed())
    } else {
        Duration::ZERO
    };
    let is_due = heard.1.elapsed() + within >= subject.silence;
    if is_due && !subject.is_heard(witness, heard.0, within.max(Duration::from_millis(200))).await {
        let silence = subject.silence.as_secs_f32();
        let reason = format!("a reader that did nothing wrong got nothing for {silence:.1} s");
        return Some(Fault::new(Kind::WitnessStarved, reason));
    }
    played
}

/// Whether a bucket is for this, too: the same went wrong, and its oddities are among these.
fn explains(finding: &Finding, fault: &Fault, suspects: &[Case]) -> bool {
    let parts = finding.reproducer.parts();
    finding.reproducer.kind == fault.kind
        && finding.is_confirmed
        && finding.reproducer.reason == fault.reason
        && suspects.iter().any(|case| case.parts().is_superset(&parts))
}

/// Plays it again, makes it smaller, and writes it down.
async fn examine(
    subject: &mut Subject,
    fault: &Fault,
    suspects: Vec<Case>,
    recent: &VecDeque<Case>,
    deadline: Instant,
    settings: &Settings,
) -> Finding {
    let mut suspects = suspects;
    let mut is_confirmed = subject.shows(fault.kind, &suspects).await;
    if !is_confirmed && suspects.len() < recent.len() {
        // What came before may have been needed.
        suspects = recent.iter().cloned().collect();
        is_confirmed = subject.shows(fault.kind, &suspects).await;
    }
    let mut is_minimal = false;
    if is_confirmed {
        (suspects, is_minimal) = shrink(subject, fault.kind, suspects, deadline).await;
    }
    let reproducer = Reproducer {
        url: subject.target.shown(),
        kind: fault.kind,
        reason: fault.reason.clone(),
        cases: suspects,
        is_minimal,
    };
    let file = settings.folder.as_ref().and_then(|folder| reproducer.write(folder).ok());
    Finding { reproducer, is_confirmed, count: 1, file }
}

/// The newest ids that the witness has got.
fn ids(witness: &Witness) -> Vec<String> {
    let tape = witness.tape();
    let newest = tape.events.iter().rev().filter_map(|event| event.id.clone());
    newest.filter(|id| !id.is_empty()).take(IDS).collect()
}
