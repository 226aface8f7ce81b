//! `con`: the request and the head of its answer.

use super::Needs::{Http2, Url};
use super::Row;
use super::Severity::{Error, Note, Security, Warning};

pub(super) const ROWS: &[Row] = &[
    ("con.status", Error, Url, "9.2.3", "A GET is answered with 200"),
    ("con.type", Error, Url, "9.2.3", "The media type is text/event-stream"),
    ("con.charset", Warning, Url, "9.2.7 (IANA)", "The charset is absent or utf-8"),
    ("con.type-twice", Warning, Url, "RFC 9110, 8.3", "There is one Content-Type"),
    ("con.no-accept", Warning, Url, "RFC 9110, 12.5.1", "Without Accept there is a stream or 406"),
    (
        "con.accept-json",
        Note,
        Url,
        "RFC 9110, 12.5.1",
        "Who accepts only JSON is not sent a stream",
    ),
    ("con.cache-control", Warning, Url, "RFC 9111, 5.2.2", "Caches are told to keep nothing"),
    ("con.length", Error, Url, "RFC 9112, 6", "An open stream has no Content-Length"),
    ("con.conditional", Warning, Url, "9.2.3", "If-None-Match and Range do not change the answer"),
    ("con.live", Error, Url, "RFC 9111, 4", "Two GETs are two live streams, none from a cache"),
    ("con.compressed", Error, Url, "9.2.7", "With gzip on offer, events come and can be read"),
    ("con.vary", Note, Url, "RFC 9110, 12.5.5", "What is negotiated is in Vary"),
    ("con.buffering", Note, Url, "advice", "X-Accel-Buffering: no keeps nginx from holding events"),
    (
        "con.h2-headers",
        Error,
        Http2,
        "RFC 9113, 8.2.2",
        "No Connection or Transfer-Encoding on HTTP/2",
    ),
    ("con.head", Warning, Url, "RFC 9110, 9.3.2", "HEAD has the same headers, and ends"),
    ("con.options", Note, Url, "RFC 9110, 9.3.7", "OPTIONS ends"),
    (
        "con.method",
        Warning,
        Url,
        "RFC 9110, 15.5.6",
        "An unknown method is refused, 405 with Allow",
    ),
    (
        "con.cors",
        Warning,
        Url,
        "Fetch, 3.3",
        "Not every site may read with a visitor's credentials",
    ),
    (
        "con.preflight",
        Warning,
        Url,
        "Fetch, 3.3.6",
        "Where it is needed, last-event-id is let through",
    ),
    (
        "con.rebinding",
        Security,
        Url,
        "MCP 2025-11-25",
        "Foreign Host and Origin are refused on loopback",
    ),
    ("con.http10", Error, Url, "RFC 9112, 7", "An answer to HTTP/1.0 is not chunked"),
    ("con.h2", Warning, Http2, "RFC 9113", "HTTP/2 has the same events as HTTP/1.1"),
    ("con.redirect", Error, Url, "9.2.3", "Redirects say where to, end, and keep https"),
    ("con.errors", Note, Url, "RFC 9110, 15.5", "An error's answer ends"),
    (
        "con.credentials",
        Warning,
        Url,
        "RFC 9110, 15.5.2",
        "Without the credentials there is no stream",
    ),
    ("con.token-in-url", Note, Url, "RFC 9110, 17.9", "There is no secret in the URL"),
];
