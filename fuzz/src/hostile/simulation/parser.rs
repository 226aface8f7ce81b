//! A parser of event streams with a switch for each thing that it can get wrong. Plain and slow:
//! without a fault it is the standard's section 9.2.6, line by line.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::faults::Fault::{self, *};
use crate::hostile::judge::Printed;

/// What a client without fault keeps of an event, in bytes; scaled as everything that is large.
const LIMIT: usize = (16 << 20) / super::SCALE;

/// Below what is too low.
const LOW_LIMIT: usize = 5 << 10;

/// A time that is taken for what it is not.
pub(super) const AT_ONCE: Duration = Duration::from_millis(1);

/// What the parser asks of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// To end, since something cannot be borne.
    Die,
}

pub(super) struct Parser {
    fault: Fault,
    /// Bytes of a line that is not whole yet.
    line: Vec<u8>,
    start: Vec<u8>,
    is_started: bool,
    streams: usize,
    after_cr: bool,
    after_lf: bool,
    held_cr: bool,
    latin1: bool,
    data: Option<String>,
    kind: String,
    id: Option<String>,
    /// The event is too long, and dropped.
    is_dropped: bool,
    hoard: usize,
    asked: Asked,
    pub(super) last_id: String,
    /// The id of the last event that was delivered.
    pub(super) delivered_id: String,
    pub(super) wait: Option<Duration>,
    /// Shared with who looks on.
    pub(super) printed: Rc<RefCell<Vec<Printed>>>,
    pub(super) peak: usize,
}

impl Parser {
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            fault,
            line: Vec::new(),
            start: Vec::new(),
            is_started: false,
            streams: 0,
            after_cr: false,
            after_lf: false,
            held_cr: false,
            latin1: false,
            data: None,
            kind: String::new(),
            id: None,
            is_dropped: false,
            hoard: 0,
            asked: Asked::Nothing,
            last_id: String::new(),
            delivered_id: String::new(),
            wait: None,
            printed: Rc::default(),
            peak: 0,
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// A stream begins.
    pub(super) fn begin(&mut self, charset: &str) {
        self.latin1 = self.is(ObeysCharset) && charset == "iso-8859-1";
        self.streams += 1;
        if self.is(ForgetsId) {
            self.last_id.clear();
        }
    }

    /// It has ended. What is not whole is forgotten.
    pub(super) fn end(&mut self) {
        if self.is(FlushesHalves) {
            let line = std::mem::take(&mut self.line);
            self.decoded(&line);
            self.blank();
        }
        if self.is(KeepsHalves) {
            return;
        }
        self.line.clear();
        self.start.clear();
        self.is_started = self.is(BomOnceOnly);
        (self.after_cr, self.after_lf, self.held_cr) = (false, false, false);
        (self.data, self.id, self.is_dropped) = (None, None, false);
        self.kind.clear();
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Asked {
        if self.is(Hoards) {
            self.hoard += bytes.len();
        }
        let mut bytes = bytes.to_vec();
        if self.is(SplitsUtf8) {
            bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
        }
        if self.is(SplitsCrLf) {
            self.after_cr = false;
        }
        if std::mem::take(&mut self.held_cr) {
            bytes.insert(0, b'\r');
        }
        if self.is(LateCr) && bytes.ends_with(b"\r") {
            self.held_cr = true;
            bytes.pop();
        }
        let bytes = self.without_mark(bytes);
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|&byte| self.is_end(byte)) {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            let is_lf = after[0] == b'\n';
            let is_second = line.is_empty() && self.line.is_empty();
            let is_crlf = is_second && is_lf && self.after_cr && !self.is(CrLfTwice);
            let is_lfcr = is_second && !is_lf && self.after_lf && self.is(LfCrOnce);
            self.after_cr = !is_lf;
            self.after_lf = is_lf && !is_crlf;
            if is_crlf || is_lfcr {
                continue;
            }
            self.keep(line);
            let line = std::mem::take(&mut self.line);
            self.ended(&line);
            if self.asked == Asked::Die {
                return Asked::Die;
            }
        }
        if !rest.is_empty() {
            (self.after_cr, self.after_lf) = (false, false);
            self.keep(rest);
        }
        self.asked
    }

    fn is_end(&self, byte: u8) -> bool {
        byte == b'\n' || byte == b'\r' && !self.is(NoCr)
    }

    /// The bytes, without a byte order mark at their beginning.
    fn without_mark(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.is_started {
            return bytes;
        }
        self.start.extend(bytes);
        let is_part = MARK.starts_with(&self.start) && self.start.len() < 3;
        if is_part && !self.is(BomWholeOnly) {
            return Vec::new();
        }
        self.is_started = !self.start.is_empty();
        let start = std::mem::take(&mut self.start);
        match start.strip_prefix(MARK) {
            Some(rest) if !self.is(KeepsBom) => rest.to_vec(),
            _ => start,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        let limit = if self.is(LowLimit) { LOW_LIMIT } else { LIMIT };
        if held + bytes.len() > limit && !self.is(Hoards) {
            self.is_dropped = true;
            self.line.clear();
            self.data = None;
            if self.is(DiesAtLimit) {
                self.asked = Asked::Die;
            }
        } else if !self.is_dropped {
            self.line.extend_from_slice(bytes);
        } else {
            // Enough to see that it is not blank.
            self.line = vec![b':'; usize::from(!bytes.is_empty() || !self.line.is_empty())];
        }
        self.peak = self.peak.max(held + self.hoard + bytes.len().min(limit));
    }

    fn ended(&mut self, line: &[u8]) {
        let line = if self.is(NoCr) { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        if line.is_empty() { self.blank() } else { self.decoded(line) }
    }

    fn decoded(&mut self, line: &[u8]) {
        let is_invalid = str::from_utf8(line).is_err();
        let text = match self.fault {
            DiesOnInvalid if is_invalid => {
                self.asked = Asked::Die;
                return;
            }
            DropsInvalid if is_invalid => String::from_utf8_lossy(line).replace('\u{fffd}', ""),
            OneMarkEach if is_invalid => each_byte(line),
            _ if self.latin1 => line.iter().map(|&byte| char::from(byte)).collect(),
            _ => String::from_utf8_lossy(line).into_owned(),
        };
        if self.is(OtherLineEnds) {
            let ends = ['\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
            return text.split(ends).for_each(|line| self.field(line));
        }
        self.field(&text);
    }

    fn field(&mut self, line: &str) {
        let line = if self.is(StripsAllBoms) { &line.replace('\u{feff}', "") } else { line };
        if let Some(comment) = line.strip_prefix(':') {
            match self.fault {
                CommentIsData => self.append(comment.trim()),
                CommentEnds => self.blank(),
                _ => {}
            }
            return;
        }
        let split = match self.fault {
            LastColon => line.rsplit_once(':'),
            NeedsSpace => line.split_once(": ").or_else(|| line.split_once(':').map(|_| ("", ""))),
            _ => line.split_once(':'),
        };
        let (name, value) = match split {
            None if self.is(NeedsColon) => return,
            None => (line, ""),
            Some((name, value)) if self.is(NeedsSpace) => (name, value),
            Some((name, value)) => (name, self.value(value)),
        };
        let name = match self.fault {
            AnyCase => name.to_ascii_lowercase(),
            TrimsNames => name.trim().to_owned(),
            _ => name.to_owned(),
        };
        match name.as_str() {
            "data" => self.append(value),
            "event" if self.is(NoTypes) => {}
            "event" if self.is(FirstType) && !self.kind.is_empty() => {}
            "event" if self.is(KeepsEmptyType) && value.is_empty() => self.kind = " ".to_owned(),
            "event" => value.clone_into(&mut self.kind),
            "id" => self.take_id(value),
            "retry" => self.take_wait(value),
            _ if self.is(DiesOnUnknown) => self.asked = Asked::Die,
            _ => {}
        }
    }

    fn value<'a>(&self, value: &'a str) -> &'a str {
        match self.fault {
            Trims => value.trim(),
            TrimsStart => value.trim_start(),
            KeepsSpace => value,
            TrimsEnd => value.strip_prefix(' ').unwrap_or(value).trim_end(),
            FirstPart => {
                let value = value.strip_prefix(' ').unwrap_or(value);
                value.split(':').next().unwrap_or_default()
            }
            _ => value.strip_prefix(' ').unwrap_or(value),
        }
    }

    fn append(&mut self, value: &str) {
        let value = match self.fault {
            NulEnds => value.split('\0').next().unwrap_or_default(),
            _ => value,
        };
        let data = self.data.get_or_insert_default();
        if self.fault == LastLineOnly {
            data.clear();
        }
        data.push_str(value);
        if self.fault != JoinsWithout {
            data.push('\n');
        }
    }

    fn take_id(&mut self, value: &str) {
        match self.fault {
            NoIds => return,
            IgnoresEmptyId if value.is_empty() => return,
            TakesNulIds => {}
            _ if value.contains('\0') => return,
            _ => {}
        }
        self.id = Some(value.to_owned());
        if self.is(CommitsIdEarly) {
            value.clone_into(&mut self.last_id);
        }
    }

    fn take_wait(&mut self, value: &str) {
        if self.is(NoRetry) {
            return;
        }
        let digits = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let time = match self.fault {
            RetryByPrefix => {
                digits(value.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default())
            }
            RetryPlus => digits(value.trim_start_matches('+')),
            RetryNegative if value.starts_with('-') => Some(1),
            RetryAbsolute => digits(value.trim_start_matches('-')),
            RetryTrims => digits(value.trim()),
            RetryAsFloat => value.parse::<f64>().ok().map(|time| time as u64),
            RetryAnyDigits if value.chars().all(char::is_numeric) && !value.is_ascii() => {
                Some(60_000)
            }
            RetryEmptyIsNone if value.is_empty() => Some(1),
            RetryOctal if value.starts_with('0') => u64::from_str_radix(value, 8).ok(),
            RetryOverflows if value.len() == 20 => Some(1),
            _ => digits(value),
        };
        if let Some(time) = time {
            self.wait = Some(Duration::from_millis(time.min(3_600_000)));
        }
    }

    fn blank(&mut self) {
        let is_dropped = std::mem::take(&mut self.is_dropped);
        let data = self.data.take();
        let id = self.id.take();
        let has_id = id.is_some();
        if let Some(id) = id
            && !(self.is(NeedsDataForId) && data.is_none())
        {
            self.last_id = id;
        }
        let mut kind = self.kind.clone();
        match self.fault {
            TypeSticks => {}
            TypeLeaks if data.is_none() => {}
            _ => self.kind.clear(),
        }
        let mut data = match data {
            _ if is_dropped => return,
            None if self.is(DeliversNothing) => String::new(),
            None => return,
            Some(data) => data,
        };
        match self.fault {
            KeepsLf => {}
            TrimsLfs => data.truncate(data.trim_end_matches('\n').len()),
            _ if data.ends_with('\n') => drop(data.pop()),
            _ => {}
        }
        if self.is(NeedsData) && data.is_empty() {
            return;
        }
        if kind.is_empty() {
            "message".clone_into(&mut kind);
        }
        match (self.fault, kind.as_str()) {
            (SwallowsError, "error" | "open")
            | (SwallowsPrototype, "constructor" | "__proto__") => {
                return;
            }
            (Deaf, _) => return,
            _ => {}
        }
        self.delivered_id.clone_from(&self.last_id);
        let id = if self.is(IdPerEvent) && !has_id { String::new() } else { self.last_id.clone() };
        self.printed.borrow_mut().push(Printed { event: kind, data, id: Some(id) });
    }
}

/// One U+FFFD for each byte that is not UTF-8.
fn each_byte(line: &[u8]) -> String {
    let chunks = line.utf8_chunks();
    let texts = chunks.map(|chunk| {
        let marks = "\u{fffd}".repeat(chunk.invalid().len());
        format!("{}{marks}", chunk.valid())
    });
    texts.collect()
}
