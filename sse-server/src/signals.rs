//! What signals ask for: to end, to end at once, to read the settings again; and those that ask for
//! nothing here.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// Hears SIGINT, SIGTERM, SIGQUIT (which containers made for nginx send) and SIGHUP. SIGUSR1 and
/// SIGUSR2, with which scripts have other servers open their log anew, change nothing.
pub(crate) struct Signals {
    /// How often it was asked to end.
    ends: watch::Receiver<u8>,
    hangup: Signal,
}

impl Signals {
    /// Must be called in a Tokio runtime. From then on, none of these signals ends the process by
    /// itself.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut user1 = signal(SignalKind::user_defined1())?;
        let mut user2 = signal(SignalKind::user_defined2())?;
        let (sender, ends) = watch::channel(0_u8);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = quit.recv() => {}
                    _ = user1.recv() => { unused("SIGUSR1"); continue; }
                    _ = user2.recv() => { unused("SIGUSR2"); continue; }
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

fn unused(signal: &str) {
    info!("{signal} changes nothing: SIGHUP reads the settings again, SIGTERM ends the server");
}
