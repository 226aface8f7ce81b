//! One run: connects, puts the server to the checks, and never takes longer than it may.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::again;
use super::ask::Ask;
use super::check::{Basis, Check, Needs, Turn};
use super::checks::{self, checks};
use super::context::{Hop, Probe, after};
use super::finding::{Finding, Ruling};
use super::outcome::Outcome;
use super::publish::Fields;
use super::report::Report;
use super::secrets::Secrets;
use super::settings::{Profile, Settings};
use crate::command;
use crate::verdict::Verdict;
use crate::wire::connection::Connection;
use crate::wire::tape::{End, Tape};
use crate::wire::target::Target;
use crate::wire::witness::Witness;

/// How many checks run at once, where that does not matter to them.
const AT_ONCE: usize = 6;

/// How many, when they are asked again: less disturbed.
const CALMLY: usize = 3;

/// Checks that look at how requests are read, which a proxy does before it passes them on.
const READ_BY_PROXY: [&str; 6] =
    ["rob.framing", "rob.headers", "rob.h2", "rob.half-close", "rob.pipelined", "rob.slowloris"];

/// How many redirects are followed, as browsers do.
const MAX_HOPS: usize = 20;

/// How long the first answer's head may take.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// After so long, something is published for a head that may wait for it.
const PATIENCE: Duration = Duration::from_millis(1200);

/// How often the probe publishes, if it can.
const PULSE: Duration = Duration::from_millis(60);

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A name on the command line.
    #[error(
        "there is no check or section {0:?}; --list shows them, and a URL begins with http:// or \
         https://"
    )]
    NoCheck(String),
}

/// Which checks the names mean; all checks without a name.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Check>, RunError> {
    command::chosen(checks(), names, Check::id).map_err(RunError::NoCheck)
}

/// Probes one server, and tells each outcome as it comes.
///
/// # Errors
///
/// If there is no such check. That a server cannot be reached is in the report.
///
/// # Panics
///
/// If a check does, which is a bug.
pub async fn run(
    target: Target,
    settings: Settings,
    mut tell: impl FnMut(&Outcome),
) -> Result<Report, RunError> {
    let chosen = chosen(&settings.checks)?;
    let deadline = after(settings.deadline);
    let headers = settings.headers.iter().chain(&settings.second_headers);
    let secrets = Secrets::of(&target, headers, settings.publish.as_ref());
    let mut report = Report::new("probe", &target, settings.profile.word());
    let reached = match reach(target, settings).await {
        Ok(reached) => reached,
        Err(problem) => {
            report.problem = Some(problem);
            return Ok(report);
        }
    };
    let is_stream = reached.connection.tape.is_stream();
    if !is_stream {
        report.problem = Some(no_stream(&reached.connection.tape));
    }
    let probe = reached.probe();
    let mut done = |check: &Check, finding: Finding, took: Duration| {
        let outcome = Outcome::new(check.about(), finding, took, &secrets);
        tell(&outcome);
        report.checks.push(outcome);
    };

    let mut asked = Vec::new();
    for check in &chosen {
        match unasked(&probe, check, is_stream) {
            Some(finding) => done(check, finding, Duration::ZERO),
            None => asked.push(check.clone()),
        }
    }
    let is_last = |check: &Check| check.turn == Turn::Last;
    let (last, asked): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_last);
    let mut late = Vec::new();
    round(&probe, asked, AT_ONCE, deadline, |check, finding, took| {
        if again::is_due(&probe.settings, &check, &finding) {
            late.push((check, finding, took));
        } else {
            done(&check, finding, took);
        }
    })
    .await;
    // The next ones may do harm, so what was late is asked again before.
    for (check, finding, took) in second_look(&probe, late, deadline).await {
        done(&check, finding, took);
    }
    for check in &last {
        let start = Instant::now();
        let finding = judge(&probe, check, deadline).await;
        let finding = if again::is_due(&probe.settings, check, &finding) {
            at_once_again(&probe, check, finding, deadline).await
        } else {
            finding
        };
        done(check, finding, start.elapsed());
    }
    let place = |outcome: &Outcome| chosen.iter().position(|check| check.id() == outcome.id);
    report.checks.sort_by_key(place);
    report.count();
    Ok(report)
}

/// Puts the server to checks that do no harm, each in its turn, while something is published.
async fn round(
    probe: &Arc<Probe>,
    checks: Vec<Check>,
    at_once: usize,
    deadline: Instant,
    mut done: impl FnMut(Check, Finding, Duration),
) {
    let (alone, others): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| check.turn == Turn::Alone);
    let (gathered, together): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|check| check.turn == Turn::Gathered);
    let _pulse = Pulse::start(probe);
    for check in alone {
        let start = Instant::now();
        let finding = judge(probe, &check, deadline).await;
        done(check, finding, start.elapsed());
    }
    let slots = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for check in together {
        let (probe, slots) = (Arc::clone(probe), Arc::clone(&slots));
        running.spawn(async move {
            let _slot = slots.acquire().await.expect("it is never closed");
            let start = Instant::now();
            let finding = judge(&probe, &check, deadline).await;
            (check, finding, start.elapsed())
        });
    }
    while let Some(joined) = running.join_next().await {
        let (check, finding, took) = joined.expect("no check panics, and none is aborted");
        done(check, finding, took);
    }
    if !gathered.is_empty() {
        // What there is to see, has come by now, or does not come in time.
        let enough = probe.settings.min_events;
        drop(timeout_at(deadline, probe.lively(enough)).await);
    }
    for check in gathered {
        let start = Instant::now();
        let finding = judge(probe, &check, deadline).await;
        done(check, finding, start.elapsed());
    }
}

/// Asks again, with a witness and connections of its own, what was late.
async fn second_look(
    probe: &Probe,
    mut late: Vec<(Check, Finding, Duration)>,
    deadline: Instant,
) -> Vec<(Check, Finding, Duration)> {
    if late.is_empty() {
        return late;
    }
    let another = match reach(probe.target.clone(), probe.settings.clone()).await {
        Ok(reached) if reached.connection.tape.is_stream() => reached.probe(),
        other => {
            let problem = other.map_or_else(|problem| problem, |it| no_stream(&it.connection.tape));
            let told = late
                .into_iter()
                .map(|(check, first, took)| (check, again::without_another(first, &problem), took));
            return told.collect();
        }
    };
    let checks = late.iter().map(|(check, ..)| check.clone()).collect();
    let mut both = Vec::new();
    round(&another, checks, CALMLY, deadline, |check, second, took| {
        let place = late.iter().position(|(first, ..)| first.id() == check.id());
        let (_, first, before) = late.swap_remove(place.expect("it was asked before"));
        both.push((check, again::after_both(first, second), before + took));
    })
    .await;
    both
}

/// Asks again what may do harm, before the next one does. A stream may have been broken by it.
async fn at_once_again(probe: &Probe, check: &Check, first: Finding, deadline: Instant) -> Finding {
    if probe.hook().is_some() && !probe.watch_anew().await {
        return again::without_another(first, "nothing comes on a new one");
    }
    again::after_both(first, judge(probe, check, deadline).await)
}

/// Why a check is not even begun.
fn unasked(probe: &Probe, check: &Check, is_stream: bool) -> Option<Finding> {
    let settings = &probe.settings;
    let reason = match check.needs() {
        Needs::SecondUser if settings.second_headers.is_empty() => {
            "there is no second user; give --second-header"
        }
        Needs::Publish if settings.publish.is_none() => {
            "there is no way to publish; give --publish or --publish-url"
        }
        _ if check.is_aggressive() && !settings.aggressive => "only with --aggressive",
        Needs::Tls if !probe.target.is_https() => "the URL is not one with https",
        Needs::Process if settings.pid.is_none() => "the server's process is not known; give --pid",
        _ if check.is_resuming && settings.profile == Profile::Llm => {
            "answers of language models are not resumed"
        }
        _ if check.basis == Basis::Requests && settings.body.is_some() => {
            "a POST is not repeated without need"
        }
        _ if check.basis != Basis::Answer && !is_stream => "the answer is no event stream",
        _ if check.is_named_only && !settings.checks.iter().any(|name| name == check.id()) => {
            "it ends the server, so it runs only if it is named"
        }
        _ => return None,
    };
    Some(Finding::skip(reason))
}

async fn judge(probe: &Probe, check: &Check, deadline: Instant) -> Finding {
    match timeout_at(deadline, checks::judge(probe, check)).await {
        Ok(finding) => of_proxy(probe, check, finding),
        Err(_) => Finding::inconclusive("the time for the whole run was over (--deadline)"),
    }
}

/// What a proxy does with requests is no fault of the server behind it.
fn of_proxy(probe: &Probe, check: &Check, finding: Finding) -> Finding {
    let is_told =
        matches!(finding.ruling, Ruling::Fault | Ruling::Is(Verdict::Fail | Verdict::Warn));
    if !probe.is(Profile::Grip) || !is_told || !READ_BY_PROXY.contains(&check.id()) {
        return finding;
    }
    let reason = format!("{}; it is the proxy that reads requests", finding.reason);
    Finding { ruling: Ruling::Is(Verdict::Info), reason, ..finding }
}

/// Why there is nothing to probe.
fn no_stream(tape: &Tape) -> String {
    match &tape.head {
        Some(head) if head.status != 200 => format!("the answer's status is {}", head.status),
        Some(head) => format!("the answer's media type is {:?}", head.essence()),
        None => "there was no answer".to_owned(),
    }
}

/// Where the way to the stream has ended.
struct Reached {
    target: Target,
    settings: Settings,
    connection: Connection,
    hops: Vec<Hop>,
    head_waits: bool,
}

impl Reached {
    fn probe(self) -> Arc<Probe> {
        let Self { target, settings, connection, hops, head_waits } = self;
        Arc::new(Probe::new(target, settings, Witness::of(connection), hops, head_waits))
    }
}

/// Connects, by way of redirects, and reads the head. The settings are those for where it leads.
async fn reach(mut target: Target, mut settings: Settings) -> Result<Reached, String> {
    let mut hops = Vec::new();
    loop {
        let ask = Ask::stream(&target, &settings);
        let opened = Connection::open(&target, ask.bytes()).await;
        let mut connection =
            opened.map_err(|error| format!("{} cannot be reached: {error}", target.shown()))?;
        let (is_there, waits) = first_head(&mut connection, &settings).await;
        if !is_there {
            let seen = connection.close();
            return Err(match seen.end {
                Some((_, End::Malformed(what))) => {
                    format!("{} does not speak HTTP/1.1: {what}", target.shown())
                }
                Some(_) => format!("{} closes the connection unanswered", target.shown()),
                None => format!("{} has not answered within 10 s", target.shown()),
            });
        }
        let head = connection.tape.head.as_ref().expect("it has been read");
        let status = head.status;
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(Reached { target, settings, connection, hops, head_waits: waits });
        }
        let to = head.header("location").and_then(|location| target.join(&location));
        let is_downgrade = to.as_ref().is_some_and(|to| target.is_https() && !to.is_https());
        hops.push(Hop { status, to: to.as_ref().map(Target::shown), is_downgrade });
        let Some(to) = to.filter(|_| !is_downgrade && hops.len() < MAX_HOPS) else {
            return Ok(Reached { target, settings, connection, hops, head_waits: waits });
        };
        if to.authority() != target.authority() || to.is_https() != target.is_https() {
            // As a client must: secrets are for the server that they were given for.
            settings.headers.clear();
            settings.second_headers.clear();
        }
        target = to;
    }
}

/// Reads the first answer's head. Some servers send it only with the first event, so there is to be
/// one, if that can be. Whether the head is there, and whether heads wait for that.
async fn first_head(connection: &mut Connection, settings: &Settings) -> (bool, bool) {
    let deadline = after(FIRST_HEAD);
    if connection.read_head(after(PATIENCE)).await {
        return (true, false);
    }
    let Some(hook) = &settings.publish else {
        return (connection.read_head(deadline).await, false);
    };
    let fields = Fields::default().with("data", "a first event").with("event", "message");
    let (is_there, _) = tokio::join!(connection.read_head(deadline), hook.publish(&fields));
    (is_there, is_there)
}

/// Publishes all the while, so that there is something to be seen.
struct Pulse(Option<AbortHandle>);

impl Pulse {
    fn start(probe: &Arc<Probe>) -> Self {
        if probe.hook().is_none() {
            return Self(None);
        }
        let probe = Arc::clone(probe);
        let task = tokio::spawn(async move {
            loop {
                // If it fails, the checks that need it say so.
                drop(probe.publish_pulse().await);
                sleep(PULSE).await;
            }
        });
        Self(Some(task.abort_handle()))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
