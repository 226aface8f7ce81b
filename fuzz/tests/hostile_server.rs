//! The hostile server's bytes, and its end, seen from a plain socket.

use std::io::ErrorKind;
use std::time::Duration;

use sse_fuzz::hostile::{Request, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(30);

/// Connects and asks for a URL.
async fn ask(url: &str, lines: &str) -> TcpStream {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (address, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    stream
}

/// Everything up to the end, and how it ended.
async fn read(mut stream: TcpStream) -> (String, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("it ends");
    (String::from_utf8_lossy(&bytes).into_owned(), end.err().map(|error| error.kind()))
}

/// Waits until the record is as wanted.
async fn recorded(
    server: &Server,
    case: &str,
    run: &str,
    is_it: impl Fn(&[Request]) -> bool,
) -> Vec<Request> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let requests = server.requests(case, run);
        if is_it(&requests) {
            return requests;
        }
        assert!(Instant::now() < deadline, "{requests:?}");
        drop(timeout(Duration::from_millis(50), server.changed()).await);
    }
}

#[tokio::test]
async fn requests_are_counted_and_recorded_run_by_run() {
    let server = Server::start().await.expect("a port");
    let case = "cut.rst-mid-codepoint";
    for run in ["a", "b"] {
        let url = server.url(case, run);
        let (first, end) = read(ask(&url, "").await).await;
        assert!(
            first.ends_with("\r\n\r\nretry: 200\nid: 1\ndata: a\n\ndata: \u{fffd}"),
            "{first:?}"
        );
        assert_eq!(end, Some(ErrorKind::ConnectionReset));
        let second = ask(&url, "Last-Event-ID: \u{e9}\r\n").await;
        let requests =
            recorded(&server, case, run, |requests| requests.len() == 2 && requests[1].played)
                .await;
        assert_eq!(requests[0].header("last-event-id"), None);
        assert!(requests[0].ended.is_some() && !requests[0].ended_by_client);
        assert_eq!(requests[1].header("last-event-id"), Some("\u{e9}".as_bytes()));
        assert!(requests[1].ended.is_none());
        drop(second);
        let is_left = |requests: &[Request]| requests[1].ended_by_client;
        recorded(&server, case, run, is_left).await;
    }
}

#[tokio::test]
async fn another_origin_is_another_port() {
    let server = Server::start().await.expect("a port");
    let case = "http.redirect-credentials";
    let (answer, _) = read(ask(&server.url(case, "x"), "Authorization: y\r\n").await).await;
    let location = answer.split("Location: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let location = location.expect("a redirect").to_owned();
    assert!(!location.contains(&server.address().to_string()), "{location}");
    let _stream = ask(&location, "").await;
    let requests = recorded(&server, case, "x", |requests| requests.len() == 2).await;
    assert!(!requests[0].at_other_origin && requests[1].at_other_origin);
}

#[tokio::test]
async fn a_piece_comes_before_the_next_is_due() {
    let server = Server::start().await.expect("a port");
    let mut stream = ask(&server.url("parse.utf8-split", ""), "").await;
    let mut pieces = Vec::new();
    let mut all = Vec::new();
    while !all.ends_with(b"\n\n") {
        let mut buffer = [0; 512];
        let read = timeout(DEADLINE, stream.read(&mut buffer)).await.expect("more comes");
        let len = read.expect("it is open");
        assert_ne!(len, 0, "it stays open");
        all.extend_from_slice(&buffer[..len]);
        pieces.push(buffer[..len].to_vec());
    }
    // The pauses are there for this; a busy machine may join some all the same.
    assert!(pieces.len() > 1, "{pieces:?}");
}

#[tokio::test]
async fn the_index_has_every_case_and_what_is_no_case_is_not_found() {
    let server = Server::start().await.expect("a port");
    let origin = format!("http://{}", server.address());
    let (index, _) = read(ask(&format!("{origin}/"), "").await).await;
    for case in sse_fuzz::hostile::cases() {
        assert!(index.contains(&format!(" {}\n", server.url(case.id(), ""))), "{}", case.id());
    }
    let (answer, _) = read(ask(&format!("{origin}/no.case"), "").await).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn what_needs_tls_is_not_there_in_the_clear_and_the_authority_is() {
    let server = Server::start().await.expect("a port");
    let origin = format!("http://{}", server.address());
    for case in ["h2.goaway", "http.redirect-downgrade"] {
        assert!(server.url(case, "").starts_with("https://"), "{case}");
        let (answer, _) = read(ask(&format!("{origin}/{case}"), "").await).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(server.requests(case, "").is_empty());
    }
    let (answer, _) = read(ask(&format!("{origin}/ca.pem"), "").await).await;
    assert!(answer.ends_with(server.authority()), "{answer}");
    assert!(server.authority().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let server = Server::start().await.expect("a port");
    let stream = ask(&server.url("time.stall-headers", ""), "").await;
    recorded(&server, "time.stall-headers", "", |requests| requests.len() == 1).await;
    drop(server);
    assert_eq!(read(stream).await.0, "");
}

#[cfg(unix)]
mod processes {
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::{Child, Command};

    use super::*;

    fn start(args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
        command.arg("hostile").args(args).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("cargo has built it")
    }

    fn pid(id: u32) -> Pid {
        Pid::from_raw(i32::try_from(id).expect("small")).expect("not 0")
    }

    async fn end(mut child: Child, signal: Signal) -> Option<i32> {
        kill_process(pid(child.id().expect("it runs")), signal).expect("it runs");
        let status = timeout(DEADLINE, child.wait()).await.expect("it ends");
        status.expect("it can be waited for").code()
    }

    #[tokio::test]
    async fn it_serves_what_it_prints_until_it_is_interrupted() {
        let mut child = start(&["con.request"]);
        let stdout = child.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(DEADLINE, lines.next_line()).await.expect("it prints");
        let line = line.expect("UTF-8").expect("a line");
        let mut stream = ask(line.strip_prefix("GET ").expect("a URL"), "").await;
        let mut buffer = [0; 15];
        timeout(DEADLINE, stream.read_exact(&mut buffer)).await.expect("it answers").expect("so");
        assert_eq!(&buffer, b"HTTP/1.1 200 OK");
        assert_eq!(end(child, Signal::INT).await, Some(0));
    }

    #[tokio::test]
    async fn interrupted_it_leaves_no_client_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pids");
        let script = format!("sleep 600 & echo $$ $! > '{}'; wait", file.display());
        let client = format!("sh -c {} {{url}}", shell_words::quote(&script));
        let child = start(&["time.stall-headers", "--check", &client]);
        let deadline = Instant::now() + DEADLINE;
        let pids = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let pids: Vec<u32> = text.split_whitespace().filter_map(|id| id.parse().ok()).collect();
            if text.ends_with('\n') && pids.len() == 2 {
                break pids;
            }
            assert!(Instant::now() < deadline, "{text:?}");
            sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(end(child, Signal::TERM).await, Some(130));
        for id in pids {
            while is_running(id) {
                assert!(Instant::now() < deadline, "{id} is still there");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// A process that has ended and was not waited for yet is not running.
    fn is_running(id: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        test_kill_process(pid(id)).is_ok() && !stat.contains(") Z ")
    }
}
