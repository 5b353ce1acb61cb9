//! The forecasting task: from the last `steps` rows of a series, its target `horizon` rows ahead.
//!
//! The split is by time. The first four fifths of the rows are for training, and no training window
//! or target reaches beyond them; validation windows start after the last training target. Inputs are
//! standardised with the mean and deviation of the training rows only.
//!
//! What the network learns is the *change* from the last known value, divided by the root mean square
//! change over the training windows. A network that always answers 0 is then exactly the naive
//! forecast “no change”, with a mean square loss of 1, and everything below 1 is learnt. Over 24
//! hours, “no change” is also “the same as at this hour yesterday”.

use super::series::Series;
use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// How many of ten rows, from the beginning, are for training.
pub const TRAIN_TENTHS: usize = 8;

/// The shape of the task.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows that a window shows, at least 1.
    pub steps: usize,
    /// Rows from the window's last one to the forecast one.
    pub horizon: usize,
    /// Windows in a batch; there must be enough training windows for one.
    pub batch: usize,
}

/// Windows over a series, known by the row they start at.
#[derive(Clone, Debug)]
pub struct Task {
    /// Starts of the training windows, ascending.
    pub train: Vec<usize>,
    /// Starts of the validation windows, ascending.
    pub valid: Vec<usize>,
    /// Mean of each column over the training rows.
    pub mean: Vec<f32>,
    /// Deviation of each column over the training rows; 1 where the column is constant.
    pub std: Vec<f32>,
    /// Root mean square change of the target over a horizon, in the target's unit.
    pub scale: f32,
    /// The series.
    pub series: Series,
    shape: Shape,
}

impl Task {
    /// Splits a series and measures its training part.
    pub fn new(series: Series, shape: Shape) -> Result<Self> {
        let (name, rows, reach) = (&series.name, series.rows(), shape.steps + shape.horizon);
        let boundary = rows * TRAIN_TENTHS / 10;
        let measured = |start: &usize| {
            let now = start + shape.steps - 1;
            series.measured[now] && series.measured[now + shape.horizon]
        };
        let windows = |rows: Range<usize>| -> Vec<usize> {
            (rows.start..(rows.end + 1).saturating_sub(reach)).filter(measured).collect()
        };
        let (train, valid) = (windows(0..boundary), windows(boundary..rows));
        ensure!(
            train.len() >= shape.batch && !valid.is_empty(),
            "{name}: expected at least {} rows for a batch of {} windows of {} + {} rows and a validation \
             window, got {rows} rows with {} training and {} validation windows",
            rows_needed(shape),
            shape.batch,
            shape.steps,
            shape.horizon,
            train.len(),
            valid.len()
        );

        let width = series.columns.len();
        let (mean, std) = moments(&series.values[..boundary * width], width);
        let mut task = Self { train, valid, mean, std, scale: 1.0, series, shape };
        task.scale = task.root_mean_square_change() as f32;
        let target = &task.series.columns[task.series.target];
        ensure!(
            task.scale.is_finite(),
            "{}, column `{target}`: expected values whose changes are finite 32-bit numbers, got larger ones",
            task.series.name
        );
        ensure!(
            task.scale > 0.0,
            "{}, column `{target}`: expected values that change, got the same value {} rows later every time",
            task.series.name,
            shape.horizon
        );
        Ok(task)
    }

    /// The same series, standardised as it is, in windows of `steps` rows.
    pub fn with_steps(&self, steps: usize) -> Result<Self> {
        let other = Self::new(self.series.clone(), Shape { steps, ..self.shape })?;
        Ok(other.with_moments(self.mean.clone(), self.std.clone(), self.scale))
    }

    /// With the moments and the scale of a task that a network was trained on.
    pub fn with_moments(self, mean: Vec<f32>, std: Vec<f32>, scale: f32) -> Self {
        Self { mean, std, scale, ..self }
    }

    /// Windows of a batch.
    pub fn batch_size(&self) -> usize {
        self.shape.batch
    }

    /// Rows that a window shows.
    pub fn steps(&self) -> usize {
        self.shape.steps
    }

    /// Inputs of one step.
    pub fn inputs(&self) -> usize {
        self.series.columns.len()
    }

    /// Starts of randomly chosen training windows.
    pub fn random_starts(&self, rng: &mut ChaCha8Rng, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.train[rng.random_range(0..self.train.len())]).collect()
    }

    /// The windows that start at `starts`: standardised inputs `[T, B, I]` and changes `[B, 1]`.
    pub fn batch(&self, starts: &[usize], x: &mut Vec<f32>, y: &mut Vec<f32>) {
        let width = self.inputs();
        x.clear();
        x.reserve(self.shape.steps * starts.len() * width);
        for step in 0..self.shape.steps {
            for start in starts {
                let row = &self.series.values[(start + step) * width..][..width];
                let moments = self.mean.iter().zip(&self.std);
                x.extend(row.iter().zip(moments).map(|(value, (mean, std))| (value - mean) / std));
            }
        }
        y.clear();
        y.extend(starts.iter().map(|&start| (self.truth(start) - self.naive(start)) / self.scale));
    }

    /// What is to be learnt from every step of the windows that start at `starts`, not the last alone: changes `[T, B]`.
    pub fn changes_at_every_step(&self, starts: &[usize], y: &mut Vec<f32>) {
        let rows = (0..self.shape.steps).flat_map(|step| starts.iter().map(move |start| start + step));
        let change = |row| self.series.target_at(row + self.shape.horizon) - self.series.target_at(row);
        y.clear();
        y.extend(rows.map(|row| change(row) / self.scale));
    }

    /// A network's answer for the window at `start`, in the target's unit.
    pub fn unstandardise(&self, start: usize, y: f32) -> f32 {
        self.naive(start) + y * self.scale
    }

    /// What the window at `start` is to forecast, in the target's unit.
    pub fn truth(&self, start: usize) -> f32 {
        self.series.target_at(self.forecast_row(start))
    }

    /// The naive forecast of the window at `start`: its last known value.
    pub fn naive(&self, start: usize) -> f32 {
        self.series.target_at(start + self.shape.steps - 1)
    }

    /// The time that the window at `start` is to forecast.
    pub fn time(&self, start: usize) -> &str {
        &self.series.times[self.forecast_row(start)]
    }

    /// Mean absolute error, in the target's unit, of a network's answers for the windows at `starts`.
    pub fn error(&self, starts: &[usize], y: &[f32]) -> f64 {
        let miss = |(&start, &y): (&usize, &f32)| f64::from((self.unstandardise(start, y) - self.truth(start)).abs());
        starts.iter().zip(y).map(miss).sum::<f64>() / starts.len() as f64
    }

    /// Mean absolute error of the naive forecast over the validation windows, in the target's unit.
    pub fn naive_error(&self) -> f64 {
        self.error(&self.valid, &vec![0.0; self.valid.len()])
    }

    /// Up to `length` validation windows that follow one another without a hole, to be drawn as a line.
    pub fn stretch(&self, length: usize) -> &[usize] {
        let unbroken = |a: &usize, b: &usize| a + 1 == *b;
        let long_enough = |run: &&[usize]| run.len() >= length;
        let runs = || self.valid.chunk_by(unbroken);
        let run = runs().find(long_enough).or_else(|| runs().max_by_key(|run| run.len())).unwrap_or_default();
        &run[..run.len().min(length)]
    }

    fn forecast_row(&self, start: usize) -> usize {
        start + self.shape.steps - 1 + self.shape.horizon
    }

    fn root_mean_square_change(&self) -> f64 {
        let change = |&start: &usize| f64::from(self.truth(start) - self.naive(start)).powi(2);
        (self.train.iter().map(change).sum::<f64>() / self.train.len() as f64).sqrt()
    }
}

/// The fewest rows without gaps whose two parts hold a batch of training windows and one validation window.
fn rows_needed(shape: Shape) -> usize {
    let reach = shape.steps + shape.horizon;
    let enough = |rows: &usize| {
        let boundary = rows * TRAIN_TENTHS / 10;
        boundary + 1 >= reach + shape.batch && rows - boundary >= reach
    };
    (reach..).find(enough).unwrap_or(usize::MAX)
}

/// Mean and deviation of each of `width` interleaved columns.
///
/// A deviation that is only rounding is no deviation: divided by it, a later change would explode.
fn moments(values: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let column = |index: usize| values.iter().skip(index).step_by(width).map(|&value| f64::from(value));
    let count = (values.len() / width) as f64;
    let moments = |index| {
        let mean = column(index).sum::<f64>() / count;
        let variance = column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let std = variance.sqrt() as f32;
        (mean as f32, if std > 1e-6 * mean.abs() as f32 { std } else { 1.0 })
    };
    (0..width).map(moments).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const SHAPE: Shape = Shape { steps: 3, horizon: 2, batch: 4 };

    /// Column 0 counts rows, column 1 is the square of the row and the target, column 2 is constant.
    fn series(rows: usize) -> Series {
        Series {
            name: "squares".into(),
            columns: vec!["row".into(), "square".into(), "seven".into()],
            times: (0..rows).map(|row| format!("t{row}")).collect(),
            values: (0..rows).flat_map(|row| [row as f32, (row * row) as f32, 7.0]).collect(),
            target: 1,
            measured: vec![true; rows],
            notes: Vec::new(),
        }
    }

    #[test]
    fn other_lengths_are_standardised_alike() {
        let (mean, std) = (vec![3.0, 4.0, 5.0], vec![7.0, 8.0, 9.0]);
        let task = Task::new(series(100), SHAPE).unwrap().with_moments(mean.clone(), std.clone(), 11.0);
        let other = task.with_steps(SHAPE.steps + 5).unwrap();
        assert_eq!((other.mean, other.std, other.scale), (mean, std, 11.0));
        assert_eq!(other.shape.steps, SHAPE.steps + 5);
    }

    #[test]
    fn splits_by_time_without_leaking() {
        let task = Task::new(series(50), SHAPE).unwrap();
        // 40 training rows hold windows of 3 + 2 rows that start at 0 to 35; 10 rows hold 40 to 45.
        assert_eq!(task.train, (0..=35).collect::<Vec<_>>());
        assert_eq!(task.valid, (40..=45).collect::<Vec<_>>());
        let last_training_target = task.train.iter().map(|&start| task.forecast_row(start)).max().unwrap();
        assert!(last_training_target < task.valid[0]);
        assert!(task.valid.iter().all(|&start| task.forecast_row(start) < 50));
    }

    #[test]
    fn moments_know_nothing_of_validation() {
        let task = Task::new(series(50), SHAPE).unwrap();
        // Rows 0 to 39: mean 19.5, variance (40² - 1) / 12.
        assert_eq!(task.mean[0], 19.5);
        assert!((task.std[0] - (1599.0f32 / 12.0).sqrt()).abs() < 1e-5);
        assert_eq!((task.mean[2], task.std[2]), (7.0, 1.0));
        assert_eq!(moments(&[0.1; 1000], 1), (vec![0.1], vec![1.0]));

        let mut changed = series(50);
        changed.values[40 * 3..].fill(1e6);
        let other = Task::new(changed, SHAPE).unwrap();
        assert_eq!((task.mean, task.std, task.scale), (other.mean, other.std, other.scale));
    }

    #[test]
    fn batches_are_time_major_and_hold_the_change() {
        let task = Task::new(series(50), SHAPE).unwrap();
        let (mut x, mut y) = (vec![9.0; 3], vec![9.0]);
        task.batch(&[5, 0], &mut x, &mut y);
        assert_eq!((x.len(), y.len()), (3 * 2 * 3, 2));
        let row = |row: f32| (row - 19.5) / task.std[0];
        let got: Vec<_> = x.iter().step_by(3).copied().collect();
        assert_eq!(got, [row(5.0), row(0.0), row(6.0), row(1.0), row(7.0), row(2.0)]);
        assert_eq!(x[1], (25.0 - task.mean[1]) / task.std[1]);
        assert!(x.iter().skip(2).step_by(3).all(|&seven| seven == 0.0));
        // From row 7 to row 9: 81 - 49; from row 2 to row 4: 16 - 4.
        assert_eq!(y, [32.0 / task.scale, 12.0 / task.scale]);
        assert!((task.unstandardise(5, y[0]) - 81.0).abs() < 1e-4);
        assert_eq!((task.truth(5), task.naive(5), task.time(5)), (81.0, 49.0, "t9"));
    }

    #[test]
    fn scale_makes_the_naive_loss_one() {
        let task = Task::new(series(50), SHAPE).unwrap();
        let (mut x, mut y) = (Vec::new(), Vec::new());
        task.batch(&task.train, &mut x, &mut y);
        let loss = y.iter().map(|y| y * y).sum::<f32>() / y.len() as f32;
        assert!((loss - 1.0).abs() < 1e-5);
    }

    #[test]
    fn naive_error_is_the_mean_absolute_change() {
        let task = Task::new(series(50), SHAPE).unwrap();
        // From row n to row n + 2 the square grows by 4n + 4; n runs from 42 to 47, 44.5 on average.
        assert!((task.naive_error() - 182.0).abs() < 1e-9);
        let exact: Vec<_> =
            task.valid.iter().map(|&start| (task.truth(start) - task.naive(start)) / task.scale).collect();
        assert!(task.error(&task.valid, &exact) < 1e-3);
    }

    #[test]
    fn a_filled_target_is_never_the_truth() {
        let mut gappy = series(50);
        gappy.measured[44] = false;
        let task = Task::new(gappy, SHAPE).unwrap();
        // Row 44 is the target of the window at 40 and the last known value of the window at 42.
        assert_eq!(task.valid, [41, 43, 44, 45]);
        assert_eq!(task.stretch(10), [43, 44, 45]);
        assert_eq!(task.stretch(2), [43, 44]);
        assert_eq!(task.stretch(1), [41]);
    }

    #[test]
    fn random_starts_repeat_with_the_seed() {
        let task = Task::new(series(50), SHAPE).unwrap();
        let draw = |seed| task.random_starts(&mut ChaCha8Rng::seed_from_u64(seed), 20);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|start| task.train.contains(start)));
    }

    #[test]
    fn too_little_data_is_refused() {
        let error = format!("{:#}", Task::new(series(20), SHAPE).unwrap_err());
        assert_eq!(
            error,
            "squares: expected at least 21 rows for a batch of 4 windows of 3 + 2 rows and a validation window, \
             got 20 rows with 12 training and 0 validation windows"
        );
        assert!(Task::new(series(21), SHAPE).is_ok());
        assert!(Task::new(series(0), SHAPE).is_err());
        let mut flat = series(50);
        flat.values.fill(7.0);
        let error = format!("{:#}", Task::new(flat, SHAPE).unwrap_err());
        assert!(error.contains("expected values that change"), "{error}");
    }
}
