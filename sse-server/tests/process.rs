//! The program: starting, failing to start, stopping, and going on when the disk does not.

use std::process::Stdio;

use rusqlite::Connection;
use server::{Server, binary, within};
use testkit::server;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Runs the server with these flags, and returns its exit code and what it wrote.
async fn run(flags: &[&str]) -> (Option<i32>, String) {
    let output = binary().args(flags).stdout(Stdio::piped()).output();
    let output = within("the server to give up", output).await.expect("it can be started");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_start_that_cannot_work_ends_with_one_clear_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("bound");
    let not_a_database = folder.path().join("text");
    std::fs::write(&not_a_database, "not a database, and long enough to be taken for one")
        .expect("writable");
    let not_a_database = format!("sqlite:{}", not_a_database.display());
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "listen = \"127.0.0.1:0\"\nlisten-on = 1\n").expect("writable");
    let config = config.display().to_string();
    let any = "127.0.0.1:0";
    for (flags, line) in [
        (&["--listen", &*taken.1, "--storage", "memory"][..], "Address already in use"),
        (&["--listen", "0.0.0.0:0"], "add --open-access if everyone"),
        (&["--listen", "[::]:0"], "add --open-access if everyone"),
        (
            &["--listen", any, "--storage", "sqlite:/nonexistent/x.db"],
            "cannot open: the folder /nonexistent does not exist; create it, or name another",
        ),
        (&["--listen", any, "--storage", &not_a_database], "file is not a database"),
        (&["--config", "/nonexistent.toml"], "--config /nonexistent.toml: No such file"),
    ] {
        let (code, stderr) = run(flags).await;
        assert_eq!(code, Some(1), "{flags:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(line), "{flags:?}: {stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{flags:?}: {stderr}");
    }
    let (code, stderr) = run(&["--config", &config]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("unknown field `listen-on`"), "{stderr}");
    let (code, stderr) = run(&["--lisen", "x"]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("unexpected argument '--lisen'"), "{stderr}");
}

#[tokio::test]
async fn settings_come_from_flags_before_environment_before_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    let of_file = format!("storage = \"sqlite:{}/of-the-file.db\"\n", folder.path().display());
    std::fs::write(&config, format!("listen = \"127.0.0.1:0\"\n{of_file}")).expect("writable");
    let config = config.display().to_string();
    let storage = async |flags: &[&str], variable: Option<&str>| {
        let mut command = binary();
        command.args(["--config", &config]).args(flags);
        command.envs(variable.map(|storage| ("SSE_SERVER_STORAGE", storage)));
        let mut child = command.spawn().expect("it can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let line = within("a line", lines.next_line()).await.expect("readable").expect("a line");
        let (_, storage) = line.split_once(" with storage ").expect(&line);
        storage.split(',').next().expect("a storage").to_owned()
    };
    assert!(storage(&[], None).await.ends_with("/of-the-file.db"));
    assert_eq!(storage(&[], Some("none")).await, "none");
    assert_eq!(storage(&["--storage", "memory"], Some("none")).await, "memory");
    assert_eq!(storage(&["--storage", "memory"], None).await, "memory");
}

#[tokio::test]
async fn a_signal_ends_open_streams_properly_and_the_process_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&[]).await;
        let mut stream = server.get("/events/?channel=test", "").await;
        stream.opening().await;
        server.fill("test", 3).await;
        stream.until("data: 3\n\n").await;
        server.signal(signal);
        let last = stream.body().await;
        let time = last.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n"));
        assert!(time.is_some(), "{signal}: nothing but when to come back: {last}");
        assert!(stream.is_ended(), "{signal}: with the last chunk, not a cut");
        assert!(server.wait().await.success(), "{signal}");
        let left = std::fs::read_dir(server.database().parent().expect("a folder"));
        let left: Vec<_> =
            left.expect("readable").map(|entry| entry.expect("readable").file_name()).collect();
        assert_eq!(left, ["events.db"], "{signal}: the log is merged into the file");
    }
}

#[tokio::test]
async fn events_survive_a_restart_and_so_do_positions() {
    let mut server = Server::start(&[]).await;
    server.fill("test", 2).await;
    server.kill().await;
    server.restart().await;
    assert_eq!(server.publish(r#"{"channel":"test","data":3}"#).await["id"], "test:3");
    let mut stream = server.get("/events/?channel=test&lastEventId=test:1", "").await;
    stream.opening().await;
    let two = stream.until("data: 3\n\n").await;
    assert_eq!(two.matches("event: message").count(), 2);
    assert!(!two.contains("stream-reset"));
}

#[tokio::test]
async fn while_the_database_is_locked_publishing_fails_and_readers_stay() {
    let server = Server::start(&["--keep-alive", "200ms"]).await;
    let mut stream = server.get("/events/?channel=test", "").await;
    stream.opening().await;
    server.fill("test", 2).await;
    stream.until("data: 2\n\n").await;

    // Another process holds the write lock, as a backup or a curious person would.
    let other = Connection::open(server.database()).expect("the file is there");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");

    let (status, answer) = server.try_publish(r#"{"channel":"test","data":"lost"}"#).await;
    assert_eq!((status, &answer["error"]), (503, &"unavailable".into()));
    stream.until("event: keep-alive\ndata:\n\n").await;
    let mut late = server.get("/events/?channel=test&lastEventId=test:1", "").await;
    late.opening().await;
    late.until("id: test:2\ndata: 2\n\n").await;

    other.execute_batch("ROLLBACK").expect("it is still held");
    assert_eq!(server.publish(r#"{"channel":"test","data":3}"#).await["id"], "test:3");
    for stream in [&mut stream, &mut late] {
        let rest = stream.until("id: test:3\ndata: 3\n\n").await;
        assert!(!rest.contains("lost") && !rest.contains("stream-reset"), "{rest}");
    }
}

#[tokio::test]
async fn when_the_disk_is_full_publishing_fails_and_readers_stay() {
    // A limit on file sizes, its signal ignored, makes writes fail as a full disk does.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"]);
    let server = Server::start_under(limited, &["--keep-alive", "200ms"]).await;
    let mut stream = server.get("/events/?channel=test", "").await;
    stream.opening().await;
    let event = serde_json::json!({"channel": "test", "text": "x".repeat(50_000)}).to_string();
    let mut published = 0;
    let refusal = loop {
        match server.try_publish(&event).await {
            (200, id) => {
                published += 1;
                assert_eq!(id["id"], format!("test:{published}"));
            }
            refusal => break refusal,
        }
        assert!(published < 100, "the limit is never reached");
    };
    assert_eq!((refusal.0, &refusal.1["error"]), (503, &"unavailable".into()));
    assert!(published > 0);
    stream.until(&format!("id: test:{published}\n")).await;
    stream.until("event: keep-alive\ndata:\n\n").await;
    assert_eq!(server.try_publish(&event).await.0, 503, "it says so every time");
    let mut late = server.get("/events/?channel=test&lastEventId=test:0", "").await;
    late.opening().await;
    let history = late.until(&format!("id: test:{published}\n")).await;
    assert!(!history.contains("stream-reset"));
}

#[tokio::test]
async fn signals_for_other_servers_do_not_kill_this_one() {
    let mut server = Server::start(&[]).await;
    let mut stream = server.get("/events/?channel=test&lastEventId=test:0", "").await;
    stream.opening().await;
    for (signal, name) in [("-USR1", "SIGUSR1"), ("-USR2", "SIGUSR2")] {
        server.signal(signal);
        server.until_logged(&format!("{name} changes nothing")).await;
    }
    server.fill("test", 1).await;
    stream.until("data: 1\n\n").await;
    // With which images made for nginx are stopped.
    server.signal("-QUIT");
    assert!(stream.body().await.starts_with("retry: "));
    assert!(server.wait().await.success());
}
