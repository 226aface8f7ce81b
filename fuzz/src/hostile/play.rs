//! Plays a script on a connection. Everything has a bound, so that no client keeps the server busy
//! for ever.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, timeout};

use super::case::{Act, Script};
use super::serve::Entry;

/// The longest that a connection lasts.
const MAX_TIME: Duration = Duration::from_secs(90);

/// How much of a flood is written before the record says so.
const FLOOD_STEP: usize = 256 << 10;

/// How the script ended.
enum End {
    Closed,
    Reset,
    /// The client was gone before.
    Gone,
}

pub(super) async fn play(stream: TcpStream, script: &Script, entry: &Entry) {
    let (reader, writer) = stream.into_split();
    let mut player = Player { reader, writer, entry };
    let end = timeout(MAX_TIME, player.run(script)).await.unwrap_or(Ok(End::Closed));
    let is_gone = matches!(end, Ok(End::Gone) | Err(_));
    let Player { reader, mut writer, .. } = player;
    if matches!(end, Ok(End::Reset)) {
        drop(writer.as_ref().set_zero_linger());
    } else {
        // A close with bytes unread would be a reset.
        drop(writer.shutdown().await);
    }
    entry.update(|request, now| {
        request.played = true;
        request.ended = Some(now);
        request.ended_by_client = is_gone;
    });
    if let Ok(stream) = reader.reunite(writer) {
        drop(stream);
    }
}

struct Player<'a> {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    entry: &'a Entry,
}

impl Player<'_> {
    async fn run(&mut self, script: &Script) -> io::Result<End> {
        for act in &script.0 {
            match act {
                Act::Head(text) => {
                    let text = self.entry.fill_in(text);
                    self.send(text.as_bytes()).await?;
                }
                Act::Send(bytes) => self.send(bytes).await?,
                Act::Wait(time) => {
                    if self.gone_within(*time).await {
                        return Ok(End::Gone);
                    }
                }
                Act::Flood { unit, total } => self.flood(unit, *total).await?,
                Act::Ids(count) => self.ids(*count).await?,
                Act::Hold => {
                    self.entry.update(|request, _| request.played = true);
                    let is_gone = self.gone_within(MAX_TIME).await;
                    return Ok(if is_gone { End::Gone } else { End::Closed });
                }
                Act::Alive => {
                    self.entry.update(|request, _| request.played = true);
                    // The bound on the whole ends it.
                    while !self.gone_within(Duration::from_secs(1)).await {
                        self.send(b":\n").await?;
                    }
                    return Ok(End::Gone);
                }
                Act::Reset => return Ok(End::Reset),
            }
        }
        Ok(End::Closed)
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await?;
        self.entry.update(|request, _| request.sent += bytes.len() as u64);
        Ok(())
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

    /// Whether the client goes within this time. What it says is read and forgotten.
    async fn gone_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut buffer = [0; 512];
        loop {
            tokio::select! {
                read = self.reader.read(&mut buffer) => {
                    if matches!(read, Ok(0) | Err(_)) {
                        return true;
                    }
                }
                () = sleep(deadline.saturating_duration_since(Instant::now())) => return false,
            }
        }
    }
}
