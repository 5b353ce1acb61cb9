//! `wgpu-rnn compare --claims`: RNN, GRU and LSTM at equal parameters, with several seeds, on problems that need a long
//! memory and on real data.

mod claims;
mod found;

use std::time::Instant;

use anyhow::{Result, bail};
use wgpu_rnn::{Device, RnnConfig};

use super::train::{self, Plan, Progress};
use super::{Args, CELLS, of_equal_parameters};
use crate::net::{Model, Setup};
use crate::results::DeviceUsed;
use crate::task::{Adding, DelayedCopy, Goals, Kind, More, Sizes, Source, Task, fingerprint};
use crate::{report, say, stop};

pub use found::{Measured, OfCell, Seeds, Study, Trial, Weighed, made};

/// How much is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Lags of the adding problem and of delayed copy, separated by commas.
    #[arg(long, requires = "claims", value_delimiter = ',', value_parser = crate::size, default_values_t = [10, 30, 100, 200, 500])]
    lags: Vec<usize>,
    /// Seeds of weights and batches.
    #[arg(long, requires = "claims", value_parser = crate::size, default_value_t = 3)]
    seeds: usize,
    /// Training steps of a made problem that is not learnt before.
    #[arg(long, requires = "claims", value_parser = crate::size, default_value_t = 5000)]
    updates: usize,
    /// Keep what `claims.json` in the folder has of the same problems, measured on the same device, and measure the rest.
    #[arg(long, requires = "claims")]
    keep: bool,
}

/// The fewest seeds that show anything.
pub const FEWEST: usize = 3;

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
fn problems(args: &Args) -> Result<Vec<Problem>> {
    let Options { lags, updates, .. } = &args.study;
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
    let columns = args.column.iter().cloned().collect();
    let series = Source { kind: Some(Kind::Series), path: args.csv.clone(), columns };
    let speech = Source { kind: Some(Kind::Speech), ..Source::default() };
    let text = args.text.clone().map(|path| Source { kind: Some(Kind::Text), path: Some(path), columns: Vec::new() });
    for source in [series, speech].into_iter().chain(text) {
        let task = source.load(Sizes::default(), &Goals::default())?;
        let (data, updates) = (Some(fingerprint(&*task)), task.usual().updates);
        all.push(Problem { lag: None, task, data, learnt: None, updates });
    }
    Ok(all)
}

pub fn run(args: &Args) -> Result<()> {
    let problems = problems(args)?;
    let before = if args.study.keep { Some(report::study::read(&args.out)?) } else { None };
    let device = args.device.begin()?;
    stop::listen()?;
    if let Some(Study { device: other, version, .. }) = &before
        && (other.name != device.name() || version != env!("CARGO_PKG_VERSION"))
    {
        let (here, mine) = (device.name(), env!("CARGO_PKG_VERSION"));
        bail!("--keep: expected what version {mine} measured on {here}, got {version} on {}", other.name);
    }
    let before = before.map_or_else(Vec::new, |study| study.measured);
    let each = CELLS.len() * args.study.seeds;
    let mut study = Study {
        version: env!("CARGO_PKG_VERSION").to_string(),
        date: crate::today()?,
        command: crate::command_line(),
        device: DeviceUsed::of(&device),
        seeds: args.study.seeds,
        measured: Vec::new(),
        equal_hidden: costs_at_equal_hidden(&device, &problems, args)?,
        claims: Vec::new(),
    };
    let mut found: Vec<Option<Measured>> =
        problems.iter().map(|problem| before.iter().find(|one| problem.is_measured_by(one, args)).cloned()).collect();
    for (index, problem) in problems.iter().enumerate() {
        say(format_args!("{}", problem.task.describe()))?;
        if found[index].is_some() {
            say("kept as it was measured")?;
            continue;
        }
        match measure(&device, problem, args, (index * each, problems.len() * each)) {
            Ok(measured) => found[index] = Some(measured),
            Err(error) if error.is::<stop::Interrupted>() && found.iter().any(Option::is_some) => {
                let (file, count) = (args.out.join("index.html"), found.iter().flatten().count());
                let written = format!("{} has {count} of {} problems, --keep goes on", file.display(), problems.len());
                return Err(stop::Interrupted { written: Some(written) }.into());
            }
            Err(error) => return Err(error),
        }
        // After each problem, with what is kept of those to come, so that what ends the next loses nothing.
        write(&mut study, &found, args)?;
    }
    write(&mut study, &found, args)?;
    say(report::study::summary(&study).trim_end())?;
    say(format_args!("report: {}", args.out.join("index.html").display()))?;
    let stopped: Vec<String> = study.measured.iter().flat_map(Measured::stopped).collect();
    if !stopped.is_empty() {
        bail!("training stopped early, which the report says too: {}", stopped.join("; "));
    }
    Ok(())
}

/// Weighs what was found so far, and writes it.
fn write(study: &mut Study, found: &[Option<Measured>], args: &Args) -> Result<()> {
    study.measured = found.iter().flatten().cloned().collect();
    study.claims = claims::weigh(&study.measured, &study.equal_hidden);
    stop::hold(|| report::study::write(study, &args.out))
}

impl Problem {
    /// The layers that are compared on it.
    fn configs(&self) -> [RnnConfig; 3] {
        CELLS.map(|cell| of_equal_parameters(cell, self.task.width(), self.task.usual().hidden))
    }

    /// Whether this is what was measured, with the same seeds and as long.
    fn is_measured_by(&self, one: &Measured, args: &Args) -> bool {
        let (used, shape) = (self.task.used(), self.task.shape());
        let seeds: Vec<u64> = seeds(args).collect();
        let same = |cell: &OfCell| cell.trials.iter().map(|trial| trial.seed).eq(seeds.iter().copied());
        (&one.name, &one.task, one.lag) == (&used.name, &used.task, self.lag)
            && (one.steps, one.batch, one.updates) == (shape.steps, shape.batch, self.updates)
            && (one.rate, one.learnt_below, one.data) == (self.task.usual().rate, self.learnt, self.data)
            && one.cells.iter().map(|cell| cell.hidden).eq(self.configs().map(|config| config.hidden))
            && one.cells.iter().all(same)
    }
}

fn seeds(args: &Args) -> impl Iterator<Item = u64> {
    let first = args.seed;
    (0..args.study.seeds as u64).map(move |seed| first.wrapping_add(seed))
}

/// Every cell with every seed on one problem; then what each costs, side by side.
fn measure(device: &Device, problem: &Problem, args: &Args, (done, of): (usize, usize)) -> Result<Measured> {
    let (task, usual) = (&*problem.task, problem.task.usual());
    let (score, shape, used) = (task.score(), task.shape(), task.used());
    let configs = problem.configs();
    let mut trials: [Vec<Trial>; 3] = Default::default();
    for (round, seed) in seeds(args).enumerate() {
        for (place, (config, trials)) in configs.iter().zip(&mut trials).enumerate() {
            let setup = Setup { updates: problem.updates, memory: problem.lag, ..Setup::new(seed, usual.rate) };
            let mut model = Model::new(device, *config, task.form(), setup)?;
            let plan = Plan::until(task, problem.updates, problem.learnt);
            let lag = problem.lag.map_or_else(String::new, |lag| format!(" {lag}"));
            let index = done + round * CELLS.len() + place;
            let progress = Progress::new(index, of, *config, &format!("{}{lag}, seed {seed}", used.name));
            let begin = Instant::now();
            let learned = train::train(&mut model, task, seed, plan, &progress)?;
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
    let mut cells = costs(device, task, &configs, args.seed)?;
    cells.iter_mut().zip(trials).for_each(|(cell, trials)| cell.trials = trials);
    Ok(Measured {
        name: used.name,
        task: used.task,
        lag: problem.lag,
        steps: shape.steps,
        batch: shape.batch,
        error_name: score.name.to_string(),
        error_unit: score.unit,
        naive_name: score.naive_name.to_string(),
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
    let timings = train::time_side_by_side(&models.iter().collect::<Vec<_>>())?;
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
fn costs_at_equal_hidden(device: &Device, problems: &[Problem], args: &Args) -> Result<Vec<OfCell>> {
    let Some(problem) = problems.iter().find(|problem| problem.lag.is_none()) else { return Ok(Vec::new()) };
    let (task, hidden) = (&*problem.task, problem.task.usual().hidden);
    let configs = CELLS.map(|cell| RnnConfig::new(cell, task.width(), hidden));
    costs(device, task, &configs, args.seed)
}
