//! `wgpu-rnn compare --claims`: RNN, GRU and LSTM at equal parameters, with several seeds, on problems that need a long
//! memory and on real data.

mod claims;
mod compared;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use wgpu_rnn::{Cell, Device, RnnConfig};

use crate::base::device::Choice;
use crate::base::{command_line, say, size, stop, today};
use crate::data::series::Ask;
use crate::learn::training::{self, Plan};
use crate::learn::{choose, tell};
use crate::net::{CELLS, Model, Setup, of_equal_parameters};
use crate::report;
use crate::results::DeviceUsed;
use crate::results::study::{FEWEST, Measured, OfCell, Study, Trial};
use crate::task::{
    Adding, DelayedCopy, Goals, HORIZON, Judging, Kind, More, Sizes, Source, Stored, Task, Usual, Windowing,
    fingerprint,
};

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
    /// Seed of weights and batches, or the first of several.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Train each net with so many seeds; what differs between fewer than three is not shown to differ [default: 1; with
    /// --claims 3]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    seeds: Option<u16>,
    #[command(flatten)]
    windowing: Windowing,
    #[command(flatten)]
    judging: Judging,
    /// Steps of a sequence of the data that are named [default: 72 of a series, 64 of a text]
    #[arg(long, value_parser = size)]
    steps: Option<usize>,
}

impl What {
    /// The data that were named.
    pub fn source(&self) -> Source {
        let (kind, path) = match (&self.text, &self.csv) {
            (Some(text), _) => (Kind::Text, Some(text.clone())),
            (None, csv) => (Kind::Series, csv.clone()),
        };
        let columns = self.column.iter().cloned().collect();
        Source { kind: Some(kind), path, columns, ask: self.ask.clone(), reset_after: None }
    }

    /// These data, in sequences as they were asked for.
    pub fn load(&self, source: &Source) -> Result<Box<dyn Stored>> {
        source.only_of_series(&[&self.windowing.given(), &self.judging.given(), &source.ask.given()])?;
        let Judging { period, negative } = self.judging;
        let goals = Goals { period, negative, ..self.windowing.goals(&[HORIZON])? };
        source.load(Sizes { steps: self.steps, batch: self.windowing.batch, carries: false }, &goals)
    }

    /// The same as a GRU sees them best.
    pub fn seen(&self, device: &Device, task: Box<dyn Stored>) -> Result<Box<dyn Stored>> {
        let Usual { hidden, updates, .. } = task.usual();
        let gru = RnnConfig::new(Cell::Gru, task.width(), hidden);
        choose(device, task, self.windowing.view, gru, self.seed, updates)
    }

    /// The seeds, so many unless others were asked for.
    pub fn seeds(&self, usual: u16) -> Vec<u64> {
        (0..u64::from(self.seeds.unwrap_or(usual))).map(|seed| self.seed.wrapping_add(seed)).collect()
    }
}

/// How much is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Lags of the adding problem and of delayed copy, separated by commas.
    #[arg(long, requires = "claims", value_delimiter = ',', value_parser = size, default_values_t = [10, 30, 100, 200, 500])]
    lags: Vec<usize>,
    /// Training steps of a made problem that is not learnt before.
    #[arg(long, requires = "claims", value_parser = size, default_value_t = 5000)]
    updates: usize,
    /// Keep what `claims.json` in the folder has of the same problems, measured on the same device, and measure the rest.
    #[arg(long, requires = "claims")]
    keep: bool,
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
    /// What is forecast of them, and how.
    goals: Option<String>,
    /// The error at which it counts as learnt.
    learnt: Option<f64>,
    updates: usize,
}

/// Real data: a series, the bundled speech, and the text that was named.
fn real(what: &What) -> Result<Vec<Box<dyn Stored>>> {
    let bundled = |kind| Source { kind: Some(kind), ..Source::default() }.load(Sizes::default(), &Goals::default());
    let (named, speech) = (what.load(&what.source())?, bundled(Kind::Speech)?);
    Ok(match what.text {
        None => vec![named, speech],
        Some(_) => vec![bundled(Kind::Series)?, speech, named],
    })
}

/// What is to be learnt, from short lags to long ones, then real data.
fn problems(options: &Options, real: Vec<Box<dyn Stored>>) -> Result<Vec<Problem>> {
    let Options { lags, updates, .. } = options;
    let mut lags = lags.clone();
    lags.sort_unstable();
    lags.dedup();
    if let Some(&lag) = lags.first().filter(|&&lag| lag < SHORTEST) {
        bail!("--lags: expected at least {SHORTEST} steps, got {lag}");
    }
    let made = |lag, task, learnt| Problem {
        lag: Some(lag),
        task,
        data: None,
        goals: None,
        learnt: Some(learnt),
        updates: *updates,
    };
    let mut all = Vec::new();
    for &lag in &lags {
        all.push(made(lag, Box::new(Adding::new(lag, BATCH)?), Adding::LEARNT));
    }
    for &lag in &lags {
        all.push(made(lag, Box::new(DelayedCopy::new(lag, BATCH)), DelayedCopy::LEARNT));
    }
    for task in real {
        let (data, goals) = (Some(fingerprint(&*task)), Some(format!("{:?}", task.known().goals())));
        let updates = task.usual().updates;
        all.push(Problem { lag: None, task, data, goals, learnt: None, updates });
    }
    Ok(all)
}

pub fn run(what: &What, options: &Options) -> Result<()> {
    let real = real(what)?;
    let before = if options.keep { Some(report::study::read(&what.out)?) } else { None };
    let device = what.device.begin()?;
    stop::listen()?;
    if let Some(Study { device: other, version, .. }) = &before
        && (other.name != device.name() || version != env!("CARGO_PKG_VERSION"))
    {
        let (here, mine) = (device.name(), env!("CARGO_PKG_VERSION"));
        bail!("--keep: expected what version {mine} measured on {here}, got {version} on {}", other.name);
    }
    let real = real.into_iter().map(|task| what.seen(&device, task)).collect::<Result<_>>()?;
    let (problems, seeds) = (problems(options, real)?, what.seeds(FEWEST as u16));
    let before = before.map_or_else(Vec::new, |study| study.measured);
    let each = CELLS.len() * seeds.len();
    let mut study = Study {
        version: env!("CARGO_PKG_VERSION").to_string(),
        date: today(),
        command: command_line(),
        device: DeviceUsed::of(&device),
        seeds: seeds.len(),
        measured: Vec::new(),
        equal_hidden: costs_at_equal_hidden(&device, &problems, what.seed)?,
        claims: Vec::new(),
    };
    let mut found: Vec<Option<Measured>> =
        problems.iter().map(|problem| before.iter().find(|one| problem.is_measured_by(one, &seeds)).cloned()).collect();
    for (index, problem) in problems.iter().enumerate() {
        tell(&*problem.task)?;
        if found[index].is_some() {
            say("kept as it was measured")?;
            continue;
        }
        match measure(&device, problem, &seeds, (index * each, problems.len() * each)) {
            Ok(measured) => found[index] = Some(measured),
            Err(error) if error.is::<stop::Interrupted>() && found.iter().any(Option::is_some) => {
                let (file, count) = (what.out.join("index.html"), found.iter().flatten().count());
                let written = format!("{} has {count} of {} problems, --keep goes on", file.display(), problems.len());
                return Err(stop::Interrupted { written: Some(written) }.into());
            }
            Err(error) => return Err(error),
        }
        // After each problem, with what is kept of those to come, so that what ends the next loses nothing.
        write(&mut study, &found, &what.out)?;
    }
    write(&mut study, &found, &what.out)?;
    say(report::study::summary(&study).trim_end())?;
    say(format_args!("report: {}", what.out.join("index.html").display()))?;
    let stopped: Vec<String> = study.measured.iter().flat_map(Measured::stopped).collect();
    if !stopped.is_empty() {
        bail!("training stopped early, which the report says too: {}", stopped.join("; "));
    }
    Ok(())
}

/// Weighs what was found so far, and writes it.
fn write(study: &mut Study, found: &[Option<Measured>], out: &Path) -> Result<()> {
    study.measured = found.iter().flatten().cloned().collect();
    study.claims = claims::weigh(&study.measured, &study.equal_hidden);
    stop::hold(|| report::study::write(study, out))
}

impl Problem {
    /// The layers that are compared on it.
    fn configs(&self) -> [RnnConfig; 3] {
        CELLS.map(|cell| of_equal_parameters(cell, self.task.width(), self.task.usual().hidden))
    }

    /// Whether this is what was measured, with the same seeds and as long.
    fn is_measured_by(&self, one: &Measured, seeds: &[u64]) -> bool {
        let (used, shape) = (self.task.used(), self.task.shape());
        let same = |cell: &OfCell| cell.trials.iter().map(|trial| trial.seed).eq(seeds.iter().copied());
        (&one.name, &one.task, one.lag) == (&used.name, &used.task, self.lag)
            && (one.steps, one.batch, one.updates) == (shape.steps, shape.batch, self.updates)
            && (one.rate, one.learnt_below) == (self.task.usual().rate, self.learnt)
            && (one.data, &one.goals) == (self.data, &self.goals)
            && one.cells.iter().map(|cell| cell.hidden).eq(self.configs().map(|config| config.hidden))
            && one.cells.iter().all(same)
    }
}

/// Every cell with every seed on one problem; then what each costs, side by side.
fn measure(device: &Device, problem: &Problem, seeds: &[u64], (done, of): (usize, usize)) -> Result<Measured> {
    let (task, usual) = (&*problem.task, problem.task.usual());
    let (score, shape, used) = (task.score(), task.shape(), task.used());
    let configs = problem.configs();
    let mut trials: [Vec<Trial>; 3] = Default::default();
    for (round, &seed) in seeds.iter().enumerate() {
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
    let mut cells = costs(device, task, &configs, seeds[0])?;
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
        goals: problem.goals.clone(),
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
fn costs_at_equal_hidden(device: &Device, problems: &[Problem], seed: u64) -> Result<Vec<OfCell>> {
    let Some(problem) = problems.iter().find(|problem| problem.lag.is_none()) else { return Ok(Vec::new()) };
    let (task, hidden) = (&*problem.task, problem.task.usual().hidden);
    let configs = CELLS.map(|cell| RnnConfig::new(cell, task.width(), hidden));
    costs(device, task, &configs, seed)
}
