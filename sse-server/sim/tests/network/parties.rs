//! Who is there: servers, readers and publishers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Uri};
use fastrand::Rng;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use sse_client::{EventSource, Item, runtime, transport};
use sse_server::http::{HttpConfig, Operations};
use sse_server::hub::{Hub, HubConfig};
use sse_server::simulation::{SimulatedListener, serve_simulated};
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use crate::plan::{DRAIN, LENGTH, SERVERS};
use crate::wire::Wire;
use crate::world::{CHANNELS, World, length};

const TOKEN: &str = "simulated-token-of-32-characters";

/// How long a publisher waits for an answer before it tries again.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(4);

/// How often somebody looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn server_name(server: usize) -> String {
    format!("server{server}")
}

pub(crate) fn client_name(client: usize) -> String {
    format!("client{client}")
}

/// Where a server's connections come in.
struct Port(TcpListener, Arc<World>);

impl SimulatedListener for Port {
    type Stream = Wire;

    async fn accept(&self) -> io::Result<(Wire, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Wire::new(stream, &self.1, true)?, peer))
    }
}

/// Serves until it is to shut down.
pub(crate) async fn serve(world: Arc<World>, number: usize) -> turmoil::Result {
    let port = Port(TcpListener::bind("0.0.0.0:80").await?, world.clone());
    let config = HubConfig::default().refresh(Duration::from_secs(1)).memory(world.plan.memory);
    let hub = Hub::with_config(world.storage.clone(), config);
    let operations = Operations::default()
        .write_timeout(Duration::from_secs(10))
        .drain_time(Duration::from_millis(DRAIN));
    let http = HttpConfig::new(TOKEN).keep_alive(Duration::from_secs(5)).operations(operations);
    let is_to_end = world.clone();
    let shutdown = async move {
        while !is_to_end.drains[number].load(Ordering::Relaxed) {
            sleep(LOOK).await;
        }
    };
    world.say(format_args!("server {number} starts"));
    serve_simulated(port, &hub, http, shutdown).await;
    world.say(format_args!("server {number} has ended"));
    Ok(())
}

/// Connects to any of the servers.
#[derive(Clone)]
struct Dial(Arc<World>, Arc<Mutex<Rng>>);

impl Dial {
    fn new(world: &Arc<World>) -> Self {
        Self(world.clone(), Arc::new(Mutex::new(world.random())))
    }
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let server = self.1.lock().unwrap_or_else(PoisonError::into_inner).usize(0..SERVERS);
        let world = self.0.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((server_name(server), 80));
            let stream = timeout(CONNECT, stream).await.map_err(|_| io::ErrorKind::TimedOut)??;
            Ok(TokioIo::new(Wire::new(stream, &world, false)?))
        })
    }
}

/// Reads both channels from their beginnings until it is over.
pub(crate) async fn read(world: Arc<World>, number: usize) -> turmoil::Result {
    let first = CHANNELS.map(|channel| format!("{channel}:0")).join(",");
    let channels = CHANNELS.map(|channel| format!("channel={channel}")).join("&");
    let mut source = EventSource::get(format!("http://server/events/?{channels}"))
        .transport(transport::Hyper::with_connector(Dial::new(&world)))
        .runtime(runtime::Tokio)
        .session(|session| {
            session
                .idle_timeout(Some(Duration::from_secs(12)))
                .response_timeout(Duration::from_secs(8))
        })
        .last_event_id(first)
        .build()?;
    while !world.is_over() {
        let Ok(item) = timeout(LOOK, source.next()).await else { continue };
        match item {
            Some(Ok(Item::Event(event))) => {
                world.got(number, event.data(), event.last_event_id());
            }
            Some(Ok(Item::Open)) => world.say(format_args!("reader {number} is let in")),
            Some(Ok(Item::Waiting { why, .. })) => {
                world.say(format_args!("reader {number} waits: {why}"));
            }
            Some(Ok(Item::Reset { .. })) => {
                world.violated("nothing is gone, so nobody is reset");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                world.say(format_args!("reader {number}: {error}"));
                world.violated("streams are in order, and nobody is turned away for good");
            }
            None => {
                world.violated("nobody is turned away for good");
                break;
            }
        }
    }
    drop(source);
    // Its connection has still to be closed.
    std::future::pending().await
}

/// Publishes for a while; each request again until it is answered.
pub(crate) async fn publish(world: Arc<World>, number: usize) -> turmoil::Result {
    let client = Client::builder(TokioExecutor::new()).build::<_, Body>(Dial::new(&world));
    let mut random = world.random();
    let mut request = 0;
    while turmoil::sim_elapsed().unwrap_or_default() < Duration::from_millis(LENGTH) {
        sleep(Duration::from_millis(random.u64(50..1_500))).await;
        let count = random.usize(1..=3);
        let serials: Vec<u64> = (0..count).map(|_| world.serial()).collect();
        let events = serials.iter().map(|&serial| {
            let channel = random.choice(CHANNELS).expect("there are some");
            let text = format!("{serial} {channel} {}", "x".repeat(length(serial)));
            serde_json::json!({"channel": channel, "text": text})
        });
        let body = Value::Array(events.collect()).to_string();
        request += 1;
        let key = format!("{number}-{request}");
        world.asks();
        loop {
            let ids = timeout(PATIENCE, ask(&client, &key, body.clone())).await;
            if let Ok(Ok(ids)) = ids {
                world.say(format_args!("publisher {number} has published {serials:?} as {ids:?}"));
                world.answered(&serials, &ids);
                break;
            }
            world.say(format_args!("publisher {number} has no answer for {serials:?}"));
            sleep(Duration::from_millis(random.u64(100..1_000))).await;
        }
    }
    drop(client);
    std::future::pending().await
}

/// The ids of what was published.
async fn ask(
    client: &Client<Dial, Body>,
    key: &str,
    body: String,
) -> Result<Vec<(String, u64)>, Box<dyn std::error::Error>> {
    let request = Request::post("http://server/publish/")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body))?;
    let response = client.request(request).await?;
    if response.status() != 200 {
        return Err(response.status().to_string().into());
    }
    let answer = to_bytes(Body::new(response.into_body()), 1 << 20).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let id = |entry: &Value| {
        let (channel, id) = entry["id"].as_str()?.split_once(':')?;
        Some((channel.to_owned(), id.parse().ok()?))
    };
    let ids = answer.as_array().and_then(|all| all.iter().map(id).collect());
    ids.ok_or_else(|| "an answer without ids".into())
}
