//! Shortcuts: quicker ways to what [`frames`](super::frames) finds, each for what nearly all input
//! is made of. Each may decline, and none may differ: they see the same lines and hand them to the
//! same interpretation, with buffers that refuse what is not for them.
//!
//! - A small chunk from the middle of a line is only put aside.
//! - A stretch of the chunk is looked at in advance: how far it is text, and where its line ends
//!   are. Its lines then need neither a check nor a search of their own.
//! - An event that lies whole in such a stretch, with one line of data, is read in one step. If it
//!   has nothing but this line, the value is all there is to interpret, and the step is shorter.
//!
//! What is `inline(always)` here, and in `frames` and `reader`, has been measured: an event is six
//! words, too many to be returned in registers, and written to memory and read again it costs a
//! fifth more. The compiler alone does not inline that much.

use super::buffers::Whole;
use super::{Chunk, Decoder, Fields, Mode, Step};
use crate::grammar::{self, Name};
use crate::interpret::{Effect, dispatch, process_field};
use crate::scan::{Plain, SHORT, has_low_byte};

/// How many bytes to look ahead: so few that they are still in the processor's nearest cache when
/// their lines are split.
const STRETCH: usize = 16 << 10;

/// Below this looking ahead costs more than it saves.
const MIN_STRETCH: usize = 256;

/// How many bytes at the end of a stretch to look at a second time, at most, to see an event whole
/// that the end has cut.
const MAX_SEEN_TWICE: usize = 2 << 10;

impl Decoder {
    /// Takes in a small chunk that neither begins nor ends a line: in a stream of long lines in
    /// small chunks, that is nearly all of them.
    #[inline]
    pub(super) fn is_inside_line(&mut self, chunk: &[u8]) -> bool {
        let Self { line, config, mode, .. } = self;
        let is_inside = !line.is_empty()
            && *mode == Mode::Lines
            && line.len() + chunk.len() <= config.max_line_len
            && chunk.len() <= SHORT
            && !has_low_byte(chunk);
        if is_inside {
            line.extend_from_slice(chunk);
        }
        is_inside
    }

    /// The next event, if it is known that one begins here, in a stretch that has been looked at,
    /// and it lies whole in it, with one line of data.
    #[expect(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    pub(crate) fn whole_event<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<Fields<'c>> {
        if let Some(data) = self.data_event(chunk) {
            return Some(Fields::of_data(data));
        }
        if !chunk.is_fresh || chunk.turn != self.turn {
            return None;
        }
        self.read_event(chunk)
    }

    /// The data of the next event, if it has nothing but these. If it is anything else, nothing has
    /// happened.
    #[expect(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    pub(crate) fn data_event<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<&'c str> {
        if !chunk.is_fresh || chunk.turn != self.turn {
            return None;
        }
        let listed = chunk.listed();
        let end = self.line_ends.next()? - (chunk.at - chunk.plain_start);
        let (line, ends) = listed.split_at_checked(end)?;
        let ([b'\n', b'\n', rest @ ..] | [b'\r', b'\n', b'\r', b'\n', rest @ ..]) = ends else {
            return None;
        };
        let (Name::Data, value) = grammar::field(line)? else {
            return None;
        };
        let data = chunk.plain.text(value)?;
        self.line_ends.pass(listed.len() - end - rest.len());
        chunk.at = chunk.listed_end - rest.len();
        Some(data)
    }

    /// Reads the next event, if it lies in the listed stretch, with one line of data. No limit is
    /// below the length of the stretch. If it is anything else, nothing has happened.
    #[expect(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    pub(super) fn read_event<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<Fields<'c>> {
        let Self { line_ends, last_event_id, .. } = self;
        let plain = chunk.plain;
        let mut buffers = Whole { fields: Fields::default(), last_event_id, plain };
        let stretch = chunk.bytes.get(chunk.plain_start..chunk.listed_end)?;
        let mut at = chunk.at - chunk.plain_start;
        let mut ends = line_ends.ahead().iter();
        let count = ends.len();
        loop {
            let end = usize::from(*ends.next()?);
            let line = stretch.get(at..end)?;
            at = next_line(stretch, end)?;
            if at > end + 1 {
                // CRLF
                ends.next();
            }
            if line.is_empty() {
                break;
            }
            let (name, value) = grammar::field(line)?;
            let Ok(Effect::Nothing) = process_field(name, value, &mut buffers) else {
                return None;
            };
        }
        // One without data changes the last event ID all the same: that is not for here.
        buffers.fields.data?;
        dispatch(&mut buffers);
        let fields = buffers.fields;
        let passed = count - ends.len();
        self.line_ends.pass(passed);
        chunk.at = chunk.plain_start + at;
        Some(fields)
    }

    /// Reads the lines that end within the listed stretch, if there is one. No limit is below its
    /// length, so they are short enough.
    #[inline]
    pub(super) fn read_ahead<'c>(
        &mut self,
        chunk: &mut Chunk<'c>,
        fields: &mut Fields<'c>,
    ) -> Step {
        let mut step = Step::Continue;
        if chunk.at >= chunk.listed_end && !self.look_ahead(chunk) {
            return step;
        }
        while let Some(line) = self.listed_line(chunk) {
            step = self.interpret(line, chunk.plain, fields);
            if !matches!(step, Step::Continue) {
                break;
            }
        }
        step
    }

    /// Splits the next line off the rest, if it lies in the listed stretch.
    #[inline]
    pub(super) fn listed_line<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<&'c [u8]> {
        let listed = chunk.listed();
        let end = self.line_ends.next()? - (chunk.at - chunk.plain_start);
        let next = next_line(listed, end)?;
        self.line_ends.pass(next - end);
        chunk.at += next;
        listed.get(..end)
    }

    /// Looks at the next stretch of the chunk. Returns whether any of it is text.
    #[inline]
    pub(super) fn look_ahead(&mut self, chunk: &mut Chunk<'_>) -> bool {
        chunk.looks_ahead && chunk.rest().len() >= MIN_STRETCH && self.look_at_stretch(chunk)
    }

    /// Looks ahead from the start of an event that the end of the stretch has cut, if the end is
    /// near. Only once for each event: then the stretch begins with it.
    #[inline]
    pub(super) fn look_again(&mut self, chunk: &mut Chunk<'_>) -> bool {
        chunk.plain_start < chunk.at
            && chunk.listed_end < chunk.bytes.len()
            && chunk.listed().len() < MAX_SEEN_TWICE
            && self.look_ahead(chunk)
    }

    fn look_at_stretch(&mut self, chunk: &mut Chunk<'_>) -> bool {
        let len = STRETCH.min(self.config.max_line_len).min(self.config.max_event_len);
        let rest = chunk.rest();
        let stretch = &rest[..rest.len().min(len)];
        let len = self.line_ends.list(stretch);
        (chunk.plain, chunk.looks_ahead) = Plain::new(&stretch[..len]);
        self.line_ends.truncate(chunk.plain.len());
        chunk.plain_start = chunk.at;
        chunk.listed_end = chunk.at + chunk.plain.len();
        !chunk.plain.is_empty()
    }
}

/// Where the line begins that follows the line end at `end`. `None` if that is a CR and nothing
/// follows: whether an LF belongs to it is not clear yet.
#[inline]
fn next_line(bytes: &[u8], end: usize) -> Option<usize> {
    match bytes.get(end..)? {
        [b'\r'] => None,
        from_end => Some(bytes.len() - grammar::end_of_line(from_end)?.len()),
    }
}
