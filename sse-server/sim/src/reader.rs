//! Readers: native sessions that are cut off, lag, and resume at any hub.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::{FutureExt, StreamExt};
use sse_proto::{Closed, Cursor, Failure, Item, ResponseHead, SessionConfig, Step};
use sse_server::simulation::Seat;
use tokio::time::{Instant, sleep};

use crate::disk::{name_of, number_of, serial_of};
use crate::instance::{Instance, Instances};
use crate::oracle::{Got, Oracle, user_name};
use crate::plan::{Reader as Plan, What};
use crate::world::{World, pause};

/// A stream that is open.
struct Stream {
    instance: Arc<Instance>,
    bytes: Source,
}

enum Source {
    Http(Pin<Box<BodyDataStream>>),
    Crowd(Seat),
}

pub struct Reader {
    instances: Arc<Instances>,
    oracle: Arc<Oracle>,
    world: Arc<World>,
    plan: Plan,
    random: Mutex<Rng>,
    session: sse_proto::Reader,
    stream: Option<Stream>,
}

/// Reads until the run is over.
pub async fn read(instances: Arc<Instances>, plan: Plan) {
    let oracle = instances.oracle.clone();
    let world = oracle.world.clone();
    world.until(plan.begins).await;
    let mut random = world.random("reader", plan.number);
    let first = plan.channels.iter().map(|channel| format!("c{channel}:0")).collect::<Vec<_>>();
    let id = plan.from_first.then(|| first.join(","));
    let session = new_session(&mut random, id);
    let random = Mutex::new(random);
    let mut this = Reader { instances, oracle, world, plan, random, session, stream: None };
    this.run().await;
}

fn new_session(random: &mut Rng, id: Option<String>) -> sse_proto::Reader {
    let mut reader = sse_proto::Reader::new(SessionConfig::default(), random.u64(..));
    reader.set_last_event_id(id);
    reader
}

impl Reader {
    async fn run(&mut self) {
        loop {
            let now = self.world.nanos();
            match self.session.session_mut().poll(now) {
                Step::Connect(_) => {
                    self.close();
                    self.connect().await;
                }
                Step::Read => self.read().await,
                Step::Sleep => {
                    self.close();
                    let until = self.session.session().until();
                    sleep(Duration::from_nanos(until.saturating_sub(now))).await;
                }
                Step::Stop(closed) => {
                    self.close();
                    self.begin_anew(closed).await;
                }
            }
        }
    }

    fn close(&mut self) {
        if self.stream.take().is_some() {
            self.oracle.opened(self.plan.number, None);
        }
    }

    /// Asks a hub for a stream.
    async fn connect(&mut self) {
        let number = self.plan.number;
        self.oracle.asks(number);
        pause(&self.random, 30).await;
        let wanted = self.random.lock().unwrap_or_else(PoisonError::into_inner).usize(..);
        let instance = self.instances.one(wanted).filter(|_| !self.is_cut());
        let Some(instance) = instance else {
            let now = self.world.nanos();
            self.session.session_mut().handle_unsent(now, Failure::Network);
            return;
        };
        let id = self.session.last_event_id().map(str::to_owned);
        let hub = instance.process.hub;
        let shown = id.as_deref().unwrap_or("the end");
        self.world.say(format_args!("reader {number} asks hub {hub} for what comes after {shown}"));
        let mut is_cut = false;
        let (changed, plan, world) = (&self.world.changed, &self.plan, &self.world);
        let opened = tokio::select! {
            biased;
            opened = open(instance, plan, id) => opened,
            () = async {
                loop {
                    changed.notified().await;
                    if world.is(&What::Cut(plan.number)) {
                        return;
                    }
                }
            } => { is_cut = true; None }
            () = sleep(Duration::from_secs(30)) => None,
        };
        let Some((head, stream, position)) = opened else {
            let why = if is_cut { "is cut off" } else { "gets no answer" };
            self.world.say(format_args!("reader {number} {why}"));
            let now = self.world.nanos();
            return self.session.session_mut().handle_error(now);
        };
        if stream.is_some() && head.status == 200 {
            self.oracle.opened(number, Some(hub));
        }
        self.stream = stream;
        pause(&self.random, 20).await;
        self.world.say(format_args!("reader {number} is answered by hub {hub}: {}", head.status));
        let now = self.world.nanos();
        let head = ResponseHead {
            status: head.status,
            content_type: head.content_type.as_deref(),
            retry_after: head.retry_after.map(|seconds| seconds * 1_000_000_000),
        };
        self.session.session_mut().handle_response(now, &head);
        if let Some(position) = position {
            self.take(format!("id: {position}\n\n").as_bytes());
        }
        if !self.session.session().is_open() {
            self.close();
        }
    }

    fn is_cut(&self) -> bool {
        self.world.is(&What::Cut(self.plan.number))
    }

    /// Takes what comes next, or that it is over.
    async fn read(&mut self) {
        let number = self.plan.number;
        while self.world.is(&What::Lag(number)) {
            self.world.changed.notified().await;
        }
        let is_cut = self.is_cut();
        let Some(stream) = &mut self.stream else {
            let now = self.world.nanos();
            return self.session.session_mut().handle_error(now);
        };
        let now = self.world.nanos();
        let left = Duration::from_nanos(self.session.session().until().saturating_sub(now));
        let until = Instant::now() + left.min(Duration::from_hours(24));
        let instance = stream.instance.clone();
        if is_cut || instance.process.is_dead() {
            return self.cut();
        }
        let got = tokio::select! {
            biased;
            got = stream.next() => got,
            () = tokio::time::sleep_until(until) => return,
            () = instance.process.died.notified() => {
                return self.cut();
            }
            () = self.world.changed.notified() => {
                if self.world.is(&What::Cut(number)) {
                    self.cut();
                }
                return;
            }
        };
        if let Some(bytes) = got {
            pause(&self.random, 3).await;
            return self.take(&bytes);
        }
        if stream.is_spinning() {
            let text = format!("reader {number} leaves the crowd and comes back without end");
            self.world.violated("nobody keeps a core busy for nothing", text);
        }
        self.world.say(format_args!("reader {number}: the stream has ended"));
        self.oracle.ended(number);
        let now = self.world.nanos();
        self.session.session_mut().handle_end(now);
    }

    /// The connection breaks. A part of what was on its way arrives.
    fn cut(&mut self) {
        let last = self.stream.as_mut().and_then(|stream| stream.next().now_or_never()).flatten();
        if let Some(last) = last {
            let len = {
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                random.usize(0..=last.len())
            };
            self.take(&last[..len]);
        }
        self.world.say(format_args!("reader {} is cut off", self.plan.number));
        let now = self.world.nanos();
        self.session.session_mut().handle_error(now);
    }

    /// Reads bytes, and has what they are compared with what they must be.
    fn take(&mut self, bytes: &[u8]) {
        enum Taken {
            Event(usize, u64, String),
            Reset(Vec<String>),
        }
        let number = self.plan.number;
        let now = self.world.nanos();
        let mut items = self.session.handle_bytes(now, bytes);
        loop {
            let taken = match items.next_item() {
                None => break,
                Some(Ok(Item::Event(event))) => {
                    let mut words = event.data().split(' ');
                    let serial = words.next().and_then(|_| serial_of(event.data()));
                    let channel = words.next().map(number_of);
                    let (Some(serial), Some(channel)) = (serial, channel) else {
                        let text = format!("reader {number} got {:?}", event.data());
                        self.world.violated("what is seen is stored", text);
                        continue;
                    };
                    Taken::Event(channel, serial, event.event_type().to_owned())
                }
                Some(Ok(Item::Reset { channels })) => Taken::Reset(channels),
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    let text = format!("reader {number}: {error}");
                    self.world.violated("what is seen is stored", text);
                    continue;
                }
            };
            let id = items.last_event_id().unwrap_or_default();
            match taken {
                Taken::Event(channel, serial, event_type) => {
                    self.world.say(format_args!(
                        "reader {number} gets #{serial} (c{channel}), and is at {id}"
                    ));
                    let got = Got { channel, serial, event_type: &event_type, id };
                    self.oracle.got(number, &got);
                }
                Taken::Reset(channels) => {
                    self.world.say(format_args!(
                        "reader {number} is reset in {channels:?}, and is at {id}"
                    ));
                    self.oracle.reset(number, &channels, id);
                }
            }
        }
        if let Some(id) = self.session.last_event_id() {
            self.oracle.stands(number, id);
        }
    }

    /// The session is over. If the reader was shown out, it comes back when it may.
    async fn begin_anew(&mut self, closed: Closed) {
        let number = self.plan.number;
        let error = self.session.stream_error().cloned();
        let is_shown_out = error.as_ref().is_some_and(|error| error.condition == "forbidden");
        if closed != Closed::StreamError || !is_shown_out {
            let text = format!("reader {number} is turned away: {closed:?}, {error:?}");
            self.world.violated("nobody is turned away for good", text);
            return std::future::pending().await;
        }
        self.world.say(format_args!("reader {number} is shown out"));
        self.oracle.shown_out(number);
        loop {
            sleep(Duration::from_millis(500)).await;
            let (oracle, user) = (&self.oracle, self.plan.user);
            if self.plan.channels.iter().all(|&channel| oracle.may_read(user, channel)) {
                break;
            }
        }
        let id = self.session.last_event_id().map(str::to_owned);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        self.session = new_session(&mut random, id);
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    content_type: Option<Vec<u8>>,
    retry_after: Option<u64>,
}

type Opened = (Head, Option<Stream>, Option<String>);

async fn open(instance: Arc<Instance>, plan: &Plan, id: Option<String>) -> Option<Opened> {
    if plan.rests { rest(instance, plan, id).await } else { ask(instance, plan, id).await }
}

/// Asks over HTTP.
async fn ask(instance: Arc<Instance>, plan: &Plan, id: Option<String>) -> Option<Opened> {
    let mut query: Vec<String> =
        plan.channels.iter().map(|channel| format!("channel=c{channel}")).collect();
    if plan.is_choosy {
        query.push("messages_types=t".to_owned());
    }
    let mut request = Request::get(format!("/events/?{}", query.join("&")))
        .header("accept", "text/event-stream")
        .header("x-user", user_name(plan.user));
    if let Some(id) = id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(Body::empty()).expect("it is in order");
    let response = instance.ask(request).await?;
    let header = |name| response.headers().get(name).map(|value| value.as_bytes().to_vec());
    let seconds = header("retry-after").and_then(|value| String::from_utf8(value).ok());
    let head = Head {
        status: response.status().as_u16(),
        content_type: header("content-type"),
        retry_after: seconds.and_then(|seconds| seconds.parse().ok()),
    };
    let bytes = Source::Http(Box::pin(response.into_body().into_data_stream()));
    Some((head, Some(Stream { instance, bytes }), None))
}

/// Sits down among others.
async fn rest(instance: Arc<Instance>, plan: &Plan, id: Option<String>) -> Option<Opened> {
    let channels: Vec<Arc<str>> = plan.channels.iter().map(|&channel| name_of(channel)).collect();
    let cursor = id.as_deref().map_or_else(Cursor::new, |id| Cursor::parse(id).unwrap_or_default());
    let entered = tokio::select! {
            biased;
        () = instance.process.died.notified() => return None,
        entered = instance.stand.enter(&channels, &cursor) => entered,
    };
    let event_stream = Some(b"text/event-stream".to_vec());
    let Ok(mut seat) = entered else {
        let head = Head { status: 503, content_type: None, retry_after: None };
        return Some((head, None, None));
    };
    seat.read_as(&user_name(plan.user));
    if plan.is_choosy {
        seat.only(["t"]);
    }
    let position = id.is_none().then(|| seat.cursor());
    let head = Head { status: 200, content_type: event_stream, retry_after: None };
    Some((head, Some(Stream { instance, bytes: Source::Crowd(seat) }), position))
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        match &mut self.bytes {
            Source::Http(body) => body.next().await?.ok(),
            Source::Crowd(seat) => seat.next().await.map(|chunks| unframed(&chunks)),
        }
    }
}

impl Stream {
    fn is_spinning(&self) -> bool {
        matches!(&self.bytes, Source::Crowd(seat) if seat.is_spinning())
    }
}

/// The content of chunks of HTTP/1.1.
fn unframed(mut chunks: &[u8]) -> Bytes {
    let mut content = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = str::from_utf8(&chunks[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).expect("a size");
        content.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 4 + size..];
    }
    content.into()
}
