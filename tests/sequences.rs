//! Where a sequence begins and ends, which way it goes, and what is given and taken there: directions, resets, learnt initial
//! states, the last output alone.

mod common;

use std::sync::LazyLock;

use common::{
    GRADIENT_BOUND, Layer, OUTPUT_BOUND, agree, assert_close, assert_same_bits, devices, half_devices, relative_error,
    small_bindings,
};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Gradients, Io, Rnn, Stream, tensors};
use wgpu_rnn::plan::{Mode, granule};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, Direction, RnnConfig, StepOptions};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// A direction from the end alone: whole batches and padded ones, stacked, in sections and recomputed.
#[test]
fn the_reverse_direction_alone() {
    for &cell in Cell::ALL {
        for (layers, padded, [batch, hidden]) in
            [(1, false, [3, 5]), (2, true, [9, 17]), (3, false, [2, 8]), (1, true, [1, 33])]
        {
            let config = RnnConfig::new(cell, 4, hidden).layers(layers).direction(Direction::Reverse);
            let mut layer = Layer::random(config, 6, batch, 3);
            layer.lengths = padded.then(|| (0..batch).map(|b| 1 + (b * 5 + 3) % 6).collect());
            agree(&DEVICES, &layer);
        }
        for (layers, padded) in [(1, true), (2, false), (2, true)] {
            let config = RnnConfig::new(cell, 3, 5).layers(layers).direction(Direction::Reverse);
            let mut layer = Layer::random(config, 29, 40, 6);
            layer.lengths = padded.then(|| (0..40).map(|b| 1 + (b * 7 + 28) % 29).collect());
            for device in &*DEVICES {
                let again = layer.clone().recompute(granule(device, BatchShape::new(29, 40)));
                assert!(again.plan(device, Mode::Train).expect("a plan").chunks() > 1);
                assert_same_bits(&again.describe(), &again.run(device), &layer.run(device));
            }
            let want = layer.run(&DEVICES[0]);
            for small in [8, 16] {
                let small = small_bindings(small << 10);
                let what = format!("{} in small bindings", layer.describe());
                assert_close(&what, &layer.run(&small), &want, OUTPUT_BOUND, GRADIENT_BOUND);
            }
        }
    }
}

/// It is the second direction of a bidirectional layer, to the bit.
#[test]
fn the_reverse_direction_is_that_of_a_bidirectional_layer() {
    let (steps, batch, hidden) = (7, 3, 6);
    for device in &*DEVICES {
        let both = Layer::random(RnnConfig::new(Cell::Gru, 4, hidden).bidirectional(true), steps, batch, 8);
        let both = both.lengths(&[7, 2, 5]).without(&["dhn"]);
        let mut one = both.clone();
        one.config = one.config.direction(Direction::Reverse);
        one.given.retain(|name, _| !name.contains("_l0") || name.ends_with("_reverse"));
        let second = |values: &[f64], width: usize| -> Vec<f64> {
            values.chunks_exact(2 * width).flat_map(|row| row[width..].to_vec()).collect()
        };
        let state = batch * hidden;
        one.given.insert("h0".to_string(), both.given["h0"][state..].to_vec());
        one.given.insert("dy".to_string(), second(&both.given["dy"], hidden));
        let (got, want) = (one.run(device), both.run(device));
        let same = |name: &str, want: &[f64]| {
            assert!(got[name].iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits()), "`{name}` on {device:?}");
        };
        same("y", &second(&want["y"], hidden));
        same("hn", &want["hn"][state..]);
        same("dh0", &want["dh0"][state..]);
        for name in ["grad.weight_ih_l0_reverse", "grad.weight_hh_l0_reverse", "grad.bias_hh_l0_reverse"] {
            same(name, &want[name]);
        }
    }
}

/// Where nothing begins anew it is the layer without resets; where everything does, each step is a sequence of its own.
#[test]
fn resets_at_their_ends() {
    let (steps, batch, hidden) = (5, 4, 6);
    for cell in [Cell::Lstm, Cell::Gru, Cell::RnnTanh] {
        for (direction, device) in
            Direction::ALL.into_iter().flat_map(|d| DEVICES.iter().map(move |device| (d, device)))
        {
            let config = RnnConfig::new(cell, 3, hidden).layers(2).direction(direction);
            let without = Layer::random(config, steps, batch, 2);
            let with = |resets: bool| {
                let options = StepOptions { resets: true, ..StepOptions::NONE };
                Layer { config: config.options(options), resets: vec![resets; steps * batch], ..without.clone() }
            };
            let (never, plain) = (with(false).run(device), without.run(device));
            assert_close(&with(false).describe(), &never, &plain, OUTPUT_BOUND, GRADIENT_BOUND);
            let always = with(true).run(device);
            // A reversed direction begins with the last step, so no step of any direction sees another.
            for step in 0..steps {
                let mut one = without.clone();
                one.shape = BatchShape::new(1, batch);
                for (name, width) in [("x", config.input), ("dy", config.outputs())] {
                    let row = batch * width;
                    one.given.insert(name.to_string(), without.given[name][step * row..][..row].to_vec());
                }
                let row = batch * config.outputs();
                let error = relative_error(&always["y"][step * row..][..row], &one.run(device)["y"]);
                assert!(error <= OUTPUT_BOUND, "{cell} {} at {step} on {device:?}: {error:e}", direction.name());
            }
        }
    }
}

#[test]
fn resets_that_do_not_fit_are_refused() {
    let device = Device::cpu().expect("the CPU");
    let options = StepOptions { resets: true, ..StepOptions::NONE };
    let bound = |options| {
        let layer = Layer::random(RnnConfig::new(Cell::Gru, 2, 3).options(options), 4, 3, 1);
        layer.bind(&device, Mode::Infer).expect("a layer").bound
    };
    let message = bound(StepOptions::NONE).set_resets(&[false; 12]).expect_err("no resets").to_string();
    assert_eq!(message, "resets must be an option of the layer's step, got not among them");
    let message = bound(options).set_resets(&[false; 11]).expect_err("too few").to_string();
    assert_eq!(message, "`resets` must have shape [4, 3], got [11]");
}

/// Each sequence's last output alone is its final state in the last layer, and its gradient that state's: to the bit, in
/// sections, chunks and half precision too, and how gradients flow with it.
#[test]
fn the_last_output_alone() {
    let (steps, batch, hidden, layers) = (29, 40, 5, 2);
    let devices = || DEVICES.iter().cloned().chain([small_bindings(16 << 10)]).chain(half_devices());
    for (device, (cell, direction)) in devices().flat_map(|device| {
        [(Cell::Lstm, Direction::Both), (Cell::Gru, Direction::Reverse), (Cell::RnnTanh, Direction::Forward)]
            .map(|one| (device.clone(), one))
    }) {
        let config = RnnConfig::new(cell, 3, hidden).layers(layers).direction(direction);
        let (directions, state) = (config.directions(), batch * hidden);
        let mut all = Layer::random(config, steps, batch, 4);
        all.lengths = Some((0..batch).map(|b| 1 + (b * 7 + 28) % steps).collect());
        all.given.remove("dy");
        if device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
            all = all.half(false);
        }
        let first = (layers - 1) * directions * state;
        // Of [D, B, H] the rows of [B, D, H].
        let places: Vec<usize> = (0..batch * directions)
            .flat_map(|row| {
                (0..hidden).map(move |unit| first + row % directions * state + row / directions * hidden + unit)
            })
            .collect();
        let mut alone = all.clone();
        alone.last = true;
        let dlast = common::Random::new(3).values(batch * directions * hidden, 1.0);
        alone.given.insert("dlast".to_string(), dlast.clone());
        let dhn = all.given.get_mut("dhn").expect("dhn");
        // A sum that is rounded as the device rounds it.
        let sum = |a: f64, b: f64| if device.float_bytes() == 8 { a + b } else { f64::from(a as f32 + b as f32) };
        places.iter().zip(&dlast).for_each(|(&at, dlast)| dhn[at] = sum(dhn[at], *dlast));
        for (recompute, flow) in [(None, false), (Some(granule(&device, all.shape)), false), (None, true)] {
            let [all, alone] = [&all, &alone].map(|layer| Layer { recompute, flow, ..layer.clone() });
            let (mut got, mut want) = (alone.run(&device), all.run(&device));
            let last = got.remove("last").expect("last");
            want.remove("y");
            let what = format!("{} on {device:?}", alone.describe());
            assert_same_bits(&what, &got, &want);
            assert!(last.iter().zip(&places).all(|(last, &at)| last.to_bits() == got["hn"][at].to_bits()), "{what}");
            if flow {
                let norms = |layer: &Layer| {
                    let running = layer.bind(&device, Mode::Train).expect("a layer");
                    running.run().expect("a step");
                    device.read_f64(running.bound.norms().expect("norms")).expect("a read")
                };
                assert_eq!(norms(&alone), norms(&all), "{what}");
            }
        }
    }
}

#[test]
fn a_gradient_of_an_output_that_is_not_there_is_refused() {
    let device = Device::cpu().expect("the CPU");
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 2, 3), 4, 3, 1);
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    let (rnn, io) = (running.bound.rnn(), Io { y: None, ..running.io.clone() });
    let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
    let error = rnn.bind(&running.params, "", &io, &running.gradients, &reserve, &workspace).err().expect("no output");
    assert_eq!(error.to_string(), "the output whose gradient is given must be there, got none");
}

/// Learnt initial states: of every cell and direction, alone and with what begins anew.
#[test]
fn initial_states_that_are_learnt() {
    for (index, &cell) in Cell::ALL.iter().enumerate() {
        for (layers, direction, resets) in [
            (1, Direction::Forward, false),
            (2, Direction::Both, false),
            (2, Direction::Reverse, true),
            (1, Direction::Both, true),
        ] {
            let options = StepOptions { resets, ..StepOptions::NONE };
            let config =
                RnnConfig::new(cell, 3, 9).layers(layers).direction(direction).options(options).learn_state(true);
            let mut layer = Layer::random(config, 5, 7, index as u64);
            agree(&DEVICES, &layer);
            layer.lengths = Some(vec![5, 1, 3, 2, 5, 4, 1]);
            agree(&DEVICES, &layer);
        }
        // They are as if each sequence had been given the row, to the bit.
        let (batch, hidden) = (40, 5);
        let learnt = Layer::random(RnnConfig::new(cell, 3, hidden).learn_state(true), 29, batch, 3);
        let mut given = learnt.clone();
        given.config = given.config.learn_state(false);
        for name in ["h0", "c0"] {
            if let Some(row) = given.given.remove(&format!("{name}_l0")) {
                given.given.insert(name.to_string(), row.repeat(batch));
            }
        }
        let devices = DEVICES.iter().cloned().chain([small_bindings(16 << 10)]).chain(half_devices());
        for device in devices {
            let half = device.gpu().is_some_and(|gpu| gpu.capabilities().f16);
            let [learnt, given] =
                [&learnt, &given].map(|layer| if half { layer.clone().half(false) } else { layer.clone() });
            let again = learnt.clone().recompute(granule(&device, learnt.shape));
            let (mut got, mut want) = (learnt.run(&device), given.run(&device));
            assert_same_bits(&again.describe(), &again.run(&device), &got);
            for (gradient, of_each) in [("grad.h0_l0", "dh0"), ("grad.c0_l0", "dc0")] {
                if let (Some(sum), Some(each)) = (got.remove(gradient), want.remove(of_each)) {
                    let wanted: Vec<f64> =
                        (0..hidden).map(|unit| each.iter().skip(unit).step_by(hidden).sum()).collect();
                    assert!(relative_error(&sum, &wanted) < GRADIENT_BOUND, "{gradient} of {cell} on {device:?}");
                }
            }
            assert_same_bits(&learnt.describe(), &got, &want);
        }
    }
}

/// A stream begins where the layer has learnt to, and so does each of its sequences alone.
#[test]
fn a_sequence_of_a_stream_begins_anew_or_is_replaced() {
    let cpu = Device::cpu().expect("the CPU");
    for (cell, learns) in [(Cell::Lstm, true), (Cell::Gru, false), (Cell::Lstm, false)] {
        let (steps, batch, hidden, layers) = (4, 3, 6, 2);
        let config = RnnConfig::new(cell, 2, hidden).layers(layers).learn_state(learns);
        let layer = Layer::random(config, steps, batch, 7).without(&["h0", "c0"]);
        let params = Parameters::new(&cpu, tensors(&config, "")).expect("parameters");
        for (name, shape) in tensors(&config, "") {
            params.set_f64(&name, &shape, &layer.given[&name]).expect("a tensor");
        }
        let want: Vec<f32> = layer.run(&cpu)["y"].iter().map(|y| *y as f32).collect();
        let x: Vec<f32> = layer.given["x"].iter().map(|x| *x as f32).collect();
        let mut stream = Stream::new(&params, "", config, batch).expect("a stream");
        let mut y = vec![0.0; batch * hidden];
        // Sequence 1 begins anew after two steps; then it sees the first inputs once more.
        let input = |step: usize| x[step * batch * 2..][..batch * 2].to_vec();
        for step in 0..2 {
            stream.step(&input(step), &mut y).expect("a step");
        }
        let (h, c) = (stream.h(0).expect("h").to_vec(), stream.c(0).map(<[f32]>::to_vec));
        let (h1, c1) = (stream.h(1).expect("h").to_vec(), stream.c(1).map(<[f32]>::to_vec));
        stream.reset(&[1]).expect("a sequence");
        for step in 2..4 {
            let mut both = input(step);
            both[2..4].copy_from_slice(&input(step - 2)[2..4]);
            stream.step(&both, &mut y).expect("a step");
            let row = |all: &[f32], step: usize, b: usize| all[(step * batch + b) * hidden..][..hidden].to_vec();
            for b in 0..batch {
                assert_eq!(row(&y, 0, b), row(&want, if b == 1 { step - 2 } else { step }, b), "{cell}, sequence {b}");
            }
        }
        // And is put back to where it was.
        let of = |all: &[f32]| all[hidden..2 * hidden].to_vec();
        let h = [of(&h), of(&h1)].concat();
        let c = c.zip(c1).map_or(Vec::new(), |(c, c1)| [of(&c), of(&c1)].concat());
        stream.replace(1, &h, &c).expect("states");
        for step in 2..4 {
            stream.step(&input(step), &mut y).expect("a step");
            assert_eq!(y[hidden..2 * hidden], want[(step * batch + 1) * hidden..][..hidden], "{cell}");
        }
        let message = |result: wgpu_rnn::Result<()>| result.expect_err("no such sequence").to_string();
        assert_eq!(message(stream.reset(&[0, 3])), "a sequence to begin anew must be below 3, got 3");
        assert_eq!(message(stream.replace(3, &h, &c)), "the sequence to replace must be below 3, got 3");
        assert_eq!(message(stream.replace(0, &h[1..], &c)), "`h` must have shape [2, 6], got [11]");
    }
}

/// A sequence in two windows: with the state and its gradient handed on it is the whole sequence; with the state alone, each
/// window's gradients are its own.
#[test]
fn windows_of_a_sequence() {
    let (steps, batch, cut) = (7, 3, 4);
    for device in &*DEVICES {
        for cell in [Cell::Lstm, Cell::Gru] {
            let config = RnnConfig::new(cell, 2, 5).layers(2);
            let whole = Layer::random(config, steps, batch, 6);
            let window = |times: std::ops::Range<usize>| {
                let mut part = whole.clone().without(&["dhn", "dcn", "h0", "c0"]);
                part.shape = BatchShape::new(times.len(), batch);
                for (name, width) in [("x", 2), ("dy", 5)] {
                    let row = batch * width;
                    let values = whole.given[name][times.start * row..times.end * row].to_vec();
                    part.given.insert(name.to_string(), values);
                }
                part
            };
            let [first, second] = [window(0..cut), window(cut..steps)].map(|part| {
                let running = part.bind(device, Mode::Train).expect("a window");
                (running.bound.rnn().clone(), running)
            });
            // Both windows on one set of parameters, which sum their gradients, and on buffers that they share.
            let params = first.1.params.accumulating();
            let state = |name: &str| {
                let values = whole.given.get(name)?;
                let buffer = device.alloc(name, values.len()).expect("a state");
                device.write_f64(&buffer, values).expect("a state");
                Some(buffer)
            };
            let room = |like: &str| state(like);
            let (between, gradient) = ([room("h0"), room("c0")], [room("dhn"), room("dcn")]);
            let bind = |(rnn, running): &(Rnn, common::Running), io: Io, gradients: Gradients| {
                let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
                let io = Io { x: running.io.x.clone(), y: running.io.y.clone(), ..io };
                let gradients =
                    Gradients { dy: running.gradients.dy.clone(), dx: running.gradients.dx.clone(), ..gradients };
                rnn.bind(&params, "", &io, &gradients, &reserve, &workspace).expect("a window")
            };
            let io = |h0: Option<Buffer>, c0: Option<Buffer>, [hn, cn]: [Option<Buffer>; 2]| Io {
                h0,
                c0,
                hn,
                cn,
                ..Io::of_last(&first.1.io.x, &device.alloc("last", batch * 5).expect("last"))
            };
            let [dh, dc] = gradient.clone();
            let (dh0, dc0) = (room("h0"), room("c0"));
            let begun = io(state("h0"), state("c0"), between.clone());
            let ends = Gradients { dhn: dh.clone(), dcn: dc.clone(), ..Gradients::default() };
            let one = bind(&first, begun.clone(), Gradients { dh0: dh0.clone(), dc0: dc0.clone(), ..ends.clone() });
            let [h, c] = between.clone();
            // The gradient of the state between them lies where that of the last state was.
            let going = Gradients { dh0: dh, dc0: dc, ..ends };
            let two = bind(&second, io(h, c, [None, None]), going);
            device
                .run(|recorder| {
                    params.zero_gradients()?.record(recorder)?;
                    one.forward.record(recorder)?;
                    two.forward.record(recorder)?;
                    two.backward.record(recorder)?;
                    one.backward.record(recorder)
                })
                .expect("both windows");
            let want = whole.run(device);
            let near = |what: &str, buffer: &Buffer, want: &[f64]| {
                let error = relative_error(&device.read_f64(buffer).expect("a read"), want);
                assert!(error <= 1e-6, "{what} of {cell} on {device:?}: {error:e}");
            };
            for (name, _) in tensors(&config, "") {
                near(&name, &params.gradient(&name).expect("a gradient"), &want[&format!("grad.{name}")]);
            }
            near("dh0", &dh0.expect("dh0"), &want["dh0"]);
            dc0.iter().for_each(|dc0| near("dc0", dc0, &want["dc0"]));

            // The state alone: the first window's gradients are those of the window by itself.
            let alone = bind(&first, begun, Gradients::default());
            device
                .run(|recorder| {
                    params.zero_gradients()?.record(recorder)?;
                    alone.forward.record(recorder)?;
                    alone.backward.record(recorder)
                })
                .expect("a window");
            let mut by_itself = window(0..cut);
            for name in ["h0", "c0"].into_iter().filter(|name| whole.given.contains_key(*name)) {
                by_itself.given.insert(name.to_string(), whole.given[name].clone());
            }
            let want = by_itself.run(device);
            for (name, _) in tensors(&config, "") {
                near(&name, &params.gradient(&name).expect("a gradient"), &want[&format!("grad.{name}")]);
            }
        }
    }
}

/// With resets too a final state may lie where the initial one was, and backward sees what forward saw.
#[test]
fn resets_with_one_buffer_for_both_states() {
    let options = StepOptions { resets: true, ..StepOptions::NONE };
    for device in DEVICES.iter().cloned().chain(half_devices()) {
        for (cell, direction) in [(Cell::Gru, Direction::Forward), (Cell::Lstm, Direction::Both)] {
            let config = RnnConfig::new(cell, 3, 6).layers(2).direction(direction).options(options);
            let mut layer = Layer::random(config, 29, 40, 5);
            let half = device.gpu().is_some_and(|gpu| gpu.capabilities().f16);
            if half {
                layer = layer.half(false);
            }
            for recompute in [None, Some(granule(&device, layer.shape))] {
                let layer = Layer { recompute, ..layer.clone() };
                assert_same_bits(&layer.describe(), &layer.run_in_place(&device), &layer.run(&device));
            }
        }
    }
}

/// A gradient of more last outputs than one dispatch adds.
#[test]
fn many_last_outputs() {
    let device = common::tiled(wgpu_rnn::gpu::AdapterKind::Software);
    let (batch, hidden) = (2100, 512);
    let config = RnnConfig::new(Cell::RnnTanh, 1, hidden);
    let layer = Layer { last: true, ..Layer::random(config, 1, batch, 1) }.without(&["dy", "dhn", "h0"]);
    let mut with = layer.clone();
    with.given.insert("dlast".to_string(), vec![1.0; batch * hidden]);
    let mut same = layer;
    same.given.insert("dhn".to_string(), vec![1.0; batch * hidden]);
    assert_same_bits("the last outputs", &with.run(&device), &same.run(&device));
}
