//! Labelled sequences of unequal lengths, from a `.ts` file: after a head of `@` lines a sequence on each line, its
//! dimensions between colons, the values of each between commas, the class, if it is known, last.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::gaps;
use super::table::is_missing;
use crate::base::numbers::plural;

/// Recordings that became sequences of numbers.
#[derive(Clone, Debug)]
pub struct Utterances {
    /// Short name, for a report.
    pub name: String,
    /// The classes, in the file's order; none where it does not know them.
    pub classes: Vec<String>,
    /// Numbers of a step.
    pub width: usize,
    pub all: Vec<Utterance>,
    /// What was repaired, one sentence each.
    pub notes: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Utterance {
    /// `[T, width]`.
    pub values: Vec<f64>,
    /// Place of its class, if it is known.
    pub class: Option<u32>,
}

const TRAIN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/japanese-vowels-train.ts"));
const TEST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/japanese-vowels-test.ts"));
/// Names of the bundled recordings.
pub const NAME: &str = "japanese-vowels-train.ts";
const TEST_NAME: &str = "japanese-vowels-test.ts";

/// The bundled recordings to train on.
pub fn bundled() -> Result<Utterances> {
    Utterances::parse(NAME, TRAIN)
}

/// The bundled recordings to test on.
pub fn bundled_test() -> Result<Utterances> {
    Utterances::parse(TEST_NAME, TEST)
}

/// A file of one's own.
pub fn load(path: &Path) -> Result<Utterances> {
    let mut all = Utterances::parse(&path.display().to_string(), &super::read_utf8(path)?)?;
    all.name = super::short_name(path);
    Ok(all)
}

impl Utterances {
    /// Reads the text of a file; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let (mut classes, mut width) = (None, None);
        loop {
            let Some((number, line)) = lines.next() else { bail!("{file}: expected a line `@data`, got none") };
            let mut words = line.split_whitespace();
            match words.next().map(str::to_ascii_lowercase).as_deref() {
                Some("@data") => break,
                Some("@classlabel") => {
                    let labelled = words.next().is_some_and(|word| word.eq_ignore_ascii_case("true"));
                    let named: Vec<String> = words.map(str::to_string).collect();
                    ensure!(
                        labelled != named.is_empty(),
                        "{file}, line {number}: expected `@classLabel true` and the classes, or `@classLabel false`"
                    );
                    if let Some(twice) = named.iter().enumerate().find(|(at, name)| named[..*at].contains(name)) {
                        bail!("{file}, line {number}: expected every class once, got `{}` again", twice.1);
                    }
                    classes = Some(named);
                }
                Some("@dimension" | "@dimensions") => {
                    let count = words.next().and_then(|word| word.parse().ok()).filter(|count| *count > 0);
                    let expected = || format!("{file}, line {number}: expected `@dimensions` and how many there are");
                    width = Some(count.with_context(expected)?);
                }
                Some("@timestamps") => {
                    let stamped = words.next().is_some_and(|word| word.eq_ignore_ascii_case("true"));
                    ensure!(!stamped, "{file}, line {number}: expected values without time stamps");
                }
                Some(word) if word.starts_with('@') => {}
                _ => bail!("{file}, line {number}: expected a line that begins with `@` before `@data`"),
            }
        }
        let classes = classes.with_context(|| {
            format!("{file}: expected a line `@classLabel true` and the classes, or `@classLabel false`")
        })?;
        let mut all = Vec::new();
        // Missing values, and sequences that have some.
        let mut filled = (0, 0);
        for (number, line) in lines {
            let at = || format!("{file}, line {number}");
            let (dimensions, class) = match classes.is_empty() {
                true => (line, None),
                false => {
                    let labelled = line.rsplit_once(':').with_context(|| format!("{}: expected a class", at()))?;
                    let (dimensions, label) = (labelled.0, labelled.1.trim());
                    let class = (0..).zip(&classes).find(|(_, class)| *class == label).map(|(place, _)| place);
                    let class = class.with_context(|| {
                        format!("{}: expected one of the classes {}, got `{label}`", at(), classes.join(", "))
                    })?;
                    (dimensions, Some(class))
                }
            };
            let columns: Vec<Vec<Option<f64>>> =
                dimensions.split(':').map(numbers).collect::<Result<_>>().with_context(at)?;
            let (wide, steps) = (columns.len(), columns[0].len());
            let expected = *width.get_or_insert(wide);
            ensure!(wide == expected, "{}: expected {expected} dimensions, got {wide}", at());
            if let Some(column) = columns.iter().find(|column| column.len() != steps) {
                bail!("{}: expected {steps} values in every dimension, got {}", at(), column.len());
            }
            let missing = columns.iter().flatten().filter(|value| value.is_none()).count();
            filled = (filled.0 + missing, filled.1 + usize::from(missing > 0));
            let columns: Vec<Vec<f64>> = columns.iter().map(|column| gaps::carry(column)).collect();
            let values = (0..steps).flat_map(|step| columns.iter().map(move |column| column[step])).collect();
            all.push(Utterance { values, class });
        }
        let width = width.filter(|_| !all.is_empty());
        let width = width.with_context(|| format!("{file}: expected sequences after `@data`, got none"))?;
        let notes = match filled {
            (0, _) => Vec::new(),
            (values, sequences) => vec![format!(
                "{} in {} took the last known value of their dimension, or 0 where there is none.",
                plural(values, "missing value"),
                plural(sequences, "sequence")
            )],
        };
        Ok(Self { name: file.to_string(), classes, width, all, notes })
    }
}

impl Utterance {
    /// Steps T.
    pub fn steps(&self, width: usize) -> usize {
        self.values.len() / width
    }
}

fn numbers(dimension: &str) -> Result<Vec<Option<f64>>> {
    let number = |field: &str| {
        let field = field.trim();
        let value = field.parse().ok().filter(|value: &f64| value.is_finite());
        match value {
            None if is_missing(field) => Ok(None),
            None => bail!("expected a finite number or a missing value, got `{field}`"),
            value => Ok(value),
        }
    };
    dimension.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# two speakers\n@problemName x\n@timeStamps false\n@classLabel true ann bob\n@data\n";

    fn error(text: &str) -> String {
        format!("{:#}", Utterances::parse("f.ts", text).unwrap_err())
    }

    #[test]
    fn reads_steps_of_all_dimensions() {
        let read = Utterances::parse("f.ts", &format!("{HEAD}1,2,3:4,5,6:bob\n\n7:8:ann\n")).unwrap();
        assert_eq!((read.classes.len(), read.width), (2, 2));
        assert_eq!(read.all[0], Utterance { values: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0], class: Some(1) });
        assert_eq!((read.all[1].steps(2), read.all[1].class), (1, Some(0)));
        let read = Utterances::parse("f.ts", "@classLabel false\n@data\n1,2:3,4\n").unwrap();
        assert_eq!(
            (read.all, read.classes),
            (vec![Utterance { values: vec![1.0, 3.0, 2.0, 4.0], class: None }], vec![])
        );
    }

    #[test]
    fn every_error_says_where_and_what() {
        assert_eq!(error("@problemName x\n"), "f.ts: expected a line `@data`, got none");
        assert_eq!(error("1,2\n"), "f.ts, line 1: expected a line that begins with `@` before `@data`");
        let classes = "expected a line `@classLabel true` and the classes, or `@classLabel false`";
        assert_eq!(error("@data\n1:a\n"), format!("f.ts: {classes}"));
        let none = "f.ts, line 1: expected `@classLabel true` and the classes, or `@classLabel false`";
        assert_eq!(error("@classLabel true\n@data\n"), none);
        assert_eq!(error("@classLabel false a b\n@data\n"), none);
        assert_eq!(error(HEAD), "f.ts: expected sequences after `@data`, got none");
        let with = |line: &str| error(&format!("{HEAD}1,2:3,4:ann\n{line}\n"));
        assert_eq!(with("1"), "f.ts, line 7: expected a class");
        assert_eq!(with("1,2:3,4:eve"), "f.ts, line 7: expected one of the classes ann, bob, got `eve`");
        assert_eq!(with("1,2:ann"), "f.ts, line 7: expected 2 dimensions, got 1");
        let said = Utterances::parse("f.ts", "@dimensions 2\n@classLabel true ann\n@data\n1:2:3:ann\n1:2:ann\n");
        assert_eq!(said.unwrap_err().to_string(), "f.ts, line 4: expected 2 dimensions, got 3");
        let said = Utterances::parse("f.ts", "@dimensions two\n@classLabel true ann\n@data\n1:2:ann\n");
        assert_eq!(said.unwrap_err().to_string(), "f.ts, line 1: expected `@dimensions` and how many there are");
        assert_eq!(with("1,2:3:ann"), "f.ts, line 7: expected 2 values in every dimension, got 1");
        assert_eq!(with("1,x:3,4:ann"), "f.ts, line 7: expected a finite number or a missing value, got `x`");
        assert_eq!(with("1,inf:3,4:ann"), "f.ts, line 7: expected a finite number or a missing value, got `inf`");
        let twice = error("@classLabel true 0 0 1\n@data\n1:0\n");
        assert_eq!(twice, "f.ts, line 1: expected every class once, got `0` again");
    }

    #[test]
    fn what_is_not_known_takes_the_last_value_and_is_told() {
        let read = Utterances::parse("f.ts", &format!("{HEAD}?,2,NaN:4,?,?:bob\n7:?:ann\n1:2:ann\n")).unwrap();
        assert_eq!(read.all[0].values, [2.0, 4.0, 2.0, 4.0, 2.0, 4.0]);
        assert_eq!(read.all[1].values, [7.0, 0.0]);
        let note =
            "5 missing values in 2 sequences took the last known value of their dimension, or 0 where there is none.";
        assert_eq!(read.notes, [note]);
    }

    /// The numbers of utterances are those that the authors published.
    #[test]
    fn the_bundled_recordings_are_whole() {
        let (train, test) = (bundled().unwrap(), bundled_test().unwrap());
        for all in [&train, &test] {
            assert_eq!((all.classes.len(), all.width), (9, 12));
            let steps: Vec<usize> = all.all.iter().map(|one| one.steps(12)).collect();
            assert_eq!(steps.iter().min(), Some(&7));
            assert_eq!(steps.iter().max(), Some(if all.name == NAME { &26 } else { &29 }));
        }
        let count = |all: &Utterances| -> Vec<usize> {
            (0..9).map(|class| all.all.iter().filter(|one| one.class == Some(class)).count()).collect()
        };
        assert_eq!(count(&train), [30; 9]);
        assert_eq!(count(&test), [31, 35, 88, 44, 29, 24, 40, 50, 29]);
    }
}
