//! What `compare` measured: the one structure behind `report/results.json`, the page and the printed summary.

pub mod study;

use study::{FEWEST, Verdict};

use crate::base::stats::{median, sorted};

use serde::{Deserialize, Deserializer, Serialize};
use wgpu_rnn::Device;

/// Everything one `compare` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Version of wgpu-rnn that measured.
    pub version: String,
    /// UTC date of the measurement, `YYYY-MM-DD`.
    pub date: String,
    /// The command line that was run.
    pub command: String,
    /// Where it ran.
    pub device: DeviceUsed,
    /// What it ran on.
    pub data: DataUsed,
    /// Seed of weights and batches, or the first of so many.
    pub seed: u64,
    #[serde(default = "one")]
    pub seeds: usize,
    /// Batch size B, steps T, input size I of every run.
    pub batch: usize,
    /// Steps T of one sequence.
    pub steps: usize,
    /// Input size I.
    pub input: usize,
    /// Name of the error, such as `mean absolute error` or `bits per character`.
    pub error_name: String,
    /// Unit of the error, such as `°F` or `bits`; may be empty.
    pub error_unit: String,
    /// What training minimises, with its unit.
    #[serde(default)]
    pub loss_name: String,
    /// What the naive forecast is, in words.
    pub naive_name: String,
    /// Validation error of the naive forecast.
    #[serde(deserialize_with = "number")]
    pub naive_error: f64,
    /// Two runs a cell: at equal hidden size, and at equal parameter count.
    pub runs: Vec<Run>,
    /// Common claims with what was measured.
    pub claims: Vec<Claim>,
    /// A stretch of validation data: truth and each run's forecast.
    pub forecast: Option<Forecast>,
}

/// The device and why it was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceUsed {
    /// Name of the adapter or of the processor.
    pub name: String,
    /// `gpu`, `software` or `cpu`.
    pub kind: String,
    /// Backend or executor, such as `Vulkan` or `native, 2 threads`.
    pub backend: String,
    /// Why this one.
    pub why: String,
}

impl DeviceUsed {
    pub fn of(device: &Device) -> Self {
        let (name, kind) = (device.name(), device.kind_name().to_string());
        Self { name, kind, backend: device.backend(), why: device.why().to_string() }
    }
}

/// The data and what was done to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataUsed {
    /// Short name.
    pub name: String,
    /// What is predicted from what.
    pub task: String,
    /// Counts and repairs, one sentence each.
    pub notes: Vec<String>,
    /// Training sequences (or characters).
    pub train: usize,
    /// Validation sequences (or characters).
    pub validation: usize,
}

/// One trained network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// `RNN`, `GRU` or `LSTM`.
    pub cell: String,
    /// `equal hidden size` or `equal parameters`.
    pub group: String,
    /// Hidden size H.
    pub hidden: usize,
    /// Gates G.
    pub gates: usize,
    /// Parameters of the recurrent layer, counted from its tensors.
    pub parameters: usize,
    /// The formula with its numbers filled in, such as `4·(32·8 + 32·32 + 2·32)`.
    pub formula: String,
    /// What the formula gives.
    pub parameters_by_formula: usize,
    /// Parameters of the whole model with its head (and embedding).
    pub model_parameters: usize,
    /// Bytes of the recurrent layer's weights.
    pub weight_bytes: u64,
    /// Bytes of the reserve as allocated.
    pub reserve_bytes: u64,
    /// Bytes of the reserve as predicted.
    pub reserve_predicted: u64,
    /// Bytes of the workspace as allocated.
    pub workspace_bytes: u64,
    /// Bytes of the workspace as predicted.
    pub workspace_predicted: u64,
    /// One forward pass of the whole model, milliseconds.
    pub forward_ms: Spread,
    /// One training step (forward, backward, clip, update), milliseconds.
    pub step_ms: Spread,
    /// Training throughput from the median step.
    #[serde(deserialize_with = "number")]
    pub sequences_per_second: f64,
    /// Training steps taken; where seeds differ, the fewest.
    pub training_steps: usize,
    /// Training curve of the first seed.
    pub curve: Vec<Point>,
    /// Best validation error; with several seeds, their mean.
    #[serde(deserialize_with = "number")]
    pub validation_error: f64,
    /// Best validation error of each seed.
    #[serde(default, deserialize_with = "numbers")]
    pub errors: Vec<f64>,
    /// Why training ended early, if one of them did.
    pub stopped: Option<String>,
}

impl Run {
    /// Whether there are enough seeds to show anything, and none went wrong.
    pub fn counts(&self) -> bool {
        self.errors.len() >= FEWEST && self.stopped.is_none()
    }

    /// Whether it is shown to err less than this other: every seed less than every seed of the other.
    pub fn beats(&self, other: &Self) -> bool {
        self.counts() && other.counts() && Verdict::below(&self.errors, &other.errors) == Verdict::Held
    }
}

/// Median and spread of a repeated measurement.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Median.
    #[serde(deserialize_with = "number")]
    pub median: f64,
    /// Smallest.
    #[serde(deserialize_with = "number")]
    pub min: f64,
    /// Largest.
    #[serde(deserialize_with = "number")]
    pub max: f64,
    /// An interval that holds the true median with at least 95 % confidence, whatever the distribution: two of the measured
    /// values.
    #[serde(deserialize_with = "number", default = "unknown")]
    pub low: f64,
    #[serde(deserialize_with = "number", default = "unknown")]
    pub high: f64,
    /// How many were measured.
    pub runs: usize,
}

fn one() -> usize {
    1
}

fn unknown() -> f64 {
    f64::NAN
}

impl Spread {
    /// Of measured values, at least one.
    pub fn of(values: Vec<f64>) -> Self {
        let values = sorted(values.into_iter());
        let (first, last) = (values.first().copied().unwrap_or(f64::NAN), values.last().copied().unwrap_or(f64::NAN));
        let interval = of_median(values.len()).map(|(low, high)| (values[low], values[high]));
        let (low, high) = interval.unwrap_or((f64::NAN, f64::NAN));
        Self { median: median(&values), min: first, max: last, low, high, runs: values.len() }
    }
}

/// The places of those two of so many ascending values between which the median lies in at least 95 of 100 cases; none where
/// there are too few. How many values are below it is a matter of coins.
fn of_median(count: usize) -> Option<(usize, usize)> {
    let mut chance = 0.5f64.powi(i32::try_from(count).ok()?);
    let mut below = 0.0;
    let mut low = None;
    for place in 0..count / 2 {
        below += chance;
        if below > 0.025 {
            break;
        }
        low = Some(place);
        chance *= (count - place) as f64 / (place + 1) as f64;
    }
    low.map(|low| (low, count - 1 - low))
}

/// One point of a training curve.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Training step, from 0.
    pub step: usize,
    /// Loss of the last batch that was trained on, which training minimises: the mean square error or twice the quantile loss
    /// of standardised values, or bits.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// The same loss over validation data.
    #[serde(deserialize_with = "number", default = "unknown")]
    pub validation_loss: f64,
    /// Validation error at this step.
    #[serde(deserialize_with = "number")]
    pub validation_error: f64,
}

/// A common claim and whether it held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The claim as people say it.
    pub claim: String,
    /// One sentence with the measured numbers.
    pub measured: String,
    /// The measured ratio GRU / LSTM.
    #[serde(deserialize_with = "number")]
    pub ratio: f64,
    /// What became of it here.
    pub verdict: Verdict,
}

/// A stretch of validation data with every run's forecast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// Label of the value axis, such as `temperature (°F)`.
    pub label: String,
    /// Time labels, one a value.
    pub times: Vec<String>,
    /// The truth.
    #[serde(deserialize_with = "numbers")]
    pub truth: Vec<f64>,
    /// The naive forecast.
    #[serde(deserialize_with = "numbers")]
    pub naive: Vec<f64>,
    /// A forecast of each run: name, values.
    #[serde(deserialize_with = "named_numbers")]
    pub predictions: Vec<(String, Vec<f64>)>,
}

/// JSON has no word for a number that is not finite: `null` is written for it and read as not-a-number.
pub fn number<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or(f64::NAN))
}

/// As [`number`], for a list.
fn numbers<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<f64>, D::Error> {
    Ok(finite_or_nan(Vec::deserialize(source)?))
}

/// As [`number`], for lists with names.
fn named_numbers<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<(String, Vec<f64>)>, D::Error> {
    let named = Vec::<(String, Vec<Option<f64>>)>::deserialize(source)?;
    Ok(named.into_iter().map(|(name, values)| (name, finite_or_nan(values))).collect())
}

fn finite_or_nan(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_median_is_between_two_values() {
        assert_eq!(
            [of_median(5), of_median(6), of_median(15), of_median(100)],
            [None, Some((0, 5)), Some((3, 11)), Some((39, 60))]
        );
        let spread = Spread::of((1..=15).map(f64::from).collect());
        assert_eq!((spread.median, spread.low, spread.high, spread.min, spread.max), (8.0, 4.0, 12.0, 1.0, 15.0));
        assert!(Spread::of(vec![1.0; 3]).low.is_nan());
    }
}
