//! The same inputs give the same bits, and a sequence fed step by step gives what the whole sequence gives.

mod common;

use std::sync::LazyLock;

use common::{Layer, assert_same_bits, devices, relative_error};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig, StepOptions, Zoneout};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// Large enough for several tiles and partial sums.
fn layers() -> impl Iterator<Item = Layer> {
    let of = |&cell| {
        [(1, false), (2, true)].map(|(layers, two)| RnnConfig::new(cell, 9, 19).layers(layers).bidirectional(two))
    };
    let configs = Cell::ALL.iter().flat_map(of);
    configs.map(|config| Layer::random(config, 11, 13, 5).lengths(&[11, 3, 7, 1, 11, 9, 2, 5, 8, 10, 4, 6, 11]))
}

#[test]
fn two_plans_give_the_same_bits() {
    for device in &*DEVICES {
        for layer in layers() {
            let first = layer.run(device);
            assert_same_bits(&format!("{} on {device:?}", layer.describe()), &layer.run(device), &first);
        }
    }
}

/// Nothing of one recording is left that would change the next, not even when every buffer was full of other numbers.
#[test]
fn recordings_repeat() {
    for device in &*DEVICES {
        for layer in layers() {
            let what = format!("{} on {device:?}", layer.describe());
            let running = layer.bind(device, Mode::Train).expect("a plan");
            running.run().expect("a run");
            let first = running.read().expect("results");
            // No step of an SRU reads h.
            let unread = |name: &str| name == "dh0" && layer.config.cell == Cell::Sru;
            let mut all = first.iter();
            assert!(all.all(|(name, values)| unread(name) == values.iter().all(|&value| value == 0.0)), "{what}");
            for _ in 0..3 {
                running.run().expect("a run");
                assert_same_bits(&what, &running.read().expect("results"), &first);
            }
            for (name, buffer) in &running.outputs {
                running.write(name, &vec![f64::NAN; buffer.len()]).expect("a write");
            }
            running.write("x", &vec![3.0; running.buffer("x").len()]).expect("a write");
            running.run().expect("a run");
            running.write("x", &layer.given["x"]).expect("a write");
            running.run().expect("a run");
            assert_same_bits(&what, &running.read().expect("results"), &first);
        }
    }
}

/// Forward may be recorded alone and more than once before a backward.
#[test]
fn forward_repeats_before_backward() {
    for device in &*DEVICES {
        for layer in layers() {
            let running = layer.bind(device, Mode::Train).expect("a plan");
            device.run(|recorder| running.bound.forward.record(recorder)).expect("forward");
            running.run().expect("a run");
            let what = format!("{} on {device:?}", layer.describe());
            assert_same_bits(&what, &running.read().expect("results"), &layer.run(device));
        }
    }
}

#[test]
fn threads_do_not_change_results() {
    for layer in layers() {
        let on = |threads| layer.run(&Device::cpu_with_threads(threads).expect("threads"));
        let one = on(1);
        for threads in [2, 3, 5, 16] {
            assert_same_bits(&format!("{} on {threads} threads", layer.describe()), &on(threads), &one);
        }
    }
    assert!(Device::cpu_with_threads(0).is_err());
}

/// Every kind of work, packing, steps, products of gradients and sums, is above what one thread does alone, which is some
/// four million multiply-adds.
fn large((cell, options): (Cell, StepOptions)) -> [Layer; 2] {
    let config = RnnConfig::new(cell, 96, 96 * 4 / cell.gates()).options(options).layers(2).bidirectional(true);
    let lengths: Vec<usize> = (0..33).map(|b| 24 - b % 23).collect();
    let layer = Layer::random(config, 24, 33, 8);
    [layer.clone(), layer.lengths(&lengths)]
}

/// Few sequences, and so much to a step that threads share it.
fn wide((cell, options): (Cell, StepOptions)) -> [Layer; 2] {
    // So wide that the threads of a team have columns each.
    let options = StepOptions { projection: options.projection.map(|_| 150), ..options };
    let config = RnnConfig::new(cell, 40, 520).options(options).layers(2);
    [Layer::random(config, 17, 1, 8), Layer::random(config.bidirectional(true), 9, 5, 9).lengths(&[9, 4, 1, 8, 6])]
}

/// With everything that is drawn.
fn drawn_from(layer: Layer) -> Layer {
    let zoneout = Zoneout { h: Some(0.2.into()), ..Zoneout::NONE };
    let options = StepOptions { zoneout, recurrent_dropout: Some(0.2.into()), ..layer.config.options };
    let config = layer.config.options(options).dropout(0.2).input_dropout(0.2).weight_dropout(0.2);
    Layer { config: common::possible(config), ..layer }
}

#[test]
fn threads_do_not_change_results_of_large_layers() {
    let forms: Vec<(Cell, StepOptions)> = common::forms().collect();
    let both = |form: &(Cell, StepOptions)| [large(*form), wide(*form)].concat();
    let drawn = forms.iter().enumerate().flat_map(|(index, form)| both(form).into_iter().skip(index % 2).step_by(2));
    for layer in forms.iter().flat_map(both).chain(drawn.map(drawn_from)) {
        let on = |threads| {
            let device = Device::cpu_with_threads(threads).expect("threads");
            let running = layer.bind(&device, Mode::Infer).expect("a plan");
            running.run().expect("a run");
            (layer.run(&device), running.read().expect("outputs"))
        };
        let one = on(1);
        for threads in [2, 3, 5] {
            let (trained, inferred) = on(threads);
            assert_same_bits(&format!("{} on {threads} threads", layer.describe()), &trained, &one.0);
            assert_same_bits(&format!("{} on {threads} threads, inferring", layer.describe()), &inferred, &one.1);
        }
    }
}

/// Callers have threads of their own, and some of them a pool of the same kind as the executor's.
#[test]
fn callers_may_share_a_device_between_threads() {
    let device = Device::cpu_with_threads(2).expect("threads");
    let layers = [large((Cell::Gru, StepOptions::NONE)), wide((Cell::Gru, StepOptions::NONE))].map(|[layer, _]| layer);
    let want = layers.each_ref().map(|layer| layer.run(&device));
    let once = |what: &str, which: usize| assert_same_bits(what, &layers[which].run(&device), &want[which]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || once("a thread", thread % 2));
        }
    });
    // A pool's thread takes up its pool's other work while it waits.
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.scope(|scope| {
            for task in 0..6 {
                scope.spawn(move |_| once("a pool's thread", task % 2));
            }
        });
    }
}

/// Training and inference plans give the same outputs, though inference shares its buffers between layers.
#[test]
fn inference_gives_the_outputs_of_training() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let layer = Layer::random(RnnConfig::new(cell, 5, 9).layers(4).bidirectional(true), 5, 3, 6);
            let running = layer.bind(device, Mode::Infer).expect("a plan");
            running.run().expect("a run");
            let mut trained = layer.run(device);
            trained.retain(|name, _| ["y", "hn", "cn"].contains(&name.as_str()));
            let what = format!("{} on {device:?}", layer.describe());
            assert_same_bits(&what, &running.read().expect("results"), &trained);
        }
    }
}

/// A plan of one step whose final states become the next step's initial states.
#[test]
fn streaming_equals_the_whole_sequence() {
    for device in &*DEVICES {
        let bound = if device.float_bytes() == 8 { 1e-13 } else { 1e-6 };
        for &cell in Cell::ALL {
            for layers in [1, 3] {
                let whole = Layer::random(RnnConfig::new(cell, 5, 17).layers(layers), 12, 3, 8);
                let want = whole.run(device);
                let width = whole.given["x"].len() / whole.shape.steps;
                let mut step = Layer { shape: BatchShape::new(1, whole.shape.batch), ..whole.clone() };
                step.given.insert("x".to_string(), vec![0.0; width]);
                let running = step.bind(device, Mode::Infer).expect("a plan");
                let mut y = Vec::new();
                for x in whole.given["x"].chunks_exact(width) {
                    running.write("x", x).expect("a write");
                    running.run().expect("a run");
                    let got = running.read().expect("results");
                    y.extend_from_slice(&got["y"]);
                    running.write("h0", &got["hn"]).expect("a write");
                    if cell.has_c() {
                        running.write("c0", &got["cn"]).expect("a write");
                    }
                }
                let what = format!("{} on {device:?}", whole.describe());
                let last = running.read().expect("results");
                assert!(relative_error(&y, &want["y"]) <= bound, "{what}: y");
                assert!(relative_error(&last["hn"], &want["hn"]) <= bound, "{what}: hn");
                assert!(!cell.has_c() || relative_error(&last["cn"], &want["cn"]) <= bound, "{what}: cn");
            }
        }
    }
}

/// The same without the host between steps: one buffer is both the initial and the final state.
#[test]
fn a_state_buffer_may_be_both_initial_and_final() {
    use wgpu_rnn::nn::rnn::{Gradients, Io};
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let whole = Layer::random(RnnConfig::new(cell, 4, 9).layers(2), 6, 2, 9);
            let want = whole.run(device);
            let width = whole.given["x"].len() / whole.shape.steps;
            let mut step = Layer { shape: BatchShape::new(1, whole.shape.batch), ..whole.clone() };
            step.given.insert("x".to_string(), vec![0.0; width]);
            let running = step.bind(device, Mode::Infer).expect("buffers");
            let rnn = running.bound.rnn();
            let state = |name: &str| running.inputs.iter().find(|(found, _)| found == name).map(|(_, b)| b.clone());
            let (h, c) = (state("h0"), state("c0"));
            let io = Io {
                h0: h.clone(),
                hn: h.clone(),
                c0: c.clone(),
                cn: c,
                ..Io::new(running.buffer("x"), running.buffer("y"))
            };
            let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
            let bound =
                rnn.bind(&running.params, "", &io, &Gradients::default(), &reserve, &workspace).expect("a plan");
            for x in whole.given["x"].chunks_exact(width) {
                running.write("x", x).expect("a write");
                device.run(|recorder| bound.forward.record(recorder)).expect("a run");
            }
            let got = device.read_f64(&h.expect("h")).expect("h");
            let bound = if device.float_bytes() == 8 { 1e-13 } else { 1e-6 };
            assert!(relative_error(&got, &want["hn"]) <= bound, "{} on {device:?}", whole.describe());
        }
    }
}
