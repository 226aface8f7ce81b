//! One run: puts an origin to the checks, one after the other, and never takes longer than it may.

use tokio::time::{Instant, timeout_at};

use super::check::{Check, Needs, Run};
use super::checks::{self, checks};
use super::origin::{Origin, PATIENCE};
use super::settings::Settings;
use crate::command;
use crate::probe::Report;
use crate::probe::Target;
use crate::probe::again;
use crate::probe::finding::Finding;
use crate::probe::outcome::Outcome;
use crate::probe::secrets::Secrets;

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
    command::chosen(checks(), names, |check: &Check| check.id()).map_err(RunError::NoCheck)
}

/// Asks one origin, and tells each outcome as it comes.
///
/// # Errors
///
/// If there is no such check. That an origin cannot be reached is in the report.
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
    let deadline = Instant::now() + settings.deadline;
    let mut report = Report::new("grip", &target, "grip".to_owned());
    let origin = Origin::new(target, settings);
    if let Err(problem) = reach(&origin).await {
        report.problem = Some(problem);
        return Ok(report);
    }
    let is_look = |check: &&Check| matches!(check.run, Run::Look(_)) || check.id() == "hld.size";
    // Those that look at what there is have their turn when all of it is there.
    let (looking, asking): (Vec<_>, Vec<_>) = chosen.iter().partition(is_look);
    for check in asking.into_iter().chain(looking) {
        let start = Instant::now();
        let mut finding = match unasked(&origin.settings, check) {
            Some(finding) => finding,
            None => judge(&origin, check, deadline).await,
        };
        if again::is_late(&finding) {
            finding = again::after_both(finding, judge(&origin, check, deadline).await);
        }
        let secrets = secrets(&origin);
        let outcome = Outcome::new(check.about(), finding, start.elapsed(), &secrets);
        tell(&outcome);
        report.checks.push(outcome);
    }
    let place = |outcome: &Outcome| chosen.iter().position(|check| check.id() == outcome.id);
    report.checks.sort_by_key(place);
    report.count();
    Ok(report)
}

async fn judge(origin: &Origin, check: &Check, deadline: Instant) -> Finding {
    match timeout_at(deadline, checks::judge(origin, check)).await {
        Ok(finding) => finding,
        Err(_) => Finding::inconclusive("the time for the whole run was over (--deadline)"),
    }
}

/// Whether anything answers there.
async fn reach(origin: &Origin) -> Result<(), String> {
    use crate::wire::connection::Connection;
    let shown = origin.target.shown();
    let opened = Connection::open(&origin.target, origin.ask().bytes()).await;
    let mut connection = opened.map_err(|error| format!("{shown} cannot be reached: {error}"))?;
    if connection.read_head(Instant::now() + 2 * PATIENCE).await {
        return Ok(());
    }
    Err(format!("{shown} does not answer"))
}

/// Words that no report may have: links of private streams are as good as their credentials.
fn secrets(origin: &Origin) -> Secrets {
    let Settings { headers, second_headers, publish, .. } = &origin.settings;
    let headers = headers.iter().chain(second_headers);
    let mut secrets = Secrets::of(&origin.target, headers, publish.as_ref());
    origin.tokens().iter().for_each(|token| secrets.add(token));
    secrets
}

/// Why a check is not even begun.
fn unasked(settings: &Settings, check: &Check) -> Option<Finding> {
    let reason = match check.needs() {
        Needs::Publish if settings.publish.is_none() => {
            "there is no way to publish; give --publish or --publish-url"
        }
        Needs::Issuer if !settings.signer.has_issuer() => {
            "it is not known in whose name the proxy signs; give --issuer"
        }
        Needs::PublicKey if !settings.signer.has_public() => {
            "the origin's key is not known to be public; give --public-key"
        }
        Needs::SecondUser if settings.second_headers.is_empty() => {
            "there is no second user; give --second-header"
        }
        _ => return None,
    };
    Some(Finding::skip(reason))
}
