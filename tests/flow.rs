//! How gradients flow: the norms that backward leaves are those of the gradients of each step's states, on every device and
//! with every strategy, and asking for them changes nothing else.

mod common;

use common::{GRADIENT_BOUND, Layer, Tensors, assert_same_bits, devices, half_devices, relative_error, small_bindings};
use wgpu_rnn::nn::rnn::{Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer as InitLayer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::probe::{Flow, Reach, Verdict};
use wgpu_rnn::{BatchShape, Cell, Device, Direction, Error, RnnConfig, StepOptions};

fn seen(mut layer: Layer) -> Layer {
    layer.flow = true;
    layer
}

/// The norms as backward leaves them, `[L, T, B, D, F]`, and everything else.
fn norms(device: &Device, layer: &Layer) -> (Vec<f64>, Tensors) {
    let running = layer.bind(device, Mode::Train).expect("a layer");
    running.run().expect("a step");
    let norms = device.read_f64(running.bound.norms().expect("norms")).expect("a read");
    (norms, running.read().expect("a read"))
}

fn flow(device: &Device, layer: &Layer) -> Flow {
    let running = layer.bind(device, Mode::Train).expect("a layer");
    running.run().expect("a step");
    Flow::read(&running.bound).expect("norms")
}

fn length(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::hypot)
}

/// Some times of a layer of one direction, begun with these states and ended with these gradients.
fn part(layer: &Layer, times: std::ops::Range<usize>, given: &Tensors) -> Tensors {
    let batch = layer.shape.batch;
    let mut part = layer.clone();
    part.shape = BatchShape::new(times.len(), batch);
    for (name, width) in [("x", layer.config.input), ("dy", layer.config.hidden)] {
        let row = batch * width;
        part.given.insert(name.to_string(), layer.given[name][times.start * row..times.end * row].to_vec());
    }
    part.given.extend(given.clone());
    part.run(&Device::oracle().expect("oracle"))
}

/// The gradient of the state after a step is what the steps after it, run alone from that state, say of their initial
/// state, and what the output says of h.
#[test]
fn norms_are_those_of_the_gradients_of_each_state() {
    let (steps, batch, hidden) = (6, 3, 4);
    for &cell in Cell::ALL {
        let layer = Layer::random(RnnConfig::new(cell, 2, hidden), steps, batch, 9);
        let flow = flow(&Device::oracle().expect("oracle"), &seen(layer.clone()));
        for step in 0..steps {
            let before = part(&layer, 0..step + 1, &Tensors::new());
            let states = [("h0", "hn"), ("c0", "cn")].into_iter().filter(|(_, last)| before.contains_key(*last));
            let states = states.map(|(first, last)| (first.to_string(), before[last].clone())).collect();
            let (dh, dc) = match step + 1 == steps {
                true => (layer.given["dhn"].clone(), layer.given.get("dcn").cloned()),
                false => {
                    let after = part(&layer, step + 1..steps, &states);
                    (after["dh0"].clone(), after.get("dc0").cloned())
                }
            };
            let dy = &layer.given["dy"][step * batch * hidden..][..batch * hidden];
            let dh: Vec<f64> = dh.iter().zip(dy).map(|(dh, dy)| dh + dy).collect();
            for sequence in 0..batch {
                let row = sequence * hidden..(sequence + 1) * hidden;
                let got = flow.norms(0, 0, step, sequence).expect("a step");
                let want = length(dh[row.clone()].iter().copied());
                assert!((got.h - want).abs() <= 1e-10 * want, "{cell}: h after step {step}: {} for {want}", got.h);
                assert_eq!(got.c.is_some(), cell.has_c());
                if let (Some(got), Some(dc)) = (got.c, &dc) {
                    // h = o·tanh(c), which gives o; of an SRU h = r·c + (1 − r)·k, which gives r.
                    let (h, c) = (&before["hn"], &before["cn"]);
                    let highway = |i: usize| {
                        let row = 3 * hidden + i % hidden;
                        let x = &layer.given["x"][(step * batch + sequence) * 2..][..2];
                        let weights = &layer.given["weight_ih_l0"][row * 2..][..2];
                        layer.given["bias_ih_l0"][row] + weights[0] * x[0] + weights[1] * x[1]
                    };
                    let through = |i: usize| match cell {
                        Cell::Sru => dh[i] * (h[i] - highway(i)) / (c[i] - highway(i)),
                        _ => dh[i] * h[i] / c[i].tanh() * (1.0 - c[i].tanh().powi(2)),
                    };
                    let want = length(row.map(|i| dc[i] + through(i)));
                    assert!((got - want).abs() <= 1e-10 * want, "{cell}: c after step {step}: {got} for {want}");
                }
            }
        }
    }
}

/// Without recurrent weights there is no other way than the direct one, and a plain RNN has none.
#[test]
fn what_comes_directly_is_all_there_is_without_recurrent_weights() {
    for &cell in Cell::ALL {
        let layer = seen(Layer::random(RnnConfig::new(cell, 2, 4), 9, 3, 4)).scaled("weight_hh", 0.0);
        let trace = flow(&Device::oracle().expect("oracle"), &layer).trace(0, 0);
        for (back, share) in trace.direct_share().into_iter().enumerate() {
            let share = share.expect("a gradient");
            assert!((share - 1.0).abs() < 1e-12, "{cell}: {share} of the gradient {back} steps back");
        }
        let layer = seen(Layer::random(RnnConfig::new(cell, 2, 4), 9, 3, 4)).without(&["dy"]);
        let trace = flow(&Device::oracle().expect("oracle"), &layer).trace(0, 0);
        let plain = matches!(cell, Cell::RnnTanh | Cell::RnnRelu);
        assert_eq!(trace.direct[1..].iter().all(|&norm| norm == 0.0), plain, "{cell}: {:?}", trace.direct);
    }
}

/// Gates that are the same number at every step: after k steps their k-th power is left.
#[test]
fn what_comes_directly_is_the_product_of_gates() {
    // The gate's rows of the weights, and its value.
    for (cell, gate) in [(Cell::Lstm, 1), (Cell::Gru, 1)] {
        let (hidden, steps) = (4, 40);
        let mut layer = seen(Layer::random(RnnConfig::new(cell, 2, hidden), steps, 2, 6)).without(&["dy"]);
        for (name, values) in &mut layer.given {
            let width = match name.as_str() {
                "weight_ih_l0" => 2,
                "weight_hh_l0" => hidden,
                "bias_ih_l0" | "bias_hh_l0" => 1,
                _ => continue,
            };
            let value = if name == "bias_ih_l0" { 1.0 } else { 0.0 };
            values[gate * hidden * width..(gate + 1) * hidden * width].fill(value);
        }
        for device in devices() {
            let trace = flow(&device, &layer).trace(0, 0);
            let open = 1.0 / (1.0 + (-1.0f64).exp());
            for (back, direct) in trace.direct.iter().enumerate() {
                let want = trace.direct[0] * open.powi(back as i32);
                assert!((direct - want).abs() <= 1e-4 * want, "{cell} on {device:?}: {direct} for {want}, {back} back");
            }
        }
    }
}

/// What is before a step that begins anew has no part in what comes after it, and is no sign of gradients that vanish.
#[test]
fn a_trace_ends_where_a_sequence_began_anew() {
    for cell in [Cell::Lstm, Cell::RnnTanh] {
        let config = RnnConfig::new(cell, 3, 5).bidirectional(true);
        let config = config.options(StepOptions { resets: true, ..StepOptions::NONE });
        let mut layer = seen(Layer::random(config, 12, 2, 4));
        // Before the steps at times 7 and 10.
        layer.resets = (0..24).map(|at| [7 * 2, 10 * 2 + 1].contains(&at)).collect();
        for device in devices() {
            let flow = flow(&device, &layer);
            // Going backward it is before the steps at times 6 and 9, which are steps 5 and 2.
            for (direction, steps) in [(0, 5), (1, 10)] {
                let trace = flow.trace(0, direction);
                assert_eq!((trace.h.len(), trace.direct.len()), (steps, steps), "{cell} on {device:?}");
                assert!(trace.h.iter().all(|norm| *norm > 0.0), "{cell} on {device:?}: {:?}", trace.h);
            }
        }
    }
}

/// At initialisation with a forget bias of 1 the gradient of an LSTM's c follows the product of its forget gates: for some
/// steps most of it comes that way, and a step back multiplies both by nearly the same. Then what passes through `weight_hh`,
/// which is small but adds up, takes over. A plain RNN has no such way.
#[test]
fn at_first_the_flow_of_an_lstm_follows_its_forget_gates() {
    let device = Device::cpu().expect("CPU");
    let (steps, batch, hidden) = (60, 16, 64);
    for seed in 1..=3 {
        let config = RnnConfig::new(Cell::Lstm, 8, hidden);
        let mut layer = seen(Layer::random(config, steps, batch, seed)).without(&["dy", "h0", "c0", "dcn"]);
        let params = Parameters::new(&device, tensors(&config, "")).expect("parameters");
        let init = Init { forget_bias: Some(1.0), ..Init::new(seed) };
        init.apply(&params, "", InitLayer::Rnn(&config)).expect("weights");
        for (name, _) in tensors(&config, "") {
            let values = device.read_f64(&params.value(&name).expect("a tensor")).expect("a read");
            layer.given.insert(name, values);
        }
        let trace = flow(&device, &layer).trace(0, 0);
        let mostly = trace.direct_share().iter().take_while(|share| share.is_some_and(|share| share > 0.5)).count();
        let factor = |norms: &[f64]| Reach::of(&norms[..8]).decay.expect("a factor");
        let (whole, product) = (factor(&trace.c), factor(&trace.direct));
        assert!(mostly >= 8, "seed {seed}: mostly direct for {mostly} steps");
        assert!((whole / product - 1.0).abs() < 0.1, "seed {seed}: {whole} a step, of which directly {product}");
        // The product of gates around σ(1).
        assert!((product - 0.731).abs() < 0.05, "seed {seed}: {product}");
    }
}

fn layers(cell: Cell) -> Vec<Layer> {
    let config = RnnConfig::new(cell, 3, 9);
    vec![
        Layer::random(config.bias(false), 5, 1, 2).without(&["dhn", "dcn"]),
        Layer::random(config.layers(3).bidirectional(true), 11, 4, 3).lengths(&[11, 1, 6, 10]),
        Layer::random(RnnConfig::new(cell, 4, 40).layers(2), 12, 9, 4).without(&["dy", "dcn"]),
        Layer {
            batch_first: true,
            ..Layer::random(config.layers(2).direction(Direction::Reverse).learn_state(true), 6, 3, 5)
                .lengths(&[6, 2, 4])
        },
        Layer::random(config.layers(2).dropout(0.3).input_dropout(0.2).weight_dropout(0.2), 6, 3, 6).carried(6),
    ]
}

#[test]
fn every_device_agrees_with_the_oracle_and_nothing_else_changes() {
    let oracle = Device::oracle().expect("oracle");
    for &cell in Cell::ALL {
        for layer in layers(cell) {
            let (want, _) = norms(&oracle, &seen(layer.clone()));
            assert!(want.iter().any(|&norm| norm > 0.0));
            for device in devices() {
                let what = format!("{} on {device:?}", layer.describe());
                let (got, rest) = norms(&device, &seen(layer.clone()));
                let error = relative_error(&got, &want);
                assert!(error <= GRADIENT_BOUND, "norms of {what} are off by {error:.2e}");
                let zeros = |norms: &[f64]| norms.iter().map(|&norm| norm == 0.0).collect::<Vec<_>>();
                assert_eq!(zeros(&got), zeros(&want), "{what}");
                assert_same_bits(&what, &rest, &layer.run(&device));
            }
        }
    }
}

#[test]
fn recomputed_states_change_no_bit_and_small_bindings_little() {
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 3, 5).layers(2).bidirectional(true);
        let layer = seen(Layer::random(config, 29, 40, 3).lengths(&(0..40).map(|b| 1 + b % 29).collect::<Vec<_>>()));
        for device in devices() {
            let again = layer.clone().recompute(8);
            let same = norms(&device, &again).0 == norms(&device, &layer).0;
            assert!(same, "{cell} on {device:?}: other norms where states are computed again");
        }
        let whole = common::gpu();
        let small = small_bindings(48 << 10);
        assert!(layer.plan(&small, Mode::Train).expect("a plan").chunks() > 1);
        // What reaches a layer from two directions of the one above is added in another order.
        let error = relative_error(&norms(&small, &layer).0, &norms(&whole, &layer).0);
        assert!(error <= 1e-5, "{cell}: off by {error:.2e} in parts");
    }
}

#[test]
fn half_precision_leaves_norms_too() {
    for device in half_devices() {
        for &cell in Cell::ALL {
            let layer = seen(Layer::random(RnnConfig::new(cell, 5, 9), 12, 3, 1).half(false));
            let error = relative_error(&norms(&device, &layer).0, &norms(&Device::oracle().unwrap(), &full(&layer)).0);
            assert!(error <= 1e-2, "{cell} on {device:?}: {error:.2e}");
        }
    }
}

/// A plan that a device's bindings allow can be bound: what backward leaves to see is f32 where all else is f16.
#[test]
fn sections_have_room_for_what_is_seen() {
    let mut bound = 0;
    for (bytes, &cell) in (8..40).flat_map(|part| Cell::ALL.iter().map(move |cell| (part * 256, cell))) {
        let limits = |_| wgpu::Limits { max_storage_buffer_binding_size: bytes, ..wgpu::Limits::defaults() };
        let (device, queue) = common::wgpu_device_with(wgpu::Features::SHADER_F16, limits);
        let device = Device::from_wgpu(device, queue);
        let mut layers = vec![seen(Layer::random(RnnConfig::new(cell, 5, 9), 12, 3, 1))];
        if device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
            layers.push(layers[0].clone().half(false));
        }
        for layer in layers.iter().filter(|layer| layer.plan(&device, Mode::Train).is_ok()) {
            let what = format!("{} with {bytes} bytes a binding", layer.describe());
            layer.bind(&device, Mode::Train).unwrap_or_else(|error| panic!("{what}: {error}"));
            bound += 1;
        }
    }
    assert!(bound > 100, "only {bound} plans");
}

fn full(layer: &Layer) -> Layer {
    Layer { precision: wgpu_rnn::Precision::Full, half_sequences: false, ..layer.clone() }
}

#[test]
fn what_is_predicted_is_what_is_allocated() {
    for device in devices() {
        for &cell in Cell::ALL {
            for recompute in [None, Some(8)] {
                let mut layer = seen(Layer::random(RnnConfig::new(cell, 3, 5).layers(2), 29, 40, 3));
                layer.recompute = recompute;
                let running = layer.bind(&device, Mode::Train).expect("a layer");
                assert_eq!(running.bound.memory(), running.bound.rnn().memory(), "{cell} on {device:?}");
                layer.flow = false;
                let without = layer.plan(&device, Mode::Train).expect("a plan").memory();
                assert!(running.bound.memory().workspace > without.workspace);
                assert_eq!(running.bound.memory().reserve, without.reserve);
            }
        }
    }
}

/// Norms are right far below where their squares would be zero in f32.
#[test]
fn small_gradients_have_norms() {
    for device in devices() {
        let config = RnnConfig::new(Cell::RnnTanh, 2, 8);
        let layer = seen(Layer::random(config, 40, 2, 5)).scaled("weight_hh", 0.2).without(&["dy"]);
        let trace = flow(&device, &layer).trace(0, 0);
        let want = flow(&Device::oracle().expect("oracle"), &layer).trace(0, 0);
        // WGSL lets a GPU make zeros of subnormal numbers; whatever else it makes is right.
        let (first, wanted) = (trace.h.last().copied().expect("a step"), want.h.last().copied().expect("a step"));
        assert!(wanted > 0.0 && wanted < 1e-22, "{wanted:e}");
        let flushed = first == 0.0 && wanted < f64::from(f32::MIN_POSITIVE) && device.gpu().is_some();
        assert!(flushed || (first / wanted - 1.0).abs() < 1e-3, "{first:e} for {wanted:e} on {device:?}");
        let small = |norm: &&f64| (1e-36..1e-22).contains(*norm);
        let both = trace.h.iter().zip(&want.h).filter(|(_, want)| small(want));
        assert!(both.clone().count() > 5, "{:?}", want.h);
        for (got, want) in both {
            assert!((got / want - 1.0).abs() < 1e-3, "{got:e} for {want:e} on {device:?}");
        }
        assert_eq!(trace.reach().verdict, Verdict::Vanishing);
    }
}

#[test]
fn norms_have_to_be_asked_for_and_are_of_training() {
    let device = Device::cpu().expect("CPU");
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 2, 3), 4, 2, 1);
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    assert!(running.bound.norms().is_none());
    let error = Flow::read(&running.bound).expect_err("nothing was asked for");
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("asked for"), "{error}");
    let options = Options { flow: true, ..Options::default() };
    let infer = Rnn::new(&device, layer.config, layer.shape, Mode::Infer, options);
    assert!(infer.is_err_and(|error| error.to_string().contains("to infer")));
}
