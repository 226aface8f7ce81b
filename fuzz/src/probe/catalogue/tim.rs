//! `tim`: when things come.

use super::Needs::{Publish, Url};
use super::Row;
use super::Severity::{Error, Note, Warning};

pub(super) const ROWS: &[Row] = &[
    ("tim.headers", Warning, Url, "advice", "The head comes within a second"),
    ("tim.headers-late", Warning, Url, "advice", "The head does not wait for the first event"),
    ("tim.buffered", Error, Url, "9.2.7", "Events come when they are due, not in bursts"),
    ("tim.compressed", Error, Url, "9.2.7", "So they do when compressed"),
    (
        "tim.latency",
        Warning,
        Publish,
        "advice",
        "From publishing to receiving takes less than a second",
    ),
    ("tim.keep-alive", Note, Url, "9.2.7", "Keep-alives come regularly"),
    ("tim.age", Warning, Url, "RFC 9112, 8", "A connection that is closed is closed in order"),
    ("tim.retry", Note, Url, "9.2.6", "Before it closes a stream, it sends a reconnection time"),
];
