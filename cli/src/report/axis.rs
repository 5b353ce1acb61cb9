//! Where the ticks of an axis are, and what is written at them.

use crate::base::numbers::count;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// A place on an axis and its name.
pub type Tick = (f64, String);

/// A range of numbers with the ticks it is to have.
#[derive(Clone, Debug)]
pub struct Axis {
    /// From the first to the last place.
    pub range: Range<f64>,
    /// The ticks.
    pub ticks: Vec<Tick>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(place, _)| place == value).map_or_else(String::new, |(_, name)| name.clone())
    }
}

/// Round numbers within a range, at most `most` + 1, all with the same decimals.
pub fn round_numbers(range: &Range<f64>, most: usize) -> Vec<Tick> {
    let rough = (range.end - range.start) / most as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let exponent = rough.log10().floor() as i32;
    // The smallest of 1, 2, 5 and 10 times a power of ten that is no smaller than the rough distance.
    let nice = [1.0, 2.0, 5.0].into_iter().find(|nice| nice * 10f64.powi(exponent) >= rough * (1.0 - 1e-9));
    let (distance, decimals) = match nice {
        Some(nice) => (nice * 10f64.powi(exponent), usize::try_from(-exponent).unwrap_or(0)),
        None => (10f64.powi(exponent + 1), usize::try_from(-exponent - 1).unwrap_or(0)),
    };
    let first = (range.start / distance).ceil() as i64;
    let last = (range.end / distance).floor() as i64;
    (first..=last).map(|index| index as f64 * distance).map(|value| (value, written(value, decimals))).collect()
}

fn written(value: f64, decimals: usize) -> String {
    let size = value.abs();
    let digits = if decimals == 0 { count(size as u64) } else { format!("{size:.decimals$}") };
    if value < 0.0 { format!("−{digits}") } else { digits }
}

/// The places, at most `most`, where a new date begins; or a new label, where labels hold no date.
pub fn dates(labels: &[String], most: usize) -> Vec<Tick> {
    let changes = labels.windows(2).enumerate().filter(|(_, pair)| date(&pair[0]) != date(&pair[1]));
    // A label so near the right edge would reach beyond it.
    let last = labels.len() * 19 / 20;
    let places: Vec<usize> = changes.map(|(index, _)| index + 1).filter(|&index| index <= last).collect();
    let places = if places.is_empty() { vec![0] } else { places };
    let every = places.len().div_ceil(most.max(1));
    let named = |&index: &usize| Some((index as f64, date(labels.get(index)?)));
    places.iter().step_by(every).filter_map(named).collect()
}

/// A time label cut to its date, or to ten characters.
fn date(label: &str) -> String {
    match label.char_indices().nth(10) {
        None => label.to_owned(),
        Some((end, letter)) if letter == ' ' || letter == 'T' => label[..end].to_owned(),
        Some((end, _)) => format!("{}…", &label[..end]),
    }
}

/// At most `most` whole exponents in a range of them, as powers of ten.
pub fn powers(range: &Range<f64>, most: usize) -> Vec<Tick> {
    let (first, last) = (range.start.ceil() as i64, range.end.floor() as i64);
    let apart = ((last - first).max(0) as usize / most.max(1) + 1) as i64;
    let exponents = (first..=last).filter(|exponent| exponent % apart == 0);
    exponents
        .map(|exponent| (exponent as f64, if exponent == 0 { "1".to_string() } else { format!("1e{exponent}") }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ticks: Vec<Tick>) -> Vec<String> {
        ticks.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn ticks_are_round_and_alike() {
        assert_eq!(names(round_numbers(&(0.45..1.15), 5)), ["0.6", "0.8", "1.0"]);
        assert_eq!(names(round_numbers(&(3.9..7.1), 5)), ["4", "5", "6", "7"]);
        assert_eq!(
            names(round_numbers(&(0.0..2000.0), 5)),
            ["0", "500", "1\u{202f}000", "1\u{202f}500", "2\u{202f}000"]
        );
        assert_eq!(names(round_numbers(&(-0.011..0.011), 5)), ["−0.010", "−0.005", "0.000", "0.005", "0.010"]);
        assert_eq!(names(round_numbers(&(0.0..10.0), 1)), ["0", "10"]);
    }

    #[test]
    fn an_axis_maps_places_and_names_ticks() {
        let axis = Axis { range: 2.0..4.0, ticks: vec![(3.0, "three".into())] };
        assert_eq!([2.0, 3.0, 4.0].map(|value| axis.map(&value, (100, 0))), [100, 50, 0]);
        assert_eq!((axis.format_ext(&3.0), axis.format_ext(&2.0)), ("three".into(), String::new()));
    }

    #[test]
    fn no_range_has_no_ticks() {
        assert!(round_numbers(&(1.0..1.0), 5).is_empty());
        assert!(round_numbers(&(0.0..f64::INFINITY), 5).is_empty());
    }

    #[test]
    fn dates_begin_at_midnight() {
        let hours: Vec<_> =
            (20..20 + 72).map(|hour| format!("2013-11-{:02} {:02}:00", 2 + hour / 24, hour % 24)).collect();
        let ticks = dates(&hours, 5);
        assert_eq!(ticks.iter().map(|tick| tick.0).collect::<Vec<_>>(), [4.0, 28.0, 52.0]);
        assert_eq!(ticks[0].1, "2013-11-03");
        assert_eq!(names(dates(&hours, 2)), ["2013-11-03", "2013-11-05"]);
    }

    #[test]
    fn labels_without_dates_are_spread_evenly() {
        let rows: Vec<_> = (0..100).map(|row| format!("row {row}")).collect();
        assert_eq!(names(dates(&rows, 4)), ["row 1", "row 25", "row 49", "row 73"]);
        assert_eq!(names(dates(&["noon".to_owned()], 4)), ["noon"]);
        assert!(dates(&[], 4).is_empty());
        assert_eq!(date("Wednesday noon"), "Wednesday …");
        assert_eq!(date("éééééééééééé"), "éééééééééé…");
    }
}
