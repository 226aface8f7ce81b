//! `sse-fuzz probe` as a command: exit codes, lists of known failures, reports without secrets.

use std::path::Path;
use std::process::Output;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::faulty::Server;
use crate::secure::{Certified, Front};

async fn probe(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
    command.kill_on_drop(true).arg("probe").args(args);
    command.output().await.expect("cargo has built it")
}

async fn code(args: &[&str]) -> Option<i32> {
    probe(args).await.status.code()
}

#[tokio::test]
async fn the_exit_code_says_what_came_of_it() {
    let server = Server::start("con.cache-control");
    let url = server.url("/events?channel=test");
    assert_eq!(code(&[&url, "con.status"]).await, Some(0));
    // A warning is a failure only if it is to be.
    assert_eq!(code(&[&url, "con.cache-control"]).await, Some(0));
    assert_eq!(code(&[&url, "con.cache-control", "--strict"]).await, Some(1));
    for wrong in [&["con"][..], &[&url, "con.no-such-check"], &["ftp://h/"], &[&url, "--seed", "x"]]
    {
        assert_eq!(code(wrong).await, Some(2), "{wrong:?}");
    }
    let foreign = "http://192.0.2.1/events";
    assert_eq!(code(&[foreign, "--aggressive"]).await, Some(2));
    assert_eq!(code(&[&server.url("/nothing")]).await, Some(3));
    assert_eq!(code(&["http://127.0.0.1:1/"]).await, Some(3));
    assert_eq!(code(&[&url, "tim.age", "--wait", "1"]).await, Some(4));
    // What was late once is inconclusive, unless the first look is to be believed.
    for (once, expected) in [(None, [0, 4]), (Some("--once"), [1, 1])] {
        for (other, expected) in [Some("con.status"), None].into_iter().zip(expected) {
            let server = Server::start("none but late once");
            let url = server.url("/events?channel=test");
            let args = [Some(&*url), Some("tim.headers"), Some("--strict"), once, other];
            let args: Vec<_> = args.into_iter().flatten().collect();
            assert_eq!(code(&args).await, Some(expected), "{args:?}");
        }
    }
}

#[tokio::test]
async fn whose_certificate_is_believed_is_said_on_the_command_line() {
    let server = Server::start("none");
    let front = Front::start("none", server.address).await;
    let url = front.url("/events?channel=test");
    let own = front.certificate();
    let own = own.to_str().expect("UTF-8");
    assert_eq!(code(&[&url, "con.status", "--ca", own]).await, Some(0));
    assert_eq!(code(&[&url, "con.status", "--insecure"]).await, Some(0));
    // One that has no authority is not believed, nor one of others.
    let output = probe(&[&url, "con.status"]).await;
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("cannot be reached: its certificate is not trusted"), "{said}");
    assert!(said.contains("--ca") && said.contains("--insecure"), "{said}");
    let foreign = Certified::new();
    let path = foreign.certificate();
    let file = path.to_str().expect("UTF-8");
    assert_eq!(code(&[&url, "con.status", "--ca", file]).await, Some(3));
    // Who does not speak TLS is told from who is not there.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain = format!("https://{}/", listener.local_addr().expect("an address"));
    let answering = tokio::spawn(async move {
        // Not only the probe: others on this machine may look at a new port.
        while let Ok((mut socket, _)) = listener.accept().await {
            if matches!(socket.read(&mut [0; 4096]).await, Ok(1..)) {
                drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
            }
        }
    });
    let output = probe(&[&plain, "con.status", "--insecure"]).await;
    answering.abort();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("cannot be reached: it does not speak TLS"), "{said}");
    assert_eq!(code(&[&url, "--ca", "/nonexistent"]).await, Some(2));
}

#[tokio::test]
async fn where_a_redirect_leads_to_another_server_credentials_do_not_go() {
    let server = Server::start("con.credentials");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/here", listener.local_addr().expect("an address"));
    let to = server.url("/events?channel=test");
    let redirecting = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("a client");
            let mut request = [0; 4096];
            let len = socket.read(&mut request).await.unwrap_or(0);
            // As above.
            if !request[..len].starts_with(b"GET /here ") {
                continue;
            }
            let answer = format!("HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            return socket.write_all(answer.as_bytes()).await.expect("it listens");
        }
    });
    // If it still had them, it would find that there is a stream without them, too.
    let header = "Authorization: Bearer abcdefgh";
    let output = probe(&[&url, "con.credentials", "--strict", "--header", header]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("no credentials were given"), "{said}");
    redirecting.await.expect("no panic");
}

#[tokio::test]
async fn known_failures_pass_and_stale_ones_fail() {
    let server = Server::start("con.type-twice");
    let url = server.url("/events?channel=test");
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("known");
    let file = list.to_str().expect("UTF-8");
    let run = ["--strict", "--expected-failures", file];
    for (known, checks, expected) in [
        ("# nothing\n", "con.type-twice", 1),
        ("con.type-twice # since ever\n", "con.type-twice", 0),
        ("con.type-twice\ncon.status\n", "con", 1),
        ("con.no-such-check\n", "con.status", 2),
    ] {
        std::fs::write(&list, known).expect("it can be written");
        let args = [&[&*url, checks][..], &run].concat();
        assert_eq!(code(&args).await, Some(expected), "{known:?}");
    }
}

#[tokio::test]
async fn reports_are_complete_and_have_no_secrets() {
    const SECRET: &str = "s3cr3t-w0rd";
    let server = Server::start("con.cache-control");
    let url = server.url(&format!("/events?channel=test&token={SECRET}"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let [json, junit, html] = ["a.json", "a.xml", "a.html"].map(path);
    let header = format!("Authorization: Bearer {SECRET}");
    let reports = ["--json", &json, "--junit", &junit, "--html", &html];
    let args = [&[&*url, "con", "res.reflected", "--strict", "--header", &header][..], &reports];
    let output = probe(&args.concat()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut texts = vec![String::from_utf8(output.stdout).expect("UTF-8")];
    texts.extend(
        [&json, &junit, &html]
            .map(|path| std::fs::read_to_string(Path::new(path)).expect("it has been written")),
    );
    for text in &texts {
        assert!(text.contains("con.cache-control"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains('\u{1b}'), "colours are for terminals");
    }
    assert!(texts[2].contains("<failure"), "{}", texts[2]);
    // Merged with itself, there are two columns.
    let merged = path("b.html");
    assert_eq!(code(&["--merge", &json, "--merge", &json, "--html", &merged]).await, Some(0));
    let text = std::fs::read_to_string(&merged).expect("it has been written");
    assert!(text.contains("\">2<"), "{text}");
}

#[tokio::test]
async fn what_stands_in_merged_reports_stays_text() {
    const ODD: &str = "x\"><script>alert('1')</script>|\u{1b}[2J\n| fake | & \u{9b}1m\u{202e}";
    let outcome = |id: &str| {
        serde_json::json!({
            "id": id, "title": ODD, "severity": "error", "reference": ODD, "verdict": "fail",
            "reason": ODD, "seconds": 0.5, "exchanges": [{
                "request": ODD, "curl": ODD, "head": ODD, "chunks": [[1, ODD]], "events": [ODD],
                "total": [1, 1], "end": ODD,
            }],
        })
    };
    let report = serde_json::json!({
        "name": ODD, "target": ODD, "profile": ODD, "version": ODD, "date": ODD, "seconds": 1.5,
        "problem": ODD,
        "summary": { "pass": 0, "fail": 2, "info": 0, "skip": 0, "inconclusive": 0 },
        "checks": [outcome(ODD), outcome("con.status")],
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let [json, html, junit] = ["a.json", "a.html", "a.xml"].map(path);
    std::fs::write(&json, report.to_string()).expect("it can be written");
    for merged in [&["--merge", &json][..], &["--merge", &json, "--merge", &json]] {
        let output = probe(&[merged, &["--html", &html, "--junit", &junit]].concat()).await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let controls = printed.chars().filter(|char| char.is_control() && *char != '\n');
        assert_eq!(controls.count(), 0, "{printed:?}");
        let rows: Vec<_> = printed.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), if merged.len() > 2 { 4 } else { 0 }, "{printed}");
        for row in rows {
            let cells = row.replace("\\\\", "").replace("\\|", "").matches('|').count();
            assert_eq!(cells, 9, "{row}");
            assert!(!row.replace("\\<", "").contains('<'), "{row}");
        }
        let text = std::fs::read_to_string(&html).expect("it has been written");
        for broken in ["<script", "x\""] {
            assert!(!text.contains(broken), "{broken} in {text}");
        }
        assert!(text.matches("&lt;script&gt;").count() > 20, "{text}");
        let text = std::fs::read_to_string(&junit).expect("it has been written");
        assert!(!text.contains("<script") && !text.contains('\u{1b}'), "{text}");
    }
}
