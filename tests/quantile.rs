//! The quantile loss: by its definition, its gradient by finite differences, the same on every device, and what it teaches.

mod common;

use common::{Random, gpu, relative_error, small_bindings, tiled};
use wgpu_rnn::nn::{Loss, Parameters};
use wgpu_rnn::train::{Optimizer, OptimizerConfig};
use wgpu_rnn::{Device, gpu::AdapterKind};

const LEVELS: [f64; 3] = [0.1, 0.5, 0.875];

fn devices() -> Vec<Device> {
    let cpu = [Device::oracle(), Device::cpu()].map(|device| device.expect("the CPU"));
    cpu.into_iter().chain([gpu(), tiled(AdapterKind::Gpu), small_bindings(1 << 16)]).collect()
}

/// Loss and gradient, and the loss alone.
fn quantile(device: &Device, levels: &[f64], y: &[f64], target: &[f64], scale: Option<f64>) -> (f64, Vec<f64>, f64) {
    let upload = |name: &str, values: &[f64]| {
        let buffer = device.alloc(name, values.len()).expect("room");
        device.write_f64(&buffer, values).expect("a write");
        buffer
    };
    let (y, target, scale) = (upload("y", y), upload("target", target), scale.map(|scale| upload("scale", &[scale])));
    let dy = device.alloc("dy", y.len()).expect("room");
    let loss = Loss::quantile(device, levels, &y, &target, Some(&dy), scale.as_ref()).expect("a loss");
    let alone = Loss::quantile(device, levels, &y, &target, None, None).expect("a loss");
    device
        .run(|recorder| {
            loss.record(recorder)?;
            alone.record(recorder)
        })
        .expect("a run");
    let value = |loss: &Loss| loss.read_value().expect("a value");
    (value(&loss), device.read_f64(&dy).expect("a read"), value(&alone))
}

#[test]
fn it_is_what_it_is_defined_as() {
    // Below its goal by 1, on it, above it by 2; then all above by 1.
    let (y, target) = ([1.0, 2.0, 4.0, 0.0, 0.0, 0.0], [2.0, -1.0]);
    let want = (0.1 + 0.0 + 0.125 * 2.0 + 0.9 + 0.5 + 0.125) / 6.0;
    let slopes = [-0.1, 0.0, 0.125, 0.9, 0.5, 0.125].map(|slope| slope / 6.0);
    for device in devices() {
        let (loss, gradient, alone) = quantile(&device, &LEVELS, &y, &target, None);
        assert!((loss - want).abs() < 1e-6 && loss == alone, "{loss} for {want} on {device:?}");
        assert!(relative_error(&gradient, &slopes) < 1e-6, "{gradient:?} on {device:?}");
        let (loss, gradient, _) = quantile(&device, &LEVELS, &y, &target, Some(1024.0));
        assert!((loss - want).abs() < 1e-6);
        assert!(relative_error(&gradient, &slopes.map(|slope| slope * 1024.0)) < 1e-6, "scaled on {device:?}");
        let (loss, gradient, _) = quantile(&device, &LEVELS, &[f64::NAN, 0.0, 0.0], &[1.0], None);
        assert!(loss.is_nan() && gradient[0].is_nan() && gradient[1].is_finite(), "{loss} {gradient:?} on {device:?}");
    }
}

#[test]
fn its_gradient_is_its_slope() {
    let device = Device::oracle().expect("oracle");
    let mut random = Random::new(3);
    let (y, target) = (random.values(30, 2.0), random.values(10, 2.0));
    let (_, gradient, _) = quantile(&device, &LEVELS, &y, &target, None);
    for at in 0..y.len() {
        let loss = |by: f64| {
            let mut y = y.clone();
            y[at] += by;
            quantile(&device, &LEVELS, &y, &target, None).0
        };
        let slope = (loss(1e-6) - loss(-1e-6)) / 2e-6;
        assert!((gradient[at] - slope).abs() < 1e-8, "{} for {slope}", gradient[at]);
    }
}

#[test]
fn every_device_agrees_at_every_size() {
    let oracle = Device::oracle().expect("oracle");
    let mut random = Random::new(1);
    for (rows, levels) in [(1, 1), (2, 3), (31, 2), (33, 5), (257, 3), (30_001, 3), (64, 97)] {
        let levels: Vec<f64> = (0..levels).map(|level| (level as f64 + 1.0) / (levels as f64 + 1.0)).collect();
        let (y, target) = (random.values(rows * levels.len(), 2.0), random.values(rows, 2.0));
        let (want, slopes, _) = quantile(&oracle, &levels, &y, &target, None);
        for device in devices() {
            let what = format!("{rows} rows, {} levels on {device:?}", levels.len());
            let (loss, gradient, alone) = quantile(&device, &levels, &y, &target, None);
            assert!((loss / want - 1.0).abs() < 1e-6 && (alone / want - 1.0).abs() < 1e-6, "{what}: {loss} for {want}");
            assert!(relative_error(&gradient, &slopes) < 1e-6, "{what}");
            assert_eq!(quantile(&device, &levels, &y, &target, None), (loss, gradient, alone), "{what}: other bits");
        }
    }
}

/// Numbers that are their own outputs end where the right share of the targets is below them.
#[test]
fn what_is_learnt_is_the_quantile() {
    for device in [Device::cpu().expect("the CPU"), gpu()] {
        let count = 400;
        let params = Parameters::new(&device, [("y".to_string(), vec![LEVELS.len()])]).expect("parameters");
        let optimizer = Optimizer::new(&params, OptimizerConfig::adam(0.05)).expect("an optimiser");
        let y = params.value("y").expect("a tensor");
        let dy = params.gradient("y").expect("a tensor");
        let goal = device.alloc("goal", 1).expect("room");
        let loss = Loss::quantile(&device, &LEVELS, &y, &goal, Some(&dy), None).expect("a loss");
        let mut random = Random::new(5);
        for step in 0..4 * count {
            // Uniform in 0..10; later steps are smaller, by averaging over none.
            let value = (random.next() + 1.0) * 5.0;
            device.write_f64(&goal, &[value]).expect("a write");
            device
                .run(|recorder| {
                    loss.record(recorder)?;
                    optimizer.record(recorder)
                })
                .unwrap_or_else(|error| panic!("step {step}: {error}"));
        }
        let found = device.read_f64(&y).expect("a read");
        for (found, level) in found.iter().zip(LEVELS) {
            assert!((found - 10.0 * level).abs() < 1.2, "{found} for the level {level} on {device:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::cpu().expect("the CPU");
    let room = |len| device.alloc("room", len).expect("room");
    let refused = |levels: &[f64], y: usize, target: usize| {
        let error = Loss::quantile(&device, levels, &room(y), &room(target), None, None).err().expect("an error");
        error.to_string()
    };
    for level in [0.0, 1.0, -0.5, f64::NAN] {
        let why = refused(&[0.5, level], 4, 2);
        assert!(why.contains("a level of the quantile loss must be above 0 and below 1"), "{why}");
    }
    assert!(refused(&LEVELS, 5, 2).contains("the output"), "{}", refused(&LEVELS, 5, 2));
    assert!(refused(&[], 4, 4).contains("levels"), "{}", refused(&[], 4, 4));
}
