//! What `sse-fuzz` finds: asking this server as a proxy would, and reading its streams by way of
//! Pushpin.

use std::time::Duration;

use sse_fuzz::grip::{self, Signer};
use sse_fuzz::probe::{self, Hook, Profile, Report, Target, Verdict};
use testkit::pushpin::KEY;
use testkit::server::TOKEN;

use crate::origin::{Options, Origin};
use crate::{ODD, granted};

fn hook(origin: &Origin, channel: &str) -> Hook {
    Hook::Url {
        target: target(&format!("http://{}/publish/", origin.address)),
        token: Some(TOKEN.to_owned()),
        headers: Vec::new(),
        channel: channel.to_owned(),
    }
}

fn target(url: &str) -> Target {
    Target::new(url).expect("a URL")
}

fn user(name: &str) -> Vec<(String, String)> {
    vec![("X-User".to_owned(), name.to_owned())]
}

/// Ids with what is not right.
fn bad(report: &Report) -> Vec<String> {
    assert_eq!(report.problem, None);
    let is_bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Warn);
    let bad = report.checks.iter().filter(|outcome| is_bad(outcome.verdict));
    bad.map(|outcome| format!("{}: {}", outcome.id, outcome.reason)).collect()
}

fn passes(report: &Report, id: &str) {
    let outcome = report.checks.iter().find(|outcome| outcome.id == id).expect(id);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
}

/// Asked as by the proxy, with what names can be called, and with another user beside.
async fn asked(options: Options, prefixed: bool) {
    let has_users = options.grants.is_some();
    let Some(origin) = Origin::start(options).await else { return };
    let settings = grip::Settings {
        headers: if has_users { user("alice") } else { Vec::new() },
        second_headers: if has_users { user("bob") } else { Vec::new() },
        publish: Some(hook(&origin, ODD)),
        ..grip::Settings::new(
            Signer::new(KEY).expect("a secret").issuer(Some("pushpin".to_owned())),
        )
    };
    let url =
        format!("http://{}/events/?channel=a&channel=a%20b%2Fc%2Cd%3A%C3%A9%25~", origin.address);
    let report = grip::run(target(&url), settings, |_| {}).await.expect("there are such checks");
    assert_eq!(bad(&report), Vec::<String>::new());
    for id in ["sig.held", "sig.issuer", "hld.ids", "hld.percent", "lnk.again", "lnk.forged"] {
        passes(&report, id);
    }
    for id in ["rec.gap", "rec.last-event-id", "rec.pages", "rec.snapshot", "rec.unknown"] {
        passes(&report, id);
    }
    if has_users {
        passes(&report, "lnk.merge");
    }
    let shown = format!("{:?}", report.checks);
    assert_eq!(shown.contains("site-1."), prefixed, "the prefix is in what the proxy gets");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_as_a_proxy_would_finds_nothing() {
    asked(Options::default(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_as_a_proxy_would_about_private_streams_finds_nothing() {
    let users = granted(&[("alice", "a"), ("alice", ODD), ("bob", "a"), ("bob", ODD)]);
    asked(Options { prefix: "site-1.", ..users }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_by_way_of_a_proxy_is_what_any_stream_is() {
    let Some(origin) = Origin::start(Options::default()).await else { return };
    let settings = probe::Settings {
        profile: Profile::Grip,
        publish: Some(hook(&origin, "a")),
        aggressive: true,
        wait: Duration::from_secs(4),
        deadline: Duration::from_mins(10),
        ..probe::Settings::default()
    };
    let url = origin.pushpin.url("/events/?channel=a");
    let report = probe::run(target(&url), settings, |_| {}).await.expect("there are such checks");
    assert_eq!(bad(&report), Vec::<String>::new());
    for id in ["con.status", "con.grip", "con.live", "res.loss", "res.busy-loss", "inj.data-lf"] {
        passes(&report, id);
    }
    // What Pushpin does with requests is told, and is no fault of the origin.
    let framing = report.checks.iter().find(|outcome| outcome.id == "rob.framing").expect("it");
    assert!(
        framing.verdict == Verdict::Pass || framing.reason.contains("the proxy"),
        "{framing:#?}"
    );
}
