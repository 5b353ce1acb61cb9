//! Forecasts of a series: several columns, several rows ahead, as a value or as quantiles.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;

use super::{Known, KnownSeries, Score, Shown, Sizes, Stored, Task, Usual};
use crate::data::windows::{self, Windows};
use crate::data::{series, weather};
use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::{DataUsed, Forecast};

/// Rows that a forecast looks back on, and windows of a batch.
const STEPS: usize = 72;
const BATCH: usize = 64;
/// Rows from the last one that is seen to the one that is forecast.
const HORIZON: usize = 24;
/// Windows of the forecast that is drawn.
const DRAWN: usize = 240;

/// What is forecast of each column.
#[derive(Clone, Debug, PartialEq)]
pub struct Goals {
    /// So many rows ahead each.
    pub horizons: Vec<usize>,
    /// Levels of the quantiles, ascending; none for the mean.
    pub levels: Vec<f64>,
}

impl Default for Goals {
    fn default() -> Self {
        Self { horizons: vec![HORIZON], levels: Vec::new() }
    }
}

pub struct Series {
    windows: Windows,
    levels: Vec<f64>,
    /// What the naive forecast costs over the validation windows.
    naive: f64,
}

/// The columns of a CSV file, or the bundled weather.
fn read(path: Option<&Path>, columns: &[String]) -> Result<series::Series> {
    match path {
        Some(path) => {
            ensure!(
                !columns.is_empty(),
                "{}: expected a column to forecast, got none (--column; --task text takes it as a text)",
                path.display()
            );
            series::load_csv(path, columns)
        }
        None => weather::load(columns),
    }
}

/// [`read`], with the columns that a model knows and no others.
pub fn read_known(path: Option<&Path>, columns: &[String], known: &KnownSeries) -> Result<series::Series> {
    let series = read(path, columns)?;
    if series.columns != known.columns || series.targets != known.targets {
        let list = |columns: &[String], targets: &[usize]| {
            let named = |&at: &usize| columns.get(at).map_or("?", String::as_str);
            format!("{} (forecast: {})", columns.join(", "), targets.iter().map(named).collect::<Vec<_>>().join(", "))
        };
        bail!(
            "{}: expected the columns {}, got {}",
            series.name,
            list(&known.columns, &known.targets),
            list(&series.columns, &series.targets)
        );
    }
    Ok(series)
}

/// What a network that knows such a series reads and answers.
pub fn form(known: &KnownSeries, shape: BatchShape) -> Form {
    let values = known.targets.len() * known.horizons.len();
    let answers = match known.levels.as_slice() {
        [] => Answers::Values(values),
        levels => Answers::Quantiles { values, levels: levels.to_vec() },
    };
    Form { shape, reads: Reads::Values(known.columns.len()), answers, loss_at: LossAt::Last, lengths: false }
}

/// The level that stands for the forecast.
pub const MEDIAN: f64 = 0.5;

/// The place of the median among levels, or of the one number where there are none.
pub fn middle(levels: &[f64]) -> usize {
    levels.iter().position(|level| *level == MEDIAN).unwrap_or(0)
}

impl Series {
    pub fn load(path: Option<&Path>, columns: &[String], sizes: Sizes, goals: &Goals) -> Result<Self> {
        let shape = windows::Shape {
            steps: sizes.steps.unwrap_or(STEPS),
            horizons: goals.horizons.clone(),
            batch: sizes.batch.unwrap_or(BATCH),
        };
        Ok(Self::of_windows(Windows::new(read(path, columns)?, shape)?, goals.levels.clone()))
    }

    /// As a model sees it that was trained on such a series.
    pub fn load_known(path: Option<&Path>, columns: &[String], sizes: Sizes, known: &KnownSeries) -> Result<Self> {
        let series = read_known(path, columns, known)?;
        let (steps, batch) = (sizes.steps.unwrap_or(STEPS), sizes.batch.unwrap_or(BATCH));
        let shape = windows::Shape { steps, horizons: known.horizons.clone(), batch };
        let windows = Windows::known(series, shape, known.moments.clone())?;
        Ok(Self::of_windows(windows, known.levels.clone()))
    }

    fn of_windows(windows: Windows, levels: Vec<f64>) -> Self {
        let task = Self { windows, levels, naive: 0.0 };
        let naive = task.mean(|_, _| std::iter::repeat(0.0));
        Self { naive, ..task }
    }

    fn batch(&self, starts: &[usize], at: LossAt) -> Batch {
        let y = match at {
            LossAt::Last => self.windows.changes(starts),
            LossAt::All => self.windows.changes_at_every_step(starts),
        };
        Batch { x: Fed::Values(self.windows.inputs_of(starts)), y: Fed::Values(y), lengths: None }
    }

    /// The model's outputs for each window, in batches; the last batch is filled up with its first window.
    fn predict(&self, model: &mut Model, starts: &[usize]) -> Result<Vec<f32>> {
        let (size, width) = (self.windows.shape().batch, model.form().answers.outputs());
        let mut outputs = Vec::with_capacity(starts.len() * width);
        for part in starts.chunks(size) {
            let mut batch = part.to_vec();
            batch.resize(size, part[0]);
            model.feed(self.batch(&batch, LossAt::Last))?;
            outputs.extend_from_slice(&model.predict()?[..part.len() * width]);
        }
        sort_quantiles(&mut outputs, &self.levels);
        Ok(outputs)
    }

    /// Of all windows' outputs those of one goal and level.
    fn of<'a>(&self, outputs: &'a [f32], goal: usize, level: usize) -> impl Iterator<Item = f32> + Clone + use<'a> {
        let levels = self.levels.len().max(1);
        outputs.iter().skip(goal * levels + level).step_by(self.windows.goals() * levels).copied()
    }

    /// The mean absolute error of each goal.
    fn errors<'a>(&'a self, outputs: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let middle = middle(&self.levels);
        (0..self.windows.goals()).map(move |goal| self.windows.error(goal, self.of(outputs, goal, middle)))
    }

    /// [`errors`](Self::errors) of the naive forecast.
    fn naive_errors(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.windows.goals()).map(|goal| self.windows.error(goal, std::iter::repeat(0.0)))
    }

    /// The mean over levels and goals of what answers cost, `answers` being those of a goal and level: of one column in its
    /// unit; of several, whose units differ, in their usual changes over the horizon.
    fn mean<I: Iterator<Item = f32>>(&self, answers: impl Fn(usize, usize) -> I) -> f64 {
        let levels = if self.levels.is_empty() { &[MEDIAN][..] } else { &self.levels };
        let several = self.windows.series.targets.len() > 1;
        let mut sum = 0.0;
        for goal in 0..self.windows.goals() {
            let unit = if several { f64::from(self.windows.moments.scale[goal]) } else { 1.0 };
            let loss = |(place, &level)| self.windows.quantile_loss(goal, level, answers(goal, place)) / unit;
            sum += levels.iter().enumerate().map(loss).sum::<f64>() / levels.len() as f64;
        }
        sum / self.windows.goals() as f64
    }

    /// What is forecast, in words.
    fn wanted(&self) -> String {
        let series = &self.windows.series;
        let name = |&target: &usize| match series.columns[target].as_str() {
            "temp" if series.name == weather::NAME => "the temperature".to_string(),
            name => name.to_string(),
        };
        let names = series.targets.iter().map(name).collect::<Vec<_>>().join(", ");
        let horizons = self.windows.shape().horizons.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        format!("{names} {horizons} {}s ahead", series.step)
    }

    /// The first target and its unit.
    fn label(&self) -> String {
        let (series, target) = (&self.windows.series, self.windows.target(0));
        match series.units[target] {
            "" => series.columns[target].clone(),
            unit => format!("{} ({unit})", series.columns[target]),
        }
    }

    fn form_of(&self) -> KnownSeries {
        let Windows { series, moments, .. } = &self.windows;
        KnownSeries {
            columns: series.columns.clone(),
            targets: series.targets.clone(),
            horizons: self.windows.shape().horizons.clone(),
            levels: self.levels.clone(),
            moments: moments.clone(),
        }
    }
}

impl Task for Series {
    fn form(&self) -> Form {
        let windows::Shape { steps, batch, .. } = self.windows.shape();
        form(&self.form_of(), BatchShape::new(*steps, *batch))
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 32, trained_hidden: 32, updates: 300, point_every: 25, rate: 2e-3 }
    }

    fn used(&self) -> DataUsed {
        let Windows { series, train, valid, .. } = &self.windows;
        let (steps, inputs) = (self.windows.shape().steps, self.windows.inputs());
        DataUsed {
            name: series.name.clone(),
            task: format!("{} from the last {steps} {}s of {inputs} inputs", self.wanted(), series.step),
            notes: series.notes.clone(),
            train: train.len(),
            validation: valid.len(),
        }
    }

    /// Twice the quantile loss at the median is the mean absolute error.
    fn score(&self) -> Score {
        let (one, several, mean) = match self.levels.is_empty() {
            true => ("mean absolute error", "mean absolute error over the usual change", false),
            false => ("twice the quantile loss", "twice the quantile loss over the usual change", true),
        };
        let (name, unit) = match self.windows.series.targets[..] {
            [target] => (one, self.windows.series.units[target].to_string()),
            _ => (several, String::new()),
        };
        let naive_name = match mean {
            false => "persistence: the value stays as it is now",
            true => "persistence, at every level: the value stays as it is now",
        };
        Score { name, unit, naive_name, naive: self.naive }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, at: LossAt) -> (Batch, Shown) {
        let starts = self.windows.random_starts(rng);
        let first = starts.first().copied().unwrap_or_default();
        let rows = first..first + self.windows.shape().steps;
        let target = self.windows.target(0);
        let values = rows.map(|row| f64::from(self.windows.series.at(row, target))).collect();
        (self.batch(&starts, at), Shown::Values(self.label(), values))
    }

    fn validate(&self, model: &mut Model) -> Result<f64> {
        let outputs = self.predict(model, &self.windows.valid)?;
        Ok(self.mean(|goal, level| self.of(&outputs, goal, level)))
    }

    fn validation_batches(&self) -> usize {
        self.windows.valid.len().div_ceil(self.windows.shape().batch)
    }

    /// Quantile losses are told twice, as in the score.
    fn in_units(&self, loss: f64) -> f64 {
        if self.levels.is_empty() { loss } else { 2.0 * loss }
    }
}

impl Stored for Series {
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Stored>> {
        Ok(Box::new(Self::of_windows(self.windows.with_steps(steps)?, self.levels.clone())))
    }

    fn known(&self) -> Known {
        Known::Series(self.form_of())
    }

    fn hash(&self, hasher: &mut crc32fast::Hasher) {
        let series = &self.windows.series;
        series.columns.iter().for_each(|name| hasher.update(name.as_bytes()));
        series.targets.iter().for_each(|target| hasher.update(&target.to_le_bytes()));
        series.values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
    }

    /// Each goal's error, and how often the truth lies between the outer quantiles.
    fn details(&self, model: &mut Model) -> Result<Vec<String>> {
        let (windows, valid) = (&self.windows, &self.windows.valid);
        let outputs = self.predict(model, valid)?;
        let mut lines = Vec::new();
        for ((goal, error), naive) in self.errors(&outputs).enumerate().zip(self.naive_errors()) {
            let target = windows.target(goal);
            let (name, unit) = (&windows.series.columns[target], windows.series.units[target]);
            let (horizon, step) = (windows.horizon(goal), windows.series.step);
            let plural = if horizon == 1 { "" } else { "s" };
            let mut line = format!("{name} in {horizon} {step}{plural}: {error:.3} {unit} (naive: {naive:.3})");
            if let [low, .., high] = self.levels[..] {
                let value = |(&start, y): (&usize, f32)| windows.unstandardise(start, goal, y);
                let of = |level| valid.iter().zip(self.of(&outputs, goal, level)).map(value);
                let (mut inside, mut width) = (0usize, 0.0);
                for ((low, high), &start) in of(0).zip(of(self.levels.len() - 1)).zip(valid) {
                    inside += usize::from((low..=high).contains(&windows.truth(start, goal)));
                    width += f64::from(high - low);
                }
                let count = valid.len() as f64;
                let (share, width) = (100.0 * inside as f64 / count, width / count);
                let wanted = 100.0 * (high - low);
                line += &format!("; {share:.1} % lie in the {wanted:.0} % interval, {width:.3} {unit} wide");
            }
            lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        Ok(lines)
    }

    fn forecast(&self, model: &mut Model) -> Result<Option<Vec<f32>>> {
        let starts = self.windows.stretch(DRAWN);
        let outputs = self.predict(model, starts)?;
        let answers = starts.iter().zip(self.of(&outputs, 0, middle(&self.levels)));
        Ok(Some(answers.map(|(&start, output)| self.windows.unstandardise(start, 0, output)).collect()))
    }

    fn drawn(&self, predictions: Vec<(String, Vec<f32>)>) -> Option<Forecast> {
        let (windows, starts) = (&self.windows, self.windows.stretch(DRAWN));
        let each = |of: &dyn Fn(usize) -> f32| starts.iter().map(|&start| of(start)).collect();
        Some(Forecast {
            label: self.label(),
            times: starts.iter().map(|&start| windows.time(start, 0).to_string()).collect(),
            truth: each(&|start| windows.truth(start, 0)),
            naive: each(&|start| windows.naive(start, 0)),
            predictions,
        })
    }
}

/// Puts each goal's quantiles in order, which a network may let cross.
fn sort_quantiles(outputs: &mut [f32], levels: &[f64]) {
    outputs.chunks_mut(levels.len().max(1)).for_each(|quantiles| quantiles.sort_by(f32::total_cmp));
}

/// The last rows of a series, from which what comes after them is forecast.
pub struct Latest {
    windows: Windows,
    known: KnownSeries,
}

/// One goal's forecast.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// Place of the column.
    pub column: usize,
    /// Rows ahead.
    pub horizon: usize,
    /// A value for each level, ascending, or the mean alone.
    pub values: Vec<f32>,
}

impl Latest {
    pub fn load(path: Option<&Path>, columns: &[String], steps: usize, known: KnownSeries) -> Result<Self> {
        let series = read_known(path, columns, &known)?;
        let rows = series.rows();
        ensure!(rows >= steps, "{}: expected at least the {steps} rows that the model reads, got {rows}", series.name);
        let shape = windows::Shape { steps, horizons: known.horizons.clone(), batch: 1 };
        Ok(Self { windows: Windows::unsplit(series, shape, known.moments.clone()), known })
    }

    pub fn series(&self) -> &series::Series {
        &self.windows.series
    }

    /// Whether all that is forecast was measured in the last row; else its last known values stand there.
    pub fn measured(&self) -> bool {
        self.windows.series.measured.last().is_some_and(|&measured| measured)
    }

    /// The form of a model of one sequence.
    pub fn form(&self) -> Form {
        form(&self.known, BatchShape::new(self.windows.shape().steps, 1))
    }

    /// What comes after the last row.
    pub fn ahead(&self, model: &mut Model) -> Result<Vec<Ahead>> {
        let start = self.windows.series.rows() - self.windows.shape().steps;
        let x = Fed::Values(self.windows.inputs_of(&[start]));
        let y = Fed::Values(vec![0.0; model.form().answers.targets()]);
        model.feed(Batch { x, y, lengths: None })?;
        let mut outputs = model.predict()?;
        ensure!(outputs.iter().all(|output| output.is_finite()), "the model's outputs are not finite");
        sort_quantiles(&mut outputs, &self.known.levels);
        let ahead = |(goal, outputs): (usize, &[f32])| Ahead {
            column: self.windows.target(goal),
            horizon: self.windows.horizon(goal),
            values: outputs.iter().map(|&output| self.windows.unstandardise(start, goal, output)).collect(),
        };
        Ok(outputs.chunks(self.known.levels.len().max(1)).enumerate().map(ahead).collect())
    }
}
