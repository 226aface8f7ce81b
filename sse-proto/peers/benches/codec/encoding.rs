//! The work of encoding the events of a corpus.
//!
//! Each contestant is given the fields and makes the events and their bytes: some check the fields
//! when the event is made, some when it is encoded. Into a buffer that is used again, if it can: it
//! is emptied whenever it holds [`FLUSH`], as if it were written to a socket. Else into memory of
//! its own for each event; so does our [`Rendered`], which many streams share.

use std::cell::RefCell;
use std::convert::Infallible;
use std::hint::black_box;
use std::mem;
use std::pin::pin;
use std::time::Duration;

use axum::response::IntoResponse as _;
use axum::response::sse as axum_sse;
use bytes::{BufMut, Bytes, BytesMut};
use futures::executor::block_on;
use futures::{StreamExt as _, stream};
use sse_peers::{Corpus, Count};
use sse_proto::{Decoder, Event, Frame, Rendered};

use crate::contest::{MEMCPY, Refused, Role, Work, time};

/// What goes to a socket at once.
const FLUSH: usize = 64 << 10;

pub(crate) const ENCODE_INTO: &str = "sse-proto";
pub(crate) const RENDERED: &str = "sse-proto Rendered";

/// The events of a corpus, as those have them who are about to send them.
pub(crate) struct Encoding {
    messages: &'static [Message],
    count: Count,
    len: usize,
    sink: RefCell<Sink>,
}

struct Message {
    event_type: Option<String>,
    id: Option<String>,
    data: String,
    /// What it is on the wire.
    bytes: Bytes,
}

/// Where encoded bytes go, and the buffers that are used again.
#[derive(Default)]
struct Sink {
    vec: Vec<u8>,
    bytes_mut: BytesMut,
    /// Only to be checked.
    kept: Option<Vec<u8>>,
}

struct Contestant {
    name: &'static str,
    role: Role,
    run: fn(&'static [Message], &mut Sink) -> Duration,
}

const CONTESTANTS: [Contestant; 6] = [
    Contestant {
        name: ENCODE_INTO,
        role: Role::Ours,
        run: |messages, sink| encode_into(messages, sink, |sink| &mut sink.vec, Vec::clear),
    },
    Contestant {
        name: "sse-proto BytesMut",
        role: Role::Ours,
        run: |messages, sink| {
            encode_into(messages, sink, |sink| &mut sink.bytes_mut, BytesMut::clear)
        },
    },
    Contestant { name: RENDERED, role: Role::Ours, run: render },
    Contestant { name: "axum", role: Role::Peer { keeps: true }, run: axum },
    Contestant { name: "sse-stream", role: Role::Peer { keeps: true }, run: sse_stream },
    Contestant { name: MEMCPY, role: Role::Limit, run: copy },
];

impl Encoding {
    pub(crate) fn new(corpus: &Corpus) -> Self {
        let mut messages = Vec::new();
        let mut decoder = Decoder::new();
        let mut frames = decoder.decode(&corpus.stream);
        let mut start = 0;
        loop {
            let event = match frames.next_frame() {
                Some(Ok(Frame::Event(event))) => event.into_owned(),
                Some(_) => continue,
                None => break,
            };
            let end = corpus.stream.len() - frames.rest().len();
            messages.push(Message {
                event_type: Some(event.event_type().to_owned())
                    .filter(|event_type| event_type != "message"),
                id: event.id().map(str::to_owned),
                data: event.data().to_owned(),
                bytes: corpus.stream.slice(start..end),
            });
            start = end;
        }
        // As long as the process: axum's streams borrow nothing.
        Self {
            messages: messages.leak(),
            count: corpus.count,
            len: corpus.stream.len(),
            sink: RefCell::default(),
        }
    }
}

impl Work for Encoding {
    fn len(&self) -> usize {
        self.len
    }

    fn contestants(&self) -> Vec<(&'static str, Role)> {
        CONTESTANTS.iter().map(|contestant| (contestant.name, contestant.role)).collect()
    }

    /// Decodes what it has encoded.
    fn try_out(&self, index: usize) -> Result<Duration, Refused> {
        let mut sink = Sink { kept: Some(Vec::new()), ..Sink::default() };
        (CONTESTANTS[index].run)(self.messages, &mut sink);
        let mut decoder = Decoder::new();
        let mut found = Count::default();
        let bytes = sink.kept.unwrap_or_default();
        let mut frames = decoder.decode(&bytes);
        while let Some(frame) = frames.next_frame() {
            if let Ok(Frame::Event(event)) = frame {
                found.events += 1;
                found.data_len += event.data().len();
            }
        }
        if found != self.count || bytes.len() != self.len {
            let len = bytes.len();
            let wrong = format!("writes {found:?} in {len} bytes, not {:?}", self.count);
            return Err(Refused::Wrong(wrong));
        }
        Ok(self.run(index))
    }

    fn run(&self, index: usize) -> Duration {
        (CONTESTANTS[index].run)(black_box(self.messages), &mut self.sink.borrow_mut())
    }
}

impl Sink {
    #[inline]
    fn take(&mut self, bytes: &[u8]) {
        black_box(bytes);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
    }
}

impl Message {
    #[inline]
    fn event(&self) -> Event<'_> {
        let mut event = Event::builder(&self.data);
        if let Some(event_type) = &self.event_type {
            event = event.event_type(event_type);
        }
        if let Some(id) = &self.id {
            event = event.id(id);
        }
        event.build().expect("it was decoded")
    }
}

fn encode_into<B: BufMut + AsRef<[u8]> + Default>(
    messages: &[Message],
    sink: &mut Sink,
    place: fn(&mut Sink) -> &mut B,
    clear: fn(&mut B),
) -> Duration {
    let mut buffer = mem::take(place(sink));
    let time = time(|| {
        for message in messages {
            message.event().encode_into(&mut buffer);
            if buffer.as_ref().len() >= FLUSH {
                sink.take(buffer.as_ref());
                clear(&mut buffer);
            }
        }
        sink.take(buffer.as_ref());
        clear(&mut buffer);
    });
    *place(sink) = buffer;
    time
}

fn render(messages: &'static [Message], sink: &mut Sink) -> Duration {
    time(|| {
        for message in messages {
            sink.take(Rendered::new(&message.event()).bytes());
        }
    })
}

/// Its events become bytes only as the body of a response.
fn axum(messages: &'static [Message], sink: &mut Sink) -> Duration {
    time(|| {
        let events = messages.iter().map(|message| {
            let mut event = axum_sse::Event::default();
            if let Some(event_type) = &message.event_type {
                event = event.event(event_type);
            }
            if let Some(id) = &message.id {
                event = event.id(id);
            }
            Ok::<_, Infallible>(event.data(&message.data))
        });
        let response = axum_sse::Sse::new(stream::iter(events)).into_response();
        let mut chunks = pin!(response.into_body().into_data_stream());
        block_on(async {
            while let Some(Ok(bytes)) = chunks.next().await {
                sink.take(&bytes);
            }
        });
    })
}

/// It takes `String`s, which its users may have anyway: to make them is not counted, to drop them
/// is.
fn sse_stream(messages: &'static [Message], sink: &mut Sink) -> Duration {
    let blocks: Vec<_> = messages
        .iter()
        .map(|message| sse_stream::Sse {
            event: message.event_type.clone(),
            data: Some(message.data.clone()),
            id: message.id.clone(),
            retry: None,
        })
        .collect();
    time(|| {
        for block in blocks {
            sink.take(&block.encode().expect("it was decoded"));
        }
    })
}

/// The bytes of each event, into the same buffer.
fn copy(messages: &'static [Message], sink: &mut Sink) -> Duration {
    let mut buffer = mem::take(&mut sink.vec);
    let time = time(|| {
        for message in messages {
            buffer.extend_from_slice(&message.bytes);
            if buffer.len() >= FLUSH {
                sink.take(&buffer);
                buffer.clear();
            }
        }
        sink.take(&buffer);
        buffer.clear();
    });
    sink.vec = buffer;
    time
}
