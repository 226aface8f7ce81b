//! `sse-fuzz decode`, seen from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

fn spawn(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sse-fuzz"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo has built it")
}

fn run(args: &[&str], input: &[u8]) -> Output {
    let mut child = spawn(args);
    let mut stdin = child.stdin.take().expect("piped");
    thread::scope(|scope| {
        // It may end without reading everything, or anything.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("it ends")
    })
}

fn decode(args: &[&str], input: &[u8]) -> String {
    let output = run(&[&["decode"], args].concat(), input);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn an_event_is_a_line_of_json() {
    assert_eq!(
        decode(&[], b"id: 1\ndata: a\ndata: b\n\n"),
        "{\"event\":\"message\",\"data\":\"a\\nb\",\"id\":\"1\"}\n"
    );
}

#[test]
fn ids_stay_in_force_retry_is_told_and_comments_are_not() {
    assert_eq!(
        decode(
            &[],
            b"\xef\xbb\xbf: hello\n\nevent: e\rdata\r\rretry: 1500\nid: 7\n\ndata: x\n\n\
              id\ndata: y\n\ndata: no blank line"
        ),
        "{\"event\":\"e\",\"data\":\"\",\"id\":\"\"}\n\
         {\"retry\":1500}\n\
         {\"event\":\"message\",\"data\":\"x\",\"id\":\"7\"}\n\
         {\"event\":\"message\",\"data\":\"y\",\"id\":\"\"}\n"
    );
}

#[test]
fn only_what_json_needs_is_escaped() {
    let input = "data: \"\\/\t\u{1b} gr\u{fc}n \u{1f600} \u{2028}\0\n\n";
    let data = "\\\"\\\\/\\t\\u001b gr\u{fc}n \u{1f600} \u{2028}\\u0000";
    assert_eq!(
        decode(&[], input.as_bytes()),
        format!("{{\"event\":\"message\",\"data\":\"{data}\",\"id\":\"\"}}\n")
    );
}

#[test]
fn an_event_beyond_the_limit_is_told_and_the_next_is_read() {
    let mut input = b"data: ".to_vec();
    input.resize((16 << 20) + 100, b'x');
    input.extend_from_slice(b"\n\ndata: y\n\n");
    let output = decode(&[], &input);
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].starts_with("{\"error\":\""), "{output}");
    assert_eq!(lines[1], r#"{"event":"message","data":"y","id":""}"#);
}

#[test]
fn an_event_is_printed_before_the_input_ends() {
    let mut child = spawn(&["decode"]);
    let mut stdin = child.stdin.take().expect("piped");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in stdout.lines() {
            sender.send(line.expect("UTF-8")).expect("received below");
        }
    });
    for data in ["a", "b"] {
        write!(stdin, "data: {data}\n\n").expect("it reads");
        let line = lines.recv_timeout(Duration::from_secs(30));
        let expected = format!("{{\"event\":\"message\",\"data\":\"{data}\",\"id\":\"\"}}");
        assert_eq!(line, Ok(expected));
    }
    drop(stdin);
    reader.join().expect("no more lines");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let mut child = spawn(&["decode"]);
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"data: a\n\n").expect("it reads");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut String::new()).expect("a line");
    drop(stdout);
    // As much as it takes until it notices; then writing to it fails.
    while stdin.write_all(&b"data: b\n\n".repeat(1000)).is_ok() {}
    let mut complaint = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    stderr.read_to_string(&mut complaint).expect("UTF-8");
    assert_eq!(complaint, "");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    for (args, told) in [
        (&["decode", "--chunks", "3"][..], "--chunks"),
        (&["decode", "--chunk", "0"], "--chunk"),
        (&["decode", "--chunk", "x"], "--chunk"),
        (&["decoed"], "decoed"),
        (&[], "Usage"),
    ] {
        let output = run(args, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(output.stdout, b"", "{args:?}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains(told), "{args:?}: {complaint}");
    }
}

/// Pieces of which an input that is hard to read consists.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 20] = [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r\n",
        b"data",
        b"data:",
        b"data: ",
        b"data:  a",
        b"id: ",
        b"id:\0",
        b"event: e",
        b"retry: 12",
        b"retry: x",
        b": c",
        b"\xef\xbb\xbf",
        b"\xef\xbb",
        b"\xff",
        "\u{1f600}".as_bytes(),
        b"x",
    ];
    let piece = prop::sample::select(&PIECES[..]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_output_does_not_depend_on_chunks(input in nasty(), chunk_len in 1..9usize) {
        let whole = decode(&[], &input);
        prop_assert_eq!(&decode(&["--chunk", "1"], &input), &whole);
        prop_assert_eq!(&decode(&["--chunk", &chunk_len.to_string()], &input), &whole);
        prop_assert_eq!(&decode(&["--chunk", "1000000"], &input), &whole);
    }
}
