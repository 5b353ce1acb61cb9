//! `wgpu-rnn compare`: RNN, GRU and LSTM, or the cells that are named, on the same real data, at equal hidden size and at equal
//! parameter count.

use std::time::Duration;

use anyhow::bail;
use wgpu_rnn::{Device, Precision, RnnConfig};

use crate::base::files::Claim;
use crate::base::{command_line, say, stop, today};
use crate::learn::tell;
use crate::learn::training::{self, Plan};
use crate::net::{Kind, Model, Setup, expect_apart, formula, of_equal_parameters, title};
use crate::report;
use crate::results::{DeviceUsed, Results, Run};
use crate::study;
use crate::task::{More, Stored};

/// Arguments of `compare`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: study::What,
    /// Train for about this many seconds in all instead of a fixed number of steps: each net for as many steps as the others.
    /// Results then depend on how fast the device is.
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// The cells that are compared, each with what is changed about its step, if anything is, behind a plus: gru+reset_before.
    #[arg(
        long,
        value_name = "CELL,..",
        value_delimiter = ',',
        default_value = "rnn_tanh,gru,lstm",
        conflicts_with = "claims"
    )]
    cells: Vec<Kind>,
    /// Measure the common claims about the cells instead: at equal parameters, with several seeds, on the adding problem
    /// and delayed copy at growing lags, on the series, on the bundled speech and, with --text, on that text too.
    #[arg(long, conflicts_with_all = ["seconds", "precision"])]
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
    let source = args.what.source();
    let task = args.what.load(&source)?;
    let device = args.what.device.begin()?;
    stop::listen()?;
    tell(&*task)?;
    let task = args.what.seen(&device, task)?;

    let mut trained: Vec<(Model, Vec<training::Learned>)> = Vec::new();
    let (contenders, seeds) = (contenders(&args.cells, &*task)?, args.what.seeds(1));
    // At equal parameters one network is the same as at equal hidden size; what it learnt there counts for both.
    let twin = |index: usize| contenders[..index].iter().position(|one| one.config == contenders[index].config);
    let model = |index: usize, seed: u64, updates| {
        let setup = Setup { precision: args.precision, updates, ..Setup::new(seed, task.usual().rate) };
        Model::new(&device, contenders[index].config, task.form(), setup)
    };
    let plan = match args.seconds {
        None => Plan::of_steps(&*task),
        Some(budget) => {
            let distinct = (0..contenders.len()).filter(|&index| twin(index).is_none());
            let pace = |index| training::Pace::new(&*task, &mut model(index, args.what.seed, 1)?, args.what.seed);
            let budget = budget.div_f64(seeds.len() as f64);
            Plan::of_time(&*task, &distinct.map(pace).collect::<anyhow::Result<Vec<_>>>()?, budget)
        }
    };
    for (index, contender) in contenders.iter().enumerate() {
        if let Some(twin) = twin(index) {
            let learned = trained[twin].1.clone();
            say(format_args!("[{}/{}] is the same network as [{}]", index + 1, contenders.len(), twin + 1))?;
            trained.push((model(index, args.what.seed, plan.steps)?, learned));
            continue;
        }
        let (mut learned, mut first) = (Vec::new(), None);
        for &seed in &seeds {
            let mut model = model(index, seed, plan.steps)?;
            let group = match seeds.len() {
                1 => contender.group.to_string(),
                _ => format!("{}, seed {seed}", contender.group),
            };
            let progress = training::progress(index, contenders.len(), contender.config, &group);
            learned.push(training::train(&mut model, &*task, seed, plan, &progress)?);
            first.get_or_insert(model);
        }
        trained.extend(first.map(|model| (model, learned)));
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

/// Why training ended early, of the first seed whose did.
fn stopped(learned: &[training::Learned], seeds: &[u64]) -> Option<String> {
    let (one, seed) = learned.iter().zip(seeds).find(|(one, _)| one.stopped.is_some())?;
    let why = one.stopped.as_ref()?;
    Some(if seeds.len() == 1 { why.clone() } else { format!("seed {seed} after {} steps: {why}", one.steps) })
}

/// A positive time on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time < FOREVER).ok_or_else(|| "expected a number of seconds above 0".to_string())
}

/// No budget is longer: a hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Two networks a cell: one of the LSTM's hidden size, one with (about) the LSTM's parameter count.
fn contenders(kinds: &[Kind], task: &dyn Stored) -> anyhow::Result<Vec<Contender>> {
    let (input, hidden) = (task.width(), task.usual().hidden);
    expect_apart(kinds)?;
    let equal_hidden =
        kinds.iter().map(|kind| Contender { config: kind.config(input, hidden), group: "equal hidden size" });
    let equal_parameters = kinds
        .iter()
        .map(|&kind| Contender { config: of_equal_parameters(kind, input, hidden), group: "equal parameters" });
    Ok(equal_hidden.chain(equal_parameters).collect())
}

/// Times every model side by side, forecasts with its first seed's best weights, and brings everything together.
fn gather(
    args: &Args,
    device: &Device,
    task: &dyn Stored,
    contenders: &[Contender],
    mut trained: Vec<(Model, Vec<training::Learned>)>,
) -> anyhow::Result<Results> {
    let mut predictions = Vec::new();
    for ((model, learned), contender) in trained.iter_mut().zip(contenders) {
        stop::check()?;
        model.restore(&learned[0].best)?;
        if let Some(values) = task.forecast(model)? {
            let name = format!("{}, {}", title(&contender.config), contender.group);
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
            let (hidden, gates) = (config.hidden, config.recipe().gates());
            let (allocated, predicted) = model.memory();
            let errors: Vec<f64> = learned.iter().map(|one| one.best_error).collect();
            Run {
                cell: title(config),
                group: contender.group.to_string(),
                hidden,
                gates,
                parameters: model.layer_parameters(),
                formula: formula(config),
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
                training_steps: learned.iter().map(|one| one.steps).min().unwrap_or_default(),
                curve: learned[0].curve.clone(),
                validation_error: errors.iter().sum::<f64>() / errors.len() as f64,
                errors,
                stopped: stopped(learned, &args.what.seeds(1)),
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
        seeds: runs.iter().map(|run| run.errors.len()).max().unwrap_or_default(),
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
