//! What is learnt, a file each: forecasts of a series, the next character of a text, the class of an utterance, and two
//! made problems that need a long memory.

mod adding;
mod delayed_copy;
mod goals;
mod latest;
mod quantiles;
mod series;
mod speech;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wgpu_rnn::BatchShape;

pub use adding::Adding;
pub use delayed_copy::DelayedCopy;
pub use goals::{Goals, HORIZON, Judging, Windowing};
pub use latest::{Ahead, Latest};
pub use quantiles::{MEDIAN, middle};
pub use series::Series;
pub use speech::{PUBLISHED, Speech, Verdict, right};
pub use text::Text;

use crate::base::numbers::{quantity, significant};
use crate::base::stop;
use crate::data::series::{Ask, Layout};
use crate::data::text::Reading;
use crate::data::windows::{Moments, View};
use crate::net::{Batch, Form, LossAt, Model};
use crate::results::{DataUsed, Forecast};

/// What sequences are drawn from, and how well a network does on it.
pub trait Task {
    /// What a network reads and answers here.
    fn form(&self) -> Form;

    fn usual(&self) -> Usual;

    /// The data, for a report.
    fn used(&self) -> DataUsed;

    fn score(&self) -> Score;

    /// A random training batch, judged at these steps, and what its first sequence shows. What can be judged in one way
    /// only, as made problems are, is.
    fn draw(&self, rng: &mut ChaCha8Rng, at: LossAt) -> (Batch, Shown);

    /// How well the model as it is does on validation data.
    fn validate(&self, model: &mut Model) -> Result<Validated>;

    /// Batches that a validation takes.
    fn validation_batches(&self) -> usize;

    /// A loss in the unit that is reported, if it has one.
    fn in_units(&self, loss: f64) -> f64 {
        loss
    }
}

/// A task whose sequences may be of other lengths.
pub trait Lengths: Task {
    /// The same in sequences of `steps` steps.
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Lengths>>;
}

/// A task on data from a file, which a model can be kept for.
pub trait Stored: Lengths {
    /// What a model must keep of it to see other data alike.
    fn known(&self) -> Known;

    /// Adds every value that a model sees or is judged by.
    fn hash(&self, hasher: &mut crc32fast::Hasher);

    /// How its documents begin, where it has such.
    fn opening(&self) -> Option<char> {
        None
    }

    /// Every way in which a network may see these data, and the data seen so; none where there is but one.
    fn views(&self) -> Vec<(View, Box<dyn Stored>)> {
        Vec::new()
    }

    /// How well the model does, part by part.
    fn details(&self, _model: &mut Model) -> Result<Vec<Detail>> {
        Ok(Vec::new())
    }

    /// The model's forecast of the stretch that is drawn, in the series' unit.
    fn forecast(&self, _model: &mut Model) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    /// What is drawn: the truth, the naive forecast and these.
    fn drawn(&self, _predictions: Vec<(String, Vec<f64>)>) -> Option<Forecast> {
        None
    }
}

/// How well a model does on data that it never learns from. The less the better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validated {
    /// In the unit of [`score`](Task::score).
    pub error: f64,
    /// What training minimises, in the unit of [`in_units`](Task::in_units).
    pub loss: f64,
}

impl Validated {
    /// Where what is minimised is what counts.
    fn alike(error: f64) -> Self {
        Self { error, loss: error }
    }
}

/// How well a model does on a part of a task.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// In words.
    pub said: String,
    /// Where it is the forecast of one goal.
    pub goal: Option<GoalError>,
}

/// Mean absolute errors of one goal.
#[derive(Clone, Debug, Serialize)]
pub struct GoalError {
    pub name: String,
    pub unit: String,
    pub error: f64,
    pub naive: f64,
}

/// How a task is usually learnt.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// Hidden size of the LSTM that others are compared with.
    pub hidden: usize,
    /// Hidden size of a model for use.
    pub trained_hidden: usize,
    /// Training steps of a comparison, and those between points of its curve.
    pub updates: usize,
    pub point_every: usize,
    pub rate: f64,
}

/// How an error is to be read.
#[derive(Clone, Debug)]
pub struct Score {
    pub name: &'static str,
    /// May be empty.
    pub unit: String,
    /// What training minimises, with its unit.
    pub loss: &'static str,
    /// The naive answer, in words, and its error.
    pub naive_name: String,
    pub naive: f64,
}

/// What a sequence shows, step by step.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A column's name and values.
    Values(String, Vec<f64>),
    /// Characters; none for those that share a symbol.
    Characters(Vec<Option<char>>),
}

/// What a model keeps of the data it was trained on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The character of each symbol; none stands for all other characters.
    Text(Vec<Option<char>>),
    Series(Box<KnownSeries>),
    Speech(KnownSpeech),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownSeries {
    pub layout: Layout,
    pub horizons: Vec<usize>,
    /// Levels of the quantiles that it answers with; without any it answers with the mean.
    pub levels: Vec<f64>,
    /// Rows of a season, if there is one.
    pub period: Option<usize>,
    /// Whether it may forecast what is negative of columns that never are, and which these are of those that it forecasts.
    pub negative: bool,
    pub never_negative: Vec<bool>,
    /// What the distances of each goal's quantiles from the median are multiplied by, so that they hold on the validation
    /// part: `[goals, levels]`, or nothing.
    pub factors: Vec<f64>,
    /// How much of the validation part lies in each goal's outermost interval; nothing where there is none.
    pub coverage: Vec<f64>,
    /// The same of its second half, when calibrated on its first; nothing where it is too short for that.
    #[serde(default)]
    pub halved: Vec<f64>,
    pub moments: Moments,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownSpeech {
    pub classes: Vec<String>,
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

/// What kind of data a file holds, or which bundled data are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A series to be forecast: columns of a CSV file, or the bundled weather.
    Series,
    /// A text, character by character.
    Text,
    /// Utterances to be classified: a `.ts` file, or the bundled Japanese vowels.
    Speech,
}

/// Where data come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub kind: Option<Kind>,
    pub path: Option<PathBuf>,
    /// Columns of a series that are forecast, as they were named.
    pub columns: Vec<String>,
    /// What else was said about its columns.
    #[serde(default)]
    pub ask: Ask,
    /// What ends each document of a text; none where it is one document.
    #[serde(default)]
    pub reset_after: Option<String>,
}

/// How data are cut into batches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Steps of a sequence and sequences of a batch, where they are not the task's usual ones.
    pub steps: Option<usize>,
    pub batch: Option<usize>,
    /// Whether each training batch of a text goes on where the one before it ended.
    pub carries: bool,
}

impl Source {
    /// An error where an option of series alone was given for other data.
    pub fn only_of_series(&self, options: &[&[(&str, bool)]]) -> Result<()> {
        match options.iter().copied().flatten().find(|(_, given)| *given) {
            Some((option, _)) if self.kind() != Kind::Series => {
                bail!("{option}: expected a series to forecast, which these data are not")
            }
            _ => Ok(()),
        }
    }

    /// The kind that was said, or that the file's name and the columns tell.
    pub fn kind(&self) -> Kind {
        let extension = self.path.as_deref().and_then(Path::extension);
        let is = |kind: &str| extension.is_some_and(|extension| extension.eq_ignore_ascii_case(kind));
        match self.kind {
            Some(kind) => kind,
            None if is("ts") => Kind::Speech,
            None if is("csv") || is("tsv") => Kind::Series,
            None if self.path.is_none() || !self.columns.is_empty() => Kind::Series,
            None => Kind::Text,
        }
    }

    /// How a text is read: in these symbols rather than its own.
    fn reading<'a>(&'a self, symbols: Option<&'a [Option<char>]>) -> Reading<'a> {
        Reading { symbols, reset_after: self.reset_after.as_deref() }
    }

    /// The data, as one looks at them first.
    pub fn load(&self, sizes: Sizes, goals: &Goals) -> Result<Box<dyn Stored>> {
        let (kind, path) = (self.kind(), self.path.as_deref());
        if !self.columns.is_empty() && kind != Kind::Series {
            bail!("a column was named: expected a series, which has columns, got a {}", kind.name());
        }
        Ok(match (kind, path) {
            (Kind::Series, _) => Box::new(Series::load(path, &self.columns, &self.ask, sizes, goals)?),
            (Kind::Text, Some(path)) => Box::new(Text::load(path, sizes, self.reading(None))?),
            (Kind::Text, None) => bail!("expected a text file, got none"),
            (Kind::Speech, _) => Box::new(Speech::load(path, sizes)?),
        })
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Text => "text",
            Self::Speech => "set of utterances",
        }
    }
}

impl Known {
    /// Data from `source` as the model sees those that it was trained on.
    pub fn load(&self, source: &Source, sizes: Sizes) -> Result<Box<dyn Stored>> {
        let path = source.path.as_deref();
        Ok(match (self, path) {
            (Self::Text(symbols), Some(path)) => Box::new(Text::load(path, sizes, source.reading(Some(symbols)))?),
            (Self::Text(_), None) => bail!("expected a text file, got none"),
            (Self::Series(known), _) => Box::new(Series::load_known(path, &source.ask, sizes, known)?),
            (Self::Speech(known), Some(path)) => Box::new(Speech::load_known(path, sizes.batch, known)?.labelled()?),
            (Self::Speech(_), None) => bail!("expected a file of utterances, got none"),
        })
    }

    /// Whether its parts fit each other, as they do unless a file was tampered with.
    pub fn is_sound(&self) -> bool {
        let positive = |std: &[f64]| std.iter().all(|std| *std > 0.0 && std.is_finite());
        match self {
            Self::Text(symbols) => !symbols.is_empty(),
            Self::Series(known) => {
                let KnownSeries { layout, horizons, levels, never_negative, factors, moments, .. } = &**known;
                let (width, goals) = (layout.columns.len(), layout.targets.len().saturating_mul(horizons.len()));
                let inside = |level: &f64| *level > 0.0 && *level < 1.0;
                layout.targets.iter().all(|&target| target < width)
                    && 2 * layout.cycles.len() <= width
                    && horizons.iter().all(|&horizon| horizon > 0 && u32::try_from(horizon).is_ok())
                    && levels.iter().all(inside)
                    && never_negative.len() == layout.targets.len()
                    && (factors.is_empty() || factors.len() == goals * levels.len())
                    && factors.iter().all(|factor| factor.is_finite())
                    && moments.is_sound(width, goals)
            }
            Self::Speech(KnownSpeech { classes, mean, std }) => {
                !classes.is_empty() && !mean.is_empty() && mean.len() == std.len() && positive(std)
            }
        }
    }

    /// What is forecast of a series.
    pub fn goals(&self) -> Goals {
        match self {
            Self::Series(known) => Goals {
                horizons: known.horizons.clone(),
                levels: known.levels.clone(),
                view: known.moments.view,
                period: known.period,
                negative: known.negative,
            },
            _ => Goals::default(),
        }
    }

    /// What a model of this is a model of.
    pub fn of_what(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Series(_) => "a series",
            Self::Speech(_) => "utterances",
        }
    }
}

/// What all tasks share.
pub trait More: Task {
    fn shape(&self) -> BatchShape {
        self.form().shape
    }

    /// Input size I of the recurrent layer.
    fn width(&self) -> usize {
        self.form().reads.width()
    }

    fn describe(&self) -> String {
        let used = self.used();
        let train = if used.train == 0 { "drawn anew for".to_string() } else { used.train.to_string() };
        format!("{}: {} ({train} training, {} validation)", used.name, used.task, used.validation)
    }

    /// Uploads a random training batch, and returns what its first sequence shows.
    fn feed(&self, model: &mut Model, rng: &mut ChaCha8Rng) -> Result<Shown> {
        let (batch, shown) = self.draw(rng, model.form().loss_at);
        model.feed(batch)?;
        Ok(shown)
    }
}

impl<T: Task + ?Sized> More for T {}

impl Score {
    /// What it measures, with its unit.
    pub fn meaning(&self) -> String {
        let usual = "; the usual change is the root mean square change over the horizon, in the training part";
        let usual = if self.name.ends_with("usual change") { usual } else { "" };
        let what = quantity(self.name, &self.unit);
        format!("{what} (naive: {}, {}){usual}", significant(self.naive, 4), self.naive_name)
    }

    /// An error with its unit and what it is an error of.
    pub fn named(&self, error: f64) -> String {
        match self.name.starts_with(&self.unit) && !self.unit.is_empty() {
            true => format!("{} {}", self.as_text(error), self.name),
            false => format!("{}, {}", self.as_text(error), self.name),
        }
    }

    /// An error with its unit, unless that is in its name.
    pub fn as_text(&self, error: f64) -> String {
        match &self.unit {
            unit if unit.is_empty() || self.name.starts_with(unit) => significant(error, 4),
            unit => format!("{} {unit}", significant(error, 4)),
        }
    }

    /// Said where a model is no better than the naive answer.
    pub fn unbeaten(&self, error: f64) -> Option<String> {
        (error >= self.naive).then(|| format!("the model does not beat the naive forecast ({})", self.naive_name))
    }
}

/// The seed of the validation batches of made problems. A training with this very seed would begin with them.
const VALIDATION: u64 = 0x5eed;

/// The mean loss of so many batches, always the same.
fn mean_loss(model: &mut Model, batches: usize, batch: impl Fn(&mut ChaCha8Rng) -> Batch) -> Result<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(VALIDATION);
    let mut sum = 0.0;
    for _ in 0..batches {
        stop::check()?;
        model.feed(batch(&mut rng))?;
        sum += model.validation_loss()?;
    }
    Ok(sum / batches as f64)
}

/// A number that other data are unlikely to have.
pub fn fingerprint(task: &dyn Stored) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    task.hash(&mut hasher);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
