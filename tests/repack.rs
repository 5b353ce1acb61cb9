//! Weights packed as they are needed: less memory and the same bits.

mod common;

use common::{Layer, OUTPUT_BOUND, Tensors, assert_close, assert_same_bits, forced, tiled, wgpu_device};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::nn::rnn::{Options, Rnn};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Bias, Cell, Device, Precision, Recipe, RnnConfig, StepOptions};

const HIDDEN: [usize; 3] = [5, 8, 150];

fn layers() -> impl Iterator<Item = Layer> {
    let shapes = [(1, false, Bias::Both), (1, true, Bias::None), (3, true, Bias::Recurrent), (2, false, Bias::Input)];
    let of = move |(cell, options), hidden: usize| {
        shapes.map(|(layers, two, bias)| {
            let config = RnnConfig::new(cell, 6, hidden).options(options).layers(layers).bidirectional(two).bias(bias);
            let layer = Layer::random(config, 9, 19, 2);
            let lengths: Vec<usize> = (0..19).map(|b| 1 + (b * 4 + 8) % 9).collect();
            if layers == 1 { layer } else { layer.lengths(&lengths) }
        })
    };
    let of_products =
        |(cell, options): &(Cell, StepOptions)| Recipe::from(*cell).has_product() && options.projection.is_none();
    common::forms()
        .filter(of_products)
        .flat_map(move |form| HIDDEN.into_iter().flat_map(move |hidden| of(form, hidden)))
}

/// What comes out of a layer that is not trained.
fn forward(device: &Device, layer: &Layer) -> Tensors {
    let running = layer.bind(device, Mode::Infer).expect("a plan");
    assert_eq!(running.bound.memory(), layer.plan(device, Mode::Infer).expect("a plan").memory());
    running.run().expect("a run");
    running.read().expect("what came out")
}

/// A software adapter whose bindings cut sequences and states.
fn small() -> Device {
    let limits = |_| wgpu::Limits { max_storage_buffer_binding_size: 24 << 10, ..wgpu::Limits::defaults() };
    let (device, queue) = wgpu_device(limits);
    Device::from_wgpu_as(device, queue, AdapterKind::Software)
}

#[test]
fn outputs_have_the_same_bits() {
    let oracle = Device::oracle().expect("oracle");
    let whole = forced(tiled(AdapterKind::Software), "stepwise", None);
    let small = forced(small(), "stepwise", None);
    for layer in layers() {
        let again = Layer { repack: Some(true), ..layer.clone() };
        let (what, packed) = (again.describe(), forward(&whole, &layer));
        assert_same_bits(&what, &forward(&whole, &again), &packed);
        assert_close(&what, &packed, &forward(&oracle, &layer), OUTPUT_BOUND, OUTPUT_BOUND);
        // In chunks, of which each packs every part again.
        let chunks = again.clone().recompute(1);
        assert_eq!(chunks.plan(&whole, Mode::Infer).expect("a plan").chunks(), 3, "{what}");
        assert_same_bits(&what, &forward(&whole, &chunks), &packed);
        // Bindings of 24 KiB hold the weights of the small layers alone.
        if layer.config.hidden < 10 {
            assert_same_bits(&what, &forward(&small, &again), &forward(&small, &layer));
        }
    }
}

/// Large weights of many sequences are not held twice on a software adapter; of few sequences, which packing would cost
/// most of the time of a step, they are.
#[test]
fn large_weights_are_held_once() {
    let device = forced(tiled(AdapterKind::Software), "stepwise", None);
    let config = RnnConfig::new(Cell::Lstm, 1024, 1024);
    let workspace = |batch, mode, repack| {
        let (strategy, shape) = (Some("stepwise"), BatchShape::new(25, batch));
        let options = Options { strategy, repack, ..Options::default() };
        Rnn::new(&device, config, shape, mode, options).expect("a plan").memory().workspace
    };
    let weights = 4 * 4 * 1024 * 1024;
    let (held, once) = (workspace(64, Mode::Infer, Some(false)), workspace(64, Mode::Infer, Some(true)));
    // What Burn 0.22.1 takes for the same, with parameters, x and y.
    let (sequences, burn) = (4 * 25 * 64 * (1024 + 1024), 57_253_920);
    assert!(held > 2 * weights, "{held}");
    assert!(2 * weights + 4 * 8 * 1024 + sequences + once < burn, "{once}");
    assert_eq!(workspace(64, Mode::Infer, None), once);
    assert_eq!(workspace(8, Mode::Infer, None), workspace(8, Mode::Infer, Some(false)));
    assert_eq!(workspace(64, Mode::Train, None), workspace(64, Mode::Train, Some(false)));
}

/// However many dispatches that takes: they come in several submits.
#[test]
fn long_sequences_are_packed_as_they_are_needed_too() {
    let device = tiled(AdapterKind::Software);
    let plan = |config, steps, batch, repack| {
        let options = Options { strategy: Some("stepwise"), repack, ..Options::default() };
        Rnn::new(&device, config, BatchShape::new(steps, batch), Mode::Infer, options).map(|plan| plan.memory())
    };
    assert!(plan(RnnConfig::new(Cell::Gru, 3, 100), 60_000, 1, Some(true)).is_ok());
    let large = RnnConfig::new(Cell::Lstm, 16, 1024);
    for steps in [2000, 4000] {
        let [chosen, held] = [None, Some(false)].map(|repack| plan(large, steps, 64, repack).expect("a plan"));
        assert!(chosen.workspace < held.workspace, "{steps} steps");
    }
}

#[test]
fn it_is_refused_where_it_cannot_be() {
    let device = tiled(AdapterKind::Software);
    let plan = |device: &Device, strategy, mode| {
        let options = Options { strategy: Some(strategy), repack: Some(true), ..Options::default() };
        Rnn::new(device, RnnConfig::new(Cell::Gru, 3, 4), BatchShape::new(5, 2), mode, options)
    };
    assert!(plan(&device, "stepwise", Mode::Infer).is_ok());
    let (cpu, hardware) = (Device::cpu().expect("CPU"), tiled(AdapterKind::Gpu));
    for refused in [
        plan(&device, "stepwise", Mode::Train),
        plan(&device, "sequence", Mode::Infer),
        plan(&hardware, "stepwise", Mode::Infer),
        plan(&cpu, "native", Mode::Infer),
    ] {
        let error = refused.err().expect("an error").to_string();
        assert!(error.starts_with("packing weights as they are needed must be asked for with `stepwise`"), "{error}");
    }
    let half =
        Options { strategy: Some("stepwise"), repack: Some(true), precision: Precision::Half, ..Options::default() };
    let half_device = common::half_devices().into_iter().find(|device| device.gpu().is_some());
    if let Some(device) = half_device {
        let plan = Rnn::new(&device, RnnConfig::new(Cell::Gru, 3, 4), BatchShape::new(5, 2), Mode::Infer, half);
        assert!(plan.is_err());
    }
}
