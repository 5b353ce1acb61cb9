//! A series of numbers in equal steps of time, several columns wide, some of which are to be forecast.

use super::gaps;
use super::table::{Cells, Table};
use anyhow::{Result, bail};
use std::path::Path;

/// The longest run of missing values that is filled in a file of one's own.
pub const LONGEST_GAP: usize = 24;

/// Columns of numbers without gaps, one row a step of time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Short name, for the report.
    pub name: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// A label for each row.
    pub times: Vec<String>,
    /// The values, `[rows, columns]`.
    pub values: Vec<f32>,
    /// The unit of each column; empty where none is known.
    pub units: Vec<&'static str>,
    /// What a row is: `row`, or `hour`.
    pub step: &'static str,
    /// The columns to be forecast.
    pub targets: Vec<usize>,
    /// Whether all of the row's targets were measured; what was filled in is no truth to test against.
    pub measured: Vec<bool>,
    /// What was read, left out and repaired, one sentence each.
    pub notes: Vec<String>,
}

impl Series {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// A column's value in a row.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.columns.len() + column]
    }
}

/// Reads a CSV file: every column of numbers is an input, those of `targets` are the ones to forecast.
///
/// The first row names the columns. The first column of text labels the rows. Empty fields are
/// missing values: gaps of up to [`LONGEST_GAP`] rows are filled (see [`gaps`]), and an input with a
/// longer gap, or without a name, is left out; the notes say so.
pub fn load_csv(path: &Path, targets: &[String]) -> Result<Series> {
    from_table(super::short_name(path), Table::read(path)?, targets)
}

fn from_table(name: String, table: Table, targets: &[String]) -> Result<Series> {
    let wanted = targets.iter().map(|target| table.numeric(target)).collect::<Result<Vec<_>>>()?;
    let rows = table.lines.len();
    let mut columns = Columns::default();
    let mut notes = vec![format!("{rows} rows read.")];
    let mut times = None;
    let mut goals = Goals::new(targets, rows)?;

    for (index, column) in table.columns.into_iter().enumerate() {
        let (name, is_target) = (column.name, wanted.contains(&index));
        let cells = match column.cells {
            Cells::Numbers(cells) => cells,
            Cells::Text(labels) => {
                match times {
                    None => times = Some(labels),
                    Some(_) => notes.push(format!("Column `{name}` holds text and is left out.")),
                }
                continue;
            }
            Cells::Empty => {
                notes.push(format!("Column `{name}` is empty and is left out."));
                continue;
            }
        };
        let gap = gaps::longest(&cells);
        let too_long = gap.len() > LONGEST_GAP;
        if is_target {
            if too_long {
                let (file, from, to) = (&table.file, table.lines[gap.start], table.lines[gap.end - 1]);
                bail!(
                    "{file}, lines {from} to {to}, column `{name}`: \
                     expected at most {LONGEST_GAP} missing values in a row, got {}",
                    gap.len()
                );
            }
            goals.found(&name, columns.names.len(), &cells);
        } else if name.is_empty() {
            notes.push(format!("Column {} has no name and is left out.", index + 1));
            continue;
        } else if too_long {
            notes.push(format!("Column `{name}` is left out: it misses {} values in a row.", gap.len()));
            continue;
        }
        columns.push(name, &cells);
    }

    let times = times.unwrap_or_else(|| (1..=rows).map(|row| format!("row {row}")).collect());
    notes.extend(columns.notes());
    let values = columns.interleave();
    let (units, (targets, measured)) = (vec![""; columns.names.len()], goals.places()?);
    Ok(Series { name, columns: columns.names, times, values, units, step: "row", targets, measured, notes })
}

/// Where the columns to forecast are, in the order in which they were asked for.
pub(super) struct Goals {
    wanted: Vec<(String, Option<usize>)>,
    measured: Vec<bool>,
}

impl Goals {
    pub(super) fn new(targets: &[String], rows: usize) -> Result<Self> {
        if let Some(twice) = targets.iter().enumerate().find(|(at, name)| targets[..*at].contains(name)) {
            bail!("expected every column to forecast once, got `{}` again", twice.1);
        }
        let wanted = targets.iter().map(|name| (name.clone(), None)).collect();
        Ok(Self { wanted, measured: vec![true; rows] })
    }

    /// Notes the place of a column, if it is one of them, and where it was measured.
    pub(super) fn found(&mut self, name: &str, place: usize, cells: &[Option<f32>]) {
        let Some((_, at)) = self.wanted.iter_mut().find(|(wanted, _)| wanted == name) else { return };
        *at = Some(place);
        self.measured.iter_mut().zip(cells).for_each(|(measured, cell)| *measured &= cell.is_some());
    }

    /// The places, and whether all were measured, row by row.
    pub(super) fn places(self) -> Result<(Vec<usize>, Vec<bool>)> {
        let place = |(name, at): (String, Option<usize>)| {
            at.ok_or_else(|| anyhow::anyhow!("expected a column of numbers to forecast, got `{name}`"))
        };
        Ok((self.wanted.into_iter().map(place).collect::<Result<_>>()?, self.measured))
    }
}

/// Columns being gathered, each with its gaps closed.
#[derive(Default)]
pub(super) struct Columns {
    /// Their names.
    pub(super) names: Vec<String>,
    values: Vec<Vec<f32>>,
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
    pub(super) fn push(&mut self, name: String, cells: &[Option<f32>]) {
        let values = self.close_gaps(&name, cells);
        self.names.push(name);
        self.values.push(values);
    }

    /// The values of a column that may have gaps, which are counted for [`Self::notes`].
    pub(super) fn close_gaps(&mut self, name: &str, cells: &[Option<f32>]) -> Vec<f32> {
        let (missing, longest) = (gaps::missing(cells), gaps::longest(cells).len());
        let name = format!("`{name}`");
        match self.filled.iter_mut().find(|other| (other.missing, other.longest) == (missing, longest)) {
            Some(alike) => alike.names.push(name),
            None => self.filled.push(Filled { names: vec![name], missing, longest }),
        }
        gaps::carry(cells)
    }

    /// How many values were filled, one sentence for all columns that missed equally much.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.filled.iter().filter(|filled| filled.missing > 0).map(|Filled { names, missing, longest }| {
            let (column, each) = if names.len() == 1 { ("Column", "") } else { ("Columns", " each") };
            let value = if *missing == 1 { "value" } else { "values" };
            let names = names.join(", ");
            format!("{column} {names}: {missing} missing {value}{each} (at most {longest} in a row) took the last known value.")
        })
    }

    /// Adds a sine and a cosine column.
    pub(super) fn push_cycle(&mut self, name: &str, turns: impl Iterator<Item = [f32; 2]>) {
        let (sines, cosines) = turns.map(|[sine, cosine]| (sine, cosine)).unzip();
        self.names.extend([format!("{name}_sin"), format!("{name}_cos")]);
        self.values.extend::<[Vec<f32>; 2]>([sines, cosines]);
    }

    /// The values row by row.
    pub(super) fn interleave(&self) -> Vec<f32> {
        let rows = self.values.first().map_or(0, Vec::len);
        (0..rows).flat_map(|row| self.values.iter().map(move |column| column[row])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, column: &str) -> Result<Series> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.csv");
        std::fs::write(&path, text).unwrap();
        load_csv(&path, &column.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn reads_numbers_labels_and_gaps() {
        let text = "day,city,a,t,none\nmon,X,1,10,\ntue,Y,,20,\nwed,Z,3,,\n";
        let series = load(text, "t").unwrap();
        assert_eq!(series.name, "mine.csv");
        assert_eq!(series.columns, ["a", "t"]);
        assert_eq!(series.times, ["mon", "tue", "wed"]);
        assert_eq!(series.values, [1.0, 10.0, 1.0, 20.0, 3.0, 20.0]);
        assert_eq!((&series.targets[..], series.rows(), series.at(1, 1)), (&[1][..], 3, 20.0));
        assert_eq!(series.measured, [true, true, false]);
        assert_eq!(
            series.notes,
            [
                "3 rows read.",
                "Column `city` holds text and is left out.",
                "Column `none` is empty and is left out.",
                "Columns `a`, `t`: 1 missing value each (at most 1 in a row) took the last known value.",
            ]
        );
    }

    #[test]
    fn several_columns_are_forecast_in_the_order_that_was_asked_for() {
        let series = load("a,b,c\n1,,3\n4,5,6\n7,8,\n", "c b").unwrap();
        assert_eq!((series.targets, series.measured), (vec![2, 1], vec![false, true, false]));
        let twice = load("a,b\n1,2\n", "b b").unwrap_err().to_string();
        assert_eq!(twice, "expected every column to forecast once, got `b` again");
    }

    #[test]
    fn rows_without_labels_are_counted() {
        let series = load("\u{feff},t\n0,5\n1,6\n", "t").unwrap();
        assert_eq!(series.columns, ["t"]);
        assert_eq!(series.times, ["row 1", "row 2"]);
        assert_eq!(series.notes[1], "Column 1 has no name and is left out.");
    }

    #[test]
    fn long_gaps_leave_an_input_out_and_refuse_a_target() {
        let gap = "1,\n".repeat(LONGEST_GAP + 1);
        let text = format!("a,t\n1,2\n{gap}3,4\n");
        let error = format!("{:#}", load(&text, "t").unwrap_err());
        let want = "lines 3 to 27, column `t`: expected at most 24 missing values in a row, got 25";
        assert!(error.ends_with(want), "{error}");

        let series = load(&text, "a").unwrap();
        assert_eq!(series.columns, ["a"]);
        assert_eq!(series.notes[1], "Column `t` is left out: it misses 25 values in a row.");
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let ends = |text: &str, column: &str, want: &str| {
            let error = format!("{:#}", load(text, column).unwrap_err());
            assert!(error.ends_with(want) && error.contains("mine.csv"), "{error}");
        };
        ends("a,b\n1,2\n", "t", "line 1: expected a column named `t`, got `a`, `b`");
        ends("a,t\n1,2\n3,inf\n", "t", "line 3, column `t`: expected a finite number, got `inf`");
        ends("a,t\n1,x\n3,y\n", "t", "line 2, column `t`: expected a number, got `x`");
        ends("a,t\n1,2\n3,y\n", "t", "line 3, column `t`: expected a number or an empty field, got `y`");
        ends("a,t\n1,2\n3\n", "t", "line 3: expected 2 fields, got 1");
    }
}
