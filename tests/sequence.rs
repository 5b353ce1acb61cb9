//! The sequence strategy: how many dispatches it makes, that it makes no difference where they are cut, and every layout
//! of a workgroup against the oracle. The other tests run it too.

mod common;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, assert_close, assert_same_bits, cells, forced, tiled, wgpu_device};
use wgpu_rnn::gpu::{Capabilities, Class};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, Error, RnnConfig};

/// Software, and of hardware the classes whose layouts have the most in registers and the least.
const KINDS: [Class; 3] = [Class::Software, Class::Rdna, Class::Unknown];

/// Dispatches of a recording without final states, forward and backward.
fn dispatches(device: &Device, config: RnnConfig, shape: BatchShape, span: Option<usize>) -> [usize; 2] {
    let options = Options { strategy: Some("sequence"), span, ..Options::default() };
    let rnn = Rnn::new(device, config, shape, Mode::Train, options).expect("a plan");
    let params = Parameters::new(device, tensors(&config, "")).expect("parameters");
    let buffer = |len| device.alloc("a buffer", len).expect("a buffer");
    let io = Io::new(&buffer(shape.rows() * config.input), &buffer(shape.rows() * config.outputs()));
    let (reserve, workspace) = (rnn.reserve().expect("a reserve"), rnn.workspace().expect("a workspace"));
    let bound = rnn.bind(&params, "", &io, &Gradients::default(), &reserve, &workspace).expect("a binding");
    let timing = |program: &wgpu_rnn::kernel::Program| {
        let mut recorded = 0;
        device
            .run(|recorder| {
                program.record(recorder)?;
                recorded = recorder.dispatches();
                Ok(())
            })
            .expect("a recording");
        assert_eq!(recorded, program.dispatches());
        recorded
    };
    [timing(&bound.forward), timing(&bound.backward)]
}

/// Whatever T is: weights and states, the input projection, and the spans.
#[test]
fn a_layer_is_two_dispatches_and_its_spans() {
    for kind in KINDS {
        let device = tiled(kind);
        for cell in cells(true) {
            let config = RnnConfig::new(cell, 3, 8);
            for steps in [10, 1000] {
                let of = |config, span| dispatches(&device, config, BatchShape::new(steps, 2), span);
                assert_eq!(of(config, None)[0], 2 + 1, "{cell}, T = {steps}");
                assert_eq!(of(config.bidirectional(true), None)[0], 2 + 1, "{cell}, T = {steps}, two directions");
                assert_eq!(of(config.layers(3), None)[0], 3 * (2 + 1), "{cell}, T = {steps}, three layers");
                assert_eq!(of(config, Some(7))[0], 2 + steps.div_ceil(7), "{cell}, T = {steps}, spans of 7");
                // Backward's other products depend on T by sums alone.
                let [whole, cut] = [None, Some(7)].map(|span| of(config, span)[1]);
                assert_eq!(cut - whole, steps.div_ceil(7) - 1, "{cell}, T = {steps}");
            }
        }
    }
}

/// Where a sequence is cut into spans makes no difference, not to a bit.
#[test]
fn spans_of_any_length_give_the_same_bits() {
    let oracle = Device::oracle().expect("oracle");
    for kind in KINDS {
        let devices = [None, Some(1), Some(5), Some(12), Some(100)].map(|span| forced(tiled(kind), "sequence", span));
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, 4, 21).layers(2).bidirectional(true);
            let layer = Layer::random(config, 13, 5, 3).lengths(&[13, 1, 5, 12, 6]);
            let whole = layer.run(&devices[0]);
            assert_close(&layer.describe(), &whole, &layer.run(&oracle), OUTPUT_BOUND, GRADIENT_BOUND);
            for device in &devices[1..] {
                assert_same_bits(&layer.describe(), &layer.run(device), &whole);
            }
        }
    }
}

/// Layouts that small layers don't have: several lanes a unit and several units a lane, weights held and not, several
/// rows; with WebGPU's default limits and with the adapter's own.
#[test]
fn every_layout_agrees() {
    let oracle = Device::oracle().expect("oracle");
    let own = |kind| {
        let (device, queue) = wgpu_device(|limits| Capabilities::useful_limits(&limits));
        Device::from_wgpu_as(device, queue, kind)
    };
    let devices = KINDS.map(|kind| [tiled(kind), own(kind)].map(|device| forced(device, "sequence", Some(3))));
    let sizes = [(1, 1), (1, 32), (3, 64), (2, 96), (1, 130), (1, 260), (2, 520), (130, 17), (260, 33)];
    // Every size with one cell, every cell with several sizes: it is compiling that takes long.
    for ((batch, hidden), cell) in sizes.into_iter().zip(cells(true).into_iter().cycle()) {
        let config = RnnConfig::new(cell, 2, hidden).bidirectional(hidden < 64);
        let layer = Layer::random(config, 4, batch, hidden as u64);
        let want = layer.run(&oracle);
        for device in devices.iter().flatten() {
            let what = format!("{} on {device:?}", layer.describe());
            assert_close(&what, &layer.run(device), &want, OUTPUT_BOUND, GRADIENT_BOUND);
        }
    }
}

/// Asked for where a workgroup can't hold a step, it says so; left to choose, another strategy runs.
#[test]
fn a_layer_too_large_for_a_workgroup_is_another_strategys() {
    for kind in KINDS {
        let device = tiled(kind);
        let plan = |strategy| {
            let options = Options { strategy, ..Options::default() };
            Rnn::new(&device, RnnConfig::new(Cell::Gru, 1, 5000), BatchShape::new(2, 1), Mode::Infer, options)
        };
        let Err(Error::Strategy { strategy, why }) = plan(Some("sequence")) else { panic!("it ran") };
        assert_eq!(strategy, "sequence");
        assert!(why.contains("5000 units") && why.contains("16384 bytes"), "{why}");
        assert_eq!(plan(None).expect("a plan").strategy(), "stepwise");
    }
}
