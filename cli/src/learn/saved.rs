//! What a saved model says of itself: enough to use it, and to go on training where it was.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wgpu_rnn::io::Checkpoint;
use wgpu_rnn::{Bias, Cell, Device, Direction, Precision, RnnConfig};

use crate::base::dropouts::Dropouts;
use crate::net::{Form, Model, Setup};
use crate::results::{Point, number};
use crate::task::{Kind, Known, Sizes, Source, Stored, fingerprint};

/// Name of this text in a checkpoint.
pub const KEY: &str = "wgpu-rnn";

/// Name of the best weights in a folder.
pub const BEST: &str = "best.safetensors";

/// The format that is written.
const FORMAT: u32 = 3;

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
    /// Which biases its recurrent layers have.
    #[serde(default = "both")]
    pub bias: String,
    /// What is changed about their steps.
    #[serde(default)]
    pub options: String,
    /// Whether their initial states are parameters.
    #[serde(default)]
    pub learn_state: bool,
    /// Which way their steps go.
    #[serde(default = "forward")]
    pub direction: String,
    /// What is dropped in training.
    #[serde(default)]
    pub dropouts: Dropouts,
    /// Width of what the recurrent layer reads.
    pub input: usize,
    /// What it knows of the data it was trained on.
    pub known: Known,
}

fn both() -> String {
    Bias::Both.name().to_string()
}

fn forward() -> String {
    Direction::Forward.name().to_string()
}

const fn one() -> usize {
    1
}

impl Net {
    /// The recurrent layers in words.
    pub fn words(&self) -> String {
        let layers = if self.layers == 1 { String::new() } else { format!("{} layers of ", self.layers) };
        let cell = self.cell.parse().map_or_else(|_| self.cell.as_str(), |cell: Cell| cell.title());
        let unless = |usual: &str, said: &str, before: &str| match said == usual {
            true => String::new(),
            false => format!(", {before}{said}"),
        };
        let direction = unless(Direction::Forward.name(), &self.direction, "");
        let (bias, options) = (unless(Bias::Both.name(), &self.bias, "biases: "), unless("", &self.options, ""));
        let learnt = if self.learn_state { ", learnt initial states" } else { "" };
        format!("{layers}{cell} H={}{direction}{bias}{options}{learnt}{}", self.hidden, self.dropouts.words(", "))
    }
}

/// What it was trained on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Data {
    /// Where they were.
    pub source: Source,
    pub name: String,
    pub fingerprint: u32,
    pub steps: usize,
    pub batch: usize,
    /// Whether each batch goes on where the one before it ended.
    #[serde(default)]
    pub carries: bool,
    /// How the documents of a text begin.
    #[serde(default)]
    pub opening: Option<char>,
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
    /// Whether the recurrent layers' sequences have the batch as their first axis.
    #[serde(default)]
    pub batch_first: bool,
    /// Batches of an update.
    #[serde(default = "one")]
    pub accumulate: usize,
}

/// How far training has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Updates made.
    pub step: usize,
    /// Words drawn from the generator that picks batches.
    drawn: String,
    /// The loss of the last step.
    #[serde(default)]
    pub loss: Option<f64>,
    /// The update after which was last validated.
    pub looked: Option<usize>,
    /// What was warned of.
    #[serde(default)]
    pub said: Vec<String>,
    /// Every remark, as it was said.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// The best validation error and the update after which it was found.
    pub best: Option<(f64, usize)>,
    /// Validations since.
    pub since_best: usize,
    pub curve: Vec<Point>,
    /// What else was seen at points of the curve.
    #[serde(default)]
    pub pulses: Vec<Pulse>,
}

/// Validations without a better one after which learning may suffer.
const STALLED: usize = 2;

impl State {
    /// Whether learning suffers: validation no longer finds better, or nothing better than the `naive` answer, and the
    /// training loss no longer falls either. A loss that falls meanwhile is of a training that learns its data by heart.
    pub fn suffers(&self, naive: f64) -> bool {
        let error = self.curve.last().map_or(f64::INFINITY, |point| point.validation_error);
        let (before, latest) = self.curve.split_at(self.curve.len().saturating_sub(STALLED));
        let least = |points: &[Point]| points.iter().map(|point| point.train_loss).fold(f64::INFINITY, f64::min);
        let stalls = self.since_best >= STALLED || error >= naive;
        self.step > 0 && stalls && least(latest) >= least(before)
    }
}

/// How training went at a point of its curve.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pulse {
    pub step: usize,
    /// Learning rate of the step before.
    pub rate: f64,
    /// Norm of its gradients before clipping.
    #[serde(deserialize_with = "number")]
    pub gradient_norm: f64,
}

impl Data {
    fn sizes(&self) -> Sizes {
        Sizes { steps: Some(self.steps), batch: Some(self.batch), carries: self.carries }
    }
}

impl About {
    pub fn new(task: &dyn Stored, config: RnnConfig, data: Data, rule: Rule) -> Self {
        let net = Net {
            cell: config.cell.name().to_string(),
            hidden: config.hidden,
            layers: config.layers,
            bias: config.bias.name().to_string(),
            options: config.options.to_string(),
            learn_state: config.learns_state,
            direction: config.direction.name().to_string(),
            dropouts: Dropouts::of(&config),
            input: config.input,
            known: task.known(),
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
        let bias: Bias = self.net.bias.parse()?;
        let layer = RnnConfig::new(cell, self.net.input, self.net.hidden).layers(self.net.layers);
        let layer = layer.bias(bias).options(self.net.options.parse()?).learn_state(self.net.learn_state);
        Ok(self.net.dropouts.onto(layer.direction(self.net.direction.parse()?)))
    }

    /// How the model was begun.
    pub fn setup(&self) -> Setup {
        let Rule { learning_rate: rate, updates, seed, half, batch_first, accumulate, .. } = self.rule;
        let batches = u32::try_from(accumulate).unwrap_or(u32::MAX);
        let precision = if half { Precision::Half } else { Precision::Full };
        Setup { precision, batch_first, updates, batches, ..Setup::new(seed, rate) }
    }
}

/// A model from a file.
pub struct Saved {
    pub path: PathBuf,
    pub checkpoint: Checkpoint,
    pub about: About,
}

impl Saved {
    /// A file, or the best of the folder that `train` wrote.
    pub fn open(path: &Path) -> Result<Self> {
        let best = path.join(BEST);
        let path = if path.is_dir() && best.exists() { &best } else { path };
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
        if about.data.steps == 0 || about.data.batch == 0 || !about.net.known.is_sound() {
            return Err(anyhow::anyhow!("its sizes don't fit each other").context(damaged()));
        }
        Ok(Self { path: path.to_path_buf(), checkpoint, about })
    }

    /// The data that it was trained on, to the value; wherever they are now.
    pub fn same_task(&self, data: Option<&Path>) -> Result<Box<dyn Stored>> {
        let About { net, data: known, .. } = &self.about;
        let source = self.source(data)?;
        let other = || format!("expected the data that {} was trained on", self.path.display());
        let task = source.load(known.sizes(), &net.known.goals()).with_context(other)?;
        let found = fingerprint(&*task);
        if found != known.fingerprint {
            bail!(
                "{}: expected the data that {} was trained on ({}, fingerprint {:08x}), got others ({found:08x})",
                source.path.as_deref().unwrap_or(Path::new(&known.name)).display(),
                self.path.display(),
                known.name,
                known.fingerprint
            );
        }
        Ok(task)
    }

    /// These data, or those that it was trained on, as it sees them.
    pub fn task(&self, data: Option<&Path>) -> Result<Box<dyn Stored>> {
        match data {
            None => self.same_task(None),
            Some(_) => self.about.net.known.load(&self.source(data)?, self.about.data.sizes()),
        }
    }

    /// Where data of its kind come from: from this file, or from where those are that it was trained on.
    pub fn source(&self, data: Option<&Path>) -> Result<Source> {
        let known = &self.about.data.source;
        if data.is_some() && known.path.is_none() && known.kind() == Kind::Series {
            bail!("{}: it is a model of the bundled weather, which reads no other file", self.path.display());
        }
        Ok(Source { path: data.map(Path::to_path_buf).or_else(|| known.path.clone()), ..known.clone() })
    }

    /// The model of `form`, with its weights.
    pub fn model(&self, device: &Device, form: Form) -> Result<Model> {
        let model = Model::new(device, self.about.config()?, form, self.about.setup())?;
        model.load(&self.checkpoint)?;
        let values = model.snapshot()?;
        for entry in model.parameters().entries() {
            if let Some(odd) = values[entry.offset..][..entry.len()].iter().find(|value| !value.is_finite()) {
                bail!("{}, tensor `{}`: expected finite weights, got {odd}", self.path.display(), entry.name);
            }
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A training with these training losses and validation errors.
    fn state(points: &[[f64; 2]]) -> State {
        let mut state = State::default();
        for (step, &[train_loss, validation_error]) in points.iter().enumerate() {
            let step = 100 * step;
            state.curve.push(Point { step, train_loss, validation_loss: validation_error, validation_error });
            state.step = step;
            match state.best {
                Some((best, _)) if validation_error >= best => state.since_best += 1,
                _ => (state.best, state.since_best) = (Some((validation_error, step)), 0),
            }
        }
        state
    }

    #[test]
    fn learning_suffers_where_neither_loss_falls() {
        let by_heart = [[5.0, 5.0], [2.0, 3.0], [1.5, 2.6], [1.3, 2.7], [1.2, 2.8], [1.1, 2.9]];
        assert!(!state(&by_heart).suffers(5.2), "it overfits");
        let stuck = [[5.0, 5.0], [2.0, 3.0], [1.5, 2.6], [1.6, 2.7], [1.5, 2.8]];
        assert!(state(&stuck).suffers(5.2));
        let naive = [[1.0, 1.0], [0.9, 0.99], [0.95, 0.98], [0.92, 0.97]];
        assert!(state(&naive).suffers(0.9) && !state(&naive).suffers(1.1), "no better than the naive answer");
        assert!(!state(&[[1.0, 1.0], [0.8, 0.99], [0.6, 0.98]]).suffers(0.9), "it has only begun");
        assert!(!state(&[[1.0, 1.0]]).suffers(0.9), "nothing was trained");
    }
}
