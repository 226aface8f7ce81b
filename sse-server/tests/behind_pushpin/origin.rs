//! A server of ours behind a Pushpin, in this process; and a door between the two, at which what is
//! published can be taken away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use serde_json::{Value, json};
use sse_client::{EventSource, Item, reqwest};
use sse_server::access::{Access, ChannelManager};
use sse_server::grip::Grip;
use sse_server::http::{self, HttpConfig};
use sse_server::hub::{Hub, HubConfig};
use sse_server::storage::{MemoryStorage, Storage};
use testkit::access::Grants;
use testkit::pushpin::Pushpin;
use testkit::server::TOKEN;
use testkit::wait::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server and its proxy.
pub(crate) struct Origin {
    pub(crate) pushpin: Pushpin,
    pub(crate) address: SocketAddr,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) door: Door,
    /// How often the proxy has followed a next link.
    pub(crate) asked: Arc<AtomicUsize>,
    http: reqwest::Client,
    _shutdown: tokio::sync::oneshot::Sender<()>,
}

/// How one is started.
pub(crate) struct Options {
    pub(crate) grants: Option<Arc<Grants>>,
    /// Another one who says who may read what.
    pub(crate) manager: Option<Arc<dyn ChannelManager>>,
    pub(crate) link_timeout: Duration,
    pub(crate) prefix: &'static str,
    /// More proxies, before this one, which need not be there.
    pub(crate) others: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        let link_timeout = Duration::from_mins(1);
        Self { grants: None, manager: None, link_timeout, prefix: "", others: Vec::new() }
    }
}

impl Origin {
    pub(crate) async fn start(options: Options) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let pushpin = Pushpin::start(address.port()).await?;
        let door = Door::open(&pushpin).await;
        let url = pushpin.grip_url().replace(&pushpin.control(), &door.url());
        let proxies = options.others.into_iter().chain([url]);
        let proxies = proxies.map(|url| url.parse().expect("a GRIP_URL"));
        let grip = Grip::new(proxies).prefix(options.prefix).link_timeout(options.link_timeout);
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let hub = Hub::with_config(storage.clone(), HubConfig::default());
        let mut config = HttpConfig::new(TOKEN).grip(grip);
        let grants = options.grants.map(|grants| grants as Arc<dyn ChannelManager>);
        if let Some(manager) = grants.or(options.manager) {
            config = config.access(Access::new(manager, &hub));
        }
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let router = http::router(hub.clone(), config).layer(middleware::from_fn(
            move |request: Request, next: Next| {
                let is_link = request.uri().path().starts_with("/grip/");
                count.fetch_add(usize::from(is_link), Ordering::SeqCst);
                next.run(request)
            },
        ));
        let (shutdown, ended) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            http::serve(listener, router, &hub, async { drop(ended.await) }).await;
        });
        let http = reqwest::Client::new();
        Some(Self { pushpin, address, storage, door, asked, http, _shutdown: shutdown })
    }

    async fn post(&self, path: &str, body: &Value) {
        let request = self.http.post(format!("http://{}{path}", self.address));
        let answer = request.bearer_auth(TOKEN).body(body.to_string()).send().await;
        let answer = answer.expect("it answers");
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.expect("a text"));
    }

    pub(crate) async fn publish(&self, channel: &str, data: impl Into<Value>) {
        self.post("/publish/", &json!({"channel": channel, "data": data.into()})).await;
    }

    /// Publishes an event with more fields.
    pub(crate) async fn publish_with(&self, mut event: Value, more: Value) {
        let fields = event.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        self.post("/publish/", &event).await;
    }

    pub(crate) async fn changed(&self, user: &str, channel: &str) {
        self.post("/permissions/changed", &json!({"user": user, "channel": channel})).await;
    }

    /// A reader by way of the proxy, which has its stream.
    pub(crate) async fn reader(&self, channels: &[&str], user: Option<&str>, from: &str) -> Reader {
        let mut source = EventSource::channels(self.pushpin.url("/events/"), channels);
        if let Some(user) = user {
            source = source.header("x-user", user);
        }
        if !from.is_empty() {
            source = source.last_event_id(from.to_owned());
        }
        let mut reader = Reader(source.build().expect("a client"));
        assert_eq!(reader.item().await, Item::Open);
        reader
    }
}

/// What a client sees.
pub(crate) struct Reader(pub(crate) EventSource);

impl Reader {
    pub(crate) async fn item(&mut self) -> Item {
        loop {
            let item = within("something in the stream", self.0.next()).await;
            match item.expect("it goes on").expect("no error") {
                // The proxy is not ready, or was restarted: the client comes back.
                Item::Waiting { .. } => {}
                item => return item,
            }
        }
    }

    /// The id and the data of the next event.
    pub(crate) async fn next(&mut self) -> (String, String) {
        match self.item().await {
            Item::Event(event) => (event.last_event_id().to_owned(), event.data().to_owned()),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Checks that the next events have these data, in this order.
    pub(crate) async fn reads(&mut self, data: &[&str]) {
        for data in data {
            assert_eq!(self.next().await.1, *data);
        }
    }
}

/// What leads to the place where a proxy takes what is published.
pub(crate) struct Door {
    address: SocketAddr,
    /// What comes is answered as if it had been taken, and goes nowhere.
    is_swallowing: Arc<AtomicBool>,
    pub(crate) swallowed: Arc<AtomicUsize>,
}

impl Door {
    async fn open(to: &Pushpin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let to = to.control().replace("http://", "");
        let is_swallowing = Arc::new(AtomicBool::new(false));
        let swallowed = Arc::new(AtomicUsize::new(0));
        let (swallows, count) = (is_swallowing.clone(), swallowed.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (to, swallows, count) = (to.clone(), swallows.clone(), count.clone());
                tokio::spawn(async move {
                    if swallows.load(Ordering::SeqCst) {
                        let mut request = vec![0; 1 << 16];
                        let read = client.read(&mut request).await;
                        count.fetch_add(usize::from(read.is_ok()), Ordering::SeqCst);
                        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\
                                      Content-Length: 10\r\n\r\nPublished\n";
                        client.write_all(answer.as_bytes()).await.ok();
                    } else if let Ok(mut server) = TcpStream::connect(to).await {
                        tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
                    }
                });
            }
        });
        Self { address, is_swallowing, swallowed }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn swallow(&self, swallow: bool) {
        self.is_swallowing.store(swallow, Ordering::SeqCst);
    }
}
