//! Ways to compress a stream, as settings and headers name them.

use std::fmt;
use std::str::FromStr;

/// A way to compress (RFC 9110, section 8.4.1; RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Known to every client.
    Gzip,
    /// Smaller and cheaper, known to newer ones.
    Zstd,
}

impl Coding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Coding {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Gzip, Self::Zstd].into_iter().find(|coding| coding.name() == text).ok_or(())
    }
}
