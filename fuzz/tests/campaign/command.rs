//! `sse-fuzz fuzz` and `sse-fuzz replay` as commands: exit codes, files, and no secrets in them.

use std::path::PathBuf;
use std::process::Output;

use tokio::process::Command;

use crate::faulty::{Fault, Server};
use crate::secure::Front;

async fn sse_fuzz(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
    command.kill_on_drop(true).args(args);
    command.output().await.expect("cargo has built it")
}

async fn code(args: &[&str]) -> Option<i32> {
    sse_fuzz(args).await.status.code()
}

#[tokio::test]
async fn a_finding_is_a_file_that_can_be_replayed_until_it_is_mended() {
    const SECRET: &str = "s3cr3t-w0rd";
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("findings");
    let [out, json] = [out, folder.path().join("report.json")];
    let path = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    let server = Server::start(Fault::Percent);
    let url = server.url(&format!("/events?channel=test&token={SECRET}"));
    let header = format!("Authorization: Bearer {SECRET}");
    let (out_dir, report) = (path(&out), path(&json));
    let more = ["--header", &header, "--cases", "200", "--out", &out_dir, "--json", &report];
    let output = sse_fuzz(&[&["fuzz", &url][..], &more].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let files: Vec<_> = std::fs::read_dir(&out).expect("a folder").flatten().collect();
    assert_eq!(files.len(), 1);
    let file = path(&files[0].path());
    assert!(file.ends_with("/server-error-query.json"), "{file}");
    let mut texts = vec![String::from_utf8(output.stdout).expect("UTF-8")];
    texts.extend([&file, &report].map(|file| std::fs::read_to_string(file).expect("written")));
    for text in &texts {
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.contains("server-error"), "{text}");
    }
    assert!(texts[0].contains("sse-fuzz replay"), "{}", texts[0]);

    assert_eq!(code(&["replay", &file, &url]).await, Some(1), "it is still there");
    let mended = Server::start(Fault::None);
    assert_eq!(code(&["replay", &file, &mended.url("/events")]).await, Some(0), "it is mended");
    assert_eq!(code(&["replay", &file, "http://127.0.0.1:1/"]).await, Some(3));
    assert_eq!(code(&["replay", &file, "http://192.0.2.1/"]).await, Some(2));
}

#[tokio::test]
async fn by_tls_a_finding_is_found_and_replayed_if_the_certificate_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("findings").to_str().expect("UTF-8").to_owned();
    let server = Server::start(Fault::Percent);
    let front = Front::start("none", server.address).await;
    let url = front.url("/events?channel=test");
    let own = front.certificate();
    let own = own.to_str().expect("UTF-8");
    let fuzz = ["fuzz", &url, "--cases", "200", "--out", &out];
    let output = sse_fuzz(&fuzz).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("its certificate is not trusted") && said.contains("--ca"), "{said}");
    let output = sse_fuzz(&[&fuzz[..], &["--ca", own]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let file = format!("{out}/server-error-query.json");
    assert_eq!(code(&["replay", &file, "--ca", own]).await, Some(1), "it is still there");
    assert_eq!(code(&["replay", &file, "--insecure"]).await, Some(1));
    assert_eq!(code(&["replay", &file]).await, Some(3));
    assert_eq!(code(&["replay", &file, "--ca", "/nonexistent"]).await, Some(2));
    assert_eq!(code(&["fuzz", &url, "--ca", own, "--insecure"]).await, Some(2));
}

#[tokio::test]
async fn a_request_that_was_saved_can_be_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("request");
    let text = file.to_str().expect("UTF-8");
    std::fs::write(&file, "GET /events?% HTTP/1.1\r\nHost: x\r\n\r\n").expect("writable");
    let server = Server::start(Fault::Percent);
    let url = server.url("/events");
    let output = sse_fuzz(&["replay", text, &url]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(code(&["replay", text]).await, Some(2), "it does not say where");
    std::fs::write(&file, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n").expect("writable");
    assert_eq!(code(&["replay", text, &url]).await, Some(0));
    std::fs::write(&file, "{}").expect("writable");
    assert_eq!(code(&["replay", text, &url]).await, Some(2));
}

#[tokio::test]
async fn wrong_usage_and_servers_that_are_not_there_have_their_exit_codes() {
    let server = Server::start(Fault::None);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("findings").to_str().expect("UTF-8").to_owned();
    let args = ["--cases", "20", "--out", &out];
    let fuzz = async |url: &str| code(&[&["fuzz", url][..], &args].concat()).await;
    assert_eq!(fuzz(&server.url("/events")).await, Some(0));
    assert!(!folder.path().join("findings").exists(), "nothing was found");
    assert_eq!(fuzz("http://192.0.2.1/events").await, Some(2));
    assert_eq!(fuzz("ftp://127.0.0.1/events").await, Some(2));
    assert_eq!(code(&["fuzz", &server.url("/events"), "--cases", "0"]).await, Some(2));
    assert_eq!(fuzz(&server.url("/nothing")).await, Some(3));
}
