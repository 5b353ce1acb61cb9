//! Padding never leaks: what lies past a sequence's end is not looked at, and what else is in the batch does not matter.

mod common;

use std::sync::LazyLock;

use common::{Layer, Tensors, assert_close, assert_same_bits, devices};
use proptest::prelude::*;
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, Error, RnnConfig};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

const STEPS: usize = 7;
const LENGTHS: [usize; 5] = [4, 7, 1, 6, 3];

/// One layer, two directions, and a stack of both, each cell, padded.
fn layers() -> impl Iterator<Item = Layer> {
    let shapes = [(1, false), (1, true), (2, false), (2, true)];
    let of = move |&cell| shapes.map(|(layers, two)| RnnConfig::new(cell, 3, 5).layers(layers).bidirectional(two));
    let configs = Cell::ALL.iter().flat_map(of);
    configs.map(|config| Layer::random(config, STEPS, LENGTHS.len(), 3).lengths(&LENGTHS))
}

/// Elements of `[T, B, F]` that are in padding.
fn in_padding(shape: BatchShape, lengths: &[usize], len: usize) -> Vec<bool> {
    let width = len / shape.rows();
    (0..len).map(|at| at / width / shape.batch >= lengths[at / width % shape.batch]).collect()
}

fn fill_padding(layer: &mut Layer, name: &str, value: f64) {
    let lengths = layer.lengths.clone().expect("lengths");
    let values = layer.given.get_mut(name).expect(name);
    let padding = in_padding(layer.shape, &lengths, values.len());
    assert!(padding.iter().any(|&padded| padded));
    values.iter_mut().zip(padding).filter(|(_, padded)| *padded).for_each(|(to, _)| *to = value);
}

#[test]
fn what_is_in_padding_makes_no_difference() {
    for device in &*DEVICES {
        for mut layer in layers() {
            let mut results = Vec::new();
            for value in [0.0, 1e30, f64::NAN, f64::NEG_INFINITY] {
                fill_padding(&mut layer, "x", value);
                fill_padding(&mut layer, "dy", -value);
                results.push((value, layer.run(device)));
            }
            let (_, clean) = &results[0];
            assert!(clean.values().flatten().all(|value| value.is_finite()));
            for (value, got) in &results[1..] {
                assert_same_bits(&format!("{} with {value} on {device:?}", layer.describe()), got, clean);
            }
        }
    }
}

/// Outputs are written there too: what the caller's buffers held before does not stay.
#[test]
fn outputs_are_zero_in_padding() {
    for device in &*DEVICES {
        for layer in layers() {
            let running = layer.bind(device, Mode::Train).expect("a plan");
            for name in ["y", "dx"] {
                running.write(name, &vec![9.0; running.buffer(name).len()]).expect("a write");
            }
            running.run().expect("a run");
            let got = running.read().expect("results");
            for name in ["y", "dx"] {
                let padding = in_padding(layer.shape, &LENGTHS, got[name].len());
                let padded = got[name].iter().zip(padding).filter(|(_, padded)| *padded);
                let wrong: Vec<f64> = padded.map(|(&value, _)| value).filter(|&value| value != 0.0).collect();
                assert!(wrong.is_empty(), "{} on {device:?}: `{name}` holds {wrong:?}", layer.describe());
            }
        }
    }
}

/// Sequences `order` of a batch, as a batch of their own of `steps` steps.
fn select(layer: &Layer, order: &[usize], steps: usize) -> Layer {
    let lengths = layer.lengths.clone().expect("lengths");
    let shape = BatchShape::new(steps, order.len());
    let pick = |(name, values): (&String, &Vec<f64>)| (name.clone(), select_of(layer, name, values, order, steps));
    let given = layer.given.iter().map(pick).collect();
    Layer { shape, given, lengths: Some(order.iter().map(|&b| lengths[b]).collect()), ..layer.clone() }
}

/// The same of one tensor. Weights and their gradients have no sequences.
fn select_of(layer: &Layer, name: &str, values: &[f64], order: &[usize], steps: usize) -> Vec<f64> {
    let config = &layer.config;
    let (blocks, kept) = match name {
        "x" | "dx" | "y" | "dy" => (layer.shape.steps, steps),
        "h0" | "hn" | "dh0" | "dhn" | "c0" | "cn" | "dc0" | "dcn" => {
            let all = config.layers * config.directions();
            (all, all)
        }
        _ => return values.to_vec(),
    };
    let width = values.len() / blocks / layer.shape.batch;
    let row = |block, b| &values[(block * layer.shape.batch + b) * width..][..width];
    (0..kept).flat_map(|block| order.iter().map(move |&b| row(block, b))).flatten().copied().collect()
}

/// Each sequence of a padded batch as if it were alone, without padding and without lengths.
#[test]
fn a_padded_batch_is_its_sequences() {
    for device in &*DEVICES {
        let bound = if device.float_bytes() == 8 { 1e-12 } else { 1e-5 };
        for layer in layers() {
            let together = layer.run(device);
            let mut sums = Tensors::new();
            for (b, &length) in LENGTHS.iter().enumerate() {
                let mut alone = select(&layer, &[b], length);
                alone.lengths = None;
                let got = alone.run(device);
                let per_sequence = |name: &str| !name.starts_with("grad.");
                for (name, values) in got.iter().filter(|(name, _)| !per_sequence(name)) {
                    let sum = sums.entry(name.clone()).or_insert_with(|| vec![0.0; values.len()]);
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
                let own = |(name, values): (&String, &Vec<f64>)| {
                    per_sequence(name).then(|| (name.clone(), select_of(&layer, name, values, &[b], length)))
                };
                let (want, got): (Tensors, Tensors) = (
                    together.iter().filter_map(own).collect(),
                    got.into_iter().filter(|(name, _)| per_sequence(name)).collect(),
                );
                assert_close(&format!("sequence {b} of {} on {device:?}", layer.describe()), &got, &want, bound, bound);
            }
            let weights: Tensors = together.into_iter().filter(|(name, _)| name.starts_with("grad.")).collect();
            assert_close(&format!("{} on {device:?}", layer.describe()), &sums, &weights, bound, bound);
        }
    }
}

#[test]
fn the_order_of_a_batch_does_not_matter() {
    let order = [3, 0, 4, 2, 1];
    for device in &*DEVICES {
        let bound = if device.float_bytes() == 8 { 1e-13 } else { 1e-6 };
        for layer in layers() {
            let got = select(&layer, &order, STEPS).run(device);
            let straight = layer.run(device);
            let moved =
                |(name, values): (&String, &Vec<f64>)| (name.clone(), select_of(&layer, name, values, &order, STEPS));
            let want: Tensors = straight.iter().map(moved).collect();
            assert_close(&format!("{} on {device:?}", layer.describe()), &got, &want, bound, bound);
        }
    }
}

/// Lengths that all are T are the same as none, though other kernels may run.
#[test]
fn full_lengths_are_no_lengths() {
    for device in &*DEVICES {
        let bound = if device.float_bytes() == 8 { 1e-13 } else { 1e-6 };
        for mut layer in layers() {
            layer.lengths = Some(vec![STEPS; LENGTHS.len()]);
            let got = layer.run(device);
            layer.lengths = None;
            assert_close(&format!("{} on {device:?}", layer.describe()), &got, &layer.run(device), bound, bound);
        }
    }
}

#[test]
fn lengths_can_change_between_recordings() {
    for device in &*DEVICES {
        for layer in layers() {
            let running = layer.bind(device, Mode::Train).expect("a plan");
            for lengths in [LENGTHS, [7, 2, 5, 1, 1], [7; 5], LENGTHS] {
                running.bound.set_lengths(&lengths).expect("lengths");
                running.run().expect("a run");
                let what = format!("{} then {lengths:?} on {device:?}", layer.describe());
                let afresh = layer.clone().lengths(&lengths).run(device);
                assert_same_bits(&what, &running.read().expect("results"), &afresh);
            }
        }
    }
}

#[test]
fn wrong_lengths_are_errors_that_name_the_sequence() {
    for device in &*DEVICES {
        let layer = layers().next().expect("a layer");
        let running = layer.bind(device, Mode::Train).expect("a plan");
        let refused = |lengths: &[usize]| running.bound.set_lengths(lengths).expect_err("wrong lengths").to_string();
        assert_eq!(refused(&[1, 2, 3, 0, 5]), "the length of sequence 3 must be between 1 and 7, got 0");
        assert_eq!(refused(&[1, 8, 3, 4, 0]), "the length of sequence 1 must be between 1 and 7, got 8");
        assert_eq!(refused(&[1, 2, 3, 4]), "`lengths` must have shape [5], got [4]");
        assert_eq!(refused(&[]), "`lengths` must have shape [5], got [0]");
        // The lengths set before are still those.
        running.run().expect("a run");
        assert_same_bits("after refusals", &running.read().expect("results"), &layer.run(device));
    }
}

#[test]
fn lengths_of_their_own_must_be_planned() {
    for device in &*DEVICES {
        let mut layer = layers().next().expect("a layer");
        layer.lengths = None;
        let running = layer.bind(device, Mode::Train).expect("a plan");
        let error = running.bound.set_lengths(&LENGTHS).expect_err("lengths that were not planned");
        assert!(matches!(error, Error::Invalid { .. }));
        assert!(error.to_string().contains("asked for when the layer is planned"), "{error}");
        running.bound.set_lengths(&[STEPS; 5]).expect("the lengths it has");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        rng_seed: prop::test_runner::RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    #[test]
    fn garbage_in_the_padding_of_any_batch(
        cell in prop::sample::select(Cell::ALL),
        (layers, two) in (1usize..3, any::<bool>()),
        lengths in prop::collection::vec(1usize..10, 1..12),
        seed in any::<u64>(),
    ) {
        let config = RnnConfig::new(cell, 4, 9).layers(layers).bidirectional(two);
        let layer = Layer::random(config, 10, lengths.len(), seed).lengths(&lengths);
        let mut filled = layer.clone();
        fill_padding(&mut filled, "x", f64::NAN);
        fill_padding(&mut filled, "dy", f64::INFINITY);
        for device in &*DEVICES {
            let what = format!("{} on {device:?}", layer.describe());
            assert_same_bits(&what, &filled.run(device), &layer.run(device));
        }
    }
}
