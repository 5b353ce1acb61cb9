//! The forecasting task: from the last `steps` rows of a series, its targets so many rows ahead, all at once.
//!
//! The split is by time. The first four fifths of the rows are for training, and no training window
//! or target reaches beyond them; validation windows start after the last training target. Inputs are
//! standardised with the mean and deviation of the training rows only.
//!
//! What the network learns of each target at each horizon is the *change* from the last known value,
//! divided by the root mean square of that change over the training windows. A network that always answers 0 is then exactly the naive
//! forecast “no change”, with a mean square loss of 1, and everything below 1 is learnt. Over 24
//! hours, “no change” is also “the same as at this hour yesterday”.

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

/// How a series is seen by a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Mean of each column over the training rows.
    pub mean: Vec<f32>,
    /// Deviation of each column over the training rows; 1 where the column is constant.
    pub std: Vec<f32>,
    /// Root mean square change of each target over each horizon, in the target's unit: `[targets, horizons]`.
    pub scale: Vec<f32>,
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
    shape: Shape,
}

impl Windows {
    /// Splits a series and measures its training part.
    pub fn new(series: Series, shape: Shape) -> Result<Self> {
        let (name, rows, reach) = (&series.name, series.rows(), shape.reach());
        let (train, valid) = split(&series, &shape);
        ensure!(
            train.len() >= shape.batch && !valid.is_empty(),
            "{name}: expected at least {} rows for a batch of {} windows of {} + {} rows and a validation \
             window, got {rows} rows with {} training and {} validation windows",
            shape.rows_needed(),
            shape.batch,
            shape.steps,
            reach - shape.steps,
            train.len(),
            valid.len()
        );

        let width = series.columns.len();
        let (mean, std) = moments(&series.values[..boundary(rows) * width], width);
        let moments = Moments { mean, std, scale: Vec::new() };
        let mut all = Self { train, valid, moments, series, shape };
        for goal in 0..all.goals() {
            let scale = all.root_mean_square_change(goal) as f32;
            let target = &all.series.columns[all.target(goal)];
            ensure!(
                scale.is_finite(),
                "{}, column `{target}`: expected values whose changes are finite 32-bit numbers, got larger ones",
                all.series.name
            );
            ensure!(
                scale > 0.0,
                "{}, column `{target}`: expected values that change, got the same value {} rows later every time",
                all.series.name,
                all.horizon(goal)
            );
            all.moments.scale.push(scale);
        }
        Ok(all)
    }

    /// Splits a series that is seen as another was, which a network was trained on: a validation window is all it needs.
    pub fn known(series: Series, shape: Shape, moments: Moments) -> Result<Self> {
        let (train, valid) = split(&series, &shape);
        ensure!(
            !valid.is_empty(),
            "{}: expected a window of {} rows and what is forecast of it in the last {} tenths, got {} rows without one",
            series.name,
            shape.steps,
            10 - TRAIN_TENTHS,
            series.rows()
        );
        Ok(Self { train, valid, moments, series, shape })
    }

    /// A series of which no window is judged.
    pub fn unsplit(series: Series, shape: Shape, moments: Moments) -> Self {
        Self { train: Vec::new(), valid: Vec::new(), moments, series, shape }
    }

    /// The same series, standardised as it is, in windows of `steps` rows.
    pub fn with_steps(&self, steps: usize) -> Result<Self> {
        let shape = Shape { steps, ..self.shape.clone() };
        match self.train.is_empty() {
            true => Self::known(self.series.clone(), shape, self.moments.clone()),
            false => Ok(Self { moments: self.moments.clone(), ..Self::new(self.series.clone(), shape)? }),
        }
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Inputs of one step.
    pub fn inputs(&self) -> usize {
        self.series.columns.len()
    }

    /// How many numbers are forecast of a window.
    pub fn goals(&self) -> usize {
        self.series.targets.len() * self.shape.horizons.len()
    }

    /// The column that a goal is a value of.
    pub fn target(&self, goal: usize) -> usize {
        self.series.targets[goal / self.shape.horizons.len()]
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

    /// Standardised inputs `[T, B, I]` of the windows that start at `starts`.
    pub fn inputs_of(&self, starts: &[usize]) -> Vec<f32> {
        let width = self.inputs();
        let mut x = Vec::with_capacity(self.shape.steps * starts.len() * width);
        for step in 0..self.shape.steps {
            for start in starts {
                let row = &self.series.values[(start + step) * width..][..width];
                let moments = self.moments.mean.iter().zip(&self.moments.std);
                x.extend(row.iter().zip(moments).map(|(value, (mean, std))| (value - mean) / std));
            }
        }
        x
    }

    /// What is to be learnt from the windows that start at `starts`: changes `[B, goals]`.
    pub fn changes(&self, starts: &[usize]) -> Vec<f32> {
        starts.iter().flat_map(|&start| self.changes_from(start + self.shape.steps - 1)).collect()
    }

    /// What is to be learnt from every step of these windows, not the last alone: changes `[T, B, goals]`.
    pub fn changes_at_every_step(&self, starts: &[usize]) -> Vec<f32> {
        let rows = (0..self.shape.steps).flat_map(|step| starts.iter().map(move |start| start + step));
        rows.flat_map(|row| self.changes_from(row)).collect()
    }

    fn changes_from(&self, row: usize) -> impl Iterator<Item = f32> {
        (0..self.goals()).map(move |goal| {
            let column = self.target(goal);
            let change = self.series.at(row + self.horizon(goal), column) - self.series.at(row, column);
            change / self.moments.scale[goal]
        })
    }

    /// A network's answer for the window at `start`, in the target's unit.
    pub fn unstandardise(&self, start: usize, goal: usize, y: f32) -> f32 {
        self.naive(start, goal) + y * self.moments.scale[goal]
    }

    /// What is to be forecast of the window at `start`, in the target's unit.
    pub fn truth(&self, start: usize, goal: usize) -> f32 {
        self.series.at(self.forecast_row(start, goal), self.target(goal))
    }

    /// The naive forecast of the window at `start`: its last known value.
    pub fn naive(&self, start: usize, goal: usize) -> f32 {
        self.series.at(start + self.shape.steps - 1, self.target(goal))
    }

    /// The time that is to be forecast of the window at `start`.
    pub fn time(&self, start: usize, goal: usize) -> &str {
        &self.series.times[self.forecast_row(start, goal)]
    }

    /// Mean absolute error of a goal, in the target's unit, of a network's answers for the validation windows.
    pub fn error(&self, goal: usize, y: impl Iterator<Item = f32>) -> f64 {
        self.quantile_loss(goal, 0.5, y)
    }

    /// Twice the mean quantile loss of a goal at a level, which at 0.5 is the mean absolute error.
    pub fn quantile_loss(&self, goal: usize, level: f64, y: impl Iterator<Item = f32>) -> f64 {
        let miss = |(&start, y): (&usize, f32)| {
            let below = f64::from(self.truth(start, goal) - self.unstandardise(start, goal, y));
            2.0 * (level * below).max((level - 1.0) * below)
        };
        self.valid.iter().zip(y).map(miss).sum::<f64>() / self.valid.len() as f64
    }

    /// Up to `length` validation windows that follow one another without a hole, to be drawn as a line.
    pub fn stretch(&self, length: usize) -> &[usize] {
        let unbroken = |a: &usize, b: &usize| a + 1 == *b;
        let long_enough = |run: &&[usize]| run.len() >= length;
        let runs = || self.valid.chunk_by(unbroken);
        let run = runs().find(long_enough).or_else(|| runs().max_by_key(|run| run.len())).unwrap_or_default();
        &run[..run.len().min(length)]
    }

    fn forecast_row(&self, start: usize, goal: usize) -> usize {
        start + self.shape.steps - 1 + self.horizon(goal)
    }

    fn root_mean_square_change(&self, goal: usize) -> f64 {
        let change = |&start: &usize| f64::from(self.truth(start, goal) - self.naive(start, goal)).powi(2);
        (self.train.iter().map(change).sum::<f64>() / self.train.len() as f64).sqrt()
    }
}

/// Rows of the training part.
fn boundary(rows: usize) -> usize {
    rows * TRAIN_TENTHS / 10
}

/// Starts of the training windows and of the validation windows, of those that were measured where it matters.
fn split(series: &Series, shape: &Shape) -> (Vec<usize>, Vec<usize>) {
    let (rows, reach) = (series.rows(), shape.reach());
    let measured = |start: &usize| {
        let now = start + shape.steps - 1;
        series.measured[now] && shape.horizons.iter().all(|horizon| series.measured[now + horizon])
    };
    let windows = |rows: Range<usize>| -> Vec<usize> {
        (rows.start..(rows.end + 1).saturating_sub(reach)).filter(measured).collect()
    };
    (windows(0..boundary(rows)), windows(boundary(rows)..rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    fn shape() -> Shape {
        Shape { steps: 3, horizons: vec![2], batch: 4 }
    }

    /// Column 0 counts rows, column 1 is the square of the row and the target, column 2 is constant.
    fn series(rows: usize) -> Series {
        Series {
            name: "squares".into(),
            columns: vec!["row".into(), "square".into(), "seven".into()],
            times: (0..rows).map(|row| format!("t{row}")).collect(),
            values: (0..rows).flat_map(|row| [row as f32, (row * row) as f32, 7.0]).collect(),
            units: vec![""; 3],
            step: "row",
            targets: vec![1],
            measured: vec![true; rows],
            notes: Vec::new(),
        }
    }

    #[test]
    fn other_lengths_are_standardised_alike() {
        let task = Windows::new(series(100), shape()).unwrap();
        let moments = Moments { mean: vec![3.0, 4.0, 5.0], std: vec![7.0, 8.0, 9.0], scale: vec![11.0] };
        let task = Windows { moments: moments.clone(), ..task };
        let other = task.with_steps(8).unwrap();
        assert_eq!((other.moments, other.shape.steps), (moments, 8));
    }

    #[test]
    fn goals_are_numbered_target_by_target() {
        let wide = Series { targets: vec![1, 0], ..series(80) };
        let task = Windows::new(wide, Shape { steps: 3, horizons: vec![4, 1], batch: 4 }).unwrap();
        assert_eq!(task.train.last(), Some(&(64 - 3 - 4)));
        let goals: Vec<_> = (0..task.goals()).map(|goal| (task.target(goal), task.horizon(goal))).collect();
        assert_eq!(goals, [(1, 4), (1, 1), (0, 4), (0, 1)]);
        // The window at 5 ends with row 7.
        let truths: Vec<_> = (0..4).map(|goal| task.truth(5, goal)).collect();
        assert_eq!(truths, [121.0, 64.0, 11.0, 8.0]);
        let (changes, scale) = (task.changes(&[5]), task.moments.scale.clone());
        assert_eq!(changes, [72.0 / scale[0], 15.0 / scale[1], 1.0, 1.0]);
        assert_eq!((0..4).map(|goal| task.time(5, goal)).collect::<Vec<_>>(), ["t11", "t8", "t11", "t8"]);
        let every = task.changes_at_every_step(&[5, 9]);
        assert_eq!((every.len(), &every[4 * 4..][..4]), (3 * 2 * 4, &changes[..]));
    }

    #[test]
    fn splits_by_time_without_leaking() {
        let task = Windows::new(series(50), shape()).unwrap();
        // 40 training rows hold windows of 3 + 2 rows that start at 0 to 35; 10 rows hold 40 to 45.
        assert_eq!(task.train, (0..=35).collect::<Vec<_>>());
        assert_eq!(task.valid, (40..=45).collect::<Vec<_>>());
        let last_training_target = task.train.iter().map(|&start| task.forecast_row(start, 0)).max().unwrap();
        assert!(last_training_target < task.valid[0]);
        assert!(task.valid.iter().all(|&start| task.forecast_row(start, 0) < 50));
    }

    #[test]
    fn moments_know_nothing_of_validation() {
        let task = Windows::new(series(50), shape()).unwrap();
        // Rows 0 to 39: mean 19.5, variance (40² - 1) / 12.
        assert_eq!(task.moments.mean[0], 19.5);
        assert!((task.moments.std[0] - (1599.0f32 / 12.0).sqrt()).abs() < 1e-5);
        assert_eq!((task.moments.mean[2], task.moments.std[2]), (7.0, 1.0));

        let mut changed = series(50);
        changed.values[40 * 3..].fill(1e6);
        let other = Windows::new(changed, shape()).unwrap();
        assert_eq!(task.moments, other.moments);
    }

    #[test]
    fn batches_are_time_major_and_hold_the_change() {
        let task = Windows::new(series(50), shape()).unwrap();
        let (x, y) = (task.inputs_of(&[5, 0]), task.changes(&[5, 0]));
        assert_eq!((x.len(), y.len()), (3 * 2 * 3, 2));
        let row = |row: f32| (row - 19.5) / task.moments.std[0];
        let got: Vec<_> = x.iter().step_by(3).copied().collect();
        assert_eq!(got, [row(5.0), row(0.0), row(6.0), row(1.0), row(7.0), row(2.0)]);
        assert_eq!(x[1], (25.0 - task.moments.mean[1]) / task.moments.std[1]);
        assert!(x.iter().skip(2).step_by(3).all(|&seven| seven == 0.0));
        // From row 7 to row 9: 81 - 49; from row 2 to row 4: 16 - 4.
        let scale = task.moments.scale[0];
        assert_eq!(y, [32.0 / scale, 12.0 / scale]);
        assert!((task.unstandardise(5, 0, y[0]) - 81.0).abs() < 1e-4);
        assert_eq!((task.truth(5, 0), task.naive(5, 0), task.time(5, 0)), (81.0, 49.0, "t9"));
    }

    #[test]
    fn scale_makes_the_naive_loss_one() {
        let task = Windows::new(series(50), shape()).unwrap();
        let y = task.changes(&task.train);
        let loss = y.iter().map(|y| y * y).sum::<f32>() / y.len() as f32;
        assert!((loss - 1.0).abs() < 1e-5);
    }

    #[test]
    fn naive_error_is_the_mean_absolute_change() {
        let task = Windows::new(series(50), shape()).unwrap();
        // From row n to row n + 2 the square grows by 4n + 4; n runs from 42 to 47, 44.5 on average.
        assert!((task.error(0, std::iter::repeat(0.0)) - 182.0).abs() < 1e-9);
        assert!(task.error(0, task.changes(&task.valid).into_iter()) < 1e-3);
    }

    #[test]
    fn a_quantile_costs_more_on_its_rare_side() {
        let task = Windows::new(series(50), shape()).unwrap();
        let (exact, scale) = (task.changes(&task.valid), task.moments.scale[0]);
        let off = |by: f32| exact.iter().map(|y| y + by / scale).collect::<Vec<_>>();
        let loss = |by: f32| task.quantile_loss(0, 0.9, off(by).into_iter());
        assert!((loss(-3.0) - 2.0 * 0.9 * 3.0).abs() < 1e-3 && (loss(3.0) - 2.0 * 0.1 * 3.0).abs() < 1e-3);
        assert!((task.error(0, off(3.0).into_iter()) - 3.0).abs() < 1e-3);
    }

    #[test]
    fn what_was_learnt_elsewhere_needs_one_window() {
        let moments = Windows::new(series(50), shape()).unwrap().moments;
        // Of 21 rows 5 are for validation, as many as a window and its goal take.
        let task = Windows::known(series(21), Shape { batch: 500, ..shape() }, moments.clone()).unwrap();
        assert_eq!((task.valid.len(), task.moments == moments), (1, true));
        let error = Windows::known(series(19), shape(), moments).unwrap_err().to_string();
        assert!(error.contains("in the last 2 tenths, got 19 rows without one"), "{error}");
    }

    #[test]
    fn a_filled_target_is_never_the_truth() {
        let mut gappy = series(50);
        gappy.measured[44] = false;
        let task = Windows::new(gappy, shape()).unwrap();
        // Row 44 is the target of the window at 40 and the last known value of the window at 42.
        assert_eq!(task.valid, [41, 43, 44, 45]);
        assert_eq!(task.stretch(10), [43, 44, 45]);
        assert_eq!(task.stretch(2), [43, 44]);
        assert_eq!(task.stretch(1), [41]);
    }

    #[test]
    fn random_starts_repeat_with_the_seed() {
        let task = Windows::new(series(50), shape()).unwrap();
        let draw = |seed| task.random_starts(&mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|start| task.train.contains(start)));
    }

    #[test]
    fn too_little_data_is_refused() {
        let error = format!("{:#}", Windows::new(series(20), shape()).unwrap_err());
        assert_eq!(
            error,
            "squares: expected at least 21 rows for a batch of 4 windows of 3 + 2 rows and a validation window, \
             got 20 rows with 12 training and 0 validation windows"
        );
        assert!(Windows::new(series(21), shape()).is_ok());
        assert!(Windows::new(series(0), shape()).is_err());
        let mut flat = series(50);
        flat.values.fill(7.0);
        let error = format!("{:#}", Windows::new(flat, shape()).unwrap_err());
        assert!(error.contains("expected values that change"), "{error}");
    }
}
