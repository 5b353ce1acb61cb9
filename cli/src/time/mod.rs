//! `wgpu-rnn time`: one layer, warmed up and timed.

mod kernels;
mod profile;
mod step;

use std::path::PathBuf;

use serde::Serialize;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, Precision, RnnConfig, Timing};

use crate::device::Choice;
use crate::say;

/// Arguments of `time`.
#[derive(clap::Args)]
pub struct Args {
    /// Cell: lstm, gru, rnn (or rnn_tanh), rnn_relu.
    #[arg(long)]
    cell: Cell,
    /// Steps T.
    #[arg(long, value_parser = crate::size)]
    steps: usize,
    /// Batch B.
    #[arg(long, value_parser = crate::size)]
    batch: usize,
    /// Input size I.
    #[arg(long, value_parser = crate::size)]
    input: usize,
    /// Hidden size H.
    #[arg(long, value_parser = crate::size)]
    hidden: usize,
    /// Layers L.
    #[arg(long, default_value = "1", value_parser = crate::size)]
    layers: usize,
    /// Two directions.
    #[arg(long)]
    bidirectional: bool,
    /// forward: outputs only. train: forward and backward, all gradients. step: so many calls of one time step each, as in
    /// real-time use, on the CPU.
    #[arg(long, value_enum)]
    mode: TimedMode,
    #[command(flatten)]
    device: Choice,
    /// Strategy to run; default: the one that is chosen for the shape and device.
    #[arg(long)]
    strategy: Option<String>,
    /// Keep states every so many steps only, and compute the rest again in backward; default: keep everything.
    #[arg(long, value_parser = crate::size)]
    recompute: Option<usize>,
    /// full: f32. half: packed weights and activations stored as f16, x, y and their gradients too.
    #[arg(long, default_value = "full")]
    precision: Precision,
    /// Timed runs after the warm-up.
    #[arg(long, default_value = "20", value_parser = crate::size)]
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
    bidirectional: bool,
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
    kernels: Vec<kernels::Kernel>,
    /// With `--profile`.
    profile: Option<profile::Profiling>,
}

impl Report {
    /// The layer in a line.
    fn sizes(&self) -> String {
        format!(
            "{} T={} B={} I={} H={} L={} D={} {}",
            self.cell,
            self.steps,
            self.batch,
            self.input,
            self.hidden,
            self.layers,
            1 + usize::from(self.bidirectional),
            self.mode.name(),
        )
    }
}

/// Runs before the timed ones.
const WARM_UP: usize = 2;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let config =
        RnnConfig::new(args.cell, args.input, args.hidden).layers(args.layers).bidirectional(args.bidirectional);
    config.check()?;
    let shape = BatchShape::new(args.steps, args.batch);
    shape.check()?;
    let mode = match args.mode {
        TimedMode::Forward => Mode::Infer,
        TimedMode::Train => Mode::Train,
        TimedMode::Step => {
            anyhow::ensure!(
                !args.device.wants_gpu() && !args.profile,
                "--mode step runs on the CPU alone, and has nothing to profile"
            );
            return step::run(config, args.steps, args.batch, args.json);
        }
    };
    let page = args.profile.then(|| args.out.clone().unwrap_or_else(|| PathBuf::from("profile.html")));
    page.as_deref().map_or(Ok(()), profile::check)?;
    let device = args.device.open()?;
    if args.profile {
        // A device without timestamps is known before anything is timed.
        device.profile(|_| Ok(()))?;
    }
    let options = Options {
        strategy: args.strategy.as_deref(),
        recompute: args.recompute,
        precision: args.precision,
        ..Options::default()
    };
    let subject = Subject::new(&device, config, shape, mode, options)?;
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
    let profile = args.profile.then(|| profile::measure(&device, bound, args.runs)).transpose()?;
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
        bidirectional: args.bidirectional,
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
        kernels: kernels::distinct(bound),
        profile,
    };
    let profiled = report.profile.as_ref().zip(page.as_deref());
    if let Some((profile, page)) = profiled {
        profile::write(profile, &report, page)?;
    }
    if args.json {
        say(serde_json::to_string(&report)?)?;
        return Ok(());
    }
    print(&report)?;
    if let Some((profile, page)) = profiled {
        profile::print(profile, page)?;
    }
    Ok(())
}

/// A layer with seeded weights and bounded inputs, bound and ready to be timed.
pub struct Subject {
    pub bound: Bound,
    /// Parameters it has.
    pub parameters: usize,
}

impl Subject {
    pub fn new(
        device: &Device,
        config: RnnConfig,
        shape: BatchShape,
        mode: Mode,
        options: Options<'_>,
    ) -> anyhow::Result<Self> {
        let rnn = Rnn::new(device, config, shape, mode, options)?;
        // Each buffer alone might still be granted where all together end the process.
        device.check_memory("the layer with its inputs, outputs and gradients", bytes(&rnn))?;
        let params = match mode {
            Mode::Infer => Parameters::frozen(device, tensors(&config, ""))?,
            Mode::Train => Parameters::new(device, tensors(&config, ""))?,
        };
        Init::new(0).apply(&params, "", Layer::Rnn(&config))?;
        let room = |name: &str, len: usize| device.alloc_as(options.precision, name, len);
        let values = |name: &str, len: usize| waves(device, room(name, len)?);
        let outputs = shape.rows() * config.outputs();
        let x = values("x", shape.rows() * config.input)?;
        let io = Io::new(&x, &room("y", outputs)?);
        let gradients = match mode {
            Mode::Infer => Gradients::default(),
            Mode::Train => {
                Gradients { dy: Some(values("dy", outputs)?), dx: Some(room("dx", x.len())?), ..Gradients::default() }
            }
        };
        let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
        Ok(Self { bound, parameters: params.count() })
    }

    /// Forward, and backward if it is planned for it.
    pub fn time(&self, device: &Device) -> wgpu_rnn::Result<Timing> {
        device.time(|recorder| {
            self.bound.forward.record(recorder)?;
            self.bound.backward.record(recorder)
        })
    }
}

/// Bytes that timing `rnn` takes, what fills its parameters included.
fn bytes(rnn: &Rnn) -> u64 {
    let (config, rows, memory) = (rnn.config(), rnn.shape().rows(), rnn.memory());
    let sequences = rows.saturating_mul(2 * (config.input + config.outputs()));
    let floats = sequences.saturating_add(config.parameters().saturating_mul(4));
    (floats as u64).saturating_mul(4).saturating_add(memory.reserve).saturating_add(memory.workspace)
}

/// Fills a buffer with bounded values, which repeat after a prime number of them. Written in pieces, so that the host never
/// holds all of it twice.
fn waves(device: &Device, buffer: Buffer) -> wgpu_rnn::Result<Buffer> {
    let len = buffer.len();
    let wave: Vec<f32> = (0..len.min(251 << 12)).map(|i| ((i % 251) as f32 / 125.0) - 1.0).collect();
    for first in (0..len).step_by(wave.len().max(1)) {
        let piece = wave.len().min(len - first);
        device.write(&buffer.slice(first..first + piece)?, &wave[..piece])?;
        device.run(|_| Ok(()))?;
        device.wait()?;
    }
    Ok(buffer)
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
    say(format_args!(
        "{} dispatches, {:.2} µs of host recording a step",
        report.dispatches, report.record_us_per_step
    ))?;
    say(format_args!(
        "reserve {} bytes, workspace {} bytes, weights {} bytes",
        report.reserve_bytes, report.workspace_bytes, report.weight_bytes
    ))
}

/// Ascending.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Median of ascending values; of none, NaN.
pub fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
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
