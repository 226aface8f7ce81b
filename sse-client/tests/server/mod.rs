//! A server that sends exactly the bytes it is told to, over real TCP.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::str;
use std::time::Duration;

use sse_client::{Backoff, Builder, Error, EventSource, Item, SessionConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

pub(crate) const OPEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// How long a test may take, also on a machine that has much else to do. None waits for it unless
/// it fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs a test, within the deadline.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await });
    done.expect("done within the deadline");
}

/// A port at which nobody listens for as long as this is kept: bound, it is given to nobody else.
pub(crate) fn nobody() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = socket.local_addr().expect("bound").port();
    (socket, port)
}

/// Tries again quickly, so that tests do.
pub(crate) fn config() -> SessionConfig {
    SessionConfig::default().backoff(quick())
}

/// The same by itself.
pub(crate) fn quick() -> Backoff {
    Backoff::default().min(Duration::from_millis(10)).initial(Duration::ZERO)
}

pub(crate) struct Server {
    origin: String,
    connections: mpsc::UnboundedReceiver<Connection>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let (sender, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    // Others on this machine ask new ports for `/`. They are not for the test.
                    if let Some(connection) = Connection::read_head(stream).await
                        && connection.path().starts_with("/events")
                    {
                        drop(sender.send(connection));
                    }
                });
            }
        });
        Self { origin, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn builder(&self) -> Builder {
        EventSource::builder(self.url("/events")).session(|_| config())
    }

    pub(crate) fn post(&self, body: &'static str) -> Builder {
        EventSource::post(self.url("/events")).session(|_| config()).body(body)
    }

    pub(crate) fn source(&self) -> EventSource {
        self.builder().build().expect("a valid set-up")
    }

    /// The next connection with a request for `/events…`.
    pub(crate) async fn accept(&mut self) -> Connection {
        self.connections.recv().await.expect("the server runs")
    }

    /// Accepts a connection while the source is polled, and answers with these bytes. The source
    /// must deliver nothing before, but that it waits.
    pub(crate) async fn answer(
        &mut self,
        source: &mut EventSource,
        bytes: impl AsRef<[u8]>,
    ) -> Connection {
        let mut connection = while_polled(source, self.accept()).await;
        connection.send(bytes).await;
        connection
    }

    /// The same with an event stream, up to where the source says that it is open.
    pub(crate) async fn open(&mut self, source: &mut EventSource, body: &str) -> Connection {
        let connection = self.answer(source, format!("{OPEN}{body}")).await;
        assert_eq!(item(source).await, Item::Open);
        connection
    }
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// The request's head.
    pub(crate) head: Vec<u8>,
    /// Its body, as far as `Content-Length` announces one.
    pub(crate) body: Vec<u8>,
}

impl Connection {
    async fn read_head(stream: TcpStream) -> Option<Self> {
        let mut this = Self { stream, head: Vec::new(), body: Vec::new() };
        this.read_request().await?;
        Some(this)
    }

    async fn read_request(&mut self) -> Option<()> {
        self.head.clear();
        while !self.head.ends_with(b"\r\n\r\n") {
            self.head.push(self.stream.read_u8().await.ok()?);
        }
        let len = self.header("Content-Length").map(|len| str::from_utf8(len).expect("a number"));
        self.body = vec![0; len.map_or(0, |len| len.parse().expect("a number"))];
        self.stream.read_exact(&mut self.body).await.ok()?;
        Some(())
    }

    /// Another request on this connection. It never comes if the client has closed it.
    pub(crate) async fn next_request(&mut self) {
        if self.read_request().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// The method and what it is applied to.
    fn line(&self) -> (&str, &str) {
        let line = self.head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let mut words = str::from_utf8(line).unwrap_or_default().split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    pub(crate) fn method(&self) -> &str {
        self.line().0
    }

    pub(crate) fn path(&self) -> &str {
        self.line().1
    }

    /// A header's value, byte for byte.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.split(|&byte| byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let is_it = line[..colon].eq_ignore_ascii_case(name.as_bytes());
            is_it.then(|| line[colon + 1..].trim_ascii())
        })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.set_nodelay(true).expect("a socket");
        let sent = self.stream.write_all(bytes.as_ref()).await;
        sent.expect("the client listens");
    }

    /// Waits until the client has gone.
    pub(crate) async fn gone(&mut self) {
        let mut buffer = [0; 64];
        while !matches!(self.stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
    }
}

/// The next item but those that tell of a wait.
async fn next(source: &mut EventSource) -> Option<Result<Item, Error>> {
    loop {
        match source.next().await {
            Some(Ok(Item::Waiting { .. })) => {}
            item => return item,
        }
    }
}

/// The next item, which must be good news.
pub(crate) async fn item(source: &mut EventSource) -> Item {
    next(source).await.expect("the stream goes on").expect("good news")
}

/// The data of the next event; other items are passed over.
pub(crate) async fn data(source: &mut EventSource) -> String {
    loop {
        if let Some(event) = item(source).await.into_event() {
            return event.data().to_owned();
        }
    }
}

/// The next item, which must be bad news.
pub(crate) async fn error(source: &mut EventSource) -> Error {
    next(source).await.expect("the stream goes on").expect_err("bad news")
}

/// The next item, which must be the last.
pub(crate) async fn end(source: &mut EventSource) -> Box<sse_client::ClosedError> {
    let Error::Closed(closed) = error(source).await else { panic!("the end expected") };
    assert!(source.next().await.is_none(), "nothing after the end");
    closed
}

/// The stream must be over, without a word.
pub(crate) async fn silent_end(source: &mut EventSource) {
    if let Some(item) = next(source).await {
        panic!("unexpected {item:?}");
    }
}

/// Polls the source, which must deliver nothing but that it waits, until this is done.
pub(crate) async fn while_polled<T>(source: &mut EventSource, done: impl Future<Output = T>) -> T {
    tokio::select! {
        done = done => done,
        item = next(source) => panic!("unexpected {item:?}"),
    }
}

/// Answers with a status and closes.
pub(crate) fn refusal(status: u16, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status} No\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}")
}
