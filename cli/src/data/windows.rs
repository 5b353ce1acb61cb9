//! The forecasting task: from the last `steps` rows of a series, its targets so many rows ahead, all at once.
//!
//! The split is by time. The first four fifths of the rows are for training, and no training window or target reaches beyond
//! them; validation windows start after the last training target. No window crosses a cut of the series. Everything that
//! inputs are scaled by is measured on the training part only.
//!
//! What the network learns of each target at each horizon is the *change* from the last known value, divided by what is usual
//! for it over the training windows. A network that always answers 0 is then exactly the naive forecast “no change”, with a
//! mean square loss of 1, and everything below 1 is learnt. How a network sees a window is its [`View`].

use crate::base::numbers::{are, plural};

use super::moments::moments;
use super::series::Series;
use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How many of ten rows, from the beginning, are for training.
pub const TRAIN_TENTHS: usize = 8;

/// The shape of the task.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Rows that a window shows, at least 1.
    pub steps: usize,
    /// Rows from the window's last one to each forecast one, at least one of them.
    pub horizons: Vec<usize>,
    /// Windows in a batch; there must be enough training windows for one.
    pub batch: usize,
}

impl Shape {
    /// Rows that a window shows and the rows up to the farthest one that is forecast.
    fn reach(&self) -> usize {
        self.steps.saturating_add(*self.horizons.iter().max().unwrap_or(&0))
    }

    /// The fewest rows without gaps whose two parts hold a batch of training windows and one validation window.
    fn rows_needed(&self) -> usize {
        let (reach, rest) = (self.reach(), 10 - TRAIN_TENTHS);
        // The training part is rounded down, the other up.
        let train = reach.saturating_add(self.batch - 1).saturating_mul(10).div_ceil(TRAIN_TENTHS);
        train.max((reach - 1).saturating_mul(10) / rest + 1)
    }
}

/// How a network sees the values of a window. The cycles of the calendar are seen as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Values less the training part's mean, in its deviations: for a series that stays where it is.
    Level,
    /// Distances from the window's last value, in the window's own scale: for one that wanders or grows.
    Window,
    /// Changes from row to row.
    Changes,
}

impl View {
    pub const ALL: [Self; 3] = [Self::Level, Self::Window, Self::Changes];

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Level => "values, by the mean and deviation of the training part",
            Self::Window => "distances from the window's last value, in the window's own scale",
            Self::Changes => "changes from row to row",
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Window => "window",
            Self::Changes => "changes",
        }
    }
}

/// What a network's inputs and answers are scaled by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    pub view: View,
    /// Mean of each column over the training rows.
    pub mean: Vec<f64>,
    /// Deviation of each column over the training rows; 1 where the column is constant.
    pub std: Vec<f64>,
    /// Root mean square change of each column from row to row; 1 where there is none.
    pub step: Vec<f64>,
    /// The usual scale of a window of each column: the root mean square distance from its last value.
    pub window: Vec<f64>,
    /// Root mean square change of each target over each horizon, in the target's unit: `[targets, horizons]`.
    pub usual: Vec<f64>,
    /// The same in the view's scale, which answers are multiplied by.
    pub scale: Vec<f64>,
}

impl Moments {
    /// Whether they fit so many columns and goals, as they do unless a file was tampered with.
    pub fn is_sound(&self, columns: usize, goals: usize) -> bool {
        let positive =
            |all: &[f64], len: usize| all.len() == len && all.iter().all(|one| *one > 0.0 && one.is_finite());
        self.mean.len() == columns
            && [&self.std, &self.step, &self.window].into_iter().all(|all| positive(all, columns))
            && [&self.usual, &self.scale].into_iter().all(|all| positive(all, goals))
            && goals > 0
    }
}

/// Windows over a series, known by the row they start at. What is forecast of each, a *goal*, is a target at a horizon;
/// goals are numbered target by target.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Starts of the training windows, ascending.
    pub train: Vec<usize>,
    /// Starts of the validation windows, ascending.
    pub valid: Vec<usize>,
    /// The series.
    pub series: Series,
    pub moments: Moments,
    /// Windows that are left out, since what is forecast was not measured there or the series is cut.
    lost: usize,
    shape: Shape,
}

/// A window's own scale is no smaller than this share of what is usual, so that a window that hardly moves is not blown up.
const LEAST_SCALE: f64 = 0.1;
/// With fewer validation windows an error is mostly chance.
const FEW: usize = 30;

/// The most training windows that scales are measured on.
const MEASURED: usize = 4096;

impl Windows {
    /// Splits a series and measures its training part.
    pub fn new(series: Series, shape: Shape, view: View) -> Result<Self> {
        let (name, rows, reach) = (&series.name, series.rows(), shape.reach());
        let Split { train, valid, lost } = split(&series, &shape);
        ensure!(
            train.len() >= shape.batch && !valid.is_empty(),
            "{name}: expected at least {} rows for a batch of {} windows of {} + {} rows and a validation window, got {rows} \
             rows with {} training and {} validation windows; where nets are trained --steps, --horizons and --batch ask for \
             less",
            shape.rows_needed(),
            shape.batch,
            shape.steps,
            reach - shape.steps,
            train.len(),
            valid.len()
        );
        let width = series.layout.columns.len();
        let (mean, std) = moments(&series.values[..boundary(rows) * width], width);
        let moments =
            Moments { view, mean, std, step: Vec::new(), window: Vec::new(), usual: Vec::new(), scale: Vec::new() };
        let mut all = Self { train, valid, moments, series, lost, shape };
        let or_one = |scale: f64| if scale > 0.0 && scale.is_finite() { scale } else { 1.0 };
        all.moments.step = (0..width).map(|column| or_one(all.usual_step(column))).collect();
        let windows = (0..width).map(|column| or_one(all.root_mean_square(|start| all.distance(start, column))));
        all.moments.window = windows.collect();
        for goal in 0..all.goals() {
            let change = |start: usize| all.truth(start, goal) - all.now(start, goal);
            let usual = all.root_mean_square(change);
            let target = &all.series.layout.columns[all.target(goal)];
            ensure!(
                usual.is_finite(),
                "{}, column `{target}`: expected values whose changes are finite numbers, got larger ones",
                all.series.name
            );
            ensure!(
                usual > 0.0,
                "{}, column `{target}`: expected changes in the part that is trained on, got the same value {} later every time",
                all.series.name,
                plural(all.horizon(goal), "row")
            );
            all.moments.usual.push(usual);
        }
        all.see(view);
        Ok(all)
    }

    /// Sees the windows in this way from now on.
    pub fn see(&mut self, view: View) {
        self.moments.view = view;
        self.moments.scale = match view {
            View::Level | View::Changes => self.moments.usual.clone(),
            View::Window => {
                let of = |goal: usize| {
                    let change = |start: usize| self.truth(start, goal) - self.now(start, goal);
                    self.root_mean_square(|start| change(start) / self.own_scale(start, goal))
                };
                (0..self.goals()).map(of).collect()
            }
        };
    }

    /// Splits a series that is seen as another was, which a network was trained on: a validation window is all it needs.
    pub fn known(series: Series, shape: Shape, moments: Moments) -> Result<Self> {
        let Split { train, valid, lost } = split(&series, &shape);
        ensure!(
            !valid.is_empty(),
            "{}: expected a window of {} rows and what is forecast of it in the last {} tenths, got {} rows without one",
            series.name,
            shape.steps,
            10 - TRAIN_TENTHS,
            series.rows()
        );
        Ok(Self { train, valid, moments, series, lost, shape })
    }

    /// A series of which no window is judged.
    pub fn unsplit(series: Series, shape: Shape, moments: Moments) -> Self {
        Self { train: Vec::new(), valid: Vec::new(), moments, series, lost: 0, shape }
    }

    /// The same series, standardised as it is, in windows of `steps` rows.
    pub fn with_steps(&self, steps: usize) -> Result<Self> {
        let shape = Shape { steps, ..self.shape.clone() };
        match self.train.is_empty() {
            true => Self::known(self.series.clone(), shape, self.moments.clone()),
            false => {
                let other = Self::new(self.series.clone(), shape, self.moments.view)?;
                Ok(Self { moments: self.moments.clone(), ..other })
            }
        }
    }

    /// What was done to the data.
    pub fn notes(&self) -> Vec<String> {
        let lost = format!(
            "{} left out: what is forecast was not measured there, or the series is cut.",
            are(self.lost, "window")
        );
        let few = format!("Errors are of {} alone: they say little.", plural(self.valid.len(), "validation window"));
        let told = [(self.lost > 0).then_some(lost), (1..FEW).contains(&self.valid.len()).then_some(few)];
        self.series.notes.iter().cloned().chain(told.into_iter().flatten()).collect()
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Inputs of one step.
    pub fn inputs(&self) -> usize {
        self.series.layout.columns.len()
    }

    /// How many numbers are forecast of a window.
    pub fn goals(&self) -> usize {
        self.series.layout.targets.len() * self.shape.horizons.len()
    }

    /// The column that a goal is a value of.
    pub fn target(&self, goal: usize) -> usize {
        self.series.layout.targets[goal / self.shape.horizons.len()]
    }

    /// How many rows ahead a goal is.
    pub fn horizon(&self, goal: usize) -> usize {
        self.shape.horizons[goal % self.shape.horizons.len()]
    }

    /// Starts of randomly chosen training windows; of others, where there are none to train on.
    pub fn random_starts(&self, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let from = if self.train.is_empty() { &self.valid } else { &self.train };
        (0..self.shape.batch).map(|_| from[rng.random_range(0..from.len())]).collect()
    }

    /// The last row that a window shows.
    pub fn last(&self, start: usize) -> usize {
        start + self.shape.steps - 1
    }

    /// Scaled inputs `[T, B, I]` of the windows that start at `starts`.
    pub fn inputs_of(&self, starts: &[usize]) -> Vec<f32> {
        let (width, own, moments) = (self.inputs(), self.series.own_columns(), &self.moments);
        let mut x = vec![0.0; self.shape.steps * starts.len() * width];
        for (sequence, &start) in starts.iter().enumerate() {
            for column in 0..width {
                let value = |row: usize| self.series.at(row, column);
                let (offset, scale) = match moments.view {
                    View::Window if column < own => (value(self.last(start)), self.scale_of(start, column)),
                    _ => (moments.mean[column], moments.std[column]),
                };
                for step in 0..self.shape.steps {
                    let row = start + step;
                    let seen = match moments.view {
                        View::Changes if column < own => {
                            let before = row.checked_sub(1).filter(|&before| self.joined(before, row)).unwrap_or(row);
                            (value(row) - value(before)) / moments.step[column]
                        }
                        _ => (value(row) - offset) / scale,
                    };
                    x[(step * starts.len() + sequence) * width + column] = seen as f32;
                }
            }
        }
        x
    }

    /// What is to be learnt from the windows that start at `starts`: changes `[B, goals]`.
    pub fn changes(&self, starts: &[usize]) -> Vec<f32> {
        starts.iter().flat_map(|&start| self.changes_from(start, self.last(start))).collect()
    }

    /// What is to be learnt from every step of these windows, not the last alone: changes `[T, B, goals]`.
    pub fn changes_at_every_step(&self, starts: &[usize]) -> Vec<f32> {
        let rows = (0..self.shape.steps).flat_map(|step| starts.iter().map(move |&start| (start, start + step)));
        rows.flat_map(|(start, row)| self.changes_from(start, row)).collect()
    }

    fn changes_from(&self, start: usize, row: usize) -> impl Iterator<Item = f32> {
        (0..self.goals()).map(move |goal| {
            let column = self.target(goal);
            let change = self.series.at(row + self.horizon(goal), column) - self.series.at(row, column);
            (change / self.unit(start, goal)) as f32
        })
    }

    /// What a network's answer for the window at `start` is multiplied by.
    fn unit(&self, start: usize, goal: usize) -> f64 {
        match self.moments.view {
            View::Level | View::Changes => self.moments.scale[goal],
            View::Window => self.moments.scale[goal] * self.own_scale(start, goal),
        }
    }

    /// A network's answer for the window at `start`, in the target's unit.
    pub fn value(&self, start: usize, goal: usize, y: f64) -> f64 {
        self.now(start, goal) + y * self.unit(start, goal)
    }

    /// What is to be forecast of the window at `start`, in the target's unit.
    pub fn truth(&self, start: usize, goal: usize) -> f64 {
        self.series.at(self.forecast_row(start, goal), self.target(goal))
    }

    /// The last known value of what is forecast of the window at `start`.
    pub fn now(&self, start: usize, goal: usize) -> f64 {
        self.series.at(self.last(start), self.target(goal))
    }

    /// The time that is to be forecast of the window at `start`.
    pub fn time(&self, start: usize, goal: usize) -> &str {
        &self.series.labels[self.forecast_row(start, goal)]
    }

    /// Mean absolute error of forecasts of the validation windows, in the target's unit.
    pub fn error(&self, goal: usize, values: impl Iterator<Item = f64>) -> f64 {
        self.quantile_loss(goal, 0.5, values)
    }

    /// Twice the mean quantile loss of forecasts of a goal at a level, which at 0.5 is the mean absolute error.
    pub fn quantile_loss(&self, goal: usize, level: f64, values: impl Iterator<Item = f64>) -> f64 {
        let miss = |(&start, value): (&usize, f64)| 2.0 * quantile_loss(self.truth(start, goal) - value, level);
        self.valid.iter().zip(values).map(miss).sum::<f64>() / self.valid.len() as f64
    }

    /// Up to `length` validation windows that follow one another without a hole, to be drawn as a line.
    pub fn stretch(&self, length: usize) -> &[usize] {
        let unbroken = |a: &usize, b: &usize| a + 1 == *b;
        let long_enough = |run: &&[usize]| run.len() >= length;
        let runs = || self.valid.chunk_by(unbroken);
        let run = runs().find(long_enough).or_else(|| runs().max_by_key(|run| run.len())).unwrap_or_default();
        &run[..run.len().min(length)]
    }

    /// Whether no cut lies between two rows.
    pub fn joined(&self, a: usize, b: usize) -> bool {
        self.series.stretches[a] == self.series.stretches[b]
    }

    /// The training part's rows.
    pub fn trained_rows(&self) -> Range<usize> {
        0..boundary(self.series.rows())
    }

    fn forecast_row(&self, start: usize, goal: usize) -> usize {
        self.last(start) + self.horizon(goal)
    }

    /// The scale of a goal's column in the window at `start`.
    fn own_scale(&self, start: usize, goal: usize) -> f64 {
        self.scale_of(start, self.target(goal))
    }

    fn scale_of(&self, start: usize, column: usize) -> f64 {
        self.distance(start, column).hypot(LEAST_SCALE * self.moments.window[column])
    }

    /// Root mean square distance of a column from its last value in the window at `start`.
    fn distance(&self, start: usize, column: usize) -> f64 {
        let last = self.series.at(self.last(start), column);
        let square = |step: usize| (self.series.at(start + step, column) - last).powi(2);
        ((0..self.shape.steps).map(square).sum::<f64>() / self.shape.steps as f64).sqrt()
    }

    fn usual_step(&self, column: usize) -> f64 {
        let rows = self.trained_rows().skip(1).filter(|&row| self.joined(row - 1, row));
        let change = |row: usize| (self.series.at(row, column) - self.series.at(row - 1, column)).powi(2);
        let (sum, count) = rows.fold((0.0, 0), |(sum, count), row| (sum + change(row), count + 1));
        (sum / f64::from(count.max(1))).sqrt()
    }

    /// Of something that training windows have.
    fn root_mean_square(&self, of: impl Fn(usize) -> f64) -> f64 {
        let some = self.train.iter().step_by(self.train.len().div_ceil(MEASURED).max(1));
        let count = some.len() as f64;
        (some.map(|&start| of(start).powi(2)).sum::<f64>() / count).sqrt()
    }
}

/// Rows of the training part.
pub fn boundary(rows: usize) -> usize {
    rows * TRAIN_TENTHS / 10
}

/// Starts of windows, and how many were lost to gaps.
struct Split {
    train: Vec<usize>,
    valid: Vec<usize>,
    lost: usize,
}

/// The training windows and the validation windows, of those that were measured where it matters.
fn split(series: &Series, shape: &Shape) -> Split {
    let (rows, reach) = (series.rows(), shape.reach());
    let good = |start: &usize| {
        let now = start + shape.steps - 1;
        series.stretches[*start] == series.stretches[start + reach - 1]
            && series.measured[now]
            && shape.horizons.iter().all(|horizon| series.measured[now + horizon])
    };
    let all = |rows: &Range<usize>| rows.start..(rows.end + 1).saturating_sub(reach).max(rows.start);
    let parts = [0..boundary(rows), boundary(rows)..rows];
    let [train, valid] = parts.each_ref().map(|rows| all(rows).filter(good).collect::<Vec<usize>>());
    let lost = parts.iter().map(|rows| all(rows).len()).sum::<usize>() - train.len() - valid.len();
    Split { train, valid, lost }
}

/// The quantile loss of a value that is so much below the truth, at a level (Koenker and Bassett, "Regression Quantiles", 1978).
pub fn quantile_loss(below: f64, level: f64) -> f64 {
    (level * below).max((level - 1.0) * below)
}

#[cfg(test)]
mod tests;
