//! What signals ask for: to end, to end at once, to read the settings again.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Hears SIGINT, SIGTERM and SIGHUP.
pub(crate) struct Signals {
    /// How often it was asked to end.
    ends: watch::Receiver<u8>,
    hangup: Signal,
}

impl Signals {
    /// Must be called in a Tokio runtime. From then on, none of these signals ends the process by itself.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, ends) = watch::channel(0_u8);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_modify(|count| *count = count.saturating_add(1));
            }
        });
        Ok(Self { ends, hangup: signal(SignalKind::hangup())? })
    }

    /// Completes when it was asked this often to end.
    pub(crate) fn end(&self, times: u8) -> impl Future<Output = ()> + use<> {
        let mut ends = self.ends.clone();
        async move {
            // The task lives as long as the runtime.
            ends.wait_for(|&count| count >= times).await.ok();
        }
    }

    /// Completes at the next SIGHUP.
    pub(crate) async fn hangup(&mut self) {
        self.hangup.recv().await;
    }
}
