//! A file of separated values as typed columns that remember their lines, so that every error can point at the spot.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

/// A header row, then rows of equally many fields.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of the file, for messages.
    pub file: String,
    /// Line of each row in the file, from 1.
    pub lines: Vec<u64>,
    /// The columns, in the file's order.
    pub columns: Vec<Column>,
    /// What is unusual about the file, one sentence each.
    pub notes: Vec<String>,
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
    /// Finite numbers; `None` where the value is missing.
    Numbers(Vec<Option<f64>>),
    /// `true` and `false`, as 1 and 0.
    Truths(Vec<Option<f64>>),
    /// Text without any number, such as time stamps or names.
    Text(Vec<String>),
    /// Numbers and something else: the line of the first other field, and that field.
    Mixed(u64, String),
    /// Nothing at all.
    Empty,
}

/// Fields that stand for a value that is not known, whatever their case.
const MISSING: [&str; 11] = ["", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-", "--", "."];

/// Whether a field stands for a value that is not known.
pub fn is_missing(field: &str) -> bool {
    MISSING.iter().any(|missing| field.eq_ignore_ascii_case(missing))
}

impl Table {
    /// Reads a file in UTF-8. Fields are separated by tabs in a `.tsv` or `.tab` file. Those that are one of `missing`, as
    /// texts or as numbers, stand for values that are not known.
    pub fn read(path: &Path, missing: &[String]) -> Result<Self> {
        let is = |kind: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(kind));
        let delimiter = (is("tsv") || is("tab")).then_some(b'\t');
        Self::parse_with(&path.display().to_string(), &super::read_utf8(path)?, delimiter, missing)
    }

    /// Reads text whose fields are separated by `delimiter`; without one by commas, or by what the header has instead.
    /// `file` is the text's name in messages.
    pub fn parse(file: &str, text: &str, delimiter: Option<u8>) -> Result<Self> {
        Self::parse_with(file, text, delimiter, &[])
    }

    fn parse_with(file: &str, text: &str, delimiter: Option<u8>, missing: &[String]) -> Result<Self> {
        let delimiter = delimiter.unwrap_or_else(|| separator(text));
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .delimiter(delimiter)
            .from_reader(text.as_bytes());
        let unreadable = || format!("{file}: could not read the file as separated values");
        let header = reader.headers().with_context(unreadable)?.clone();
        check_header(file, &header)?;

        let comma = delimiter == b';';
        let missing: Vec<&str> = missing.iter().map(|given| given.trim()).collect();
        let is = |field: &str, given: &str| {
            field.eq_ignore_ascii_case(given)
                || number(field, comma).is_some_and(|value| number(given, comma) == Some(value))
        };
        let mut found = vec![0; missing.len()];
        let mut lines = Vec::new();
        let mut fields = vec![Vec::new(); header.len()];
        for record in reader.records() {
            let record = record.with_context(unreadable)?;
            let line = record.position().map_or(0, |start| line_of(start, text));
            let (expected, got) = (header.len(), record.len());
            ensure!(got == expected, "{file}, line {line}: expected {expected} fields, got {got}");
            lines.push(line);
            for (column, field) in fields.iter_mut().zip(&record) {
                let given = missing.iter().position(|given| is(field, given));
                given.into_iter().for_each(|at| found[at] += 1);
                column.push(given.map_or(field, |_| "").to_owned());
            }
        }
        ensure!(!lines.is_empty(), "{file}: expected rows of numbers below the header, got none");
        let typed =
            |(name, fields): (&str, Vec<String>)| Column { name: name.to_owned(), cells: typed(fields, &lines, comma) };
        let columns = header.iter().zip(fields).map(typed).collect();
        let semicolons = comma.then(|| "Fields are separated by semicolons.".to_owned());
        let asked = missing.iter().zip(found).map(|(given, found)| match found {
            0 => format!("No field is `{given}`."),
            1 => format!("`{given}` stands for a missing value, in 1 field."),
            _ => format!("`{given}` stands for a missing value, in {found} fields."),
        });
        let notes = semicolons.into_iter().chain(asked).collect();
        Ok(Self { file: file.to_owned(), lines, columns, notes })
    }

    /// The place of a column, or an error that says what the file has instead.
    pub fn place(&self, name: &str) -> Result<usize> {
        let Some(index) = self.columns.iter().position(|column| column.name == name) else {
            let names: Vec<_> = self.columns.iter().map(|column| format!("`{}`", column.name)).collect();
            bail!("{}, line 1: expected a column named `{name}`, got {}", self.file, names.join(", "));
        };
        Ok(index)
    }

    /// The numbers of a column, or an error that says what it holds instead.
    pub fn numbers(&self, index: usize) -> Result<&[Option<f64>]> {
        let (file, Column { name, cells }) = (&self.file, &self.columns[index]);
        match cells {
            Cells::Numbers(cells) | Cells::Truths(cells) => Ok(cells),
            Cells::Empty => bail!("{file}, column `{name}`: expected numbers, got only missing values"),
            Cells::Mixed(line, got) => {
                bail!("{file}, line {line}, column `{name}`: expected a finite number or a missing value, got `{got}`")
            }
            Cells::Text(fields) => {
                let row = fields.iter().position(|field| !is_missing(field)).unwrap_or(0);
                let (line, got) = (self.lines[row], &fields[row]);
                bail!("{file}, line {line}, column `{name}`: expected a number, got `{got}`")
            }
        }
    }

    /// Whether two rows are the same in every column.
    pub fn are_same(&self, a: usize, b: usize) -> bool {
        self.columns.iter().all(|column| match &column.cells {
            Cells::Numbers(cells) | Cells::Truths(cells) => cells[a] == cells[b],
            Cells::Text(fields) => fields[a] == fields[b],
            // Neither is ever taken.
            Cells::Mixed(..) | Cells::Empty => true,
        })
    }

    /// Column names from a command line: each text is a name of the file's, or a list of names as a CSV file would have them.
    pub fn named(&self, texts: &[String]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for text in texts {
            if self.columns.iter().any(|column| column.name == *text) {
                names.push(text.clone());
                continue;
            }
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
            for record in reader.records() {
                names.extend(record.context("could not read a list of column names")?.iter().map(str::to_owned));
            }
        }
        Ok(names)
    }
}

/// What separates the fields of a header: a comma, unless there is none but a semicolon or a tab.
fn separator(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    [b',', b';', b'\t'].into_iter().find(|&one| header.contains(char::from(one))).unwrap_or(b',')
}

/// The line of a record: the reader's position still lies before the blank lines that it skips.
fn line_of(start: &csv::Position, text: &str) -> u64 {
    let rest = text.as_bytes().get(start.byte() as usize..).unwrap_or_default();
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|&&byte| byte == b'\n');
    start.line() + blank.count() as u64
}

/// A header has names, each once; numbers alone are data whose header is missing.
fn check_header(file: &str, header: &csv::StringRecord) -> Result<()> {
    ensure!(!header.is_empty(), "{file}: expected a header row and rows of numbers, got an empty file");
    let named = header.iter().any(|name| !name.is_empty() && name.parse::<f64>().is_err());
    let got = || header.iter().collect::<Vec<_>>().join(",");
    ensure!(named, "{file}, line 1: expected a header row with column names, got `{}`", got());
    for (index, name) in header.iter().enumerate() {
        let repeated = !name.is_empty() && header.iter().take(index).any(|other| other == name);
        ensure!(!repeated, "{file}, line 1: expected every column name once, got `{name}` again");
    }
    Ok(())
}

/// A finite number. Where semicolons separate fields a comma may be the decimal point.
fn number(field: &str, comma: bool) -> Option<f64> {
    let read = if comma { field.replacen(',', ".", 1).parse() } else { field.parse() };
    read.ok().filter(|value: &f64| value.is_finite())
}

/// A column by what its fields are.
fn typed(fields: Vec<String>, lines: &[u64], comma: bool) -> Cells {
    let known = || fields.iter().filter(|field| !is_missing(field));
    let truth = |field: &String| match () {
        () if field.eq_ignore_ascii_case("true") => Some(1.0),
        () if field.eq_ignore_ascii_case("false") => Some(0.0),
        () => None,
    };
    let number = |field: &String| number(field, comma);
    if known().next().is_none() {
        return Cells::Empty;
    }
    if known().all(|field| truth(field).is_some()) {
        return Cells::Truths(fields.iter().map(truth).collect());
    }
    // Only a missing value may be no number: `NaN` and its like are among those.
    let odd = fields.iter().position(|field| !is_missing(field) && number(field).is_none());
    match odd {
        None => Cells::Numbers(fields.iter().map(number).collect()),
        Some(row) if known().any(|field| number(field).is_some()) => Cells::Mixed(lines[row], fields[row].clone()),
        Some(_) => Cells::Text(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table> {
        Table::parse("f.csv", text, None)
    }

    fn error(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn what_is_missing_may_be_named() {
        let missing = ["-999", " x", "off"].map(str::to_string);
        let text = "a,b\n-999.0,X\n-,2\n3,-9990\n.,-999\n";
        let table = Table::parse_with("f.csv", text, None, &missing).unwrap();
        assert_eq!(table.columns[0].cells, Cells::Numbers(vec![None, None, Some(3.0), None]));
        assert_eq!(table.columns[1].cells, Cells::Numbers(vec![None, Some(2.0), Some(-9990.0), None]));
        let said = ["`-999` stands for a missing value, in 2 fields.", "`x` stands for a missing value, in 1 field."];
        assert_eq!(table.notes, [said[0], said[1], "No field is `off`."]);
        let comma = Table::parse_with("f.csv", "a;b\n-99,9;1\n2;3\n", None, &["-99.9".to_string()]).unwrap();
        assert_eq!(comma.columns[0].cells, Cells::Numbers(vec![None, Some(2.0)]));
    }

    #[test]
    fn types_columns() {
        let table = parse("when,a,b,none,on\nmon, 1 ,\"2.5\",,true\n\ntue,,-3e2,NA,FALSE\n").unwrap();
        assert_eq!(table.lines, [2, 4]);
        let cells: Vec<_> = table.columns.iter().map(|column| column.cells.clone()).collect();
        assert_eq!(cells[0], Cells::Text(vec!["mon".into(), "tue".into()]));
        assert_eq!(cells[1], Cells::Numbers(vec![Some(1.0), None]));
        assert_eq!(cells[2], Cells::Numbers(vec![Some(2.5), Some(-300.0)]));
        assert_eq!(cells[3], Cells::Empty);
        assert_eq!(cells[4], Cells::Truths(vec![Some(1.0), Some(0.0)]));
        assert_eq!(table.numbers(table.place("b").unwrap()).unwrap()[0], Some(2.5));
    }

    #[test]
    fn values_keep_all_their_digits() {
        let table = parse("t\n100000006.4\n-122.4194087\n").unwrap();
        assert_eq!(table.columns[0].cells, Cells::Numbers(vec![Some(100000006.4), Some(-122.4194087)]));
    }

    #[test]
    fn what_is_not_known_is_missing() {
        let table = parse("t,u\n1,\nNA,n/a\nnull,NULL\nNaN,None\n?,2\n#N/A,3\n").unwrap();
        let missing = |index: usize| match &table.columns[index].cells {
            Cells::Numbers(cells) => cells.iter().filter(|cell| cell.is_none()).count(),
            other => panic!("{other:?}"),
        };
        assert_eq!((missing(0), missing(1)), (5, 4));
    }

    #[test]
    fn a_column_that_is_no_use_is_named_when_it_is_wanted() {
        let table = parse("a,b,c,d\n1,x,,2\n2,y,NA,inf\n3,z,,low\n").unwrap();
        let wanted = |name: &str| format!("{:#}", table.place(name).and_then(|at| table.numbers(at)).unwrap_err());
        assert_eq!(wanted("b"), "f.csv, line 2, column `b`: expected a number, got `x`");
        assert_eq!(wanted("c"), "f.csv, column `c`: expected numbers, got only missing values");
        let mixed = "f.csv, line 3, column `d`: expected a finite number or a missing value, got `inf`";
        assert_eq!(wanted("d"), mixed);
        assert_eq!(wanted("e"), "f.csv, line 1: expected a column named `e`, got `a`, `b`, `c`, `d`");
    }

    #[test]
    fn fields_are_separated_by_what_the_header_has() {
        for text in ["a;b\n1;2\n", "a\tb\n1\t2\n", "a,b\n1,2\n"] {
            let table = parse(text).unwrap();
            assert_eq!(table.columns[1].cells, Cells::Numbers(vec![Some(2.0)]), "{text}");
        }
        assert_eq!(parse("a;b\n1,5;2\n").unwrap().columns[0].cells, Cells::Numbers(vec![Some(1.5)]));
        let table = Table::parse("f.tsv", "a,x\tb\n1\t2\n", Some(b'\t')).unwrap();
        assert_eq!(table.columns[0].name, "a,x");
    }

    #[test]
    fn names_with_commas_and_blanks_can_be_given() {
        let table = parse("\"temp, C\",air  temp,\"say \"\"hi\"\"\"\n1,2,3\n").unwrap();
        let named = |text: &str| table.named(&[text.to_string()]).unwrap();
        assert_eq!(named("temp, C"), ["temp, C"]);
        assert_eq!(named("air  temp,\"temp, C\""), ["air  temp", "temp, C"]);
        assert_eq!(named("say \"hi\""), ["say \"hi\""]);
        assert_eq!(table.named(&["a".into(), "b,c".into()]).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn errors_name_file_and_line() {
        assert_eq!(error("a,b\n1,2\n3\n"), "f.csv, line 3: expected 2 fields, got 1");
        assert_eq!(error("1,2\n3,4\n"), "f.csv, line 1: expected a header row with column names, got `1,2`");
        assert_eq!(error("a,a\n1,2\n"), "f.csv, line 1: expected every column name once, got `a` again");
        assert_eq!(error("a,b\n"), "f.csv: expected rows of numbers below the header, got none");
    }
}
