//! What a doctor finds: checks with their verdicts, and measurements with their units.

use std::collections::BTreeMap;

use wgpu_rnn::gpu::Compilation;

/// What a check came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Pass,
    /// Why, as a clause.
    Fail(String),
    /// It was not run here, and why, as a clause.
    Skip(String),
}

/// How far a result is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Off {
    pub error: f64,
    pub bound: f64,
}

impl Off {
    /// Error as a share of its bound.
    pub fn share(self) -> f64 {
        self.error / self.bound
    }
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it belongs to, a row of the table.
    pub group: String,
    pub name: String,
    pub verdict: Verdict,
    /// Of the result that is furthest off.
    pub off: Option<Off>,
    /// How long it took, compiling included.
    pub ms: f64,
}

impl Check {
    /// One that failed without a result.
    pub fn failed(group: &str, name: &str, why: String) -> Self {
        let verdict = Verdict::Fail(why);
        Self { group: group.to_string(), name: name.to_string(), verdict, off: None, ms: 0.0 }
    }
}

/// A measured number.
#[derive(Clone, Debug)]
pub struct Measure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
}

/// All shaders of one kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    pub shaders: usize,
    pub ms: f64,
    pub slowest_ms: f64,
}

/// All checks of a group.
pub struct Group<'a> {
    pub name: &'a str,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub worst: Option<Off>,
    pub ms: f64,
}

/// Everything that was found.
#[derive(Default)]
pub struct Findings {
    /// What was examined, name by name.
    pub about: Vec<(&'static str, String)>,
    pub checks: Vec<Check>,
    pub compiled: BTreeMap<String, Compiled>,
    pub measures: Vec<Measure>,
    /// Lines of the comparison with other libraries.
    pub peers: Vec<String>,
}

impl Findings {
    pub fn measure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.measures.push(Measure { name: name.into(), value, unit });
    }

    /// Counts what was compiled by kernel.
    pub fn compiled(&mut self, all: &[Compilation]) {
        for one in all {
            let of = self.compiled.entry(one.kernel.clone()).or_default();
            of.shaders += 1;
            of.ms += one.ms;
            of.slowest_ms = of.slowest_ms.max(one.ms);
        }
    }

    /// Passed, failed, skipped.
    pub fn counts(&self) -> [usize; 3] {
        let count = |is: &dyn Fn(&Verdict) -> bool| self.checks.iter().filter(|check| is(&check.verdict)).count();
        [
            count(&|verdict| *verdict == Verdict::Pass),
            count(&|verdict| matches!(verdict, Verdict::Fail(_))),
            count(&|verdict| matches!(verdict, Verdict::Skip(_))),
        ]
    }

    /// Every failure, `group: name: why`.
    pub fn failures(&self) -> Vec<String> {
        let failed = |check: &Check| match &check.verdict {
            Verdict::Fail(why) => Some(format!("{}: {}: {why}", check.group, check.name)),
            _ => None,
        };
        self.checks.iter().filter_map(failed).collect()
    }

    /// What was not run and why, with the number of checks each.
    pub fn skipped(&self) -> Vec<(String, usize)> {
        let mut reasons: Vec<(String, usize)> = Vec::new();
        for check in &self.checks {
            let Verdict::Skip(why) = &check.verdict else { continue };
            let reason = format!("{}: {why}", check.group);
            match reasons.iter_mut().find(|(found, _)| *found == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        reasons
    }

    /// Group by group, in the order of their first checks.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for check in &self.checks {
            if !groups.iter().any(|group| group.name == check.group) {
                let name = check.group.as_str();
                groups.push(Group { name, passed: 0, failed: 0, skipped: 0, worst: None, ms: 0.0 });
            }
            let Some(group) = groups.iter_mut().find(|group| group.name == check.group) else { continue };
            match check.verdict {
                Verdict::Pass => group.passed += 1,
                Verdict::Fail(_) => group.failed += 1,
                Verdict::Skip(_) => group.skipped += 1,
            }
            group.ms += check.ms;
            if check.off.is_some_and(|off| group.worst.is_none_or(|worst| off.share() > worst.share())) {
                group.worst = check.off;
            }
        }
        groups
    }
}

impl Group<'_> {
    pub fn verdict(&self) -> &'static str {
        match (self.failed, self.passed) {
            (0, 0) => "SKIP",
            (0, _) => "PASS",
            _ => "FAIL",
        }
    }

    /// The worst error and its bound, or a dash.
    pub fn worst(&self) -> String {
        self.worst.map_or_else(|| "-".to_string(), |off| format!("{:.1e} of {:.0e}", off.error, off.bound))
    }
}
