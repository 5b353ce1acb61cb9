//! A series of numbers in equal steps of time, several columns wide, some of which are to be forecast.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::base::numbers::{are, plural};

use super::columns::{Chosen, Columns, Reading, list, sentinels, taken, unusable};
use super::cycles::Cycle;
use super::gaps;
use super::grid::{Grid, Ordered, Spacing};
use super::table::{Cells, Column, Table};
use super::time::{self, Instant, Wanted, civil};
use super::windows::boundary;

/// The longest run of missing values that is filled; a longer one cuts the series.
pub const LONGEST_GAP: usize = 24;

/// What a model knows of the columns that it was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// The inputs, in their order; cycles have names of their own.
    pub columns: Vec<String>,
    pub cycles: Vec<Cycle>,
    /// The places of those that are forecast.
    pub targets: Vec<usize>,
    /// How far apart rows are, where they have times.
    pub spacing: Option<Spacing>,
}

pub use super::columns::Ask;

/// Columns of numbers without gaps, one row a step of time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Short name, for the report.
    pub name: String,
    pub layout: Layout,
    /// A label for each row.
    pub labels: Vec<String>,
    /// The values, `[rows, columns]`.
    pub values: Vec<f64>,
    /// The unit of each column; empty where none is known.
    pub units: Vec<&'static str>,
    /// What a row is called: `row`, or `hour` and the like.
    pub step: String,
    /// The unbroken stretch that each row is of.
    pub stretches: Vec<u32>,
    /// Whether all of the row's targets were measured; what was filled in is no truth to test against.
    pub measured: Vec<bool>,
    /// What was read, left out and repaired, one sentence each.
    pub notes: Vec<String>,
    /// What comes after the last row, where that is known.
    clock: Option<(Grid, i64)>,
}

impl Series {
    /// One in an unbroken stretch, whose rows have no times.
    #[cfg(test)]
    pub fn plain(name: &str, columns: Vec<String>, values: Vec<f64>, targets: Vec<usize>) -> Self {
        let rows = values.len() / columns.len();
        Self {
            name: name.into(),
            units: vec![""; columns.len()],
            layout: Layout { columns, cycles: Vec::new(), targets, spacing: None },
            labels: (0..rows).map(|row| format!("t{row}")).collect(),
            values,
            step: "row".into(),
            stretches: vec![0; rows],
            measured: vec![true; rows],
            notes: Vec::new(),
            clock: None,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// A column's value in a row.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.layout.columns.len() + column]
    }

    /// The columns that are no cycles of the calendar.
    pub fn own_columns(&self) -> usize {
        self.layout.columns.len() - 2 * self.layout.cycles.len()
    }

    /// The last row's label.
    pub fn last(&self) -> &str {
        self.labels.last().map_or("", String::as_str)
    }

    /// The time so many rows after the last, where times are known.
    pub fn ahead(&self, rows: usize) -> Option<String> {
        let (grid, last) = self.clock.as_ref()?;
        let times = [grid.time(0), grid.time(*last), grid.time(last.saturating_add_unsigned(rows as u64))];
        time::is_on_calendar(times[2]).then(|| label(times[2], &style(&times, Some(grid.spacing))))
    }
}

/// Reads a file: every column of numbers is an input, those of `targets` are the ones to forecast.
///
/// Rows are put in the order of their times, with an empty row for each step that is missing. What is missing takes the last
/// known value for up to [`LONGEST_GAP`] rows; where more is missing of all columns or of a target, the series is cut, and an
/// input that misses more is left out. The notes say so.
pub fn load(path: &Path, targets: &[String], ask: &Ask) -> Result<Series> {
    let table = Table::read(path, &ask.missing)?;
    let targets = table.named(targets)?;
    from_table(super::short_name(path), &table, Reading { targets: &targets, ask: Some(ask), ..Reading::default() })
}

/// Reads a file that has the columns of `layout`, in any order and among others.
pub fn load_known(path: &Path, ask: &Ask, layout: &Layout) -> Result<Series> {
    let table = Table::read(path, &ask.missing)?;
    from_table(super::short_name(path), &table, Reading { ask: Some(ask), known: Some(layout), ..Reading::default() })
}

pub(super) fn from_table(name: String, table: &Table, reading: Reading<'_>) -> Result<Series> {
    let usual = Ask::default();
    let ask = reading.ask.unwrap_or(&usual);
    let file = &table.file;
    let wanted = match &ask.time {
        _ if ask.no_time => Wanted::None,
        Some(name) => Wanted::Named(name),
        None => Wanted::Find,
    };
    let taken = taken(table, &reading, ask)?;
    let stamps = time::find(table, wanted, &taken)?;
    let ordered = stamps.as_ref().map(|stamps| Ordered::new(table, stamps)).transpose()?;
    let of_time = stamps.as_ref().map_or(&[][..], |stamps| &stamps.columns);
    let chosen = Chosen::new(table, &reading, ask, of_time)?;
    let mut notes = vec![format!("{} read.", plural(table.lines.len(), "row"))];
    notes.extend(table.notes.iter().cloned());
    notes.extend(ordered.iter().flat_map(|ordered| ordered.notes.iter().cloned()));
    let spread =
        |cells: &[Option<f64>]| ordered.as_ref().map_or_else(|| cells.to_vec(), |ordered| ordered.spread(cells));
    let length = ordered.as_ref().map_or(table.lines.len(), |ordered| ordered.times.len());
    let present = ordered.as_ref().map_or_else(|| vec![true; length], Ordered::present);
    let OfTable { columns, rows: keep } = kept(table, &reading, &chosen, spread, &present, &mut notes)?;

    let mut gathered = Columns::default();
    let mut measured = vec![true; keep.len()];
    let train = boundary(keep.len());
    let mut targets = vec![usize::MAX; chosen.targets.len()];
    for (place, cells) in columns {
        let Column { name, cells: kind } = &table.columns[place];
        let cells: Vec<Option<f64>> = keep.iter().map(|&row| cells[row]).collect();
        let is_target = chosen.targets.contains(&place);
        if !is_target && !chosen.asked && reading.known.is_none() {
            let mut values = cells[..train].iter().flatten();
            let first = values.next();
            if values.all(|value| Some(value) == first) {
                let always = first.map_or("missing".to_string(), f64::to_string);
                notes.push(format!(
                    "Column `{name}` is left out: it is always {always} in the part that is trained on."
                ));
                continue;
            }
        }
        for (value, times) in sentinels(&cells) {
            let rows = plural(times, "row");
            let value = if value.abs() < 1e15 { value.to_string() } else { format!("{value:e}") };
            notes.push(format!(
                "Column `{name}` is {value} in {rows}, far from all its other values; if that stands for missing values, \
                 `--missing {value}` says so."
            ));
        }
        if matches!(kind, Cells::Truths(_)) {
            notes.push(format!("Column `{name}`: true is 1 and false is 0."));
        }
        for (at, _) in chosen.targets.iter().enumerate().filter(|(_, target)| **target == place) {
            targets[at] = gathered.names.len();
            measured.iter_mut().zip(&cells).for_each(|(measured, cell)| *measured &= cell.is_some());
        }
        match reading.angle {
            Some(angle) if angle == name => {
                let degrees = gathered.close_gaps(name, &cells);
                gathered.push_turns(name, degrees.into_iter().map(|angle| angle / 360.0));
            }
            _ => gathered.push(name.clone(), &cells),
        }
    }
    let times: Option<Vec<Instant>> =
        ordered.as_ref().map(|ordered| keep.iter().map(|&row| ordered.times[row]).collect());
    let grid = ordered.as_ref().and_then(|ordered| ordered.grid.clone());
    let spacing = grid.as_ref().map(|grid| grid.spacing);
    let cycles = cycles(&reading, file, spacing, times.as_deref())?;
    for cycle in &cycles {
        let turns = times.iter().flatten().map(|&time| cycle.turn(time));
        gathered.push_turns(&cycle.column(""), turns);
    }
    notes.extend(gathered.notes());
    notes.extend(chosen.notes);
    if let Some(note) = cycle_note(&cycles) {
        notes.push(note);
    }
    let labels = match &times {
        Some(times) => {
            let style = style(times, spacing);
            times.iter().map(|&time| label(time, &style)).collect()
        }
        None => {
            let all = labels(table, of_time);
            keep.iter().map(|&row| all[row].clone()).collect()
        }
    };
    let mut stretches = vec![0; keep.len()];
    for at in 1..keep.len() {
        stretches[at] = stretches[at - 1] + u32::from(keep[at] > keep[at - 1] + 1);
    }
    let unit = |name: &String| reading.units.iter().find(|(known, _)| known == name).map_or("", |(_, unit)| unit);
    let units = gathered.names.iter().map(unit).collect();
    let values = gathered.interleave();
    let layout = Layout { columns: gathered.names, cycles, targets, spacing };
    if let Some(known) = reading.known {
        ensure!(
            layout.columns == known.columns,
            "{file}: expected the columns {}, got {}",
            list(&known.columns),
            list(&layout.columns)
        );
    }
    let step = spacing.map_or_else(|| "row".to_string(), Spacing::row);
    let last = *keep.last().unwrap_or(&0) as i64;
    let clock = grid.map(|grid| (grid, last));
    Ok(Series { name, layout, labels, values, units, step, stretches, measured, notes, clock })
}

/// The columns that are taken, with a cell for each step of time, and the steps that are kept.
struct OfTable {
    columns: Vec<(usize, Vec<Option<f64>>)>,
    rows: Vec<usize>,
}

/// Cuts out the steps at which too much is missing in a row: of all columns, of a target, or of an input that was asked for.
/// Another input that misses as much is left out. `spread` brings a column of the file to the steps of time, at some of which the
/// file has no row (`present`).
fn kept(
    table: &Table,
    reading: &Reading<'_>,
    chosen: &Chosen,
    spread: impl Fn(&[Option<f64>]) -> Vec<Option<f64>>,
    present: &[bool],
    notes: &mut Vec<String>,
) -> Result<OfTable> {
    let (file, length) = (&table.file, present.len());
    let mut kept = vec![true; length];
    let mut cut = |missing: &[bool]| gaps::long_runs(missing, LONGEST_GAP).for_each(|run| kept[run].fill(false));
    cut(&present.iter().map(|present| !present).collect::<Vec<_>>());
    let mut columns = Vec::new();
    for &place in &chosen.places {
        let Column { name, .. } = &table.columns[place];
        let (is_target, cells) = (chosen.targets.contains(&place), spread(table.numbers(place)?));
        let missing: Vec<bool> = cells.iter().map(Option::is_none).collect();
        let of_rows: Vec<bool> = missing.iter().zip(present).map(|(missing, present)| *missing && *present).collect();
        let run = gaps::longest(&of_rows);
        if run.len() > LONGEST_GAP && !is_target && !chosen.asked {
            notes.push(format!("Column `{name}` is left out: it misses {} values in a row.", run.len()));
            ensure!(
                reading.known.is_none(),
                unusable(file, name, &format!("{} of its values are missing in a row", run.len()))
            );
            continue;
        }
        if is_target || chosen.asked {
            cut(&missing);
        }
        columns.push((place, cells));
    }
    let cuts = kept.iter().filter(|kept| !**kept).count();
    let keep: Vec<usize> = (0..length).filter(|&row| kept[row]).collect();
    ensure!(!keep.is_empty(), "{file}: expected rows with values of what is forecast, got none");
    let put_in = keep.iter().filter(|row| !present[**row]).count();
    if put_in > 0 {
        notes.push(format!("{} missing and put in, {} in all.", are(put_in, "row"), keep.len()));
    }
    if cuts > 0 {
        let stretches = 1 + keep.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
        notes.push(format!(
            "{} not there or not known, more than {LONGEST_GAP} in a row: {}.",
            are(cuts, "row"),
            match stretches {
                1 => "1 stretch is left".to_string(),
                _ => format!("{stretches} stretches are left, and no window goes from one to the next"),
            }
        ));
    }
    Ok(OfTable { columns, rows: keep })
}

/// The cycles that are inputs: those that a model knows, that are given, or that the times deserve.
fn cycles(
    reading: &Reading<'_>,
    file: &str,
    spacing: Option<Spacing>,
    times: Option<&[Instant]>,
) -> Result<Vec<Cycle>> {
    if let Some(known) = reading.known {
        let title = |spacing: Option<Spacing>| {
            spacing.map_or("no equal steps".to_string(), |one| format!("a row each {}", one.title()))
        };
        if known.spacing != spacing && (known.spacing.is_some() || !known.cycles.is_empty()) {
            bail!(
                "{file}: expected times as the model was trained on, with {}, got {}",
                title(known.spacing),
                title(spacing)
            );
        }
        return Ok(known.cycles.clone());
    }
    Ok(match (reading.cycles, spacing, times) {
        (Some(cycles), ..) => cycles.to_vec(),
        (None, Some(spacing), Some([first, .., last])) => Cycle::of(spacing, last - first),
        _ => Vec::new(),
    })
}

fn cycle_note(cycles: &[Cycle]) -> Option<String> {
    let titles: Vec<&str> = cycles.iter().map(|cycle| cycle.title()).collect();
    let (last, others) = titles.split_last()?;
    let titles = if others.is_empty() { (*last).to_string() } else { format!("{} and {last}", others.join(", ")) };
    let each = if others.is_empty() { "as" } else { "each" };
    Some(format!("Inputs from the times: {titles}, {each} a sine and a cosine."))
}

/// How times are written: as much of them as tells rows apart.
fn style(times: &[Instant], spacing: Option<Spacing>) -> String {
    let all = |is: fn(&Instant) -> bool| times.iter().all(is);
    let days = all(|time| time.rem_euclid(time::DAY) == 0);
    let first_of_month = all(|time| civil(*time).day() == 1);
    let style = match spacing {
        Some(Spacing::Months(months))
            if days && first_of_month && months % 12 == 0 && all(|time| civil(*time).month() == 1) =>
        {
            "%Y"
        }
        Some(Spacing::Months(_)) if days && first_of_month => "%Y-%m",
        _ if days => "%Y-%m-%d",
        _ if all(|time| time.rem_euclid(60 * time::SECOND) == 0) => "%Y-%m-%d %H:%M",
        _ if all(|time| time.rem_euclid(time::SECOND) == 0) => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S%.f",
    };
    style.to_string()
}

fn label(time: Instant, style: &str) -> String {
    civil(time).strftime(style).to_string()
}

/// The labels of rows without times: the first column of text, or their numbers.
fn labels(table: &Table, of_time: &[usize]) -> Vec<String> {
    let texts = table.columns.iter().enumerate().filter(|(place, _)| !of_time.contains(place));
    let text = texts.filter_map(|(_, column)| match &column.cells {
        Cells::Text(fields) => Some(fields.clone()),
        _ => None,
    });
    text.into_iter().next().unwrap_or_else(|| (1..=table.lines.len()).map(|row| format!("row {row}")).collect())
}

#[cfg(test)]
mod tests;
