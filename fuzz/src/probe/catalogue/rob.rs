//! `rob`: what clients, networks and attackers do to a server.

use super::Needs::{Http2, Process, Tls, Url};
use super::Row;
use super::Severity::{Error, Note, Security, Warning};

pub(super) const ROWS: &[Row] = &[
    ("rob.slow-reader", Error, Url, "CVE-2026-25224", "A reader that stands still holds up nobody"),
    (
        "rob.slow-reader-memory",
        Error,
        Process,
        "CVE-2026-25224",
        "Nor does it cost more than 64 MiB",
    ),
    (
        "rob.zero-window",
        Warning,
        Url,
        "advice",
        "A reader that goes on after a pause misses nothing unsaid",
    ),
    ("rob.half-close", Note, Url, "RFC 9112, 9.6", "A client that closes its half is still served"),
    ("rob.resets", Error, Url, "advice", "After many resets it still serves"),
    ("rob.resets-descriptors", Error, Process, "advice", "And has let go of their descriptors"),
    ("rob.churn", Error, Process, "advice", "A thousand short connections leave nothing behind"),
    (
        "rob.disconnect",
        Warning,
        Process,
        "advice",
        "That a client has gone is noticed with the next events",
    ),
    ("rob.streams", Error, Url, "advice", "64 streams are served at once"),
    (
        "rob.pipelined",
        Error,
        Url,
        "RFC 9112, 9.3.2",
        "A pipelined request does not mix into the stream",
    ),
    ("rob.body", Warning, Url, "RFC 9110, 9.3.1", "A GET with a body and Expect is answered"),
    ("rob.headers", Warning, Url, "RFC 6585, 5", "Masses of headers are refused"),
    ("rob.slowloris", Warning, Url, "RFC 9110, 15.5.9", "A request that does not end is cut off"),
    ("rob.framing", Security, Url, "RFC 9112, 6.1", "Ambiguous lengths and bad chunks are refused"),
    ("rob.paths", Error, Url, "RFC 9110, 15.6", "Odd paths and queries are no server errors"),
    ("rob.h2", Error, Http2, "CVE-2023-44487", "Floods of resets and empty windows are survived"),
    ("rob.tls-cut", Error, Tls, "RFC 8446, 6.1", "A TLS connection without a goodbye is survived"),
    ("rob.terminate", Warning, Process, "advice", "On SIGTERM streams end at a blank line"),
    (
        "rob.upgrade",
        Warning,
        Url,
        "RFC 9110, 7.8",
        "An upgrade to what it does not speak is ignored",
    ),
];
