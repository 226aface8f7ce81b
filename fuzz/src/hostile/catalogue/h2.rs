//! `h2`: connections and streams of HTTP/2 that end before the events do. They are served over TLS,
//! where clients negotiate HTTP/2; a client that speaks HTTP/1.1 there is not judged.

use crate::hostile::case::{Case, Check, Script};

const GOAWAY: &str = "RFC 9113, 6.8";
const M: &str = "message";

/// What all of them begin with.
const FIRST: &str = "retry: 200\nid: 1\ndata: a\n\n";

pub(super) fn cases() -> [Case; 4] {
    let resumed = |id: &str, title: &str, reference: &str, correct: &str| {
        Case::new(id, title, reference, correct).tls().check(Check::Http2)
    };
    let half = || Script::stream(FIRST).send("id: 9\ndata: lost\n");
    let second = || Script::stream("id: 2\ndata: b\n\n").alive();
    let on_a_half = |case: Case, first: Script| {
        case.on(first).on(second()).events(&[(M, "a", "1"), (M, "b", "2")]).resumes(2, Some("1"))
    };
    [
        resumed(
            "h2.goaway",
            "GOAWAY after an event, then another event, and the stream ends",
            GOAWAY,
            "Reads the stream to its end, loses nothing, and resumes on a new connection.",
        )
        .on(Script::stream(FIRST)
            .wait(100)
            .go_away()
            .wait(100)
            .send("id: 2\ndata: b\n\n")
            .wait(100))
        .on(Script::stream("id: 3\ndata: c\n\n").alive())
        .events(&[(M, "a", "1"), (M, "b", "2"), (M, "c", "3")])
        .resumes(2, Some("2")),
        on_a_half(
            resumed(
                "h2.goaway-cut",
                "GOAWAY with an error inside an event, and the connection ends",
                GOAWAY,
                "Forgets the half event, and resumes from the id before.",
            ),
            half().abandon(),
        )
        .rests_on(&["cut.rst", "cut.mid-event"]),
        on_a_half(
            resumed(
                "h2.reset",
                "The stream is reset inside an event, and the connection stays",
                "RFC 9113, 6.4",
                "Forgets the half event, and resumes from the id before.",
            ),
            half().reset(),
        )
        .rests_on(&["cut.rst", "cut.mid-event"]),
        resumed(
            "h2.goaway-before-head",
            "GOAWAY with an error before any answer to a client that resumes, once",
            GOAWAY,
            "Resumes from the id that it has.",
        )
        .on(Script::stream(FIRST))
        .on(Script::default().abandon())
        .on(second())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .resumes(3, Some("1"))
        .rests_on(&["cut.before-head"])
        .deadline(15),
    ]
}
