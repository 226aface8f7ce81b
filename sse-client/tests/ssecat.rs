//! `ssecat`, the program, beside real servers.

mod server;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::str;

use server::{Connection, OPEN, Server, nobody, refusal, run};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A run of the program. It is killed when this is dropped.
struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ssecat"));
    command.arg(url).args(arguments).env_remove("SSECAT_BEARER").env_remove("CLICOLOR_FORCE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Run {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = command(url, arguments).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = self.lines.next_line().await.expect("text");
        line.expect("the program goes on")
    }

    /// What is left of its output, and how it has ended.
    async fn end(mut self) -> Output {
        let mut stdout = Vec::new();
        self.lines.get_mut().read_to_end(&mut stdout).await.expect("a pipe");
        let output = self.child.wait_with_output().await.expect("it ends");
        Output { stdout, ..output }
    }
}

/// Runs it to its end beside a server that answers once with these bytes.
async fn answered(bytes: impl AsRef<[u8]>, arguments: &[&str]) -> (Output, Connection) {
    let mut server = Server::start().await;
    let run = Run::start(&server.url("/events"), arguments);
    let mut connection = server.accept().await;
    connection.send(bytes).await;
    (run.end().await, connection)
}

fn stream(body: &str) -> String {
    format!("{OPEN}{body}")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

#[test]
fn it_resumes_when_the_server_is_gone_and_says_so() {
    run(async {
        let mut server = Server::start().await;
        let mut run = Run::start(&server.url("/events"), &["-n", "2", "--data"]);
        let mut connection = server.accept().await;
        assert_eq!(connection.header("Last-Event-ID"), None);
        connection.send(stream("retry: 1\nid: 7\ndata: a\n\nid: 8\ndata: unfin")).await;
        assert_eq!(run.line().await, "a");
        drop(connection);
        let mut connection = server.accept().await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"7"[..]));
        connection.send(stream("id: 8\ndata: b\n\n")).await;
        assert_eq!(run.line().await, "b");
        let output = run.end().await;
        assert_eq!(output.status.code(), Some(0));
        let messages = text(&output.stderr);
        assert!(messages.starts_with("ssecat: the server ended the stream; trying again in "));
        assert!(messages.ends_with("ssecat: connected again\n"), "{messages}");
    });
}

#[test]
fn json_lines_are_those_of_sse_fuzz_decode() {
    run(async {
        let body = ": hello\n\nid: 1\nevent: é\ndata: \"a\ndata: b\\\n\ndata:\n\n\
            event: stream-reset\ndata: {\"channels\": [\"a\", \"b\"]}\n\ndata: c\n\n";
        let (output, _) = answered(stream(body), &["--json", "--comments", "-n", "3"]).await;
        assert_eq!(
            text(&output.stdout),
            "{\"comment\":\"hello\"}\n\
             {\"event\":\"é\",\"data\":\"\\\"a\\nb\\\\\",\"id\":\"1\"}\n\
             {\"event\":\"message\",\"data\":\"\",\"id\":\"1\"}\n\
             {\"reset\":[\"a\",\"b\"]}\n\
             {\"event\":\"message\",\"data\":\"c\",\"id\":\"1\"}\n"
        );
        assert!(text(&output.stderr).contains("events of a, b are missing"));
    });
}

#[test]
fn people_see_type_id_and_data_and_no_colours_in_a_pipe() {
    run(async {
        let body = "event: x\nid: 1\ndata: { \"b\": 1.0,\ndata: \"a\": [] }\n\nid\ndata: a\ndata: \u{1b}[2J\n\n";
        let (output, _) = answered(stream(body), &["-n2"]).await;
        assert_eq!(
            text(&output.stdout),
            "x 1 {\"b\":1.0,\"a\":[]}\nmessage -\n    a\n    \\u{1b}[2J\n"
        );
        let (output, _) = answered(stream(body), &["-n1", "--pretty"]).await;
        assert_eq!(text(&output.stdout), "x 1\n    {\n      \"b\": 1.0,\n      \"a\": []\n    }\n");
    });
}

#[test]
fn until_ends_it_and_is_not_printed() {
    run(async {
        let body = "data: a\n\ndata: [DONE]\n\ndata: b\n\n";
        let (output, _) = answered(stream(body), &["--data", "--until", "[DONE]"]).await;
        assert_eq!((text(&output.stdout), output.status.code()), ("a\n", Some(0)));
        assert_eq!(text(&output.stderr), "");
    });
}

#[test]
fn max_events_counts_what_is_printed() {
    run(async {
        let body = "data: a\n\nevent: x\ndata: b\n\nevent: y\ndata: c\n\nevent: x\ndata: d\n\n";
        let arguments = ["--data", "--event", "x", "--event", "y", "--max-events", "2"];
        let (output, _) = answered(stream(body), &arguments).await;
        assert_eq!((text(&output.stdout), output.status.code()), ("b\nc\n", Some(0)));
    });
}

#[test]
fn the_id_file_carries_over_to_the_next_run() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("id");
        let file = path.to_str().expect("text");
        let arguments = ["--data", "-n1", "--id-file", file, "--last-event-id", "0"];
        let (output, connection) = answered(stream("id: ä 1\ndata: a\n\n"), &arguments).await;
        assert_eq!(text(&output.stdout), "a\n");
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"0"[..]));
        assert_eq!(fs::read_to_string(&path).expect("the file"), "ä 1\n");
        let (_, connection) = answered(stream("id: 2\ndata: b\n\ndata: c\n\n"), &arguments).await;
        assert_eq!(connection.header("Last-Event-ID"), Some("ä 1".as_bytes()));
        assert_eq!(fs::read_to_string(&path).expect("the file"), "2\n");
        assert_eq!(entries(folder.path()), 1, "no drafts are left behind");
    });
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn an_id_is_kept_only_after_its_event_is_printed() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("id");
        let arguments = ["--data", "-n2", "--id-file", path.to_str().expect("text")];
        let body = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";
        let (output, _) = answered(stream(body), &arguments).await;
        assert_eq!(text(&output.stdout), "a\nb\n");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "2\n");
    });
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    run(async {
        let mut server = Server::start().await;
        let mut run = Run::start(&server.url("/events"), &[]);
        let mut connection = server.accept().await;
        connection.send(stream("data: a\n\n")).await;
        assert_eq!(run.line().await, "message - a");
        let Run { child, lines } = run;
        drop(lines);
        connection.send("data: b\n\n").await;
        let output = child.wait_with_output().await.expect("it ends");
        assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
    });
}

#[cfg(unix)]
#[test]
fn signals_end_it_with_their_codes_and_the_id_is_kept() {
    use rustix::process::{Pid, Signal, kill_process};

    run(async {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("id");
            let mut server = Server::start().await;
            let arguments = ["--id-file", path.to_str().expect("text")];
            let mut run = Run::start(&server.url("/events"), &arguments);
            let mut connection = server.accept().await;
            connection.send(stream("id: 1\ndata: a\n\n")).await;
            run.line().await;
            let pid = run.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            kill_process(pid.expect("it runs"), signal).expect("ours");
            let output = run.end().await;
            assert_eq!((text(&output.stderr), output.status.code()), ("", Some(code)));
            assert_eq!(fs::read_to_string(&path).expect("the file"), "1\n");
        }
    });
}

#[test]
fn exit_codes_say_why() {
    run(async {
        let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n";
        let error = "event: stream-error\nid: error\ndata: {\"condition\": \"forbidden\", \
            \"text\": \"no\", \"channels\": [\"a\"]}\n\n";
        let too_long = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
            (16 << 20) + 1,
            "1".repeat((16 << 20) + 1),
        );
        let cases: [(String, &[&str], i32, &str); 8] = [
            (refusal(403, "no \u{1b}"), &[], 1, "refused with status 403: \"no \\u{1b}\"; give"),
            (refusal(204, ""), &[], 1, "the server wants no more requests"),
            (refusal(503, "later"), &["--policy", "strict"], 1, "status 503: \"later\"; check"),
            (json.to_owned(), &[], 1, "is \"application/json\", not text/event-stream; check"),
            (stream(error), &[], 1, "the server ended the stream: forbidden: no"),
            (refusal(503, "later"), &["--max-failures", "1"], 3, "gave up: the server answered"),
            (stream(""), &["--max-failures", "1"], 3, "gave up: the server ended the stream"),
            (too_long, &["--accept", "application/json", "-b", "{}"], 1, "more than the 16 MiB"),
        ];
        for (answer, arguments, code, message) in cases {
            let mut server = Server::start().await;
            let run = Run::start(&server.url("/events?token=secret"), arguments);
            let mut connection = server.accept().await;
            connection.send(answer).await;
            drop(connection);
            let output = run.end().await;
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(said.starts_with("ssecat: http://127.0.0.1:"), "{said}");
            assert!(said.contains(message) && said.lines().count() == 1, "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    });
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    run(async {
        let (_nobody, port) = nobody();
        let proxy = format!("http://user:secret@127.0.0.1:{port}");
        let named = format!("the environment names the proxy http://127.0.0.1:{port}/: ");
        let url = format!("http://127.0.0.1:{port}/events");
        for (passed_over, is_named) in [("", true), ("127.0.0.1", false)] {
            let mut command = command(&url, &["--max-failures", "1"]);
            for other in ["HTTP_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
                command.env_remove(other);
            }
            command.env("http_proxy", &proxy).env("no_proxy", passed_over);
            let output = command.output().await.expect("it ends");
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert_eq!(said.contains(&named), is_named, "{said}");
            assert!(said.contains("refused") && !said.contains("secret"), "{said}");
        }
    });
}

#[test]
fn a_complete_stream_ends_it_with_success() {
    run(async {
        let mut server = Server::start().await;
        let run = Run::start(&server.url("/events"), &["--policy", "once", "--data"]);
        let mut connection = server.accept().await;
        connection.send(stream("data: a\n\n")).await;
        drop(connection);
        let output = run.end().await;
        assert_eq!((text(&output.stdout), output.status.code()), ("a\n", Some(0)));
        assert_eq!(text(&output.stderr), "");
    });
}

#[test]
fn a_cut_answer_is_told_from_a_whole_one() {
    run(async {
        let arguments =
            ["--body", "{}", "--must-end-with", "[DONE]", "--must-end-with", "type:stop", "--data"];
        for (body, printed, code, said) in [
            ("data: a\n\ndata: [DONE]\n\n", "a\n", 0, ""),
            ("data: a\n\nevent: stop\ndata: b\n\n", "a\nb\n", 0, ""),
            (
                "data: a\n\n{\"error\":1}",
                "a\n",
                3,
                "before it was complete: \"{\\\"error\\\":1}\";",
            ),
        ] {
            let mut server = Server::start().await;
            let run = Run::start(&server.url("/events"), &arguments);
            let mut connection = server.accept().await;
            connection.send(stream(body)).await;
            drop(connection);
            let output = run.end().await;
            assert_eq!((text(&output.stdout), output.status.code()), (printed, Some(code)));
            assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        }
    });
}

#[test]
fn an_event_that_reports_an_error_ends_it() {
    run(async {
        let body = "data: a\n\nevent: error\ndata: overloaded\n\n";
        let (output, _) = answered(stream(body), &["--error-event", "error", "--data"]).await;
        assert_eq!((text(&output.stdout), output.status.code()), ("a\n", Some(1)));
        assert!(text(&output.stderr).contains("overloaded"), "{}", text(&output.stderr));
    });
}

#[test]
fn certificates_are_believed_as_asked() {
    use std::sync::Arc;

    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    run(async {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        fs::write(&file, made.cert.pem()).expect("written");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut head = [0; 4096];
                    let len = stream.read(&mut head).await?;
                    if head[..len].starts_with(b"GET /events") {
                        stream.write_all(stream_of_one().as_bytes()).await?;
                    }
                    stream.shutdown().await
                });
            }
        });
        let file = file.to_str().expect("UTF-8");
        for (arguments, code) in [
            (&["--ca", file][..], 0),
            (&["--insecure"], 0),
            (&["--max-failures", "1"], 3),
            (&["--ca", "/no such file"], 2),
        ] {
            let arguments = [&["-n", "1", "--data"][..], arguments].concat();
            let run = Run::start(&format!("https://localhost:{port}/events"), &arguments);
            let output = run.end().await;
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
            assert_eq!(text(&output.stdout), if code == 0 { "a\n" } else { "" });
        }
        serving.abort();
    });
}

fn stream_of_one() -> String {
    stream("data: a\n\n")
}

#[test]
fn what_is_wrong_with_the_command_line_is_said_in_one_line() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let [empty, key] = ["empty", "key"].map(|name| folder.path().join(name));
        fs::write(&empty, "").expect("written");
        let made = rcgen::KeyPair::generate().expect("a key");
        fs::write(&key, made.serialize_pem()).expect("written");
        let [empty, key] = [&empty, &key].map(|path| path.to_str().expect("UTF-8"));
        for (url, arguments, message) in [
            ("localhost", &["-q"][..], "bad URL"),
            ("http://127.0.0.1:9/", &["--body", "@/does/not/exist"], "--body: cannot read"),
            ("http://127.0.0.1:9/", &["--id-file", "/"], "--id-file: cannot read"),
            ("http://127.0.0.1:9/", &["-H", "Last-Event-ID: 1"], "last_event_id"),
            ("http://127.0.0.1:9/", &["--ca", empty], "has no certificates in PEM; name"),
            ("http://127.0.0.1:9/", &["--ca", key], "has no certificates in PEM; name"),
        ] {
            let output = command(url, arguments).output().await.expect("it starts");
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(message) && said.lines().count() == 1, "{said}");
        }
        let output = command("x", &["-n0"]).output().await.expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        for limit in ["--connect-timeout", "--response-timeout", "--idle-timeout"] {
            for zero in ["0s", "0", "0ms 0us"] {
                let output = command("http://127.0.0.1:9/", &[limit, zero]).output().await;
                let output = output.expect("it starts");
                let said = text(&output.stderr);
                assert_eq!(output.status.code(), Some(2), "{said}");
                assert!(said.contains("nothing happens in no time; give more"), "{said}");
            }
        }
    });
}

#[test]
fn requests_are_made_as_asked() {
    run(async {
        let arguments =
            ["-n1", "-H", "X-A: b: c", "--bearer", "t", "--channel", "ä", "--channel", "b"];
        let (_, connection) = answered(stream("data\n\n"), &arguments).await;
        assert_eq!(connection.method(), "GET");
        assert_eq!(connection.path(), "/events?channel=%C3%A4&channel=b");
        assert_eq!(connection.header("X-A"), Some(&b"b: c"[..]));
        assert_eq!(connection.header("Authorization"), Some(&b"Bearer t"[..]));

        let (_, connection) = answered(stream("data\n\n"), &["-n1", "--body", "{}"]).await;
        assert_eq!((connection.method(), &connection.body[..]), ("POST", &b"{}"[..]));
        assert_eq!(connection.header("Content-Type"), Some(&b"application/json"[..]));
    });
}

#[test]
fn the_body_may_come_from_standard_input() {
    run(async {
        let mut server = Server::start().await;
        let mut command = command(&server.url("/events"), &["-n1", "--body", "-", "-X", "PUT"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(b"some text").await.expect("it reads");
        drop(stdin);
        let mut connection = server.accept().await;
        connection.send(stream("data: a\n\n")).await;
        assert_eq!((connection.method(), &connection.body[..]), ("PUT", &b"some text"[..]));
        assert_eq!(connection.header("Content-Type"), None);
        assert_eq!(child.wait().await.expect("it ends").code(), Some(0));
    });
}

#[test]
fn notices_quote_what_a_server_says_in_part() {
    run(async {
        let long = "x".repeat(20_000);
        let body = format!(
            "event: stream-reset\nid: 1\ndata: {{\"channels\": [\"\\u001b{long}\"]}}\n\ndata: a\n\n"
        );
        let arguments = ["-v", "-n1", "--data", "--last-event-id", &long];
        let (output, _) = answered(stream(&body), &arguments).await;
        let said = text(&output.stderr);
        assert!(said.contains("continuing after xxx"), "{said}");
        assert!(said.contains("events of \\u{1b}xxx"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() < 300), "{said}");
    });
}

#[test]
fn quiet_and_verbose_say_less_and_more() {
    run(async {
        for (arguments, expected) in [
            (&["-q", "-n1"][..], ""),
            (
                &["-v", "-n1", "--last-event-id", "7"],
                "ssecat: continuing after 7\nssecat: connecting\nssecat: connected\n",
            ),
        ] {
            let (output, _) =
                answered(stream("event: stream-reset\ndata: {}\n\ndata: a\n\n"), arguments).await;
            let said = text(&output.stderr);
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(said.contains("reset"), !expected.is_empty(), "{said}");
        }
    });
}
