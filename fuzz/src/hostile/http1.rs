//! A script's bytes on a connection of HTTP/1.1: as they are.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::play::{End, Outlet};
use crate::wire::socket::Socket;

impl Outlet for Socket {
    async fn head(&mut self, text: &str) -> io::Result<()> {
        self.send(text.as_bytes()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    async fn gone_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut buffer = [0; 512];
        while let Ok(read) = timeout_at(deadline, self.read(&mut buffer)).await {
            if matches!(read, Ok(0) | Err(_)) {
                return true;
            }
        }
        false
    }

    async fn go_away(&mut self) {}

    async fn end(&mut self, end: End) {
        if end == End::Reset {
            drop(self.tcp().set_zero_linger());
        } else {
            // A close with bytes unread would be a reset.
            drop(self.shutdown().await);
        }
    }
}
