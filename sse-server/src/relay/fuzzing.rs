//! The messages of a relay as text, for fuzz targets: everyone who can write to the broker can send
//! anything.

use super::message::Origin;
use super::{Message, News, RelayOptions};

/// What an instance makes of a text that arrives.
///
/// # Errors
///
/// If it is no message and no notice.
pub fn decode(text: &[u8]) -> Result<Option<News>, serde_json::Error> {
    Origin::new(&RelayOptions::default()).decode_any(text)
}

/// A message as another instance sends it.
pub fn encode(message: &Message) -> String {
    Origin::new(&RelayOptions::default()).encode(message)
}
