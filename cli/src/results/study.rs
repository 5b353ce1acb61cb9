//! What `compare --claims` measured.

use serde::{Deserialize, Serialize};

use super::{DeviceUsed, Point, Spread, number};
use crate::base::stats::{median, sorted};

/// The fewest seeds that show anything.
pub const FEWEST: usize = 3;

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Study {
    /// Version of wgpu-rnn that measured.
    pub version: String,
    /// UTC date, `YYYY-MM-DD`.
    pub date: String,
    pub command: String,
    pub device: DeviceUsed,
    /// Seeds of each cell on each problem.
    pub seeds: usize,
    /// The cells at equal parameters, problem by problem, short lags first, real data last.
    pub measured: Vec<Measured>,
    /// What the cells cost at equal hidden size on the first of the real data.
    pub equal_hidden: Vec<OfCell>,
    pub claims: Vec<Weighed>,
}

/// One problem.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub name: String,
    /// What is wanted, in words.
    pub task: String,
    /// The lag of a made problem.
    pub lag: Option<usize>,
    /// Steps T of a sequence and sequences B of a batch.
    pub steps: usize,
    pub batch: usize,
    pub error_name: String,
    pub error_unit: String,
    /// The naive answer, in words, and its error.
    pub naive_name: String,
    pub naive_error: f64,
    /// The validation error at which it counts as learnt and training ends.
    pub learnt_below: Option<f64>,
    /// Training steps that it may take, over which Adam's learning rate falls from this.
    pub updates: usize,
    pub rate: f64,
    /// The fingerprint of real data.
    pub data: Option<u32>,
    /// What is forecast of real data and how that is seen and judged.
    #[serde(default)]
    pub goals: Option<String>,
    pub cells: Vec<OfCell>,
}

/// One cell on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfCell {
    /// `RNN`, `GRU` or `LSTM`.
    pub cell: String,
    /// Hidden size H.
    pub hidden: usize,
    /// Parameters of the recurrent layer.
    pub parameters: usize,
    /// Weights, reserve and workspace of the recurrent layer in training.
    pub memory_bytes: u64,
    /// One forward pass, and one training step, of the whole model, in milliseconds.
    pub forward_ms: Spread,
    pub step_ms: Spread,
    /// One for each seed.
    pub trials: Vec<Trial>,
}

/// One training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub seed: u64,
    /// Training steps until it was learnt, if it was.
    pub learnt_after: Option<usize>,
    /// Training steps made.
    pub updates: usize,
    /// Best validation error.
    #[serde(deserialize_with = "number")]
    pub error: f64,
    /// By the clock, with validation.
    pub seconds: f64,
    pub curve: Vec<Point>,
    /// Why it ended early, if something went wrong.
    pub stopped: Option<String>,
}

/// A common claim and what became of it here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Weighed {
    /// As people say it.
    pub claim: String,
    pub verdict: Verdict,
    /// The measured numbers.
    pub measured: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Held,
    DidNotHold,
    NotShown,
}

impl Verdict {
    pub fn title(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::DidNotHold => "did not hold",
            Self::NotShown => "not shown here",
        }
    }

    /// With a sign, for those who look for one.
    pub fn marked(self) -> String {
        let mark = match self {
            Self::Held => "✓",
            Self::DidNotHold => "✗",
            Self::NotShown => "–",
        };
        format!("{mark} {}", self.title())
    }

    /// Its class in a page's style.
    pub fn class(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::DidNotHold => "failed",
            Self::NotShown => "open",
        }
    }

    /// Whether what was measured of `less` is below what was measured of `more`, or the other way round: where the intervals
    /// of their medians do not overlap.
    pub fn faster(less: &Spread, more: &Spread) -> Self {
        Self::below(&[less.low, less.high], &[more.low, more.high])
    }

    /// Whether all of `less` are below all of `more`, or the other way round. Of `n` values each that are alike, one or the
    /// other comes about once in `C(2n, n) / 2` times.
    pub fn below(less: &[f64], more: &[f64]) -> Self {
        let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |all: &[f64]| all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match () {
            () if less.is_empty() || more.is_empty() || less.iter().chain(more).any(|x| x.is_nan()) => Self::NotShown,
            () if most(less) < least(more) => Self::Held,
            () if least(less) > most(more) => Self::DidNotHold,
            () => Self::NotShown,
        }
    }

    /// One verdict of several: theirs, where they agree.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let mut verdicts = verdicts.into_iter();
        let first = verdicts.next().unwrap_or(Self::NotShown);
        if verdicts.all(|one| one == first) { first } else { Self::NotShown }
    }
}

impl Measured {
    pub fn of(&self, cell: &str) -> Option<&OfCell> {
        self.cells.iter().find(|one| one.cell == cell)
    }

    /// Of each training that went wrong, which and why.
    pub fn stopped(&self) -> Vec<String> {
        let of = |cell: &OfCell| {
            let why = |trial: &Trial| {
                let lag = self.lag.map_or_else(String::new, |lag| format!(" {lag}"));
                Some(format!("{} on {}{lag}, seed {}: {}", cell.cell, self.name, trial.seed, trial.stopped.as_ref()?))
            };
            cell.trials.iter().filter_map(why).collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(of).collect()
    }
}

impl OfCell {
    pub fn errors(&self) -> Vec<f64> {
        self.trials.iter().map(|trial| trial.error).collect()
    }

    /// Training steps of the seeds that learnt it.
    pub fn learnt(&self) -> Vec<f64> {
        self.trials.iter().filter_map(|trial| trial.learnt_after).map(|steps| steps as f64).collect()
    }

    /// Whether there are enough seeds to show anything, and none went wrong.
    pub fn counts(&self) -> bool {
        self.trials.len() >= FEWEST && self.trials.iter().all(|trial| trial.stopped.is_none())
    }

    /// Whether every seed learnt it, or none; neither where some did, and where the trainings don't count.
    pub fn all_or_none(&self) -> Option<bool> {
        match self.learnt().len() {
            _ if !self.counts() => None,
            0 => Some(false),
            count if count == self.trials.len() => Some(true),
            _ => None,
        }
    }
}

/// The made problems, each with its lags.
pub fn made(measured: &[Measured]) -> Vec<(&str, Vec<&Measured>)> {
    let with_lag: Vec<&Measured> = measured.iter().filter(|one| one.lag.is_some()).collect();
    with_lag.chunk_by(|a, b| a.name == b.name).map(|all| (all[0].name.as_str(), all.to_vec())).collect()
}

/// What seeds gave.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    pub mean: f64,
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Seeds {
    /// None where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let values = sorted(values.iter().copied());
        let (least, most) = (*values.first()?, *values.last()?);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self { mean, median: median(&values), least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_overlap_show_nothing() {
        assert_eq!(Verdict::below(&[1.0, 2.0], &[2.5, 9.0]), Verdict::Held);
        assert_eq!(Verdict::below(&[2.5, 9.0], &[1.0, 2.0]), Verdict::DidNotHold);
        assert_eq!(Verdict::below(&[1.0, 3.0], &[2.0, 4.0]), Verdict::NotShown);
        assert_eq!(Verdict::below(&[1.0], &[1.0]), Verdict::NotShown);
        assert_eq!(Verdict::below(&[], &[1.0]), Verdict::NotShown);
        assert_eq!(Verdict::below(&[f64::NAN], &[1.0]), Verdict::NotShown);
        assert_eq!(Verdict::all([Verdict::Held, Verdict::Held]), Verdict::Held);
        assert_eq!(Verdict::all([Verdict::Held, Verdict::DidNotHold]), Verdict::NotShown);
        assert_eq!(Verdict::all([]), Verdict::NotShown);
    }
}
