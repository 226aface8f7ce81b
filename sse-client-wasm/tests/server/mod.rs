//! What the browser's room, which is shared with the server's tests, expects of the crate that it is in.

use std::time::Duration;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("timed out: {what}"))
}
