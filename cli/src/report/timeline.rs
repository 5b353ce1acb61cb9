//! Timelines: what ran when, a lane for each kind of work.

use super::axis::round_numbers;
use super::charts::{FINE, LETTER, Role, finish, text};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Measures in pixels of the page.
const WIDTH: i32 = 1000;
const LEFT: i32 = 168;
const RIGHT: i32 = 116;
const ROW: i32 = 28;
const BAR: i32 = 16;
const TOP: i32 = 8;
const AXIS: i32 = 30;

/// All work of one kind.
pub struct Lane {
    /// Its name, left of it.
    pub name: String,
    /// What it comes to, right of it.
    pub value: String,
    /// Starts and lengths, milliseconds.
    pub spans: Vec<[f64; 2]>,
}

/// Lanes over one axis of time that begins at zero.
pub struct Chart {
    /// What a screen reader says.
    pub label: String,
    /// The lanes, from top to bottom.
    pub lanes: Vec<Lane>,
}

impl Chart {
    /// Draws the chart; `None` if nothing took any time. However short, a span can be seen.
    pub fn draw(&self) -> Result<Option<String>> {
        let spans = || self.lanes.iter().flat_map(|lane| &lane.spans);
        let end = spans().map(|[start, length]| start + length).filter(|end| end.is_finite()).fold(0.0, f64::max);
        if end <= 0.0 {
            return Ok(None);
        }
        let bottom = TOP + ROW * self.lanes.len() as i32;
        let size = [WIDTH, bottom + AXIS].map(|pixels| (pixels * FINE) as u32);
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, size.into()).into_drawing_area();
        let scale = f64::from((WIDTH - LEFT - RIGHT) * FINE) / end;
        let at = |time: f64| LEFT * FINE + (time.clamp(0.0, end) * scale).round() as i32;

        for (time, name) in round_numbers(&(0.0..end), 8) {
            let ends = [(at(time), TOP * FINE), (at(time), (bottom + 5) * FINE)];
            root.draw(&PathElement::new(ends, Role::Grid.line(1.0)))?;
            let place = (at(time), (bottom + 7 + LETTER / 2) * FINE);
            root.draw(&Text::new(name, place, text(Role::Muted, HPos::Center)))?;
        }
        let place = (WIDTH * FINE, (bottom + 7 + LETTER / 2) * FINE);
        root.draw(&Text::new("milliseconds", place, text(Role::Muted, HPos::Right)))?;
        for (index, lane) in self.lanes.iter().enumerate() {
            let middle = (TOP + ROW * index as i32 + ROW / 2) * FINE;
            let (upper, lower) = (middle - BAR * FINE / 2, middle + BAR * FINE / 2);
            root.draw(&Text::new(lane.name.clone(), (0, middle), text(Role::Ink, HPos::Left)))?;
            root.draw(&Text::new(lane.value.clone(), (WIDTH * FINE, middle), text(Role::Ink, HPos::Right)))?;
            for [start, length] in &lane.spans {
                let (from, to) = (at(*start), at(start + length));
                let corners = [(from, upper), (to.max(from + FINE), lower)];
                root.draw(&Rectangle::new(corners, Role::Span.colour().filled()))?;
            }
        }
        root.present()?;
        drop(root);
        Ok(Some(finish(&svg, &self.label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, spans: &[[f64; 2]]) -> Lane {
        Lane { name: name.into(), value: "1 ms".into(), spans: spans.to_vec() }
    }

    fn chart(lanes: Vec<Lane>) -> Option<String> {
        Chart { label: "times".into(), lanes }.draw().unwrap()
    }

    /// Left edge and width of every span.
    fn drawn(svg: &str) -> Vec<[i32; 2]> {
        let number = |line: &str, name: &str| line.split_once(name)?.1.split_once('"')?.0.parse().ok();
        let both = |line: &str| Some([number(line, " x=\"")?, number(line, "width=\"")?]);
        svg.lines().filter(|line| line.starts_with("<rect")).filter_map(both).collect()
    }

    #[test]
    fn spans_lie_where_they_were() {
        let svg = chart(vec![lane("one", &[[0.0, 1.0], [3.0, 1.0]]), lane("<two>", &[[1.0, 2.0]])]).unwrap();
        let quarter = (WIDTH - LEFT - RIGHT) * FINE / 4;
        let from = |quarters: i32| LEFT * FINE + quarters * quarter;
        assert_eq!(drawn(&svg), [[from(0), quarter], [from(3), quarter], [from(1), 2 * quarter]]);
        assert!(svg.contains("one") && svg.contains("&lt;two&gt;") && svg.contains("milliseconds"));
    }

    #[test]
    fn the_shortest_can_be_seen() {
        let svg = chart(vec![lane("long", &[[0.0, 1e6]]), lane("short", &[[10.0, 0.0]])]).unwrap();
        assert_eq!(drawn(&svg)[1][1], FINE);
    }

    #[test]
    fn no_time_is_no_chart() {
        assert!(chart(Vec::new()).is_none());
        assert!(chart(vec![lane("none", &[[0.0, 0.0]])]).is_none());
        assert!(chart(vec![lane("broken", &[[f64::NAN, 1.0]])]).is_none());
    }
}
