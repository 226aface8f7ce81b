//! Panics of what an application brings along. They become answers, and end nothing else: some of
//! it is called by tasks that see to every channel, or every stream.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use futures_util::FutureExt;

/// What a panic has said.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("(no text)"))
}

/// The outcome of this work, or what its panic has said.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| text_of(&*panic))
}

/// The same for a call.
pub(crate) fn caught_call<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| text_of(&*panic))
}
