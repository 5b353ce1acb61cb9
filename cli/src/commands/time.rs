//! `wgpu-rnn time`: one layer, warmed up and timed.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Serialize;
use wgpu_rnn::nn::rnn::{Bound, Options};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{
    BatchShape, Bias, Cell, Clock, Device, Direction, KernelTime, Precision, RnnConfig, StepOptions, Timing,
};

use crate::base::device::Choice;
use crate::base::directed::Directed;
use crate::base::dropouts::Dropouts;
use crate::base::files::check_writable;
use crate::base::numbers::number;
use crate::base::stats::{median, sorted};
use crate::base::{say, size};
use crate::measure::{Extras, Kernel, Profiling, Subject, changes, distinct, profile, step};

use crate::report::{self, Origin, Profiled, Table};

/// Arguments of `time`.
#[derive(clap::Args)]
pub struct Args {
    /// Cell: lstm, gru, rnn (or rnn_tanh), rnn_relu.
    #[arg(long)]
    cell: Cell,
    /// Steps T.
    #[arg(long, value_parser = size)]
    steps: usize,
    /// Batch B.
    #[arg(long, value_parser = size)]
    batch: usize,
    /// Input size I.
    #[arg(long, value_parser = size)]
    input: usize,
    /// Hidden size H.
    #[arg(long, value_parser = size)]
    hidden: usize,
    /// Layers L.
    #[arg(long, default_value = "1", value_parser = size)]
    layers: usize,
    #[command(flatten)]
    directed: Directed,
    /// Biases: none, input, recurrent or both.
    #[arg(long, default_value = "both")]
    bias: Bias,
    /// What is changed about the cell's step, separated by commas: peephole, coupled, reset_before, resets, projection=SIZE,
    /// gate=FUNCTION, candidate=FUNCTION, output=FUNCTION, clip_inputs=LIMIT, clip_cell=LIMIT, clip_cell_as_read=LIMIT,
    /// clip_gradient=LIMIT, clip_projection=LIMIT, zoneout=P, zoneout_cell=P, recurrent_dropout=P; a function is ONNX's, with its
    /// numbers: hard_sigmoid:0.2:0.5.
    #[arg(long, default_value = "")]
    options: StepOptions,
    /// Initial states are parameters.
    #[arg(long)]
    learn_state: bool,
    #[command(flatten)]
    dropouts: Dropouts,
    #[command(flatten)]
    extras: Extras,
    /// forward: outputs only. train: forward and backward, all gradients. step: so many calls of one time step each, as in
    /// real-time use: on the calling thread, or on a GPU that is asked for.
    #[arg(long, value_enum)]
    mode: TimedMode,
    #[command(flatten)]
    device: Choice,
    /// Strategy to run; default: the one that is chosen for the shape and device.
    #[arg(long)]
    strategy: Option<String>,
    /// Keep states every so many steps only, and compute the rest again in backward; default: keep everything.
    #[arg(long, value_parser = size)]
    recompute: Option<usize>,
    /// full: f32. half: packed weights and activations stored as f16, x, y and their gradients too.
    #[arg(long, default_value = "full")]
    precision: Precision,
    /// Timed runs after the warm-up.
    #[arg(long, default_value = "20", value_parser = size)]
    runs: usize,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Also time every kernel apart, in as many runs again, and write a page with a timeline.
    #[arg(long)]
    profile: bool,
    /// Where that page goes; default: profile.html.
    #[arg(long, requires = "profile", value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum TimedMode {
    Forward,
    Train,
    Step,
}

impl TimedMode {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Train => "train",
            Self::Step => "step",
        }
    }

    /// Of a heading.
    fn title(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Train => "training",
            Self::Step => "a step",
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    device: String,
    device_kind: &'static str,
    backend: String,
    why_device: String,
    strategy: &'static str,
    /// Why that one and no other.
    why_strategy: String,
    cell: &'static str,
    /// The cell's name in a heading.
    #[serde(skip)]
    title: &'static str,
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    layers: usize,
    direction: &'static str,
    bidirectional: bool,
    bias: &'static str,
    options: String,
    learn_state: bool,
    /// The last three, for people.
    #[serde(skip)]
    changes: String,
    #[serde(flatten)]
    dropouts: Dropouts,
    #[serde(flatten)]
    extras: Extras,
    mode: TimedMode,
    precision: &'static str,
    /// Steps between kept states, as rounded.
    recompute: Option<usize>,
    runs: usize,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    gpu_median_ms: Option<f64>,
    dispatches: usize,
    /// What the host spends on recording and encoding the recurrence, divided by the time steps of all layers and passes; 0
    /// on the CPU, which records nothing.
    record_us_per_step: f64,
    reserve_bytes: u64,
    workspace_bytes: u64,
    weight_bytes: u64,
    parameters: usize,
    /// The shaders that it runs as, with their tiles.
    kernels: Vec<Kernel>,
    /// With `--profile`.
    profile: Option<Profiling>,
}

impl Report {
    /// The layer in a line.
    fn sizes(&self) -> String {
        let direction = if self.direction == Direction::Reverse.name() { " reverse" } else { "" };
        let dropout = self.dropouts.words(" ");
        let kept = self.recompute.map_or_else(String::new, |steps| format!(" recompute={steps}"));
        let stored = if self.precision == "half" { " half" } else { "" };
        format!(
            "{} T={} B={} I={} H={} L={} D={}{direction}{}{dropout}{}{kept}{stored} {}",
            self.cell,
            self.steps,
            self.batch,
            self.input,
            self.hidden,
            self.layers,
            1 + usize::from(self.bidirectional),
            self.changes,
            self.extras.words(),
            self.mode.name(),
        )
    }
}

impl Args {
    /// An error where something was given that has no effect in the mode.
    fn check_mode(&self) -> anyhow::Result<()> {
        if matches!(self.mode, TimedMode::Train) {
            return Ok(());
        }
        let dropped = self.dropouts.named().into_iter().find(|(_, share)| share.is_some_and(|share| share > 0.0));
        let of_h = self.options.recurrent_dropout.map(|_| "recurrent_dropout among --options".to_string());
        let trained = dropped.map(|(name, _)| format!("--{name}")).or(of_h);
        let got = self.mode.name();
        if let Some(given) = trained {
            bail!("{given}: expected --mode train, in which alone something is dropped, got --mode {got}");
        }
        if self.extras.accumulate && matches!(self.mode, TimedMode::Forward) {
            bail!("--accumulate: expected --mode train, which has gradients, got --mode {got}");
        }
        Ok(())
    }
}

/// Runs before the timed ones.
const WARM_UP: usize = 2;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (layer, extras) = (RnnConfig::new(args.cell, args.input, args.hidden), &args.extras);
    let changed = StepOptions { resets: args.options.resets || extras.reset_every.is_some(), ..args.options };
    let config = layer
        .layers(args.layers)
        .direction(args.directed.direction())
        .bias(args.bias)
        .options(changed)
        .learn_state(args.learn_state);
    args.dropouts.check(args.layers)?;
    let config = args.dropouts.onto(config);
    config.check()?;
    let shape = BatchShape::new(args.steps, args.batch);
    shape.check()?;
    args.check_mode()?;
    let mode = match args.mode {
        TimedMode::Forward => Mode::Infer,
        TimedMode::Train => Mode::Train,
        TimedMode::Step => {
            let given = [(args.profile, "--profile"), (args.recompute.is_some(), "--recompute")];
            if let Some((_, flag)) = extras.given().into_iter().chain(given).find(|(given, _)| *given) {
                bail!("--mode step has no {flag}");
            }
            if changed.resets && !args.device.wants_gpu() {
                bail!("--mode step on the CPU has no `resets`: sequences begin anew between two of its calls");
            }
            let gpu = if args.device.wants_gpu() { Some(args.device.open()?) } else { None };
            let options = Options {
                strategy: args.strategy.as_deref().filter(|_| gpu.is_some()),
                precision: args.precision,
                ..Options::default()
            };
            anyhow::ensure!(
                gpu.is_some() || (args.strategy.is_none() && args.precision == Precision::Full),
                "--mode step on the CPU has no --strategy and no --precision"
            );
            return step(gpu.as_deref(), config, args.steps, args.batch, options, args.json);
        }
    };
    if extras.lengths.len() > args.batch {
        bail!("--lengths: expected at most {}, one a sequence, got {}", args.batch, extras.lengths.len());
    }
    let page = args.profile.then(|| args.out.clone().unwrap_or_else(|| PathBuf::from("profile.html")));
    page.as_deref().map_or(Ok(()), check)?;
    let device = args.device.open()?;
    if args.profile {
        // A device without timestamps is known before anything is timed.
        device.profile(|_| Ok(()))?;
    }
    let options = Options {
        strategy: args.strategy.as_deref(),
        recompute: args.recompute,
        precision: args.precision,
        batch_first: extras.batch_first,
        lengths: !extras.lengths.is_empty(),
        ..Options::default()
    };
    let subject = Subject::new(&device, config, shape, mode, options, extras)?;
    let Subject { bound, parameters } = &subject;
    let rnn = bound.rnn();
    for _ in 0..WARM_UP {
        subject.time(&device)?;
    }
    let timings: Vec<Timing> = (0..args.runs).map(|_| subject.time(&device)).collect::<Result<_, _>>()?;

    let wall = sorted(timings.iter().map(|timing| timing.wall_ms));
    let gpu: Option<Vec<f64>> = timings.iter().map(|timing| timing.gpu_ms).collect();
    let record_us_per_step = record_us_per_step(&device, bound)?;
    let dispatches = timings[0].dispatches;
    let memory = bound.memory();
    let profile = args.profile.then(|| profile(&device, bound, args.runs)).transpose()?;
    let report = Report {
        device: device.name(),
        device_kind: device.kind_name(),
        backend: device.backend(),
        why_device: device.why().to_string(),
        strategy: rnn.strategy(),
        why_strategy: rnn.why().to_string(),
        cell: args.cell.name(),
        title: args.cell.title(),
        steps: args.steps,
        batch: args.batch,
        input: args.input,
        hidden: args.hidden,
        layers: args.layers,
        direction: args.directed.direction().name(),
        bidirectional: args.directed.direction() == Direction::Both,
        bias: args.bias.name(),
        options: changed.to_string(),
        learn_state: args.learn_state,
        changes: changes(&config),
        dropouts: Dropouts::of(&config),
        extras: extras.clone(),
        mode: args.mode,
        precision: match args.precision {
            Precision::Full => "full",
            Precision::Half => "half",
        },
        recompute: rnn.recompute(),
        runs: args.runs,
        median_ms: median(&wall),
        min_ms: wall[0],
        max_ms: wall[wall.len() - 1],
        gpu_median_ms: gpu.map(|gpu| median(&sorted(gpu.into_iter()))),
        dispatches,
        record_us_per_step,
        reserve_bytes: memory.reserve,
        workspace_bytes: memory.workspace,
        weight_bytes: *parameters as u64 * device.float_bytes(),
        parameters: *parameters,
        kernels: distinct(bound),
        profile,
    };
    let profiled = report.profile.as_ref().zip(page.as_deref());
    if let Some((profile, page)) = profiled {
        write_page(&device, profile, &report, page)?;
    }
    if args.json {
        say(serde_json::to_string(&report)?)?;
        return Ok(());
    }
    print(&report)?;
    if let Some((profile, page)) = profiled {
        print_profile(profile, page)?;
    }
    Ok(())
}

fn print(report: &Report) -> std::io::Result<()> {
    say(format_args!("{} ({}, {}), strategy {}", report.device, report.device_kind, report.backend, report.strategy))?;
    say(format_args!("{}: {} parameters", report.sizes(), report.parameters))?;
    say(format_args!(
        "wall clock {:.3} ms median of {} ({:.3} to {:.3})",
        report.median_ms, report.runs, report.min_ms, report.max_ms
    ))?;
    match report.gpu_median_ms {
        Some(ms) => say(format_args!("GPU timestamps {ms:.3} ms median"))?,
        None => say("GPU timestamps: none on this device")?,
    }
    match report.device_kind {
        // Which records nothing.
        "cpu" => say(format_args!("{} calls", report.dispatches))?,
        _ => say(format_args!(
            "{} dispatches, {:.2} µs of host recording a step",
            report.dispatches, report.record_us_per_step
        ))?,
    }
    say(format_args!(
        "reserve {} bytes, workspace {} bytes, weights {} bytes",
        report.reserve_bytes, report.workspace_bytes, report.weight_bytes
    ))
}

/// Records the time-step kernels alone, a few times over, and shares the time between the steps.
fn record_us_per_step(device: &Device, bound: &Bound) -> anyhow::Result<f64> {
    let stepped = || bound.forward.ops().iter().chain(bound.backward.ops()).filter(|op| op.is_stepped());
    if stepped().next().is_none() {
        return Ok(0.0);
    }
    let passes = [&bound.forward, &bound.backward].into_iter().filter(|program| !program.ops().is_empty()).count();
    let steps = bound.rnn().shape().steps * bound.rnn().config().layers * passes;
    let once = || device.time(|recorder| stepped().try_for_each(|op| op.record(recorder)));
    let timings: Vec<Timing> = (0..5).map(|_| once()).collect::<Result<_, _>>()?;
    Ok(median(&sorted(timings.iter().map(|timing| timing.record_ms))) * 1e3 / steps as f64)
}

/// An error unless the page can be written to `out`.
fn check(out: &Path) -> anyhow::Result<()> {
    /// How a page begins.
    const PAGE: &[u8] = b"<!DOCTYPE html>";

    if out.is_dir() {
        bail!("{}: could not write the file, it is a folder", out.display());
    }
    let mut start = Vec::new();
    if let Ok(file) = File::open(out) {
        file.take(PAGE.len() as u64).read_to_end(&mut start)?;
        if start != PAGE {
            bail!("{}: expected no file, or a page to replace, got another file", out.display());
        }
    }
    check_writable(out.parent().unwrap_or(Path::new("")))
}

/// Writes the page.
fn write_page(device: &Device, profiling: &Profiling, report: &Report, out: &Path) -> anyhow::Result<()> {
    let facts = vec![
        ("Why this device", report.why_device.clone()),
        ("Strategy", report.strategy.to_string()),
        ("Why this strategy", report.why_strategy.clone()),
        ("Without a profile", format!("{:.3} ms by the wall clock, median of {}", report.median_ms, report.runs)),
    ];
    let title = format!("{} {}", report.title, report.mode.title());
    let origin = Origin::new(device, format!("random inputs, {}", report.sizes()))?;
    let profiled = Profiled { profile: &profiling.profile, title, origin, facts, runs: profiling.runs };
    report::write_profile(&profiled, out)
}

/// The table.
fn print_profile(profiling: &Profiling, out: &Path) -> std::io::Result<()> {
    let clock = match profiling.profile.clock {
        Clock::Gpu => "GPU timestamps, a pass for each op",
        Clock::Host => "the host's clock",
    };
    say(format_args!(
        "profile of the median of {} runs, {:.3} ms from first to last ({clock})",
        profiling.runs, profiling.elapsed_ms
    ))?;
    let calls = match profiling.profile.clock {
        Clock::Gpu => "dispatches",
        Clock::Host => "calls",
    };
    let row = |KernelTime { kernel, ops, dispatches, ms, share }: &KernelTime| {
        let (ms, share) = (number(*ms), format!("{:.1} %", 100.0 * share));
        vec![kernel.to_string(), ops.to_string(), dispatches.to_string(), ms, share]
    };
    let table = Table::new(["kernel", "ops", calls, "ms", "share"], profiling.kernels.iter().map(row).collect());
    say(table.plain())?;
    say(format_args!("timeline: {}", out.display()))
}
