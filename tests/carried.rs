//! Initial states that were carried over from a run before: resets return to learnt states or to zero, not to these.

mod common;

use std::sync::LazyLock;

use common::{Layer, agree, assert_same_bits, devices, half_devices, relative_error, small_bindings};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::{Mode, granule};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, Direction, RnnConfig, StepOptions};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

const RESETS: StepOptions = StepOptions { resets: true, ..StepOptions::NONE };

#[test]
fn every_executor_agrees() {
    for (index, (cell, learns, resets, direction, padded)) in [
        (Cell::Lstm, false, true, Direction::Both, true),
        (Cell::Lstm, true, true, Direction::Forward, false),
        (Cell::Lstm, true, false, Direction::Reverse, false),
        (Cell::Gru, true, true, Direction::Both, false),
        (Cell::Gru, false, true, Direction::Forward, true),
        (Cell::RnnTanh, true, true, Direction::Reverse, true),
        (Cell::RnnTanh, true, false, Direction::Forward, true),
    ]
    .into_iter()
    .enumerate()
    {
        let options = StepOptions { resets, ..StepOptions::NONE };
        let config = RnnConfig::new(cell, 4, 5).layers(1 + index % 2).direction(direction);
        let config = config.learn_state(learns).options(options);
        let mut layer = Layer::random(config, 6, 3, index as u64).carried(index as u64);
        layer.lengths = padded.then(|| vec![6, 2, 4]);
        agree(&DEVICES, &layer);
    }
}

/// In chunks, in sections and in half precision it is the same, and where the final state replaces the one carried.
#[test]
fn it_does_not_depend_on_how_steps_are_cut() {
    let config = RnnConfig::new(Cell::Lstm, 3, 5).layers(2).learn_state(true).options(RESETS);
    let layer = Layer::random(config, 29, 40, 8).carried(8);
    for device in DEVICES.iter() {
        let again = layer.clone().recompute(granule(device, BatchShape::new(29, 40)));
        assert!(again.plan(device, Mode::Train).expect("a plan").chunks() > 1);
        assert_same_bits(&again.describe(), &again.run(device), &layer.run(device));
    }
    for device in DEVICES.iter() {
        for recompute in [None, Some(granule(device, BatchShape::new(29, 40)))] {
            let in_place = Layer { recompute, ..layer.clone() }.run_in_place(device);
            assert_same_bits(&layer.describe(), &in_place, &layer.run(device));
        }
    }
    let want = layer.run(&DEVICES[0]);
    let near = |device: &Device, layer: &Layer, bound: f64| {
        for (name, got) in layer.run(device) {
            let error = relative_error(&got, &want[&name]);
            assert!(error <= bound, "{name} of {} on {device:?}: {error:e}", layer.describe());
        }
    };
    near(&small_bindings(16 << 10), &layer, 1e-4);
    for device in &half_devices() {
        let half = layer.clone().half(true);
        near(device, &half, 1e-2);
        let again = half.clone().recompute(granule(device, BatchShape::new(29, 40)));
        assert_same_bits(&again.describe(), &again.run(device), &half.run(device));
    }
}

/// As recurrent reinforcement learning trains: windows of one long run, the state carried from one to the next, and episodes that
/// begin within windows and where one begins. With the state's gradient handed back it is the whole run.
#[test]
fn windows_with_episodes_in_them() {
    let (steps, batch, cut) = (7, 3, 4);
    for device in &*DEVICES {
        for (cell, learns) in [(Cell::Lstm, true), (Cell::Gru, false)] {
            let config = RnnConfig::new(cell, 2, 5).layers(2).learn_state(learns).options(RESETS);
            // A run that begins with a state that was carried over, as that of an earlier window would.
            let mut whole = Layer::random(config, steps, batch, 6).carried(6);
            // Sequence 1 begins anew with the second window; that its first reset is elsewhere is to be seen.
            whole.resets = (0..steps * batch).map(|row| [1, 5, 6, cut * batch + 1, 17].contains(&row)).collect();
            let want = whole.run(device);
            let window = |times: std::ops::Range<usize>| {
                let mut part = whole.clone();
                part.shape = BatchShape::new(times.len(), batch);
                part.resets = whole.resets[times.start * batch..times.end * batch].to_vec();
                for (name, width) in [("x", 2), ("dy", 5)] {
                    let row = batch * width;
                    let values = whole.given[name][times.start * row..times.end * row].to_vec();
                    part.given.insert(name.to_string(), values);
                }
                part.bind(device, Mode::Train).expect("a window")
            };
            let (one, two) = (window(0..cut), window(cut..steps));
            // One set of parameters, which sum their gradients; the first window's final state is the second's initial one.
            let params = one.params.accumulating();
            let state =
                |like: &Option<Buffer>| like.as_ref().map(|like| device.alloc("between", like.len()).expect("room"));
            let [h, c, dh, dc] = [&one.io.hn, &one.io.cn, &one.io.hn, &one.io.cn].map(state);
            let bind = |running: &common::Running, io: Io, gradients: Gradients| {
                let rnn = running.bound.rnn();
                let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
                let bound = rnn.bind(&params, "", &io, &gradients, &reserve, &workspace).expect("a window");
                bound.set_resets(&running.layer.resets).expect("resets");
                bound
            };
            let first = bind(
                &one,
                Io { hn: h.clone(), cn: c.clone(), ..one.io.clone() },
                Gradients { dhn: dh.clone(), dcn: dc.clone(), ..one.gradients.clone() },
            );
            let second = bind(
                &two,
                Io { h0: h, c0: c, ..two.io.clone() },
                Gradients { dh0: dh, dc0: dc, ..two.gradients.clone() },
            );
            device
                .run(|recorder| {
                    params.zero_gradients()?.record(recorder)?;
                    first.forward.record(recorder)?;
                    second.forward.record(recorder)?;
                    second.backward.record(recorder)?;
                    first.backward.record(recorder)
                })
                .expect("both windows");
            let near = |what: &str, got: &[f64], want: &[f64]| {
                let error = relative_error(got, want);
                assert!(error <= 1e-6, "{what} of {cell} on {device:?}: {error:e}");
            };
            let read = |buffer: &Buffer| device.read_f64(buffer).expect("a read");
            for (name, _) in tensors(&config, "") {
                let gradient = params.gradient(&name).expect("a gradient");
                near(&name, &read(&gradient), &want[&format!("grad.{name}")]);
            }
            let both = |name: &str| [read(one.buffer(name)), read(two.buffer(name))].concat();
            near("y", &both("y"), &want["y"]);
            near("dx", &both("dx"), &want["dx"]);
            near("dh0", &read(one.buffer("dh0")), &want["dh0"]);
        }
    }
}

/// States that go on through windows of one run, and their gradients that come back, in one buffer each.
#[test]
fn states_and_gradients_are_carried_over_windows() {
    let (windows, steps, batch) = (3, 2, 3);
    for device in &*DEVICES {
        for cell in [Cell::Lstm, Cell::Gru] {
            let config = RnnConfig::new(cell, 2, 5).layers(2);
            let whole = Layer::random(config, windows * steps, batch, 8).carried(8).without(&["dhn", "dcn"]);
            let want = whole.run(device);
            let plan = |steps: usize| {
                let options = Options::default();
                Rnn::new(device, config, BatchShape::new(steps, batch), Mode::Train, options).expect("a plan")
            };
            let rnn = plan(steps);
            let params = Parameters::new(device, tensors(&config, "")).expect("memory").accumulating();
            for (name, shape) in tensors(&config, "") {
                params.set_f64(&name, &shape, &whole.given[&name]).expect("weights");
            }
            let upload = |name: &str, at: usize, width: usize| {
                let row = steps * batch * width;
                let buffer = device.alloc(name, row).expect("memory");
                device.write_f64(&buffer, &whole.given[name][at * row..(at + 1) * row]).expect("values");
                buffer
            };
            let (states, gradients) = (rnn.states().expect("memory"), rnn.states().expect("memory"));
            for (state, name) in states.iter().zip(["h0", "c0"]) {
                device.write_f64(state, &whole.given[name]).expect("initial states");
            }
            let bound: Vec<_> = (0..windows)
                .map(|at| {
                    let [y, dx] = [("y", 5), ("dx", 2)]
                        .map(|(name, width)| device.alloc(name, steps * batch * width).expect("memory"));
                    let io = Io::new(&upload("x", at, 2), &y).carrying(&states);
                    let of = Gradients { dy: Some(upload("dy", at, 5)), dx: Some(dx.clone()), ..Gradients::default() };
                    let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
                    let of = of.carrying(&gradients);
                    (rnn.bind(&params, "", &io, &of, &reserve, &workspace).expect("a window"), y, dx)
                })
                .collect();
            device
                .run(|recorder| {
                    params.zero_gradients()?.record(recorder)?;
                    bound.iter().try_for_each(|(window, ..)| window.forward.record(recorder))?;
                    bound.iter().rev().try_for_each(|(window, ..)| window.backward.record(recorder))
                })
                .expect("all windows");
            let near = |what: &str, got: &[f64]| {
                let error = relative_error(got, &want[what]);
                assert!(error <= 1e-6, "{what} of {cell} on {device:?}: {error:e}");
            };
            let read = |buffer: &Buffer| device.read_f64(buffer).expect("a read");
            near("y", &bound.iter().flat_map(|(_, y, _)| read(y)).collect::<Vec<_>>());
            near("dx", &bound.iter().flat_map(|(.., dx)| read(dx)).collect::<Vec<_>>());
            let ends = [("hn", "dh0"), ("cn", "dc0")];
            for ((state, gradient), (end, begin)) in states.iter().zip(&gradients).zip(ends) {
                near(end, &read(state));
                near(begin, &read(gradient));
            }
            for (name, _) in tensors(&config, "") {
                near(&format!("grad.{name}"), &read(&params.gradient(&name).expect("a gradient")));
            }
        }
    }
}

/// Where nothing learnt is begun with, its gradient becomes zero, or stays what it is when gradients add up.
#[test]
fn what_is_not_begun_with_has_no_gradient() {
    let config = RnnConfig::new(Cell::Lstm, 3, 5).learn_state(true).bidirectional(true);
    let layer = Layer::random(config, 4, 2, 9).carried(9);
    for device in DEVICES.iter() {
        let running = layer.bind(device, Mode::Train).expect("a layer");
        let (rnn, adds) = (running.bound.rnn(), running.params.accumulating());
        let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        let adding = rnn.bind(&adds, "", &running.io, &running.gradients, &reserve, &workspace).expect("a layer");
        for (bound, want) in [(&running.bound, 0.0), (&adding, 7.0)] {
            let all = running.params.gradients();
            device.write_f64(all, &vec![7.0; all.len()]).expect("gradients");
            device
                .run(|recorder| {
                    bound.forward.record(recorder)?;
                    bound.backward.record(recorder)
                })
                .expect("a run");
            for name in ["h0_l0", "c0_l0", "h0_l0_reverse", "c0_l0_reverse"] {
                let gradient = running.params.gradient(name).expect("a gradient");
                assert_eq!(device.read_f64(&gradient).expect("a read"), [want; 5], "{name} on {device:?}");
            }
            let dh0 = device.read_f64(running.buffer("dh0")).expect("a read");
            assert!(dh0.iter().all(|value| *value != 0.0));
        }
    }
}

#[test]
fn states_that_are_missing_are_an_error() {
    let device = Device::cpu().expect("the CPU");
    let layer = Layer::random(RnnConfig::new(Cell::Lstm, 3, 5).options(RESETS), 4, 2, 9);
    for missing in ["h0", "c0"] {
        let layer = Layer { carried: true, ..layer.clone() }.without(&[missing]);
        let error = layer.bind(&device, Mode::Train).err().expect("an error").to_string();
        assert_eq!(error, "the states that are carried over must be all given, got not all given");
    }
    let learns = RnnConfig::new(Cell::Lstm, 3, 5).learn_state(true);
    let error = Layer { carried: false, ..Layer::random(learns, 4, 2, 9).carried(9) }.bind(&device, Mode::Train);
    let error = error.err().expect("an error").to_string();
    assert_eq!(error, "`h0` must be none, as the layer learns its initial states, got given");
}
