//! `sse-fuzz hostile`, seen from outside: it passes clients that are right, and fails each that
//! does one thing wrong for exactly that.
//!
//! The clients are processes, since their memory is looked at: this test binary, started again.

mod client;
#[path = "../../examples/native.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod native;

use std::collections::BTreeSet;
use std::env;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use client::{Fault, Task};
use serde_json::Value;

/// Starts this binary as a client, with what to do in the environment.
#[test]
#[ignore = "a client for the other tests"]
fn a_client() {
    let value = |name: &str| env::var(name).unwrap_or_default();
    let fault = value("HOSTILE_FAULT");
    if let Some(transport) = fault.strip_prefix("native") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let idle = Duration::from_secs(3);
        let [url, header] = ["HOSTILE_URL", "HOSTILE_HEADER"].map(value);
        let [method, body] = ["HOSTILE_METHOD", "HOSTILE_BODY"].map(value);
        let authority = value("HOSTILE_CA");
        let request = native::Request {
            url: &url,
            header: &header,
            method: &method,
            body: &body,
            authority: Some(authority.as_str()),
            over_hyper: transport == "-hyper",
        };
        let run = native::run(&request, idle);
        let result = runtime.expect("a runtime").block_on(run);
        if let Err(error) = &result {
            eprintln!("{error}");
        }
        std::process::exit(i32::from(result.is_err()));
    }
    let task = Task {
        url: value("HOSTILE_URL"),
        method: value("HOSTILE_METHOD"),
        header: value("HOSTILE_HEADER"),
        body: value("HOSTILE_BODY"),
        authority: value("HOSTILE_CA"),
    };
    let fault = match fault.strip_suffix("AtFirst") {
        Some(_) if task.url.contains("run=again") => Fault::None,
        Some(fault) => Fault::named(fault),
        None => Fault::named(&fault),
    };
    if task.url.contains("/h2.") && fault != Fault::Http1 {
        client::http2::run(&task, fault);
    }
    client::run(&task, fault);
}

fn hostile(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
    command.arg("hostile").args(args).output().expect("cargo has built it")
}

/// How many cases run at once where clients wait most of the time.
const WAITING: &str = "16";

/// How many, where floods keep them busy: alone, and beside cases that wait.
const FLOODED: &str = "8";
const BESIDE: &str = "4";

/// What came of it: the exit code, and the ids by verdict.
type Checked = (Option<i32>, Vec<(String, String)>);

/// Runs a client through cases, those with floods beside the others.
fn check(fault: &str, cases: &[&str]) -> Checked {
    if !cases.is_empty() {
        let is_flooded = cases.iter().any(|case| case.starts_with("limit"));
        let jobs = if is_flooded { FLOODED } else { WAITING };
        return check_these(fault, cases, &["--once", "--jobs", jobs]);
    }
    let all = sse_fuzz::hostile::cases();
    let ids = all.iter().map(sse_fuzz::hostile::Case::id);
    let (floods, others): (Vec<_>, Vec<_>) = ids.partition(|id| id.starts_with("limit."));
    let (floods, others) = thread::scope(|scope| {
        let floods = scope.spawn(|| check_these(fault, &floods, &["--once", "--jobs", BESIDE]));
        let others = check_these(fault, &others, &["--once", "--jobs", WAITING]);
        (floods.join().expect("a report"), others)
    });
    // The codes are 0 where all is well.
    (floods.0.max(others.0), [floods.1, others.1].concat())
}

fn check_these(fault: &str, cases: &[&str], pace: &[&str]) -> Checked {
    let me = env::current_exe().expect("it runs");
    let command = format!(
        "env HOSTILE_FAULT={fault} HOSTILE_URL={{url}} 'HOSTILE_HEADER={{header}}' \
         HOSTILE_CA={{ca}} HOSTILE_METHOD={{method}} 'HOSTILE_BODY={{body}}' '{}' a_client --exact \
         --ignored --nocapture",
        me.display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    let file = json.to_str().expect("UTF-8");
    let output =
        hostile(&[&["--strict", "--check", &command, "--json", file], pace, cases].concat());
    let report = std::fs::read(&json).unwrap_or_else(|_| panic!("a report: {output:?}"));
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let cases = report["cases"].as_array().expect("a list").iter().map(|case| {
        let text = |name: &str| case[name].as_str().expect("a text").to_owned();
        let verdict = text("verdict");
        if verdict != "pass" {
            // Seen when the test fails.
            eprintln!(
                "{fault} {}: {verdict} {} {:#}",
                text("id"),
                case["reasons"],
                case["evidence"]
            );
        }
        (text("id"), verdict)
    });
    (output.status.code(), cases.collect())
}

/// The client with this fault is blamed in exactly these of the cases. Those that rest on them say
/// nothing of it.
#[track_caller]
fn fails(fault: Fault, cases: &[&str], expected: &[&str]) {
    let (code, verdicts) = check(&format!("{fault:?}"), cases);
    let blamed = verdicts.iter().filter(|(_, verdict)| verdict == "fail" || verdict == "warn");
    let blamed: BTreeSet<_> = blamed.map(|(id, _)| id.as_str()).collect();
    assert_eq!(blamed, expected.iter().copied().collect(), "{fault:?}");
    assert_eq!(code, Some(1));
    assert!(verdicts.len() > expected.len(), "some are to be passed");
}

fn passes(client: &str) {
    let (code, verdicts) = check(client, &[]);
    for (id, verdict) in &verdicts {
        assert_eq!(verdict, "pass", "{id}");
    }
    assert_eq!(code, Some(0));
}

#[test]
fn the_native_client_passes_by_reqwest() {
    passes("native");
}

#[test]
fn the_native_client_passes_by_hyper() {
    passes("native-hyper");
}

#[test]
fn a_client_without_fault_passes_everything() {
    let (code, verdicts) = check("None", &[]);
    let failed: Vec<_> = verdicts.iter().filter(|(_, verdict)| verdict != "pass").collect();
    assert_eq!(failed, Vec::<&(String, String)>::new());
    assert_eq!(code, Some(0));
}

#[test]
fn coming_back_in_a_tight_loop_fails() {
    let cases = [
        "con",
        "http",
        "cut",
        "time.retry",
        "time.retry-zero",
        "time.retry-huge",
        "time.retry-64-bit",
        "time.empty-streams",
    ];
    let expected = ["time.retry", "time.empty-streams"];
    fails(Fault::TightLoop, &cases, &expected);
}

#[test]
fn keeping_no_id_fails_where_it_is_resumed() {
    let cases =
        ["con", "cut", "parse.retry-plus", "http.204", "http.redirect-resume", "time.retry"];
    let expected = ["con.reconnect"];
    fails(Fault::NoId, &cases, &expected);
}

#[test]
fn an_empty_id_in_the_request_fails_where_there_is_none() {
    let expected = ["con.request"];
    fails(Fault::EmptyId, &["con", "cut.rst"], &expected);
}

#[test]
fn taking_secrets_to_other_origins_fails() {
    let expected = ["http.redirect-credentials", "http.redirect-cookie", "http.redirect-header"];
    fails(Fault::Leaks, &["http"], &expected);
}

#[test]
#[cfg(target_os = "linux")]
fn keeping_the_whole_stream_fails() {
    let expected = [
        "limit.endless-line",
        "limit.endless-data",
        "limit.endless-comment",
        "limit.endless-name",
        "limit.endless-id",
    ];
    fails(Fault::Hoards, &["limit"], &expected);
}

#[test]
fn waiting_for_the_byte_after_a_cr_fails() {
    fails(Fault::LateCr, &["parse", "cut"], &["parse.cr-at-once"]);
}

/// `--once` believes the first look.
#[test]
fn accused_is_what_goes_wrong_twice() {
    let case = "con.type-wrong";
    for (client, pace, verdict, code) in [
        ("AnyTypeAtFirst", &[][..], "inconclusive", 0),
        ("AnyTypeAtFirst", &["--once"][..], "fail", 1),
        ("AnyType", &[][..], "fail", 1),
    ] {
        // The other one passes, so that something does.
        let (exit, verdicts) = check_these(client, &[case, "parse.lf"], pace);
        let found = verdicts.iter().find(|(id, _)| id == case).map(|(_, verdict)| &**verdict);
        assert_eq!((found, exit), (Some(verdict), Some(code)), "{client} {pace:?}");
    }
}

#[test]
fn trying_again_what_is_final_fails() {
    let others = ["http.401", "http.html-200", "http.408", "http.storm-5xx", "con.type-wrong"];
    let expected = ["http.204", "http.400"];
    fails(Fault::NeverStops, &[&expected[..], &others].concat(), &expected);
}

#[test]
fn continuing_half_an_event_fails() {
    let expected = ["cut.mid-event"];
    fails(Fault::KeepsHalves, &["cut"], &expected);
}

#[test]
fn sending_a_post_again_fails() {
    let expected = ["post.end"];
    fails(Fault::Repeats, &["post", "dialect.openai", "con.request"], &expected);
}

#[test]
fn reading_whatever_comes_fails() {
    let expected = ["con.type-wrong"];
    fails(Fault::AnyType, &["con", "http.html-200"], &expected);
}

#[test]
fn waiting_for_ever_fails() {
    let expected = ["time.stall-headers", "time.stall-start"];
    fails(Fault::Patient, &[&expected[..], &["time.drip"]].concat(), &expected);
}

#[test]
fn taking_goaway_for_the_end_fails() {
    fails(Fault::Hasty, &["h2"], &["h2.goaway"]);
}

#[test]
fn stopping_where_http2_ends_with_an_error_fails() {
    let expected = ["h2.goaway-cut", "h2.reset", "h2.goaway-before-head"];
    fails(Fault::StopsOnError, &["h2"], &expected);
}

#[test]
fn who_does_not_speak_http2_is_not_judged_by_it() {
    let (code, verdicts) = check("Http1", &["h2"]);
    assert!(verdicts.iter().all(|(_, verdict)| verdict == "skip"), "{verdicts:?}");
    assert_eq!(code, Some(4));
}

#[test]
fn what_was_not_seen_is_not_passed() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.xml");
    let file = report.to_str().expect("UTF-8");
    // It looks at the URL, and asks nothing.
    let output =
        hostile(&["--check", "echo {url}", "--junit", file, "http.204", "post.end", "h2.reset"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("inconclusive http.204"), "{text}");
    assert!(text.ends_with("0 pass, 0 fail, 0 warn, 1 inconclusive, 2 skipped\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours are for terminals: {text}");
    let report = std::fs::read_to_string(report).expect("a report");
    assert!(report.contains("name=\"post.end\" classname=\"hostile.post\""), "{report}");
    assert!(report.contains("the command has no {method} and {body}"), "{report}");
    assert!(report.contains("the command has no {ca}"), "{report}");
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    for (args, told) in [
        (&["no-such-case"][..], "no-such-case"),
        (&["--check", "curl"], "{url}"),
        (&["--check", "'curl {url}"], "quotes"),
        (&["--check", "/no/such/program {url}", "parse.lf"], "cannot be started"),
        (&["--json", "x"], "--check"),
        (&["--listen", "nowhere"], "--listen"),
    ] {
        let output = hostile(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains(told), "{args:?}: {complaint}");
    }
}

#[test]
fn cases_are_listed_by_section() {
    let output = hostile(&["--list", "cut"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.lines().count() > 10, "{text}");
    assert!(text.lines().all(|line| line.starts_with("cut.")), "{text}");
}
