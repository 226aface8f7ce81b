//! Figures of several rounds: their medians, and ratios of these.

use std::collections::BTreeMap;

/// What was measured, by name. Each name has a figure for each round.
#[derive(Debug, Default)]
pub struct Rounds {
    figures: BTreeMap<String, Vec<f64>>,
}

impl Rounds {
    /// Adds the figure of a round.
    pub fn add(&mut self, name: &str, figure: f64) {
        self.figures.entry(name.to_owned()).or_default().push(figure);
    }

    /// The median of what has this name, if there is any.
    pub fn median(&self, name: &str) -> Option<f64> {
        let mut figures = self.figures.get(name)?.clone();
        figures.sort_unstable_by(f64::total_cmp);
        Some(figures[figures.len() / 2])
    }
}
