//! `wgpu-rnn compare`: RNN, GRU and LSTM on the same real data, at equal hidden size and at equal parameter count.

mod claims;
pub mod study;
mod train;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use wgpu_rnn::{Cell, Device, Precision, RnnConfig};

use crate::device::Choice;
use crate::net::{Model, Setup};
use crate::report;
use crate::results::{DeviceUsed, Results, Run};
use crate::task::{Goals, Kind, More, Sizes, Source, Stored};
use crate::{say, stop};
use train::Plan;

/// Arguments of `compare`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: Choice,
    /// Forecast a column of this CSV file instead of the bundled weather.
    #[arg(long, requires = "column", conflicts_with = "text")]
    csv: Option<PathBuf>,
    /// The column to forecast.
    #[arg(long, requires = "csv")]
    column: Option<String>,
    /// Model this text file character by character instead.
    #[arg(long)]
    text: Option<PathBuf>,
    /// Train for this many seconds in all, by the clock, instead of a fixed number of steps. Results then depend on how
    /// fast the device is.
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Measure the common claims about the cells instead: at equal parameters, with several seeds, on the adding problem
    /// and delayed copy at growing lags, on the series, on the bundled speech and, with --text, on that text too.
    #[arg(long, conflicts_with_all = ["seconds", "precision"])]
    claims: bool,
    #[command(flatten)]
    study: study::Options,
    /// full: f32. half: packed weights and activations stored as f16, trained with a loss scale; on GPUs that have f16.
    #[arg(long, default_value = "full")]
    precision: Precision,
    /// Folder for the report.
    #[arg(long, default_value = "report")]
    out: PathBuf,
    /// Seed of weights and batches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Args {
    fn source(&self) -> Source {
        let (kind, path) = match (&self.text, &self.csv) {
            (Some(text), _) => (Kind::Text, Some(text.clone())),
            (None, csv) => (Kind::Series, csv.clone()),
        };
        Source { kind: Some(kind), path, columns: self.column.iter().cloned().collect() }
    }
}

/// The cells compared, the reference for equal sizes last.
const CELLS: [Cell; 3] = [Cell::RnnTanh, Cell::Gru, Cell::Lstm];

/// One network to train.
struct Contender {
    config: RnnConfig,
    group: &'static str,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    report::check_writable(&args.out)?;
    if args.claims {
        return study::run(args);
    }
    let task = args.source().load(Sizes::default(), &Goals::default())?;
    let device = args.device.begin()?;
    stop::listen()?;
    say(format_args!("data: {}", task.describe()))?;
    task.used().notes.iter().try_for_each(|note| say(format_args!("  {note}")))?;

    let mut trained: Vec<(Model, train::Learned)> = Vec::new();
    let contenders = contenders(&*task);
    // At equal parameters one network is the same as at equal hidden size; what it learnt there counts for both.
    let twin = |index: usize| contenders[..index].iter().position(|one| one.config == contenders[index].config);
    let distinct = (0..contenders.len()).filter(|&index| twin(index).is_none()).count();
    let share = args.seconds.map(|budget| budget / distinct as u32);
    for (index, contender) in contenders.iter().enumerate() {
        let fresh = |updates| {
            let setup = Setup { precision: args.precision, updates, ..Setup::new(args.seed, task.usual().rate) };
            Model::new(&device, contender.config, task.form(), setup)
        };
        if let Some(twin) = twin(index) {
            let learned = trained[twin].1.clone();
            say(format_args!("[{}/{}] is the same network as [{}]", index + 1, contenders.len(), twin + 1))?;
            trained.push((fresh(learned.steps.max(1))?, learned));
            continue;
        }
        let plan = match share {
            None => Plan::of_steps(&*task),
            Some(share) => Plan::of_time(&*task, &mut fresh(1)?, args.seed, share)?,
        };
        let mut model = fresh(plan.steps)?;
        let progress = train::Progress::new(index, contenders.len(), contender.config, contender.group);
        let learned = train::train(&mut model, &*task, args.seed, plan, &progress)?;
        trained.push((model, learned));
    }
    let results = gather(args, &device, &*task, &contenders, trained)?;
    stop::check()?;
    stop::hold(|| report::write(&results, &args.out))?;
    say(report::summary(&results).trim_end())?;
    say(format_args!("report: {}", args.out.join("index.html").display()))?;
    let stopped = |run: &Run| {
        let why = run.stopped.as_ref()?;
        Some(format!("{} H={} ({}): {why}", run.cell, run.hidden, run.group))
    };
    let stopped: Vec<String> = results.runs.iter().filter_map(stopped).collect();
    if !stopped.is_empty() {
        bail!("training stopped early, and the report has the best weights until then; {}", stopped.join("; "));
    }
    Ok(())
}

/// A positive time on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time < FOREVER).ok_or_else(|| "expected a number of seconds above 0".to_string())
}

/// No budget is longer: a hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Six networks: three cells at the LSTM's hidden size, three at (about) the LSTM's parameter count.
fn contenders(task: &dyn Stored) -> Vec<Contender> {
    let (input, hidden) = (task.width(), task.usual().hidden);
    let equal_hidden =
        CELLS.map(|cell| Contender { config: RnnConfig::new(cell, input, hidden), group: "equal hidden size" });
    let equal_parameters =
        CELLS.map(|cell| Contender { config: of_equal_parameters(cell, input, hidden), group: "equal parameters" });
    equal_hidden.into_iter().chain(equal_parameters).collect()
}

/// The layer of a cell with about as many parameters as an LSTM of this hidden size.
fn of_equal_parameters(cell: Cell, input: usize, lstm: usize) -> RnnConfig {
    let wanted = Cell::Lstm.parameters(input, lstm, true);
    let off = |&hidden: &usize| cell.parameters(input, hidden, true).abs_diff(wanted);
    RnnConfig::new(cell, input, (1..=4 * lstm).min_by_key(off).unwrap_or(lstm))
}

/// Times every model side by side, forecasts with its best weights, and brings everything together.
fn gather(
    args: &Args,
    device: &Device,
    task: &dyn Stored,
    contenders: &[Contender],
    mut trained: Vec<(Model, train::Learned)>,
) -> anyhow::Result<Results> {
    let mut predictions = Vec::new();
    for ((model, learned), contender) in trained.iter_mut().zip(contenders) {
        stop::check()?;
        model.restore(&learned.best)?;
        if let Some(values) = task.forecast(model)? {
            let name = format!("{}, {}", contender.config.cell.title(), contender.group);
            predictions.push((name, values));
        }
    }
    let timings = train::time_side_by_side(&trained.iter().map(|(model, _)| model).collect::<Vec<_>>())?;
    let runs: Vec<Run> = trained
        .iter()
        .zip(contenders)
        .zip(timings)
        .map(|(((model, learned), contender), (forward_ms, step_ms))| {
            let config = &contender.config;
            let (input, hidden, gates) = (config.input, config.hidden, config.cell.gates());
            let (allocated, predicted) = model.memory();
            Run {
                cell: config.cell.title().to_string(),
                group: contender.group.to_string(),
                hidden,
                gates,
                parameters: model.layer_parameters(),
                formula: format!("{gates}·({hidden}·{input} + {hidden}·{hidden} + 2·{hidden})"),
                parameters_by_formula: config.parameters(),
                model_parameters: model.parameters().count(),
                weight_bytes: model.layer_parameters() as u64 * device.float_bytes(),
                reserve_bytes: allocated.reserve,
                reserve_predicted: predicted.reserve,
                workspace_bytes: allocated.workspace,
                workspace_predicted: predicted.workspace,
                forward_ms,
                step_ms,
                sequences_per_second: task.shape().batch as f64 / (step_ms.median * 1e-3),
                training_steps: learned.steps,
                curve: learned.curve.clone(),
                validation_error: learned.best_error,
                stopped: learned.stopped.clone(),
            }
        })
        .collect();
    let (score, shape) = (task.score(), task.shape());
    let claims = claims::weigh(&runs, score.name);
    let forecast = task.drawn(predictions);
    Ok(Results {
        version: env!("CARGO_PKG_VERSION").to_string(),
        date: crate::today().context("the system clock is before 1970")?,
        command: crate::command_line(),
        device: DeviceUsed::of(device),
        data: task.used(),
        seed: args.seed,
        batch: shape.batch,
        steps: shape.steps,
        input: task.width(),
        error_name: score.name.to_string(),
        error_unit: score.unit,
        naive_name: score.naive_name.to_string(),
        naive_error: score.naive,
        runs,
        claims,
        forecast,
    })
}
