//! Training a model, with progress, and timing trained models side by side.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::RnnConfig;

use super::model::Model;
use super::task::Task;
use crate::results::{Point, Spread};
use crate::stop;
use crate::time::{median, sorted};

/// What training gave.
pub struct Learned {
    pub steps: usize,
    pub curve: Vec<Point>,
    pub best_error: f64,
    /// The parameters at the best validation error.
    pub best: Vec<f32>,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
}

/// A bar on a terminal, lines elsewhere.
pub struct Progress {
    name: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new(index: usize, of: usize, config: RnnConfig, group: &str) -> Self {
        let name = format!("[{}/{of}] {} H={} ({group})", index + 1, config.cell.title(), config.hidden);
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} {eta}");
            let bar = ProgressBar::new(0).with_prefix(name.clone());
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        Self { name, bar }
    }

    fn begin(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(steps as u64);
        }
    }

    fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn point(&self, point: &Point, unit: &str) {
        let text = format!("loss {:.4}, validation {:.3} {unit}", point.train_loss, point.validation_error);
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => println!("{} step {}: {}", self.name, point.step, text.trim_end()),
        }
    }

    fn end(&self, learned: &Learned) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        if let Some(why) = &learned.stopped {
            println!("{} stopped: {why}", self.name);
        }
    }
}

/// Trains for the task's steps, or for `limit` by the clock. Every model of a task sees the same batches. A loss or
/// gradient that is not finite ends training; the best weights until then are kept.
pub fn train(
    model: &mut Model,
    task: &Task,
    seed: u64,
    limit: Option<Duration>,
    progress: &Progress,
) -> anyhow::Result<Learned> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let steps = if limit.is_some() { usize::MAX } else { task.training_steps() };
    progress.begin(if limit.is_some() { 0 } else { steps });
    let mut learned =
        Learned { steps: 0, curve: Vec::new(), best_error: f64::INFINITY, best: model.snapshot()?, stopped: None };
    let start = Instant::now();
    loop {
        let out_of_time = limit.is_some_and(|limit| start.elapsed() >= limit);
        let last = learned.steps >= steps || out_of_time || stop::asked();
        if last || learned.steps.is_multiple_of(task.point_every()) {
            if let Some(why) = look(model, task, seed, &mut learned, progress)? {
                learned.stopped = Some(why);
                break;
            }
        }
        if last {
            break;
        }
        task.feed(model, &mut rng)?;
        model.step()?;
        learned.steps += 1;
        progress.step();
    }
    progress.end(&learned);
    Ok(learned)
}

/// Reads the loss, validates, and keeps the weights when they are the best so far. The answer is why training must end.
fn look(
    model: &mut Model,
    task: &Task,
    seed: u64,
    learned: &mut Learned,
    progress: &Progress,
) -> anyhow::Result<Option<String>> {
    let train_loss = match learned.steps {
        // Nothing was trained yet: the loss of the batch that will come first.
        0 => {
            task.feed(model, &mut ChaCha8Rng::seed_from_u64(seed))?;
            model.validation_loss()?
        }
        _ => match model.checked_loss(learned.steps) {
            Ok(loss) => loss,
            Err(error @ wgpu_rnn::Error::NonFinite { .. }) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error.into()),
        },
    };
    let validation_error = task.validate(model)?;
    let point = Point { step: learned.steps, train_loss, validation_error };
    progress.point(&point, &task.error_unit());
    learned.curve.push(point);
    if validation_error < learned.best_error {
        learned.best_error = validation_error;
        learned.best = model.snapshot()?;
    }
    Ok(None)
}

/// Rounds of timing, after one that warms up.
const ROUNDS: usize = 15;

/// Forward pass and training step of each model, measured in turn so that whatever else the machine does meets all
/// alike. Training goes on while it is timed, so the weights that matter must be elsewhere by then.
pub fn time_side_by_side(models: &[&Model]) -> anyhow::Result<Vec<(Spread, Spread)>> {
    let mut times = vec![(Vec::new(), Vec::new()); models.len()];
    for round in 0..=ROUNDS {
        for (model, (forward, step)) in models.iter().zip(&mut times) {
            let (f, s) = (model.time_forward()?, model.time_step()?);
            if round > 0 {
                forward.push(f);
                step.push(s);
            }
        }
    }
    Ok(times.into_iter().map(|(forward, step)| (spread(forward), spread(step))).collect())
}

fn spread(values: Vec<f64>) -> Spread {
    let values = sorted(values.into_iter());
    Spread { median: median(&values), min: values[0], max: values[values.len() - 1], runs: values.len() }
}
