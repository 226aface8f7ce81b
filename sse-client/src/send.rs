//! What must be `Send`: all but on wasm32, which has one thread, and where no JavaScript is `Send`.

use std::error::Error as StdError;
use std::pin::Pin;

use crate::transport::Pieces;

/// The error of a transport, or of a function of the caller's.
pub type BoxError = Box<dyn StdError + Send + Sync>;

#[cfg(not(target_family = "wasm"))]
mod bounds {
    use std::sync::Arc;

    use super::{Pieces, Pin};

    /// What can go to another thread; on wasm32, whatever there is.
    pub trait MaybeSend: Send {}

    impl<T: Send + ?Sized> MaybeSend for T {}

    /// What several threads can use; on wasm32, whatever there is.
    pub trait MaybeSync: Send + Sync + 'static {}

    impl<T: Send + Sync + ?Sized + 'static> MaybeSync for T {}

    /// A future of any kind. On wasm32 it need not be `Send`.
    pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

    pub(crate) type BoxPieces = Box<dyn Pieces + Send>;

    pub(crate) type Shared<A, T> = Arc<dyn Fn(A) -> BoxFuture<T> + Send + Sync>;
}

#[cfg(target_family = "wasm")]
mod bounds {
    use std::sync::Arc;

    use super::{Pieces, Pin};

    /// What can go to another thread; on wasm32, whatever there is.
    pub trait MaybeSend {}

    impl<T: ?Sized> MaybeSend for T {}

    /// What several threads can use; on wasm32, whatever there is.
    pub trait MaybeSync: 'static {}

    impl<T: ?Sized + 'static> MaybeSync for T {}

    /// A future of any kind. On wasm32 it need not be `Send`.
    pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

    pub(crate) type BoxPieces = Box<dyn Pieces>;

    pub(crate) type Shared<A, T> = Arc<dyn Fn(A) -> BoxFuture<T>>;
}

pub use self::bounds::{BoxFuture, MaybeSend, MaybeSync};
pub(crate) use self::bounds::{BoxPieces, Shared};
