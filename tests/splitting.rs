//! Devices with small bindings: sequences are cut into chunks and windows, and the numbers stay the same.

mod common;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, assert_close, assert_same_bits, small_bindings, wgpu_device};
use proptest::prelude::*;
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Options, Rnn, tensors};
use wgpu_rnn::plan::{self, Mode};
use wgpu_rnn::{BatchShape, Bias, Cell, Device, Error, RnnConfig};

#[track_caller]
fn agree(oracle: &Device, device: &Device, layer: &Layer) {
    let what = format!("{} on {:?}", layer.describe(), device.gpu().map(|gpu| gpu.capabilities().max_binding));
    assert_close(&what, &layer.run(device), &layer.run(oracle), OUTPUT_BOUND, GRADIENT_BOUND);
}

/// How often a layer's x, y and chunks are cut.
fn pieces(device: &Device, layer: &Layer) -> [usize; 3] {
    let windows =
        |width: usize| plan::windows(device, layer.shape.steps, layer.shape.batch * width, 4).expect("windows").len();
    let chunks = layer.plan(device, Mode::Train).expect("a plan").chunks();
    [windows(layer.config.input), windows(layer.config.outputs()), chunks]
}

#[test]
fn many_chunks_and_windows_give_the_same_numbers() {
    let oracle = Device::oracle().expect("oracle");
    let device = small_bindings(4 << 10);
    for &cell in Cell::ALL {
        for (two, layers, padded) in
            [(false, 1, false), (true, 1, false), (false, 1, true), (true, 1, true), (false, 2, false), (true, 2, true)]
        {
            let (input, hidden) = (8, if two { 6 } else { 8 });
            let config = RnnConfig::new(cell, input, hidden).layers(layers).bidirectional(two);
            let mut layer = Layer::random(config, 41, 5, 4);
            layer.lengths = padded.then(|| vec![20, 41, 1, 33, 7]);
            let cuts = pieces(&device, &layer);
            assert!(cuts.iter().all(|&cuts| cuts > 1), "{}: {cuts:?} is not cut", layer.describe());
            agree(&oracle, &device, &layer);
        }
    }
}

/// Where the cuts lie makes no difference, only into how many pieces sums fall.
#[test]
fn binding_sizes_from_many_cuts_to_none() {
    let oracle = Device::oracle().expect("oracle");
    let mut cuts = Vec::new();
    for kib in [4, 6, 8, 16, 64, 1024] {
        let device = small_bindings(kib << 10);
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, 5, 6).layers(2).bidirectional(true);
            let layer = Layer::random(config, 50, 4, 6).lengths(&[50, 17, 34, 2]);
            cuts.push(pieces(&device, &layer)[2]);
            agree(&oracle, &device, &layer);
        }
    }
    assert!(cuts[0] >= 10 && cuts.last() == Some(&1), "{cuts:?}");
}

/// Without x, y or a gradient to cut, and with states alone.
#[test]
fn what_is_not_given_is_not_cut() {
    let oracle = Device::oracle().expect("oracle");
    let device = small_bindings(4 << 10);
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 6, 6).layers(2).bidirectional(true);
        let layer = Layer::random(config, 40, 5, 4).lengths(&[40, 3, 21, 39, 12]);
        for absent in [vec!["dy"], vec!["h0", "c0"], vec!["dhn", "dcn"], vec!["h0", "c0", "dy", "dhn", "dcn"]] {
            agree(&oracle, &device, &layer.clone().without(&absent));
        }
    }
}

#[test]
fn split_recordings_repeat_and_padding_does_not_leak() {
    let device = small_bindings(4 << 10);
    for &cell in Cell::ALL {
        let lengths = [20, 41, 1, 33, 7];
        let config = RnnConfig::new(cell, 8, 6).layers(2).bidirectional(true);
        let mut layer = Layer::random(config, 41, 5, 4).lengths(&lengths);
        let first = layer.run(&device);
        for name in ["x", "dy"] {
            let values = layer.given.get_mut(name).expect(name);
            let width = values.len() / layer.shape.rows();
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                if row / lengths.len() >= lengths[row % lengths.len()] {
                    values.fill(f64::NAN);
                }
            }
        }
        let running = layer.bind(&device, Mode::Train).expect("a plan");
        for (name, buffer) in &running.outputs {
            running.write(name, &vec![f64::NAN; buffer.len()]).expect("a write");
        }
        for _ in 0..2 {
            running.run().expect("a run");
            assert_same_bits(&layer.describe(), &running.read().expect("results"), &first);
        }
    }
}

/// The least that WebGPU promises, nothing requested beyond.
#[test]
fn the_limits_every_browser_has_suffice() {
    let limits = |_| wgpu::Limits {
        max_storage_buffers_per_shader_stage: 8,
        max_compute_workgroup_storage_size: 16 << 10,
        max_compute_invocations_per_workgroup: 256,
        max_compute_workgroup_size_x: 256,
        ..wgpu::Limits::defaults()
    };
    let (device, queue) = wgpu_device(limits);
    let device = Device::from_wgpu(device, queue);
    let caps = device.gpu().expect("a GPU").capabilities().clone();
    assert_eq!((caps.storage_buffers, caps.workgroup_memory, caps.workgroup_invocations), (8, 16 << 10, 256));
    assert_eq!(caps.max_binding, 128 << 20);
    let oracle = Device::oracle().expect("oracle");
    for &cell in Cell::ALL {
        for two in [false, true] {
            let config = RnnConfig::new(cell, 17, 33).layers(2).bidirectional(two);
            let layer = Layer::random(config, 9, 9, 4).lengths(&[9, 3, 1, 8, 9, 2, 4, 5, 6]);
            assert_eq!(pieces(&device, &layer), [1, 1, 1]);
            agree(&oracle, &device, &layer);
        }
    }
}

/// Few workgroups a dimension: products over many rows take several dispatches.
#[test]
fn few_workgroups_give_the_same_numbers() {
    let limits = |_| wgpu::Limits { max_compute_workgroups_per_dimension: 16, ..wgpu::Limits::defaults() };
    let (device, queue) = wgpu_device(limits);
    let device = Device::from_wgpu(device, queue);
    let oracle = Device::oracle().expect("oracle");
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 3, 5).layers(2).bidirectional(true);
        // 1200 rows are 19 partial sums for biases and 150 tiles of a product; 40 sequences are 5 tiles of a step.
        agree(&oracle, &device, &Layer::random(config, 400, 3, 4).lengths(&[400, 90, 149]));
        agree(&oracle, &device, &Layer::random(config, 30, 40, 4));
    }
}

fn refused(device: &Device, layer: &Layer) -> Error {
    layer.try_run(device).err().unwrap_or_else(|| panic!("{} was not refused", layer.describe()))
}

#[test]
fn one_step_too_large_for_a_binding_is_a_limit() {
    let device = small_bindings(4 << 10);
    let oracle = Device::oracle().expect("oracle");
    // One step of gates, of x, and of y: 4 KiB are 1024 floats.
    for (config, batch, what) in [
        (RnnConfig::new(Cell::Lstm, 4, 8), 33, "one step's gates"),
        (RnnConfig::new(Cell::Gru, 40, 4), 30, "steps of a sequence"),
        (RnnConfig::new(Cell::RnnTanh, 4, 20), 60, "one step"),
    ] {
        for steps in [1, 30] {
            let layer = Layer::random(config, steps, batch, 1);
            let error = refused(&device, &layer);
            assert!(matches!(&error, Error::Limit { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(what) && text.contains("4096 bytes a binding"), "{text}");
        }
    }
    // So are weights that no binding holds; the device goes on to work.
    let layer = Layer::random(RnnConfig::new(Cell::Lstm, 4, 17), 2, 1, 1);
    let text = refused(&device, &layer).to_string();
    assert!(text.contains("4096 bytes a binding"), "{text}");
    agree(&oracle, &device, &Layer::random(RnnConfig::new(Cell::Lstm, 4, 8), 30, 5, 1));
}

/// A sequence may be longer than the largest buffer that the device gives: that is an error, not a crash.
#[test]
fn a_sequence_beyond_the_largest_buffer_is_a_limit() {
    let limits = |_| wgpu::Limits {
        max_buffer_size: 64 << 10,
        max_storage_buffer_binding_size: 16 << 10,
        ..wgpu::Limits::defaults()
    };
    let (device, queue) = wgpu_device(limits);
    let device = Device::from_wgpu(device, queue);
    let config = RnnConfig::new(Cell::Lstm, 4, 8);
    let text = refused(&device, &Layer::random(config, 500, 9, 1)).to_string();
    assert!(text.contains("65536 bytes a buffer"), "{text}");
    agree(&Device::oracle().expect("oracle"), &device, &Layer::random(config, 60, 9, 1));
}

/// A plan knows its cuts before anything is allocated.
#[test]
fn chunks_are_as_few_as_the_bindings_allow() {
    let device = small_bindings(64 << 10);
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 4, 8).bidirectional(true);
        let units = 5 * 2 * 8;
        let plan = |steps| {
            let shape = BatchShape::new(steps, 5);
            Rnn::new(&device, config, shape, Mode::Train, Options::default()).expect("a plan").chunks()
        };
        let most = (1..).take_while(|steps| (steps * cell.saved()).max(steps + 1) * units <= 16 << 10).count();
        assert_eq!([plan(most), plan(most + 1), plan(2 * most), plan(2 * most + 1)], [1, 2, 2, 3], "{cell}");
    }
    let params = Parameters::new(&device, tensors(&RnnConfig::new(Cell::Lstm, 4, 8), "")).expect("parameters");
    assert_eq!(params.count(), 4 * (8 * 4 + 8 * 8 + 2 * 8));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        rng_seed: prop::test_runner::RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_cut(
        cell in prop::sample::select(Cell::ALL),
        (steps, batch, input, hidden) in (40usize..120, 1usize..6, 1usize..8, 1usize..7),
        (layers, two, bias, padded) in (1usize..4, any::<bool>(), prop::sample::select(&Bias::ALL), any::<bool>()),
        (floats, seed) in (4000u64..5000, any::<u64>()),
    ) {
        let config = RnnConfig::new(cell, input, hidden).layers(layers).bidirectional(two).bias(bias);
        let mut layer = Layer::random(config, steps, batch, seed);
        layer.lengths = padded.then(|| (0..batch).map(|b| 1 + (seed as usize >> (8 * b)) % steps).collect());
        agree(&Device::oracle().expect("oracle"), &small_bindings(floats * 4), &layer);
    }
}
