//! Heat maps: what many units do step by step, above what they were shown.

use super::charts::{FINE, LETTER, Role, finish, shade, text};
use crate::base::numbers::number;
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Measures in pixels of the page.
const WIDTH: i32 = 1000;
const LEFT: i32 = 40;
const MAP: i32 = 112;
const GAP: i32 = 10;
const INPUT: i32 = 72;
const AXIS: i32 = 24;

/// What units of one gate or state did.
pub struct Map {
    /// Its name, left of it.
    pub name: String,
    /// Of each step the values of the units, −1..1.
    pub steps: Vec<Vec<f64>>,
}

/// What was shown at each step.
pub enum Under {
    /// A number.
    Line(Vec<f64>),
    /// A few letters.
    Letters(Vec<String>),
}

/// Heat maps, one under the other, over one axis of steps.
pub struct Chart {
    /// What a screen reader says.
    pub label: String,
    /// The maps, from top to bottom.
    pub maps: Vec<Map>,
    /// What is drawn below them.
    pub under: Under,
}

impl Chart {
    /// Draws the chart; `None` if there is no step. Neighbours of one shade are one mark.
    pub fn draw(&self) -> Result<Option<String>> {
        let steps = self.maps.iter().map(|map| map.steps.len()).max().unwrap_or(0) as i32;
        if steps == 0 {
            return Ok(None);
        }
        let under = (MAP + GAP) * self.maps.len() as i32;
        let input = match self.under {
            Under::Line(_) => INPUT,
            Under::Letters(_) => 2 * LETTER,
        };
        let size = [WIDTH, under + input + AXIS].map(|pixels| (pixels * FINE) as u32);
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, size.into()).into_drawing_area();
        let across = |step: i32| (LEFT + 1) * FINE + (WIDTH - LEFT - 2) * FINE * step / steps;
        for (index, map) in (0i32..).zip(&self.maps) {
            let top = (MAP + GAP) * index * FINE;
            let units = map.steps.first().map_or(0, Vec::len) as i32;
            let down = |unit: i32| top + MAP * FINE * unit / units.max(1);
            root.draw(&Text::new(map.name.clone(), (0, top + MAP * FINE / 2), text(Role::Ink, HPos::Left)))?;
            let frame = [(across(0), down(0)), (across(steps), down(units))];
            root.draw(&Rectangle::new(frame, Role::Grid.line(1.0)))?;
            for unit in 0..units {
                let colour = |step: i32| Some(shade(*map.steps.get(step as usize)?.get(unit as usize)?));
                let mut first = 0;
                while first < steps {
                    let found = colour(first);
                    let mut end = first + 1;
                    while end < steps && colour(end) == found {
                        end += 1;
                    }
                    if let Some(Some(colour)) = found {
                        let corners = [(across(first), down(unit)), (across(end), down(unit + 1))];
                        root.draw(&Rectangle::new(corners, colour.filled()))?;
                    }
                    first = end;
                }
            }
        }
        let middle = |step: usize| (across(step as i32) + across(step as i32 + 1)) / 2;
        match &self.under {
            Under::Letters(letters) => {
                for (step, letters) in letters.iter().enumerate().take(steps as usize) {
                    let place = (middle(step), (under + LETTER) * FINE);
                    root.draw(&Text::new(letters.clone(), place, text(Role::Ink, HPos::Center)))?;
                }
            }
            Under::Line(values) => {
                let finite = || values.iter().copied().filter(|value| value.is_finite());
                let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
                let span = if high > low { high - low } else { 1.0 };
                let up = |value: f64| (under + input) * FINE - (f64::from(input * FINE) * (value - low) / span) as i32;
                let points = values.iter().enumerate().take(steps as usize).filter(|(_, value)| value.is_finite());
                let points: Vec<_> = points.map(|(step, value)| (middle(step), up(*value))).collect();
                root.draw(&PathElement::new(points, Role::Ink.line(1.5)))?;
                for (value, at) in [(high, under + LETTER / 2), (low, under + input - LETTER / 2)] {
                    if value.is_finite() {
                        let words = number(value);
                        root.draw(&Text::new(words, (0, at * FINE), text(Role::Muted, HPos::Left)))?;
                    }
                }
            }
        }
        let bottom = (under + input + AXIS / 2) * FINE;
        let every = (steps / 10).max(1);
        for step in (0..steps).step_by(every as usize) {
            let place = (middle(step as usize), bottom);
            root.draw(&Text::new(step.to_string(), place, text(Role::Muted, HPos::Center)))?;
        }
        root.present()?;
        drop(root);
        Ok(Some(finish(&svg, &self.label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(steps: Vec<Vec<f64>>, under: Under) -> Option<String> {
        Chart { label: "gates".into(), maps: vec![Map { name: "f".into(), steps }], under }.draw().unwrap()
    }

    #[test]
    fn neighbours_of_one_shade_are_one_mark() {
        let svg = chart(vec![vec![1.0, 0.0]; 5], Under::Line(vec![0.0; 5])).unwrap();
        assert_eq!(svg.matches("class=\"more-8\"").count(), 1);
        let svg = chart(vec![vec![1.0], vec![-1.0], vec![1.0]], Under::Line(vec![1.0, 2.0, 3.0])).unwrap();
        assert_eq!((svg.matches("more-8").count(), svg.matches("less-8").count()), (2, 1));
    }

    #[test]
    fn what_was_shown_is_under_its_step() {
        let letters = ["<", "b"].map(str::to_string).to_vec();
        let svg = chart(vec![vec![0.5]; 2], Under::Letters(letters)).unwrap();
        assert!(svg.contains("&lt;") && svg.contains('b') && svg.contains("more-4"));
        assert!(chart(Vec::new(), Under::Line(Vec::new())).is_none());
    }

    #[test]
    fn what_is_no_number_leaves_a_hole() {
        let svg = chart(vec![vec![f64::NAN], vec![1.0]], Under::Line(vec![f64::NAN, f64::INFINITY])).unwrap();
        assert!(!svg.contains("NaN") && svg.matches("more-").count() == 1);
    }
}
