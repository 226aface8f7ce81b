//! A server process: whether it lives.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A process of one of the hubs. Killed, nothing of it gets on any more.
pub struct Process {
    pub hub: usize,
    /// How many the hub has had before.
    pub generation: usize,
    is_dead: AtomicBool,
    pub died: Notify,
    /// Something has been stored, and the answer is on its way.
    pub stored: Notify,
}

impl Process {
    pub fn new(hub: usize, generation: usize) -> Self {
        let is_dead = AtomicBool::new(false);
        Self { hub, generation, is_dead, died: Notify::new(), stored: Notify::new() }
    }

    pub fn number(&self) -> usize {
        self.hub + 100 * self.generation
    }

    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
        self.died.notify_waiters();
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Goes on if it lives, and never if it does not.
    pub async fn lives(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
