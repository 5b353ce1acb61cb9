//! The times of a table's rows: which column holds them, and what they are.
//!
//! A time is an [`Instant`]: microseconds of the calendar since 1970-01-01, in UTC where the file has offsets, else in the
//! file's own time.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::rfc2822;
use jiff::fmt::strtime::BrokenDownTime;

use super::parts::{of_parts, with_clock};
use super::table::{Cells, Column, Table, is_missing};

/// Microseconds since 1970-01-01.
pub type Instant = i64;

pub const SECOND: Instant = 1_000_000;
pub const DAY: Instant = 24 * 3600 * SECOND;

/// Which column holds the times.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The first that does, if any.
    Find,
    Named(&'a str),
    /// Rows are taken as they come.
    None,
}

/// The times of all rows.
#[derive(Clone, Debug)]
pub struct Stamps {
    /// Where they are from, for messages.
    pub from: String,
    /// The columns that they are from, none of which is an input.
    pub columns: Vec<usize>,
    pub instants: Vec<Instant>,
    /// Whether the file has offsets, so that these are times in UTC.
    pub utc: bool,
}

/// Writing of dates and times, the most common first. What is not there is the first month, day and midnight.
const FORMS: [&str; 45] = [
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y-%m-%d %H",
    "%Y-%m",
    "%Y/%m",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d/%m/%y %H:%M",
    "%m/%d/%y %H:%M",
    "%m/%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%Y %H:%M",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%y",
    "%b %d, %Y",
    "%b %d %Y",
    "%B %d, %Y",
    "%B %d %Y",
    "%d %B %Y",
    "%b %d %H:%M:%S %Y",
    "%d %b %Y %H:%M:%S",
    "%b %Y",
    "%b-%Y",
    "%b-%y",
    "%Y-%m-%d %H:%M UTC",
    "%Y-%m-%d %H:%M:%S UTC",
];

/// A way of writing a time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// ISO 8601 with an offset or `Z`, or a date of mail.
    Offset,
    /// The same without, or the file's own time of one with.
    Iso,
    Written(&'static str),
    /// `2024Q1` or `2024-Q1`.
    Quarter,
}

impl Form {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Offset, Self::Iso].into_iter().chain(FORMS.map(Self::Written)).chain([Self::Quarter])
    }

    /// Which of day and month comes first, where both are numbers between slashes or strokes, in words.
    fn order(self) -> &'static str {
        match self {
            Self::Written(form) if form.starts_with("%d/%m") || form.starts_with("%d-%m") => ", the day first",
            Self::Written(form) if form.starts_with("%m/%d") || form.starts_with("%m-%d") => ", the month first",
            _ => "",
        }
    }

    fn read(self, field: &str) -> Option<Instant> {
        let field = after_weekday(field);
        match self {
            Self::Offset => {
                let of_mail = || rfc2822::parse(field).ok().map(|time| time.timestamp());
                Some(field.parse::<Timestamp>().ok().or_else(of_mail)?.as_microsecond())
            }
            Self::Iso => {
                let of_mail = || rfc2822::parse(field).ok().map(|time| time.datetime());
                field.parse::<DateTime>().ok().or_else(of_mail).and_then(of_civil)
            }
            Self::Written(form) => {
                let mut parts = BrokenDownTime::parse(form, field).ok()?;
                for (missing, set) in [
                    (parts.month().is_none(), BrokenDownTime::set_month as fn(&mut _, _) -> _),
                    (parts.day().is_none(), BrokenDownTime::set_day),
                ] {
                    if missing {
                        set(&mut parts, Some(1)).ok()?;
                    }
                }
                // `24` is no year that is written in full.
                if parts.year().is_some_and(|year| year < 1000) {
                    return None;
                }
                let timed = form.contains("%H") || form.contains("%I");
                let time = if timed { parts.to_time().ok()? } else { Time::midnight() };
                of_civil(parts.to_date().ok()?.to_datetime(time))
            }
            Self::Quarter => {
                let (year, quarter) = field.split_once(['Q', 'q'])?;
                let (year, quarter) = (year.trim_end_matches(['-', ' ']).parse().ok()?, quarter.parse::<i8>().ok()?);
                Date::new(year, (quarter.checked_sub(1)?).checked_mul(3)?.checked_add(1)?, 1).ok().and_then(of_date)
            }
        }
    }
}

pub(super) fn of_civil(time: DateTime) -> Option<Instant> {
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

fn of_date(date: Date) -> Option<Instant> {
    of_civil(date.to_datetime(Time::midnight()))
}

/// What follows the name of a day of the week, such as `Mon, ` or `Monday `; all of it where there is none.
fn after_weekday(field: &str) -> &str {
    let word = field.find(|letter: char| !letter.is_alphabetic()).unwrap_or(0);
    let is_day = |form| BrokenDownTime::parse(form, &field[..word]).is_ok();
    match word >= 3 && (is_day("%a") || is_day("%A")) {
        true => field[word..].trim_start_matches(['.', ',', ' ']),
        false => field,
    }
}

/// An instant on the calendar.
pub fn civil(instant: Instant) -> DateTime {
    let timestamp = Timestamp::from_microsecond(instant).unwrap_or_default();
    jiff::tz::TimeZone::UTC.to_datetime(timestamp)
}

/// Whether the calendar goes as far.
pub fn is_on_calendar(instant: Instant) -> bool {
    Timestamp::from_microsecond(instant).is_ok()
}

/// A time of the calendar as an instant; the largest where it is beyond what can be counted.
pub fn instant(time: DateTime) -> Instant {
    of_civil(time).unwrap_or(Instant::MAX)
}

/// The times of the rows, if the table has any. Columns that are `taken` hold something else, whatever it looks like.
pub fn find(table: &Table, wanted: Wanted<'_>, taken: &[usize]) -> Result<Option<Stamps>> {
    match wanted {
        Wanted::None => Ok(None),
        Wanted::Named(name) => {
            let place = table.place(name)?;
            let found = of_column(table, place, true)?;
            let expected = || {
                let file = &table.file;
                format!(
                    "{file}, column `{name}`: expected times such as 2024-01-31 06:00, a year, a Unix time or a spreadsheet's days"
                )
            };
            found.map(Some).with_context(expected)
        }
        Wanted::Find => {
            if let Some(parts) = of_parts(table) {
                return Ok(Some(parts));
            }
            // What is written as a time is one; numbers may be anything.
            let is_text = |place: &usize| matches!(table.columns[*place].cells, Cells::Text(_));
            let free = || (0..table.columns.len()).filter(|place| !taken.contains(place));
            for place in free().filter(is_text).chain(free().filter(|place| !is_text(place))) {
                if let Some(stamps) = of_column(table, place, false)? {
                    return Ok(Some(with_clock(table, stamps)));
                }
            }
            Ok(None)
        }
    }
}

/// The times that a column holds, if it does. One that was `named` may have any name and order.
pub fn of_column(table: &Table, place: usize, named: bool) -> Result<Option<Stamps>> {
    let Column { name, cells } = &table.columns[place];
    let (instants, utc, order) = match cells {
        Cells::Text(fields) => match of_text(table, name, fields)? {
            Some((form, instants, utc)) => (instants, utc, form.order()),
            None => return Ok(None),
        },
        Cells::Numbers(values) => {
            let Some(values) = values.iter().copied().collect::<Option<Vec<f64>>>() else { return Ok(None) };
            match of_numbers(name, &values, named) {
                Some(instants) => (instants, false, ""),
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(Stamps { from: format!("column `{name}`{order}"), columns: vec![place], instants, utc }))
}

/// Text that is times, all written alike. A few fields that are none are an error, most are a column of something else.
fn of_text(table: &Table, name: &str, fields: &[String]) -> Result<Option<(Form, Vec<Instant>, bool)>> {
    let mut whole: Vec<(Form, Vec<Instant>)> = Vec::new();
    let mut most = (0, 0);
    for form in Form::all() {
        // A form that fits nothing at the beginning, in the middle and at the end is not tried on every row.
        let samples = [0, fields.len() / 2, fields.len() - 1];
        if samples.iter().all(|&row| form.read(&fields[row]).is_none()) {
            continue;
        }
        let read: Vec<Option<Instant>> = fields.iter().map(|field| form.read(field)).collect();
        let count = read.iter().flatten().count();
        if let Some(all) = read.iter().copied().collect::<Option<Vec<Instant>>>() {
            // The day first and the month first, with the same times, are the same.
            if whole.iter().all(|(_, other)| *other != all) {
                whole.push((form, all));
            }
        } else if count > most.0 {
            most = (count, read.iter().position(Option::is_none).unwrap_or(0));
        }
    }
    if let Some(at) = whole.iter().position(|(form, _)| *form == Form::Offset) {
        let (instants, utc) = of_offsets(whole, at);
        return Ok(Some((Form::Offset, instants, utc)));
    }
    match &mut whole[..] {
        [] if most.0 * 10 >= fields.len() * 9 => {
            let (file, line, field) = (&table.file, table.lines[most.1], &fields[most.1]);
            let what = if is_missing(field) { "a missing value".to_string() } else { format!("`{field}`") };
            bail!(
                "{file}, line {line}, column `{name}`: expected a time as in the other rows, got {what} (--no-time takes rows \
                 as they come)"
            );
        }
        [] => Ok(None),
        [(form, instants)] => Ok(Some((*form, std::mem::take(instants), false))),
        // Whether the day or the month comes first is told by the order of rows, or else by how even they are.
        several => {
            several.sort_by_key(|(_, all)| disorder(all));
            let [first, second] = [0, 1].map(|place| disorder(&several[place].1));
            if first.0 == second.0 && second.1 <= 2 * first.1 {
                bail!(
                    "{}, column `{name}`: expected times that can be read in one way, got `{}`, of which the first number may \
                     be the day or the month (--no-time takes rows as they come)",
                    table.file,
                    fields[0]
                );
            }
            let (form, instants) = &mut several[0];
            Ok(Some((*form, std::mem::take(instants), false)))
        }
    }
}

/// Times with offsets: in UTC, unless the file's own are as good, since its offset is always the same or all are midnights.
fn of_offsets(mut whole: Vec<(Form, Vec<Instant>)>, at: usize) -> (Vec<Instant>, bool) {
    let (_, utc) = whole.swap_remove(at);
    let own = whole.into_iter().find(|(form, _)| *form == Form::Iso).map(|(_, own)| own);
    let as_good = |own: &Vec<Instant>| {
        let mut offsets = own.iter().zip(&utc).map(|(own, utc)| own - utc);
        let first = offsets.next();
        offsets.all(|offset| Some(offset) == first) || own.iter().all(|time| time.rem_euclid(DAY) == 0)
    };
    match own.filter(as_good) {
        Some(own) => (own, false),
        None => (utc, true),
    }
}

/// How many rows go the other way than most, and by how many percent the longest step is longer than the shortest.
fn disorder(all: &[Instant]) -> (usize, u64) {
    let back = all.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    let steps = || all.windows(2).map(|pair| pair[1].abs_diff(pair[0]).max(1));
    let uneven = steps().max().unwrap_or(1) as f64 / steps().min().unwrap_or(1) as f64;
    (back.min(all.len() - 1 - back), (uneven * 100.0) as u64)
}

/// Whether a column's name says that it is a time: one of its words does, as in `pickup_datetime` and `startTime`, but not in
/// `downtime`.
fn is_named_time(name: &str) -> bool {
    const WORDS: [&str; 10] =
        ["time", "date", "datetime", "timestamp", "stamp", "epoch", "unix", "unixtime", "utc", "when"];
    has_word(name, &WORDS) || ["ts", "t_s", "day", "month", "dt"].contains(&name.to_lowercase().as_str())
}

fn is_named_date(name: &str) -> bool {
    has_word(name, &["date", "datetime"])
}

fn has_word(name: &str, wanted: &[&str]) -> bool {
    let mut apart = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && apart.ends_with(char::is_lowercase) {
            apart.push(' ');
        }
        apart.push(letter);
    }
    let apart = apart.to_lowercase();
    let mut words = apart.split(|letter: char| !letter.is_alphabetic());
    words.any(|word| wanted.contains(&word))
}

fn is_named_year(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("year") || ["yr", "yyyy"].contains(&name.as_str())
}

/// Units of Unix times, by how large those of 1990 to 2100 are in seconds, and how many microseconds one is.
const UNITS: [(f64, f64); 4] = [(1.0, 1e6), (1e3, 1e3), (1e6, 1.0), (1e9, 1e-3)];
const UNIX: std::ops::Range<f64> = 6.3e8..4.2e9;

/// Days since 1899-12-30 from 1954 to 2118.
const SPREADSHEET: std::ops::Range<f64> = 2e4..8e4;

/// Dates and times without separators, by their number of digits. Months alone are so only by a column's name.
const COMPACT: [(i32, &str); 5] =
    [(8, "%Y%m%d"), (10, "%Y%m%d%H"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"), (6, "%Y%m")];

/// Numbers that are times: dates such as 20240131, years, or Unix times.
fn of_numbers(name: &str, values: &[f64], named: bool) -> Option<Vec<Instant>> {
    let whole = values.iter().all(|value| value.fract() == 0.0);
    let ordered = |pair: &[f64]| pair[0] <= pair[1];
    let monotone = values.windows(2).all(ordered) || values.windows(2).all(|pair| ordered(&[pair[1], pair[0]]));
    let strictly = monotone && values.windows(2).all(|pair| pair[0] != pair[1]);
    let timely = named || is_named_time(name);
    for (digits, form) in COMPACT.into_iter().filter(|&(digits, _)| whole && (timely || (monotone && digits > 6))) {
        let year = |value: f64| value / 10f64.powi(digits - 4);
        // Eight digits are a date whatever the year; others are more often something else.
        let years = if digits == 8 { 1000.0..10_000.0 } else { 1800.0..2200.0 };
        let date = |&value: &f64| match years.contains(&year(value)) {
            true => Form::Written(form).read(&format!("{value:.0}")),
            false => None,
        };
        if let Some(all) = values.iter().map(date).collect() {
            return Some(all);
        }
    }
    let in_years = values.iter().all(|value| (1000.0..3000.0).contains(value));
    if in_years && (named || (strictly && (timely || is_named_year(name)))) {
        return values.iter().map(|&value| of_year(value)).collect();
    }
    // Spreadsheets count days.
    if (named || (is_named_date(name) && monotone)) && values.iter().all(|value| SPREADSHEET.contains(value)) {
        let first = of_date(Date::new(1899, 12, 30).ok()?)?;
        return Some(values.iter().map(|value| first + (value * 86400.0).round() as Instant * SECOND).collect());
    }
    let of_unit = |&(unit, micros): &(f64, f64)| {
        let inside = values.iter().all(|value| UNIX.contains(&(value / unit)));
        inside.then(|| values.iter().map(|value| (value * micros).round() as Instant).collect())
    };
    if timely && (named || monotone) { UNITS.iter().find_map(of_unit) } else { None }
}

/// A year, or a year and a part of it. What is near a month's beginning is meant to be that.
fn of_year(value: f64) -> Option<Instant> {
    let (year, part) = (value.floor() as i16, value.fract());
    let months = part * 12.0;
    if (months - months.round()).abs() < 0.02 {
        let month = months.round() as i16;
        return of_date(Date::new(year + month / 12, (month % 12) as i8 + 1, 1).ok()?);
    }
    let start = of_date(Date::new(year, 1, 1).ok()?)?;
    let end = of_date(Date::new(year + 1, 1, 1).ok()?)?;
    Some(start + (part * (end - start) as f64).round() as Instant)
}

#[cfg(test)]
mod tests;
