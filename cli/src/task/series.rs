//! Forecasts of a series: several columns, several rows ahead, as a value or as quantiles.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;

use super::quantiles::{CALIBRATED_ON, Coverage, Forecasts, HALVED, MEDIAN, calibrate, floors, middle};
use super::{
    Detail, GoalError, Goals, Known, KnownSeries, Lengths, Score, Shown, Sizes, Stored, Task, Usual, Validated,
};
use crate::base::numbers::{apart, plural, quantity, significant};
use crate::base::stop;
use crate::data::baseline::Baselines;
use crate::data::series::Ask;
use crate::data::windows::{self, View, Windows, quantile_loss};
use crate::data::{series, weather};
use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::{DataUsed, Forecast};

/// Rows that a forecast looks back on, and windows of a batch.
const STEPS: usize = 72;
const BATCH: usize = 64;
/// Windows of the forecast that is drawn.
const DRAWN: usize = 240;

#[derive(Clone)]
pub struct Series {
    windows: Windows,
    levels: Vec<f64>,
    baselines: Baselines,
    negative: bool,
    /// Whether all that is forecast is never negative in the training part, column by column.
    never_negative: Vec<bool>,
    /// What the best simple forecast costs over the validation windows.
    naive: f64,
    /// What the distances of each goal's quantiles from the median are multiplied by: measured when it is validated, or known.
    factors: RefCell<Vec<f64>>,
    /// How much of the validation part lies in each goal's outermost interval.
    coverage: RefCell<Vec<f64>>,
    /// The same of the second half of the validation part, calibrated on the first.
    halved: RefCell<Vec<f64>>,
    /// Whether they are those of a trained model.
    calibrated: bool,
    bundled: bool,
}

/// The columns of a file, or the bundled weather.
fn read(path: Option<&Path>, columns: &[String], ask: &Ask) -> Result<series::Series> {
    match path {
        Some(path) => {
            ensure!(
                !columns.is_empty(),
                "{}: expected a column to forecast, got none (--column; --task text takes it as a text)",
                path.display()
            );
            series::load(path, columns, ask)
        }
        None => weather::load(columns, ask, None),
    }
}

/// [`read`], with the columns that a model knows.
pub fn read_known(path: Option<&Path>, ask: &Ask, known: &KnownSeries) -> Result<series::Series> {
    match path {
        Some(path) => series::load_known(path, ask, &known.layout),
        None => weather::load(&[], ask, Some(&known.layout)),
    }
}

/// What a network that knows such a series reads and answers.
pub fn form(known: &KnownSeries, shape: BatchShape) -> Form {
    let values = known.layout.targets.len() * known.horizons.len();
    let answers = match known.levels.as_slice() {
        [] => Answers::Values(values),
        levels => Answers::Quantiles { values, levels: levels.to_vec() },
    };
    Form::new(shape, Reads::Values(known.layout.columns.len()), answers, LossAt::Last)
}

impl Series {
    pub fn load(path: Option<&Path>, columns: &[String], ask: &Ask, sizes: Sizes, goals: &Goals) -> Result<Self> {
        let shape = windows::Shape {
            steps: sizes.steps.unwrap_or(STEPS),
            horizons: goals.horizons.clone(),
            batch: sizes.batch.unwrap_or(BATCH),
        };
        let windows = Windows::new(read(path, columns, ask)?, shape, goals.view)?;
        let (rows, period) = (windows.series.rows(), goals.period.unwrap_or(1));
        ensure!(period < rows, "--period: expected fewer rows than the {rows} of the series, got {period}");
        let never = |&column: &usize| windows.trained_rows().all(|row| windows.series.at(row, column) >= 0.0);
        let never_negative = windows.series.layout.targets.iter().map(never).collect();
        let task = Self::of_windows(windows, goals.levels.clone(), goals.period, never_negative, goals.negative);
        Ok(Self { bundled: path.is_none(), ..task })
    }

    /// As a model sees it that was trained on such a series.
    pub fn load_known(path: Option<&Path>, ask: &Ask, sizes: Sizes, known: &KnownSeries) -> Result<Self> {
        let series = read_known(path, ask, known)?;
        let (steps, batch) = (sizes.steps.unwrap_or(STEPS), sizes.batch.unwrap_or(BATCH));
        let shape = windows::Shape { steps, horizons: known.horizons.clone(), batch };
        let windows = Windows::known(series, shape, known.moments.clone())?;
        let never_negative = known.never_negative.clone();
        let task = Self::of_windows(windows, known.levels.clone(), known.period, never_negative, known.negative);
        let [factors, coverage, halved] =
            [&known.factors, &known.coverage, &known.halved].map(|all| RefCell::new(all.clone()));
        Ok(Self { factors, coverage, halved, calibrated: true, ..task })
    }

    fn of_windows(
        windows: Windows,
        levels: Vec<f64>,
        period: Option<usize>,
        never_negative: Vec<bool>,
        negative: bool,
    ) -> Self {
        let baselines = Baselines::new(&windows, &levels, period);
        let [factors, coverage, halved] = [(); 3].map(|()| RefCell::new(Vec::new()));
        let (calibrated, bundled) = (false, false);
        let mut task = Self {
            windows,
            levels,
            baselines,
            negative,
            never_negative,
            naive: 0.0,
            factors,
            coverage,
            halved,
            calibrated,
            bundled,
        };
        task.naive = task.mean(|goal, level| task.simple(goal, level));
        task
    }

    /// The best simple forecast of a goal at a level, for the validation windows.
    fn simple(&self, goal: usize, level: usize) -> impl Iterator<Item = f64> + '_ {
        self.baselines.forecasts(&self.windows, goal, level, &self.windows.valid)
    }

    fn batch(&self, starts: &[usize], at: LossAt) -> Batch {
        let y = match at {
            LossAt::Last => self.windows.changes(starts),
            LossAt::All => self.windows.changes_at_every_step(starts),
        };
        Batch::new(Fed::Values(self.windows.inputs_of(starts)), Fed::Values(y))
    }

    /// The model's outputs for each window, in batches; the last batch is filled up with its first window.
    fn outputs(&self, model: &mut Model, starts: &[usize]) -> Result<Vec<f32>> {
        let (size, width) = (self.windows.shape().batch, model.form().answers.outputs());
        let mut outputs = Vec::with_capacity(starts.len() * width);
        for part in starts.chunks(size) {
            stop::check()?;
            let mut batch = part.to_vec();
            batch.resize(size, part[0]);
            model.feed(self.batch(&batch, LossAt::Last))?;
            outputs.extend_from_slice(&model.predict()?[..part.len() * width]);
        }
        Ok(outputs)
    }

    /// What training minimises, of a model's outputs for the validation windows.
    fn loss(&self, outputs: &[f32]) -> f64 {
        let wanted = self.windows.changes(&self.windows.valid);
        let each = wanted.iter().zip(outputs.chunks(self.levels.len().max(1)));
        let of_one = |(wanted, outputs): (&f32, &[f32])| {
            let off = |output: &f32| f64::from(wanted - output);
            match self.levels.is_empty() {
                true => outputs.iter().map(|output| off(output).powi(2)).sum::<f64>(),
                false => {
                    outputs.iter().zip(&self.levels).map(|(output, level)| quantile_loss(off(output), *level)).sum()
                }
            }
        };
        each.map(of_one).sum::<f64>() / outputs.len() as f64
    }

    /// Whether a goal's forecasts are kept from being negative.
    fn floors(&self) -> Vec<bool> {
        floors(&self.windows, &self.never_negative, self.negative)
    }

    /// Forecasts from a model's outputs for the validation windows, calibrated on them unless they are known to be.
    fn judged(&self, outputs: &[f32]) -> Forecasts {
        if !self.calibrated {
            *self.factors.borrow_mut() = calibrate(&self.windows, &self.levels, outputs, |_| true);
        }
        let (windows, middle) = (&self.windows, middle(&self.levels));
        let factors = self.factors.borrow();
        let forecasts = Forecasts::new(windows, &windows.valid, outputs, &factors, middle, &self.floors());
        if !self.calibrated && self.levels.len() > 1 {
            let share = |goal| forecasts.coverage(windows, goal, |_| true).share;
            *self.coverage.borrow_mut() = (0..windows.goals()).map(share).collect();
            if windows.valid.len() >= HALVED {
                *self.halved.borrow_mut() = self.halved(outputs);
            }
        }
        forecasts
    }

    /// How much of each goal's truth the outermost intervals hold in the second half of the validation part, when they are
    /// calibrated on its first.
    fn halved(&self, outputs: &[f32]) -> Vec<f64> {
        let (windows, half) = (&self.windows, self.windows.valid.len() / 2);
        let factors = calibrate(windows, &self.levels, outputs, |at| at < half);
        let middle = middle(&self.levels);
        let forecasts = Forecasts::new(windows, &windows.valid, outputs, &factors, middle, &self.floors());
        (0..windows.goals()).map(|goal| forecasts.coverage(windows, goal, |at| at >= half).share).collect()
    }

    /// The mean over levels and goals of what forecasts cost, those of a goal and level being given: of one column in its
    /// unit; of several, whose units differ, in their usual changes over the horizon.
    fn mean<I: Iterator<Item = f64>>(&self, forecasts: impl Fn(usize, usize) -> I) -> f64 {
        let levels = if self.levels.is_empty() { &[MEDIAN][..] } else { &self.levels };
        let several = self.windows.series.layout.targets.len() > 1;
        let mut sum = 0.0;
        for goal in 0..self.windows.goals() {
            let unit = if several { self.windows.moments.usual[goal] } else { 1.0 };
            let loss = |(place, &level)| self.windows.quantile_loss(goal, level, forecasts(goal, place)) / unit;
            sum += levels.iter().enumerate().map(loss).sum::<f64>() / levels.len() as f64;
        }
        sum / self.windows.goals() as f64
    }

    /// What is forecast, in words.
    fn wanted(&self) -> String {
        let series = &self.windows.series;
        let name = |&target: &usize| match series.layout.columns[target].as_str() {
            "temp" if series.name == weather::NAME => "the temperature".to_string(),
            name => format!("`{name}`"),
        };
        let names = series.layout.targets.iter().map(name).collect::<Vec<_>>().join(", ");
        let horizons = self.windows.shape().horizons.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let s = if self.windows.shape().horizons == [1] { "" } else { "s" };
        format!("{names} {horizons} {}{s} ahead", series.step)
    }

    /// The first target and its unit.
    fn label(&self) -> String {
        let (series, target) = (&self.windows.series, self.windows.target(0));
        quantity(&series.layout.columns[target], series.units[target])
    }

    fn known_of(&self) -> KnownSeries {
        let Windows { series, moments, .. } = &self.windows;
        KnownSeries {
            layout: series.layout.clone(),
            horizons: self.windows.shape().horizons.clone(),
            levels: self.levels.clone(),
            period: self.baselines.period,
            negative: self.negative,
            never_negative: self.never_negative.clone(),
            factors: self.factors.borrow().clone(),
            coverage: self.coverage.borrow().clone(),
            halved: self.halved.borrow().clone(),
            moments: moments.clone(),
        }
    }
}

impl Task for Series {
    fn form(&self) -> Form {
        let windows::Shape { steps, batch, .. } = self.windows.shape();
        form(&self.known_of(), BatchShape::new(*steps, *batch))
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 32, trained_hidden: 32, updates: 300, point_every: 25, rate: 2e-3 }
    }

    fn used(&self) -> DataUsed {
        let Windows { series, train, valid, .. } = &self.windows;
        let (steps, inputs) = (self.windows.shape().steps, self.windows.inputs());
        DataUsed {
            name: series.name.clone(),
            task: format!(
                "{} from the last {} of {}",
                self.wanted(),
                plural(steps, &series.step),
                plural(inputs, "input")
            ),
            notes: self.windows.notes(),
            train: train.len(),
            validation: valid.len(),
        }
    }

    /// Twice the quantile loss at the median is the mean absolute error.
    fn score(&self) -> Score {
        let (one, several) = match self.levels.is_empty() {
            true => ("mean absolute error", "mean absolute error over the usual change"),
            false => ("twice the quantile loss", "twice the quantile loss over the usual change"),
        };
        let (name, unit) = match self.windows.series.layout.targets[..] {
            [target] => (one, self.windows.series.units[target].to_string()),
            _ => (several, String::new()),
        };
        let loss = match self.levels.is_empty() {
            true => "mean squared error, standardised",
            false => "twice the quantile loss, standardised",
        };
        Score { name, unit, loss, naive_name: self.naive_name(), naive: self.naive }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, at: LossAt) -> (Batch, Shown) {
        let starts = self.windows.random_starts(rng);
        let first = starts.first().copied().unwrap_or_default();
        let rows = first..first + self.windows.shape().steps;
        let target = self.windows.target(0);
        let values = rows.map(|row| self.windows.series.at(row, target)).collect();
        (self.batch(&starts, at), Shown::Values(self.label(), values))
    }

    fn validate(&self, model: &mut Model) -> Result<Validated> {
        let outputs = self.outputs(model, &self.windows.valid)?;
        let forecasts = self.judged(&outputs);
        let error = self.mean(|goal, level| forecasts.of(goal, level));
        Ok(Validated { error, loss: self.in_units(self.loss(&outputs)) })
    }

    fn validation_batches(&self) -> usize {
        self.windows.valid.len().div_ceil(self.windows.shape().batch)
    }

    /// Quantile losses are told twice, as in the score.
    fn in_units(&self, loss: f64) -> f64 {
        if self.levels.is_empty() { loss } else { 2.0 * loss }
    }
}

impl Lengths for Series {
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Lengths>> {
        let windows = self.windows.with_steps(steps)?;
        let (levels, never_negative) = (self.levels.clone(), self.never_negative.clone());
        let task = Self::of_windows(windows, levels, self.baselines.period, never_negative, self.negative);
        Ok(Box::new(Self { bundled: self.bundled, ..task }))
    }
}

impl Stored for Series {
    /// Every view of a file of one's own; the bundled weather stays where it is.
    fn views(&self) -> Vec<(View, Box<dyn Stored>)> {
        let of = |view: View| -> (View, Box<dyn Stored>) {
            let mut seen = self.clone();
            seen.windows.see(view);
            (view, Box::new(seen))
        };
        if self.bundled || self.calibrated { Vec::new() } else { View::ALL.map(of).into() }
    }

    fn known(&self) -> Known {
        Known::Series(Box::new(self.known_of()))
    }

    fn hash(&self, hasher: &mut crc32fast::Hasher) {
        let series = &self.windows.series;
        series.layout.columns.iter().for_each(|name| hasher.update(name.as_bytes()));
        series.layout.targets.iter().for_each(|target| hasher.update(&target.to_le_bytes()));
        series.stretches.iter().for_each(|stretch| hasher.update(&stretch.to_le_bytes()));
        series.values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
    }

    /// Each goal's error beside that of its best simple forecast, and how often the truth lies between the outer quantiles.
    fn details(&self, model: &mut Model) -> Result<Vec<Detail>> {
        let (windows, valid) = (&self.windows, &self.windows.valid);
        let outputs = self.outputs(model, valid)?;
        let forecasts = self.judged(&outputs);
        let halved = if self.levels.len() > 1 { self.halved(&outputs) } else { Vec::new() };
        let mut lines = Vec::new();
        for goal in 0..windows.goals() {
            let error = windows.error(goal, forecasts.of(goal, middle(&self.levels)));
            let (target, simple) = (windows.target(goal), &self.baselines.best[goal]);
            let (name, unit) = (&windows.series.layout.columns[target], windows.series.units[target]);
            let (horizon, step) = (windows.horizon(goal), &windows.series.step);
            let numbers = apart(&[error, simple.error]);
            let space = if unit.is_empty() { "" } else { " " };
            let mut line = format!(
                "`{name}` in {}: mean absolute error {}{space}{unit} (naive: {}, {})",
                plural(horizon, step),
                numbers[0],
                numbers[1],
                simple.which.title(&windows.series)
            );
            if error >= simple.error {
                line += "; the model does not beat that";
            }
            if let [low, .., high] = self.levels[..] {
                let (Coverage { share, width }, wanted) =
                    (forecasts.coverage(windows, goal, |_| true), 100.0 * (high - low));
                let width = significant(width, 4);
                line +=
                    &format!("; {:.1} % lie in the {wanted:.0} % interval, {width}{space}{unit} wide", 100.0 * share);
                line += &match valid.len() {
                    _ if self.calibrated => String::new(),
                    ..CALIBRATED_ON => " (too few to calibrate it)".to_string(),
                    CALIBRATED_ON..HALVED => format!(" (calibrated on these {})", plural(valid.len(), "window")),
                    _ => {
                        let share = 100.0 * halved.get(goal).copied().unwrap_or(f64::NAN);
                        format!(" (calibrated on these; on their first half, {share:.1} % of the second)")
                    }
                };
            }
            let (name, unit) = (format!("{name} in {}", plural(horizon, step)), unit.to_string());
            lines.push(Detail { said: line, goal: Some(GoalError { name, unit, error, naive: simple.error }) });
        }
        Ok(lines)
    }

    fn forecast(&self, model: &mut Model) -> Result<Option<Vec<f64>>> {
        let starts = self.windows.stretch(DRAWN);
        let outputs = self.outputs(model, starts)?;
        let forecasts = Forecasts::new(
            &self.windows,
            starts,
            &outputs,
            &self.factors.borrow(),
            middle(&self.levels),
            &self.floors(),
        );
        Ok(Some(forecasts.of(0, middle(&self.levels)).collect()))
    }

    fn drawn(&self, predictions: Vec<(String, Vec<f64>)>) -> Option<Forecast> {
        let (windows, starts) = (&self.windows, self.windows.stretch(DRAWN));
        Some(Forecast {
            label: format!("{}, {} ahead", self.label(), plural(windows.horizon(0), &windows.series.step)),
            times: starts.iter().map(|&start| windows.time(start, 0).to_string()).collect(),
            truth: starts.iter().map(|&start| windows.truth(start, 0)).collect(),
            naive: self.baselines.forecasts(windows, 0, middle(&self.levels), starts).collect(),
            predictions,
        })
    }
}

impl Series {
    /// The simple forecast that is the best, in words; of several goals each may have its own.
    fn naive_name(&self) -> String {
        let series = &self.windows.series;
        let mut titles: Vec<String> = self.baselines.best.iter().map(|best| best.which.title(series)).collect();
        titles.dedup();
        match &titles[..] {
            [one] => one.clone(),
            _ => "the best of persistence, drift and the season at each horizon".to_string(),
        }
    }
}
