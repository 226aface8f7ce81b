//! The browser's client beside others: what its bench makes of the page's measurements.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// The length of the measured stream in bytes.
pub const BYTES: usize = 50_000_000;

/// What a page has measured.
pub struct Measured {
    /// The speeds of each reader in MB/s, from the worst to the best.
    pub speeds: BTreeMap<String, Vec<f64>>,
}

impl Measured {
    /// Reads what the page has posted: for each round a line `READER MILLISECONDS WHAT IT SAW`.
    ///
    /// # Errors
    ///
    /// If it is something else, or if two readers did not see the same events.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut speeds = BTreeMap::<_, Vec<f64>>::new();
        let mut seen = None;
        for line in text.lines() {
            let wrong = || format!("the page has posted {line:?}");
            let (name, rest) = line.split_once(' ').ok_or_else(wrong)?;
            let (time, rest) = rest.split_once(' ').ok_or_else(wrong)?;
            let time: f64 = time.parse().map_err(|_| wrong())?;
            // All must have seen the same.
            if *seen.get_or_insert_with(|| rest.to_owned()) != rest {
                return Err(wrong());
            }
            #[expect(clippy::cast_precision_loss, reason = "50 million is exact")]
            let speed = BYTES as f64 / time / 1000.0;
            speeds.entry(name.to_owned()).or_default().push(speed);
        }
        for speeds in speeds.values_mut() {
            speeds.sort_by(f64::total_cmp);
        }
        Ok(Self { speeds })
    }

    /// The median speed of a reader.
    ///
    /// # Errors
    ///
    /// If it was not measured.
    pub fn median(&self, name: &str) -> Result<f64, String> {
        let speeds = self.speeds.get(name).ok_or_else(|| format!("{name} was not measured"))?;
        Ok(speeds[speeds.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_saw_different_events_are_not_compared() {
        let measured = Measured::read("a 500 9 9 9\na 250 9 9 9\na 125 9 9 9\nb 100 9 9 9");
        let measured = measured.expect("they saw the same");
        assert_eq!(measured.speeds["a"], [100.0, 200.0, 400.0]);
        assert!(Measured::read("a 500 9 9 9\nb 500 8 9 9").is_err());
        assert!(Measured::read("failed TypeError: x").is_err());
    }
}
