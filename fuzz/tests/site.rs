//! `sse-fuzz site`: one command makes pages of reports, and texts in them stay text.

use std::fs;
use std::process::Command;

use serde_json::json;

fn sse_fuzz(args: &[&str]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-fuzz"));
    command.args(args).status().expect("cargo has built it").code()
}

#[test]
fn reports_of_servers_and_clients_become_a_site() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let check = |id: &str, verdict: &str| {
        json!({"id": id, "title": "t", "severity": "error", "reference": "advice",
            "verdict": verdict, "reason": "<script>", "seconds": 0.1, "exchanges": []})
    };
    let server = json!({"target": "http://h/<b>", "profile": "eventsource", "version": "0.1.0",
        "date": "Sun, 29 Nov 2026 00:00:00 GMT", "problem": null,
        "summary": {"pass": 3, "fail": 1, "skip": 0, "inconclusive": 0},
        "checks": [check("con.status", "pass"), check("con.type", "pass"),
            check("fmt.utf8", "pass"), check("res.loss", "fail")]});
    let client = json!({"client": "client {url}", "summary": {"pass": 0, "fail": 1, "skip": 0,
        "inconclusive": 0}, "cases": [{"id": "parse.bom", "title": "A mark", "correct": "Drops it.",
        "reference": "9.2.5", "verdict": "fail", "reasons": ["<i>"], "evidence": [], "seconds": 1}]});
    fs::write(file("server.json"), server.to_string()).expect("written");
    fs::write(file("client.json"), client.to_string()).expect("written");
    let site = file("site");
    let named = format!("my client 1.0={}", file("client.json"));
    assert_eq!(sse_fuzz(&["site", "--out", &site, &file("server.json"), &named]), Some(0));
    let read = |name: &str| fs::read_to_string(folder.path().join("site").join(name)).expect(name);
    let index = read("index.html");
    for part in ["http://h/&lt;b&gt;", "bronze", "my client 1.0", "2-my-client-1-0.html", "29 Nov"]
    {
        assert!(index.contains(part), "no {part} in\n{index}");
    }
    let page = read("2-my-client-1-0.html");
    assert!(page.contains("parse.bom") && page.contains("&lt;i&gt;"), "{page}");
    assert!(read("1-http-h-b.html").contains("res.loss"));
    // What it has kept can be read again.
    let again = format!("{site}/1-http-h-b.json");
    assert_eq!(sse_fuzz(&["site", "--out", &file("again"), &again]), Some(0));

    fs::write(file("other.json"), "{}").expect("written");
    assert_eq!(sse_fuzz(&["site", "--out", &site, &file("other.json")]), Some(2));
    assert_eq!(sse_fuzz(&["site", "--out", &site, &file("missing.json")]), Some(2));
}
