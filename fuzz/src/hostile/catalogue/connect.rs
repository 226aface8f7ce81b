//! `con` and `post`: what a client sends, and what it takes for an event stream.

use crate::hostile::case::{ADVICE, Case, Check, Script};

const PROCESSING: &str = "9.2.3";
const M: &str = "message";

/// An event, soon over.
const ONE: &str = "retry: 200\nid: 1\ndata: a\n\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "con.request",
            "A stream, and a look at the request",
            PROCESSING,
            "Asks with GET and Accept: text/event-stream, without Last-Event-ID, and (advice) past \
             caches.",
        )
        .on(Script::stream("data: a\n\n").alive())
        .events(&[(M, "a", "")])
        .check(Check::Method(1, "GET"))
        .check(Check::Header(1, "Accept", "text/event-stream"))
        .advise(Check::Header(1, "Cache-Control", "no-"))
        .check(Check::LastEventId(1, None)),
        Case::new(
            "con.reconnect",
            "The stream ends",
            PROCESSING,
            "Comes back with the last event ID.",
        )
        .on(Script::stream(ONE))
        .on(Script::stream("id: 2\ndata: b\n\n").alive())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .resumes(2, Some("1"))
        .deadline(30),
        Case::new(
            "con.reconnect-without-id",
            "A stream without ids ends",
            "9.2.4",
            "Comes back without the header Last-Event-ID, not with an empty one.",
        )
        .on(Script::stream("retry: 200\ndata: a\n\n"))
        .on(Script::stream("data: b\n\n").alive())
        .events(&[(M, "a", ""), (M, "b", "")])
        .resumes(2, None)
        .rests_on(&["con.request"]),
        Case::new(
            "con.id-empty",
            "The last event ID is reset, and the stream ends",
            "9.2.4",
            "Comes back without the header Last-Event-ID, not with an empty one.",
        )
        .on(Script::stream("retry: 200\nid: 1\ndata: a\n\nid: \ndata: b\n\n"))
        .on(Script::stream("data: c\n\n").alive())
        .events(&[(M, "a", "1"), (M, "b", ""), (M, "c", "")])
        .resumes(2, None)
        .rests_on(&["con.reconnect-without-id"]),
        Case::new(
            "con.id-survives",
            "A resumed stream has no ids, and ends",
            "9.2.4",
            "Keeps the last event ID of the stream before.",
        )
        .on(Script::stream(ONE))
        .on(Script::stream("data: b\n\n"))
        .on(Script::stream("data: c\n\n").alive())
        .events(&[(M, "a", "1"), (M, "b", "1"), (M, "c", "1")])
        .resumes(3, Some("1"))
        .deadline(12),
        Case::new(
            "con.id-without-data",
            "An id comes without data, and the stream ends",
            "9.2.6",
            "Resumes from that id.",
        )
        .on(Script::stream("retry: 200\nid: 1\ndata: a\n\nid: 2\n\n"))
        .on(Script::stream("id: 3\ndata: b\n\n").alive())
        .events(&[(M, "a", "1"), (M, "b", "3")])
        .resumes(2, Some("2")),
        Case::new("con.id-utf8", "An id that is not ASCII", "9.2.4", "Sends it as UTF-8.")
            .on(Script::stream("retry: 200\nid: \u{e9}\u{20ac}\ndata: a\n\n"))
            .on(Script::stream("id: 2\ndata: b\n\n").alive())
            .events(&[(M, "a", "\u{e9}\u{20ac}"), (M, "b", "2")])
            .resumes(2, Some("\u{e9}\u{20ac}")),
        Case::new(
            "con.id-unsendable",
            "An id with a control character",
            PROCESSING,
            "Comes back, with the id as HTML and Fetch have it, or without it as RFC 9110, 5.5 has it.",
        )
        .on(Script::stream("retry: 200\nid: a\u{1}b\u{7f}\ndata: a\n\n"))
        .on(Script::stream("id: 2\ndata: b\n\n").alive())
        .events(&[(M, "a", "a\u{1}b\u{7f}"), (M, "b", "2")])
        .reach(2)
        .check(Check::ComesBack(2))
        .deadline(12),
        Case::new("con.id-long", "An id of 4 KiB", "9.2.4", "Sends all of it.")
            .on(Script::stream(format!(
                "retry: 200\nid: {}\ndata: a\n\n",
                "0123456789abcdef".repeat(256)
            )))
            .on(Script::stream("id: 2\ndata: b\n\n").alive())
            .resumes(2, Some(&"0123456789abcdef".repeat(256))),
        Case::new(
            "con.type-parameters",
            "A Content-Type in odd capitals, with parameters",
            PROCESSING,
            "Takes it for an event stream.",
        )
        .on(typed("Content-Type: TEXT/Event-Stream ; Charset=\"UTF-8\"; x=y\r\n").alive())
        .events(&[(M, "a", "")]),
        unopened(
            "con.type-wrong",
            "Content-Type: text/plain",
            typed("Content-Type: text/plain\r\n"),
        ),
        unopened("con.type-missing", "No Content-Type", typed("")),
        unopened(
            "con.type-prefix",
            "Content-Type: text/event-stream-x",
            typed("Content-Type: text/event-stream-x\r\n"),
        ),
        unopened("con.status-201", "An event stream with status 201", status("201 Created")),
        unopened(
            "con.status-206",
            "An event stream with status 206",
            status("206 Partial Content"),
        ),
        unopened("con.status-500", "An event stream with status 500", status("500 Oops")),
        Case::new(
            "con.stream-error",
            "A stream-error, and status 400 from then on",
            ADVICE,
            "Stops: trying again is useless, and was refused.",
        )
        .on(Script::stream(
            "retry: 200\nid: 1\ndata: a\n\nevent: stream-error\nid: error\n\
            data: {\"condition\": \"forbidden\", \"text\": \"no\"}\n\n",
        ))
        .on(Script::status("400 Bad Request", ""))
        .check(Check::AtMost(2))
        .rests_on(&["con.reconnect", "http.400"])
        .watch(5),
    ];
    cases.extend(posts());
    cases
}

fn posts() -> [Case; 3] {
    let body = "{\"prompt\": \"h\u{e9}\"}";
    let post = |id, title, correct| {
        Case::new(id, title, ADVICE, correct)
            .post(body)
            .check(Check::Method(1, "POST"))
            .check(Check::Body(1, body.to_owned()))
            .rests_on(&["post.request"])
    };
    [
        post(
            "post.request",
            "The answer to a POST, and a look at the request",
            "Sends the body, and asks for an event stream.",
        )
        .on(Script::stream("data: a\n\n").alive())
        .events(&[(M, "a", "")])
        .check(Check::Header(1, "Accept", "text/event-stream")),
        post("post.end", "The answer to a POST ends", "Does not send it again.")
            .on(Script::stream(ONE))
            .events(&[(M, "a", "1")])
            .check(Check::AtMost(1))
            .watch(4),
        post("post.cut", "The answer to a POST is cut by a reset", "Does not send it again.")
            .on(Script::stream("retry: 200\nid: 1\ndata: a\n\ndata: b").reset())
            .rests_on(&["post.end", "cut.mid-event"])
            .events(&[(M, "a", "1")])
            .check(Check::AtMost(1))
            .watch(4),
    ]
}

fn typed(line: &str) -> Script {
    Script::head(&format!("HTTP/1.1 200 OK\r\n{line}Connection: close\r\n\r\n"))
        .send("data: a\n\n")
        .wait(500)
}

fn status(status: &str) -> Script {
    Script::head(&format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    ))
    .send("data: a\n\n")
    .wait(500)
}

/// What is no event stream must not become one. Whether it is asked for again is the matter of the
/// cases of `http`; in a tight loop it should not be.
fn unopened(id: &str, title: &str, script: Script) -> Case {
    let case =
        Case::new(id, title, PROCESSING, "Delivers nothing, and does not hammer the server.")
            .on(script)
            .events(&[])
            .advise(Check::NoLoop)
            .watch(3);
    match id {
        "con.status-206" => case.rests_on(&["con.status-201"]),
        "con.status-500" => case.rests_on(&["con.status-201", "http.storm-5xx"]),
        "con.type-missing" | "con.type-prefix" => case.rests_on(&["con.type-wrong"]),
        _ => case,
    }
}
