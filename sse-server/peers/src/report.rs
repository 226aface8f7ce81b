//! What was measured: figures of several rounds, their medians, tables and `ratio` lines of these.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Who is compared with the others.
pub const OURS: &str = "ours";

/// Figures by case, by server, by what they measure. Each has one for each round.
#[derive(Debug, Default)]
pub struct Report {
    figures: BTreeMap<(String, String, &'static str), Vec<f64>>,
    /// Tables and ratios by the name of the bench, in Markdown.
    sections: BTreeMap<&'static str, String>,
    remarks: BTreeMap<&'static str, Vec<String>>,
    section: &'static str,
}

/// A row of a table.
#[derive(Clone, Debug)]
pub struct Row {
    pub label: String,
    pub case: String,
    pub who: String,
}

/// A column of a table: its title, what it shows, in which unit and with how many decimals.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub what: &'static str,
    pub unit: f64,
    pub decimals: usize,
}

impl Column {
    pub const fn new(title: &'static str, what: &'static str, unit: f64, decimals: usize) -> Self {
        Self { title, what, unit, decimals }
    }
}

impl Report {
    /// What follows belongs to this bench.
    pub fn begin(&mut self, section: &'static str) {
        self.section = section;
    }

    /// The tables of a bench, in Markdown, and what else there is to say.
    pub fn section(&self, name: &str) -> String {
        let mut section = self.sections.get(name).cloned().unwrap_or_default();
        for remark in self.remarks.get(name).into_iter().flatten() {
            let _ = writeln!(section, "\nNot in the table: {remark}.");
        }
        section
    }

    /// Says something that a table does not.
    pub fn remark(&mut self, remark: String) {
        eprintln!("{}: {remark}", self.section);
        self.remarks.entry(self.section).or_default().push(remark);
    }

    /// How often something was said of this server in this bench.
    pub fn remarks_of(&self, who: &str) -> usize {
        let remarks = self.remarks.get(self.section).into_iter().flatten();
        remarks.filter(|remark| remark.starts_with(who)).count()
    }

    /// Adds the figure of a round.
    pub fn add(&mut self, case: &str, who: &str, what: &'static str, figure: f64) {
        self.figures.entry((case.to_owned(), who.to_owned(), what)).or_default().push(figure);
    }

    /// The median of the rounds, if there are any.
    pub fn median(&self, case: &str, who: &str, what: &'static str) -> Option<f64> {
        self.figures.get(&(case.to_owned(), who.to_owned(), what)).cloned().map(median)
    }

    /// Prints a line `ratio CASE.PEER.WHAT OURS/THEIRS` for each peer of which there are figures.
    pub fn ratios(&mut self, case: &str, peers: &[&str], what: &'static str) {
        for peer in peers.iter().filter(|peer| **peer != OURS) {
            self.ratio_of(&format!("{case}.{peer}.{what}"), (case, OURS), (case, peer), what);
        }
    }

    /// Prints a line `ratio NAME ONE/OTHER`, if there are figures of both: the median of the
    /// rounds' ratios, because a machine is not as fast in one round as in another. Where a round
    /// has only one of them, it is the ratio of the medians.
    pub fn ratio_of(
        &mut self,
        name: &str,
        (one_case, one): (&str, &str),
        (other_case, other): (&str, &str),
        what: &'static str,
    ) {
        let figures = |case: &str, who: &str| {
            self.figures.get(&(case.to_owned(), who.to_owned(), what)).map(Vec::as_slice)
        };
        let (Some(one), Some(other)) = (figures(one_case, one), figures(other_case, other)) else {
            return;
        };
        let ratio = if one.len() == other.len() {
            let ratios = one.iter().zip(other).map(|(one, other)| one / other);
            median(ratios.collect())
        } else {
            median(one.to_vec()) / median(other.to_vec())
        };
        self.ratio(name, ratio);
    }

    /// Prints one such line.
    pub fn ratio(&mut self, name: &str, ratio: f64) {
        println!("ratio {name} {ratio:.2}");
        let section = self.sections.entry(self.section).or_default();
        let _ = writeln!(section, "<!-- ratio {name} {ratio:.2} -->");
    }

    /// Prints the medians as a table. Rows without a figure are left out.
    pub fn table(&mut self, title: &str, rows: &[Row], columns: &[Column]) {
        let cell = |row: &Row, column: &Column| {
            let median = self.median(&row.case, &row.who, column.what);
            median.map(|median| format!("{:.*}", column.decimals, median / column.unit))
        };
        let mut lines = Vec::new();
        for row in rows {
            let cells: Vec<_> = columns.iter().map(|column| cell(row, column)).collect();
            if cells.iter().any(Option::is_some) {
                let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
                lines.push((row.label.clone(), cells.collect::<Vec<_>>()));
            }
        }
        let mut markdown = format!("| {title} |");
        let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).max(32);
        print!("\n{title:width$}");
        for Column { title, .. } in columns {
            print!(" {title:>14}");
            let _ = write!(markdown, " {title} |");
        }
        println!();
        let _ = writeln!(markdown, "\n|---|{}", "---:|".repeat(columns.len()));
        for (label, cells) in lines {
            print!("{label:width$}");
            let _ = write!(markdown, "| {label} |");
            for cell in cells {
                print!(" {cell:>14}");
                let _ = write!(markdown, " {cell} |");
            }
            println!();
            markdown.push('\n');
        }
        let section = self.sections.entry(self.section).or_default();
        let _ = writeln!(section, "\n{markdown}");
    }
}

/// The one in the middle, or what lies between two of them.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.get(half) {
        Some(upper) if figures.len().is_multiple_of(2) => f64::midpoint(figures[half - 1], *upper),
        Some(middle) => *middle,
        None => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_two_lies_between_them() {
        let medians = [vec![1.0], vec![3.0, 1.0], vec![5.0, 1.0, 2.0]].map(median);
        assert_eq!(format!("{medians:?}"), "[1.0, 2.0, 2.0]");
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        let mut report = Report::default();
        report.begin("bench");
        // The machine is twice as fast in one round, and four times as slow in another.
        for (ours, theirs) in [(2.0, 4.0), (1.0, 2.0), (8.0, 16.0)] {
            report.add("case", OURS, "time", ours);
            report.add("case", "peer", "time", theirs);
        }
        report.add("case", "seldom", "time", 4.0);
        report.ratios("case", &[OURS, "peer", "seldom", "nobody"], "time");
        let ratios = ["peer.time 0.50", "seldom.time 0.50"];
        let lines = ratios.map(|ratio| format!("<!-- ratio case.{ratio} -->\n"));
        assert_eq!(report.section("bench"), lines.concat());
    }
}
