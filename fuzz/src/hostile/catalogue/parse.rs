//! `parse`: one rule of the standard's parser each. The stream stays open, so what is due must come
//! without waiting for more.

use std::time::Duration;

use crate::hostile::case::{Case, Check, Expected, Script};

/// Id, what is sent, the rule, the writes, the events.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static [u8]],
    &'static [(&'static str, &'static str, &'static str)],
);

const PARSING: &str = "9.2.5";
const INTERPRETING: &str = "9.2.6";

const M: &str = "message";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("utf8-split", "A character in four pieces", PARSING, "Puts the pieces together.",
        &[b"data: \xf0", b"\x9f", b"\x98", b"\x80\n\n"], &[(M, "\u{1f600}", "")]),
    ("utf8-invalid", "Bytes that are not UTF-8", PARSING, "Reads each ill-formed sequence as U+FFFD.",
        &[b"data: a\xffb\xe2\x82c\n\n"], &[(M, "a\u{fffd}b\u{fffd}c", "")]),
    ("utf8-invalid-split", "A character that a write cuts and the next does not complete", PARSING,
        "Reads the beginning as one U+FFFD and loses nothing after it.",
        &[b"data: \xe2\x82", b"x\n\n"], &[(M, "\u{fffd}x", "")]),
    ("utf8-line-end", "A character that the line end cuts short", PARSING,
        "Ends the line all the same.",
        &[b"data: a\xf0\x9f\n\ndata: b\n\n"], &[(M, "a\u{fffd}", ""), (M, "b", "")]),
    ("bom", "A byte order mark first", PARSING, "Drops it.",
        &[b"\xef\xbb\xbfdata: a\n\n"], &[(M, "a", "")]),
    ("bom-split", "A byte order mark in three pieces", PARSING, "Drops it.",
        &[b"\xef", b"\xbb", b"\xbfdata: a\n\n"], &[(M, "a", "")]),
    ("bom-twice", "Two byte order marks", PARSING,
        "Drops the first only; the other makes the name of the field unknown.",
        &[b"\xef\xbb\xbf\xef\xbb\xbfdata: a\ndata: b\n\n"], &[(M, "b", "")]),
    ("bom-later", "A byte order mark before a later line and inside data", PARSING,
        "Takes it for an ordinary character.",
        &[b"data: a\n\xef\xbb\xbfdata: b\ndata: \xef\xbb\xbfc\n\n"], &[(M, "a\n\u{feff}c", "")]),
    ("lf", "Lines that end with LF", PARSING, "Ends lines there.",
        &[b"data: a\n\ndata: b\n\n"], &[(M, "a", ""), (M, "b", "")]),
    ("cr", "Lines that end with CR", PARSING, "Ends lines there.",
        &[b"data: a\r\rdata: b\r\r:\r"], &[(M, "a", ""), (M, "b", "")]),
    ("crlf", "Lines that end with CRLF", PARSING, "Takes CRLF for one line end.",
        &[b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n"], &[(M, "a\nb", ""), (M, "c", "")]),
    ("cr-split", "A write between CR and LF", PARSING, "Takes them for one line end.",
        &[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"], &[(M, "a\nb", "")]),
    ("cr-at-once", "CR CR, and then nothing", PARSING,
        "Delivers the event at once, not when the next byte comes.",
        &[b"data: a\r\r"], &[(M, "a", "")]),
    ("mixed-line-ends", "LF CR, which is two line ends", PARSING, "Ends the event there.",
        &[b"data: a\n\rdata: b\n\n"], &[(M, "a", ""), (M, "b", "")]),
    ("other-line-ends", "VT, FF, NEL, U+2028 and U+2029", PARSING, "Takes none of them for a line end.",
        &[b"data: a\x0bb\x0cc\xc2\x85d\xe2\x80\xa8e\xe2\x80\xa9f\n\n"],
        &[(M, "a\u{b}b\u{c}c\u{85}d\u{2028}e\u{2029}f", "")]),
    ("comment", "Comments before, inside and after an event", INTERPRETING, "Ignores them.",
        &[b":\n: a\n:data: x\ndata: a\n:b\ndata: c\n\n:thump\n"], &[(M, "a\nc", "")]),
    ("first-colon", "A value with colons", INTERPRETING, "Splits at the first colon only.",
        &[b"data: a:b: c\n\ndata: :d\n\n"], &[(M, "a:b: c", ""), (M, ":d", "")]),
    ("one-space", "No space, two spaces and a tab after the colon", INTERPRETING,
        "Drops one space, and no tab.",
        &[b"data:a\n\ndata:  b\n\ndata:\tc\n\n"], &[(M, "a", ""), (M, " b", ""), (M, "\tc", "")]),
    ("trailing-space", "Spaces at the end of a value", INTERPRETING, "Keeps them.",
        &[b"data: a  \n\n"], &[(M, "a  ", "")]),
    ("no-colon", "A line that is `data` alone", INTERPRETING, "Takes it for a field with an empty value.",
        &[b"data\ndata\n\n"], &[(M, "\n", "")]),
    ("case-sensitive", "Names in capitals", INTERPRETING, "Ignores these fields.",
        &[b"Data: a\nDATA: b\nEvent: x\nID: 1\ndata: c\n\n"], &[(M, "c", "")]),
    ("unknown-field", "Unknown fields", INTERPRETING, "Ignores them.",
        &[b"foo: a\n{\"bare\": 1}\n data: b\ndata : c\ndata2: d\ndata: e\n\n"], &[(M, "e", "")]),
    ("data-lines", "Data in several lines, some of them empty", INTERPRETING,
        "Joins them with LF and strips one LF at the end.",
        &[b"data: a\ndata:\ndata: b\ndata:\n\n"], &[(M, "a\n\nb\n", "")]),
    ("empty-data", "`data:` with nothing after it", INTERPRETING, "Delivers an event with empty data.",
        &[b"data:\n\ndata: \n\n"], &[(M, "", ""), (M, "", "")]),
    ("no-data", "Blocks without data", INTERPRETING, "Delivers no event, and forgets the type.",
        &[b"event: x\n\n\n\nretry: 5000\n\ndata: a\n\n"], &[(M, "a", "")]),
    ("nul-in-data", "NUL in data", INTERPRETING, "Keeps it.",
        &[b"data: a\0b\n\n"], &[(M, "a\0b", "")]),
    ("type", "Types of events", INTERPRETING, "Tells them, the last of a block.",
        &[b"event: x\nevent: y\ndata: a\n\ndata: b\nevent: z\n\n"], &[("y", "a", ""), ("z", "b", "")]),
    ("type-forgotten", "A type, and then an event without", INTERPRETING, "Forgets the type with its event.",
        &[b"event: x\ndata: a\n\ndata: b\n\n"], &[("x", "a", ""), (M, "b", "")]),
    ("type-empty", "An empty type", INTERPRETING, "Takes it for `message`.",
        &[b"event: x\nevent:\ndata: a\n\n"], &[(M, "a", "")]),
    ("type-error", "Types named `error` and `open`", INTERPRETING,
        "Delivers these events, and does not take them for its own.",
        &[b"event: error\ndata: a\n\nevent: open\ndata: b\n\ndata: c\n\n"],
        &[("error", "a", ""), ("open", "b", ""), (M, "c", "")]),
    ("type-prototype", "Types named as parts of every object in JavaScript", INTERPRETING,
        "Delivers these events.",
        &[b"event: constructor\ndata: a\n\nevent: __proto__\ndata: b\n\n"],
        &[("constructor", "a", ""), ("__proto__", "b", "")]),
    ("id", "An id, and then events without", INTERPRETING, "Keeps the id in force.",
        &[b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n"],
        &[(M, "a", "1"), (M, "b", "1"), (M, "c", "2")]),
    ("id-nul", "An id with NUL", INTERPRETING, "Ignores it and keeps the one before.",
        &[b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n"], &[(M, "a", "1"), (M, "b", "1")]),
    ("id-empty", "An empty id", INTERPRETING, "Resets the last event ID.",
        &[b"id: 1\ndata: a\n\nid: \ndata: b\n\n"], &[(M, "a", "1"), (M, "b", "")]),
    ("id-without-data", "An id in a block without data", INTERPRETING,
        "Delivers no event, and the id counts.",
        &[b"id: 7\n\ndata: a\n\n"], &[(M, "a", "7")]),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = ROWS.iter().map(row).collect();
    for case in &mut cases {
        // The most basic of all: what else there is to data is for others.
        let data: &[&str] = match case.id() {
            "parse.lf" => &["a", "b"],
            "parse.one-space" => &["a", " b", "\tc"],
            _ => continue,
        };
        case.checks.retain(|check| !matches!(check, Check::Events(_)));
        case.checks.push(Check::Data(data));
    }
    cases.push(
        Case::new(
            "parse.charset",
            "UTF-8, called something else by Content-Type",
            PARSING,
            "Decodes UTF-8 whatever the charset says; or opens no such stream, as Chromium does.",
        )
        .on(Script::head(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=iso-8859-1\r\n\
             Connection: close\r\n\r\n",
        )
        .send("data: \u{e9}\n\n")
        .hold())
        .check(Check::Events(vec![Expected { optional: true, ..Expected::new(M, "\u{e9}", "") }])),
    );
    cases.extend(retries());
    cases
}

fn row(&(word, title, section, correct, writes, events): &Row) -> Case {
    let script = writes.iter().fold(Script::stream(""), |script, write| {
        // The pause is so long that the next write is a read of its own.
        script.send(write).wait(30)
    });
    Case::new(&format!("parse.{word}"), title, section, correct)
        .on(script.hold())
        .events(events)
        .check(Check::StaysOn(1))
}

/// What is to be ignored says a minute, or would mean at once; what counts is a second and a half.
/// A client that takes the value comes back too late, or too early.
fn retries() -> Vec<Case> {
    let rows: [(&str, &str, &str); 7] = [
        ("retry-letter", "A time with a letter after it", "60000x"),
        ("retry-plus", "A time with a plus sign", "+60000"),
        ("retry-minus", "A time with a minus sign", "-60000"),
        ("retry-fraction", "A time with a fraction", "60000.0"),
        ("retry-space", "A time with a space after it", "60000 "),
        (
            "retry-digits",
            "A time in other digits than ASCII's",
            "\u{0666}\u{0660}\u{0660}\u{0660}\u{0660}",
        ),
        ("retry-empty", "No time", ""),
    ];
    let ignored = rows.map(|(word, title, value)| {
        let stream = format!("retry: 1500\nretry: {value}\ndata: a\n\n");
        retry(word, title, "Ignores it and keeps the time that it has.", &stream, 1500)
    });
    let zeros = retry(
        "retry-zeros",
        "A time with leading zeros",
        "Reads it in base ten.",
        "retry: 300\nretry: 0002000\ndata: a\n\n",
        2000,
    );
    ignored.into_iter().chain([zeros]).collect()
}

fn retry(word: &str, title: &str, correct: &str, stream: &str, least: u64) -> Case {
    Case::new(&format!("parse.{word}"), title, INTERPRETING, correct)
        .on(Script::stream(stream))
        .on(Script::stream("data: b\n\n").alive())
        .events(&[(M, "a", ""), (M, "b", "")])
        .reach(2)
        .check(Check::ComesBack(2))
        .check(Check::Pause(2, Duration::from_millis(least)))
        .rests_on(&["con.reconnect", "time.retry"])
        .deadline(12)
}
