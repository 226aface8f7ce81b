//! A relay that is not there yet.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Arriving, Attempt, Hopeless};
use crate::ServiceError;
use crate::relay::{Message, News, Relay};

type Opened = Arc<dyn Relay>;

/// A relay that sends nothing for as long as it does not answer. What instances have told meanwhile
/// is made up for when it has arrived, as after any loss of a connection.
pub struct ArrivingRelay {
    relay: Arriving<Opened>,
    carries_events: bool,
}

impl ArrivingRelay {
    /// Tries to connect again and again, after this error. `name` is for the log; `carries_events`
    /// is what the relay will say. It echoes.
    pub fn new<F>(
        name: String,
        carries_events: bool,
        error: &ServiceError,
        open: impl FnMut() -> F + Send + 'static,
    ) -> (Self, Hopeless<ServiceError>)
    where
        F: Future<Output = Attempt<Opened, ServiceError>> + Send,
    {
        let (relay, hopeless) = Arriving::new(name, error, open);
        (Self { relay, carries_events }, hopeless)
    }

    fn get(&self) -> Result<&Opened, ServiceError> {
        self.relay.get().map_err(|problem| ServiceError::new("reach the relay", problem))
    }
}

#[async_trait]
impl Relay for ArrivingRelay {
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
        self.get()?.send(messages).await
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        self.get()?.send_notice(notice).await
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let relay = tokio::select! {
            relay = self.relay.arrived() => relay,
            () = news.closed() => return,
        };
        relay.receive(news).await;
    }

    fn carries_events(&self) -> bool {
        self.carries_events
    }

    fn echoes(&self) -> bool {
        true
    }
}
