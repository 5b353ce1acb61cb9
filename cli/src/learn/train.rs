//! `wgpu-rnn train`: trains a model on one's own data, keeps what is needed to go on, and the best so far.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::probe::{Warning, Watch};
use wgpu_rnn::{Cell, Error, Precision, RnnConfig};

use super::about::{About, Data, KEY, Rule, Saved};
use crate::device::Choice;
use crate::net::{Inside, Model};
use crate::report;
use crate::results::Point;
use crate::task::{Goals, Kind, MEDIAN, More, Sizes, Source, Stored, fingerprint};
use crate::{say, stop};

/// What is written in the folder.
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
/// What is forecast of a series: so many rows ahead, at these levels.
const HORIZONS: [usize; 3] = [1, 6, 24];
const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];

/// Arguments of `train`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: Choice,
    /// Train on this file instead of the bundled weather: a CSV file with --column, a .ts file of utterances, else a text,
    /// character by character.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the model: `last.safetensors`, to go on from, and `best.safetensors`.
    #[arg(long, default_value = "model")]
    out: PathBuf,
    /// Go on from `last.safetensors` in the folder, on the same data, as if training had never stopped.
    #[arg(long, conflicts_with = "New")]
    resume: bool,
    /// Do not look inside the model for gradients that vanish, gates that are saturated and the like.
    #[arg(long)]
    no_warnings: bool,
    #[command(flatten)]
    new: New,
}

/// What a training begins with; one that goes on has it from its checkpoint.
#[derive(clap::Args)]
#[group(id = "New", multiple = true)]
struct New {
    /// What the data are, where their name does not say; without --data, which bundled data to take: series (the weather)
    /// or speech (Japanese vowels).
    #[arg(long, value_enum)]
    task: Option<Kind>,
    /// Columns of the series that are forecast, separated by commas [default of the weather: temp]
    #[arg(long, value_delimiter = ',')]
    column: Vec<String>,
    /// How many rows ahead of the last known one each column is forecast, separated by commas [default: 1,6,24]
    #[arg(long, value_delimiter = ',', value_parser = crate::size)]
    horizons: Vec<usize>,
    /// Quantiles that are forecast, between 0 and 1 and 0.5 among them, separated by commas; the outer ones are an
    /// interval. `none` forecasts the mean [default: 0.05,0.5,0.95]
    #[arg(long, value_parser = levels)]
    quantiles: Option<Levels>,
    /// Cell: lstm, gru, rnn_tanh or rnn_relu [default: lstm]
    #[arg(long)]
    cell: Option<Cell>,
    /// Hidden size [default: 32 for a series, 128 for a text, 64 for speech]
    #[arg(long, value_parser = crate::size)]
    hidden: Option<usize>,
    /// Layers [default: 1]
    #[arg(long, value_parser = crate::size)]
    layers: Option<usize>,
    /// Steps of a sequence [default: 72 of a series, 64 of a text; utterances are as long as they are]
    #[arg(long, value_parser = crate::size)]
    steps: Option<usize>,
    /// Sequences of a batch [default: 64 of a series, 32 of a text, 27 of speech]
    #[arg(long, value_parser = crate::size)]
    batch: Option<usize>,
    /// Training steps, over which the learning rate falls [default: 2000]
    #[arg(long, value_parser = crate::size)]
    updates: Option<usize>,
    /// Learning rate of Adam [default: 0.002 for a series, 0.006 for a text, 0.005 for speech]
    #[arg(long, value_parser = rate)]
    learning_rate: Option<f64>,
    /// Training steps between checkpoints [default: 100]
    #[arg(long, value_parser = crate::size)]
    save_every: Option<usize>,
    /// Training steps between validations [default: 100]
    #[arg(long, value_parser = crate::size)]
    look_every: Option<usize>,
    /// Validations without a better one after which training ends [default: 10]
    #[arg(long, value_parser = crate::size)]
    patience: Option<usize>,
    /// full: f32. half: packed weights and activations stored as f16, with a loss scale; on GPUs that have f16
    /// [default: full]
    #[arg(long)]
    precision: Option<Precision>,
    /// Seed of weights and batches [default: 1]
    #[arg(long)]
    seed: Option<u64>,
}

/// Ascending levels of quantiles, or none.
#[derive(Clone, Debug)]
struct Levels(Vec<f64>);

fn levels(text: &str) -> Result<Levels, String> {
    if text == "none" {
        return Ok(Levels(Vec::new()));
    }
    let level = |part: &str| part.trim().parse().ok().filter(|level: &f64| *level > 0.0 && *level < 1.0);
    let levels: Option<Vec<f64>> = text.split(',').map(level).collect();
    let levels = levels.filter(|levels| levels.is_sorted_by(|a, b| a < b) && levels.contains(&MEDIAN));
    let expected = || "expected ascending numbers between 0 and 1 with 0.5 among them, or `none`".to_string();
    levels.map(Levels).ok_or_else(expected)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a number above zero".to_string())
}

impl New {
    /// What training begins with on these data.
    fn about(&self, data: Option<&Path>) -> Result<(Box<dyn Stored>, About)> {
        let path = data.map(kept_path).transpose()?;
        let mut source = Source { kind: self.task, path: data.map(Path::to_path_buf), columns: self.column.clone() };
        let kind = source.kind();
        if kind != Kind::Series && !(self.horizons.is_empty() && self.quantiles.is_none()) {
            bail!("--horizons and --quantiles: expected a series to forecast, which these data are not");
        }
        if kind == Kind::Speech && self.steps.is_some() {
            bail!("--steps: expected none, since utterances are as long as they are");
        }
        if let Some(twice) = self.horizons.iter().enumerate().find(|(at, h)| self.horizons[..*at].contains(h)) {
            bail!("--horizons: expected every horizon once, got {} again", twice.1);
        }
        let horizons = if self.horizons.is_empty() { HORIZONS.to_vec() } else { self.horizons.clone() };
        let levels = self.quantiles.as_ref().map_or(LEVELS.to_vec(), |levels| levels.0.clone());
        let task = source.load(Sizes { steps: self.steps, batch: self.batch }, &Goals { horizons, levels })?;
        (source.kind, source.path) = (Some(kind), path);
        let (usual, shape) = (task.usual(), task.shape());
        let hidden = self.hidden.unwrap_or(usual.trained_hidden);
        let config =
            RnnConfig::new(self.cell.unwrap_or(Cell::Lstm), task.width(), hidden).layers(self.layers.unwrap_or(1));
        let (name, fingerprint) = (task.used().name, fingerprint(&*task));
        let data = Data { source, name, fingerprint, steps: shape.steps, batch: shape.batch };
        let rule = Rule {
            learning_rate: self.learning_rate.unwrap_or(usual.rate),
            updates: self.updates.unwrap_or(2000),
            save_every: self.save_every.unwrap_or(100),
            look_every: self.look_every.unwrap_or(100),
            patience: self.patience.unwrap_or(10),
            seed: self.seed.unwrap_or(1),
            half: self.precision == Some(Precision::Half),
        };
        let about = About::new(&*task, config, data, rule);
        Ok((task, about))
    }
}

/// A path as a checkpoint keeps it.
fn kept_path(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).context("the data's path can't be made absolute")?;
    if path.to_str().is_none() {
        bail!("{}: expected a path in UTF-8, which a checkpoint can hold", path.display());
    }
    Ok(path)
}

pub fn run(args: &Args) -> Result<()> {
    let last = args.out.join(LAST);
    let there = [LAST, BEST].map(|name| args.out.join(name)).into_iter().find(|file| file.exists());
    let saved = match (args.resume, &there) {
        (true, _) => Some(Saved::open(&last)?),
        (false, None) => None,
        (false, Some(file)) => {
            bail!(
                "{}: there is a model already; go on with --resume, or name another folder with --out",
                file.display()
            )
        }
    };
    let (task, about) = match &saved {
        Some(saved) => {
            let mut about = saved.about.clone();
            if let Some(path) = &args.data {
                about.data.source.path = Some(kept_path(path)?);
            }
            (saved.same_task(args.data.as_deref())?, about)
        }
        None => args.new.about(args.data.as_deref())?,
    };
    report::check_writable(&args.out)?;
    let device = args.device.begin()?;
    stop::listen()?;
    say(format_args!("data: {}", task.describe()))?;
    let config = about.config()?;
    let model = Model::new(&device, config, task.form(), about.setup())?;
    let rng = match &saved {
        Some(saved) => {
            model.resume(&saved.checkpoint)?;
            about.rng()?
        }
        None => ChaCha8Rng::seed_from_u64(about.rule.seed),
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}: could not make the folder", args.out.display()))?;
    let count = report::count(model.parameters().count() as u64);
    let layers = if config.layers == 1 { String::new() } else { format!("{} layers of ", config.layers) };
    say(format_args!("validation: {}", task.score().meaning()))?;
    say(format_args!("model: {layers}{} H={}, {count} parameters", config.cell.title(), config.hidden))?;
    let inside = (!args.no_warnings).then(|| model.inside()).transpose()?;
    let (bar, watch) = (Bar::new(&about), Watch::resume(about.state.said.clone()));
    Training { task, model, about, rng, out: &args.out, bar, began: Instant::now(), first: None, inside, watch }.run()
}

/// A training on its way.
struct Training<'a> {
    task: Box<dyn Stored>,
    model: Model,
    about: About,
    rng: ChaCha8Rng,
    out: &'a Path,
    bar: Bar,
    began: Instant,
    /// The update that it began at, this time.
    first: Option<usize>,
    /// What looks inside.
    inside: Option<Inside>,
    watch: Watch,
}

impl Training<'_> {
    fn run(&mut self) -> Result<()> {
        self.first = Some(self.about.state.step);
        loop {
            let (step, rule, asked) = (self.about.state.step, &self.about.rule, stop::asked());
            let (last, save) = (step >= rule.updates, step.is_multiple_of(rule.save_every));
            if (last || step.is_multiple_of(rule.look_every)) && self.about.state.looked != Some(step) {
                self.look()?;
                self.save(LAST)?;
            } else if (save || asked) && self.first != Some(step) {
                self.save(LAST)?;
            }
            let over = self.about.state.since_best >= self.about.rule.patience;
            if last || over {
                break self.end(over && !last);
            }
            if asked {
                self.bar.end();
                let written = format!("{} is after step {step}, --resume goes on", self.out.join(LAST).display());
                return Err(stop::Interrupted { written: Some(written) }.into());
            }
            self.task.feed(&mut self.model, &mut self.rng)?;
            self.model.step()?;
            self.about.state.step += 1;
            self.bar.step();
        }
    }

    /// Validates, and keeps what is best.
    fn look(&mut self) -> Result<()> {
        let step = self.about.state.step;
        let loss = match step {
            // Nothing was trained yet: the loss of the batch that will come first.
            0 => {
                self.task.feed(&mut self.model, &mut self.rng.clone())?;
                self.model.validation_loss()?
            }
            _ => self.checked_loss()?,
        };
        // Of the batch that was trained on last, which validation replaces.
        self.warn()?;
        let validation_error = self.task.validate(&mut self.model)?;
        if !(loss.is_finite() && validation_error.is_finite()) {
            let what = "the loss or the validation error".to_string();
            return Err(Error::NonFinite { what, step: step as u64, got: loss + validation_error }.into());
        }
        let point = Point { step, train_loss: self.task.in_units(loss), validation_error };
        let pace = Pace {
            made: step - self.first.unwrap_or(0),
            left: self.about.rule.updates - step,
            batch: self.task.shape().batch,
            took: self.began.elapsed(),
        };
        self.bar.point(&point, &self.task.score().unit, &pace)?;
        let state = &mut self.about.state;
        state.curve.push(point);
        state.looked = Some(step);
        if state.best.is_none_or(|(best, _)| validation_error < best) {
            (state.best, state.since_best) = (Some((validation_error, step)), 0);
            self.save(BEST)?;
        } else {
            state.since_best += 1;
        }
        Ok(())
    }

    /// Looks inside, on the batch that was trained on last, and says what is wrong there.
    fn warn(&mut self) -> Result<()> {
        let Some(inside) = &self.inside else { return Ok(()) };
        let Some((flow, activity)) = inside.look(&self.model)? else { return Ok(()) };
        // A dynamic loss scale finds its size by gradients that overflow: they explode by it, not by the model.
        if self.about.rule.half && !flow.is_finite() {
            return Ok(());
        }
        for warning in self.watch.look(self.about.state.step as u64, &flow, &activity) {
            self.bar.warn(&warning)?;
        }
        self.about.state.said = self.watch.said().map(str::to_string).collect();
        Ok(())
    }

    /// The loss of the last step. Where that, or its gradient, is not finite, what is wrong inside is said first.
    fn checked_loss(&mut self) -> Result<f64> {
        match self.model.checked_loss() {
            Err(error @ Error::NonFinite { .. }) => {
                self.warn()?;
                self.bar.end();
                bail!("{error}; try a smaller --learning-rate, or look for such values in the data")
            }
            other => Ok(other?),
        }
    }

    /// Saves everything in one file, unless training has gone wrong: then what was there is better.
    fn save(&mut self, name: &str) -> Result<()> {
        if self.about.state.step > 0 && self.first != Some(self.about.state.step) {
            self.checked_loss()?;
        }
        let text = self.about.to_text(&self.rng)?;
        Ok(stop::hold(|| self.model.save(&self.out.join(name), (KEY, &text)))?)
    }

    fn end(&self, early: bool) -> Result<()> {
        self.bar.end();
        let (best, step) = (self.about.state.best, self.about.state.step);
        if early {
            say(format_args!(
                "stopped after step {step}: no better validation in {} of them",
                self.about.rule.patience
            ))?;
        }
        if let Some((error, at)) = best {
            let score = self.task.score();
            let (best, naive) = (score.as_text(error), score.as_text(score.naive));
            say(format_args!("best {}: {best} after step {at} (naive: {naive})", score.name))?;
        }
        Ok(say(format_args!("model: {}", self.out.join(BEST).display()))?)
    }
}

/// How fast training goes.
struct Pace {
    /// Updates made since it began, and still to make.
    made: usize,
    left: usize,
    batch: usize,
    took: Duration,
}

impl Pace {
    /// Sequences a second; none before the first update.
    fn speed(&self) -> Option<f64> {
        let speed = (self.made * self.batch) as f64 / self.took.as_secs_f64();
        (self.made > 0 && speed.is_finite()).then_some(speed)
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(speed) = self.speed() else { return Ok(()) };
        let left = self.took.mul_f64(self.left as f64 / self.made as f64);
        write!(f, ", {speed:.0} sequences/s, {} left", HumanDuration(left))
    }
}

/// A bar on a terminal, lines elsewhere.
struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new(about: &About) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // Fits 80 columns, and is cut where there are fewer.
            let style = ProgressStyle::with_template("{bar:12} {pos}/{len} {eta} {wide_msg}");
            let bar = ProgressBar::new(about.rule.updates as u64).with_position(about.state.step as u64);
            bar.reset_eta();
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        Self { bar }
    }

    fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn point(&self, point: &Point, unit: &str, pace: &Pace) -> std::io::Result<()> {
        let Point { step, train_loss, validation_error } = point;
        match &self.bar {
            // The bar has the time left.
            Some(bar) => {
                let speed = pace.speed().map_or_else(String::new, |speed| format!(", {speed:.0} seq/s"));
                let error = format!("{validation_error:.3} {unit}");
                bar.set_message(format!("loss {train_loss:.3}, {}{speed}", error.trim_end()));
                Ok(())
            }
            None => {
                let error = format!("{validation_error:.4} {unit}");
                say(format_args!("step {step}: loss {train_loss:.4}, validation {}{pace}", error.trim_end()))
            }
        }
    }

    fn warn(&self, warning: &Warning) -> std::io::Result<()> {
        match &self.bar {
            Some(bar) => {
                bar.println(format!("warning: {warning}"));
                Ok(())
            }
            None => say(format_args!("warning: {warning}")),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
            let _ = writeln!(std::io::stderr());
        }
    }
}
