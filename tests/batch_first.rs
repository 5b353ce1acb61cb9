//! Sequences whose first axis is the batch: the numbers of those whose first axis is time, to the bit.

mod common;

use common::{Layer, assert_close, assert_same_bits, devices, half_devices, small_bindings};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Cell, Device, Direction, RnnConfig};

/// Every cell and direction, stacked, padded, in pieces of sequences, recomputed and with dropout of inputs.
#[test]
fn the_first_axis_changes_no_number() {
    let small = [8, 16].map(|kib| small_bindings(kib << 10));
    let devices: Vec<Device> = devices().into_iter().chain(small).collect();
    let directions = [Direction::Forward, Direction::Both, Direction::Reverse];
    for (index, (&cell, direction)) in Cell::ALL.iter().zip(directions.into_iter().cycle()).enumerate() {
        let config = RnnConfig::new(cell, 3, 5).layers(1 + index % 2).direction(direction);
        let config = if index == 1 { config.input_dropout(0.3).dropout(0.3) } else { config };
        let mut layer = Layer::random(config, 29, 40, index as u64);
        layer.lengths = (index != 2).then(|| (0..40).map(|b| 1 + (b * 7 + 28) % 29).collect());
        layer.recompute = (index == 3).then_some(8);
        for device in &devices {
            let turned = Layer { batch_first: true, ..layer.clone() };
            assert_same_bits(&turned.describe(), &turned.run(device), &layer.run(device));
            let [one, other] = [&turned, &layer].map(|layer| layer.plan(device, Mode::Train).expect("a plan").memory());
            assert_eq!(one.reserve, other.reserve);
            let rows = (29 * 40 * (2 * 3 + config.outputs())) as u64;
            assert_eq!(one.workspace - other.workspace, rows * device.float_bytes(), "{}", layer.describe());
        }
        for device in half_devices() {
            let half = layer.clone().half(index % 2 == 0);
            let turned = Layer { batch_first: true, ..half.clone() };
            assert_close(&turned.describe(), &turned.run(&device), &half.run(&device), 1e-3, 1e-2);
        }
    }
}

/// What is of another shape is refused: the shapes that are said are those of the batch first.
#[test]
fn shapes_are_those_of_the_batch_first() {
    let device = Device::cpu().expect("the CPU");
    let layer = Layer { batch_first: true, ..Layer::random(RnnConfig::new(Cell::Gru, 3, 5), 4, 2, 1) };
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    let mut io = running.io.clone();
    io.x = device.alloc("x", 5).expect("a buffer");
    let (rnn, workspace) = (running.bound.rnn(), running.bound.rnn().workspace().expect("scratch"));
    let refused = rnn.bind(&running.params, "", &io, &running.gradients, &running.reserve, &workspace);
    let error = refused.err().expect("an error").to_string();
    assert!(error.contains("[2, 4, 3]"), "{error}");
}
