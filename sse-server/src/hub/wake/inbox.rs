//! What a loop is told, and what wakes it for that.

use std::sync::Arc;

use super::bell::Bell;
use super::sync::mpsc;

/// Tells a loop something. Cloning gives another handle to the same one.
pub(crate) struct Remote<M> {
    messages: mpsc::Sender<M>,
    bell: Arc<Bell>,
}

/// What a loop has been told. The loop's own.
pub(crate) struct Inbox<M> {
    messages: mpsc::Receiver<M>,
    bell: Arc<Bell>,
}

impl<M> Remote<M> {
    /// The message comes back if the loop has ended.
    pub(crate) fn send(&self, message: M) -> Result<(), M> {
        // Told before it is woken.
        self.messages.send(message).map_err(|error| error.0)?;
        self.bell.ring();
        Ok(())
    }
}

impl<M> Clone for Remote<M> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), bell: self.bell.clone() }
    }
}

impl<M> Inbox<M> {
    /// One that is empty, of a loop that this bell wakes.
    pub(crate) fn new(bell: Arc<Bell>) -> (Remote<M>, Self) {
        let (sender, messages) = mpsc::channel();
        (Remote { messages: sender, bell: bell.clone() }, Self { messages, bell })
    }

    /// Shows each message, and moves the groups whose logs have grown to `grown`, which is empty.
    /// To be asked whenever the loop was woken: what comes later wakes it again.
    pub(crate) fn hear(&self, grown: &mut Vec<u32>, mut each: impl FnMut(M)) {
        // Before it is looked what the reason was.
        self.bell.hear();
        while let Ok(message) = self.messages.try_recv() {
            each(message);
        }
        self.bell.take_grown(grown);
    }
}
