//! `sse-fuzz decode`: an event stream in, a line of JSON for each event out.

use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;

use clap::Args;
use serde::Serialize;
use sse_proto::{DecodeError, Decoder, Frame};

/// How much is read at once at most, and the longest chunk.
const READ_LEN: usize = 64 * 1024;

/// Prints the events of a stream as they come, one JSON object a line
///
/// {"event":"message","data":"…","id":"…"} is an event, its id being the last event ID in force, or
/// "" if there is none. {"retry":1500} is a reconnection time in milliseconds. {"error":"…"} stands
/// for an event that is longer than the limit of 16 MiB. Comments are not printed.
#[derive(Args)]
pub(crate) struct Decode {
    /// Hand the input to the decoder in chunks of N bytes (at most 65536); the output stays the
    /// same
    #[arg(long, value_name = "N")]
    chunk: Option<NonZeroUsize>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Event { event: &'a str, data: &'a str, id: &'a str },
    Retry { retry: u128 },
    Error { error: String },
}

impl Decode {
    pub(crate) fn run(&self) -> io::Result<()> {
        match self.decode(io::stdin().lock(), io::stdout().lock()) {
            // The reader of the output (`head -1`) has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    fn decode(&self, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; self.read_len()];
        let mut lines = Vec::new();
        loop {
            let len = match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for chunk in buffer[..len].chunks(self.chunk_len()) {
                let mut frames = decoder.decode(chunk);
                while let Some(frame) = frames.next_frame() {
                    put_line(&frame, &mut lines)?;
                }
            }
            // After each read, so that an event is seen when it comes, not when a buffer is full.
            output.write_all(&lines)?;
            output.flush()?;
            lines.clear();
        }
    }

    fn chunk_len(&self) -> usize {
        self.chunk.map_or(READ_LEN, NonZeroUsize::get).min(READ_LEN)
    }

    /// A multiple of the chunks' length, so that a file is cut at nothing else.
    fn read_len(&self) -> usize {
        READ_LEN / self.chunk_len() * self.chunk_len()
    }
}

fn put_line(frame: &Result<Frame<'_>, DecodeError>, lines: &mut Vec<u8>) -> io::Result<()> {
    let line = match frame {
        Ok(Frame::Event(event)) => {
            Line::Event { event: event.event_type(), data: event.data(), id: event.last_event_id() }
        }
        Ok(Frame::Retry(time)) => Line::Retry { retry: time.as_millis() },
        // Comments, which are not asked for.
        Ok(_) => return Ok(()),
        Err(error) => Line::Error { error: error.to_string() },
    };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}
