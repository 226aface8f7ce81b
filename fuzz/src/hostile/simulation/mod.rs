//! The suite put to the test: clients with one fault each go through every case, in simulated
//! time, and are blamed for what they get wrong and for nothing else. What cannot be seen here is
//! how real clients behave on real sockets; `cargo xtask honest` and the tests of the program are
//! for that.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::enum_glob_use,
    clippy::format_push_string,
    clippy::struct_excessive_bools,
    clippy::too_many_lines,
    reason = "clients as people write them"
)]

mod client;
mod faults;
mod parser;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use client::Client;
use faults::{Fault, Row, TABLE, UNTRIED};
use parser::Parser;

use super::answer::Stage;
use super::blame::{Judged, blame_once};
use super::case::{Act, Case, Check};
use super::catalogue;
use super::certificate::Certificate;
use super::judge::{Judgement, Memory, Observation, is_settled, is_wrong, judge};
use super::record::{Addresses, Record};
use crate::verdict::Verdict;

/// Floods, and what may be kept of them, are so many times smaller than they are.
const SCALE: usize = 64;

/// How often is looked, and how long nothing new means that nothing more comes.
const TICK: Duration = Duration::from_millis(200);
const QUIET: Duration = Duration::from_millis(300);

struct Seen {
    case: Case,
    judgement: Judgement,
}

impl Judged for Seen {
    fn case(&self) -> &Case {
        &self.case
    }

    fn judgement(&mut self) -> &mut Judgement {
        &mut self.judgement
    }

    fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }
}

/// The same case with less in it.
fn scaled(mut case: Case) -> Case {
    for act in case.scripts.iter_mut().flat_map(|script| &mut script.0) {
        match act {
            Act::Flood { unit, total } => {
                let len = unit.len() as u64;
                *total = (*total / SCALE as u64).div_ceil(len) * len;
            }
            Act::Ids(count) => *count /= 1000,
            _ => {}
        }
    }
    for check in case.checks.iter_mut().chain(&mut case.advice) {
        match check {
            Check::Memory(most) => *most /= SCALE as u64,
            Check::Events(events) => {
                for event in events {
                    let len = event.data.len();
                    if len > 64 << 10 {
                        event.data.truncate(len / SCALE);
                    }
                    if event.id.as_deref() == Some("1000000") {
                        event.id = Some("1000".to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    case
}

fn stage(cases: Vec<Case>) -> Arc<Stage> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let addresses = Addresses { main: address(1), other: address(2), secure: address(3) };
    Arc::new(Stage {
        record: Arc::new(Record::new(addresses, cases)),
        certificate: Certificate::new(Ipv4Addr::LOCALHOST.into()).expect("a certificate"),
    })
}

async fn observe(fault: Fault, stage: &Arc<Stage>, case: &Case) -> Observation {
    let run = format!("{fault:?}");
    let record = &stage.record;
    let url = record.url(record.origin(case.id()), case.id(), "", &run);
    let mut client = Client { fault, stage, case, parser: Parser::new(fault) };
    let printed = Rc::clone(&client.parser.printed);
    let now = |exit| Observation {
        requests: record.requests(case.id(), &run),
        printed: printed.borrow().clone(),
        memory: None,
        exit,
    };
    let watching = async {
        let (mut count, mut changed, start) = (0, Duration::ZERO, Instant::now());
        // As long as anything can matter.
        let most = case.deadline.max(case.watch + Duration::from_secs(4));
        while start.elapsed() < most {
            sleep(TICK).await;
            let seen = now(None);
            if count != seen.requests.len() + seen.printed.len() {
                count = seen.requests.len() + seen.printed.len();
                changed = start.elapsed();
            }
            let is_quiet = start.elapsed().saturating_sub(changed) >= QUIET;
            if is_settled(case, &seen, start.elapsed(), is_quiet) {
                break;
            }
        }
    };
    let exit = tokio::select! {
        code = client.run(&url) => {
            // The server notices that it has gone.
            sleep(QUIET).await;
            Some(Some(code))
        }
        () = watching => None,
    };
    let memory = Some(Memory { before: 0, peak: client.parser.peak as u64 });
    Observation { memory, ..now(exit) }
}

/// What came of a row: what is wrong with it, and the cases that went wrong, whosever the fault.
#[derive(Default)]
struct Rows {
    wrong: Vec<String>,
    failed: BTreeSet<String>,
}

async fn all_cases(fault: Fault, stage: &Arc<Stage>, cases: &[Case]) -> Vec<Seen> {
    let mut all = Vec::new();
    for case in cases.iter().cloned() {
        let seen = observe(fault, stage, &case).await;
        let judgement = judge(&case, &seen);
        all.push(Seen { case, judgement });
    }
    all
}

fn with(all: &[Seen], verdict: Verdict) -> Vec<&str> {
    let all = all.iter().filter(|seen| seen.judgement.verdict == verdict);
    all.map(|seen| seen.case.id()).collect()
}

/// Runs rows of the table.
fn check(rows: &[Row]) -> Rows {
    let mut found = Rows::default();
    let cases: Vec<_> = catalogue::cases().into_iter().map(scaled).collect();
    let stage = stage(cases.clone());
    for &(fault, fails, warns) in rows {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().expect("a runtime");
        let mut all = runtime.block_on(all_cases(fault, &stage, &cases));
        let failed = [with(&all, Verdict::Fail), with(&all, Verdict::Warn)].concat();
        found.failed.extend(failed.into_iter().map(ToOwned::to_owned));
        blame_once(&mut all);
        let (failed, warned) = (with(&all, Verdict::Fail), with(&all, Verdict::Warn));
        if failed == fails && warned == warns {
            continue;
        }
        found.wrong.push(format!("({fault:?}, &{failed:?}, &{warned:?}),"));
        let expected = [fails, warns].concat();
        for Seen { case, judgement } in &all {
            let is_blamed = is_wrong(judgement.verdict);
            if is_blamed != expected.contains(&case.id()) {
                found.wrong.push(format!("    {}: {judgement:#?}", case.id()));
            }
        }
    }
    found
}

#[test]
fn a_case_blames_a_client_for_its_own_fault_and_for_no_other() {
    let (first, second) = TABLE.split_at(TABLE.len() / 2);
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| check(second));
        (check(first), second.join().expect("no client panics"))
    });
    let mut wrong = [first.wrong, second.wrong].concat();
    wrong.sort_by_key(|line| line.starts_with(' '));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ids = catalogue::cases().into_iter().map(|case| case.id().to_owned());
    let idle: Vec<_> =
        ids.filter(|id| !first.failed.union(&second.failed).any(|it| it == id)).collect();
    assert_eq!(idle, UNTRIED, "cases that no client of the table fails");
}
