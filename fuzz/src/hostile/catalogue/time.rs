//! `time`: reconnection times and silence.

use std::time::Duration;

use crate::hostile::case::{ADVICE, Case, Check, Script};

const M: &str = "message";

pub(super) fn cases() -> Vec<Case> {
    let huge = "1000000000000000000000000000000";
    let mut alive = Script::stream("data: a\n\n");
    let mut drip = Script::stream("");
    for _ in 0..6 {
        alive = alive.wait(1000).send(":\n");
    }
    for byte in b"data: slow and steady\n\n" {
        drip = drip.send([*byte]).wait(100);
    }
    vec![
        Case::new(
            "time.retry",
            "retry: 2000, and the stream ends",
            "9.2.3",
            "Waits for two seconds at least.",
        )
        .on(Script::stream("retry: 2000\nid: 1\ndata: a\n\n"))
        .on(Script::stream("").alive())
        .reach(2)
        .check(Check::ComesBack(2))
        .check(Check::Pause(2, Duration::from_secs(2)))
        .deadline(30),
        Case::new(
            "time.retry-zero",
            "retry: 0, and the stream ends at once, every time",
            ADVICE,
            "Comes back, but not in a tight loop.",
        )
        .on(Script::stream("retry: 0\nid: 1\ndata: a\n\n"))
        .reach(2)
        .check(Check::ComesBack(2))
        .check(Check::NoLoop)
        .watch(4),
        Case::new(
            "time.retry-huge",
            "retry: 10^30, and the stream ends",
            ADVICE,
            "Stays away for as long as it thinks fit, and does not break.",
        )
        .on(Script::stream(format!("retry: {huge}\nid: 1\ndata: a\n\n")))
        .check(Check::NoLoop)
        .watch(4),
        Case::new(
            "time.retry-64-bit",
            "retry: 2^64 + 5, and the stream ends",
            ADVICE,
            "Does not take it for 5.",
        )
        .on(Script::stream("retry: 18446744073709551621\nid: 1\ndata: a\n\n"))
        .check(Check::NoLoop)
        .watch(4),
        Case::new(
            "time.empty-streams",
            "Streams that end without a word, every time",
            ADVICE,
            "Does not come back in a tight loop.",
        )
        .on(Script::stream(""))
        .events(&[])
        .reach(1)
        .check(Check::NoLoop)
        .watch(4),
        Case::new(
            "time.stall-headers",
            "A connection, and then no answer",
            ADVICE,
            "Gives up within a minute.",
        )
        .on(Script::default().hold())
        .on(Script::stream("data: a\n\n").hold())
        .check(Check::HangsUp(1))
        .deadline(60),
        Case::new(
            "time.stall-start",
            "The head of a stream, and then silence",
            ADVICE,
            "Gives up within a minute and comes back.",
        )
        .on(Script::stream("").hold())
        .on(Script::stream("data: a\n\n").hold())
        .events(&[(M, "a", "")])
        .check(Check::HangsUp(1))
        .resumes(2, None)
        .deadline(65),
        Case::new(
            "time.stall-body",
            "An event, and then silence",
            ADVICE,
            "Gives up within a minute and resumes.",
        )
        .on(Script::stream("id: 1\ndata: a\n\n").hold())
        .on(Script::stream("id: 2\ndata: b\n\n").hold())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .check(Check::HangsUp(1))
        .resumes(2, Some("1"))
        .deadline(65),
        Case::new(
            "time.keep-alive",
            "Nothing but a comment each second",
            "9.2.7",
            "Stays on: any byte is a sign of life.",
        )
        .on(alive.send("data: b\n\n").hold())
        .events(&[(M, "a", ""), (M, "b", "")])
        .check(Check::StaysOn(1))
        .deadline(12),
        Case::new(
            "time.drip",
            "An event, one byte each tenth of a second",
            "9.2.5",
            "Delivers it.",
        )
        .on(drip.hold())
        .events(&[(M, "slow and steady", "")])
        .check(Check::StaysOn(1))
        .deadline(10),
    ]
}
