//! Plays a script to the client that has asked. Everything has a bound, so that no client keeps the
//! server busy for ever.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::case::{Act, Script};
use super::record::Entry;

/// The longest that a connection lasts.
const MAX_TIME: Duration = Duration::from_mins(5);

/// How much of a flood is written before the record says so.
const FLOOD_STEP: usize = 256 << 10;

/// How the script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
    /// With everything else on the connection.
    Abandoned,
    /// The client was gone before.
    Gone,
}

/// Where a script's bytes go to: an answer of HTTP/1.1 ([`super::http1`]) or HTTP/2
/// ([`super::http2`]).
pub(super) trait Outlet: Send {
    /// Sends a head; there may be something of the body after it.
    fn head(&mut self, text: &str) -> impl Future<Output = io::Result<()>> + Send;

    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Whether the client goes within this time. What it says is read and forgotten.
    fn gone_within(&mut self, time: Duration) -> impl Future<Output = bool> + Send;

    /// Says that the connection will be of no more use, where that can be said.
    fn go_away(&mut self) -> impl Future<Output = ()> + Send;

    fn end(&mut self, end: End) -> impl Future<Output = ()> + Send;
}

pub(super) async fn play(outlet: impl Outlet, script: &Script, entry: &Entry) {
    let mut player = Player { outlet, entry };
    let end = timeout(MAX_TIME, player.run(script)).await.unwrap_or(Ok(End::Closed));
    let end = end.unwrap_or(End::Gone);
    player.outlet.end(end).await;
    entry.update(|request, now| {
        request.played = true;
        request.ended = Some(now);
        request.ended_by_client = end == End::Gone;
    });
}

struct Player<'a, O> {
    outlet: O,
    entry: &'a Entry,
}

impl<O: Outlet> Player<'_, O> {
    async fn run(&mut self, script: &Script) -> io::Result<End> {
        for act in &script.0 {
            match act {
                Act::Head(text) => {
                    let text = self.entry.fill_in(text);
                    self.outlet.head(&text).await?;
                    self.count(text.len());
                }
                Act::Send(bytes) => self.send(bytes).await?,
                Act::Wait(time) => {
                    if self.outlet.gone_within(*time).await {
                        return Ok(End::Gone);
                    }
                }
                Act::Flood { unit, total } => {
                    self.entry.update(|request, _| request.is_flooded = true);
                    self.flood(unit, *total).await?;
                    self.entry.update(|request, _| request.is_flooded = false);
                }
                Act::Ids(count) => {
                    self.entry.update(|request, _| request.is_flooded = true);
                    self.ids(*count).await?;
                    self.entry.update(|request, _| request.is_flooded = false);
                }
                Act::Hold => {
                    self.entry.update(|request, _| request.played = true);
                    let is_gone = self.outlet.gone_within(MAX_TIME).await;
                    return Ok(if is_gone { End::Gone } else { End::Closed });
                }
                Act::Alive => {
                    self.entry.update(|request, _| request.played = true);
                    // The bound on the whole ends it.
                    while !self.outlet.gone_within(Duration::from_secs(1)).await {
                        self.send(b":\n").await?;
                    }
                    return Ok(End::Gone);
                }
                Act::Reset => return Ok(End::Reset),
                Act::GoAway => self.outlet.go_away().await,
                Act::Abandon => return Ok(End::Abandoned),
            }
        }
        Ok(End::Closed)
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outlet.send(bytes).await?;
        self.count(bytes.len());
        Ok(())
    }

    fn count(&self, len: usize) {
        self.entry.update(|request, _| request.sent += len as u64);
    }

    async fn flood(&mut self, unit: &[u8], total: u64) -> io::Result<()> {
        let step = unit.repeat(FLOOD_STEP.div_ceil(unit.len()));
        let mut left = total;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(step.len());
            self.send(&step[..len]).await?;
            left -= len as u64;
        }
        Ok(())
    }

    async fn ids(&mut self, count: u32) -> io::Result<()> {
        let mut step = Vec::with_capacity(FLOOD_STEP);
        for id in 1..=count {
            step.extend_from_slice(format!("id: {id}\n\n").as_bytes());
            if step.len() >= FLOOD_STEP || id == count {
                self.send(&step).await?;
                step.clear();
            }
        }
        Ok(())
    }
}
