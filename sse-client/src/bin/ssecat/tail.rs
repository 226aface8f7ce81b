//! Reads the stream to its end.

use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_core::Stream as _;
use sse_client::{Closed, ClosedError, Error, Event, EventSource, Failure, Handle, Item, Status};
use tokio::sync::oneshot;

use crate::args::Args;
use crate::id_file::IdFile;
use crate::output::{Messages, Output};
use crate::said::Said;
use crate::signals;

/// How the program ends.
#[derive(Debug)]
pub(crate) enum End {
    /// As asked: the events wanted have come, or the stream is complete.
    Done,
    /// The output was closed.
    Unread,
    /// The server refused, or has closed the stream for good.
    Refused(String),
    Usage(String),
    GaveUp(String),
    /// The output or the id file cannot be written, or there is no runtime.
    Failed(String),
    /// With the exit code of the signal.
    Signal(u8),
}

impl End {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Done | Self::Unread => 0,
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::GaveUp(_) => 3,
            Self::Failed(_) => 4,
            Self::Signal(code) => *code,
        }
    }

    /// What is to be said about it.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Unread | Self::Signal(_) => None,
            Self::Refused(text) | Self::Usage(text) | Self::GaveUp(text) | Self::Failed(text) => {
                Some(text)
            }
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The reader of the output (`head -1`) has seen enough.
            ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(format!("cannot write the output: {error}; make room for it")),
        }
    }
}

/// The program at work.
pub(crate) struct Tail {
    source: EventSource,
    handle: Handle,
    output: Output,
    messages: Messages,
    id_file: Option<IdFile>,
    types: Vec<String>,
    /// How many events are still to be printed; `None`: all there are.
    left: Option<u64>,
    signal: oneshot::Receiver<u8>,
    is_reconnecting: bool,
}

/// What has happened.
enum Next {
    Item(Option<Result<Item, Error>>),
    Status(Status),
    Signal(u8),
}

impl Tail {
    pub(crate) fn new(args: Args, messages: Messages) -> Result<Self, End> {
        let signal = signals::listen().map_err(End::Failed)?;
        let id_file = args.id_file.clone().map(IdFile::open).transpose().map_err(End::Usage)?;
        let stored_id = id_file.as_ref().and_then(IdFile::id);
        let source = args.source(stored_id).map_err(End::Usage)?;
        Ok(Self {
            handle: source.handle(),
            source,
            output: Output::new(&args),
            messages,
            id_file,
            types: args.event,
            left: args.max_events,
            signal,
            is_reconnecting: false,
        })
    }

    /// Returns either way when it is over; as an error when that happens in the middle of
    /// something.
    pub(crate) async fn run(mut self) -> Result<End, End> {
        if let Some(id) = self.source.last_event_id() {
            self.messages.detail(&format!("continuing after {}", Said(id)));
        }
        // The status is this from the start, so it is no change.
        self.messages.detail("connecting");
        let end = self.read().await.unwrap_or_else(|end| end);
        self.settle()?;
        Ok(end)
    }

    async fn read(&mut self) -> Result<End, End> {
        loop {
            match self.next().await? {
                Next::Item(Some(Ok(item))) => {
                    self.print(item)?;
                    if self.left == Some(0) {
                        return Ok(End::Done);
                    }
                }
                Next::Item(Some(Err(Error::Closed(closed)))) => return Ok(end_of(&closed)),
                Next::Item(Some(Err(error @ Error::Event(_)))) => {
                    self.output.error(&error.to_string())?;
                    return Ok(End::Refused(error.to_string()));
                }
                Next::Item(Some(Err(error))) => self.lost(&error.to_string())?,
                Next::Item(None) => return Ok(End::Done),
                Next::Status(status) => self.show(status),
                Next::Signal(code) => return Ok(End::Signal(code)),
            }
        }
    }

    /// Waits for the next thing. What was printed is written out when nothing is there at once.
    async fn next(&mut self) -> Result<Next, End> {
        let mut source = pin!(&mut self.source);
        let mut signal = pin!(&mut self.signal);
        let mut status = pin!(self.handle.changed());
        let (output, id_file) = (&mut self.output, &mut self.id_file);
        poll_fn(|cx| {
            if let Poll::Ready(Ok(code)) = signal.as_mut().poll(cx) {
                return Poll::Ready(Ok(Next::Signal(code)));
            }
            if let Poll::Ready(item) = source.as_mut().poll_next(cx) {
                return Poll::Ready(Ok(Next::Item(item)));
            }
            if let Err(end) = write_out(output, id_file.as_mut(), source.last_event_id()) {
                return Poll::Ready(Err(end));
            }
            match status.as_mut().poll(cx) {
                Poll::Ready(Some(status)) => Poll::Ready(Ok(Next::Status(status))),
                // There is no other; the end comes as an item.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn settle(&mut self) -> Result<(), End> {
        write_out(&mut self.output, self.id_file.as_mut(), self.source.last_event_id())
    }

    fn print(&mut self, item: Item) -> Result<(), End> {
        match item {
            Item::Open => {
                let text = if self.is_reconnecting { "connected again" } else { "connected" };
                if self.is_reconnecting {
                    self.messages.notice(text);
                } else {
                    self.messages.detail(text);
                }
                self.is_reconnecting = false;
            }
            Item::Event(event) if self.is_wanted(&event) => {
                self.output.event(&event)?;
                self.left = self.left.map(|left| left - 1);
            }
            Item::Reset { channels } => {
                let of = if channels.is_empty() {
                    "all channels".to_owned()
                } else {
                    Said(&channels.join(", ")).to_string()
                };
                self.messages.notice(&format!(
                    "reset: the server cannot continue after the last id, events of {of} are missing"
                ));
                self.output.reset(&channels)?;
            }
            Item::Comment(comment) => self.output.comment(&comment)?,
            _ => {}
        }
        Ok(())
    }

    fn is_wanted(&self, event: &Event<'_>) -> bool {
        self.types.is_empty() || self.types.iter().any(|name| name == event.event_type())
    }

    /// An event is lost, or some may be.
    fn lost(&mut self, why: &str) -> Result<(), End> {
        self.messages.notice(why);
        self.output.error(why)?;
        Ok(())
    }

    fn show(&mut self, status: Status) {
        match status {
            Status::Waiting { until, why, .. } => {
                self.is_reconnecting = true;
                let delay = until.saturating_duration_since(Instant::now());
                // As people say it.
                let delay = Duration::from_millis(100) * u32_of(delay.as_millis().div_ceil(100));
                let delay = humantime::format_duration(delay);
                self.messages.notice(&format!("{why}; trying again in {delay}"));
            }
            Status::Connecting => self.messages.detail("connecting"),
            _ => {}
        }
    }
}

fn u32_of(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// First what was printed, then the id: a crash in between repeats events and loses none.
fn write_out(
    output: &mut Output,
    id_file: Option<&mut IdFile>,
    id: Option<&str>,
) -> Result<(), End> {
    output.flush()?;
    id_file.map_or(Ok(()), |file| file.save(id)).map_err(End::Failed)
}

/// What it means that the stream is over, and what can be done about it.
fn end_of(closed: &ClosedError) -> End {
    let mut text = closed.to_string();
    let advice = match closed.reason() {
        Closed::Status(401) => "; give credentials with --bearer or --header",
        Closed::Status(403) => {
            "; give credentials with --bearer or --header, or another name with --header \
             'User-Agent: …'"
        }
        Closed::Status(404 | 410) => "; check the URL",
        Closed::Status(405) => "; try another --method",
        Closed::ContentType(_) => "; check that the URL is that of an event stream",
        Closed::Status(300..=399) => "; check where the URL leads",
        Closed::Status(_) => "; check the request",
        Closed::GaveUp(Failure::Incomplete) => "; what was printed is not all",
        Closed::GaveUp(_) => "; try later, or allow more with --max-failures and --policy",
        _ => "",
    };
    text.push_str(advice);
    match closed.reason() {
        Closed::GaveUp(_) => End::GaveUp(text),
        _ => End::Refused(text),
    }
}
