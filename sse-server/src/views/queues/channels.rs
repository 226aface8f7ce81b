//! Channels of a connection that is told what to subscribe to, and brings messages of all of it:
//! those of a service that keeps nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use super::QueueError;
use super::feed::Feed;
use super::feeds::{Feeds, apply};
use crate::ServiceError;

/// A connection. Every error but a forbidden subscription means that it is lost.
pub(super) trait Listens: Send {
    /// Returns once what is sent to these channels arrives.
    fn subscribe(
        &mut self,
        names: &[&str],
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;

    fn unsubscribe(
        &mut self,
        names: &[&str],
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// The next message: its channel and its payload. May be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Result<(String, Vec<u8>), ServiceError>> + Send;

    /// Whether a subscription has failed because it is not allowed. Nothing was subscribed to then,
    /// and the connection can be used.
    fn is_forbidden(_: &ServiceError) -> bool {
        false
    }
}

/// Hands over what arrives by this connection, which is new, until it is lost.
pub(super) async fn follow<L: Listens>(
    mut listener: L,
    feeds: &Feeds,
) -> Result<Infallible, ServiceError> {
    let mut subscribed: HashMap<Arc<str>, Arc<Feed>> = HashMap::new();
    loop {
        tokio::select! {
            message = listener.next() => {
                let (channel, bytes) = message?;
                if let Some(feed) = subscribed.get(&*channel) {
                    feeds.receive(feed, None, |payload| payload.read(&bytes, None));
                }
            }
            changes = feeds.changes() => {
                let (new, gone) = apply(&mut subscribed, changes);
                if !gone.is_empty() {
                    let names: Vec<&str> = gone.iter().map(|name| &**name).collect();
                    listener.unsubscribe(&names).await?;
                }
                if !new.is_empty() {
                    subscribe(&mut listener, feeds, &new).await?;
                }
            }
        }
    }
}

async fn subscribe<L: Listens>(
    listener: &mut L,
    feeds: &Feeds,
    new: &[Arc<Feed>],
) -> Result<(), ServiceError> {
    let open = |feed: &Arc<Feed>| feed.opened(feeds.notation(), None, false);
    let names: Vec<&str> = new.iter().map(|feed| &*feed.name).collect();
    match listener.subscribe(&names).await {
        Ok(()) => new.iter().for_each(open),
        // One of them at least.
        Err(error) if L::is_forbidden(&error) => {
            for feed in new {
                match listener.subscribe(&[&*feed.name]).await {
                    Ok(()) => open(feed),
                    Err(error) if L::is_forbidden(&error) => {
                        feeds.refuse(feed, QueueError::Forbidden);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
