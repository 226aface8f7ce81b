//! What an event source needs besides a transport: a clock, and a place for what may go on without
//! it.

#[cfg(all(feature = "tokio-runtime", not(target_family = "wasm")))]
mod tokio;
#[cfg(all(feature = "fetch", target_family = "wasm"))]
mod web;

use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

#[cfg(all(feature = "tokio-runtime", not(target_family = "wasm")))]
pub use self::tokio::Tokio;
#[cfg(all(feature = "fetch", target_family = "wasm"))]
pub use self::web::Web;
use crate::send::{BoxFuture, MaybeSync};

/// A timer, and an executor. Given to [`Builder::runtime`](crate::Builder::runtime).
pub trait Runtime: MaybeSync {
    /// The time. Default: the system's.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Is ready after so long.
    fn sleep(&self, time: Duration) -> BoxFuture<()>;

    /// Runs a future that ends soon, while nobody waits for it. Default: drops it, which costs the
    /// connection of a stream that is complete, and nothing else.
    fn spawn(&self, future: BoxFuture<()>) {
        drop(future);
    }
}

impl<T: Runtime + ?Sized> Runtime for Arc<T> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        (**self).sleep(time)
    }

    fn spawn(&self, future: BoxFuture<()>) {
        (**self).spawn(future);
    }
}

/// The one to take unless the caller gives another one.
pub(crate) fn default() -> Option<Arc<dyn Runtime>> {
    #[cfg(all(feature = "tokio-runtime", not(target_family = "wasm")))]
    return Some(Arc::new(Tokio));
    #[cfg(all(feature = "fetch", target_family = "wasm"))]
    return Some(Arc::new(Web));
    #[allow(unreachable_code, reason = "with neither of these features")]
    None
}
