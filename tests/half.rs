//! Half precision: weights and activations stored as f16, state and sums carried in f32. About half the memory, within
//! 1e-2 of the oracle.

mod common;

use common::{Layer, assert_close, assert_same_bits, half_devices};
use wgpu_rnn::nn::rnn::{Options, Rnn};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, Error, Precision, RnnConfig};

/// Largest `‖got − want‖ / ‖want‖` of everything.
const BOUND: f64 = 1e-2;

/// Layers of every kind, with odd sizes. Where a rectifier's input is near zero a rounding flips its derivative, so it has
/// no long one.
fn layers(cell: Cell) -> Vec<Layer> {
    let config = RnnConfig::new(cell, 5, 9);
    let steps = if cell == Cell::RnnRelu { 4 } else { 30 };
    vec![
        Layer::random(config, 12, 3, 1),
        Layer::random(config.bias(false), 7, 1, 2),
        Layer::random(config.layers(2).bidirectional(true), 9, 4, 3).lengths(&[9, 1, 5, 8]),
        Layer::random(RnnConfig::new(cell, 16, 32), steps, 4, 4),
    ]
}

#[test]
fn every_cell_stays_near_the_oracle() {
    let oracle = Device::oracle().expect("the oracle");
    let devices = half_devices();
    for &cell in Cell::ALL {
        for (index, layer) in layers(cell).into_iter().enumerate() {
            let want = layer.run(&oracle);
            // Every layer on every other device, with sequences stored as f16 on some and as f32 on others.
            for (place, device) in devices.iter().enumerate().filter(|(place, _)| (index + place) % 2 == 0) {
                let half = layer.clone().half((index + place) % 4 == 0);
                let got = half.run(device);
                assert_close(&format!("{} on {device:?}", half.describe()), &got, &want, BOUND, BOUND);
            }
        }
    }
}

/// A state that is the sum of many small steps: rounded at each of them it would be far off.
#[test]
fn states_are_carried_in_full_precision() {
    let oracle = Device::oracle().expect("the oracle");
    for device in half_devices() {
        // All weights are zero but the biases of the gates, so that c moves by about 1e-3 a step and never back.
        let config = RnnConfig::new(Cell::Lstm, 1, 1);
        let mut layer = Layer::random(config, 800, 1, 1).without(&["dy", "dhn", "dcn", "h0", "c0"]);
        for (name, values) in &mut layer.given {
            if name != "x" {
                values.fill(0.0);
            }
            if name == "bias_ih_l0" {
                // i = σ(-5.3) ≈ 0.005, f = σ(20) ≈ 1, g = tanh(0.1) ≈ 0.1, o = σ(0).
                values.copy_from_slice(&[-5.3, 20.0, 0.1, 0.0].map(|value| f64::from(value as f32)));
            }
        }
        let (got, want) = (layer.clone().half(true).run(&device), layer.run(&oracle));
        let error = (got["cn"][0] - want["cn"][0]).abs() / want["cn"][0];
        assert!(error < 2e-3, "c is {}, expected {}", got["cn"][0], want["cn"][0]);
    }
}

#[test]
fn memory_is_about_half() {
    for device in half_devices() {
        for &cell in Cell::ALL {
            for (layers, two) in [(1, false), (2, true), (3, false)] {
                let config = RnnConfig::new(cell, 32, 64).layers(layers).bidirectional(two);
                let plan = |precision| {
                    let options = Options { precision, ..Options::default() };
                    Rnn::new(&device, config, BatchShape::new(50, 8), Mode::Train, options).expect("a plan")
                };
                let [full, half] = [Precision::Full, Precision::Half].map(|precision| plan(precision).memory());
                let what = format!("{cell}, {layers} layers, on {device:?}");
                // All of the reserve is stored in the one or in the other.
                assert_eq!(half.reserve * 2, full.reserve, "{what}");
                let share = (half.reserve + half.workspace) as f64 / (full.reserve + full.workspace) as f64;
                assert!(share < if two { 0.66 } else { 0.6 }, "{what}: {share}");
            }
        }
        for &cell in Cell::ALL {
            for layer in layers(cell) {
                for mode in [Mode::Infer, Mode::Train] {
                    for recompute in [None, Some(4)] {
                        let layer = Layer { recompute, ..layer.clone().half(true) };
                        let predicted = layer.plan(&device, mode).expect("a plan").memory();
                        let running = layer.bind(&device, mode).expect("a layer");
                        assert_eq!(running.bound.memory(), predicted, "{} for {mode:?}", layer.describe());
                    }
                }
            }
        }
    }
}

#[test]
fn recomputation_gives_the_same_bits() {
    for device in half_devices() {
        for cell in [Cell::Lstm, Cell::Gru] {
            for (layers, two) in [(1, false), (2, true)] {
                let config = RnnConfig::new(cell, 5, 6).layers(layers).bidirectional(two);
                // Sequences enough that a granule is few steps on every class of device.
                let layer = Layer::random(config, 10, 64, 5).half(false);
                let want = layer.run(&device);
                let again = Layer { recompute: Some(4), ..layer };
                assert!(again.plan(&device, Mode::Train).expect("a plan").chunks() > 1, "{}", again.describe());
                assert_same_bits(&again.describe(), &again.run(&device), &want);
            }
        }
    }
}

#[test]
fn what_has_no_f16_says_so() {
    for device in
        [Device::cpu().expect("the CPU"), Device::oracle().expect("the oracle"), common::small_bindings(1 << 20)]
    {
        let options = Options { precision: Precision::Half, ..Options::default() };
        let plan = Rnn::new(&device, RnnConfig::new(Cell::Gru, 2, 3), BatchShape::new(4, 2), Mode::Train, options);
        let Err(error) = plan else { panic!("a plan on {device:?}") };
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("half precision"), "{error}");
    }
}
