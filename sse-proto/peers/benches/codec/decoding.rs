//! The work of decoding a stream, in chunks of one size.

use std::hint::black_box;
use std::time::Duration;

use sse_peers::{ADAPTERS, CODECS, Chunks, Count, Form};

use crate::contest::{LeftOut, MEMCHR2, MEMCPY, PATIENCE, Refused, Role, Work, time};

/// The part of a corpus that a contestant is tried with first.
const FIRST_TRY: usize = 64 << 10;

/// A stream, and who decodes it.
pub(crate) struct Decoding {
    chunks: Chunks,
    expected: Count,
    contestants: Vec<Contestant>,
}

struct Contestant {
    name: &'static str,
    role: Role,
    run: fn(&Chunks) -> Count,
}

impl Decoding {
    /// By all decoders, and the limits.
    pub(crate) fn by_codecs(chunks: Chunks, expected: Count) -> Self {
        let codecs = CODECS.map(|codec| {
            let role = if codec.ours {
                Role::Ours
            } else {
                Role::Peer { keeps: codec.form != Form::Borrowed }
            };
            Contestant { name: codec.name, role, run: codec.count }
        });
        let limits = [
            Contestant { name: MEMCHR2, role: Role::Limit, run: line_ends },
            Contestant { name: MEMCPY, role: Role::Limit, run: copy },
        ];
        let contestants = codecs.into_iter().chain(limits).collect();
        Self { chunks, expected, contestants }
    }

    /// By all adapters.
    pub(crate) fn by_adapters(chunks: Chunks, expected: Count) -> Self {
        let adapters = ADAPTERS.map(|adapter| {
            let role = if adapter.ours { Role::Ours } else { Role::Peer { keeps: true } };
            Contestant { name: adapter.name, role, run: adapter.count }
        });
        Self { chunks, expected, contestants: adapters.into() }
    }
}

impl Work for Decoding {
    fn len(&self) -> usize {
        self.chunks.stream_len()
    }

    fn contestants(&self) -> Vec<(&'static str, Role)> {
        self.contestants.iter().map(|contestant| (contestant.name, contestant.role)).collect()
    }

    /// Over more and more of the corpus, so that one who is far too slow is found out early.
    fn try_out(&self, index: usize) -> Result<Duration, Refused> {
        let Contestant { role, run, .. } = self.contestants[index];
        let mut len = FIRST_TRY;
        loop {
            len = len.min(self.len());
            let part = self.chunks.prefix(len);
            let mut count = Count::default();
            let time = time(|| count = run(&part));
            if time > PATIENCE {
                return Err(Refused::TooSlow(LeftOut { len, time }));
            }
            if len == self.len() {
                let is_right = role == Role::Limit || count == self.expected;
                let wrong = || format!("finds {count:?}, not {:?}", self.expected);
                return if is_right { Ok(time) } else { Err(Refused::Wrong(wrong())) };
            }
            len *= 2;
        }
    }

    fn run(&self, index: usize) -> Duration {
        let run = self.contestants[index].run;
        time(|| {
            black_box(run(black_box(&self.chunks)));
        })
    }
}

fn line_ends(chunks: &Chunks) -> Count {
    let lines = chunks.slices().map(|chunk| memchr::memchr2_iter(b'\n', b'\r', chunk).count());
    Count { events: lines.sum(), data_len: 0 }
}

fn copy(chunks: &Chunks) -> Count {
    let mut buffer = Vec::new();
    for chunk in chunks.slices() {
        buffer.clear();
        buffer.extend_from_slice(chunk);
        black_box(&mut buffer);
    }
    Count::default()
}
