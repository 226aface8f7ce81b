//! Where a reader at rest is, in each of its channels.

use std::ops::{Deref, DerefMut};
use std::slice;

/// A position in a channel.
pub(super) struct Place {
    /// Which of the groups is that of the channel, and which of the group's members this is.
    pub(super) group: u32,
    pub(super) member: u32,
    pub(super) at: u64,
    pub(super) live_at: u64,
}

/// Most readers have one channel, and their position needs no memory of its own.
pub(super) enum Places {
    One(Place),
    Several(Box<[Place]>),
}

impl FromIterator<Place> for Places {
    fn from_iter<T: IntoIterator<Item = Place>>(places: T) -> Self {
        let places: Box<[Place]> = places.into_iter().collect();
        <Box<[Place; 1]>>::try_from(places).map_or_else(Self::Several, |one| {
            let [one] = *one;
            Self::One(one)
        })
    }
}

impl Deref for Places {
    type Target = [Place];

    fn deref(&self) -> &[Place] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Several(places) => places,
        }
    }
}

impl DerefMut for Places {
    fn deref_mut(&mut self) -> &mut [Place] {
        match self {
            Self::One(one) => slice::from_mut(one),
            Self::Several(places) => places,
        }
    }
}
