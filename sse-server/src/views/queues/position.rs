//! Where in a channel of a queue an event is.

/// The place of an event: what the queue calls it, or, where the queue has no word for it, which
/// subscription has brought it and as which one. Later events of a channel have greater ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position(pub(super) u64, pub(super) u64);

/// How positions are written as ids of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// The number of a subscription in this process, and of an event in it: `5f3a…-7`.
    Subscription,
    /// As Redis writes ids of entries: `1700000000000-0`.
    #[cfg(feature = "redis")]
    Entry,
    /// As RabbitMQ numbers the messages of a stream: `17`. And `new-5f3a…`, for who has got none.
    #[cfg(feature = "amqp")]
    Offset,
}

#[cfg(feature = "amqp")]
impl Position {
    pub(super) const fn of_offset(offset: u64) -> Self {
        Self(offset, 0)
    }

    /// Before the first message of those that come, whose offset is not known.
    pub(super) fn before_all_that_comes() -> Self {
        Self(u64::MAX, fastrand::u64(..))
    }

    pub(super) const fn offset(self) -> Option<u64> {
        if self.0 == u64::MAX { None } else { Some(self.0) }
    }
}

impl Notation {
    /// Whether who is at `last` has had what is at this position.
    pub(super) fn is_behind(self, at: Position, last: Position) -> bool {
        match self {
            // Who has got nothing yet is before all that comes, though no number is greater.
            #[cfg(feature = "amqp")]
            Self::Offset if last.offset().is_none() => false,
            _ => at <= last,
        }
    }

    pub(super) fn write(self, position: Position) -> String {
        let Position(first, second) = position;
        match self {
            Self::Subscription => format!("{first:x}-{second}"),
            #[cfg(feature = "redis")]
            Self::Entry => format!("{first}-{second}"),
            #[cfg(feature = "amqp")]
            Self::Offset if first == u64::MAX => format!("new-{second:x}"),
            #[cfg(feature = "amqp")]
            Self::Offset => first.to_string(),
        }
    }

    pub(super) fn read(self, id: &str) -> Option<Position> {
        #[cfg(feature = "amqp")]
        if self == Self::Offset {
            let position = match id.strip_prefix("new-") {
                Some(number) => Position(u64::MAX, u64::from_str_radix(number, 16).ok()?),
                None => Position::of_offset(id.parse().ok()?),
            };
            return (self.write(position) == id).then_some(position);
        }
        let (first, second) = id.split_once('-')?;
        let first = match self {
            Self::Subscription => u64::from_str_radix(first, 16).ok()?,
            #[cfg(feature = "redis")]
            Self::Entry => first.parse().ok()?,
            #[cfg(feature = "amqp")]
            Self::Offset => return None,
        };
        let position = Position(first, second.parse().ok()?);
        // Written in another way it is nobody's.
        (self.write(position) == id).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let position = Position(0x5f3a, 7);
        let id = Notation::Subscription.write(position);
        assert_eq!((&*id, Notation::Subscription.read(&id)), ("5f3a-7", Some(position)));
        for id in ["", "-", "5f3a", "5f3a-", "-7", "5F3A-7", "5f3a-07", "+5-7", "5f3a-7-1", "x-1"] {
            assert_eq!(Notation::Subscription.read(id), None, "{id}");
        }
        #[cfg(feature = "redis")]
        for (id, position) in [
            ("1700000000000-0", Some(Position(1_700_000_000_000, 0))),
            ("18446744073709551615-18446744073709551615", Some(Position(u64::MAX, u64::MAX))),
            ("18446744073709551616-0", None),
            ("01-0", None),
            ("5f3a-7", None),
        ] {
            assert_eq!(Notation::Entry.read(id), position, "{id}");
        }
        #[cfg(feature = "amqp")]
        for (id, position) in [
            ("0", Some(Position(0, 0))),
            ("17", Some(Position(17, 0))),
            ("new-5f3a", Some(Position(u64::MAX, 0x5f3a))),
            ("18446744073709551615", None),
            ("017", None),
            ("17-0", None),
            ("new-", None),
        ] {
            assert_eq!(Notation::Offset.read(id), position, "{id}");
        }
    }
}
