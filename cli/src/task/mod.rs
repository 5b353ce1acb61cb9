//! What is learnt: a forecast of a series, or the next character of a text.

use std::path::Path;

use rand_chacha::ChaCha8Rng;

use super::model::{LossAt, Model};
use crate::data::text::{self, Corpus};
use crate::data::windows;
use crate::data::{series, weather};
use crate::results::{DataUsed, Forecast};

/// A task with its data.
pub enum Task {
    /// The value of a column some rows ahead.
    Series(windows::Task),
    /// The next character.
    Text(Corpus),
}

/// Steps of a sequence and sequences of a batch, where they are not the task's usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    pub steps: Option<usize>,
    pub batch: Option<usize>,
}

/// What a sequence shows, step by step.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A column's name and values.
    Values(String, Vec<f64>),
    /// Characters; none for those that share a symbol.
    Characters(Vec<Option<char>>),
}

/// Hours (or rows) that a forecast looks back on, and how far ahead it is.
const SERIES: windows::Shape = windows::Shape { steps: 72, horizon: 24, batch: 64 };
/// Characters of a sequence, sequences of a batch, most symbols, most validation batches.
const TEXT: text::Shape = text::Shape { steps: 64, batch: 32, symbols: 256, validation: 24 };
/// Width of a character's embedding.
const EMBEDDING: usize = 32;
/// Windows of the forecast that is drawn.
const DRAWN: usize = 240;

impl Task {
    /// The bundled weather, a column of a CSV file, or a text.
    pub fn load(csv: Option<(&Path, &str)>, text: Option<&Path>) -> anyhow::Result<Self> {
        match (csv, text) {
            (_, Some(path)) => Self::load_text(path, Sizes::default(), None),
            (csv, None) => Self::load_series(csv, Sizes::default()),
        }
    }

    /// A text; in symbols of its own, or in those that a model knows.
    pub fn load_text(path: &Path, sizes: Sizes, symbols: Option<&[Option<char>]>) -> anyhow::Result<Self> {
        let (steps, batch) = (sizes.steps.unwrap_or(TEXT.steps), sizes.batch.unwrap_or(TEXT.batch));
        Ok(Self::Text(text::load_text(path, text::Shape { steps, batch, ..TEXT }, symbols)?))
    }

    /// A column of a CSV file, or the bundled weather.
    pub fn load_series(csv: Option<(&Path, &str)>, sizes: Sizes) -> anyhow::Result<Self> {
        let (steps, batch) = (sizes.steps.unwrap_or(SERIES.steps), sizes.batch.unwrap_or(SERIES.batch));
        let series = match csv {
            Some((path, column)) => series::load_csv(path, column)?,
            None => weather::load()?,
        };
        Ok(Self::Series(windows::Task::new(series, windows::Shape { steps, batch, ..SERIES })?))
    }

    /// The same data in sequences of `steps` steps.
    pub fn with_steps(&self, steps: usize) -> anyhow::Result<Self> {
        Ok(match self {
            Self::Series(task) => Self::Series(task.with_steps(steps)?),
            Self::Text(corpus) => Self::Text(corpus.with_steps(steps)?),
        })
    }

    /// A number that other data are unlikely to have.
    pub fn fingerprint(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let mut add = |bytes: &[u8]| hasher.update(bytes);
        match self {
            Self::Series(task) => {
                task.series.columns.iter().for_each(|name| add(name.as_bytes()));
                add(&task.series.target.to_le_bytes());
                task.series.values.iter().for_each(|value| add(&value.to_le_bytes()));
            }
            Self::Text(corpus) => {
                corpus.symbols.iter().for_each(|symbol| add(&symbol.map_or(0, u32::from).to_le_bytes()));
                corpus.train.iter().chain(&corpus.valid).for_each(|id| add(&id.to_le_bytes()));
            }
        }
        hasher.finalize()
    }

    /// Steps T.
    pub fn steps(&self) -> usize {
        match self {
            Self::Series(task) => task.steps(),
            Self::Text(corpus) => corpus.steps(),
        }
    }

    /// Batch B.
    pub fn batch(&self) -> usize {
        match self {
            Self::Series(task) => task.batch_size(),
            Self::Text(corpus) => corpus.batch_size(),
        }
    }

    /// Input size I of the recurrent layer.
    pub fn width(&self) -> usize {
        match self {
            Self::Series(task) => task.inputs(),
            Self::Text(_) => EMBEDDING,
        }
    }

    /// Hidden size of the LSTM that the others are compared with.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Series(_) => 32,
            Self::Text(_) => 64,
        }
    }

    /// The steps that a model is judged by: a series is forecast from the last, a text at every one.
    pub fn loss_at(&self) -> LossAt {
        match self {
            Self::Series(_) => LossAt::Last,
            Self::Text(_) => LossAt::All,
        }
    }

    /// Symbols of a text; none for a series.
    pub fn symbols(&self) -> Option<usize> {
        match self {
            Self::Series(_) => None,
            Self::Text(corpus) => Some(corpus.symbols.len()),
        }
    }

    /// Training steps of a run without a time limit.
    pub fn training_steps(&self) -> usize {
        match self {
            Self::Series(_) => 300,
            Self::Text(_) => 600,
        }
    }

    /// Steps between points of the curve.
    pub fn point_every(&self) -> usize {
        match self {
            Self::Series(_) => 25,
            Self::Text(_) => 60,
        }
    }

    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Series(_) => 2e-3,
            Self::Text(_) => 6e-3,
        }
    }

    pub fn describe(&self) -> String {
        let used = self.used();
        format!("{}: {} ({} training, {} validation)", used.name, used.task, used.train, used.validation)
    }

    pub fn notes(&self) -> &[String] {
        match self {
            Self::Series(task) => &task.series.notes,
            Self::Text(corpus) => &corpus.notes,
        }
    }

    /// The data, for the report.
    pub fn used(&self) -> DataUsed {
        let notes = self.notes().to_vec();
        match self {
            Self::Series(task) => DataUsed {
                name: task.series.name.clone(),
                task: match task.series.name == weather::NAME {
                    true => format!(
                        "the temperature {} hours ahead from the last {} hours of {} inputs",
                        SERIES.horizon,
                        task.steps(),
                        task.inputs()
                    ),
                    false => format!(
                        "{} {} rows ahead from the last {} rows of {} inputs",
                        self.target(),
                        SERIES.horizon,
                        task.steps(),
                        task.inputs()
                    ),
                },
                notes,
                train: task.train.len(),
                validation: task.valid.len(),
            },
            Self::Text(corpus) => DataUsed {
                name: corpus.name.clone(),
                task: format!("the next of {} characters from those before it", corpus.symbols.len()),
                notes,
                train: corpus.train.len(),
                validation: corpus.judged().len(),
            },
        }
    }

    fn target(&self) -> &str {
        match self {
            Self::Series(task) => &task.series.columns[task.series.target],
            Self::Text(_) => "character",
        }
    }

    pub fn error_name(&self) -> &'static str {
        match self {
            Self::Series(_) => "mean absolute error",
            Self::Text(_) => "bits per character",
        }
    }

    pub fn error_unit(&self) -> String {
        match self {
            Self::Series(task) if task.series.name == weather::NAME => "°F".to_string(),
            Self::Series(_) => String::new(),
            Self::Text(_) => "bits".to_string(),
        }
    }

    /// An error with its unit, unless that is in its name.
    pub fn error_as_text(&self, error: f64) -> String {
        match self.error_unit() {
            unit if self.error_name().starts_with(&unit) => format!("{error:.4}"),
            unit => format!("{error:.4} {unit}"),
        }
    }

    pub fn naive_name(&self) -> &'static str {
        match self {
            Self::Series(_) => "persistence: the value stays as it is now",
            Self::Text(_) => "characters by their frequency",
        }
    }

    pub fn naive_error(&self) -> f64 {
        match self {
            Self::Series(task) => task.naive_error(),
            Self::Text(corpus) => corpus.unigram_bits,
        }
    }

    /// Uploads a random training batch, and returns what its first sequence shows.
    pub fn feed(&self, model: &mut Model, rng: &mut ChaCha8Rng) -> anyhow::Result<Shown> {
        match self {
            Self::Series(task) => {
                let starts = task.random_starts(rng, self.batch());
                let (mut x, mut y) = (Vec::new(), Vec::new());
                task.batch(&starts, &mut x, &mut y);
                if model.loss_at() == LossAt::All {
                    task.changes_at_every_step(&starts, &mut y);
                }
                model.feed_series(&x, &y)?;
                let rows = starts.first().map_or(0..0, |&start| start..start + task.steps());
                Ok(Shown::Values(self.label(), rows.map(|row| f64::from(task.series.target_at(row))).collect()))
            }
            Self::Text(corpus) => {
                let (mut x, mut y) = (Vec::new(), Vec::new());
                corpus.batch(rng, &mut x, &mut y);
                if model.loss_at() == LossAt::Last {
                    y.drain(..y.len() - self.batch());
                }
                model.feed_tokens(&x, &y)?;
                let symbol = |id: &u32| corpus.symbols.get(*id as usize).copied().flatten();
                Ok(Shown::Characters(x.iter().step_by(self.batch()).map(symbol).collect()))
            }
        }
    }

    /// The target and its unit.
    fn label(&self) -> String {
        match self.error_unit() {
            unit if unit.is_empty() => self.target().to_string(),
            unit => format!("{} ({unit})", self.target()),
        }
    }

    /// The validation error with the model's present weights.
    pub fn validate(&self, model: &mut Model) -> anyhow::Result<f64> {
        match self {
            Self::Series(task) => {
                let outputs = predict(task, model, &task.valid)?;
                Ok(task.error(&task.valid, &outputs))
            }
            Self::Text(corpus) => {
                let batches = corpus.validation_batches();
                let mut nats = 0.0;
                for index in 0..batches {
                    let (mut x, mut y) = (Vec::new(), Vec::new());
                    corpus.validation_batch(index, &mut x, &mut y);
                    model.feed_tokens(&x, &y)?;
                    nats += model.validation_loss()?;
                }
                Ok(self.in_units(nats / batches as f64))
            }
        }
    }

    /// Batches that a validation takes.
    pub fn validation_batches(&self) -> usize {
        match self {
            Self::Series(task) => task.valid.len().div_ceil(task.batch_size()),
            Self::Text(corpus) => corpus.validation_batches(),
        }
    }

    /// A loss in the unit that is reported: bits for a text; for a series it has none.
    pub fn in_units(&self, loss: f64) -> f64 {
        match self {
            Self::Series(_) => loss,
            Self::Text(_) => loss / std::f64::consts::LN_2,
        }
    }

    /// The forecast that is drawn, in the series' unit.
    pub fn forecast(&self, model: &mut Model) -> anyhow::Result<Option<Vec<f32>>> {
        let Self::Series(task) = self else { return Ok(None) };
        let starts = task.stretch(DRAWN);
        let outputs = predict(task, model, starts)?;
        let values = starts.iter().zip(outputs).map(|(&start, output)| task.unstandardise(start, output));
        Ok(Some(values.collect()))
    }

    /// What is drawn: the truth, the naive forecast and each run's.
    pub fn drawn(&self, predictions: Vec<(String, Vec<f32>)>) -> Option<Forecast> {
        let Self::Series(task) = self else { return None };
        let starts = task.stretch(DRAWN);
        let each = |of: &dyn Fn(usize) -> f32| starts.iter().map(|&start| of(start)).collect();
        Some(Forecast {
            label: self.label(),
            times: starts.iter().map(|&start| task.time(start).to_string()).collect(),
            truth: each(&|start| task.truth(start)),
            naive: each(&|start| task.naive(start)),
            predictions,
        })
    }
}

/// The model's output for each window, in batches; the last batch is filled up with its first window.
fn predict(task: &windows::Task, model: &mut Model, starts: &[usize]) -> anyhow::Result<Vec<f32>> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut outputs = Vec::with_capacity(starts.len());
    for part in starts.chunks(task.batch_size()) {
        let mut batch = part.to_vec();
        batch.resize(task.batch_size(), part[0]);
        task.batch(&batch, &mut x, &mut y);
        model.feed_series(&x, &y)?;
        outputs.extend_from_slice(&model.predict()?[..part.len()]);
    }
    Ok(outputs)
}
