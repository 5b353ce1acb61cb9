//! A CSV file as typed columns that remember their lines, so that every error can point at the spot.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

/// A CSV file: a header row, then rows of equally many fields.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of the file, for messages.
    pub file: String,
    /// Line of each row in the file, from 1.
    pub lines: Vec<u64>,
    /// The columns, in the file's order.
    pub columns: Vec<Column>,
}

/// One named column.
#[derive(Clone, Debug)]
pub struct Column {
    /// The header's name; empty where the header has none.
    pub name: String,
    /// Its values.
    pub cells: Cells,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Finite numbers; `None` where the field is empty.
    Numbers(Vec<Option<f32>>),
    /// Text without any number, such as time stamps or names.
    Text(Vec<String>),
    /// Nothing at all.
    Empty,
}

impl Table {
    /// Reads a CSV file in UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&path.display().to_string(), &super::read_utf8(path)?)
    }

    /// Reads CSV text; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
        let unreadable = || format!("{file}: could not read the file as comma-separated values");
        let header = reader.headers().with_context(unreadable)?.clone();
        check_header(file, &header)?;

        let mut lines = Vec::new();
        let mut fields = vec![Vec::new(); header.len()];
        for record in reader.records() {
            let record = record.with_context(unreadable)?;
            let line = record.position().map_or(0, |start| line_of(start, text));
            let (expected, got) = (header.len(), record.len());
            ensure!(got == expected, "{file}, line {line}: expected {expected} fields, got {got}");
            lines.push(line);
            for (column, field) in fields.iter_mut().zip(&record) {
                column.push(field.to_owned());
            }
        }
        ensure!(!lines.is_empty(), "{file}: expected rows of numbers below the header, got none");

        let typed = |(name, fields): (&str, Vec<String>)| {
            let cells = classify(fields, &lines).map_err(|Odd { line, expected, got }| {
                anyhow::anyhow!("{file}, line {line}, column `{name}`: expected {expected}, got `{got}`")
            })?;
            Ok(Column { name: name.to_owned(), cells })
        };
        let columns = header.iter().zip(fields).map(typed).collect::<Result<_>>()?;
        Ok(Self { file: file.to_owned(), lines, columns })
    }

    /// The index of a column of numbers, or an error that says what the file has instead.
    pub fn numeric(&self, name: &str) -> Result<usize> {
        let file = &self.file;
        let Some(index) = self.columns.iter().position(|column| column.name == name) else {
            let names: Vec<_> = self.columns.iter().map(|column| format!("`{}`", column.name)).collect();
            bail!("{file}, line 1: expected a column named `{name}`, got {}", names.join(", "));
        };
        match &self.columns[index].cells {
            Cells::Numbers(_) => Ok(index),
            Cells::Empty => {
                bail!("{file}, column `{name}`: expected numbers, got only empty fields")
            }
            Cells::Text(fields) => {
                let row = fields.iter().position(|field| !field.is_empty()).unwrap_or(0);
                let (line, got) = (self.lines[row], &fields[row]);
                bail!("{file}, line {line}, column `{name}`: expected a number, got `{got}`")
            }
        }
    }
}

/// The line of a record: the reader's position still lies before the blank lines that it skips.
fn line_of(start: &csv::Position, text: &str) -> u64 {
    let rest = text.bytes().skip(start.byte() as usize);
    let blank = rest.take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|&byte| byte == b'\n');
    start.line() + blank.count() as u64
}

/// A header has names, each once; numbers alone are data whose header is missing.
fn check_header(file: &str, header: &csv::StringRecord) -> Result<()> {
    ensure!(!header.is_empty(), "{file}: expected a header row and rows of numbers, got an empty file");
    let named = header.iter().any(|name| !name.is_empty() && name.parse::<f64>().is_err());
    ensure!(named, "{file}, line 1: expected a header row with column names, got `{}`", join(header));
    for (index, name) in header.iter().enumerate() {
        let repeated = !name.is_empty() && header.iter().take(index).any(|other| other == name);
        ensure!(!repeated, "{file}, line 1: expected every column name once, got `{name}` again");
    }
    Ok(())
}

fn join(record: &csv::StringRecord) -> String {
    record.iter().collect::<Vec<_>>().join(",")
}

/// A field that does not fit its column.
struct Odd {
    line: u64,
    expected: &'static str,
    got: String,
}

/// A column with at least one number must hold nothing but finite numbers and empty fields.
fn classify(fields: Vec<String>, lines: &[u64]) -> Result<Cells, Odd> {
    if fields.iter().all(String::is_empty) {
        return Ok(Cells::Empty);
    }
    if !fields.iter().any(|field| number(field).is_some_and(f32::is_finite)) {
        return Ok(Cells::Text(fields));
    }
    let cell = |(field, &line): (String, &u64)| match number(&field) {
        _ if field.is_empty() => Ok(None),
        Some(value) if value.is_finite() => Ok(Some(value)),
        Some(_) => Err(Odd { line, expected: "a finite number", got: field }),
        None => Err(Odd { line, expected: "a number or an empty field", got: field }),
    };
    fields.into_iter().zip(lines).map(cell).collect::<Result<_, _>>().map(Cells::Numbers)
}

/// The field as a number; one too large for 32 bits counts as infinite.
fn number(field: &str) -> Option<f32> {
    field.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", Table::parse("f.csv", text).unwrap_err())
    }

    #[test]
    fn types_columns() {
        let table = Table::parse("f.csv", "when,a,b,none\nmon, 1 ,\"2.5\",\n\ntue,,-3e2,\n").unwrap();
        assert_eq!(table.lines, [2, 4]);
        let cells: Vec<_> = table.columns.iter().map(|column| column.cells.clone()).collect();
        assert_eq!(cells[0], Cells::Text(vec!["mon".into(), "tue".into()]));
        assert_eq!(cells[1], Cells::Numbers(vec![Some(1.0), None]));
        assert_eq!(cells[2], Cells::Numbers(vec![Some(2.5), Some(-300.0)]));
        assert_eq!(cells[3], Cells::Empty);
        assert_eq!(table.numeric("b").unwrap(), 2);
    }

    #[test]
    fn every_error_says_where_and_what() {
        assert_eq!(error(""), "f.csv: expected a header row and rows of numbers, got an empty file");
        assert_eq!(error("a,b\n"), "f.csv: expected rows of numbers below the header, got none");
        assert_eq!(error("1,2\n3,4\n"), "f.csv, line 1: expected a header row with column names, got `1,2`");
        assert_eq!(error("a,b,a\n1,2,3\n"), "f.csv, line 1: expected every column name once, got `a` again");
        assert_eq!(error("a,b\n1,2\n3\n"), "f.csv, line 3: expected 2 fields, got 1");
        assert_eq!(error("a,b\n1,2\n3,4,5\n"), "f.csv, line 3: expected 2 fields, got 3");
        let odd = "f.csv, line 3, column `b`: expected a number or an empty field, got `x`";
        assert_eq!(error("a,b\n1,2\n3,x\n"), odd);
        let nan = "f.csv, line 3, column `b`: expected a finite number, got `NaN`";
        assert_eq!(error("a,b\n1,2\n3,NaN\n"), nan);
        let infinite = "f.csv, line 2, column `a`: expected a finite number, got `1e99`";
        assert_eq!(error("a,b\n1e99,2\n3,4\n"), infinite);
    }

    #[test]
    fn an_unusable_column_is_named() {
        let table = Table::parse("f.csv", "when,a,none\n,1,\nmon,2,\n").unwrap();
        let error = |name| format!("{:#}", table.numeric(name).unwrap_err());
        assert_eq!(error("t"), "f.csv, line 1: expected a column named `t`, got `when`, `a`, `none`");
        assert_eq!(error("when"), "f.csv, line 3, column `when`: expected a number, got `mon`");
        assert_eq!(error("none"), "f.csv, column `none`: expected numbers, got only empty fields");
    }
}
