//! Memory and parameters: what is predicted is what is allocated, formulas hold exactly, and what does not fit is an
//! error that leaves the device usable.

mod common;

use std::sync::LazyLock;

use common::{Layer, assert_same_bits, devices, small_bindings};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::{Memory, Mode};
use wgpu_rnn::{BatchShape, Bias, Cell, Device, Error, Recipe, RnnConfig, StepOptions, Zoneout};

/// The oracle first, last one whose sequences are cut into chunks.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(|| {
    let mut all = devices();
    all.push(small_bindings(8 << 10));
    all
});

fn configs() -> impl Iterator<Item = RnnConfig> {
    let shapes = [
        (1, false, Bias::Both),
        (1, true, Bias::Both),
        (2, false, Bias::None),
        (3, true, Bias::Input),
        (4, false, Bias::Recurrent),
    ];
    let of = move |&cell| {
        shapes.map(|(layers, two, bias)| RnnConfig::new(cell, 5, 6).layers(layers).bidirectional(two).bias(bias))
    };
    // And with everything that is drawn.
    let drawn = |&cell: &Cell| {
        let zoneout = Zoneout { h: Some(0.1.into()), ..Zoneout::NONE };
        let options = StepOptions { zoneout, recurrent_dropout: Some(0.1.into()), ..StepOptions::NONE };
        let config = RnnConfig::new(cell, 5, 6).layers(2).bidirectional(true).options(options);
        config.dropout(0.1).input_dropout(0.1).weight_dropout(0.1)
    };
    let projected = |layers, two| {
        let options = StepOptions { projection: Some(4), peephole: true, resets: true, ..StepOptions::NONE };
        RnnConfig::new(Cell::Lstm, 5, 6).layers(layers).bidirectional(two).options(options).weight_dropout(0.1)
    };
    let projected = [projected(1, false), projected(3, true)];
    Cell::ALL.iter().flat_map(of).chain(Cell::ALL.iter().map(drawn)).chain(projected)
}

const STEPS: usize = 30;
const BATCH: usize = 5;

#[test]
fn what_is_predicted_is_what_is_allocated() {
    for device in &*DEVICES {
        for config in configs() {
            for mode in [Mode::Infer, Mode::Train] {
                for lengths in [None, Some(vec![3; BATCH])] {
                    let mut layer = Layer::random(config, STEPS, BATCH, 1);
                    layer.lengths = lengths;
                    let what = format!("{} for {mode:?} on {device:?}", layer.describe());
                    let predicted = layer.plan(device, mode).expect("a plan").memory();
                    let running = layer.bind(device, mode).expect("a bound layer");
                    assert_eq!(running.bound.memory(), predicted, "{what}");
                    assert_eq!(predicted.reserve > 0, mode == Mode::Train, "{what}");
                    assert!(predicted.workspace > 0, "{what}");
                }
            }
        }
    }
}

/// Floats kept per step, sequence and unit: LSTM 4 gates, c and h; GRU 3 gates, the recurrent part of n and h.
#[test]
fn the_reserve_is_its_formula() {
    for (cell, floats, states) in [
        (Cell::Lstm, 6, 2),
        (Cell::Gru, 5, 1),
        (Cell::MinGru, 3, 1),
        (Cell::MinLstm, 5, 1),
        (Cell::Sru, 6, 2),
        (Cell::IndRnn, 2, 1),
        (Cell::RnnTanh, 2, 1),
        (Cell::RnnRelu, 2, 1),
    ] {
        assert_eq!(cell.reserve(), floats);
        for device in &*DEVICES {
            for (layers, two) in [(1, false), (1, true), (3, false), (2, true)] {
                let config = RnnConfig::new(cell, 5, 6).layers(layers).bidirectional(two);
                let plan = |steps| {
                    let shape = BatchShape::new(steps, BATCH);
                    Rnn::new(device, config, shape, Mode::Train, Options::default()).expect("a plan")
                };
                for steps in [1, 2, STEPS, 100] {
                    let rnn = plan(steps);
                    // One slot of states more than steps, for the initial states of every chunk.
                    let units = BATCH * layers * config.outputs();
                    let elements = units * (steps * floats + rnn.chunks() * states);
                    let bytes = elements as u64 * device.float_bytes();
                    assert_eq!(rnn.memory().reserve, bytes, "{cell} L{layers} T{steps} on {device:?}");
                }
            }
        }
    }
}

/// With a projection to P elements i, f, g, o, c and m of H, and of P h and its gradient.
#[test]
fn the_reserve_of_a_projection_is_its_formula() {
    // But the last, whose bindings are too small for the wider one.
    for device in DEVICES.iter().rev().skip(1) {
        for (size, layers, two) in [(4, 1, false), (9, 2, true)] {
            let options = StepOptions { projection: Some(size), ..StepOptions::NONE };
            let config = RnnConfig::new(Cell::Lstm, 5, 6).options(options).layers(layers).bidirectional(two);
            for steps in [1, STEPS] {
                let shape = BatchShape::new(steps, BATCH);
                let rnn = Rnn::new(device, config, shape, Mode::Train, Options::default()).expect("a plan");
                let rows = BATCH * layers * config.directions();
                let elements = rows * (steps * (6 * 6 + 2 * size) + rnn.chunks() * (6 + size));
                assert_eq!(rnn.memory().reserve, elements as u64 * device.float_bytes(), "P{size} on {device:?}");
            }
        }
    }
}

/// What an inference plan needs does not grow with its layers beyond two, or beyond three where chunks share their buffers and the
/// last layer alone need not keep all of h; but for weights that stay packed on the CPU. It is less than training keeps.
#[test]
fn inference_needs_two_layers_of_states_at_most() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let planned = |layers, mode| {
                let config = RnnConfig::new(cell, 6, 6).layers(layers);
                let shape = BatchShape::new(STEPS, BATCH);
                Rnn::new(device, config, shape, mode, Options::default()).expect("a plan")
            };
            let plan = |layers, mode| planned(layers, mode).memory();
            let total = |memory: Memory| memory.reserve + memory.workspace;
            let most = if planned(2, Mode::Infer).chunks() > 1 { 3 } else { 2 };
            let grown = |more| plan(most + more, Mode::Infer).workspace - plan(most, Mode::Infer).workspace;
            // Panels of columns: of `weight_ih`, and of `weight_hh` where the cell has one.
            let depth = if Recipe::from(cell).has_product() { 6 + 6 } else { 6 };
            let packed = depth * (cell.gates() * 6).next_multiple_of(16);
            let packed = if device.gpu().is_some() { 0 } else { packed as u64 * device.float_bytes() };
            assert_eq!([grown(1), grown(5)], [packed, 5 * packed], "{cell} on {device:?}");
            assert!(total(plan(2, Mode::Infer)) <= total(plan(3, Mode::Infer)));
            assert!(total(plan(1, Mode::Infer)) < total(plan(2, Mode::Infer)));
            assert!(total(plan(7, Mode::Infer)) < total(plan(7, Mode::Train)));
            assert_eq!(plan(6, Mode::Train).reserve, 3 * plan(2, Mode::Train).reserve);
        }
    }
}

#[test]
fn parameters_are_what_the_formula_counts() {
    let device = Device::cpu().expect("CPU");
    for config in configs() {
        let table = tensors(&config, "rnn.");
        let listed: usize = table.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let params = Parameters::new(&device, table).expect("parameters");
        assert_eq!([listed, params.count()], [config.parameters(); 2], "{config:?}");
    }
}

/// LSTM : GRU : RNN as 4 : 3 : 1, in parameters and in recurrent state work, for every shape.
#[test]
fn cells_cost_as_their_gates() {
    for (input, hidden) in [(1, 1), (3, 7), (64, 128), (1000, 512)] {
        for (layers, two, bias) in [(1, false, Bias::Both), (2, true, Bias::Input), (3, false, Bias::None)] {
            let count = |&cell: &Cell| {
                RnnConfig::new(cell, input, hidden).layers(layers).bidirectional(two).bias(bias).parameters()
            };
            let [lstm, gru, tanh, relu] =
                [Cell::Lstm, Cell::Gru, Cell::RnnTanh, Cell::RnnRelu].map(|cell| count(&cell));
            assert_eq!([lstm, gru, relu], [4 * tanh, 3 * tanh, tanh]);
        }
    }
    assert_eq!(RnnConfig::new(Cell::Lstm, 10, 20).parameters(), 4 * 20 * (10 + 20 + 2));
}

/// The device still gives right numbers.
fn assert_usable(device: &Device) {
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 4), 4, 2, 1);
    let want = layer.run(&DEVICES[0]);
    common::assert_close("after a refusal", &layer.run(device), &want, 1e-5, 1e-4);
}

#[test]
fn more_than_there_is_memory_for_is_a_limit() {
    for device in &*DEVICES {
        // Terabytes for states, and as much for weights.
        let plan = |config: RnnConfig, steps, batch| {
            let shape = BatchShape::new(steps, batch);
            Rnn::new(device, config, shape, Mode::Train, Options::default())
        };
        let states =
            plan(RnnConfig::new(Cell::Lstm, 8, 512), 1 << 13, 1 << 17).and_then(|rnn| rnn.reserve().map(|_| ()));
        let weights =
            Parameters::new(device, tensors(&RnnConfig::new(Cell::Lstm, 1 << 14, 1 << 14).layers(1 << 10), ""));
        let buffer = device.alloc("a huge buffer", 1 << 40);
        let text = |error: Error| {
            assert!(matches!(error, Error::Limit { .. }), "{error:?} on {device:?}");
            error.to_string()
        };
        text(states.expect_err("states"));
        text(weights.map(|_| ()).expect_err("weights"));
        let text = text(buffer.map(|_| ()).expect_err("a buffer"));
        assert!(text.starts_with("a huge buffer needs ") && text.contains("bytes"), "{text}");
        assert_usable(device);
    }
}

#[test]
fn sizes_out_of_range_are_errors() {
    let device = &DEVICES[1];
    let plan = |config: RnnConfig, steps, batch| {
        let shape = BatchShape::new(steps, batch);
        let made = Rnn::new(device, config, shape, Mode::Train, Options::default());
        made.err().unwrap_or_else(|| panic!("{config:?} T{steps} B{batch} was planned")).to_string()
    };
    let ok = RnnConfig::new(Cell::Lstm, 2, 3);
    assert_eq!(plan(RnnConfig { input: 0, ..ok }, 1, 1), "the input size must be at least 1, got 0");
    assert_eq!(plan(RnnConfig { hidden: 0, ..ok }, 1, 1), "the hidden size must be at least 1, got 0");
    assert_eq!(plan(ok.layers(0), 1, 1), "the number of layers must be at least 1, got 0");
    assert_eq!(plan(ok, 0, 1), "the number of steps must be at least 1, got 0");
    assert_eq!(plan(ok, 1, 0), "the batch size must be at least 1, got 0");
    for (config, steps, batch) in [
        (ok, 1 << 20, 1 << 20),
        (ok, usize::MAX, usize::MAX),
        (RnnConfig { hidden: 1 << 20, ..ok }, 1, 1),
        (RnnConfig { hidden: usize::MAX, ..ok }, 1, 1),
        (RnnConfig { input: usize::MAX, ..ok }, 1, 1),
    ] {
        let text = plan(config, steps, batch);
        assert!(text.contains("32-bit indices"), "{text}");
    }
}

#[test]
fn buffers_that_overflow_are_errors() {
    for device in &*DEVICES {
        for len in [usize::MAX, usize::MAX / 4, usize::MAX / 8] {
            let error = device.alloc("floats", len).map(|_| ()).expect_err("more than can be counted");
            assert!(matches!(error, Error::Limit { .. }), "{error:?} on {device:?}");
            assert!(device.alloc_u32("numbers", len).is_err());
        }
        assert_usable(device);
    }
}

#[test]
fn parameters_that_overflow_are_errors() {
    for device in &*DEVICES {
        for shape in [vec![usize::MAX, 2], vec![usize::MAX / 2], vec![1 << 40, 1 << 40]] {
            let made = Parameters::new(device, [("w".to_string(), shape.clone())]);
            assert!(made.is_err(), "{shape:?}");
        }
        assert_usable(device);
    }
}

#[test]
fn more_layers_than_can_be_counted_are_an_error() {
    for device in &*DEVICES {
        for layers in [usize::MAX, 1 << 60] {
            let config = RnnConfig::new(Cell::Lstm, 2, 3).layers(layers);
            let plan = Rnn::new(device, config, BatchShape::new(2, 2), Mode::Train, Options::default());
            assert!(plan.is_err(), "{layers} layers were planned");
        }
        assert_usable(device);
    }
}

#[test]
fn an_unknown_or_unfit_strategy_is_an_error() {
    for device in &*DEVICES {
        let plan = |strategy| {
            let options = Options { strategy: Some(strategy), ..Options::default() };
            Rnn::new(device, RnnConfig::new(Cell::Lstm, 2, 3), BatchShape::new(2, 2), Mode::Train, options)
        };
        let other = if device.gpu().is_some() { "native" } else { "stepwise" };
        let error = plan(other).map(|_| ()).expect_err("another device's strategy");
        assert!(matches!(&error, Error::Strategy { strategy, .. } if strategy == other), "{error:?}");
        assert!(matches!(plan("fastest").map(|_| ()), Err(Error::Invalid { .. })));
        let own = plan(if device.gpu().is_some() { "stepwise" } else { "native" }).expect("its own strategy");
        assert!(other != own.strategy());
    }
}

/// Reserve and workspace must be large enough for the plan they are bound to, and of its device.
#[test]
fn memory_of_another_plan_is_refused_when_it_is_too_small() {
    let config = RnnConfig::new(Cell::Lstm, 3, 5).layers(2);
    for device in &*DEVICES {
        let plan = |steps, batch, mode| {
            Rnn::new(device, config, BatchShape::new(steps, batch), mode, Options::default()).expect("a plan")
        };
        let rnn = plan(4, 3, Mode::Train);
        let params = Parameters::new(device, tensors(&config, "")).expect("parameters");
        let [x, y] =
            [config.input, config.outputs()].map(|width| device.alloc("sequence", 12 * width).expect("memory"));
        let io = Io::new(&x, &y);
        let bind = |other: &Rnn| {
            let (reserve, workspace) = (other.reserve().expect("memory"), other.workspace().expect("memory"));
            let own = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
            let gradients = Gradients { dy: Some(y.clone()), ..Gradients::default() };
            let with_reserve = rnn.bind(&params, "", &io, &gradients, &reserve, &own.1).map(|_| ());
            let with_workspace = rnn.bind(&params, "", &io, &gradients, &own.0, &workspace).map(|_| ());
            [with_reserve, with_workspace]
        };
        assert!(bind(&rnn).iter().all(Result::is_ok));
        for (what, other) in [("fewer steps", plan(3, 3, Mode::Train)), ("no backward", plan(4, 3, Mode::Infer))] {
            let [reserve, workspace] = bind(&other);
            for (name, result) in [("reserve", reserve), ("workspace", workspace)] {
                let Err(error) = result else { panic!("the {name} of a plan with {what} was taken on {device:?}") };
                assert!(error.to_string().contains(name), "{what}: {error}");
            }
        }
    }
}

/// Plans that don't overlap in time may share a workspace; each keeps its own lengths.
#[test]
fn plans_share_a_workspace() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, 3, 5).layers(2).bidirectional(true);
            let long = Layer::random(config, 9, 4, 1).lengths(&[9, 2, 5, 3]);
            let short = Layer::random(config, 4, 3, 2).lengths(&[1, 4, 2]);
            let [mut large, mut small] = [&long, &short].map(|layer| layer.bind(device, Mode::Train).expect("a plan"));
            let workspace = large.bound.rnn().workspace().expect("memory");
            large.rebind(&workspace).expect("its own size");
            small.rebind(&workspace).expect("a larger one");
            large.bound.set_lengths(&[9, 2, 5, 3]).expect("lengths");
            small.bound.set_lengths(&[1, 4, 2]).expect("lengths");
            for _ in 0..2 {
                for (running, layer) in [(&large, &long), (&small, &short)] {
                    running.run().expect("a run");
                    let what = format!("{} on {device:?}", layer.describe());
                    assert_same_bits(&what, &running.read().expect("results"), &layer.run(device));
                }
            }
        }
    }
}

/// Parameters without gradients run forward, and say so where they would be trained.
#[test]
fn frozen_parameters_are_for_inference() {
    for device in &*DEVICES {
        let layer = Layer::random(RnnConfig::new(Cell::Gru, 5, 6), 4, 3, 1);
        let want = layer.bind(device, Mode::Infer).expect("a layer");
        want.run().expect("forward");
        let table = tensors(&layer.config, "");
        let frozen = Parameters::frozen(device, table.clone()).expect("parameters");
        assert_eq!((frozen.gradients().len(), frozen.gradients().allocated_bytes()), (0, 0));
        for (name, shape) in &table {
            frozen.set_f64(name, shape, &layer.given[name]).expect("values");
        }
        let bind = |mode| {
            let rnn = layer.plan(device, mode).expect("a plan");
            let (reserve, workspace) = (rnn.reserve().expect("a reserve"), rnn.workspace().expect("a workspace"));
            rnn.bind(&frozen, "", &want.io, &Gradients::default(), &reserve, &workspace)
        };
        let bound = bind(Mode::Infer).expect("a bound layer");
        let y = device.read_f64(want.io.y.as_ref().expect("y")).expect("y");
        device.write_f64(want.io.y.as_ref().expect("y"), &vec![7.0; y.len()]).expect("y");
        device.run(|recorder| bound.forward.record(recorder)).expect("forward");
        assert_eq!(device.read_f64(want.io.y.as_ref().expect("y")).expect("y"), y, "{device:?}");
        let why = bind(Mode::Train).map(|_| ()).expect_err("no gradients").to_string();
        assert_eq!(why, "the parameters to train must be those with gradients, got frozen ones");
        assert!(frozen.gradient("weight_ih_l0").is_err());
    }
}
