//! Bar charts: one bar a run, made of parts, with a whisker from the smallest to the largest.

use super::charts::{FINE, LETTER, Role, WIDTH, finish, text};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::ops::Range;

/// Measures in pixels of the page.
const LEFT: i32 = 88;
const DETAIL: i32 = LEFT - 10;
const RIGHT: i32 = 84;
const BAR: i32 = 18;
const ROW: i32 = 27;
const TIP: i32 = 4;
const HEADING: i32 = 34;

/// The parts of a bar grow paler from left to right.
pub const SHADES: [f64; 3] = [1.0, 0.62, 0.3];

/// One bar.
pub struct Bar {
    /// Whose bar it is.
    pub role: Role,
    /// Its name, left of it.
    pub name: String,
    /// What else tells it from others, paler.
    pub detail: String,
    /// Its parts, from left to right.
    pub parts: Vec<f64>,
    /// Smallest and largest of a repeated measurement.
    pub whisker: Option<Range<f64>>,
    /// Its value in words, right of it.
    pub value: String,
}

/// Bars under headings, all on one scale that begins at zero.
pub struct Chart {
    /// What a screen reader says.
    pub label: String,
    /// Headings and their bars.
    pub groups: Vec<(String, Vec<Bar>)>,
}

impl Chart {
    /// Draws the chart; a bar that is not finite is as long as nothing.
    pub fn draw(&self) -> Result<String> {
        let bars = self.groups.iter().map(|(_, bars)| bars.len() as i32).sum::<i32>();
        let height = self.groups.len() as i32 * HEADING + bars * ROW + 4;
        let mut svg = String::new();
        let root =
            SVGBackend::with_string(&mut svg, ((WIDTH * FINE) as u32, (height * FINE) as u32)).into_drawing_area();
        let scale = f64::from((WIDTH - LEFT - RIGHT) * FINE) / self.longest();
        let at = |value: f64| LEFT * FINE + (finite(value) * scale).round() as i32;

        let mut top = 0;
        for (heading, bars) in &self.groups {
            let middle = (top + HEADING * 3 / 5) * FINE;
            root.draw(&Text::new(heading.clone(), (0, middle), text(Role::Muted, HPos::Left)))?;
            top += HEADING;
            for bar in bars {
                let middle = (top + ROW / 2) * FINE;
                let (upper, lower) = (middle - BAR * FINE / 2, middle + BAR * FINE / 2);
                root.draw(&Text::new(bar.name.clone(), (0, middle), text(Role::Ink, HPos::Left)))?;
                let place = (DETAIL * FINE, middle);
                root.draw(&Text::new(bar.detail.clone(), place, text(Role::Muted, HPos::Right)))?;
                let mut done = 0.0;
                for (part, shade) in bar.parts.iter().zip(SHADES) {
                    let (from, to) = (at(done), at(done + finite(*part)));
                    let style = bar.role.colour().mix(shade).filled();
                    root.draw(&Rectangle::new([(from, upper), (to, lower)], style))?;
                    done += finite(*part);
                }
                let mut end = at(done);
                if let Some(whisker) = &bar.whisker {
                    let (from, to) = (at(whisker.start), at(whisker.end));
                    // A rim of the page's colour keeps the line visible on any bar.
                    for style in [Role::Card.line(4.0), Role::Ink.line(1.5)] {
                        for (x0, y0, x1, y1) in [(from, 0, to, 0), (from, -TIP, from, TIP), (to, -TIP, to, TIP)] {
                            let ends = [(x0, middle + y0 * FINE), (x1, middle + y1 * FINE)];
                            root.draw(&PathElement::new(ends, style))?;
                        }
                    }
                    end = end.max(to);
                }
                let place = (end + LETTER * FINE / 2, middle);
                root.draw(&Text::new(bar.value.clone(), place, text(Role::Ink, HPos::Left)))?;
                top += ROW;
            }
        }
        root.present()?;
        drop(root);
        Ok(finish(&svg, &self.label))
    }

    /// The longest bar or whisker.
    fn longest(&self) -> f64 {
        let bars = self.groups.iter().flat_map(|(_, bars)| bars);
        let reach = |bar: &Bar| {
            let whole = bar.parts.iter().copied().map(finite).sum::<f64>();
            whole.max(bar.whisker.as_ref().map_or(0.0, |whisker| finite(whisker.end)))
        };
        let longest = bars.map(reach).fold(0.0, f64::max);
        if longest > 0.0 { longest } else { 1.0 }
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(parts: Vec<f64>) -> Bar {
        Bar { role: Role::Rnn, name: "RNN".into(), detail: "8".into(), parts, whisker: None, value: "v".into() }
    }

    fn widths(svg: &str) -> Vec<i32> {
        let width = |line: &str| line.split_once("width=\"")?.1.split_once('"')?.0.parse().ok();
        svg.lines().filter(|line| line.starts_with("<rect")).filter_map(width).collect()
    }

    #[test]
    fn lengths_are_in_proportion() {
        let groups = vec![
            ("first".into(), vec![bar(vec![1.0]), bar(vec![4.0])]),
            ("second".into(), vec![bar(vec![1.0, 2.0, 1.0])]),
        ];
        let svg = Chart { label: "bars".into(), groups }.draw().unwrap();
        let whole = (WIDTH - LEFT - RIGHT) * FINE;
        assert_eq!(widths(&svg), [whole / 4, whole, whole / 4, whole / 2, whole / 4]);
        assert!(svg.contains("first") && svg.contains("second"));
    }

    #[test]
    fn bars_without_a_value_have_no_length() {
        let groups = vec![("all".into(), vec![bar(vec![f64::NAN]), bar(vec![f64::INFINITY, 0.0]), bar(Vec::new())])];
        let svg = Chart { label: "bars".into(), groups }.draw().unwrap();
        assert_eq!(widths(&svg), [0, 0, 0]);
    }

    #[test]
    fn whiskers_stay_inside() {
        let wide = Bar { whisker: Some(1.0..8.0), ..bar(vec![4.0]) };
        let svg = Chart { label: "bars".into(), groups: vec![("all".into(), vec![wide])] }.draw().unwrap();
        assert_eq!(widths(&svg), [(WIDTH - LEFT - RIGHT) * FINE / 2]);
        assert_eq!(svg.matches("stroke-ink").count(), 3);
    }
}
