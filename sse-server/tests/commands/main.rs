//! What the program does beside serving, as people run it.

mod check_config;
mod strangers;

use std::process::Stdio;

use access::{SECRET, configured, keys};
use jsonwebtoken::{Algorithm, DecodingKey};
use port::Port;
use serde_json::{Value, json};
use server::{Server, TOKEN, binary, within};
use testkit::{access, port, server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

fn command(args: &[&str]) -> Command {
    let mut command = binary();
    command.env_remove("SSE_SERVER_JWT_KEY").args(args).stdout(Stdio::piped());
    command
}

/// What a command comes to: exit code, standard output, standard error.
async fn run(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have had enough before.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    let output = within("it to end", child.wait_with_output()).await.expect("it can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

async fn publish(server: &Server, args: &[&str], input: &str) -> (i32, String, String) {
    let url = server.url("");
    let args = [&["publish", "--url", &url, "--token", TOKEN][..], args].concat();
    run(command(&args), input).await
}

#[tokio::test]
async fn publish_publishes_text_or_json_and_prints_the_id() {
    let server = Server::start(&[]).await;
    let mut reader = server.get("/events/a/", "").await;
    reader.opening().await;
    for (args, input, id, event) in [
        (&["a", "hello"][..], "", "a:1", "event: message\nid: a:1\ndata: hello\n\n"),
        (&["a", "-", "--event", "t"], "l1\nl2", "a:2", "event: t\nid: a:2\ndata: l1\ndata: l2\n\n"),
        (&["a", "-1", "--json"], "", "a:3", "event: message\nid: a:3\ndata: -1\n\n"),
        (
            &["a", "-", "--json"],
            "{\"n\": 1.50}\n",
            "a:4",
            "event: message\nid: a:4\ndata: {\"n\": 1.50}\n\n",
        ),
        (&["a", "x", "--no-store"], "", "(not stored)", "event: message\ndata: x\n\n"),
        (&["a", "k", "--key", "k"], "", "a:5", "id: a:5\ndata: k\n\n"),
    ] {
        let done = publish(&server, args, input).await;
        assert_eq!(done, (0, format!("{id}\n"), String::new()), "{args:?}");
        reader.until(event).await;
    }
    assert_eq!(publish(&server, &["a", "k", "--key", "k"], "").await.1, "a:5\n", "once");
    let skipped = publish(&server, &["a", "s", "--skip-user", "anonymous"], "").await;
    assert_eq!(skipped.1, "a:6\n");
    let mut by_variable = command(&["publish", "a", "y", "--url", &server.url("/")]);
    by_variable.env("SSE_SERVER_PUBLISH_TOKEN", TOKEN);
    assert_eq!(run(by_variable, "").await.1, "a:7\n", "the token by the variable");
    assert_eq!(reader.until("data: y\n\n").await, "event: message\nid: a:7\ndata: y\n\n");
}

#[tokio::test]
async fn publish_says_what_is_wrong_and_whether_it_is_worth_another_try() {
    let server = Server::start(&[]).await;
    for (args, code, message) in [
        (&["a", "1", "--token", "wrong"][..], 2, "cannot be used multiple times"),
        (&["", "1"], 1, "error: the server answers 400: `channel` is empty"),
        (&["a", "{", "--json"], 1, "error: the data are no JSON"),
        (&["a"], 2, "required arguments were not provided"),
        (&["a", "1", "--ndjson"], 2, "cannot be used with"),
    ] {
        let (found, out, error) = publish(&server, args, "").await;
        assert_eq!((found, &*out), (code, ""), "{args:?}: {error}");
        assert!(error.contains(message), "{args:?}: {error}");
    }
    let url = server.url("");
    let wrong = command(&["publish", "a", "1", "--url", &url, "--token", "wrong"]);
    let (code, _, error) = run(wrong, "").await;
    assert!(code == 1 && error.starts_with("error: the server answers 401: "), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    drop(server);
    let port = Port::reserve();
    let nobody = format!("http://{port}");
    let (code, _, error) =
        run(command(&["publish", "a", "1", "--url", &nobody, "--token", "x"]), "").await;
    assert!(code == 3 && error.contains("onnection refused"), "{code} {error}");
}

#[tokio::test]
async fn publish_ndjson_hands_on_lines_and_answers_as_they_come() {
    let server = Server::start(&[]).await;
    let url = server.url("");
    let mut command = command(&["publish", "--ndjson", "--url", &url, "--token", TOKEN]);
    let mut child: Child = command.stdin(Stdio::piped()).spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
    for n in 1..=2 {
        let line = format!("{{\"channel\":\"a\",\"data\":{n}}}\n");
        stdin.write_all(line.as_bytes()).await.expect("it reads");
        let answer = within("an answer", answers.next_line()).await.expect("readable");
        let expected = format!("{{\"line\":{n},\"published\":{n},\"ids\":{{\"a\":\"a:{n}\"}}}}");
        assert_eq!(answer, Some(expected));
    }
    drop(stdin);
    assert!(within("it to end", child.wait()).await.expect("it ends").success());
    let (code, out, error) =
        publish(&server, &["--ndjson"], "x\n{\"channel\":\"a\",\"data\":3}").await;
    assert_eq!(code, 1, "{out} {error}");
    assert!(
        out.contains("\"line\":1,\"error\":\"bad-request\"") && out.contains("\"a:3\""),
        "{out}"
    );
    assert!(error.contains("1 lines were not published"), "{error}");
    // An answer that ends before all is told is no success.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let flags = ["publish", "--ndjson", "--url", &url, "--token", TOKEN];
    let broken = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("it connects");
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            socket.read_buf(&mut seen).await.expect("no cut");
        }
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n";
        let answer = format!("{head}{{\"line\":1,\"published\":1,\"ids\":{{\"a\":\"a:1\"}}}}\n");
        socket.write_all(answer.as_bytes()).await.expect("it reads");
    });
    let (code, _, error) = run(self::command(&flags), "{\"channel\":\"a\",\"data\":1}\n").await;
    broken.await.expect("no panic");
    assert!(code == 3 && error.contains("decided up to line 1"), "{code} {error}");
    let url = server.url("");
    // Standard input that goes on must not keep it from ending.
    let refused = ["publish", "--ndjson", "--url", &url, "--token", "wrong"];
    let mut child = self::command(&refused).stdin(Stdio::piped()).spawn().expect("started");
    let _stdin = child.stdin.take().expect("piped");
    assert_eq!(within("it to end", child.wait()).await.expect("it ends").code(), Some(1));
}

#[tokio::test]
async fn tail_prints_events_and_goes_on_after_the_server_was_killed() {
    let mut server = Server::start(&[]).await;
    server.publish(r#"{"channel":"a","text":"one\nmore"}"#).await;
    let url = server.url("");
    let mut tail = command(&["tail", "a", "b", "--url", &url, "--from", "a:0", "--count", "3"]);
    let mut child = tail.spawn().expect("it can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = async || within("a line", lines.next_line()).await.expect("readable");
    let first = next().await.expect("a line");
    assert!(first.ends_with("\tmessage\tone") && first.contains("a:1"), "{first}");
    assert_eq!(next().await.as_deref(), Some("\t\tmore"));
    server.kill().await;
    server.restart().await;
    server.publish(r#"{"channel":"a","data":2}"#).await;
    assert!(next().await.expect("a line").ends_with("\tmessage\t2"));
    server.publish(r#"{"channel":"b","event":"t","data":3}"#).await;
    assert!(next().await.expect("a line").ends_with("\tt\t3"));
    assert!(
        within("it to end", child.wait()).await.expect("it ends").success(),
        "three are enough"
    );
    let tail = command(&["tail", "a", "--url", &url, "--from", "a:1", "--count", "1", "--json"]);
    let (code, out, _) = run(tail, "").await;
    let event: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, event), (0, json!({"id": "a:2", "event": "message", "data": "2"})));
}

#[tokio::test]
async fn tail_says_why_nothing_comes_each_time_and_when_it_is_over() {
    let mut server = Server::start(&[]).await;
    let url = server.url("");
    server.kill().await;
    let mut tail = command(&["tail", "a", "--url", &url, "--from", "a:0", "--count", "1"]);
    let mut child = tail.spawn().expect("it can be started");
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut next = async || within("a line", said.next_line()).await.expect("readable");
    for _ in 0..2 {
        let line = next().await.expect("a line");
        assert!(
            line.contains("onnection refused") && line.contains("; trying again in "),
            "{line}"
        );
    }
    server.restart().await;
    let mut line = next().await.expect("a line");
    while line.contains("; trying again in ") {
        line = next().await.expect("a line");
    }
    assert_eq!(line, "connected again");
    server.publish(r#"{"channel":"a","data":1}"#).await;
    assert!(within("it to end", child.wait()).await.expect("it ends").success());
}

#[tokio::test]
async fn tail_and_token_go_together_and_who_may_not_read_is_told() {
    let settings = format!(
        "[[access.rules]]\nchannel = \"user-{{sub}}\"\nallow = \"authenticated\"\n\
         [[access.rules]]\nchannel = \"*\"\nallow = \"token\"\n[access.jwt]\nsecret = {SECRET:?}"
    );
    let (server, folder) = configured(&settings).await;
    server.publish(r#"[{"channel":"user-u1","data":1},{"channel":"c","data":1}]"#).await;
    let url = server.url("");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).expect("writable");
    let file = secret.display().to_string();
    let by_file = command(&["token", "--sub", "u1", "--channels", "b,c", "--key-file", &file]);
    let mut by_variable = command(&["token", "--sub", "u1", "--channels", "c", "--expires", "5m"]);
    by_variable.env("SSE_SERVER_JWT_KEY", SECRET);
    for token in [by_file, by_variable] {
        let (code, token, error) = run(token, "").await;
        assert_eq!((code, &*error), (0, ""));
        for (channel, from) in [("user-u1", "user-u1:0"), ("c", "c:0")] {
            let args = ["tail", channel, "--from", from, "--count", "1", "--url", &url, "--token"];
            let (code, out, error) = run(command(&[&args[..], &[token.trim()]].concat()), "").await;
            assert_eq!((code, out), (0, format!("{channel}:1\tmessage\t1\n")), "{error}");
        }
        let args = ["tail", "user-u2", "--url", &url, "--token", token.trim()];
        let (code, _, error) = run(command(&args), "").await;
        assert!(code == 1 && error.contains("Permission denied to channels: user-u2"), "{error}");
    }
    let (code, _, error) = run(command(&["tail", "c", "--url", &url]), "").await;
    assert!(code == 1 && error.contains("401"), "{error}");
}

#[tokio::test]
async fn token_signs_with_the_kind_of_key_that_it_is_given_and_never_shows_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (n, pair) in [keys::rs256(), keys::es256(), keys::eddsa()].into_iter().enumerate() {
        let file = folder.path().join(n.to_string());
        std::fs::write(&file, &pair.private_pem).expect("writable");
        let file = file.display().to_string();
        let args =
            ["token", "--sub", "u1", "--issuer", "i", "--audience", "x", "--key-file", &file];
        let (code, token, error) = run(command(&args), "").await;
        assert_eq!((code, &*error), (0, ""), "{:?}", pair.algorithm);
        let mut rules = jsonwebtoken::Validation::new(pair.algorithm);
        rules.set_audience(&["x"]);
        rules.set_issuer(&["i"]);
        let pem = pair.public_pem.as_bytes();
        let public = match pair.algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
            _ => DecodingKey::from_ed_pem(pem),
        };
        let public = public.expect("a key");
        let token = jsonwebtoken::decode::<Value>(token.trim(), &public, &rules);
        let token = token.expect("it holds");
        assert_eq!(token.claims["sub"], "u1");
        assert_eq!(token.claims["exp"].as_u64(), token.claims["iat"].as_u64().map(|at| at + 3600));
    }
    for (args, key, message) in [
        (&["token"][..], "", "error: there is no key; name a file by --key-file, or set"),
        (&["token", "--key-file", "/nonexistent"], "", "--key-file: cannot read /nonexistent"),
        (
            &["token"],
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----",
            "the key is no private key",
        ),
    ] {
        let mut command = command(args);
        command.env("SSE_SERVER_JWT_KEY", key);
        let (code, out, error) = run(command, "").await;
        assert_eq!((code, &*out), (1, ""), "{error}");
        assert!(error.contains(message) && !error.contains("c2VjcmV0"), "{error}");
    }
    let (_, first, _) = run(command(&["token", "--publish"]), "").await;
    let (_, second, _) = run(command(&["token", "--publish"]), "").await;
    assert!(first.trim().len() >= 32 && first != second);
    assert_eq!(run(command(&["token", "--publish", "--sub", "u"]), "").await.0, 2);
}

#[tokio::test]
async fn every_command_tells_its_exit_codes_and_without_one_it_serves() {
    for name in ["publish", "tail", "check-config", "token"] {
        let (code, out, _) = run(command(&[name, "--help"]), "").await;
        assert!(code == 0 && out.contains("Exit codes:"), "{name}: {out}");
    }
    // The server's own variables do not get into the way of a command.
    let mut token = command(&["token", "--publish"]);
    token.env("SSE_SERVER_LISTEN", "nonsense").env("SSE_SERVER_STORAGE", "nonsense");
    assert_eq!(run(token, "").await.0, 0);
    let (code, _, error) = run(command(&["--listen", "nonsense"]), "").await;
    assert!(code == 2 && error.contains("\"nonsense\" is no address and port"), "{error}");
}
