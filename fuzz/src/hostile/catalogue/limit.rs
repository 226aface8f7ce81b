//! `limit`: streams that never come to the point. A client may drop what is too large, or end the
//! connection; it must not keep it all.

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress, write::DeflateEncoder};

use crate::hostile::case::{ADVICE, Act, CHUNKED, Case, Check, Expected, STREAM, Script};
use crate::hostile::dialect::chunk_of_http;

const M: &str = "message";

/// How much a flood sends, in bytes.
const FLOOD: u64 = 256 << 20;

/// What a client may need for its own limits, with everything in it twice or thrice.
const ROOM: u64 = 112 << 20;

/// Time for the memory to be looked at before anything comes.
const LOOK: u64 = 300;

pub(super) fn cases() -> Vec<Case> {
    let flood = |word: &str, title: &str, head: &str, unit: &[u8]| {
        Case::new(
            &format!("limit.{word}"),
            &format!("{title}, 256 MiB of it"),
            ADVICE,
            "Keeps its memory within bounds, by dropping or by ending it.",
        )
        .on(Script::head(head).wait(LOOK).flood(unit, FLOOD))
        .on(Script::status("204 No Content", ""))
        .advise(Check::Memory(ROOM))
        .deadline(80)
    };
    let start = STREAM;
    let open = |rest: &str| format!("{start}{rest}");
    vec![
        flood("endless-line", "A data line without end", &open("data: "), &[b'x'; 1024]),
        flood(
            "endless-data",
            "Data lines without a blank line",
            start,
            format!("data: {}\n", "x".repeat(1000)).as_bytes(),
        ),
        flood("endless-comment", "A comment without end", &open(":"), &[b'x'; 1024]),
        flood("endless-name", "A field's name without end", start, &[b'x'; 1024]),
        flood("endless-id", "An id without end", &open("id: "), &[b'x'; 1024]),
        flood(
            "endless-head",
            "Headers without end",
            "HTTP/1.1 200 OK\r\n",
            format!("X-Header: {}\r\n", "x".repeat(1000)).as_bytes(),
        ),
        Case::new(
            "limit.million-ids",
            "A million ids, and then an event",
            "9.2.6",
            "Remembers the last id only, and delivers the event.",
        )
        .on(Script::stream("").wait(LOOK).then(Act::Ids(1_000_000)).send("data: a\n\n").hold())
        .events(&[(M, "a", "1000000")])
        .advise(Check::Memory(ROOM / 2))
        .deadline(40),
        Case::new(
            "limit.blank-lines",
            "Sixteen million blank lines, and then an event",
            "9.2.6",
            "Delivers the event.",
        )
        .on(Script::stream("").wait(LOOK).flood(b"\n", 16 << 20).send("data: a\n\n").hold())
        .events(&[(M, "a", "")])
        .advise(Check::Memory(ROOM / 2))
        .deadline(40),
        Case::new(
            "limit.long-event",
            "An event of 512 KiB",
            ADVICE,
            "Delivers it: a limit below 1 MiB is too low.",
        )
        .on(Script::stream("data: ").flood([b'x'; 1024], 512 << 10).send("\n\ndata: b\n\n").hold())
        .check(Check::Events(vec![
            Expected::new(M, &"x".repeat(512 << 10), ""),
            Expected::new(M, "b", ""),
        ]))
        .deadline(20),
        Case::new(
            "limit.small-chunks",
            "A line of 512 KiB in chunks of 16 bytes",
            ADVICE,
            "Delivers it in good time: work is linear in the bytes.",
        )
        .on(Script::head(CHUNKED)
            .send(chunk_of_http(b"data: "))
            .flood(chunk_of_http(&[b'x'; 16]), (512 << 10) / 16 * 22)
            .send(chunk_of_http(b"\n\ndata: b\n\n"))
            .hold())
        .check(Check::Events(vec![
            Expected::new(M, &"x".repeat(512 << 10), ""),
            Expected::new(M, "b", ""),
        ]))
        .deadline(20),
        Case::new(
            "limit.recover",
            "An event of 24 MiB, and then a small one",
            ADVICE,
            "Delivers the small one, or has ended the connection and comes back.",
        )
        .on(Script::stream("data: ").flood([b'x'; 1024], 24 << 20).send("\n\ndata: b\n\n").hold())
        .on(Script::stream("data: b\n\n").hold())
        .check(Check::LastEvent(Expected::new(M, "b", "")))
        .deadline(40),
        Case::new(
            "limit.gzip-bomb",
            "256 MiB in a few kilobytes of gzip",
            ADVICE,
            "Keeps its memory within bounds, by not unpacking or by a limit on what it unpacks.",
        )
        .on(gzip_bomb())
        .on(Script::status("204 No Content", ""))
        .advise(Check::Memory(ROOM))
        .watch(6)
        .deadline(60),
    ]
}

/// A line of data without end. Each block stands for itself (a full flush ends it), so that one is
/// packed and sent as often as wanted.
fn gzip_bomb() -> Script {
    const BLOCK: usize = 1 << 20;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
                Connection: close\r\n\r\n";
    // ID1 ID2 CM FLG MTIME XFL OS (RFC 1952, section 2.3)
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut start = DeflateEncoder::new(Vec::new(), Compression::none());
    let begun = start.write_all(b"data: ").and_then(|()| start.flush());
    begun.expect("writing to a Vec cannot fail");
    let mut block = Vec::with_capacity(BLOCK / 8);
    let packed = Compress::new(Compression::best(), false).compress_vec(
        &vec![b'x'; BLOCK],
        &mut block,
        FlushCompress::Full,
    );
    packed.expect("a fresh compressor takes anything");
    let total = FLOOD / BLOCK as u64 * block.len() as u64;
    let bomb = Script::head(head).wait(LOOK).send(gzip).send(start.get_ref()).flood(block, total);
    bomb.hold()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_bomb_is_gzip_and_large() {
        let Script(acts) = gzip_bomb();
        let (mut packed, mut total) = (Vec::new(), 0);
        for act in acts {
            match act {
                Act::Send(bytes) => packed.extend(bytes),
                Act::Flood { unit, total: len } => {
                    packed.extend(unit.repeat(9));
                    total = len;
                }
                _ => {}
            }
        }
        assert!(total < 1 << 20, "{total}");
        let mut plain = String::new();
        // It never ends, so the reader complains at last.
        assert!(GzDecoder::new(packed.as_slice()).read_to_string(&mut plain).is_err());
        assert!(plain.starts_with("data: xxx") && plain.len() > 8 << 20, "{}", plain.len());
    }
}
