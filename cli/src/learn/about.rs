//! What a saved model says of itself: enough to use it, and to go on training where it was.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wgpu_rnn::io::Checkpoint;
use wgpu_rnn::{Cell, Precision, RnnConfig};

use crate::compare::{Sizes, Task};
use crate::results::Point;

/// Name of this text in a checkpoint.
pub const KEY: &str = "wgpu-rnn";

/// The format that is written.
const FORMAT: u32 = 1;

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    format: u32,
    version: String,
    pub net: Net,
    pub data: Data,
    pub rule: Rule,
    pub state: State,
}

/// The network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Net {
    pub cell: String,
    pub hidden: usize,
    pub layers: usize,
    /// Width of what the recurrent layer reads.
    pub input: usize,
    /// Of a text the character of each symbol; none stands for all other characters.
    pub symbols: Option<Vec<Option<char>>>,
    /// Of a series how its columns were standardised.
    pub moments: Option<Moments>,
}

/// How a series was standardised.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Moments {
    pub columns: Vec<String>,
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
    pub scale: f32,
}

/// What it was trained on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Data {
    /// Where the file was; none for the bundled weather.
    pub path: Option<PathBuf>,
    pub column: Option<String>,
    pub name: String,
    pub fingerprint: u32,
    pub steps: usize,
    pub batch: usize,
}

/// How it is trained.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub learning_rate: f64,
    pub updates: usize,
    pub save_every: usize,
    pub look_every: usize,
    pub patience: usize,
    pub seed: u64,
    pub half: bool,
}

/// How far training has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Updates made.
    pub step: usize,
    /// Words drawn from the generator that picks batches.
    drawn: String,
    /// The update after which was last validated.
    pub looked: Option<usize>,
    /// What was warned of.
    #[serde(default)]
    pub said: Vec<String>,
    /// The best validation error and the update after which it was found.
    pub best: Option<(f64, usize)>,
    /// Validations since.
    pub since_best: usize,
    pub curve: Vec<Point>,
}

impl Data {
    fn sizes(&self) -> Sizes {
        Sizes { steps: Some(self.steps), batch: Some(self.batch) }
    }
}

impl About {
    pub fn new(task: &Task, config: RnnConfig, data: Data, rule: Rule) -> Self {
        let (symbols, moments) = match task {
            Task::Text(corpus) => (Some(corpus.symbols.clone()), None),
            Task::Series(task) => {
                let (columns, mean, std) = (task.series.columns.clone(), task.mean.clone(), task.std.clone());
                (None, Some(Moments { columns, mean, std, scale: task.scale }))
            }
        };
        let net = Net {
            cell: config.cell.name().to_string(),
            hidden: config.hidden,
            layers: config.layers,
            input: config.input,
            symbols,
            moments,
        };
        let version = env!("CARGO_PKG_VERSION").to_string();
        Self { format: FORMAT, version, net, data, rule, state: State::default() }
    }

    /// As a text, with the generator's place in it.
    pub fn to_text(&self, rng: &ChaCha8Rng) -> Result<String> {
        let mut about = self.clone();
        about.state.drawn = rng.get_word_pos().to_string();
        Ok(serde_json::to_string(&about)?)
    }

    /// The generator that picks batches, where it was.
    pub fn rng(&self) -> Result<ChaCha8Rng> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.rule.seed);
        rng.set_word_pos(self.state.drawn.parse().context("the random state of the checkpoint is damaged")?);
        Ok(rng)
    }

    pub fn config(&self) -> Result<RnnConfig> {
        let cell: Cell = self.net.cell.parse()?;
        Ok(RnnConfig::new(cell, self.net.input, self.net.hidden).layers(self.net.layers))
    }

    pub fn precision(&self) -> Precision {
        if self.rule.half { Precision::Half } else { Precision::Full }
    }
}

/// A model from a file.
pub struct Saved {
    pub path: PathBuf,
    pub checkpoint: Checkpoint,
    pub about: About,
}

impl Saved {
    pub fn open(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let text = checkpoint.text(KEY).with_context(|| {
            format!("{}: expected a model that `wgpu-rnn train` wrote, got another safetensors file", path.display())
        })?;
        let damaged = || format!("{}: what it says of itself can't be read", path.display());
        let format = serde_json::from_str::<serde_json::Value>(text).with_context(damaged)?["format"].clone();
        if format != FORMAT {
            bail!("{}: expected a model of format {FORMAT}, got format {format}", path.display());
        }
        let about: About = serde_json::from_str(text).with_context(damaged)?;
        Ok(Self { path: path.to_path_buf(), checkpoint, about })
    }

    /// The data that it was trained on, to the value; wherever they are now.
    pub fn same_task(&self, data: Option<&Path>) -> Result<Task> {
        let About { data: known, .. } = &self.about;
        let path = data.or(known.path.as_deref());
        let task = load(path, known.column.as_deref(), known.sizes())?;
        let found = task.fingerprint();
        if found != known.fingerprint {
            bail!(
                "{}: expected the data that {} was trained on ({}, fingerprint {:08x}), got others ({found:08x})",
                path.unwrap_or(Path::new(&known.name)).display(),
                self.path.display(),
                known.name,
                known.fingerprint
            );
        }
        Ok(task)
    }

    /// These data, or those that it was trained on, as it sees them.
    pub fn task(&self, data: Option<&Path>) -> Result<Task> {
        let About { net, data: known, .. } = &self.about;
        let Some(path) = data else { return self.same_task(None) };
        if let Some(symbols) = &net.symbols {
            return Task::load_text(path, known.sizes(), Some(symbols));
        }
        if known.column.is_none() {
            bail!("{}: it is a model of the bundled weather, which reads no other file", self.path.display());
        }
        let Task::Series(task) = load(Some(path), known.column.as_deref(), known.sizes())? else {
            bail!("{}: expected a series, got a text", path.display());
        };
        let Some(Moments { columns, mean, std, scale }) = net.moments.clone() else {
            bail!("{}: what it says of itself is of neither a text nor a series", self.path.display());
        };
        if task.series.columns != columns {
            bail!(
                "{}: expected the columns {}, got {}",
                path.display(),
                columns.join(", "),
                task.series.columns.join(", ")
            );
        }
        Ok(Task::Series(task.with_moments(mean, std, scale)))
    }
}

/// A column of a CSV file, else a text, else the bundled weather.
pub fn load(path: Option<&Path>, column: Option<&str>, sizes: Sizes) -> Result<Task> {
    match (path, column) {
        (Some(path), None) => Task::load_text(path, sizes, None),
        (path, column) => Task::load_series(path.zip(column), sizes),
    }
}
