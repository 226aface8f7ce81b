//! Streams in fewer bytes.

use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, connect, within};

/// Something that takes compressed bytes and hands out what can be told by now.
enum Decoder {
    Gzip(flate2::write::GzDecoder<Vec<u8>>),
    Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
}

/// A compressed stream, decoded as it comes. HTTP/1.0, so that there are no chunks to take apart.
struct Stream {
    socket: TcpStream,
    head: String,
    decoder: Decoder,
    compressed: usize,
}

impl Stream {
    async fn open(server: &Server, accept: &str) -> Self {
        let mut socket = connect(server.address).await;
        let request =
            format!("GET /events/?channel=a HTTP/1.0\r\nAccept-Encoding: {accept}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("a head", socket.read_u8()).await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("ASCII").to_ascii_lowercase();
        let decoder = if head.contains("content-encoding: gzip\r\n") {
            Decoder::Gzip(flate2::write::GzDecoder::new(Vec::new()))
        } else {
            assert!(head.contains("content-encoding: zstd\r\n"), "{head}");
            Decoder::Zstd(zstd::stream::write::Decoder::new(Vec::new()).expect("a decoder"))
        };
        Self { socket, head, decoder, compressed: 0 }
    }

    /// What there is after the next bytes. False: the end has come.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = within("bytes", self.socket.read(&mut buffer)).await.expect("no failure");
        self.compressed += read;
        match &mut self.decoder {
            Decoder::Gzip(decoder) => {
                decoder.write_all(&buffer[..read]).and_then(|()| decoder.flush())
            }
            Decoder::Zstd(decoder) => {
                decoder.write_all(&buffer[..read]).and_then(|()| decoder.flush())
            }
        }
        .expect("well compressed");
        read > 0
    }

    fn seen(&self) -> &str {
        str::from_utf8(match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        })
        .expect("UTF-8")
    }
}

#[tokio::test]
async fn each_event_can_be_decoded_before_the_next_is_published() {
    let mut server = Server::start(&["--compression", "zstd,gzip"]).await;
    let mut streams = Vec::new();
    for (accept, coding) in [("gzip", "gzip"), ("br, gzip, zstd", "zstd")] {
        let stream = Stream::open(&server, accept).await;
        assert!(stream.head.contains(&format!("content-encoding: {coding}\r\n")));
        assert!(stream.head.contains("vary: accept-encoding\r\n"), "{}", stream.head);
        streams.push(stream);
    }
    for number in 1..=20 {
        server.fill("a", 1).await;
        for stream in &mut streams {
            while !stream.seen().ends_with(&format!("id: a:{number}\ndata: 1\n\n")) {
                assert!(stream.more().await, "ended after {:?}", stream.seen());
            }
        }
    }
    for stream in &streams {
        assert!(stream.compressed < stream.seen().len() / 2, "{} bytes", stream.compressed);
    }
    // And the end is a proper one of the format, too.
    server.signal("-TERM");
    for mut stream in streams {
        while stream.more().await {}
        let end = stream.seen().rsplit_once("retry: ").expect("it is told when to come back").1;
        assert!(end.ends_with("\n\n"));
        if let Decoder::Gzip(decoder) = stream.decoder {
            decoder.finish().expect("with its checksum");
        }
    }
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn nothing_is_compressed_unless_both_sides_want_it() {
    let server = Server::start(&[]).await;
    let mut plain = server.get("/events/?channel=a", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(plain.header("content-encoding"), None);
    plain.opening().await;
    let server = Server::start(&["--compression", "gzip"]).await;
    for accept in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n"] {
        let mut plain = server.get("/events/?channel=a", accept).await;
        assert_eq!(plain.header("content-encoding"), None);
        assert!(plain.head.to_ascii_lowercase().contains("vary: accept-encoding"));
        plain.opening().await;
    }
    let error = server.get("/events/", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(error.header("content-encoding"), None, "errors are short");
}
