//! Times whose parts stand in several columns.

use jiff::civil::{Date, Time};
use jiff::fmt::strtime::BrokenDownTime;

use super::table::{Cells, Column, Table};
use super::time::{DAY, Instant, Stamps, of_civil};

const HOURS: &[&str] = &["hour", "hr", "hh"];

/// Parts of a time that a column may hold, and the names of such columns.
const PARTS: [&[&str]; 7] = [
    &["year", "yr", "yyyy"],
    &["quarter", "qtr"],
    &["month", "mon", "mo", "mm"],
    &["day", "dd", "mday", "day_of_month"],
    &["doy", "yday", "jday", "dayofyear", "day_of_year", "day of year", "julian_day"],
    HOURS,
    &["minute", "minutes"],
];

/// What is told of a day besides its year.
#[derive(Clone, Copy)]
enum Within {
    Quarter,
    Month,
    DayOfYear,
}

impl Within {
    /// The day that begins a quarter or a month, or that is `day` of a month, or of the year.
    fn date(self, year: i16, part: i16, day: i16) -> Option<Date> {
        let byte = |value: i16| i8::try_from(value).ok();
        let january = || Date::new(year, 1, 1).ok();
        match self {
            Self::Quarter => Date::new(year, byte((part - 1) * 3 + 1)?, 1).ok(),
            Self::Month => Date::new(year, byte(part)?, byte(day)?).ok(),
            Self::DayOfYear => january()?.with().day_of_year(part).build().ok(),
        }
    }
}

/// Times whose year, and quarter, month or day of the year, and what is below, have columns of their own. Months may be
/// named.
pub(super) fn of_parts(table: &Table) -> Option<Stamps> {
    let place = |names: &[&str]| {
        let named = |column: &Column| names.iter().any(|name| column.name.eq_ignore_ascii_case(name));
        table.columns.iter().position(named)
    };
    let [year, quarter, month, day, day_of_year, hour, minute] = PARTS.map(place);
    // A day of the year tells more than a month alone, and no more than a month and its day.
    let (within, part, finer) = match (month, day_of_year.filter(|_| month.is_none() || day.is_none()), quarter) {
        (_, Some(day), _) => (Within::DayOfYear, day, vec![hour, minute]),
        (Some(month), None, _) => (Within::Month, month, vec![day, hour, minute]),
        (None, None, Some(quarter)) => (Within::Quarter, quarter, Vec::new()),
        (None, None, None) => return None,
    };
    let columns: Vec<usize> = [year?, part].into_iter().chain(finer.into_iter().map_while(|place| place)).collect();
    let whole = |place: &usize| match &table.columns[*place].cells {
        Cells::Numbers(values) => {
            let whole = |cell: &Option<f64>| cell.filter(|value| value.fract() == 0.0 && value.abs() < 1e4);
            values.iter().map(whole).map(|value| value.map(|value| value as i16)).collect::<Option<Vec<i16>>>()
        }
        Cells::Text(fields) if month == Some(*place) => fields.iter().map(named_month).collect(),
        _ => None,
    };
    let parts: Vec<Vec<i16>> = columns.iter().map(whole).collect::<Option<_>>()?;
    let part = |at: usize, row: usize, usual: i16| parts.get(at).map_or(usual, |values| values[row]);
    let clock = if matches!(within, Within::Month) { 3 } else { 2 };
    let time = |row: usize| {
        let byte = |at: usize| i8::try_from(part(at, row, 0)).ok();
        let date = within.date(part(0, row, 1), part(1, row, 1), if clock == 3 { part(2, row, 1) } else { 1 })?;
        of_civil(date.to_datetime(Time::new(byte(clock)?, byte(clock + 1)?, 0, 0).ok()?))
    };
    let instants = (0..table.lines.len()).map(time).collect::<Option<_>>()?;
    let names: Vec<String> = columns.iter().map(|&place| format!("`{}`", table.columns[place].name)).collect();
    Some(Stamps { from: format!("columns {}", names.join(", ")), columns, instants, utc: false })
}

/// The number of a month that is named, such as `Jan` or `January`.
fn named_month(field: &String) -> Option<i16> {
    let named = |form| BrokenDownTime::parse(form, field).ok()?.month().map(i16::from);
    named("%b").or_else(|| named("%B"))
}

/// Days that repeat, with the time of day of another column, if there is one.
pub(super) fn with_clock(table: &Table, stamps: Stamps) -> Stamps {
    let days = stamps.instants.iter().all(|instant| instant.rem_euclid(DAY) == 0);
    let repeated = stamps.instants.windows(2).any(|pair| pair[0] == pair[1]);
    if !(days && repeated) {
        return stamps;
    }
    let clock = |field: &String| {
        let forms = ["%H.%M.%S", "%I:%M:%S %p", "%I:%M %p"];
        let written = || forms.iter().find_map(|form| Time::strptime(form, field).ok());
        let time = field.parse::<Time>().ok().or_else(written)?;
        Some(time.duration_since(Time::midnight()).as_micros() as Instant)
    };
    for (place, column) in table.columns.iter().enumerate().filter(|(place, _)| !stamps.columns.contains(place)) {
        let (times, from_one) = match &column.cells {
            Cells::Text(fields) => (fields.iter().map(clock).collect::<Option<Vec<Instant>>>(), false),
            Cells::Numbers(values) if ["hour", "hr"].contains(&column.name.to_ascii_lowercase().as_str()) => {
                hours(values)
            }
            _ => continue,
        };
        let Some(times) = times else { continue };
        let instants = stamps.instants.iter().zip(times).map(|(day, time)| day + time).collect();
        let counted = if from_one { ", whose hours count from 1" } else { "" };
        let from = format!("{} and `{}`{counted}", stamps.from.replacen("column ", "columns ", 1), column.name);
        let columns = stamps.columns.iter().copied().chain([place]).collect();
        return Stamps { from, columns, instants, utc: stamps.utc };
    }
    stamps
}

/// Hours of the day as times, and whether they count from 1, since one of them is 24.
fn hours(values: &[Option<f64>]) -> (Option<Vec<Instant>>, bool) {
    let from_one = values.contains(&Some(24.0));
    let (first, last) = if from_one { (1.0, 24.0) } else { (0.0, 23.0) };
    let hour = |value: &Option<f64>| {
        let hour = value.filter(|value| value.fract() == 0.0 && (first..=last).contains(value))?;
        Some((hour - first) as Instant * (DAY / 24))
    };
    (values.iter().map(hour).collect(), from_one)
}
