//! What became of the lines of a request, told in few words.
//!
//! Results are added up until they are taken, so they need the same little memory whether they are
//! read or not. Answers never hold up the lines.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use serde::Serialize;
use sse_proto::event_id;
use tokio::sync::{Notify, oneshot};

use crate::http::error::{self, Refusal};

/// How many refusals may wait to be taken. Then nothing more is published.
pub(super) const MAX_REFUSED: usize = 1000;

/// How many channels have their last ids told at a time.
const MAX_CHANNELS: usize = 256;

/// The results that have not been told yet, added up.
#[derive(Default)]
pub(super) struct Report {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Refusals that have not been read yet, as JSON lines, and how many.
    refused: Vec<u8>,
    refusals: usize,
    /// All lines up to here are decided.
    line: u64,
    /// How many have been published in all, and had been when it was told last.
    published: u64,
    told: u64,
    /// The last ids by channel since then. Not all, if there are too many.
    ids: HashMap<Arc<str>, u64>,
    is_cut: bool,
    end: Option<End>,
}

/// How the lines have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the body.
    Whole,
    /// Before.
    Early,
}

impl Report {
    /// This line was published, with this id, or with 0 if it has none.
    pub(super) fn published(&self, line: u64, channel: Arc<str>, id: u64) {
        let mut state = self.state();
        state.line = line;
        state.published += 1;
        if state.ids.len() < MAX_CHANNELS || state.ids.contains_key(&channel) {
            state.ids.insert(channel, id);
        } else {
            state.is_cut = true;
        }
    }

    /// This line was not published.
    pub(super) fn refused(&self, line: u64, refusal: Refusal) {
        let mut state = self.state();
        state.line = line;
        state.refusals += 1;
        write(&mut state.refused, &Refused { line, why: refusal.into_body().shortened() });
        drop(state);
        self.tell();
    }

    /// Whether more has been refused than anybody listens to.
    pub(super) fn is_full(&self) -> bool {
        self.state().refusals >= MAX_REFUSED
    }

    pub(super) fn end(&self, end: End) {
        self.state().end = Some(end);
        self.tell();
    }

    /// Now it may be taken.
    pub(super) fn tell(&self) {
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What was not told yet: refusals first, which are about single lines, then all the others.
    fn take(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.refused);
        self.refusals = 0;
        let is_whole = self.end == Some(End::Whole);
        if self.published > self.told || is_whole {
            self.told = self.published;
            let ids = self.ids.drain().map(|(channel, id)| {
                let id = (id > 0).then(|| event_id(&channel, id));
                (channel.to_string(), id)
            });
            let ids = ids.collect();
            let is_cut = std::mem::take(&mut self.is_cut);
            let (line, published) = (self.line, self.published);
            write(&mut out, &Progress { line, published, ids, is_cut, is_whole });
        }
        out
    }
}

/// `{"line":1024,"published":1023,"ids":{"a":"a:1023"}}`: what becomes of the lines up to this one
/// is known.
#[derive(Serialize)]
struct Progress {
    line: u64,
    published: u64,
    ids: BTreeMap<String, Option<String>>,
    #[serde(rename = "more-ids", skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
    #[serde(rename = "done", skip_serializing_if = "std::ops::Not::not")]
    is_whole: bool,
}

/// `{"line":1,"error":"bad-request","message":"…"}`
#[derive(Serialize)]
struct Refused {
    line: u64,
    #[serde(flatten)]
    why: error::Body,
}

fn write(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("texts and numbers are JSON");
    out.push(b'\n');
}

/// The body of the answer.
pub(super) struct Answers {
    report: Arc<Report>,
    /// Dropped with it: then the client reads no more.
    #[expect(dead_code, reason = "held as long as the client reads")]
    listening: oneshot::Receiver<()>,
    is_ended: bool,
}

impl Answers {
    pub(super) const fn new(report: Arc<Report>, listening: oneshot::Receiver<()>) -> Self {
        Self { report, listening, is_ended: false }
    }

    /// What is new. `None`: that was all.
    pub(super) async fn chunk(&mut self) -> Option<Bytes> {
        while !self.is_ended {
            let changed = self.report.changed.notified();
            let (out, end) = {
                let mut state = self.report.state();
                (state.take(), state.end)
            };
            self.is_ended = end.is_some();
            if !out.is_empty() {
                return Some(out.into());
            }
            if !self.is_ended {
                changed.await;
            }
        }
        None
    }
}
