//! The time-step kernels against the f64 oracle over batches and hidden sizes around every edge of their tiles, forward
//! and backward: the tiles of software and of hardware, with their sums made alone and shared by a workgroup.

mod common;

use std::sync::LazyLock;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, assert_close, assert_same_bits, cells, forced, tiled};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Cell, Device, RnnConfig, StepOptions};

static ORACLE: LazyLock<Device> = LazyLock::new(|| Device::oracle().expect("oracle"));
static TILED: LazyLock<[Device; 2]> =
    LazyLock::new(|| [AdapterKind::Software, AdapterKind::Gpu].map(|kind| forced(tiled(kind), "stepwise", None)));

/// Runs a layer with either kind of tile and compares it with the oracle.
#[track_caller]
fn agree(layer: &Layer) {
    let want = layer.run(&ORACLE);
    for device in &*TILED {
        let what = format!("{} on {device:?}", layer.describe());
        assert_close(&what, &layer.run(device), &want, OUTPUT_BOUND, GRADIENT_BOUND);
    }
}

/// Every combination of a batch and a hidden size, the cells whose steps have a product in turn.
fn combinations(batches: &[usize], hidden: &[usize]) {
    let (all, cells) =
        (batches.iter().flat_map(|&batch| hidden.iter().map(move |&hidden| (batch, hidden))), cells(true));
    for (seed, (batch, hidden)) in all.enumerate() {
        let cell = cells[(seed + seed / 4) % cells.len()];
        agree(&Layer::random(RnnConfig::new(cell, 3, hidden), 2, batch, seed as u64));
    }
}

#[test]
fn small_layers_of_every_batch() {
    combinations(&[1, 2, 3, 33, 64], &[1, 7, 32]);
}

#[test]
fn large_layers_of_every_batch() {
    combinations(&[1, 2, 3, 33, 64], &[100, 257]);
}

/// Cells whose steps have no product, each at sizes around those of workgroups.
#[test]
fn layers_without_a_product() {
    for (seed, cell) in cells(false).into_iter().enumerate() {
        for (batch, hidden) in [(1, 1), (3, 33), (2, 257), (64, 7)] {
            agree(&Layer::random(RnnConfig::new(cell, 3, hidden), 3, batch, seed as u64));
        }
    }
}

/// Projections narrower and wider than the units, and as wide, at sizes around those of tiles.
#[test]
fn projections_of_every_width() {
    for (seed, (batch, hidden, width)) in
        [(1, 1, 1), (3, 7, 40), (2, 33, 33), (33, 40, 9), (1, 257, 100), (2, 100, 257)].into_iter().enumerate()
    {
        let options = StepOptions { projection: Some(width), resets: seed % 2 == 1, ..StepOptions::NONE };
        let config = RnnConfig::new(Cell::Lstm, 3, hidden).options(options).layers(2).bidirectional(seed % 3 == 0);
        agree(&Layer::random(config, 3, batch, seed as u64));
    }
}

/// More terms than are staged at once, in backward.
#[test]
fn sums_of_several_stages() {
    agree(&Layer::random(RnnConfig::new(Cell::Gru, 2, 690), 2, 1, 1));
}

/// Enough work that the largest tiles are taken.
#[test]
fn many_sequences_of_a_large_layer() {
    agree(&Layer::random(RnnConfig::new(Cell::RnnTanh, 2, 257), 1, 256, 3));
    agree(&Layer::random(RnnConfig::new(Cell::Lstm, 2, 129), 1, 450, 4));
}

#[test]
fn directions_lengths_and_missing_parts() {
    for &cell in Cell::ALL {
        for (batch, hidden) in [(5, 20), (9, 33)] {
            let lengths: Vec<usize> = (0..batch).map(|b| 1 + b % 4).collect();
            let config = RnnConfig::new(cell, 3, hidden).bidirectional(true);
            agree(&Layer::random(config, 4, batch, 5).lengths(&lengths));
            agree(&Layer::random(config.bias(false), 3, batch, 6).without(&["dy", "h0", "c0"]));
        }
    }
}

/// A sequence's numbers do not depend on its place in the batch.
#[test]
fn the_order_of_a_batch_does_not_matter() {
    for device in &*TILED {
        for (cell, batch, hidden) in [(Cell::Lstm, 11, 40), (Cell::Gru, 64, 72)] {
            let layer = Layer::random(RnnConfig::new(cell, 3, hidden), 3, batch, 7);
            // Sequences are columns of [rows, batch, width] tensors; weights and their gradients are left out.
            let turned = |name: &str, values: &[f64]| -> Vec<f64> {
                let width = if name == "x" || name == "dx" { 3 } else { hidden };
                let mut values = values.to_vec();
                values.chunks_exact_mut(batch * width).for_each(|row| row.rotate_left(width));
                values
            };
            let mut other = layer.clone();
            for (name, values) in other.given.iter_mut().filter(|(name, _)| !name.contains("_l0")) {
                *values = turned(name, values);
            }
            let (mut want, mut got) = (layer.run(device), other.run(device));
            for results in [&mut want, &mut got] {
                results.retain(|name, _| !name.starts_with("grad."));
            }
            want.iter_mut().for_each(|(name, values)| *values = turned(name, values));
            assert_same_bits(&format!("{} on {device:?}", layer.describe()), &got, &want);
        }
    }
}

/// Hardware cuts sums and fills its workgroups; a software adapter is spared workgroup memory and barriers.
#[test]
fn each_class_of_device_has_its_tiles() {
    let lanes = |device: &Device, batch, hidden| {
        let layer = Layer::random(RnnConfig::new(Cell::Lstm, 3, hidden), 1, batch, 1);
        let running = layer.bind(device, Mode::Train).expect("a plan");
        let ops = [&running.bound.forward, &running.bound.backward].into_iter().flat_map(Program::ops);
        let stepped: Vec<_> = ops.filter(|op| op.is_stepped()).collect();
        assert_eq!(stepped.len(), 2);
        let value = |op: &&wgpu_rnn::kernel::Op, name| {
            let consts = &op.spec().expect("a GPU op").consts;
            consts.iter().find(|(found, _)| *found == name).map(|&(_, value)| value)
        };
        stepped.iter().map(|op| ["LANES", "UNITS", "RB"].map(|name| value(op, name))).collect::<Vec<_>>()
    };
    let [software, hardware] = &*TILED;
    for (batch, rows) in [(1, 1), (3, 4), (64, 8)] {
        assert_eq!(lanes(software, batch, 40), vec![[Some(8), Some(16), Some(rows)]; 2]);
    }
    // B, H, and UNITS, RB of both; LANES of forward and of backward, which has four times as many terms.
    for (batch, hidden, units, rows, wanted) in [
        (1, 64, 8, 1, [64, 128]),
        (1, 1024, 8, 1, [256, 256]),
        (64, 7, 8, 1, [64, 64]),
        (64, 512, 16, 8, [256, 256]),
        (450, 129, 32, 8, [256, 256]),
    ] {
        let expected = wanted.map(|lanes| [Some(lanes), Some(units), Some(rows)]);
        assert_eq!(lanes(hardware, batch, hidden), expected, "B{batch} H{hidden}");
    }
}
