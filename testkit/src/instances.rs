//! Several instances of the server in one process, each with an HTTP port, connections and hub of
//! its own; and clients that publish and read over HTTP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sse_proto::{Decoder, Frame};
use sse_server::config::{RelayChoice, StorageChoice};
use sse_server::http::{self, HttpConfig};
use sse_server::hub::{Hub, HubConfig};
use sse_server::storage::{Retention, Storage};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub use crate::wait::{DEADLINE, within};

/// A server, which ends when dropped.
pub struct Instance {
    pub address: SocketAddr,
    pub hub: Hub,
    pub storage: Arc<dyn Storage>,
    shutdown: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Instance {
    /// Starts one, as `--storage` and `--relay` describe it.
    pub async fn start(storage: &str, relay: &str, refresh: Duration) -> Self {
        let storage = StorageChoice::parse(storage).expect("a storage");
        let storage = storage.open(Retention::default()).await.expect("the storage opens");
        let relay = RelayChoice::parse(relay).expect("a relay");
        let relay = relay.open().await.expect("the relay opens");
        let mut config = HubConfig::default().refresh(refresh);
        if let Some(relay) = relay {
            config = config.relay(relay);
        }
        Self::serve(storage, config).await
    }

    pub async fn serve(storage: Arc<dyn Storage>, config: HubConfig) -> Self {
        let hub = Hub::with_config(storage.clone(), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (shutdown, ended) = tokio::sync::oneshot::channel();
        let router = http::router(hub.clone(), HttpConfig::new("token"));
        let served = hub.clone();
        tokio::spawn(async move {
            http::serve(listener, router, &served, async { drop(ended.await) }).await;
        });
        Self { address, hub, storage, shutdown: Some(shutdown) }
    }

    /// The status of `GET path`.
    pub async fn status(&self, path: &str) -> u16 {
        within("an answer", async {
            let mut socket = TcpStream::connect(self.address).await.expect("it listens");
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            socket.write_all(request.as_bytes()).await.expect("it reads");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.expect("an answer");
            answer[9..12].parse().expect("a status")
        })
        .await
    }

    pub async fn publisher(&self) -> Publisher {
        let socket = TcpStream::connect(self.address).await.expect("it listens");
        Publisher(BufReader::new(socket))
    }

    /// Opens a stream, and waits until it is open.
    pub async fn reader(&self, query: &str, resume: &str) -> Reader {
        let mut socket = TcpStream::connect(self.address).await.expect("it listens");
        let header =
            if resume.is_empty() { String::new() } else { format!("Last-Event-ID: {resume}\r\n") };
        // Without chunks, because HTTP/1.0 has none.
        let request = format!("GET /events/?{query} HTTP/1.0\r\n{header}\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        within("a head", async {
            while line != "\r\n" {
                line.clear();
                assert!(socket.read_line(&mut line).await.expect("a head") > 0, "no head");
            }
        })
        .await;
        let mut reader = Reader { socket, decoder: Decoder::new(), events: VecDeque::new() };
        assert_eq!(reader.next().await.0, "stream-open");
        reader
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shutdown.take();
    }
}

/// A connection to publish over.
pub struct Publisher(BufReader<TcpStream>);

impl Publisher {
    /// Publishes numbers as one batch, and returns the status and the ids.
    pub async fn try_publish(&mut self, channel: &str, data: &[Value]) -> (u16, Vec<String>) {
        let events: Vec<_> =
            data.iter().map(|data| json!({"channel": channel, "data": data})).collect();
        let body = Value::from(events).to_string();
        let len = body.len();
        let request = format!(
            "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token\r\n\
             Content-Length: {len}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).await.expect("it reads");
        let mut head = String::new();
        let mut len = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(self.0.read_line(&mut line).await.expect("a head") > 0, "no answer");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                len = value.trim().parse().expect("a length");
            }
            head += &line;
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).await.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let ids = body.as_array().map(Vec::as_slice).unwrap_or_default();
        let ids = ids.iter().map(|event| event["id"].as_str().unwrap_or_default().to_owned());
        (head[9..12].parse().expect("a status"), ids.collect())
    }

    pub async fn publish(&mut self, channel: &str, data: impl Into<Value>) -> String {
        let (status, mut ids) =
            within("an answer", self.try_publish(channel, &[data.into()])).await;
        assert_eq!(status, 200);
        ids.remove(0)
    }
}

/// An open stream.
pub struct Reader {
    socket: BufReader<TcpStream>,
    decoder: Decoder,
    events: VecDeque<(String, String, String)>,
}

impl Reader {
    /// The next event but keep-alives: type, id and data.
    pub async fn next(&mut self) -> (String, String, String) {
        within("an event", async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                let read = self.socket.fill_buf().await.expect("readable");
                assert!(!read.is_empty(), "the stream has ended");
                let len = read.len();
                let mut frames = self.decoder.decode(read);
                while let Some(frame) = frames.next_frame() {
                    if let Ok(Frame::Event(event)) = frame
                        && event.event_type() != "keep-alive"
                    {
                        let [kind, id, data] =
                            [event.event_type(), event.last_event_id(), event.data()]
                                .map(str::to_owned);
                        self.events.push_back((kind, id, data));
                    }
                }
                drop(frames);
                self.socket.consume(len);
            }
        })
        .await
    }

    /// Reads on and checks that the ids are those from `first` to `last`, each once and in order.
    /// Returns the data.
    pub async fn all(&mut self, channel: &str, first: u64, last: u64) -> Vec<String> {
        let mut all = Vec::new();
        for id in first..=last {
            let (kind, event_id, data) = self.next().await;
            assert_eq!((&*kind, event_id), ("message", format!("{channel}:{id}")), "{data}");
            all.push(data);
        }
        all
    }
}
