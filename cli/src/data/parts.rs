//! Times whose parts stand in several columns.

use jiff::civil::{Date, Time};

use super::table::{Cells, Column, Table};
use super::time::{DAY, Instant, Stamps, of_civil};

const HOURS: &[&str] = &["hour", "hr", "hh"];

/// Parts of a time that a column may hold, and the names of such columns.
const PARTS: [&[&str]; 6] = [
    &["year", "yr", "yyyy"],
    &["quarter", "qtr"],
    &["month", "mon", "mo", "mm"],
    &["day", "dd", "mday", "day_of_month"],
    HOURS,
    &["minute", "minutes"],
];

/// Times whose year, and quarter or month, and what is below, have columns of their own.
pub(super) fn of_parts(table: &Table) -> Option<Stamps> {
    let place = |names: &[&str]| {
        let named = |column: &Column| names.iter().any(|name| column.name.eq_ignore_ascii_case(name));
        table.columns.iter().position(named)
    };
    let [year, quarter, month, day, hour, minute] = PARTS.map(place);
    let (year, below) = (year?, quarter.is_some() && month.is_none());
    let mut columns = vec![year];
    columns.extend(if below { quarter } else { month });
    let finer = [day, hour, minute].into_iter().map_while(|place| place).take(if below { 0 } else { 3 });
    columns.extend(finer);
    if columns.len() < 2 {
        return None;
    }
    let whole = |place: &usize| match &table.columns[*place].cells {
        Cells::Numbers(values) => {
            let whole = |cell: &Option<f64>| cell.filter(|value| value.fract() == 0.0 && value.abs() < 1e4);
            values.iter().map(whole).map(|value| value.map(|value| value as i16)).collect::<Option<Vec<i16>>>()
        }
        _ => None,
    };
    let parts: Vec<Vec<i16>> = columns.iter().map(whole).collect::<Option<_>>()?;
    let part = |at: usize, row: usize, usual: i16| parts.get(at).map_or(usual, |values| values[row]);
    let time = |row: usize| {
        let month = if below { (part(1, row, 1) - 1) * 3 + 1 } else { part(1, row, 1) };
        let byte = |value: i16| i8::try_from(value).ok();
        let date = Date::new(part(0, row, 1), byte(month)?, byte(part(2, row, 1))?).ok()?;
        of_civil(date.to_datetime(Time::new(byte(part(3, row, 0))?, byte(part(4, row, 0))?, 0, 0).ok()?))
    };
    let instants = (0..table.lines.len()).map(time).collect::<Option<_>>()?;
    let names: Vec<String> = columns.iter().map(|&place| format!("`{}`", table.columns[place].name)).collect();
    Some(Stamps { from: format!("columns {}", names.join(", ")), columns, instants, utc: false })
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
