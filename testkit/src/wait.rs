//! Waiting for something, with a deadline.

use std::time::Duration;

/// How long anything may take, also on a machine that has much else to do. Nothing here waits for
/// it unless it fails.
pub const DEADLINE: Duration = Duration::from_mins(1);

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

/// Asks again and again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
