//! Hours on a calendar: `YYYY-MM-DDTHH:00` to a count of hours and back, and the cycles of day and year.

use std::f64::consts::TAU;
use std::ops::Range;

/// An hour, counted from midnight of 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(pub i64);

impl Hour {
    /// Reads `YYYY-MM-DDTHH:00` (a space may stand for the `T`); `None` for anything else.
    pub fn parse(label: &str) -> Option<Self> {
        let label = label.trim();
        if label.len() != "YYYY-MM-DDTHH:00".len() || !label.is_ascii() {
            return None;
        }
        let number = |part: Range<usize>| label[part].parse::<i64>().ok();
        let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
        let hour = Hour(days * 24 + number(11..13)?);
        // Only a real hour comes back as it was written: 2013-02-30 or 24:00 do not.
        (hour.label() == label.replace(' ', "T")).then_some(hour)
    }

    /// Writes `YYYY-MM-DDTHH:00`.
    pub fn label(self) -> String {
        let (year, month, day) = civil_from_days(self.0.div_euclid(24));
        format!("{year:04}-{month:02}-{day:02}T{:02}:00", self.0.rem_euclid(24))
    }

    /// Sine and cosine of the hour of the day.
    pub fn day_cycle(self) -> [f32; 2] {
        cycle(self.0.rem_euclid(24) as f64 / 24.0)
    }

    /// Sine and cosine of the day of the year.
    pub fn year_cycle(self) -> [f32; 2] {
        let day = self.0.div_euclid(24);
        let (year, ..) = civil_from_days(day);
        cycle((day - days_from_civil(year, 1, 1)) as f64 / 365.25)
    }
}

/// Sine and cosine of a turn, given as a fraction: neighbours in time stay neighbours as numbers.
pub fn cycle(turn: f64) -> [f32; 2] {
    let (sine, cosine) = (turn * TAU).sin_cos();
    [sine as f32, cosine as f32]
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years are taken to begin in March, so that the leap day comes last; 400 of them have 146 097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a count of days from 1970-01-01: the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + days.div_euclid(146_097) * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hours() {
        assert_eq!(Hour::parse("1970-01-01T00:00"), Some(Hour(0)));
        assert_eq!(Hour::parse("1970-01-02 01:00"), Some(Hour(25)));
        // 2013-01-01 is 43 years with 11 leap days after 1970-01-01.
        assert_eq!(Hour::parse("2013-01-01T06:00"), Some(Hour((43 * 365 + 11) * 24 + 6)));
        assert_eq!(Hour::parse("1969-12-31T23:00"), Some(Hour(-1)));
    }

    #[test]
    fn labels_come_back() {
        for hour in (-2_000_000..2_000_000).step_by(997) {
            assert_eq!(Hour::parse(&Hour(hour).label()), Some(Hour(hour)));
        }
    }

    #[test]
    fn refuses_what_is_no_hour() {
        let wrong = ["", "noon", "2013-02-30T00:00", "2013-01-01T24:00", "2013-01-01T05:30", "2013-1-1T5:00"];
        for label in wrong {
            assert_eq!(Hour::parse(label), None, "{label}");
        }
        assert_eq!(Hour::parse("9223372036854775807-01-01T00:00"), None);
        assert_eq!(Hour::parse("é013-01-01T00:00"), None);
    }

    #[test]
    fn cycles_turn_once_a_day_and_once_a_year() {
        let near = |got: [f32; 2], want: [f32; 2]| (0..2).all(|i| (got[i] - want[i]).abs() < 1e-6);
        let six = Hour::parse("2013-01-01T06:00").unwrap();
        assert!(near(six.day_cycle(), [1.0, 0.0]));
        assert!(near(six.year_cycle(), [0.0, 1.0]));
        // The 1st of July is day 181 counted from 0.
        let july = Hour::parse("2013-07-01T18:00").unwrap();
        assert!(near(july.day_cycle(), [-1.0, 0.0]));
        let turn = 181.0 / 365.25 * TAU;
        assert!(near(july.year_cycle(), [turn.sin() as f32, turn.cos() as f32]));
    }
}
