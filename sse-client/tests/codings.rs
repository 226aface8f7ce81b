//! Bodies in content codings are decoded as they arrive.

mod server;

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use server::{Server, data, item, run};
use sse_client::{Error, Item};

/// The parts in this coding, each flushed, and the end.
fn coded(coding: &str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    fn flushed<W: Write>(
        mut encoder: W,
        parts: &[&[u8]],
        taken: impl Fn(&mut W) -> Vec<u8>,
        finish: impl FnOnce(W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let mut coded = Vec::new();
        for part in parts {
            encoder.write_all(part).expect("a vector takes all");
            encoder.flush().expect("a vector takes all");
            coded.push(taken(&mut encoder));
        }
        coded.push(finish(encoder));
        coded
    }
    let level = Compression::default();
    let take = std::mem::take::<Vec<u8>>;
    let done = |written: std::io::Result<Vec<u8>>| written.expect("a vector takes all");
    match coding {
        "gzip" | "x-gzip" => flushed(
            GzEncoder::new(Vec::new(), level),
            parts,
            |encoder| take(encoder.get_mut()),
            |encoder| done(encoder.finish()),
        ),
        "deflate" => flushed(
            ZlibEncoder::new(Vec::new(), level),
            parts,
            |encoder| take(encoder.get_mut()),
            |encoder| done(encoder.finish()),
        ),
        "raw deflate" => flushed(
            DeflateEncoder::new(Vec::new(), level),
            parts,
            |encoder| take(encoder.get_mut()),
            |encoder| done(encoder.finish()),
        ),
        "br" => flushed(
            brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20),
            parts,
            |encoder| take(encoder.get_mut()),
            brotli::CompressorWriter::into_inner,
        ),
        "zstd" => flushed(
            zstd::Encoder::new(Vec::new(), 3).expect("an encoder"),
            parts,
            |encoder| take(encoder.get_mut()),
            |encoder| done(encoder.finish()),
        ),
        _ => parts.iter().map(|part| part.to_vec()).collect(),
    }
}

/// As one part.
fn whole(coding: &str, body: &[u8]) -> Vec<u8> {
    coded(coding, &[body]).concat()
}

fn head(codings: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n{codings}\r\n"
    )
}

#[test]
fn each_coding_that_is_asked_for_is_decoded_and_flushed_through() {
    run(async {
        let mut server = Server::start().await;
        for coding in ["gzip", "x-gzip", "deflate", "raw deflate", "br", "zstd"] {
            let name = coding.trim_start_matches("raw ");
            let parts = coded(coding, &[b"data: one\n\n", b"data: two\n\n"]);
            let mut source = server.source();
            let answer = head(&format!("Content-Encoding: {name}\r\n"));
            let mut connection = server.answer(&mut source, answer).await;
            let asked = connection.header("Accept-Encoding").expect("it is always sent");
            assert_eq!(asked, b"zstd, br, gzip, deflate");
            assert_eq!(item(&mut source).await, Item::Open);
            // Each event comes before the next part is sent, byte by byte.
            for (part, expected) in parts.iter().zip(["one", "two"]) {
                for byte in part {
                    connection.send([*byte]).await;
                }
                assert_eq!(data(&mut source).await, expected, "{coding}");
            }
            connection.send(parts.last().expect("the end")).await;
            drop(connection);
            let again = server.open(&mut source, "").await;
            let failure = source.last_failure();
            assert_eq!(failure, Some("the server ended the stream"), "{coding}: a whole body");
            drop(again);
        }
    });
}

#[test]
fn several_codings_on_one_line_or_more_are_undone_from_the_last() {
    run(async {
        let mut server = Server::start().await;
        let body = whole("br", &whole("gzip", b"data: a\n\n"));
        for codings in [
            "Content-Encoding: gzip, br\r\n",
            "Content-Encoding: GZIP\r\ncontent-encoding: identity,, br\r\n",
        ] {
            let mut source = server.source();
            let answer = [head(codings).as_bytes(), &body].concat();
            let _connection = server.answer(&mut source, answer).await;
            assert_eq!(item(&mut source).await, Item::Open);
            assert_eq!(data(&mut source).await, "a");
        }
    });
}

#[test]
fn what_names_no_coding_is_passed_over() {
    run(async {
        let mut server = Server::start().await;
        for name in ["none", "UTF-8", "utf8, identity", ""] {
            let mut source = server.source();
            let answer = head(&format!("Content-Encoding: {name}\r\n")) + "data: a\n\n";
            let _connection = server.answer(&mut source, answer).await;
            assert_eq!(item(&mut source).await, Item::Open);
            assert_eq!(data(&mut source).await, "a");
        }
    });
}

#[test]
fn a_coded_body_that_is_cut_or_broken_is_a_failure_that_is_told() {
    run(async {
        let mut server = Server::start().await;
        let part = coded("gzip", &[b"data: a\n\n"]).remove(0);
        for (body, told) in [
            (part.clone(), "ended in the middle"),
            ([&part[..], b"\xff\xff no more of it"].concat(), "the connection failed: "),
            (b"not gzip".to_vec(), "the connection failed: "),
        ] {
            let mut source = server.source();
            let answer = [head("Content-Encoding: gzip\r\n").as_bytes(), &body].concat();
            drop(server.answer(&mut source, answer).await);
            let connection = reopened(&mut server, &mut source).await;
            let failure = source.last_failure().expect("a failure");
            assert!(failure.contains(told), "{failure}");
            drop(connection);
        }
    });
}

#[test]
fn the_text_of_a_refusal_is_decoded_too() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = whole("zstd", b"no such stream");
        let head = "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Encoding: zstd\r\n\r\n";
        drop(server.answer(&mut source, [head.as_bytes(), &body].concat()).await);
        assert_eq!(server::end(&mut source).await.body(), "no such stream");
    });
}

#[test]
fn a_body_that_unpacks_to_much_is_read_in_pieces() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.builder().session(|config| config.max_event_len(1000));
        let mut source = builder.build().expect("a valid set-up");
        let mut bomb = b"data: a\n\ndata: ".to_vec();
        bomb.resize(32 << 20, b'x');
        bomb.extend(b"\n\ndata: b\n\n");
        let answer =
            [head("Content-Encoding: gzip\r\n").as_bytes(), &whole("gzip", &bomb)].concat();
        let _connection = server.answer(&mut source, answer).await;
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(data(&mut source).await, "a");
        assert!(matches!(server::error(&mut source).await, Error::Decode(_)));
        assert_eq!(data(&mut source).await, "b");
    });
}

/// The next connection, whatever the source delivers before.
async fn reopened(server: &mut Server, source: &mut sse_client::EventSource) -> server::Connection {
    loop {
        tokio::select! {
            connection = server.accept() => return connection,
            item = source.next() => drop(item.expect("goes on").expect("good news")),
        }
    }
}
