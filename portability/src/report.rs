//! What a part found.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

/// Failures of one kind that are printed; the rest are counted.
const SHOWN: usize = 3;

/// What a part found.
#[derive(Default)]
pub struct Report {
    done: usize,
    /// Names and reasons, by kind.
    failures: BTreeMap<String, Vec<String>>,
}

/// The last line of a part's output.
#[derive(Serialize)]
struct Summary {
    done: usize,
    failed: usize,
}

impl Report {
    /// Counts one compilation of a kind.
    pub fn add(&mut self, kind: &str, name: &str, result: Result<(), String>) {
        self.done += 1;
        if let Err(why) = result {
            self.failures.entry(kind.to_string()).or_default().push(format!("{name}: {why}"));
        }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.done += other.done;
        for (kind, failures) in other.failures {
            self.failures.entry(kind).or_default().extend(failures);
        }
        self
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.failures.values().map(Vec::len).sum()
    }

    /// Prints the failures and the summary; the code is a failure's unless there were some compilations and all passed.
    pub fn print(&self) -> Result<ExitCode> {
        for (kind, failures) in &self.failures {
            println!("{kind}: {} failed", failures.len());
            for failure in failures.iter().take(SHOWN) {
                println!("  {}", failure.trim_end().replace('\n', "\n    "));
            }
        }
        println!("{}", serde_json::to_string(&Summary { done: self.done, failed: self.failed() })?);
        let passed = self.failed() == 0 && self.done > 0;
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
