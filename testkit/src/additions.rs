//! What this project adds to the standard: comments on request, and limits.
//!
//! A second oracle, one byte at a time, because the limits speak of moments: a line is too long
//! with its first byte too many, an event too large at the end of a line. Without limits and
//! comments it must agree with `oracle`, and `vectors_check` sees to that.

use crate::oracle::Item;

/// Something delivered, in the words of the vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Item(Item),
    Comment(String),
    EventTooLarge,
    LineTooLarge,
}

/// What the caller asked for. Limits are in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub comments: bool,
    pub event_limit: Option<usize>,
    pub line_limit: Option<usize>,
}

impl Wanted {
    /// Nothing but what the standard has.
    pub fn is_plain(&self) -> bool {
        !self.comments && self.event_limit.is_none() && self.line_limit.is_none()
    }
}

pub fn parse(bytes: &[u8], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let mut parser = Parser {
        wanted,
        line: Vec::new(),
        after_cr: false,
        skipping: false,
        block: Block::default(),
        last_event_id: seed.to_owned(),
        delivered: Vec::new(),
    };
    // The grammar puts the BOM before the first line, so it counts for no limit.
    for &byte in bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes) {
        parser.byte(byte);
    }
    (parser.delivered, parser.last_event_id)
}

/// The values that the current block holds on to, as bytes: they are what the event limit counts.
#[derive(Default)]
struct Block {
    event_type: Vec<u8>,
    id: Option<Vec<u8>>,
    data: Vec<Vec<u8>>,
}

impl Block {
    fn size(&self) -> usize {
        let joining_lfs = self.data.len().saturating_sub(1);
        let data: usize = self.data.iter().map(Vec::len).sum();
        self.event_type.len() + self.id.as_ref().map_or(0, Vec::len) + data + joining_lfs
    }
}

struct Parser {
    wanted: Wanted,
    line: Vec<u8>,
    after_cr: bool,
    /// A limit was passed in this block: nothing counts until the next blank line.
    skipping: bool,
    block: Block,
    last_event_id: String,
    delivered: Vec<Delivery>,
}

impl Parser {
    fn byte(&mut self, byte: u8) {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if after_cr => {}
            b'\r' | b'\n' => {
                let line = std::mem::take(&mut self.line);
                self.end_of_line(&line);
            }
            _ => {
                self.line.push(byte);
                if self.wanted.line_limit.is_some_and(|limit| self.line.len() > limit) {
                    self.fail(Delivery::LineTooLarge);
                }
            }
        }
    }

    /// Drops the block. Only the first failure of a block is told.
    fn fail(&mut self, failure: Delivery) {
        self.block = Block::default();
        if !self.skipping {
            self.skipping = true;
            self.delivered.push(failure);
        }
    }

    fn end_of_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            let skipped = std::mem::take(&mut self.skipping);
            let block = std::mem::take(&mut self.block);
            if !skipped {
                self.dispatch(block);
            }
            return;
        }
        if self.skipping {
            return;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"" if self.wanted.comments => self.delivered.push(Delivery::Comment(text(value))),
            b"event" => self.block.event_type = value.to_vec(),
            b"data" => self.block.data.push(value.to_vec()),
            b"id" if !value.contains(&0) => self.block.id = Some(value.to_vec()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let time = text(value).parse().unwrap_or(u64::MAX);
                self.delivered.push(Delivery::Item(Item::Retry(time)));
            }
            _ => {}
        }
        if self.wanted.event_limit.is_some_and(|limit| self.block.size() > limit) {
            self.fail(Delivery::EventTooLarge);
        }
    }

    fn dispatch(&mut self, block: Block) {
        if let Some(id) = block.id {
            self.last_event_id = text(&id);
        }
        if block.data.is_empty() {
            return;
        }
        let event = if block.event_type.is_empty() { b"message" } else { &block.event_type[..] };
        self.delivered.push(Delivery::Item(Item::Event {
            event: text(event),
            data: text(&block.data.join(&b'\n')),
            id: self.last_event_id.clone(),
        }));
    }
}

/// CR, LF, colon and space are ASCII and so never part of a longer sequence: decoding a value by
/// itself gives the same text as decoding the whole stream.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
