//! Weights packed as they are needed: less memory and the same bits.

mod common;

use common::{Layer, OUTPUT_BOUND, assert_close, assert_same_bits, forced, small_bindings, tiled};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::nn::rnn::{Options, Rnn};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, Precision, RnnConfig};

const HIDDEN: [usize; 3] = [5, 8, 150];

fn layers() -> impl Iterator<Item = Layer> {
    let shapes = [(1, false, true), (1, true, false), (3, true, true)];
    let of = move |cell, hidden: usize| {
        shapes.map(|(layers, two, bias)| {
            let config = RnnConfig::new(cell, 6, hidden).layers(layers).bidirectional(two).bias(bias);
            let layer = Layer::random(config, 9, 19, 2);
            let lengths: Vec<usize> = (0..19).map(|b| 1 + (b * 4 + 8) % 9).collect();
            if layers == 1 { layer } else { layer.lengths(&lengths) }
        })
    };
    Cell::ALL.iter().flat_map(move |&cell| HIDDEN.into_iter().flat_map(move |hidden| of(cell, hidden)))
}

/// Of a layer that is not trained: what comes out, and its memory.
fn forward(device: &Device, layer: &Layer) -> (common::Tensors, u64) {
    let running = layer.bind(device, Mode::Infer).expect("a plan");
    assert_eq!(running.bound.memory(), layer.plan(device, Mode::Infer).expect("a plan").memory());
    running.run().expect("a run");
    (running.read().expect("what came out"), running.bound.memory().workspace)
}

/// The software adapter's packed sums are its repacked ones to the bit; a GPU's, which are summed in slices, are near.
#[test]
fn outputs_have_the_same_bits() {
    let oracle = Device::oracle().expect("oracle");
    let whole = forced(tiled(AdapterKind::Software), "stepwise", None);
    let small = forced(small_bindings(24 << 10), "stepwise", None);
    let gpu = forced(tiled(AdapterKind::Gpu), "stepwise", None);
    for layer in layers() {
        let again = Layer { repack: Some(true), ..layer.clone() };
        let (what, packed) = (again.describe(), forward(&whole, &layer).0);
        assert_same_bits(&what, &forward(&whole, &again).0, &packed);
        assert_close(&what, &forward(&gpu, &again).0, &forward(&oracle, &layer).0, OUTPUT_BOUND, OUTPUT_BOUND);
        // Bindings of 24 KiB hold the weights of the small layers alone.
        if layer.config.hidden < 10 {
            assert_same_bits(&what, &forward(&small, &again).0, &forward(&small, &layer).0);
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
    assert!(held > 2 * weights && once < weights, "{held} {once}");
    assert_eq!(workspace(64, Mode::Infer, None), once);
    assert_eq!(workspace(8, Mode::Infer, None), workspace(8, Mode::Infer, Some(false)));
    assert_eq!(workspace(64, Mode::Train, None), workspace(64, Mode::Train, Some(false)));
}

#[test]
fn it_is_refused_where_it_cannot_be() {
    let device = tiled(AdapterKind::Software);
    let plan = |device: &Device, strategy, mode| {
        let options = Options { strategy: Some(strategy), repack: Some(true), ..Options::default() };
        Rnn::new(device, RnnConfig::new(Cell::Gru, 3, 4), BatchShape::new(5, 2), mode, options)
    };
    assert!(plan(&device, "stepwise", Mode::Infer).is_ok());
    let cpu = Device::cpu().expect("CPU");
    for refused in [
        plan(&device, "stepwise", Mode::Train),
        plan(&device, "sequence", Mode::Infer),
        plan(&cpu, "native", Mode::Infer),
    ] {
        let error = refused.err().expect("an error").to_string();
        assert!(error.starts_with("packing weights as they are needed must be asked for where"), "{error}");
    }
    let half =
        Options { strategy: Some("stepwise"), repack: Some(true), precision: Precision::Half, ..Options::default() };
    let half_device = common::half_devices().into_iter().find(|device| device.gpu().is_some());
    if let Some(device) = half_device {
        let plan = Rnn::new(&device, RnnConfig::new(Cell::Gru, 3, 4), BatchShape::new(5, 2), Mode::Infer, half);
        assert!(plan.is_err());
    }
}
