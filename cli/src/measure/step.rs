//! `time --mode step`: a layer that takes a time step a call, each call timed.

use std::time::Instant;

use serde::Serialize;
use wgpu_rnn::nn::rnn::{Stream, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::{Device, RnnConfig};

use crate::base::say;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    cell: &'static str,
    batch: usize,
    input: usize,
    hidden: usize,
    layers: usize,
    bias: &'static str,
    options: String,
    learn_state: bool,
    mode: &'static str,
    steps: usize,
    parameters: usize,
    median_us: f64,
    p99_us: f64,
    p999_us: f64,
    worst_us: f64,
}

/// Steps before the timed ones.
const WARM_UP: usize = 1000;

/// Inputs that differ.
const INPUTS: usize = 97;

/// Steps after which the input falls silent, and after which it begins again.
const QUIET: usize = 5000;

/// Timed steps at most: every time is kept until the end.
const MOST: usize = 100_000_000;

/// Times `steps` calls for `batch` sequences.
pub fn step(config: RnnConfig, steps: usize, batch: usize, json: bool) -> anyhow::Result<()> {
    anyhow::ensure!(steps <= MOST, "at most {MOST} steps can be timed one by one, got {steps}");
    let parameters = Parameters::new(&Device::cpu_with_threads(1)?, tensors(&config, ""))?;
    Init::new(0).apply(&parameters, "", Layer::Rnn(&config))?;
    let mut stream = Stream::new(&parameters, "", config, batch)?;
    let width = batch * config.input;
    // Different inputs from step to step, and now and then nothing for a while, when states may decay to the smallest
    // numbers there are.
    let wave: Vec<f32> = (0..width * INPUTS).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let silence = vec![0.0; width];
    let at = |step: usize| match step / QUIET % 2 {
        0 => &wave[step % INPUTS * width..][..width],
        _ => &silence[..],
    };
    let mut y = vec![0.0; batch * config.hidden];
    let mut times = vec![0u32; steps];
    for step in 0..WARM_UP {
        stream.step(at(step), &mut y)?;
    }
    for (step, time) in times.iter_mut().enumerate() {
        let x = at(step);
        let start = Instant::now();
        stream.step(x, &mut y)?;
        *time = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
    }
    times.sort_unstable();
    // The smallest time that so many in a thousand do not exceed.
    let part = |thousandths: usize| f64::from(times[(steps * thousandths / 1000).min(steps - 1)]) / 1e3;
    let report = Report {
        cell: config.cell.name(),
        batch,
        input: config.input,
        hidden: config.hidden,
        layers: config.layers,
        bias: config.bias.name(),
        options: config.options.to_string(),
        learn_state: config.learns_state,
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
    say("the CPU, on the calling thread")?;
    say(format_args!(
        "{} B={batch} I={} H={} L={} step: {} parameters",
        report.cell, report.input, report.hidden, report.layers, report.parameters
    ))?;
    say(format_args!(
        "{median_us:.2} µs median of {steps} steps, 99 % within {p99_us:.2}, 99.9 % within {p999_us:.2}, the worst {worst_us:.2}"
    ))?;
    Ok(())
}
