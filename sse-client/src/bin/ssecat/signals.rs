//! Notices that the program is to end: Ctrl-C, and on Unix SIGTERM.
//!
//! On a thread of its own, because a slow reader of the output may hold up the main one.

use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the main thread may take to notice. It is at once, unless it is held up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the program is to exit with.
pub(crate) const INTERRUPTED: u8 = 130;
#[cfg(unix)]
pub(crate) const TERMINATED: u8 = 143;

/// Starts to listen. The receiver gets the exit code; who does not act on it soon, or is
/// interrupted once more, is ended.
pub(crate) fn listen() -> Result<oneshot::Receiver<u8>, String> {
    let failed = |error| format!("cannot listen for signals: {error}");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (sender, receiver) = oneshot::channel();
    let (ready_sender, ready) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime.block_on(async {
            let mut signals = match Signals::new() {
                Ok(signals) => {
                    drop(ready_sender.send(Ok(())));
                    signals
                }
                Err(error) => return drop(ready_sender.send(Err(error))),
            };
            let code = signals.next().await;
            // Without a receiver the program is about to end already.
            sender.send(code).ok();
            drop(timeout(PATIENCE, signals.next()).await);
            process::exit(code.into());
        });
    });
    // From here on a signal is noticed, also during the set-up.
    ready.recv().map_err(|error| error.to_string())?.map_err(failed)?;
    Ok(receiver)
}

#[cfg(unix)]
use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::{INTERRUPTED, TERMINATED};

    pub(super) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        pub(super) async fn next(&mut self) -> u8 {
            tokio::select! {
                _ = self.interrupt.recv() => INTERRUPTED,
                _ = self.terminate.recv() => TERMINATED,
            }
        }
    }
}

#[cfg(windows)]
use windows::Signals;

#[cfg(windows)]
mod windows {
    use std::io;

    use tokio::signal::windows::{CtrlC, ctrl_c};

    use super::INTERRUPTED;

    pub(super) struct Signals(CtrlC);

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            ctrl_c().map(Self)
        }

        pub(super) async fn next(&mut self) -> u8 {
            self.0.recv().await;
            INTERRUPTED
        }
    }
}
