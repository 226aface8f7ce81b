//! `res`: coming back with a last event ID.

use super::Needs::{SecondUser, Url};
use super::Row;
use super::Severity::{Error, Note, Security, Warning};

pub(super) const ROWS: &[Row] = &[
    ("res.ids", Note, Url, "9.2.4", "Events have ids, so that clients can resume"),
    ("res.loss", Error, Url, "9.2.4", "Who resumes misses nothing"),
    ("res.duplicate", Error, Url, "9.2.4", "Who resumes gets nothing twice"),
    ("res.order", Error, Url, "9.2.4", "Who resumes gets events in order"),
    ("res.same-bytes", Error, Url, "9.2.4", "An id always stands for the same event"),
    ("res.cut-mid-event", Error, Url, "9.2.4", "A reset in an event loses nothing"),
    (
        "res.cut-after-id",
        Error,
        Url,
        "9.2.6",
        "An id that no blank line has committed does not count",
    ),
    ("res.first-id", Warning, Url, "9.2.4", "The first event has an id already"),
    (
        "res.no-header",
        Warning,
        Url,
        "9.2.4",
        "Without an id, or with an empty one, a stream is live",
    ),
    (
        "res.garbage",
        Warning,
        Url,
        "9.2.3",
        "An id that nobody has sent is survived, better with 200",
    ),
    (
        "res.long-id",
        Warning,
        Url,
        "RFC 9110, 5.4",
        "An id of 8 or 64 KiB is refused or served, promptly",
    ),
    ("res.utf8-id", Warning, Url, "9.2.4", "An id in UTF-8 is survived"),
    ("res.control-id", Security, Url, "RFC 9110, 5.5", "CR and NUL in a header are refused"),
    ("res.reflected", Security, Url, "advice", "The id does not come back in the answer"),
    ("res.future", Warning, Url, "9.2.4", "An id of the future does not silence the stream"),
    ("res.expired", Error, Url, "9.2.4", "After a gap there is a signal, or there is no gap"),
    ("res.overflow", Warning, Url, "advice", "Negative and huge numbers in ids are survived"),
    ("res.repeated", Note, Url, "RFC 9110, 5.3", "Two different ids in a request are refused"),
    ("res.other-user", Security, SecondUser, "advice", "Another one's id opens nothing"),
    ("res.parallel", Warning, Url, "9.2.4", "Resuming in parallel, all get the same"),
    ("res.storm", Warning, Url, "9.2.7", "A small storm of reconnections is served"),
    ("res.large", Warning, Url, "advice", "A long replay does not hold up others' events"),
];
