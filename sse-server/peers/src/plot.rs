//! Pictures of what was measured: SVG, several panels side by side, logarithmic axes.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (1_200, 400);

/// Colors that differ for the color-blind too, after Okabe and Ito. A server has its own in every
/// picture.
const COLORS: [(&str, RGBColor); 5] = [
    ("ours", RGBColor(213, 94, 0)),
    ("durable-streams", RGBColor(0, 114, 178)),
    ("nchan", RGBColor(0, 158, 115)),
    ("axum", RGBColor(204, 121, 167)),
    ("floor", RGBColor(120, 120, 120)),
];

/// Panels that have the same values along their axis.
#[derive(Clone, Debug)]
pub struct Picture {
    pub along: String,
    pub panels: Vec<Panel>,
}

#[derive(Clone, Debug)]
pub struct Panel {
    pub title: &'static str,
    /// The legend is on the right, where the lines fall.
    pub falls: bool,
    pub series: Vec<Series>,
}

#[derive(Clone, Debug)]
pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

impl Picture {
    /// The SVG. Panels without a point are empty.
    ///
    /// # Errors
    ///
    /// If it cannot be drawn.
    pub fn draw(&self) -> Result<String, String> {
        side_by_side(self.panels.len(), |panel, area| self.panels[panel].draw(&self.along, area))
    }
}

impl Panel {
    fn draw(
        &self,
        along: &str,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
    ) -> Result<(), Box<dyn Error>> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let bounds = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (left, right) = bounds(&mut points().map(|(x, _)| *x));
        // The logarithm of nothing cannot be shown.
        let (low, high) = bounds(&mut points().map(|(_, y)| y.max(0.01)));
        if !left.is_finite() {
            return Ok(());
        }
        // Whole powers of ten, with room for the legend.
        let decade = |value: f64| 10_f64.powf(value.log10().floor());
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(52)
            .build_cartesian_2d(
                (left / 1.2..right * 1.2).log_scale(),
                (decade(low).min(low / 1.2)..decade(high) * 40.0).log_scale(),
            )?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .label_style(("sans-serif", 13))
            .x_desc(along)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        for Series { name, points } in &self.series {
            let color = COLORS.iter().find(|(known, _)| known == name);
            let color = color.map_or(BLACK, |(_, color)| *color);
            let points = points.iter().map(|(x, y)| (*x, y.max(0.01)));
            let line = LineSeries::new(points, color.stroke_width(2)).point_size(3);
            chart.draw_series(line)?.label(*name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
            });
        }
        chart
            .configure_series_labels()
            .position(if self.falls {
                SeriesLabelPosition::UpperRight
            } else {
                SeriesLabelPosition::UpperLeft
            })
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 13))
            .draw()?;
        Ok(())
    }
}

/// What something was over time.
#[derive(Clone, Debug)]
pub struct Line {
    pub title: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// The SVG of some lines side by side, each from zero on.
///
/// # Errors
///
/// If it cannot be drawn.
pub fn over_time(along: &str, lines: &[Line]) -> Result<String, String> {
    side_by_side(lines.len(), |line, area| {
        let line = &lines[line];
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.01, f64::max);
        let right = most(&mut line.points.iter().map(|(x, _)| *x));
        let high = most(&mut line.points.iter().map(|(_, y)| *y));
        let mut chart = ChartBuilder::on(area)
            .caption(line.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..right, 0.0..high * 1.2)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .label_style(("sans-serif", 13))
            .x_labels(6)
            .x_desc(along)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        let points = line.points.iter().copied();
        chart.draw_series(LineSeries::new(points, COLORS[0].1.stroke_width(2)))?;
        Ok(())
    })
}

/// An SVG with so many panels, each drawn by its number.
fn side_by_side(
    count: usize,
    draw: impl Fn(usize, &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn Error>>,
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        for (panel, area) in area.split_evenly((1, count)).iter().enumerate() {
            draw(panel, area).map_err(|error| error.to_string())?;
        }
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

/// Whole numbers with commas, small ones with what they need.
fn number(value: f64) -> String {
    if value < 1.0 {
        return format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
