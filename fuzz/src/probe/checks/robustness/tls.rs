//! TLS that is not ended as it should be.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::probe::context::{HEAD, Probe, after};
use crate::probe::finding::{Finding, Judged};
use crate::wire::socket::Socket;

/// How many connections are cut in each way.
const TIMES: usize = 8;

/// The beginning of a record that is said to have 64 bytes (RFC 8446, section 5.1).
const RECORD: [u8; 8] = [23, 3, 3, 0, 64, 1, 2, 3];

pub(super) async fn cut(probe: &Probe) -> Judged {
    let was_open = probe.watched().tape().end.is_none();
    let failed = |error| Finding::inconclusive(format!("no connection could be made: {error}"));
    for _ in 0..TIMES {
        // After the handshake, then in the stream, then within a record.
        Socket::open(&probe.target, b"http/1.1", None).await.map_err(failed)?.cut().await;
        let mut connection = probe.open(&probe.ask()).await?;
        connection.read_head(after(HEAD)).await;
        let (socket, ..) = connection.into_parts();
        socket.cut().await;
        let mut connection = probe.open(&probe.ask()).await?;
        connection.read_head(after(HEAD)).await;
        let (mut socket, ..) = connection.into_parts();
        drop(socket.tcp().write_all(&RECORD).await);
        socket.cut().await;
    }
    let has_ended =
        probe.watched().until(after(Duration::from_millis(500)), |tape| tape.end.is_some()).await;
    let fault = (was_open && has_ended)
        .then(|| "when others' connections were cut, a stream ended that was not cut".to_owned());
    Ok(probe.show_witness(Finding::of(fault)))
}
