//! tokio's timer and tasks.

use std::time::Duration;

use tokio::runtime::Handle;
use web_time::Instant;

use super::Runtime;
use crate::send::BoxFuture;

/// The tokio runtime in which the source is polled; it must have its time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Runtime for Tokio {
    /// The time of tokio, which tests may stop.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, future: BoxFuture<()>) {
        // Where there is no runtime any more, nothing is to be spared.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(future);
        }
    }
}
