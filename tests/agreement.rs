//! Every executor in f32 against the f64 oracle, and that against the plain equations, over shapes chosen to sit on, before and behind every edge that the
//! kernels have: tiles of 8, 32 and 64 lanes, register blocks of 2 and 8 rows and columns, partial sums of 64 rows.

mod common;

use std::sync::LazyLock;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, Tensors, assert_close, devices};
use proptest::prelude::*;
use wgpu_rnn::{Bias, Cell, Device, Recipe, RnnConfig, ValueKind};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// T, B, I, H.
type Sizes = [usize; 4];

#[track_caller]
fn agree(layer: &Layer) -> Tensors {
    common::agree(&DEVICES, layer)
}

fn sizes_agree(all: &[Sizes]) {
    for (seed, &[steps, batch, input, hidden]) in all.iter().enumerate() {
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, input, hidden);
            agree(&Layer::random(config, steps, batch, seed as u64));
        }
    }
}

#[test]
fn ones() {
    sizes_agree(&[[1, 1, 1, 1], [5, 1, 1, 1], [1, 4, 3, 5], [4, 1, 3, 5], [4, 3, 1, 5], [4, 3, 5, 1], [1, 1, 9, 9]]);
}

#[test]
fn hidden_sizes_at_tile_edges() {
    let edges = [2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65];
    sizes_agree(&edges.map(|hidden| [3, 3, 5, hidden]));
}

#[test]
fn batches_at_tile_edges() {
    let edges = [2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65];
    sizes_agree(&edges.map(|batch| [3, batch, 3, 6]));
}

#[test]
fn input_sizes_at_tile_edges() {
    let edges = [2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65];
    sizes_agree(&edges.map(|input| [3, 2, input, 6]));
}

/// Steps × batch around the 64 rows that one invocation sums for a bias.
#[test]
fn rows_at_the_edges_of_partial_sums() {
    sizes_agree(&[[21, 3, 2, 3], [16, 4, 2, 3], [13, 5, 2, 3], [43, 3, 2, 3], [129, 1, 2, 3]]);
}

#[test]
fn every_size_at_an_edge_at_once() {
    sizes_agree(&[[2, 9, 17, 33], [2, 7, 65, 31], [3, 17, 8, 64], [2, 33, 33, 9], [9, 8, 16, 65]]);
}

#[test]
fn stacks_directions_lengths_and_biases() {
    for (layers, two, bias, padded) in [
        (2, false, Bias::Both, false),
        (1, true, Bias::Both, false),
        (1, false, Bias::None, false),
        (1, false, Bias::Both, true),
        (1, false, Bias::Input, true),
        (1, false, Bias::Recurrent, false),
        (3, true, Bias::Both, true),
        (2, true, Bias::None, true),
        (2, false, Bias::None, true),
        (2, true, Bias::Both, false),
        (2, true, Bias::Input, false),
        (2, true, Bias::Recurrent, true),
    ] {
        for &cell in Cell::ALL {
            for [batch, hidden] in [[3, 5], [9, 17]] {
                let config = RnnConfig::new(cell, 4, hidden).layers(layers).bidirectional(two).bias(bias);
                let mut layer = Layer::random(config, 6, batch, layers as u64);
                layer.lengths = padded.then(|| (0..batch).map(|b| 1 + (b * 5 + 3) % 6).collect());
                agree(&layer);
            }
        }
    }
}

#[test]
fn what_is_not_given_counts_as_zero() {
    let all = ["h0", "c0", "dy", "dhn", "dcn"];
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 3, 5).layers(2).bidirectional(true);
        let layer = Layer::random(config, 4, 3, 5).lengths(&[4, 2, 3]);
        for absent in all.map(|name| vec![name]).into_iter().chain([all.to_vec()]) {
            let without = layer.clone().without(&absent);
            let got = agree(&without);
            let mut zeroed = layer.clone();
            let zero = |(_, values): (&String, &mut Vec<f64>)| values.fill(0.0);
            zeroed.given.iter_mut().filter(|(name, _)| absent.contains(&name.as_str())).for_each(zero);
            assert_eq!(got, zeroed.run(&DEVICES[0]), "{cell} without {absent:?}");
        }
    }
}

/// Whether nothing bounds a cell's h.
fn is_free(cell: Cell) -> bool {
    Recipe::from(cell).kind_of_h() == ValueKind::Free
}

/// Weights 50 times their usual size: gates are shut or open, so that a cell state is a whole number.
#[test]
fn saturated_gates() {
    let levels = [0.0, 1.0f64.tanh(), 2.0f64.tanh(), 3.0f64.tanh(), 1.0];
    for &cell in Cell::ALL.iter().filter(|&&cell| !is_free(cell)) {
        let layer = Layer::random(RnnConfig::new(cell, 5, 9), 3, 4, 7).without(&["h0", "c0"]);
        let got = agree(&layer.scaled("weight", 50.0).scaled("bias", 50.0));
        let at_level = |y: &&f64| levels.iter().any(|level| (y.abs() - level).abs() < 1e-3);
        let (flat, all) = (got["y"].iter().filter(at_level).count(), got["y"].len());
        assert!(flat > all / 2, "{cell}: only {flat} of {all} outputs are saturated");
    }
}

/// Pre-activations of ±10⁴. A slope 1 − tanh² of 10⁻²⁰ is not in its f32 value's digits, so gradients of these are held
/// to an absolute bound, in units of what they are multiplied with.
#[test]
fn huge_inputs() {
    let (oracle, others) = DEVICES.split_first().expect("the oracle");
    for scale in [1e2, 1e3, 1e4] {
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, 5, 9).bidirectional(true);
            let layer = Layer::random(config, 6, 3, 11).scaled("x", scale);
            let want = layer.run(oracle);
            let largest = want["y"].iter().fold(0.0f64, |most, y| most.max(y.abs()));
            assert!(if is_free(cell) { largest > scale / 4.0 } else { largest <= 1.0 }, "{cell}: {largest}");
            for device in others {
                let got = layer.run(device);
                let bound = if is_free(cell) { GRADIENT_BOUND } else { f64::INFINITY };
                assert_close(&format!("{cell} at {scale} on {device:?}"), &got, &want, OUTPUT_BOUND, bound);
                for (name, values) in got.iter().filter(|_| !is_free(cell)) {
                    let unit = if name.starts_with("grad.weight_ih") { scale } else { 1.0 };
                    let errors = values.iter().zip(&want[name]).map(|(got, want)| (got - want).abs() / unit);
                    let most =
                        errors.map(|error| if error.is_finite() { error } else { f64::INFINITY }).fold(0.0, f64::max);
                    assert!(most <= 2e-5, "{cell} at {scale} on {device:?}: `{name}` is off by {most:e}");
                }
            }
        }
    }
}

#[test]
fn a_long_sequence() {
    sizes_agree(&[[256, 3, 4, 10], [256, 1, 1, 17]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, rng_seed: prop::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        cell in prop::sample::select(Cell::ALL),
        (steps, batch, input, hidden) in (1usize..9, 1usize..20, 1usize..20, 1usize..20),
        (layers, two, bias, padded) in (1usize..4, any::<bool>(), prop::sample::select(&Bias::ALL), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let config = RnnConfig::new(cell, input, hidden).layers(layers).bidirectional(two).bias(bias);
        let mut layer = Layer::random(config, steps, batch, seed);
        layer.lengths = padded.then(|| (0..batch).map(|b| 1 + (seed as usize >> (b % 32)) % steps).collect());
        agree(&layer);
    }
}
