//! Events for programs without `async`.

use tokio::runtime::{self, Runtime};

use crate::builder::Builder;
use crate::error::{BuildError, Error};
use crate::item::Item;
use crate::source::EventSource;

/// The items of an [`EventSource`], as an iterator that waits for each; made by
/// [`Builder::blocking`].
///
/// It has a runtime of its own, in the thread that calls [`next`](Iterator::next). Do not call that
/// where tokio runs tasks: it panics there. A [`Handle`](crate::Handle) of the
/// [source](Self::source) closes it from another thread.
#[derive(Debug)]
pub struct Blocking {
    // Dropped before the runtime that it lives in.
    source: EventSource,
    runtime: Runtime,
}

impl Builder {
    /// The event source as an iterator that waits for each item.
    ///
    /// ```no_run
    /// use sse_client::{EventSource, Item};
    ///
    /// for item in EventSource::get("https://example.com/events/?channel=news").blocking()? {
    ///     match item? {
    ///         Item::Event(event) => println!("{}", event.data()),
    ///         Item::Waiting { why, .. } => eprintln!("{why}; trying again"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build) has them, and if the runtime cannot be made.
    pub fn blocking(self) -> Result<Blocking, BuildError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| BuildError::Client { reason: error.to_string() })?;
        let source = {
            let _entered = runtime.enter();
            self.build()?
        };
        Ok(Blocking { source, runtime })
    }
}

impl Blocking {
    /// The source that these are items of.
    pub const fn source(&self) -> &EventSource {
        &self.source
    }

    /// The same, to close it or to reconnect.
    pub const fn source_mut(&mut self) -> &mut EventSource {
        &mut self.source
    }
}

impl Iterator for Blocking {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.source.next())
    }
}

impl std::iter::FusedIterator for Blocking {}
