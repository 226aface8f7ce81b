//! `sse-fuzz hostile` on the npm package in a real browser, and on the client in Rust there.
//!
//! The server wants a command that is a client: it is this test binary, started again, and hands
//! what it is told to a page, by way of a [`relay`]. A page must have the origin of what it asks
//! for, so each is the server's own list of cases with the client put into it. A browser has six
//! connections to a host at once: several browsers take several cases.
//!
//! It needs a browser, the package, and the example `hostile_page` of the client in Rust. `cargo
//! xtask test` sees to them.

#[allow(dead_code, reason = "each test file uses its part")]
mod npm;
mod relay;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::Parser;
use serde_json::{Value, json};
use sse_fuzz::hostile;
use testkit::browser::Browser;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use wasm_bindgen_cli_support::Bindgen;

use relay::Relay;

/// Where the relay listens, for the command.
const RELAY: &str = "HOSTILE_RELAY";

/// For a look at some cases: what their names begin with.
const SOME: &str = "SSE_HOSTILE";

/// The command line of the server, a word a line.
const WORDS: &str = "HOSTILE_WORDS";

/// Cases that show nothing of a client in a browser, by what their names begin with, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    ("cut.in-head", "Chromium takes a head that is cut off for a whole one"),
    ("cut.chunked-garbage", LOST),
    ("cut.chunked-truncated", LOST),
    ("cut.chunked-unfinished", LOST),
    ("cut.length", LOST),
    ("http.redirect-cookie", "no script can set the header Cookie"),
    ("http.redirect-downgrade-cookie", "no script can set the header Cookie"),
    ("limit.endless", UNSEEN),
    ("limit.gzip-bomb", UNSEEN),
];

const LOST: &str = "Chromium gives up what has arrived when it finds the end of a body broken";

const UNSEEN: &str = "it is the memory that counts, and nobody sees that of a page";

fn is_left_out(case: &str) -> bool {
    LEFT_OUT.iter().any(|(begin, _)| case.starts_with(begin))
}

/// Hands a case to the page, and prints what comes of it.
#[test]
#[ignore = "a client for the other tests"]
fn a_client() {
    let value = |name: &str| env::var(name).unwrap_or_default();
    let mut relay = TcpStream::connect(value(RELAY)).expect("the relay listens");
    let header = value("HOSTILE_HEADER");
    let (name, header) = header.split_once(": ").expect("a header is `Name: value`");
    let task = json!({
        "url": value("HOSTILE_URL"), "name": name, "value": header,
        "method": value("HOSTILE_METHOD"), "body": value("HOSTILE_BODY"),
    });
    writeln!(relay, "{task}").expect("the relay reads");
    // Not `io::copy`: by way of the kernel it holds the pipe while it waits for the relay, and the
    // other end of the pipe waits, too.
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = relay.read(&mut buffer) {
        io::stdout().write_all(&buffer[..len]).and_then(|()| io::stdout().flush()).expect("a pipe");
    }
    std::process::exit(0);
}

/// Is `sse-fuzz hostile`, in a process of its own.
#[test]
#[ignore = "a server for the other tests"]
fn the_server() {
    let words = env::var(WORDS).unwrap_or_default();
    let program = Program::parse_from(words.lines());
    program.hostile.run().expect("it runs");
    std::process::exit(0);
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    hostile: hostile::Command,
}

/// The cases, and what came of them in pages that this script has made clients.
async fn verdicts(client: String) -> Option<BTreeMap<String, Value>> {
    let mut starting = JoinSet::new();
    for _ in 0..relay::BROWSERS {
        starting.spawn(Browser::start());
    }
    let browsers = starting.join_all().await.into_iter().collect::<Option<_>>()?;
    let relay = Relay::start(client, browsers).await;
    let me = env::current_exe().expect("it runs");
    let command = format!(
        "env {RELAY}={} HOSTILE_URL={{url}} 'HOSTILE_HEADER={{header}}' HOSTILE_METHOD={{method}} \
         'HOSTILE_BODY={{body}}' HOSTILE_CA={{ca}} '{}' a_client --exact --ignored --nocapture",
        relay.address,
        me.display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let listen = free.expect("a free port").to_string();
    let jobs = relay::JOBS.to_string();
    let mut words = vec!["hostile", "--jobs", &jobs, "--listen", &listen, "--check", &command];
    words.extend(["--json", json.to_str().expect("UTF-8")]);
    let cases = hostile::cases();
    let wanted = env::var(SOME).unwrap_or_default();
    let cases = cases.iter().map(hostile::Case::id);
    words.extend(cases.filter(|case| case.starts_with(&wanted) && !is_left_out(case)));
    let mut server = tokio::process::Command::new(&me);
    server.args(["the_server", "--exact", "--ignored", "--nocapture"]);
    server.env(WORDS, words.join("\n")).kill_on_drop(true);
    server.status().await.expect("it runs");
    let report = fs::read(&json).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let cases = report["cases"].as_array().expect("a list").iter();
    let cases = cases.map(|case| (case["id"].as_str().expect("a text").to_owned(), case.clone()));
    Some(cases.collect())
}

/// The browsers of two tests at once would be in each other's way.
static TURN: Mutex<()> = Mutex::const_new(());

/// Has this client go through the cases: a function `follow`, as `page/hostile.js` wants it.
async fn bears_them(client: &str) {
    let _turn = TURN.lock().await;
    let script = format!("{client}\n{}", include_str!("page/hostile.js"));
    let Some(verdicts) = verdicts(script).await else { return };
    let bad: Vec<_> = verdicts.values().filter(|case| case["verdict"] != "pass").collect();
    for case in &bad {
        eprintln!("{:#}", json!([case["id"], case["verdict"], case["reasons"], case["evidence"]]));
    }
    assert!(verdicts.len() > 150 || env::var_os(SOME).is_some(), "only {}", verdicts.len());
    assert!(bad.is_empty(), "{} of {}", bad.len(), verdicts.len());
}

/// Gives a page a module, at the URL `module`.
fn module(text: &str) -> String {
    let text = json!(text);
    format!(
        "const module = URL.createObjectURL(new Blob([{text}], {{ type: 'text/javascript' }}));"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_npm_package_in_a_browser_bears_what_servers_do() {
    let Some(package) = npm::package() else { return };
    let text = fs::read_to_string(package.join("inline.js")).expect("the package has it");
    bears_them(&format!("{}\n{}", module(&text), include_str!("page/hostile-npm.js"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_in_a_browser_bears_what_servers_do() {
    let Some(program) = npm::program() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut bindgen = Bindgen::new();
    bindgen.input_path(program).out_name("client").typescript(false);
    let made = bindgen.web(true).and_then(|bindgen| bindgen.generate(folder.path()));
    made.expect("it is what wasm-bindgen knows");
    let text = fs::read_to_string(folder.path().join("client.js")).expect("it has been made");
    let bytes = fs::read(folder.path().join("client_bg.wasm")).expect("it has been made");
    let program = format!("const program = {};", json!(BASE64_STANDARD.encode(bytes)));
    let client = include_str!("page/hostile-rust.js");
    bears_them(&format!("{}\n{program}\n{client}", module(&text))).await;
}
