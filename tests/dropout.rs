//! Dropout of outputs between layers, of inputs and of weights: the same masks everywhere, drawn anew by each run.

mod common;

use std::sync::LazyLock;

use common::{
    GRADIENT_BOUND, Layer, OUTPUT_BOUND, agree, assert_close, assert_same_bits, devices, half_devices, relative_error,
    small_bindings,
};
use wgpu_rnn::plan::{Mode, granule};
use wgpu_rnn::{Cell, Device, Direction, RnnConfig, StepOptions, Zoneout};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// The probabilities between layers, of inputs and of weights.
fn drops(config: RnnConfig, [between, inputs, weights]: [f32; 3]) -> RnnConfig {
    config.dropout(between).input_dropout(inputs).weight_dropout(weights)
}

/// The masks of the paper's own generator on every device, in sections, chunks and half precision.
#[test]
fn every_kind_of_dropout_is_the_same_everywhere() {
    for (index, (cell, direction)) in
        [(Cell::Lstm, Direction::Forward), (Cell::Gru, Direction::Both), (Cell::RnnTanh, Direction::Reverse)]
            .into_iter()
            .enumerate()
    {
        for (layers, shares, padded) in [
            (2, [0.5, 0.0, 0.0], false),
            (3, [0.2, 0.3, 0.0], true),
            (2, [1.0, 0.0, 0.3], false),
            (1, [0.5, 0.2, 0.0], true),
            (2, [0.0, 0.3, 0.2], false),
            (1, [0.0, 0.0, 0.5], true),
        ] {
            let config = drops(RnnConfig::new(cell, 3, 9).layers(layers).direction(direction), shares);
            let mut layer = Layer::random(config, 5, 7, index as u64);
            layer.lengths = padded.then(|| vec![5, 1, 3, 2, 5, 4, 1]);
            agree(&DEVICES, &layer);
        }
        let peephole = StepOptions { peephole: cell == Cell::Lstm, ..StepOptions::NONE };
        let config = RnnConfig::new(cell, 3, 5).layers(3).direction(direction).options(peephole);
        let config = drops(config, [0.4, 0.3, 0.2]);
        let mut layer = Layer::random(config, 29, 40, 3);
        layer.lengths = Some((0..40).map(|b| 1 + (b * 7 + 28) % 29).collect());
        let want = layer.run(&DEVICES[0]);
        for device in DEVICES.iter().cloned().chain(half_devices()) {
            let half = device.gpu().is_some_and(|gpu| gpu.capabilities().f16);
            let layer = if half { layer.clone().half(index % 2 == 0) } else { layer.clone() };
            let got = layer.run(&device);
            let again = layer.clone().recompute(granule(&device, layer.shape));
            assert_same_bits(&again.describe(), &again.run(&device), &got);
            let bounds = if half { [1e-2; 2] } else { [OUTPUT_BOUND, GRADIENT_BOUND] };
            assert_close(&layer.describe(), &got, &want, bounds[0], bounds[1]);
        }
        let small = small_bindings(16 << 10);
        assert_close(&layer.describe(), &layer.run(&small), &want, OUTPUT_BOUND, GRADIENT_BOUND);
    }
}

/// A recorded program draws anew at every run; a seed begins again; what infers drops nothing.
#[test]
fn each_run_draws_anew() {
    let config = RnnConfig::new(Cell::Gru, 3, 16).layers(2);
    let zoneout = StepOptions { zoneout: Zoneout { h: Some(0.25.into()), c: None }, ..StepOptions::NONE };
    let of_h = StepOptions { recurrent_dropout: Some(0.25.into()), ..StepOptions::NONE };
    let all = [[0.25, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.25]].map(|shares| drops(config, shares));
    let all: Vec<RnnConfig> = all.into_iter().chain([zoneout, of_h].map(|options| config.options(options))).collect();
    for (device, &config) in DEVICES.iter().flat_map(|device| all.iter().map(move |config| (device, config))) {
        let layer = Layer::random(config, 6, 8, 1);
        let running = layer.bind(device, Mode::Train).expect("a layer");
        let run = || {
            running.run().expect("a run");
            running.read().expect("a read")
        };
        let (first, second) = (run(), run());
        assert!(relative_error(&second["y"], &first["y"]) > 1e-2, "{device:?}");
        running.bound.set_seed(common::SEED).expect("a seed");
        assert_same_bits("the seed again", &run(), &first);
        running.bound.set_seed_after(common::SEED, 1).expect("a seed");
        assert_same_bits("the second run again", &run(), &second);
        running.bound.set_seed(common::SEED + 1).expect("a seed");
        assert!(relative_error(&run()["y"], &first["y"]) > 1e-2, "{device:?}");
        let y = |config: RnnConfig| {
            let running = Layer { config, ..layer.clone() }.bind(device, Mode::Infer).expect("a layer");
            running.device.run(|recorder| running.bound.forward.record(recorder)).expect("a run");
            device.read_f64(running.buffer("y")).expect("y")
        };
        if !config.recipe().zones() {
            let nothing = drops(config.options(StepOptions::NONE), [0.0; 3]);
            assert_eq!(y(config), y(nothing), "{device:?}");
        }
    }
    for p in [-0.1, 1.1, f32::NAN] {
        let error = config.dropout(p).check().expect_err("no probability").to_string();
        assert_eq!(error, format!("the probability of dropout must be within 0..1, got {p}"));
    }
    for (config, of) in [(config.input_dropout(2.0), "input"), (config.weight_dropout(2.0), "weight")] {
        let error = config.check().expect_err("no probability").to_string();
        assert_eq!(error, format!("the probability of {of} dropout must be within 0..1, got 2"));
    }
}
