//! Services that did not answer at the start: they are asked again and again, and until they
//! answer, everything that needs them fails.
//!
//! May enter: the traits of storages and relays. May not: which services there are, and which of
//! their errors pass.

mod relay;
mod storage;

use std::fmt::Display;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

pub use relay::ArrivingRelay;
pub use storage::ArrivingStorage;

/// How long to wait before asking again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What comes of another try.
pub enum Attempt<T, E> {
    /// It is there.
    Arrived(T),
    /// Not yet.
    Later(E),
    /// It will never be: somebody has to change something.
    Never(E),
}

/// Something that is not there yet. Dropped, it is not asked any more.
struct Arriving<T> {
    shared: Arc<Shared<T>>,
    asking: JoinHandle<()>,
}

struct Shared<T> {
    here: OnceLock<T>,
    has_arrived: Notify,
    /// Why it was not there when it was asked last.
    problem: Mutex<String>,
}

/// Completes if a service can never be used.
#[derive(Debug)]
pub struct Hopeless<E>(oneshot::Receiver<E>);

impl<E> Hopeless<E> {
    /// The error that does not pass. Does not complete otherwise.
    pub async fn error(self) -> E {
        match self.0.await {
            Ok(error) => error,
            // It has arrived.
            Err(_) => std::future::pending().await,
        }
    }
}

impl<T: Send + Sync + 'static> Arriving<T> {
    /// Asks again and again, after this problem. `name` is for the log.
    fn new<E, F>(
        name: String,
        problem: &E,
        mut ask: impl FnMut() -> F + Send + 'static,
    ) -> (Self, Hopeless<E>)
    where
        E: Display + Send + 'static,
        F: Future<Output = Attempt<T, E>> + Send,
    {
        let shared = Arc::new(Shared {
            here: OnceLock::new(),
            has_arrived: Notify::new(),
            problem: Mutex::new(problem.to_string()),
        });
        let (hopeless, is_hopeless) = oneshot::channel();
        let asked = shared.clone();
        let asking = tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
                match ask().await {
                    Attempt::Arrived(it) => {
                        info!("{name} answers now");
                        // Nobody else sets it.
                        asked.here.set(it).ok();
                        asked.has_arrived.notify_waiters();
                        return;
                    }
                    Attempt::Later(error) => asked.has_failed(&name, &error.to_string()),
                    Attempt::Never(error) => {
                        asked.has_failed(&name, &error.to_string());
                        // If nobody wants to know, it stays as it is.
                        hopeless.send(error).ok();
                        return;
                    }
                }
            }
        });
        (Self { shared, asking }, Hopeless(is_hopeless))
    }

    /// What has arrived, or why it has not.
    fn get(&self) -> Result<&T, String> {
        self.shared.here.get().ok_or_else(|| self.shared.problem().clone())
    }

    /// Waits until it is there.
    async fn arrived(&self) -> &T {
        loop {
            let next = self.shared.has_arrived.notified();
            if let Some(it) = self.shared.here.get() {
                return it;
            }
            next.await;
        }
    }
}

impl<T> Shared<T> {
    fn has_failed(&self, name: &str, problem: &str) {
        let mut known = self.problem();
        // Told when it is another one.
        if *known != problem {
            warn!("{name} is still not there: cannot {problem}");
            problem.clone_into(&mut known);
        }
    }

    fn problem(&self) -> std::sync::MutexGuard<'_, String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Arriving<T> {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_until_it_is_there_and_says_meanwhile_why_it_is_not() {
        let mut tries = 0;
        let ask = move || {
            tries += 1;
            let attempt = if tries < 5 {
                Attempt::Later(format!("try {tries}"))
            } else {
                Attempt::Arrived(7)
            };
            std::future::ready(attempt)
        };
        let (arriving, _hopeless) = Arriving::new("it".to_owned(), &"at first".to_owned(), ask);
        assert_eq!(arriving.get(), Err("at first".to_owned()));
        tokio::time::sleep(FIRST_PAUSE * 2).await;
        assert_eq!(arriving.get(), Err("try 1".to_owned()));
        assert_eq!((*arriving.arrived().await, arriving.get()), (7, Ok(&7)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_told_and_not_asked_again() {
        let mut attempts = vec![Attempt::Never("wrong"), Attempt::Later("down")];
        let ask = move || std::future::ready(attempts.pop().expect("no third try"));
        let (arriving, hopeless) = Arriving::<u8>::new("it".to_owned(), &"at first", ask);
        assert_eq!(hopeless.error().await, "wrong");
        tokio::time::sleep(LONGEST_PAUSE * 3).await;
        assert_eq!(arriving.get(), Err("wrong".to_owned()));
    }
}
