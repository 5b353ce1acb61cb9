//! A series of numbers in equal steps of time, several columns wide, one of which is to be forecast.

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
    /// The column to be forecast.
    pub target: usize,
    /// Whether the row's target was measured; where not, it was filled in and is no truth to test against.
    pub measured: Vec<bool>,
    /// What was read, left out and repaired, one sentence each.
    pub notes: Vec<String>,
}

impl Series {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The target's value in a row.
    pub fn target_at(&self, row: usize) -> f32 {
        self.values[row * self.columns.len() + self.target]
    }
}

/// Reads a CSV file: every column of numbers is an input, `column` is the one to forecast.
///
/// The first row names the columns. The first column of text labels the rows. Empty fields are
/// missing values: gaps of up to [`LONGEST_GAP`] rows are filled (see [`gaps`]), and an input with a
/// longer gap, or without a name, is left out; the notes say so.
pub fn load_csv(path: &Path, column: &str) -> Result<Series> {
    from_table(super::short_name(path), Table::read(path)?, column)
}

fn from_table(name: String, table: Table, target: &str) -> Result<Series> {
    let target_index = table.numeric(target)?;
    let rows = table.lines.len();
    let mut columns = Columns::default();
    let mut notes = vec![format!("{rows} rows read.")];
    let mut times = None;
    let mut measured = vec![true; rows];
    let mut target = 0;

    for (index, column) in table.columns.into_iter().enumerate() {
        let (name, is_target) = (column.name, index == target_index);
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
            target = columns.names.len();
            measured = cells.iter().map(Option::is_some).collect();
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
    Ok(Series { name, columns: columns.names, times, values, target, measured, notes })
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
        load_csv(&path, column)
    }

    #[test]
    fn reads_numbers_labels_and_gaps() {
        let text = "day,city,a,t,none\nmon,X,1,10,\ntue,Y,,20,\nwed,Z,3,,\n";
        let series = load(text, "t").unwrap();
        assert_eq!(series.name, "mine.csv");
        assert_eq!(series.columns, ["a", "t"]);
        assert_eq!(series.times, ["mon", "tue", "wed"]);
        assert_eq!(series.values, [1.0, 10.0, 1.0, 20.0, 3.0, 20.0]);
        assert_eq!((series.target, series.rows(), series.target_at(1)), (1, 3, 20.0));
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
