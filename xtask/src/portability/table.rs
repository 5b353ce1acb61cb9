//! What the parts found, as a table.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

/// What a part found.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// Compilations or tests.
    pub done: usize,
    /// How many of them failed.
    pub failed: usize,
}

/// A part's line of the table.
pub struct Row {
    pub part: String,
    found: Found,
}

enum Found {
    Done(Outcome, Duration),
    /// It could not be run.
    Error(String, Duration),
    LeftOut(&'static str),
}

impl Row {
    /// What came of a part.
    pub fn of(part: String, outcome: Result<Outcome>, took: Duration) -> Self {
        let found = match outcome {
            Ok(outcome) => Found::Done(outcome, took),
            Err(error) => Found::Error(format!("{error:#}"), took),
        };
        Self { part, found }
    }

    /// A part that was not run.
    pub fn left_out(part: String, why: &'static str) -> Self {
        Self { part, found: Found::LeftOut(why) }
    }

    /// Whether something failed in it, or nothing was done at all.
    pub fn failed(&self) -> bool {
        match &self.found {
            Found::Done(outcome, _) => outcome.failed > 0 || outcome.done == 0,
            Found::Error(..) => true,
            Found::LeftOut(_) => false,
        }
    }
}

/// The table: part, compilations or tests, failures, seconds.
pub fn format(rows: &[Row]) -> String {
    let mut lines = vec![format!("{:<12} {:>8} {:>8} {:>8}", "part", "done", "failed", "seconds")];
    lines.extend(rows.iter().map(|row| match &row.found {
        Found::Done(Outcome { done, failed }, took) => {
            format!("{:<12} {done:>8} {failed:>8} {:>8.1}", row.part, took.as_secs_f64())
        }
        Found::Error(why, took) => {
            format!("{:<12} {:>8} {:>8} {:>8.1}  {why}", row.part, "-", "FAILED", took.as_secs_f64())
        }
        Found::LeftOut(why) => format!("{:<12} {:>8} {:>8} {:>8}  {why}", row.part, "-", "-", "-"),
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_or_did_nothing_is_a_failure() {
        let row = |done, failed| Row::of("dxc".to_string(), Ok(Outcome { done, failed }), Duration::from_secs(2));
        assert!(!row(3, 0).failed());
        assert!(row(3, 1).failed() && row(0, 0).failed());
        let error = Row::of("dxc".to_string(), Err(anyhow::anyhow!("no pip")), Duration::from_secs(2));
        let left_out = Row::left_out("tint".to_string(), "not asked for");
        assert!(error.failed() && !left_out.failed());
        let table = format(&[row(3, 1), error, left_out]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["dxc", "3", "1", "2.0"]);
        assert_eq!(lines[2], ["dxc", "-", "FAILED", "2.0", "no", "pip"]);
        assert_eq!(lines[3], ["tint", "-", "-", "-", "not", "asked", "for"]);
    }
}
