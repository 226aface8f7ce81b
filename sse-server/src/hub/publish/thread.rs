//! A thread for nothing but publishing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::blocking::allow_blocking;

/// A thread with a runtime of its own, for all that has to be done one after the other anyway:
/// appending what is published, and the connections of publishers.
///
/// What runs there wakes no other thread, and a storage that writes to a file does so where it is:
/// for a small request that is most of the time it takes. Everything else of the server has other
/// threads. Cloning gives another handle to the same one; it ends with the last.
#[derive(Clone, Debug)]
pub struct PublishThread(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    end: Arc<Notify>,
    /// How many requests have been answered there.
    answers: AtomicU64,
    is_on_many_cores: bool,
}

impl PublishThread {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the system has no thread or no descriptors for it.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, end) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let ended = end.clone();
        thread::Builder::new().name("publishing".to_owned()).spawn(move || {
            allow_blocking();
            runtime.block_on(ended.notified());
            // What is still there has no hub any more.
            runtime.shutdown_background();
        })?;
        let is_on_many_cores = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let answers = AtomicU64::new(0);
        Ok(Self(Arc::new(Shared { runtime: handle, end, answers, is_on_many_cores })))
    }

    /// Counts an answer, and returns which one it is.
    pub(crate) fn count_answer(&self) -> u64 {
        self.0.answers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many there have been.
    pub(crate) fn answers(&self) -> u64 {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Whether others run while this thread does.
    pub(crate) fn is_on_many_cores(&self) -> bool {
        self.0.is_on_many_cores
    }

    /// Where tasks of the thread are spawned.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end.notify_one();
    }
}
