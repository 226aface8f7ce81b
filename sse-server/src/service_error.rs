//! What went wrong in a service that the server works with: a storage or a relay.

/// A storage or a relay has failed. The operation can be tried again.
///
/// If it was an append to a storage, usually nothing of it was done; only if the connection to a
/// database was lost at that very moment is this not known.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct ServiceError {
    operation: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
    is_held: bool,
}

impl ServiceError {
    /// An error of a driver, with what was being done, such as `append` or `connect`.
    pub fn new(
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, source: source.into(), is_held: false }
    }

    /// The same, of an append that another program stands in the way of: it holds one of the
    /// channels or keys, and others may be free. Nothing was done.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.is_held = true;
        self
    }

    /// Whether another program stood in the way, and perhaps only of a part.
    pub const fn is_held(&self) -> bool {
        self.is_held
    }
}
