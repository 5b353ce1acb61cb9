//! The columns of a file that become a series: which are taken and why not the others, and how their gaps are closed.

use anyhow::{Context, Result, bail, ensure};
use clap::builder::NonEmptyStringValueParser;
use serde::{Deserialize, Serialize};

use crate::base::numbers::plural;

use super::cycles::{Cycle, turned};
use super::gaps;
use super::series::Layout;
use super::table::{Cells, Column, Table};
use super::time;

/// What is asked of the columns of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Ask {
    /// Take these columns of the file as inputs and no others, separated by commas [default: all that are numbers]
    #[arg(long, value_name = "COLUMNS")]
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Do not take these columns as inputs, separated by commas.
    #[arg(long, value_name = "COLUMNS")]
    #[serde(default)]
    pub without: Vec<String>,
    /// What else stands for a missing value, separated by commas, such as -999; empty, NA, null, NaN, `?`, `-`, `--` and `.` always do.
    #[arg(long, value_name = "VALUES", value_delimiter = ',', allow_hyphen_values = true, value_parser = NonEmptyStringValueParser::new())]
    #[serde(default)]
    pub missing: Vec<String>,
    /// The column with the times of the rows [default: the first that holds times]
    #[arg(long, value_name = "COLUMN", conflicts_with = "no_time")]
    #[serde(default)]
    pub time: Option<String>,
    /// Take the rows as they come, whatever their times.
    #[arg(long)]
    #[serde(default)]
    pub no_time: bool,
}

impl Ask {
    /// The options, and whether they were given.
    pub fn given(&self) -> [(&'static str, bool); 5] {
        [
            ("--inputs", !self.inputs.is_empty()),
            ("--without", !self.without.is_empty()),
            ("--missing", !self.missing.is_empty()),
            ("--time", self.time.is_some()),
            ("--no-time", self.no_time),
        ]
    }
}

/// What a file of one kind needs to be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading<'a> {
    /// Columns to forecast.
    pub(super) targets: &'a [String],
    pub(super) ask: Option<&'a Ask>,
    /// What a model that reads it knows.
    pub(super) known: Option<&'a Layout>,
    /// A column of degrees, which becomes a sine and a cosine.
    pub(super) angle: Option<&'a str>,
    /// The cycles that are inputs, where they do not follow from the times.
    pub(super) cycles: Option<&'a [Cycle]>,
    pub(super) units: &'a [(&'static str, &'static str)],
}

/// The columns that were named as inputs or as what is forecast.
pub(super) fn taken(table: &Table, reading: &Reading<'_>, ask: &Ask) -> Result<Vec<usize>> {
    let known = reading.known.map_or(&[][..], |known| &known.columns);
    let named = table.named(&ask.inputs)?;
    let named = named.iter().chain(reading.targets).map(|name| table.place(name)).collect::<Result<Vec<usize>>>()?;
    let known = known.iter().filter_map(|name| table.place(name).ok());
    Ok(named.into_iter().chain(known).collect())
}

/// The columns of a file that are taken.
pub(super) struct Chosen {
    /// Inputs, in their order, targets among them.
    pub(super) places: Vec<usize>,
    pub(super) targets: Vec<usize>,
    /// Whether inputs were named, so that none of them is left out silently.
    pub(super) asked: bool,
    pub(super) notes: Vec<String>,
}

impl Chosen {
    pub(super) fn new(table: &Table, reading: &Reading<'_>, ask: &Ask, of_time: &[usize]) -> Result<Self> {
        if let Some(known) = reading.known {
            return Self::known(table, known, reading, of_time);
        }
        let places = |names: &[String]| names.iter().map(|name| table.place(name)).collect::<Result<Vec<usize>>>();
        let targets = places(reading.targets)?;
        for (at, &target) in targets.iter().enumerate() {
            table.numbers(target)?;
            let name = &table.columns[target].name;
            ensure!(!targets[..at].contains(&target), "expected every column to forecast once, got `{name}` again");
        }
        let (inputs, without) = (places(&table.named(&ask.inputs)?)?, places(&table.named(&ask.without)?)?);
        if let Some(&both) = without.iter().find(|place| targets.contains(place)) {
            bail!("--without: expected no column that is forecast, got `{}`", table.columns[both].name);
        }
        let asked = !inputs.is_empty();
        let mut notes = Vec::new();
        let mut taken = Vec::new();
        for (place, Column { name, cells }) in table.columns.iter().enumerate() {
            let is_target = targets.contains(&place);
            if is_target || inputs.contains(&place) {
                table.numbers(place)?;
                taken.push(place);
                continue;
            }
            if of_time.contains(&place) {
                continue;
            }
            let why = match cells {
                _ if asked || without.contains(&place) => Some("as was asked".to_string()),
                Cells::Text(_) => Some("it holds text".to_string()),
                Cells::Empty => Some("it is empty".to_string()),
                Cells::Mixed(line, got) => Some(format!("it holds `{got}` on line {line}, which is no finite number")),
                _ if name.is_empty() => {
                    notes.push(format!("Column {} has no name and is left out.", place + 1));
                    continue;
                }
                Cells::Numbers(values) if counts_rows(values) => Some("it counts the rows".to_string()),
                _ if time::of_column(table, place, false)?.is_some() => Some("its numbers are dates".to_string()),
                _ => None,
            };
            match why {
                Some(why) => notes.push(format!("Column `{name}` is left out: {why}.")),
                None => taken.push(place),
            }
        }
        Ok(Self { places: taken, targets, asked, notes })
    }

    /// Columns by the names that a model knows them by.
    fn known(table: &Table, known: &Layout, reading: &Reading<'_>, of_time: &[usize]) -> Result<Self> {
        let own = &known.columns[..known.columns.len().saturating_sub(2 * known.cycles.len())];
        // An angle is two columns of the model's and one of the file's.
        let of_file = |name: &String| match reading.angle {
            Some(angle) if *name == format!("{angle}_sin") => Some(angle.to_string()),
            Some(angle) if *name == format!("{angle}_cos") => None,
            _ => Some(name.clone()),
        };
        let place = |name: String| {
            let place = table.place(&name)?;
            table
                .numbers(place)
                .with_context(|| unusable(&table.file, &name, "the file has it, but not as numbers"))?;
            Ok(place)
        };
        let places: Vec<usize> = own.iter().filter_map(of_file).map(place).collect::<Result<_>>()?;
        let target = |&target: &usize| table.place(known.columns.get(target).context("the model names no column")?);
        let targets = known.targets.iter().map(target).collect::<Result<_>>()?;
        let others = table.columns.iter().enumerate().filter(|(place, column)| {
            !places.contains(place)
                && !of_time.contains(place)
                && matches!(column.cells, Cells::Numbers(_) | Cells::Truths(_))
                && !column.name.is_empty()
        });
        let others: Vec<String> = others.map(|(_, column)| column.name.clone()).collect();
        let notes = match others.len() {
            0 => Vec::new(),
            1 => vec![format!("Column {} is left out: the model does not read it.", list(&others))],
            _ => vec![format!("Columns {} are left out: the model does not read them.", list(&others))],
        };
        Ok(Self { places, targets, asked: false, notes })
    }
}

/// Whether values grow by one from row to row, as numbers of rows do.
fn counts_rows(values: &[Option<f64>]) -> bool {
    let next = |pair: &[Option<f64>]| matches!(pair, [Some(a), Some(b)] if b - a == 1.0);
    values.len() > 2 && values.windows(2).all(next)
}

/// Numbers of nines, or enormous ones, far from all other values of a column, such as -999, and how often each is there, the
/// farthest first: instruments and archives write them for what is missing.
pub(super) fn sentinels(cells: &[Option<f64>]) -> Vec<(f64, usize)> {
    let mut known: Vec<f64> = cells.iter().copied().flatten().collect();
    known.sort_by(f64::total_cmp);
    let mut all = Vec::new();
    while let Some((value, count)) = sentinel(&known) {
        known.retain(|one| *one != value);
        all.push((value, count));
    }
    all
}

/// The first of them in ascending values.
fn sentinel(known: &[f64]) -> Option<(f64, usize)> {
    let odd = |value: f64| {
        let digits = value.abs().to_string();
        value.abs() > 1e30 || (value.abs() > 90.0 && digits.bytes().all(|digit| matches!(digit, b'9' | b'.')))
    };
    [known.first(), known.last()].into_iter().flatten().copied().filter(|&end| odd(end)).find_map(|end| {
        let others = || known.iter().copied().filter(|value| *value != end);
        let (least, most) = (others().next()?, others().next_back()?);
        let gap = if end < least { least - end } else { end - most };
        let count = known.len() - others().count();
        (gap > most - least && most > least).then_some((end, count))
    })
}

/// Columns being gathered, each with its gaps closed.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    values: Vec<Vec<f64>>,
    filled: Vec<Filled>,
}

/// Columns that missed equally much.
struct Filled {
    names: Vec<String>,
    missing: usize,
    longest: usize,
}

impl Columns {
    /// Adds a column that may have gaps.
    pub(super) fn push(&mut self, name: String, cells: &[Option<f64>]) {
        let values = self.close_gaps(&name, cells);
        self.names.push(name);
        self.values.push(values);
    }

    /// The values of a column that may have gaps, which are counted for [`Self::notes`].
    pub(super) fn close_gaps(&mut self, name: &str, cells: &[Option<f64>]) -> Vec<f64> {
        let missing: Vec<bool> = cells.iter().map(Option::is_none).collect();
        let (missing, longest) = (missing.iter().filter(|missing| **missing).count(), gaps::longest(&missing).len());
        match self.filled.iter_mut().find(|other| (other.missing, other.longest) == (missing, longest)) {
            Some(alike) => alike.names.push(name.to_string()),
            None => self.filled.push(Filled { names: vec![name.to_string()], missing, longest }),
        }
        gaps::carry(cells)
    }

    /// How many values were filled, one sentence for all columns that missed equally much.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.filled.iter().filter(|filled| filled.missing > 0).map(|Filled { names, missing, longest }| {
            let (column, each) = if names.len() == 1 { ("Column", "") } else { ("Columns", " each") };
            let values = plural(*missing, "missing value");
            format!("{column} {}: {values}{each} (at most {longest} in a row) took the last known value.", list(names))
        })
    }

    /// Adds a sine and a cosine column.
    pub(super) fn push_turns(&mut self, name: &str, turns: impl Iterator<Item = f64>) {
        let (sines, cosines) = turns.map(turned).map(|[sine, cosine]| (sine, cosine)).unzip();
        let name = name.trim_end_matches('_');
        self.names.extend([format!("{name}_sin"), format!("{name}_cos")]);
        self.values.extend::<[Vec<f64>; 2]>([sines, cosines]);
    }

    /// The values row by row.
    pub(super) fn interleave(&self) -> Vec<f64> {
        let rows = self.values.first().map_or(0, Vec::len);
        (0..rows).flat_map(|row| self.values.iter().map(move |column| column[row])).collect()
    }
}

pub(super) fn unusable(file: &str, name: &str, why: &str) -> String {
    format!("{file}, column `{name}`: expected an input that the model reads, but it can't be used: {why}")
}

pub(super) fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_far_from_the_rest_are_found() {
        let of = |values: &[f64]| sentinels(&values.iter().copied().map(Some).collect::<Vec<_>>());
        assert_eq!(of(&[1.0, -999.0, 2.0, 5.0, -999.0, 7.0, 3.0]), [(-999.0, 2)]);
        assert_eq!(of(&[1.0, 2.0, 9999.0, 4.0]), [(9999.0, 1)]);
        assert_eq!(of(&[-99.9, 2.0, -99.9, -99.9, 4.0]), [(-99.9, 3)]);
        assert_eq!(of(&[1.0, 9.96921e36, 4.0]), [(9.96921e36, 1)]);
        // Two at one end, and one at each.
        assert_eq!(of(&[1.0, -9999.0, 2.0, 4.0, -999.0]), [(-9999.0, 1), (-999.0, 1)]);
        assert_eq!(of(&[1.0, 9999.0, 2.0, 4.0, -999.0]), [(9999.0, 1), (-999.0, 1)]);
        // A percentage, a value of one digit, and one of two values.
        assert_eq!(of(&[20.0, 99.0, 60.0, 80.0]), []);
        assert_eq!(of(&[0.1, 0.2, 9.0]), []);
        assert_eq!(of(&[99.0, 99.0, 1.0]), []);
        assert_eq!(of(&[-998.0, 1.0, 2.0]), []);
        assert_eq!(of(&[]), []);
    }
}
