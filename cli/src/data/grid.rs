//! Rows in the order of their times, at equal steps of time: how far apart they are, which are missing, and what comes next.

use anyhow::{Result, bail};
use jiff::Span;
use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};

use crate::base::numbers::are;

use super::table::Table;
use super::time::{DAY, Instant, SECOND, Stamps, civil, instant};

/// How far apart rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// So many microseconds.
    Even(i64),
    /// So many months.
    Months(i64),
    /// A day, but for Saturdays and Sundays.
    Workdays,
}

/// The unit of a spacing in words, and how many of it.
const UNITS: [(&str, i64); 5] =
    [("week", 7 * DAY), ("day", DAY), ("hour", 3600 * SECOND), ("minute", 60 * SECOND), ("second", SECOND)];
const MONTHS: [(&str, i64); 3] = [("year", 12), ("quarter", 3), ("month", 1)];

impl Spacing {
    /// In words, such as `hour` or `15 minutes`.
    pub fn title(self) -> String {
        let of = |units: &[(&str, i64)], size: i64| {
            let (unit, one) = units.iter().find(|(_, one)| size % one == 0)?;
            Some(if size == *one { (*unit).to_string() } else { format!("{} {unit}s", size / one) })
        };
        match self {
            Self::Even(micros) => of(&UNITS, micros).unwrap_or_else(|| format!("{} s", micros as f64 / SECOND as f64)),
            Self::Months(months) => of(&MONTHS, months).unwrap_or_default(),
            Self::Workdays => "working day".to_string(),
        }
    }

    /// What a row is called: by the unit where it is one, else `row`.
    pub fn row(self) -> String {
        let title = self.title();
        if title.starts_with(|first: char| first.is_ascii_digit()) { "row".to_string() } else { title }
    }

    /// The seasons of the calendar: rows, and what they are.
    pub fn seasons(self) -> Vec<(usize, &'static str)> {
        let whole = |micros: i64| {
            [(DAY, "day"), (7 * DAY, "week")].map(|(season, name)| ((season / micros) as usize, season % micros, name))
        };
        match self {
            Self::Workdays => vec![(5, "week"), (261, "year")],
            Self::Months(months) if 12 % months == 0 && months < 12 => vec![((12 / months) as usize, "year")],
            Self::Months(_) => Vec::new(),
            Self::Even(micros) => {
                let years = [(DAY, 365), (7 * DAY, 52)].into_iter().filter(|(size, _)| *size == micros);
                let even =
                    whole(micros).into_iter().filter(|(_, rest, _)| *rest == 0).map(|(rows, _, name)| (rows, name));
                even.chain(years.map(|(_, rows)| (rows, "year"))).filter(|(rows, _)| *rows > 1).collect()
            }
        }
    }

    /// About how long it is, in microseconds.
    pub fn micros(self) -> Instant {
        match self {
            Self::Even(micros) => micros,
            Self::Months(months) => months * 2_629_746 * SECOND,
            Self::Workdays => DAY,
        }
    }
}

/// Equal steps from a first time on.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub spacing: Spacing,
    first: Instant,
    /// Whether months are counted from their ends.
    ends: bool,
}

impl Grid {
    /// The time of a place; the largest where the calendar has none.
    pub fn time(&self, place: i64) -> Instant {
        let first = civil(self.first);
        let time = match self.spacing {
            Spacing::Even(micros) => return self.first.saturating_add(place.saturating_mul(micros)),
            Spacing::Months(months) => {
                let there =
                    Span::new().try_months(place.saturating_mul(months)).and_then(|span| first.checked_add(span));
                there.map(|time| if self.ends { time.date().last_of_month().to_datetime(time.time()) } else { time })
            }
            Spacing::Workdays => {
                // From the Monday before on, five days a week.
                let weekday = i64::from(first.weekday().to_monday_zero_offset());
                let days = weekday.saturating_add(place);
                let days = days.div_euclid(5).saturating_mul(7) + days.rem_euclid(5) - weekday;
                Span::new().try_days(days).and_then(|span| first.checked_add(span))
            }
        };
        time.map_or(Instant::MAX, instant)
    }

    /// The place nearest a time, and how far that is from it.
    fn place(&self, time: Instant) -> (i64, Instant) {
        let place = match self.spacing {
            Spacing::Even(micros) => (time - self.first + micros / 2).div_euclid(micros),
            Spacing::Months(months) => (month_of(time) - month_of(self.first)).div_euclid(months),
            Spacing::Workdays => {
                let days = |time: Instant| time.div_euclid(DAY);
                // 1970-01-01 was a Thursday.
                let workday =
                    |time: Instant| (days(time) + 3).div_euclid(7) * 5 + (days(time) + 3).rem_euclid(7).min(4);
                workday(time) - workday(self.first)
            }
        };
        (place, self.time(place).abs_diff(time) as Instant)
    }
}

fn month_of(time: Instant) -> i64 {
    let date = civil(time).date();
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

/// Rows on their way to equal steps.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// Rows of the file, by time.
    rows: Vec<usize>,
    /// The place of each of them among the rows of the series.
    places: Vec<usize>,
    /// The time of each place.
    pub times: Vec<Instant>,
    /// What is the same step by step, if anything is.
    pub grid: Option<Grid>,
    /// What was done, one sentence each.
    pub notes: Vec<String>,
}

/// Of so many rows one may share its time with another, as in the hour that a clock is set back.
const FEW: usize = 100;

impl Ordered {
    /// Orders the rows of a table by their times.
    pub fn new(table: &Table, stamps: &Stamps) -> Result<Self> {
        let all = &stamps.instants;
        let mut rows: Vec<usize> = (0..all.len()).collect();
        rows.sort_by_key(|&row| all[row]);
        let mut notes = Vec::new();
        if !all.is_sorted() {
            notes.push(match all.iter().rev().is_sorted() {
                true => "Rows are the newest first and are turned round.".to_string(),
                false => "Rows are not in the order of their times and are sorted.".to_string(),
            });
        }
        let mut distinct: Vec<Instant> = rows.iter().map(|&row| all[row]).collect();
        distinct.dedup();
        let pairs = || rows.windows(2).filter(|pair| all[pair[0]] == all[pair[1]]);
        let same = pairs().filter(|pair| table.are_same(pair[0], pair[1])).count();
        if same > 0 {
            notes.push(format!("{} in the file twice and taken once.", are(same, "row")));
        }
        let double = all.len() - distinct.len() - same;
        if double > 0 {
            let pair = pairs().find(|pair| !table.are_same(pair[0], pair[1]));
            let [a, b] = pair.map_or([0; 2], |pair| [table.lines[pair[0]], table.lines[pair[1]]]);
            if double * FEW > all.len() {
                bail!(
                    "{}, lines {a} and {b}, {}: expected every time once, got {double} rows whose time another row has; a file of \
                     several series must be split first (--no-time takes rows as they come)",
                    table.file,
                    stamps.from
                );
            }
            notes.push(format!(
                "{}, such as that of line {b}, and became one with the mean of both.",
                match double {
                    1 => "1 row has the time of another".to_string(),
                    _ => format!("{double} rows have the time of another"),
                }
            ));
        }
        let grid = Grid::of(&distinct);
        let place_of = |time: Instant| match &grid {
            Some(grid) => grid.place(time).0 as usize,
            None => distinct.partition_point(|other| *other < time),
        };
        let places: Vec<usize> = rows.iter().map(|&row| place_of(all[row])).collect();
        let length = places.last().map_or(0, |place| place + 1);
        let times = match &grid {
            Some(grid) => (0..length as i64).map(|place| grid.time(place)).collect(),
            None => distinct.clone(),
        };
        notes.push(match &grid {
            Some(grid) => {
                let exact = distinct.iter().all(|&time| grid.place(time).1 == 0);
                let near = if exact { "" } else { ", nearly: each is taken for the nearest step" };
                let zone = if stamps.utc { ", in UTC" } else { "" };
                format!("Times are in {}{zone}: a row each {}{near}.", stamps.from, grid.spacing.title())
            }
            None if distinct.len() == 1 => format!("The time is in {}.", stamps.from),
            None => {
                let mut steps: Vec<Instant> = distinct.windows(2).map(|pair| pair[1] - pair[0]).collect();
                steps.sort_unstable();
                let long = |at: usize| steps.get(at).map_or_else(String::new, |&step| length_in_words(step));
                format!(
                    "Times are in {}, at unequal steps ({} to {}, {} in the middle): each row counts as one step, and what comes \
                     after the last is not dated.",
                    stamps.from,
                    long(0),
                    long(steps.len().saturating_sub(1)),
                    long(steps.len() / 2)
                )
            }
        });
        Ok(Self { rows, places, times, grid, notes })
    }

    /// A column of the file at its times, nothing where the file has no row.
    pub fn spread(&self, cells: &[Option<f64>]) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0u32); self.times.len()];
        for (&row, &place) in self.rows.iter().zip(&self.places) {
            if let Some(value) = cells[row] {
                sums[place].0 += value;
                sums[place].1 += 1;
            }
        }
        sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect()
    }

    /// Whether the file has a row, place by place.
    pub fn present(&self) -> Vec<bool> {
        let mut present = vec![false; self.times.len()];
        self.places.iter().for_each(|&place| present[place] = true);
        present
    }
}

/// A stretch of time, by its largest unit.
fn length_in_words(micros: Instant) -> String {
    let (unit, one) = UNITS.into_iter().find(|(_, one)| micros >= *one).unwrap_or(("second", SECOND));
    let count = micros as f64 / one as f64;
    let count = format!("{count:.1}");
    format!("{} {unit}{}", count.trim_end_matches(".0"), if count == "1.0" { "" } else { "s" })
}

impl Grid {
    /// The equal steps at which these ascending times are, if they are: some may be missing, and none may be far from its step.
    fn of(times: &[Instant]) -> Option<Self> {
        let (&first, &last) = (times.first()?, times.last()?);
        let mut steps: Vec<Instant> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        let common = steps.chunk_by(|a, b| a == b).max_by_key(|chunk| chunk.len()).map(|chunk| chunk[0])?;
        let middle = steps[steps.len() / 2];
        let weekend = |&time: &Instant| matches!(civil(time).weekday(), Weekday::Saturday | Weekday::Sunday);
        let ends = times.iter().all(|&time| civil(time).date() == civil(time).date().last_of_month());
        let in_months = || {
            let months: Vec<i64> = times.iter().map(|&time| month_of(time)).collect();
            let mut steps: Vec<i64> = months.windows(2).map(|pair| pair[1] - pair[0]).collect();
            steps.sort_unstable();
            let common = steps.chunk_by(|a, b| a == b).max_by_key(|chunk| chunk.len())?[0];
            (common > 0 && steps.iter().all(|step| step % common == 0)).then_some(Spacing::Months(common))
        };
        let of = |spacing: Spacing| Self { spacing, first, ends };
        let fits = |grid: &Self, slack: Instant| {
            let places: Vec<(i64, Instant)> = times.iter().map(|&time| grid.place(time)).collect();
            let apart = places.windows(2).all(|pair| pair[0].0 < pair[1].0);
            // Where most steps have no row, rows are not at equal steps.
            let dense = grid.place(last).0 < 2 * times.len() as i64 + 1;
            apart && dense && places.iter().all(|(_, off)| *off <= slack)
        };
        let workdays = times.len() > 10 && !times.iter().any(weekend) && (common == DAY || middle == DAY);
        if workdays && fits(&of(Spacing::Workdays), 0) {
            return Some(of(Spacing::Workdays));
        }
        let monthly = in_months().map(of);
        // From the first of January to the first of April, and to that of July, it may be 13 weeks each.
        let months = monthly.iter().filter(|_| common >= 28 * DAY).cloned();
        if let Some(grid) = months.chain([of(Spacing::Even(common))]).find(|grid| fits(grid, 0)) {
            return Some(grid);
        }
        // Anywhere in its month.
        if let Some(grid) = monthly.filter(|grid| fits(grid, 31 * DAY)) {
            return Some(grid);
        }
        let near = [middle, common].map(|step| of(Spacing::Even(step)));
        near.into_iter().find(|grid| fits(grid, grid.spacing.micros() / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::{Wanted, find};
    use super::*;

    fn ordered(text: &str) -> Result<Ordered> {
        let table = Table::parse("f.csv", &format!("time,v\n{text}"), None)?;
        let stamps = find(&table, Wanted::Find, &[])?.expect("times");
        Ordered::new(&table, &stamps)
    }

    fn of(times: &[&str]) -> Ordered {
        let rows: String = times.iter().enumerate().map(|(row, time)| format!("{time},{row}\n")).collect();
        ordered(&rows).unwrap()
    }

    fn written(time: Instant) -> String {
        civil(time).to_string()
    }

    #[test]
    fn spacings_have_names_and_go_on() {
        let next = |times: &[&str]| {
            let found = of(times);
            let grid = found.grid.unwrap_or_else(|| panic!("{times:?}"));
            (grid.spacing.title(), written(grid.time(found.times.len() as i64)))
        };
        let want = |title: &str, time: &str| (title.to_string(), time.to_string());
        assert_eq!(
            next(&["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:00"]),
            want("hour", "2024-01-01T03:00:00")
        );
        assert_eq!(next(&["2024-01-01 00:00", "2024-01-01 00:15"]), want("15 minutes", "2024-01-01T00:30:00"));
        assert_eq!(next(&["2024-01-01", "2024-01-08", "2024-01-15"]), want("week", "2024-01-22T00:00:00"));
        assert_eq!(next(&["2024-01-01", "2024-02-01", "2024-03-01"]), want("month", "2024-04-01T00:00:00"));
        assert_eq!(next(&["2024-01-31", "2024-02-29", "2024-03-31"]), want("month", "2024-04-30T00:00:00"));
        assert_eq!(next(&["2023-12-29", "2024-01-31", "2024-02-27"]).0, "month");
        assert_eq!(next(&["2024Q1", "2024Q2", "2024Q3"]), want("quarter", "2024-10-01T00:00:00"));
        let years: Vec<String> = (1700..1720).map(|year| format!("{year}-01-01")).collect();
        assert_eq!(next(&years.iter().map(String::as_str).collect::<Vec<_>>()), want("year", "1720-01-01T00:00:00"));
        let days = ["02", "03", "04", "05", "06", "09", "10", "11", "12", "13", "17", "18"]
            .map(|day| format!("2024-09-{day}"));
        let workdays = next(&days.each_ref().map(String::as_str));
        assert_eq!(workdays, want("working day", "2024-09-19T00:00:00"));
        let friday = [&days[..9], &["2024-09-13".to_string(), "2024-09-20".to_string()]].concat();
        assert_eq!(
            next(&friday.iter().map(String::as_str).collect::<Vec<_>>()),
            want("working day", "2024-09-23T00:00:00")
        );
        assert_eq!(Spacing::Even(250_000).title(), "0.25 s");
        assert_eq!(Spacing::Even(900 * SECOND).seasons(), [(96, "day"), (672, "week")]);
        assert_eq!(
            (Spacing::Even(DAY).seasons(), Spacing::Months(3).seasons()),
            (vec![(7, "week"), (365, "year")], vec![(4, "year")])
        );
        assert_eq!((Spacing::Even(7 * DAY).seasons(), Spacing::Months(12).seasons()), (vec![(52, "year")], vec![]));
        assert_eq!((Spacing::Even(900 * SECOND).row(), Spacing::Months(3).row()), ("row".into(), "quarter".into()));
    }

    #[test]
    fn what_the_calendar_does_not_have_is_no_time() {
        for spacing in [Spacing::Even(DAY), Spacing::Months(1), Spacing::Workdays] {
            let grid = Grid { spacing, first: 0, ends: false };
            assert!(grid.time(i64::MAX / 8) >= Instant::MAX / 8 && grid.time(4_000_000_000) > 0, "{spacing:?}");
        }
        assert_eq!(of(&["2024-01-01"]).notes, ["The time is in column `time`."]);
    }

    #[test]
    fn missing_rows_have_no_value() {
        let found = of(&["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 04:00", "2024-01-01 05:00"]);
        assert_eq!(
            found.spread(&[Some(1.0), None, Some(3.0), Some(4.0)]),
            [Some(1.0), None, None, None, Some(3.0), Some(4.0)]
        );
        assert_eq!(found.present(), [true, true, false, false, true, true]);
        assert_eq!(found.notes, ["Times are in column `time`: a row each hour."]);
    }

    #[test]
    fn rows_are_sorted_and_it_is_said() {
        let back = of(&["2024-01-03", "2024-01-02", "2024-01-01"]);
        assert_eq!(back.spread(&[Some(1.0), Some(2.0), Some(3.0)]), [Some(3.0), Some(2.0), Some(1.0)]);
        assert_eq!(back.notes[0], "Rows are the newest first and are turned round.");
        let mixed = of(&["2024-01-02", "2024-01-01", "2024-01-03"]);
        assert_eq!(mixed.notes[0], "Rows are not in the order of their times and are sorted.");
    }

    #[test]
    fn a_few_double_times_become_one_and_many_are_refused() {
        let hours: String =
            (0..150).map(|hour| format!("2024-01-{:02} {:02}:00,{hour}\n", 1 + hour / 24, hour % 24)).collect();
        let table = format!("{hours}2024-01-02 03:00,99\n");
        let found = ordered(&table).unwrap();
        let cells: Vec<_> = (0..150).map(f64::from).chain([99.0]).map(Some).collect();
        assert_eq!((found.times.len(), found.spread(&cells)[27]), (150, Some(63.0)));
        assert!(
            found.notes[1].starts_with("1 row has the time of another, such as that of line 152"),
            "{:?}",
            found.notes
        );
        let twice = ordered("2024-01-01,1\n2024-01-02,2\n2024-01-02,2\n2024-01-03,1\n").unwrap();
        assert_eq!((twice.times.len(), twice.notes[0].as_str()), (3, "1 row is in the file twice and taken once."));
        let error = ordered("2024-01-01,1\n2024-01-01,2\n2024-01-02,1\n2024-01-02,2\n").unwrap_err().to_string();
        assert!(
            error.starts_with("f.csv, lines 2 and 3, column `time`: expected every time once, got 2 rows"),
            "{error}"
        );
    }

    #[test]
    fn unequal_steps_are_told() {
        let found = of(&["2024-01-01 00:00", "2024-01-01 00:37", "2024-01-03 05:00", "2024-01-03 05:01", "2024-02-01"]);
        assert_eq!((found.grid, found.times.len()), (None, 5));
        assert!(
            found.notes[0].contains("at unequal steps (1 minute to 4.1 weeks, 2.2 days in the middle)"),
            "{:?}",
            found.notes
        );
        let jitter = of(&["2024-01-01 00:00:00", "2024-01-01 00:01:01", "2024-01-01 00:02:00", "2024-01-01 00:03:00"]);
        assert_eq!(jitter.grid.unwrap().spacing.title(), "minute");
        assert!(jitter.notes[0].contains("nearly"), "{:?}", jitter.notes);
    }
}
