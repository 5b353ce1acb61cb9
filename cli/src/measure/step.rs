//! `time --mode step`: a layer that takes a time step a call, each call timed; on the calling thread, or on a GPU from the upload
//! of x to y on the host.

use std::time::Instant;

use serde::Serialize;
use wgpu_rnn::nn::rnn::{DeviceStream, Options, Stream, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::{BatchShape, Device, Precision, RnnConfig};

use super::changes;
use crate::base::say;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    device: String,
    strategy: &'static str,
    cell: &'static str,
    batch: usize,
    input: usize,
    hidden: usize,
    layers: usize,
    bias: &'static str,
    options: String,
    learn_state: bool,
    precision: &'static str,
    mode: &'static str,
    steps: usize,
    parameters: usize,
    median_us: f64,
    p99_us: f64,
    p999_us: f64,
    worst_us: f64,
}

/// A time step from its x.
type Call = Box<dyn FnMut(&[f32]) -> wgpu_rnn::Result<()>>;

/// Steps before the timed ones.
const WARM_UP: usize = 1000;

/// Inputs that differ.
const INPUTS: usize = 97;

/// Steps after which the input falls silent, and after which it begins again.
const QUIET: usize = 5000;

/// Timed steps at most: every time is kept until the end.
const MOST: usize = 100_000_000;

/// Times `steps` calls for `batch` sequences: on a GPU, or else on the calling thread.
pub fn step(
    gpu: Option<&Device>,
    config: RnnConfig,
    steps: usize,
    batch: usize,
    options: Options<'_>,
    json: bool,
) -> anyhow::Result<()> {
    anyhow::ensure!(steps <= MOST, "at most {MOST} steps can be timed one by one, got {steps}");
    let device = gpu.map_or_else(|| Device::cpu_with_threads(1), |gpu| Ok(gpu.clone()))?;
    let parameters = Parameters::frozen(&device, tensors(&config, ""))?;
    Init::new(0).apply(&parameters, "", Layer::Rnn(&config))?;
    let mut calls: Call;
    let (place, strategy) = if gpu.is_some() {
        let x = device.alloc_as(options.precision, "x", batch * config.input)?;
        let y = device.alloc_as(options.precision, "y", batch * config.outputs())?;
        let stream = DeviceStream::new(&parameters, "", config, BatchShape::new(1, batch), &x, &y, options)?;
        let named = (device.name(), stream.bound().rnn().strategy());
        calls = Box::new(move |values| {
            device.write(&x, values)?;
            device.run(|recorder| stream.record(recorder))?;
            device.read(&y).map(|_| ())
        });
        named
    } else {
        let (mut stream, mut y) = (Stream::new(&parameters, "", config, batch)?, vec![0.0; batch * config.outputs()]);
        calls = Box::new(move |values| stream.step(values, &mut y));
        ("the CPU, on the calling thread".to_string(), "native")
    };
    let width = batch * config.input;
    // Different inputs from step to step, and now and then nothing for a while, when states may decay to the smallest
    // numbers there are.
    let wave: Vec<f32> = (0..width * INPUTS).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let silence = vec![0.0; width];
    let at = |step: usize| match step / QUIET % 2 {
        0 => &wave[step % INPUTS * width..][..width],
        _ => &silence[..],
    };
    let mut times = vec![0u32; steps];
    for step in 0..WARM_UP.min(steps) {
        calls(at(step))?;
    }
    for (step, time) in times.iter_mut().enumerate() {
        let x = at(step);
        let start = Instant::now();
        calls(x)?;
        *time = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
    }
    times.sort_unstable();
    // The smallest time that so many in a thousand do not exceed.
    let part = |thousandths: usize| f64::from(times[(steps * thousandths / 1000).min(steps - 1)]) / 1e3;
    let report = Report {
        device: place,
        strategy,
        cell: config.cell.name(),
        batch,
        input: config.input,
        hidden: config.hidden,
        layers: config.layers,
        bias: config.bias.name(),
        options: config.options.to_string(),
        learn_state: config.learns_state,
        precision: match options.precision {
            Precision::Full => "full",
            Precision::Half => "half",
        },
        mode: "step",
        steps,
        parameters: parameters.count(),
        median_us: part(500),
        p99_us: part(990),
        p999_us: part(999),
        worst_us: part(1000),
    };
    if json {
        return Ok(say(serde_json::to_string(&report)?)?);
    }
    let Report { median_us, p99_us, p999_us, worst_us, .. } = report;
    match gpu {
        None => say(&report.device)?,
        Some(_) => say(format_args!("{}, strategy {strategy}: x uploaded, a step, y read back", report.device))?,
    }
    let changes = changes(&config);
    let stored = if report.precision == "half" { " half" } else { "" };
    say(format_args!(
        "{} B={batch} I={} H={} L={}{changes}{stored} step: {} parameters",
        report.cell, report.input, report.hidden, report.layers, report.parameters
    ))?;
    say(format_args!(
        "{median_us:.2} µs median of {steps} steps, 99 % within {p99_us:.2}, 99.9 % within {p999_us:.2}, the worst {worst_us:.2}"
    ))?;
    Ok(())
}
