//! What one recorded time step costs the host: commands recorded, checked and encoded by wgpu. The aim is 2 µs at most.
//!
//! `cargo bench --bench recording`; the time shown is of one step, forward or backward. It runs on the GPU that
//! `WGPU_RNN_DEVICE` names (gpu, software), software where it names none: the CPU executor records nothing.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wgpu_rnn::kernel::{Op, Program};
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, DeviceKind, RnnConfig};

/// Steps of the layer, enough that what is spent once does not show.
const STEPS: usize = 1000;

fn recording(criterion: &mut Criterion) {
    let named = std::env::var("WGPU_RNN_DEVICE").ok();
    let kind: DeviceKind = named.as_deref().unwrap_or("software").parse().expect("WGPU_RNN_DEVICE");
    let device = match pollster::block_on(Device::open(kind)) {
        Ok(device) => device,
        Err(why) if named.is_none() => {
            println!("recording is left out: {why}");
            return;
        }
        Err(why) => panic!("the device that WGPU_RNN_DEVICE names: {why}"),
    };
    println!("device: {} ({}, {})", device.name(), device.kind_name(), device.backend());

    // The work itself is small: only its recording is of interest.
    let (config, shape) = (RnnConfig::new(Cell::Lstm, 8, 8), BatchShape::new(STEPS, 1));
    let params = Parameters::new(&device, tensors(&config, "")).expect("parameters");
    Init::new(0).apply(&params, "", Layer::Rnn(&config)).expect("weights");
    let x = device.alloc("x", STEPS * 8).expect("x");
    let io = Io::new(&x, &device.alloc("y", STEPS * 8).expect("y"));
    let gradients = Gradients { dy: Some(device.alloc("dy", STEPS * 8).expect("dy")), ..Gradients::default() };
    // One dispatch a step, whatever would be chosen for so small a layer.
    let options = Options { strategy: Some("stepwise"), ..Options::default() };
    let rnn = Rnn::new(&device, config, shape, Mode::Train, options).expect("a plan");
    let (reserve, workspace) = (rnn.reserve().expect("a reserve"), rnn.workspace().expect("a workspace"));
    let bound = rnn.bind(&params, "", &io, &gradients, &reserve, &workspace).expect("buffers");

    let mut group = criterion.benchmark_group("recording");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (name, program) in [("forward", &bound.forward), ("backward", &bound.backward)] {
        let measure = |runs: u64| -> Duration { (0..runs).map(|_| one_step(&device, program)).sum() };
        group.bench_function(name, |bencher| bencher.iter_custom(measure));
    }
    group.finish();
}

/// What a step of `program` costs, from one recording of all of them.
fn one_step(device: &Device, program: &Program) -> Duration {
    let stepped = || program.ops().iter().filter(|op| op.is_stepped());
    let steps: usize = stepped().map(Op::dispatches).sum();
    let timing = device.time(|recorder| stepped().try_for_each(|op| op.record(recorder))).expect("a recording");
    Duration::from_secs_f64(timing.record_ms * 1e-3 / steps as f64)
}

criterion_group!(benches, recording);
criterion_main!(benches);
