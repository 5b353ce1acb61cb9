//! `wgpu-rnn compare`: RNN, GRU and LSTM on the same real data, at equal hidden size and at equal parameter count.

use std::time::Duration;

use anyhow::bail;
use wgpu_rnn::{Cell, Device, Precision, RnnConfig};

use crate::base::files::Claim;
use crate::base::{command_line, say, size, stop, today};
use crate::learn::training::{self, Plan};
use crate::learn::{choose, tell};
use crate::net::{CELLS, Model, Setup, of_equal_parameters};
use crate::report;
use crate::results::{DeviceUsed, Results, Run};
use crate::study;
use crate::task::{Goals, How, More, Sizes, Stored};

/// Arguments of `compare`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: study::What,
    #[command(flatten)]
    how: How,
    /// How many rows ahead of the last known one a series is forecast, separated by commas [default: 24]
    #[arg(long, value_delimiter = ',', value_parser = size)]
    horizons: Vec<usize>,
    /// Steps of a sequence [default: 72 of a series, 64 of a text]
    #[arg(long, value_parser = size)]
    steps: Option<usize>,
    /// Sequences of a batch [default: 64 of a series, 32 of a text]
    #[arg(long, value_parser = size)]
    batch: Option<usize>,
    /// Train for about this many seconds in all instead of a fixed number of steps: each net for as many steps as the others.
    /// Results then depend on how fast the device is.
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Measure the common claims about the cells instead: at equal parameters, with several seeds, on the adding problem
    /// and delayed copy at growing lags, on the series, on the bundled speech and, with --text, on that text too.
    #[arg(long, conflicts_with_all = ["seconds", "precision", "horizons", "steps", "batch"])]
    claims: bool,
    #[command(flatten)]
    study: study::Options,
    /// full: f32. half: packed weights and activations stored as f16, trained with a loss scale; on GPUs that have f16.
    #[arg(long, default_value = "full")]
    precision: Precision,
}

/// One network to train.
struct Contender {
    config: RnnConfig,
    group: &'static str,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.what.out)?;
    if args.claims {
        return study::run(&args.what, &args.study);
    }
    let horizons = if args.horizons.is_empty() { Goals::default().horizons } else { args.horizons.clone() };
    let sizes = Sizes { steps: args.steps, batch: args.batch };
    let source = args.what.source();
    let goals = [("--horizons", !args.horizons.is_empty())];
    source.only_of_series(&[&goals, &args.how.given(), &source.ask.given()])?;
    let task = source.load(sizes, &args.how.goals(horizons, Vec::new()))?;
    let device = args.what.device.begin()?;
    stop::listen()?;
    tell(&*task)?;
    let task = match args.how.view {
        Some(_) => task,
        None => {
            let gru = RnnConfig::new(Cell::Gru, task.width(), task.usual().hidden);
            {
                let updates = task.usual().updates;
                choose(&device, task, gru, args.what.seed, updates)?
            }
        }
    };

    let mut trained: Vec<(Model, training::Learned)> = Vec::new();
    let contenders = contenders(&*task);
    // At equal parameters one network is the same as at equal hidden size; what it learnt there counts for both.
    let twin = |index: usize| contenders[..index].iter().position(|one| one.config == contenders[index].config);
    let model = |index: usize, updates| {
        let setup = Setup { precision: args.precision, updates, ..Setup::new(args.what.seed, task.usual().rate) };
        Model::new(&device, contenders[index].config, task.form(), setup)
    };
    let plan = match args.seconds {
        None => Plan::of_steps(&*task),
        Some(budget) => {
            let distinct = (0..contenders.len()).filter(|&index| twin(index).is_none());
            let pace = |index| training::Pace::new(&*task, &mut model(index, 1)?, args.what.seed);
            Plan::of_time(&*task, &distinct.map(pace).collect::<anyhow::Result<Vec<_>>>()?, budget)
        }
    };
    for (index, contender) in contenders.iter().enumerate() {
        if let Some(twin) = twin(index) {
            let learned = trained[twin].1.clone();
            say(format_args!("[{}/{}] is the same network as [{}]", index + 1, contenders.len(), twin + 1))?;
            trained.push((model(index, learned.steps.max(1))?, learned));
            continue;
        }
        let mut model = model(index, plan.steps)?;
        let progress = training::progress(index, contenders.len(), contender.config, contender.group);
        let learned = training::train(&mut model, &*task, args.what.seed, plan, &progress)?;
        trained.push((model, learned));
    }
    let results = gather(args, &device, &*task, &contenders, trained)?;
    stop::check()?;
    stop::hold(|| report::write(&results, &args.what.out))?;
    say(report::summary(&results).trim_end())?;
    say(format_args!("report: {}", args.what.out.join("index.html").display()))?;
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

/// Times every model side by side, forecasts with its best weights, and brings everything together.
fn gather(
    args: &Args,
    device: &Device,
    task: &dyn Stored,
    contenders: &[Contender],
    mut trained: Vec<(Model, training::Learned)>,
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
    let timings = training::time_side_by_side(&trained.iter().map(|(model, _)| model).collect::<Vec<_>>())?;
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
    let claims = study::compared(&runs, score.name);
    let forecast = task.drawn(predictions);
    Ok(Results {
        version: env!("CARGO_PKG_VERSION").to_string(),
        date: today(),
        command: command_line(),
        device: DeviceUsed::of(device),
        data: task.used(),
        seed: args.what.seed,
        batch: shape.batch,
        steps: shape.steps,
        input: task.width(),
        error_name: score.name.to_string(),
        error_unit: score.unit,
        loss_name: score.loss.to_string(),
        naive_name: score.naive_name,
        naive_error: score.naive,
        runs,
        claims,
        forecast,
    })
}
