//! `wgpu-rnn compare --claims`: RNN, GRU and LSTM at equal parameters, with several seeds, on problems that need a long
//! memory and on real data.

mod claims;
mod compared;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use wgpu_rnn::{Device, RnnConfig};

use crate::base::device::Choice;
use crate::base::{command_line, say, size, stop, today};
use crate::data::series::Ask;
use crate::learn::training::{self, Plan};
use crate::net::{CELLS, Model, Setup, of_equal_parameters};
use crate::report;
use crate::results::DeviceUsed;
use crate::results::study::{Measured, OfCell, Study, Trial};
use crate::task::{Adding, DelayedCopy, Goals, Kind, More, Sizes, Source, Task, fingerprint};

pub use compared::weigh as compared;

/// What cells are compared on.
#[derive(clap::Args)]
pub struct What {
    #[command(flatten)]
    pub device: Choice,
    /// Forecast a column of this CSV file instead of the bundled weather.
    #[arg(long, requires = "column", conflicts_with = "text")]
    pub csv: Option<PathBuf>,
    /// The column to forecast.
    #[arg(long, requires = "csv")]
    pub column: Option<String>,
    #[command(flatten)]
    pub ask: Ask,
    /// Model this text file character by character instead.
    #[arg(long)]
    pub text: Option<PathBuf>,
    /// Folder for the report.
    #[arg(long, default_value = "report")]
    pub out: PathBuf,
    /// Seed of weights and batches.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl What {
    /// The data that were named.
    pub fn source(&self) -> Source {
        let (kind, path) = match (&self.text, &self.csv) {
            (Some(text), _) => (Kind::Text, Some(text.clone())),
            (None, csv) => (Kind::Series, csv.clone()),
        };
        Source { kind: Some(kind), path, columns: self.column.iter().cloned().collect(), ask: self.ask.clone() }
    }
}

/// How much is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Lags of the adding problem and of delayed copy, separated by commas.
    #[arg(long, requires = "claims", value_delimiter = ',', value_parser = size, default_values_t = [10, 30, 100, 200, 500])]
    lags: Vec<usize>,
    /// Seeds of weights and batches.
    #[arg(long, requires = "claims", value_parser = size, default_value_t = 3)]
    seeds: usize,
    /// Training steps of a made problem that is not learnt before.
    #[arg(long, requires = "claims", value_parser = size, default_value_t = 5000)]
    updates: usize,
    /// Keep what `claims.json` in the folder has of the same problems, measured on the same device, and measure the rest.
    #[arg(long, requires = "claims")]
    keep: bool,
}

#[derive(Clone, Copy)]
struct Asked<'a> {
    what: &'a What,
    options: &'a Options,
}

/// The fewest steps that chrono initialisation can spread.
const SHORTEST: usize = 3;

/// Sequences of a batch of a made problem.
const BATCH: usize = 32;

/// Something to learn.
struct Problem {
    lag: Option<usize>,
    task: Box<dyn Task>,
    /// The fingerprint of its data; none of what is drawn anew.
    data: Option<u32>,
    /// The error at which it counts as learnt.
    learnt: Option<f64>,
    updates: usize,
}

/// What is to be learnt, from short lags to long ones, then real data.
fn problems(asked: Asked<'_>) -> Result<Vec<Problem>> {
    let Options { lags, updates, .. } = asked.options;
    let mut lags = lags.clone();
    lags.sort_unstable();
    lags.dedup();
    if let Some(&lag) = lags.first().filter(|&&lag| lag < SHORTEST) {
        bail!("--lags: expected at least {SHORTEST} steps, got {lag}");
    }
    let mut all = Vec::new();
    for &lag in &lags {
        let task = Box::new(Adding::new(lag, BATCH)?);
        all.push(Problem { lag: Some(lag), task, data: None, learnt: Some(Adding::LEARNT), updates: *updates });
    }
    for &lag in &lags {
        let task = Box::new(DelayedCopy::new(lag, BATCH));
        all.push(Problem { lag: Some(lag), task, data: None, learnt: Some(DelayedCopy::LEARNT), updates: *updates });
    }
    let columns = asked.what.column.iter().cloned().collect();
    let series =
        Source { kind: Some(Kind::Series), path: asked.what.csv.clone(), columns, ask: asked.what.ask.clone() };
    let speech = Source { kind: Some(Kind::Speech), ..Source::default() };
    let text =
        asked.what.text.clone().map(|path| Source { kind: Some(Kind::Text), path: Some(path), ..Source::default() });
    for source in [series, speech].into_iter().chain(text) {
        let task = source.load(Sizes::default(), &Goals::default())?;
        let (data, updates) = (Some(fingerprint(&*task)), task.usual().updates);
        all.push(Problem { lag: None, task, data, learnt: None, updates });
    }
    Ok(all)
}

pub fn run(what: &What, options: &Options) -> Result<()> {
    let asked = Asked { what, options };
    let problems = problems(asked)?;
    let before = if asked.options.keep { Some(report::study::read(&asked.what.out)?) } else { None };
    let device = asked.what.device.begin()?;
    stop::listen()?;
    if let Some(Study { device: other, version, .. }) = &before
        && (other.name != device.name() || version != env!("CARGO_PKG_VERSION"))
    {
        let (here, mine) = (device.name(), env!("CARGO_PKG_VERSION"));
        bail!("--keep: expected what version {mine} measured on {here}, got {version} on {}", other.name);
    }
    let before = before.map_or_else(Vec::new, |study| study.measured);
    let each = CELLS.len() * asked.options.seeds;
    let mut study = Study {
        version: env!("CARGO_PKG_VERSION").to_string(),
        date: today(),
        command: command_line(),
        device: DeviceUsed::of(&device),
        seeds: asked.options.seeds,
        measured: Vec::new(),
        equal_hidden: costs_at_equal_hidden(&device, &problems, asked)?,
        claims: Vec::new(),
    };
    let mut found: Vec<Option<Measured>> =
        problems.iter().map(|problem| before.iter().find(|one| problem.is_measured_by(one, asked)).cloned()).collect();
    for (index, problem) in problems.iter().enumerate() {
        say(format_args!("{}", problem.task.describe()))?;
        if found[index].is_some() {
            say("kept as it was measured")?;
            continue;
        }
        match measure(&device, problem, asked, (index * each, problems.len() * each)) {
            Ok(measured) => found[index] = Some(measured),
            Err(error) if error.is::<stop::Interrupted>() && found.iter().any(Option::is_some) => {
                let (file, count) = (asked.what.out.join("index.html"), found.iter().flatten().count());
                let written = format!("{} has {count} of {} problems, --keep goes on", file.display(), problems.len());
                return Err(stop::Interrupted { written: Some(written) }.into());
            }
            Err(error) => return Err(error),
        }
        // After each problem, with what is kept of those to come, so that what ends the next loses nothing.
        write(&mut study, &found, asked)?;
    }
    write(&mut study, &found, asked)?;
    say(report::study::summary(&study).trim_end())?;
    say(format_args!("report: {}", asked.what.out.join("index.html").display()))?;
    let stopped: Vec<String> = study.measured.iter().flat_map(Measured::stopped).collect();
    if !stopped.is_empty() {
        bail!("training stopped early, which the report says too: {}", stopped.join("; "));
    }
    Ok(())
}

/// Weighs what was found so far, and writes it.
fn write(study: &mut Study, found: &[Option<Measured>], asked: Asked<'_>) -> Result<()> {
    study.measured = found.iter().flatten().cloned().collect();
    study.claims = claims::weigh(&study.measured, &study.equal_hidden);
    stop::hold(|| report::study::write(study, &asked.what.out))
}

impl Problem {
    /// The layers that are compared on it.
    fn configs(&self) -> [RnnConfig; 3] {
        CELLS.map(|cell| of_equal_parameters(cell, self.task.width(), self.task.usual().hidden))
    }

    /// Whether this is what was measured, with the same seeds and as long.
    fn is_measured_by(&self, one: &Measured, asked: Asked<'_>) -> bool {
        let (used, shape) = (self.task.used(), self.task.shape());
        let seeds: Vec<u64> = seeds(asked).collect();
        let same = |cell: &OfCell| cell.trials.iter().map(|trial| trial.seed).eq(seeds.iter().copied());
        (&one.name, &one.task, one.lag) == (&used.name, &used.task, self.lag)
            && (one.steps, one.batch, one.updates) == (shape.steps, shape.batch, self.updates)
            && (one.rate, one.learnt_below, one.data) == (self.task.usual().rate, self.learnt, self.data)
            && one.cells.iter().map(|cell| cell.hidden).eq(self.configs().map(|config| config.hidden))
            && one.cells.iter().all(same)
    }
}

fn seeds(asked: Asked<'_>) -> impl Iterator<Item = u64> {
    let first = asked.what.seed;
    (0..asked.options.seeds as u64).map(move |seed| first.wrapping_add(seed))
}

/// Every cell with every seed on one problem; then what each costs, side by side.
fn measure(device: &Device, problem: &Problem, asked: Asked<'_>, (done, of): (usize, usize)) -> Result<Measured> {
    let (task, usual) = (&*problem.task, problem.task.usual());
    let (score, shape, used) = (task.score(), task.shape(), task.used());
    let configs = problem.configs();
    let mut trials: [Vec<Trial>; 3] = Default::default();
    for (round, seed) in seeds(asked).enumerate() {
        for (place, (config, trials)) in configs.iter().zip(&mut trials).enumerate() {
            let setup = Setup { updates: problem.updates, memory: problem.lag, ..Setup::new(seed, usual.rate) };
            let mut model = Model::new(device, *config, task.form(), setup)?;
            let plan = Plan::until(task, problem.updates, problem.learnt);
            let lag = problem.lag.map_or_else(String::new, |lag| format!(" {lag}"));
            let index = done + round * CELLS.len() + place;
            let progress = training::progress(index, of, *config, &format!("{}{lag}, seed {seed}", used.name));
            let begin = Instant::now();
            let learned = training::train(&mut model, task, seed, plan, &progress)?;
            let learnt = problem.learnt.is_some_and(|goal| learned.best_error <= goal);
            trials.push(Trial {
                seed,
                learnt_after: learnt.then_some(learned.steps),
                updates: learned.steps,
                error: learned.best_error,
                seconds: begin.elapsed().as_secs_f64(),
                curve: learned.curve,
                stopped: learned.stopped,
            });
        }
    }
    let mut cells = costs(device, task, &configs, asked.what.seed)?;
    cells.iter_mut().zip(trials).for_each(|(cell, trials)| cell.trials = trials);
    Ok(Measured {
        name: used.name,
        task: used.task,
        lag: problem.lag,
        steps: shape.steps,
        batch: shape.batch,
        error_name: score.name.to_string(),
        error_unit: score.unit,
        naive_name: score.naive_name,
        naive_error: score.naive,
        learnt_below: problem.learnt,
        updates: problem.updates,
        rate: usual.rate,
        data: problem.data,
        cells,
    })
}

/// Memory and time of each layer on a task, the times measured in turn.
fn costs(device: &Device, task: &dyn Task, configs: &[RnnConfig], seed: u64) -> Result<Vec<OfCell>> {
    let setup = Setup::new(seed, task.usual().rate);
    let model = |config: &RnnConfig| Model::new(device, *config, task.form(), setup);
    let models = configs.iter().map(model).collect::<wgpu_rnn::Result<Vec<_>>>()?;
    let timings = training::time_side_by_side(&models.iter().collect::<Vec<_>>())?;
    let cost = |((config, model), (forward_ms, step_ms)): ((&RnnConfig, &Model), _)| {
        let (allocated, _) = model.memory();
        let weights = model.layer_parameters() as u64 * device.float_bytes();
        OfCell {
            cell: config.cell.title().to_string(),
            hidden: config.hidden,
            parameters: model.layer_parameters(),
            memory_bytes: weights + allocated.reserve + allocated.workspace,
            forward_ms,
            step_ms,
            trials: Vec::new(),
        }
    };
    Ok(configs.iter().zip(&models).zip(timings).map(cost).collect())
}

/// What the cells cost at one hidden size, on the first of the real tasks.
fn costs_at_equal_hidden(device: &Device, problems: &[Problem], asked: Asked<'_>) -> Result<Vec<OfCell>> {
    let Some(problem) = problems.iter().find(|problem| problem.lag.is_none()) else { return Ok(Vec::new()) };
    let (task, hidden) = (&*problem.task, problem.task.usual().hidden);
    let configs = CELLS.map(|cell| RnnConfig::new(cell, task.width(), hidden));
    costs(device, task, &configs, asked.what.seed)
}
