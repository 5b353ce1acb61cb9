//! The cycles of the calendar as inputs: a sine and a cosine each, so that neighbours in time stay neighbours as numbers.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::grid::Spacing;
use super::time::{DAY, Instant, civil};

/// A cycle of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    /// The time of the day.
    Day,
    /// The day of the week.
    Week,
    /// The day of the year.
    Year,
}

/// A cycle is an input where the rows go through it so many times.
const TURNS: Instant = 2;

impl Cycle {
    const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Year];

    /// The cycles that rows so far apart go through in a stretch of so many microseconds.
    pub fn of(spacing: Spacing, stretch: Instant) -> Vec<Self> {
        let turns = |cycle: &Self| {
            let whole = match cycle {
                Self::Day => DAY,
                Self::Week => 7 * DAY,
                Self::Year => 365 * DAY,
            };
            spacing.micros() * 2 < whole && stretch >= TURNS * whole
        };
        Self::ALL.into_iter().filter(turns).collect()
    }

    /// What the column with the sine, or the cosine, is called.
    pub fn column(self, part: &str) -> String {
        let name = match self {
            Self::Day => "hour",
            Self::Week => "weekday",
            Self::Year => "day",
        };
        format!("{name}_{part}")
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Day => "time of the day",
            Self::Week => "day of the week",
            Self::Year => "day of the year",
        }
    }

    /// How far a time is through the cycle, of 0..1.
    pub fn turn(self, time: Instant) -> f64 {
        match self {
            Self::Day => time.rem_euclid(DAY) as f64 / DAY as f64,
            // 1970-01-01 was a Thursday.
            Self::Week => (time + 3 * DAY).rem_euclid(7 * DAY).div_euclid(DAY) as f64 / 7.0,
            Self::Year => f64::from(civil(time).date().day_of_year() - 1) / 365.25,
        }
    }
}

/// Sine and cosine of a turn, given as a fraction.
pub fn turned(turn: f64) -> [f64; 2] {
    let (sine, cosine) = (turn * TAU).sin_cos();
    [sine, cosine]
}

#[cfg(test)]
mod tests {
    use super::super::time::instant;
    use super::*;
    use jiff::civil::date;

    #[test]
    fn cycles_turn_once_a_day_a_week_and_a_year() {
        let six = instant(date(2013, 1, 1).at(6, 0, 0, 0));
        assert_eq!((Cycle::Day.turn(six), Cycle::Year.turn(six)), (0.25, 0.0));
        let july = instant(date(2013, 7, 1).at(18, 30, 0, 0));
        assert_eq!(Cycle::Year.turn(july), 181.0 / 365.25);
        assert_eq!(Cycle::Day.turn(july), 18.5 / 24.0);
        // 2013-07-01 was a Monday, and 1969-12-28 a Sunday.
        assert_eq!(Cycle::Week.turn(july), 0.0);
        assert_eq!(Cycle::Week.turn(instant(date(1969, 12, 28).at(23, 0, 0, 0))), 6.0 / 7.0);
        let [sine, cosine] = turned(0.25);
        assert!((sine - 1.0).abs() < 1e-12 && cosine.abs() < 1e-12);
    }

    #[test]
    fn a_spacing_has_the_cycles_that_it_goes_through() {
        let hours = Spacing::Even(DAY / 24);
        assert_eq!(Cycle::of(hours, 900 * DAY), [Cycle::Day, Cycle::Week, Cycle::Year]);
        assert_eq!(Cycle::of(hours, 20 * DAY), [Cycle::Day, Cycle::Week]);
        assert_eq!(Cycle::of(hours, DAY), []);
        assert_eq!(Cycle::of(Spacing::Workdays, 900 * DAY), [Cycle::Week, Cycle::Year]);
        assert_eq!(Cycle::of(Spacing::Months(1), 3000 * DAY), [Cycle::Year]);
        assert_eq!(Cycle::of(Spacing::Months(12), 30000 * DAY), []);
    }
}
