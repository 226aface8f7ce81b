//! `sse-fuzz grip` as a command: exit codes, and reports without secrets.

use std::process::Output;

use tokio::process::Command;

use crate::faulty::{ISSUER, KEY, Origin};

async fn grip(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
    command.kill_on_drop(true).arg("grip").args(args);
    command.output().await.expect("cargo has built it")
}

async fn code(args: &[&str]) -> Option<i32> {
    grip(args).await.status.code()
}

#[tokio::test]
async fn the_exit_code_says_what_came_of_it() {
    let origin = Origin::start("rec.unknown").await;
    let url = origin.url("/events");
    let good = [&*url, "--key", KEY, "--issuer", ISSUER];
    let with = |more: &[&'static str]| [&good[..], more].concat();
    assert_eq!(code(&with(&["sig"])).await, Some(0));
    // A warning is a failure only if it is to be.
    assert_eq!(code(&with(&["rec.unknown"])).await, Some(0));
    assert_eq!(code(&with(&["rec.unknown", "--strict"])).await, Some(1));
    assert_eq!(code(&[&url, "sig.held", "--key", "another"]).await, Some(1));
    assert_eq!(code(&with(&["rec.gap"])).await, Some(4), "there is no way to publish");
    for wrong in [&["sig"][..], &[&url, &url], &[&url, "sig.no-such"], &[&url, "--key", "base64:*"]]
    {
        assert_eq!(code(wrong).await, Some(2), "{wrong:?}");
    }
    assert_eq!(code(&["http://127.0.0.1:1/"]).await, Some(3));
}

#[tokio::test]
async fn no_report_has_a_key_a_signature_a_credential_or_a_link() {
    let origin = Origin::start("rec.unknown").await;
    let url = origin.url("/events");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let publish = origin.url("/publish");
    let output = grip(&[
        &url,
        "--strict",
        "--key",
        KEY,
        "--issuer",
        ISSUER,
        "--header",
        "X-User: alice-s3cret",
        "--publish-url",
        &publish,
        "--publish-channel",
        "r m",
        "--json",
        file.to_str().expect("UTF-8"),
    ])
    .await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let written = std::fs::read_to_string(&file).expect("a report");
    assert!(said.contains("alone: sse-fuzz grip URL rec.unknown"), "{said}");
    assert!(written.contains("\"command\": \"grip\"") && written.contains("Grip-Last"));
    for text in [said, written] {
        // `eyJ` is how a JWT begins: signatures, and this origin's links.
        for secret in [KEY, "s3cret", "eyJ"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
