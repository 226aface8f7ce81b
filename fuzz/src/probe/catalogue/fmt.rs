//! `fmt`: the bytes of the stream.

use super::Needs::Url;
use super::Row;
use super::Severity::{Error, Note, Warning};

pub(super) const ROWS: &[Row] = &[
    ("fmt.utf8", Error, Url, "9.2.5", "The stream is UTF-8"),
    ("fmt.bom", Warning, Url, "9.2.5", "A byte order mark begins no line but the first"),
    ("fmt.terminators", Note, Url, "9.2.5", "Lines end in one way"),
    ("fmt.lf-cr", Warning, Url, "9.2.5", "No LF CR, which is a blank line that nobody meant"),
    ("fmt.fields", Warning, Url, "9.2.6", "Fields are data, event, id and retry, in lower case"),
    ("fmt.space", Warning, Url, "9.2.6", "No space before a field's name or its colon"),
    ("fmt.bare-json", Warning, Url, "9.2.6", "No line is JSON without a field"),
    ("fmt.id-nul", Error, Url, "9.2.6", "No id has a NUL, which makes it void"),
    ("fmt.retry", Error, Url, "9.2.6", "A reconnection time is digits, from 1 ms to an hour"),
    ("fmt.no-data", Warning, Url, "9.2.6", "No block names a type without data: it is never seen"),
    ("fmt.end", Error, Url, "9.2.6", "The stream ends at a blank line, or the last event is lost"),
    ("fmt.data-data", Note, Url, "9.2.6", "No data begins with `data:`, a field written twice"),
    ("fmt.length", Note, Url, "advice", "No line above 64 KiB, no event above 1 MiB"),
    ("fmt.silence", Warning, Url, "9.2.7", "No silence of more than 60 s, better none of 15 s"),
    ("fmt.heartbeat", Note, Url, "9.2.7", "A heartbeat is no event that every client is handed"),
    ("fmt.first-byte", Warning, Url, "advice", "The first byte comes within a second of the head"),
    (
        "fmt.reserved-type",
        Warning,
        Url,
        "9.2.2",
        "No type is `error` or `open`, as an EventSource's own",
    ),
    (
        "fmt.id-header",
        Warning,
        Url,
        "9.2.4",
        "Ids fit a header: 128 bytes, no control, no outer space",
    ),
    ("fmt.id-unique", Warning, Url, "9.2.4", "No id is used twice, none is empty"),
    ("fmt.chunks", Note, Url, "advice", "Events are not scattered over many HTTP chunks"),
];
