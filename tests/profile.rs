//! Profiles: every op in order with a time of its own, and the same numbers as without.

mod common;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, Running, assert_close, gpu, wgpu_device};
use wgpu_rnn::kernel::Op;
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Cell, Clock, Device, Profile, Profiler, Recorder, Result, RnnConfig};

fn layer() -> Layer {
    Layer::random(RnnConfig::new(Cell::Gru, 5, 9).layers(2).bidirectional(true), 6, 4, 3).lengths(&[6, 1, 4, 5])
}

fn ops(running: &Running) -> Vec<&Op> {
    running.bound.forward.ops().iter().chain(running.bound.backward.ops()).collect()
}

fn record(running: &Running, recorder: &mut Recorder<'_>) -> Result<()> {
    running.bound.forward.record(recorder)?;
    running.bound.backward.record(recorder)
}

/// What a profile of `ops` must be, whatever the times are.
#[track_caller]
fn assert_fits(profile: &Profile, ops: &[&Op]) {
    assert_eq!(profile.spans.len(), ops.len());
    for (span, op) in profile.spans.iter().zip(ops) {
        let (kernel, dispatches, variant) = (op.name(), op.dispatches(), op.variant());
        assert_eq!((span.kernel, span.dispatches, &span.variant), (kernel, dispatches, &variant));
        assert!(span.ms >= 0.0 && span.start_ms >= 0.0 && span.ms.is_finite(), "{span:?}");
    }
    let starts: Vec<f64> = profile.spans.iter().map(|span| span.start_ms).collect();
    assert!(starts[0] == 0.0 && starts.is_sorted(), "{starts:?}");
    assert!(profile.spans.iter().all(|span| span.start_ms + span.ms <= profile.elapsed_ms()));

    let kernels = profile.kernels();
    assert!(kernels.is_sorted_by(|a, b| a.ms >= b.ms), "{kernels:?}");
    assert!((kernels.iter().map(|kernel| kernel.share).sum::<f64>() - 1.0).abs() < 1e-9, "{kernels:?}");
    for kernel in &kernels {
        let own = || ops.iter().filter(|op| op.name() == kernel.kernel);
        assert_eq!((kernel.ops, kernel.dispatches), (own().count(), own().map(|op| op.dispatches()).sum()));
    }
    let dispatches: usize = kernels.iter().map(|kernel| kernel.dispatches).sum();
    assert_eq!(dispatches, ops.iter().map(|op| op.dispatches()).sum::<usize>());
}

#[test]
fn every_op_has_a_span_and_does_its_work() {
    let layer = layer();
    let want = layer.run(&Device::oracle().expect("oracle"));
    for (device, clock) in [(gpu(), Clock::Gpu), (Device::cpu().expect("CPU"), Clock::Host)] {
        let running = layer.bind(&device, Mode::Train).expect("a layer");
        let profile = device.profile(|recorder| record(&running, recorder)).expect("a profile");
        assert_eq!(profile.clock, clock);
        assert_fits(&profile, &ops(&running));
        assert!(profile.elapsed_ms() > 0.0);
        let got = running.read().expect("results");
        assert_close(&format!("profiled on {device:?}"), &got, &want, OUTPUT_BOUND, GRADIENT_BOUND);
    }
}

/// Passes beyond what one query set takes, 2048.
#[test]
fn there_is_no_largest_number_of_ops() {
    let device = gpu();
    let running = layer().bind(&device, Mode::Train).expect("a layer");
    let once = ops(&running);
    let rounds = 2 * 2048 / once.len() + 1;
    let work = |recorder: &mut Recorder<'_>| (0..rounds).try_for_each(|_| record(&running, recorder));
    let profile = device.profile(work).expect("a profile");
    assert_fits(&profile, &once.repeat(rounds));
}

/// Longer work takes longer: a product of a thousand times the size against a copy of a few numbers.
#[test]
fn times_are_of_the_work() {
    for device in [gpu(), Device::cpu().expect("CPU")] {
        let running =
            Layer::random(RnnConfig::new(Cell::Lstm, 256, 128), 32, 32, 1).bind(&device, Mode::Infer).expect("a layer");
        let work = |recorder: &mut Recorder<'_>| running.bound.forward.record(recorder);
        device.profile(work).expect("a warm-up");
        let profile = device.profile(work).expect("a profile");
        let most = |kernel: &str| {
            profile.spans.iter().filter(|span| span.kernel == kernel).map(|span| span.ms).fold(0.0, f64::max)
        };
        // The CPU's steps make their products themselves.
        let product = if device.gpu().is_some() { "gemm" } else { "recurrent_forward" };
        assert!(most(product) > most("copy"), "{profile:?}");
    }
}

#[test]
fn an_apps_own_encoder_can_be_profiled() {
    let device = gpu();
    let gpu = device.gpu().expect("a GPU");
    let layer = layer();
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    let mut profiler = Profiler::new(gpu).expect("timestamps");
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    record(&running, &mut Recorder::profiled(&mut encoder, &mut profiler)).expect("recorded");
    profiler.resolve(&mut encoder).expect("resolved");
    gpu.queue().submit([encoder.finish()]);
    assert_fits(&pollster::block_on(profiler.read()).expect("a profile"), &ops(&running));
    let want = layer.run(&Device::oracle().expect("oracle"));
    assert_close("in an encoder", &running.read().expect("results"), &want, OUTPUT_BOUND, GRADIENT_BOUND);
}

#[test]
fn nothing_recorded_is_an_empty_profile() {
    for device in [gpu(), Device::cpu().expect("CPU")] {
        let profile = device.profile(|_| Ok(())).expect("a profile");
        assert!(profile.spans.is_empty() && profile.kernels().is_empty() && profile.elapsed_ms() == 0.0);
    }
}

#[test]
fn what_can_not_be_profiled_is_an_error() {
    // WebGPU's defaults have no timestamps.
    let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
    let blind = Device::from_wgpu(device, queue);
    let text = blind.profile(|_| Ok(())).expect_err("no timestamps").to_string();
    assert!(text.contains("TIMESTAMP_QUERY") && text.ends_with(&blind.name()), "{text}");

    // Work of the other executor, and work that fails.
    let (gpu, cpu) = (gpu(), Device::cpu().expect("CPU"));
    let running = [&gpu, &cpu].map(|device| layer().bind(device, Mode::Train).expect("a layer"));
    for (device, other) in [(&gpu, &running[1]), (&cpu, &running[0])] {
        let text = device.profile(|recorder| record(other, recorder)).expect_err("the wrong device").to_string();
        assert!(text.starts_with("the recorder must be on ") && text.contains("the CPU executor"), "{text}");
    }
}
