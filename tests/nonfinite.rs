//! NaN and infinity in anything that goes in: on every device what the oracle says is not a number, or not finite, is so,
//! and nothing else is. Also in losses, norms and what probes gather.

mod common;

use common::{Layer, Tensors, devices, gpu, half_devices, tiled};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::nn::{Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::probe::values;
use wgpu_rnn::train::{Optimizer, OptimizerConfig};
use wgpu_rnn::{Cell, Device, RnnConfig};

/// Where tensors are not numbers, and where they are infinite.
fn broken(tensors: &Tensors) -> Vec<(&str, usize, bool)> {
    let of = |(name, values): (_, &Vec<f64>)| {
        let places = values.iter().enumerate().filter(|(_, value)| !value.is_finite());
        places.map(|(at, value)| (name, at, value.is_nan())).collect::<Vec<_>>()
    };
    tensors.iter().map(|(name, values)| (name.as_str(), values)).flat_map(of).collect()
}

/// Every cell, with the value in the middle of every tensor that goes in, one after another.
fn planted(value: f64, devices: &[Device], half: bool) {
    let oracle = Device::oracle().expect("the oracle");
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 5, 9).bidirectional(true);
        let layer = Layer::random(config, 6, 3, 5).lengths(&[6, 2, 5]);
        // No step of an SRU reads h.
        let unread = |name: &str| cell == Cell::Sru && name == "h0";
        let names: Vec<String> = layer.given.keys().filter(|name| !unread(name)).cloned().collect();
        for name in names {
            let mut layer = layer.clone();
            let values = layer.given.get_mut(&name).expect("a tensor");
            // In a step that the sequence has.
            let at = if ["x", "dy"].contains(&name.as_str()) { 1 } else { values.len() / 2 };
            values[at] = value;
            let want = layer.run(&oracle);
            let seen = broken(&want);
            assert!(value.is_finite() || !seen.is_empty() || !value.is_nan(), "{cell}: {name} is not seen");
            let layer = if half { layer.half(true) } else { layer };
            for device in devices {
                let got = layer.run(device);
                let got = broken(&got);
                let what = format!("{cell} with {value} in {name} on {device:?}");
                // The gradient of a step beyond a sequence's end is zero, and a GPU multiplies it with W_hh all the same: what
                // is wrong there may reach the sequence's other steps too.
                let may_spread = name.starts_with("weight_hh");
                let right = got == seen
                    || may_spread
                        && seen.iter().all(|(name, at, _)| got.iter().any(|found| (found.0, found.1) == (*name, *at)));
                assert!(right, "{what}: {}", difference(&got, &seen));
            }
        }
    }
}

/// The first place in which they differ.
fn difference(got: &[(&str, usize, bool)], want: &[(&str, usize, bool)]) -> String {
    let extra = got.iter().find(|place| !want.contains(place));
    let missing = want.iter().find(|place| !got.contains(place));
    format!("first unexpected {extra:?}, first missing {missing:?}, {} for {}", got.len(), want.len())
}

#[test]
fn nan_in_a_layer_is_seen_where_it_should_be() {
    planted(f64::NAN, &devices()[1..], false);
}

#[test]
fn infinity_in_a_layer_is_seen_where_it_should_be() {
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        planted(value, &devices()[1..], false);
    }
}

#[test]
fn nan_is_seen_where_layers_are_stored_in_half() {
    planted(f64::NAN, &half_devices(), true);
}

fn upload(device: &Device, name: &str, values: &[f64]) -> wgpu_rnn::Buffer {
    let buffer = device.alloc(name, values.len()).expect("room");
    device.write_f64(&buffer, values).expect("a write");
    buffer
}

fn upload_labels(device: &Device, labels: &[u32]) -> wgpu_rnn::Buffer {
    let buffer = device.alloc_u32("labels", labels.len()).expect("room");
    device.write_u32(&buffer, labels).expect("a write");
    buffer
}

fn few() -> Vec<Device> {
    let cpu = [Device::oracle(), Device::cpu()].map(|device| device.expect("the CPU"));
    cpu.into_iter().chain([gpu(), tiled(AdapterKind::Gpu)]).collect()
}

const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// 70 values of what goes in, one of them bad, in the first, the middle or the last lane of a workgroup.
fn with(value: f64, at: usize) -> Vec<f64> {
    let mut values: Vec<f64> = (0..70).map(|i| f64::from(i) / 70.0 - 0.4).collect();
    values[at] = value;
    values
}

#[test]
fn losses_of_numbers_show_it() {
    for device in few() {
        for value in BAD {
            for at in [0, 33, 69] {
                for in_goal in [false, true] {
                    let (bad, good) = (with(value, at), with(0.25, 0));
                    let (y, goal) = if in_goal { (&good, &bad) } else { (&bad, &good) };
                    let (y, goal) = (upload(&device, "y", y), upload(&device, "goal", goal));
                    let of = |levels: Option<&[f64]>| {
                        let dy = device.alloc("dy", 70).expect("room");
                        let loss = match levels {
                            None => Loss::mse(&device, &y, &goal, Some(&dy)),
                            Some(levels) => Loss::quantile(&device, levels, &y, &goal, Some(&dy), None),
                        };
                        let loss = loss.expect("a loss");
                        device.run(|recorder| loss.record(recorder)).expect("a run");
                        (loss.read_value().expect("a value"), device.read_f64(&dy).expect("a read"))
                    };
                    let what = format!("{value} at {at}, in the goal {in_goal}, on {device:?}");
                    let (loss, dy) = of(None);
                    assert_eq!(loss.is_nan(), value.is_nan(), "mse is {loss}: {what}");
                    let seen = |dy: &[f64]| dy.iter().map(|dy| dy.is_finite()).collect::<Vec<_>>();
                    let all_but: Vec<bool> = (0..70).map(|i| i != at).collect();
                    assert!(!loss.is_finite() && seen(&dy) == all_but, "{loss} {dy:?}: {what}");
                    let (loss, dy) = of(Some(&[0.3]));
                    assert!(!loss.is_finite() && loss.is_nan() == value.is_nan(), "quantile is {loss}: {what}");
                    // Slopes are finite: only what is not a number has none.
                    let want = if value.is_nan() { all_but } else { vec![true; 70] };
                    assert_eq!(seen(&dy), want, "{dy:?}: {what}");
                }
            }
        }
    }
}

#[test]
fn cross_entropy_shows_it() {
    for device in few() {
        for (value, classes) in BAD.into_iter().flat_map(|value| [(value, 7), (value, 70)]) {
            for at in [0, classes - 1] {
                // Two rows; the second is as it should be.
                let mut logits: Vec<f64> = (0..2 * classes).map(|i| (i % 5) as f64 - 2.0).collect();
                logits[at] = value;
                let logits = upload(&device, "logits", &logits);
                let labels = upload_labels(&device, &[at as u32, 2]);
                let dlogits = device.alloc("dlogits", 2 * classes).expect("room");
                let loss = Loss::cross_entropy(&device, 2, classes, &logits, &labels, Some(&dlogits)).expect("a loss");
                device.run(|recorder| loss.record(recorder)).expect("a run");
                let (loss, gradient) =
                    (loss.read_value().expect("a value"), device.read_f64(&dlogits).expect("a read"));
                let what = format!("{value} in {at} of {classes} on {device:?}: {loss} {gradient:?}");
                assert!(!loss.is_finite(), "{what}");
                // A label of probability zero costs infinitely much, and its gradient is finite.
                let finite = value == f64::NEG_INFINITY;
                assert!(gradient[..classes].iter().all(|dl| dl.is_finite() == finite), "{what}");
                assert!(gradient[classes..].iter().all(|dl| dl.is_finite()), "{what}");
            }
        }
    }
}

/// Of two logits 80 apart the smaller one's gradient is e⁻⁸⁰ to its last bits, and 200 apart zero; the loss of what is
/// almost sure keeps its digits.
#[test]
fn cross_entropy_keeps_its_digits() {
    for device in few() {
        for (distance, label) in [(80.0, 0u32), (80.0, 1), (10.0, 0), (1.0, 1), (200.0, 1)] {
            let logits = upload(&device, "logits", &[distance, 0.0]);
            let labels = upload_labels(&device, &[label]);
            let dlogits = device.alloc("dlogits", 2).expect("room");
            let loss = Loss::cross_entropy(&device, 1, 2, &logits, &labels, Some(&dlogits)).expect("a loss");
            device.run(|recorder| loss.record(recorder)).expect("a run");
            let (loss, gradient) = (loss.read_value().expect("a value"), device.read_f64(&dlogits).expect("a read"));
            let small = (-distance).exp() / (1.0 + (-distance).exp());
            let want = (-distance).exp().ln_1p() + if label == 1 { distance } else { 0.0 };
            let what = format!("{distance} apart, label {label}, on {device:?}: {loss} for {want}, {gradient:?}");
            assert!((loss - want).abs() <= 1.3e-7 * (1.0 + want), "{what}");
            if label == 0 {
                assert!((gradient[1] - small).abs() <= 1e-6 * small + 1.2e-38, "{what}");
            }
        }
    }
}

/// The norm is not finite, and the step is skipped.
#[test]
fn norms_show_it() {
    for device in few() {
        for value in BAD {
            for at in [0, 33, 69] {
                let params = Parameters::new(&device, vec![("w".to_string(), vec![70])]).expect("parameters");
                let optimizer = Optimizer::new(&params, OptimizerConfig::sgd(0.1)).expect("an optimiser");
                device.write_f64(&params.gradient("w").expect("w"), &with(value, at)).expect("a write");
                device.run(|recorder| optimizer.record(recorder)).expect("a run");
                let state = optimizer.read_state().expect("a state");
                assert_eq!(state.gradient_norm.is_nan(), value.is_nan(), "{value} at {at} on {device:?}: {state:?}");
                assert!(
                    !state.gradient_norm.is_finite() && state.skipped == 1,
                    "{value} at {at} on {device:?}: {state:?}"
                );
                assert!(device.read_f64(params.values()).expect("a read").iter().all(|&value| value == 0.0));
            }
        }
    }
}

/// Norms of the gradients of states are not numbers where those are not, and infinite where those are.
#[test]
fn flows_show_it() {
    let oracle = Device::oracle().expect("the oracle");
    for (value, &cell) in BAD.into_iter().flat_map(|value| Cell::ALL.iter().map(move |cell| (value, cell))) {
        let mut layer = Layer::random(RnnConfig::new(cell, 3, 37), 5, 2, 3);
        layer.flow = true;
        // The gradient of the output of the third step's second sequence.
        layer.given.get_mut("dy").expect("dy")[(2 * 2 + 1) * 37 + 20] = value;
        let norms = |device: &Device| {
            let running = layer.bind(device, Mode::Train).expect("a layer");
            running.run().expect("a step");
            device.read_f64(running.bound.norms().expect("norms")).expect("a read")
        };
        let kind = |norms: Vec<f64>| norms.iter().map(|norm| (norm.is_nan(), norm.is_finite())).collect::<Vec<_>>();
        let want = kind(norms(&oracle));
        assert!(want.iter().any(|(_, finite)| !finite) && want.iter().any(|(_, finite)| *finite));
        for device in &devices()[1..] {
            assert_eq!(kind(norms(device)), want, "{cell} with {value} on {device:?}");
        }
    }
}

/// A value that is not a number spoils its own unit's mean and spread, is near nothing, and spoils no other unit.
#[test]
fn gates_show_it() {
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 9), 1, 4, 3);
    for device in &devices()[1..] {
        let mut layer = layer.clone();
        // The recurrent bias of n of unit 4. One step, since NaN times a weight of zero would spoil all units of the next.
        layer.given.get_mut("bias_hh_l0").expect("a bias")[2 * 9 + 4] = f64::NAN;
        let running = layer.bind(device, Mode::Train).expect("a layer");
        let activity = running.activity();
        let candidate = values(Cell::Gru).into_iter().find(|value| value.name == "n").expect("n");
        let units = activity.units(0, 0, candidate);
        for (index, unit) in units.iter().enumerate() {
            let (bad, what) = (index == 4, format!("unit {index} on {device:?}: {unit:?}"));
            assert_eq!(unit.mean.is_nan(), bad, "{what}");
            assert_eq!(unit.spread.is_nan(), bad, "{what}");
            if bad {
                assert_eq!([unit.near_minus_one, unit.near_zero, unit.near_one], [0.0; 3], "{what}");
            }
        }
    }
}
