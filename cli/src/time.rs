//! `wgpu-rnn time`: one layer, warmed up and timed.

use serde::Serialize;
use wgpu_rnn::kernel::Op;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, DeviceKind, RnnConfig, Timing};

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
    /// forward: outputs only. train: forward and backward, all gradients.
    #[arg(long, value_enum)]
    mode: TimedMode,
    /// Device: auto, gpu, software or cpu.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Strategy to run; default: the one that is chosen for the shape and device.
    #[arg(long)]
    strategy: Option<String>,
    /// Timed runs after the warm-up.
    #[arg(long, default_value = "20", value_parser = crate::size)]
    runs: usize,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum TimedMode {
    Forward,
    Train,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    device: String,
    device_kind: &'static str,
    backend: String,
    why_device: String,
    strategy: &'static str,
    cell: &'static str,
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    layers: usize,
    bidirectional: bool,
    mode: TimedMode,
    runs: usize,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    gpu_median_ms: Option<f64>,
    dispatches: usize,
    /// What the host spends on recording and encoding one dispatch of a time-step kernel, measured on those alone; 0 on
    /// the CPU, which records nothing.
    record_us_per_step: f64,
    reserve_bytes: u64,
    workspace_bytes: u64,
    weight_bytes: u64,
    parameters: usize,
}

/// Runs before the timed ones.
const WARM_UP: usize = 2;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let config =
        RnnConfig::new(args.cell, args.input, args.hidden).layers(args.layers).bidirectional(args.bidirectional);
    config.check()?;
    let shape = BatchShape::new(args.steps, args.batch);
    shape.check()?;
    let device = crate::open(args.device)?;
    let mode = match args.mode {
        TimedMode::Forward => Mode::Infer,
        TimedMode::Train => Mode::Train,
    };
    let options = Options { strategy: args.strategy.as_deref(), lengths: false, ..Options::default() };
    let rnn = Rnn::new(&device, config, shape, mode, options)?;
    // Each buffer alone might still be granted where all together end the process.
    device.check_memory("the layer with its inputs, outputs and gradients", bytes(&rnn))?;
    let params = Parameters::new(&device, tensors(&config, ""))?;
    Init::new(0).apply(&params, "", Layer::Rnn(&config))?;

    let values = |name: &str, len: usize| waves(&device, name, len);
    let outputs = shape.rows() * config.outputs();
    let x = values("x", shape.rows() * args.input)?;
    let io = Io::new(&x, &device.alloc("y", outputs)?);
    let gradients = match mode {
        Mode::Infer => Gradients::default(),
        Mode::Train => Gradients {
            dy: Some(values("dy", outputs)?),
            dx: Some(device.alloc("dx", x.len())?),
            ..Gradients::default()
        },
    };
    let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
    let once = || {
        device.time(|recorder| {
            bound.forward.record(recorder)?;
            bound.backward.record(recorder)
        })
    };
    for _ in 0..WARM_UP {
        once()?;
    }
    let timings: Vec<Timing> = (0..args.runs).map(|_| once()).collect::<Result<_, _>>()?;

    let wall = sorted(timings.iter().map(|timing| timing.wall_ms));
    let gpu: Option<Vec<f64>> = timings.iter().map(|timing| timing.gpu_ms).collect();
    let record_us_per_step = record_us_per_step(&device, &bound)?;
    let dispatches = timings[0].dispatches;
    let memory = bound.memory();
    let report = Report {
        device: device.name(),
        device_kind: device.kind_name(),
        backend: device.backend(),
        why_device: device.why().to_string(),
        strategy: rnn.strategy(),
        cell: args.cell.name(),
        steps: args.steps,
        batch: args.batch,
        input: args.input,
        hidden: args.hidden,
        layers: args.layers,
        bidirectional: args.bidirectional,
        mode: args.mode,
        runs: args.runs,
        median_ms: median(&wall),
        min_ms: wall[0],
        max_ms: wall[wall.len() - 1],
        gpu_median_ms: gpu.map(|gpu| median(&sorted(gpu.into_iter()))),
        dispatches,
        record_us_per_step,
        reserve_bytes: memory.reserve,
        workspace_bytes: memory.workspace,
        weight_bytes: params.count() as u64 * device.float_bytes(),
        parameters: params.count(),
    };
    match args.json {
        true => say(serde_json::to_string(&report)?)?,
        false => print(&report)?,
    }
    Ok(())
}

/// Bytes that timing `rnn` takes, what fills its parameters included.
fn bytes(rnn: &Rnn) -> u64 {
    let (config, rows, memory) = (rnn.config(), rnn.shape().rows(), rnn.memory());
    let sequences = rows.saturating_mul(2 * (config.input + config.outputs()));
    let floats = sequences.saturating_add(config.parameters().saturating_mul(4));
    (floats as u64).saturating_mul(4).saturating_add(memory.reserve).saturating_add(memory.workspace)
}

/// A buffer of bounded values, which repeat after a prime number of them. Written in pieces, so that the host never holds
/// all of it twice.
fn waves(device: &Device, name: &str, len: usize) -> wgpu_rnn::Result<Buffer> {
    let buffer = device.alloc(name, len)?;
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
    say(format_args!(
        "{} T={} B={} I={} H={} L={} D={} {}: {} parameters",
        report.cell,
        report.steps,
        report.batch,
        report.input,
        report.hidden,
        report.layers,
        1 + usize::from(report.bidirectional),
        if matches!(report.mode, TimedMode::Train) { "train" } else { "forward" },
        report.parameters,
    ))?;
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

/// Records the time-step kernels alone, a few times over.
fn record_us_per_step(device: &Device, bound: &Bound) -> anyhow::Result<f64> {
    let stepped = || bound.forward.ops().iter().chain(bound.backward.ops()).filter(|op| op.is_stepped());
    let steps: usize = stepped().map(Op::dispatches).sum();
    if steps == 0 {
        return Ok(0.0);
    }
    let once = || device.time(|recorder| stepped().try_for_each(|op| op.record(recorder)));
    let timings: Vec<Timing> = (0..5).map(|_| once()).collect::<Result<_, _>>()?;
    Ok(median(&sorted(timings.iter().map(|timing| timing.record_ms))) * 1e3 / steps as f64)
}
