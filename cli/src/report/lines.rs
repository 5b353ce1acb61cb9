//! Line charts: curves over training steps or over time.

use super::axis::{Axis, Tick, powers, round_numbers};
use super::charts::{FINE, LETTER, Role, WIDTH, finish, text};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::ops::Range;

const HEIGHT: i32 = 260;

/// Room for the labels of the value axis, in pixels of the page.
const LEFT: i32 = 46;

/// Values this many times the median are drawn at the chart's upper edge.
const TOO_FAR: f64 = 8.0;

/// One line; points that are not finite are left out.
pub struct Line {
    /// Whose line it is.
    pub role: Role,
    /// Width in pixels of the page.
    pub width: f64,
    /// The points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over one axis.
pub struct Chart {
    /// What a screen reader says.
    pub label: String,
    /// The lines; later ones lie over earlier ones.
    pub lines: Vec<Line>,
    /// Ticks of the horizontal axis; where there are none, round numbers.
    pub horizontal: Vec<Tick>,
    /// Values that the vertical axis must at least cover.
    pub covering: Vec<f64>,
    /// The vertical range, where several charts share one.
    pub vertical: Option<Range<f64>>,
    /// Whether values are powers of ten, of which the exponents are drawn.
    pub powers: bool,
}

impl Chart {
    /// Draws the chart; `None` if there is no finite point.
    pub fn draw(&self) -> Result<Option<String>> {
        let points = || self.lines.iter().flat_map(|line| finite(&line.points));
        let values = points().map(|(_, y)| y).chain(self.covering.iter().copied());
        let (Some(across), Some(up)) =
            (extent(points().map(|(x, _)| x)), self.vertical.clone().or_else(|| span(values)))
        else {
            return Ok(None);
        };
        let numbers = || round_numbers(&across, 5);
        let below = if self.horizontal.is_empty() { numbers() } else { self.horizontal.clone() };
        let beside = if self.powers { powers(&up, 6) } else { round_numbers(&up, 6) };
        let mut svg = String::new();
        let root =
            SVGBackend::with_string(&mut svg, ((WIDTH * FINE) as u32, (HEIGHT * FINE) as u32)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8 * FINE)
            .margin_right(14 * FINE)
            .x_label_area_size(24 * FINE)
            .y_label_area_size(LEFT * FINE)
            .build_cartesian_2d(Axis { range: across, ticks: below }, Axis { range: up.clone(), ticks: beside })?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(Role::Grid.line(1.0))
            .axis_style(Role::Grid.line(1.0))
            .label_style(text(Role::Muted, HPos::Center))
            .set_all_tick_mark_size(LETTER * FINE / 4)
            .draw()?;
        for line in &self.lines {
            let points = finite(&line.points).map(|(x, y)| (x, y.clamp(up.start, up.end)));
            chart.draw_series(LineSeries::new(points, line.role.line(line.width)))?;
        }
        root.present()?;
        drop(chart);
        drop(root);
        let beyond = points().any(|(_, y)| y > up.end);
        let aside = if beyond { "<p class=\"aside\">Larger values are drawn at the upper edge.</p>" } else { "" };
        Ok(Some(finish(&svg, &self.label) + aside))
    }
}

/// The range of the finite values with some air; one that runs away does not flatten all others.
pub fn span(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    let median = values[values.len() / 2];
    let high = if low > 0.0 { high.min(median * TOO_FAR) } else { high };
    let air = if high > low { (high - low) * 0.06 } else { high.abs().max(1.0) * 0.1 };
    Some(low - air..high + air)
}

/// Smallest to largest, or one unit wide.
fn extent(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let range = values.fold(None, |range: Option<Range<f64>>, value| {
        Some(range.map_or(value..value, |range| range.start.min(value)..range.end.max(value)))
    })?;
    Some(if range.end > range.start { range } else { range.start..range.start + 1.0 })
}

fn finite(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Option<String> {
        let lines = vec![Line { role: Role::Gru, width: 2.0, points }];
        let chart = Chart {
            label: "loss".into(),
            lines,
            horizontal: Vec::new(),
            covering: Vec::new(),
            vertical: None,
            powers: false,
        };
        chart.draw().unwrap()
    }

    #[test]
    fn nothing_finite_is_no_chart() {
        assert!(chart(Vec::new()).is_none());
        assert!(chart(vec![(0.0, f64::NAN), (1.0, f64::INFINITY)]).is_none());
    }

    #[test]
    fn points_that_are_not_finite_are_left_out() {
        let svg = chart(vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)]).unwrap();
        let line = svg.lines().find(|line| line.contains("stroke-gru")).unwrap();
        let points = line.split_once("points=\"").unwrap().1;
        assert_eq!(points.split_whitespace().filter(|point| point.contains(',')).count(), 2, "{line}");
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_runaway_is_drawn_at_the_edge_and_said() {
        let tame = |index: usize| (index as f64, 1.0);
        let mut points: Vec<_> = (0..9).map(tame).collect();
        assert!(!chart(points.clone()).unwrap().contains("upper edge"));
        points[4].1 = 1e9;
        let svg = chart(points).unwrap();
        assert!(svg.ends_with("<p class=\"aside\">Larger values are drawn at the upper edge.</p>"));
        let line = svg.lines().find(|line| line.contains("stroke-gru")).unwrap();
        assert!(line.contains(&format!(",{} ", 8 * FINE)), "{line}");
    }

    #[test]
    fn one_point_is_drawn() {
        assert!(chart(vec![(0.0, 0.0)]).unwrap().contains("stroke-gru"));
    }

    #[test]
    fn spans_have_air_and_ignore_runaways() {
        assert_eq!(span([1.0, 2.0, f64::NAN].into_iter()), Some(0.94..2.06));
        let far = span([1.0, 1.0, 1.0, 1e9].into_iter()).unwrap();
        assert!((far.end - 8.42).abs() < 1e-9);
        assert_eq!(span([f64::NAN].into_iter()), None);
        assert_eq!(span([0.0].into_iter()), Some(-0.1..0.1));
    }
}
