//! Connections to a broker that speaks AMQP 0-9-1.

use std::borrow::Cow;

use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{PATIENCE, no_answer};
use crate::ServiceError;

pub(crate) async fn connection(url: &str) -> Result<Connection, lapin::Error> {
    let properties = ConnectionProperties::default().with_connection_name("sse-server".into());
    Connection::connect(&with_vhost(url), properties).await
}

/// A connection to send over, and another one after an error.
pub(crate) struct Sender {
    url: String,
    /// A fanout exchange that is declared first.
    exchange: Option<&'static str>,
    /// The connection, if it works as far as is known.
    link: Mutex<Option<Link>>,
}

/// A channel ends with its connection.
struct Link {
    channel: Channel,
    _connection: Connection,
}

impl Sender {
    pub(crate) async fn open(
        url: &str,
        exchange: Option<&'static str>,
    ) -> Result<Self, ServiceError> {
        let link = Mutex::new(Some(Link::open(url, exchange).await?));
        Ok(Self { url: url.to_owned(), exchange, link })
    }

    /// Sends messages, and returns once the broker has them. If they must arrive somewhere, returns
    /// whether they have.
    pub(crate) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        messages: Vec<(Vec<u8>, BasicProperties)>,
        must_arrive: bool,
    ) -> Result<bool, ServiceError> {
        // Taken out, so that after an error the next call begins with a new connection.
        let mut place = self.link.lock().await;
        let link = match place.take() {
            Some(link) => link,
            None => Link::open(&self.url, self.exchange).await?,
        };
        let publish = async {
            let mut confirmations = Vec::with_capacity(messages.len());
            for (body, properties) in messages {
                let options = BasicPublishOptions {
                    mandatory: must_arrive,
                    ..BasicPublishOptions::default()
                };
                let (exchange, routing_key) = (exchange.into(), routing_key.into());
                let sent =
                    link.channel.basic_publish(exchange, routing_key, options, &body, properties);
                confirmations.push(sent.await?);
            }
            // What was written may wait in a buffer, or at a broker that takes nothing at the
            // moment.
            try_join_all(confirmations).await
        };
        let confirmed = in_time("publish", publish).await?;
        if confirmed.iter().any(Confirmation::is_nack) {
            return Err(ServiceError::new("publish", "the broker has refused it"));
        }
        *place = Some(link);
        Ok(confirmed.into_iter().all(|confirmed| confirmed.take_message().is_none()))
    }
}

impl Link {
    async fn open(url: &str, exchange: Option<&'static str>) -> Result<Self, ServiceError> {
        let open = async {
            let connection = connection(url).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            if let Some(exchange) = exchange {
                let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
                let kind = ExchangeKind::Fanout;
                channel.exchange_declare(exchange.into(), kind, options, none).await?;
            }
            Ok(Self { channel, _connection: connection })
        };
        in_time("connect", open).await
    }
}

/// The URL, in which no virtual host and `/` alone both mean the one that is there by default, `/`.
/// By the letter it would be the one without a name, which no broker has.
fn with_vhost(url: &str) -> Cow<'_, str> {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    match place.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, "")) => Cow::Owned(format!("{place}%2f{}", &url[place.len()..])),
        _ => Cow::Borrowed(url),
    }
}

pub(crate) async fn in_time<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, ServiceError> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(failed(operation)),
        Err(_) => Err(no_answer(operation)),
    }
}

pub(crate) fn failed(operation: &'static str) -> impl Fn(lapin::Error) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_alone_means_the_virtual_host_that_is_there_by_default() {
        for (url, expected) in [
            ("amqp://host/", "amqp://host/%2f"),
            ("amqp://me:secret@host:5672/", "amqp://me:secret@host:5672/%2f"),
            ("amqps://host/?heartbeat=10", "amqps://host/%2f?heartbeat=10"),
            ("amqp://host", "amqp://host"),
            ("amqp://host/%2f", "amqp://host/%2f"),
            ("amqp://host/staging", "amqp://host/staging"),
            ("amqp://host//", "amqp://host//"),
        ] {
            assert_eq!(with_vhost(url), expected);
        }
    }
}
