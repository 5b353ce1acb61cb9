//! GRU against LSTM against RNN, against other forms of them and the cells without a product: forward and training over hidden
//! size, length and batch, one table of parameters and bytes, and every strategy that the device can run.
//!
//! `cargo bench` runs on the CPU executor; `WGPU_RNN_DEVICE=gpu` (auto, software) on another device. Where the device
//! has timestamps the GPU's own time is measured, else the wall clock until the work is done.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::{Mode, STRATEGIES};
use wgpu_rnn::{BatchShape, Cell, Device, DeviceKind, Result, RnnConfig, StepOptions};

/// A cell and what is changed about its step, by the name that it has here.
type Kind = (&'static str, Cell, StepOptions);

const KINDS: [Kind; 9] = [
    ("RNN", Cell::RnnTanh, StepOptions::NONE),
    ("GRU", Cell::Gru, StepOptions::NONE),
    ("LSTM", Cell::Lstm, StepOptions::NONE),
    ("GRU (reset_before)", Cell::Gru, StepOptions { reset_before: true, ..StepOptions::NONE }),
    ("minGRU", Cell::MinGru, StepOptions::NONE),
    ("minLSTM", Cell::MinLstm, StepOptions::NONE),
    ("SRU", Cell::Sru, StepOptions::NONE),
    ("IndRNN", Cell::IndRnn, StepOptions::NONE),
    ("LSTM, projected", Cell::Lstm, StepOptions { projection: Some(16), ..StepOptions::NONE }),
];

/// What is varied, and (T, B, I, H) of each point.
const SWEEPS: [(&str, [[usize; 4]; 3]); 3] = [
    ("hidden", [[64, 16, 64, 32], [64, 16, 64, 128], [64, 16, 64, 256]]),
    ("steps", [[16, 16, 64, 64], [64, 16, 64, 64], [256, 16, 64, 64]]),
    ("batch", [[64, 1, 64, 64], [64, 8, 64, 64], [64, 64, 64, 64]]),
];

fn device() -> Device {
    let name = std::env::var("WGPU_RNN_DEVICE").unwrap_or_else(|_| "cpu".to_string());
    let kind: DeviceKind = name.parse().expect("WGPU_RNN_DEVICE");
    pollster::block_on(Device::open(kind)).expect("the device that WGPU_RNN_DEVICE names")
}

/// A layer with seeded weights and bounded inputs, bound and ready to be recorded.
fn layer(
    device: &Device,
    (_, cell, options): Kind,
    [steps, batch, input, hidden]: [usize; 4],
    mode: Mode,
    strategy: Option<&str>,
) -> Result<Bound> {
    let (config, shape) = (RnnConfig::new(cell, input, hidden).options(options), BatchShape::new(steps, batch));
    let rnn = Rnn::new(device, config, shape, mode, Options { strategy, ..Options::default() })?;
    let params = Parameters::new(device, tensors(&config, ""))?;
    Init::new(0).apply(&params, "", Layer::Rnn(&config))?;
    let wave = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect() };
    let x = device.upload("x", &wave(shape.rows() * input))?;
    let dy = device.upload("dy", &wave(shape.rows() * config.outputs()))?;
    let io = Io::new(&x, &device.alloc("y", dy.len())?);
    let gradients = Gradients { dy: Some(dy), dx: Some(device.alloc("dx", x.len())?), ..Gradients::default() };
    rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)
}

/// Time of `runs` recordings: GPU timestamps where there are any.
fn measure(device: &Device, bound: &Bound, runs: u64) -> Duration {
    let once = || {
        let timing = device.time(|recorder| {
            bound.forward.record(recorder)?;
            bound.backward.record(recorder)
        });
        let timing = timing.expect("a recording");
        Duration::from_secs_f64(timing.gpu_ms.unwrap_or(timing.wall_ms) * 1e-3)
    };
    (0..runs).map(|_| once()).sum()
}

fn sweep(criterion: &mut Criterion) {
    let device = device();
    println!("device: {} ({}, {}), {}", device.name(), device.kind_name(), device.backend(), device.why());
    table(&device);
    for (what, points) in SWEEPS {
        for (mode, name) in [(Mode::Infer, "forward"), (Mode::Train, "training")] {
            let mut group = criterion.benchmark_group(format!("{name}/{what}"));
            group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
            for shape in points {
                for kind in KINDS {
                    let bound = layer(&device, kind, shape, mode, None).expect("a layer");
                    let [steps, batch, input, hidden] = shape;
                    let id = BenchmarkId::new(kind.0, format!("T{steps} B{batch} I{input} H{hidden}"));
                    group.bench_function(id, |bencher| bencher.iter_custom(|runs| measure(&device, &bound, runs)));
                }
            }
            group.finish();
        }
    }
}

/// Parameters and bytes of every point of the hidden-size sweep, as allocated.
fn table(device: &Device) {
    println!(
        "{:<18} {:>6} {:>12} {:>12} {:>12} {:>12}",
        "cell", "hidden", "parameters", "weights B", "reserve B", "work B"
    );
    for shape in SWEEPS[0].1 {
        for kind in KINDS {
            let bound = layer(device, kind, shape, Mode::Train, None).expect("a layer");
            let (parameters, memory) = (bound.rnn().config().parameters(), bound.memory());
            println!(
                "{:<18} {:>6} {parameters:>12} {:>12} {:>12} {:>12}",
                kind.0,
                shape[3],
                parameters as u64 * device.float_bytes(),
                memory.reserve,
                memory.workspace
            );
        }
    }
}

/// Every strategy that the device can run, from small layers to large ones.
fn strategies(criterion: &mut Criterion) {
    let device = device();
    for shape in [[256, 1, 32, 64], [64, 8, 64, 128], [32, 32, 128, 256]] {
        let [steps, batch, input, hidden] = shape;
        for (mode, name) in [(Mode::Infer, "forward"), (Mode::Train, "training")] {
            let mut group =
                criterion.benchmark_group(format!("strategies/{name}/T{steps} B{batch} I{input} H{hidden}"));
            group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
            for strategy in STRATEGIES {
                let (config, batch) = (RnnConfig::new(Cell::Gru, input, hidden), BatchShape::new(steps, batch));
                if strategy.fits(&device, &config, batch, mode).is_ok() {
                    let bound = layer(&device, KINDS[1], shape, mode, Some(strategy.name())).expect("a layer");
                    let id = BenchmarkId::new("GRU", strategy.name());
                    group.bench_function(id, |bencher| bencher.iter_custom(|runs| measure(&device, &bound, runs)));
                }
            }
            group.finish();
        }
    }
}

criterion_group!(benches, sweep, strategies);
criterion_main!(benches);
