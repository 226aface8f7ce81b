//! The server: another process, so that the clients' time is theirs. It sends what it has rendered
//! before, as fast as the socket takes it.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use sse_client_peers::Corpus;

/// The argument that makes this program the server.
pub(crate) const SERVE: &str = "--serve";

/// The length of a large chunk of HTTP/1.1's chunked coding, the last one of a corpus aside.
const CHUNK: usize = 64 << 10;

/// What a chunk is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// Many events, as proxies make them and replays.
    Large,
    /// An event, as most servers send them.
    Events,
}

impl Chunks {
    const ALL: [Self; 2] = [Self::Large, Self::Events];

    const fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Events => "events",
        }
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The server's process. It ends with this.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => Ok(Self { child, port }),
            Err(_) => Err(io::Error::other("the server did not start")),
        }
    }

    /// Where so many passes through a corpus are one stream.
    pub(crate) fn url(&self, corpus: &Corpus, chunks: Chunks, passes: usize) -> String {
        format!("http://127.0.0.1:{}/{}-{}/{passes}", self.port, corpus.name, chunks.name())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// Serves until standard input ends.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let corpora = Corpus::all();
    let bodies = corpora.iter().flat_map(|corpus| {
        let name = |chunks: Chunks| format!("{}-{}", corpus.name, chunks.name());
        Chunks::ALL.map(|chunks| (name(chunks), chunked(&corpus.stream, chunks)))
    });
    let bodies: &'static [_] = Vec::leak(bodies.collect());
    println!("{}", listener.local_addr()?.port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client may leave when it has seen enough.
            thread::spawn(move || drop(answer(stream, bodies)));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn chunked(stream: &[u8], chunks: Chunks) -> Vec<u8> {
    let mut body = Vec::with_capacity(stream.len() + stream.len() / 20);
    let mut rest = stream;
    while !rest.is_empty() {
        let len = match chunks {
            Chunks::Large => CHUNK.min(rest.len()),
            Chunks::Events => {
                let end = rest.windows(2).position(|pair| pair == b"\n\n");
                end.map_or(rest.len(), |end| end + 2)
            }
        };
        let (chunk, others) = rest.split_at(len);
        rest = others;
        write!(body, "{:x}\r\n", chunk.len()).expect("a vector takes all");
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body
}

fn answer(mut stream: TcpStream, bodies: &[(String, Vec<u8>)]) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut path = request.split([' ', '/']).skip(2);
    let body = path.next().and_then(|name| bodies.iter().find(|(known, _)| *known == name));
    let passes = path.next().and_then(|passes| passes.parse::<usize>().ok());
    let (Some((_, body)), Some(passes)) = (body, passes) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    stream.set_nodelay(true)?;
    stream.write_all(HEAD)?;
    for _ in 0..passes {
        stream.write_all(body)?;
    }
    stream.write_all(b"0\r\n\r\n")
}
