//! What gates and states do over a batch: gathered on the device, it is what their values say.

mod common;

use common::{Layer, Running, devices, half_devices, small_bindings};

use wgpu_rnn::plan::Mode;
use wgpu_rnn::probe::{Activity, Gates, HIGH, LOW, Unit, Value, Values, values};
use wgpu_rnn::{Cell, Device, Direction, RnnConfig, ValueKind};

/// A layer, run forward, and what its gates did.
fn gathered(device: &Device, layer: &Layer) -> (Running, Activity) {
    let running = layer.bind(device, Mode::Train).expect("a layer");
    let activity = running.activity();
    (running, activity)
}

/// The values of every sequence of a layer and direction.
fn all(running: &Running, batch: usize, layer: usize, direction: usize) -> Vec<Values> {
    let read = |sequence| Values::read(&running.bound, &running.reserve, layer, direction, sequence).expect("values");
    (0..batch).map(read).collect()
}

fn of(sequences: &[Values], value: Value, unit: usize) -> Vec<f64> {
    let find = |values: &Values| {
        let (_, found) = values.all().iter().find(|(found, _)| *found == value).expect("the value");
        found.iter().skip(unit).step_by(values.hidden()).copied().collect::<Vec<_>>()
    };
    sequences.iter().flat_map(find).collect()
}

/// By its definition.
fn unit(values: &[f64]) -> Unit {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let share = |of: &dyn Fn(f64) -> bool| values.iter().filter(|value| of(**value)).count() as f64 / count;
    Unit {
        mean,
        spread: (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt(),
        log_mean: values.iter().map(|value| value.max(1e-30).ln()).sum::<f64>() / count,
        near_minus_one: share(&|value| value < -HIGH),
        near_zero: share(&|value| value.abs() < LOW),
        near_one: share(&|value| value > HIGH),
    }
}

#[track_caller]
fn agrees(what: &str, layer: &Layer, running: &Running, activity: &Activity) {
    let config = layer.config;
    for (at, direction) in (0..config.layers).flat_map(|at| (0..config.directions()).map(move |d| (at, d))) {
        let sequences = all(running, layer.shape.batch, at, direction);
        for value in values(config.cell) {
            let found = activity.units(at, direction, value);
            assert_eq!(found.len(), config.hidden);
            for (index, got) in found.iter().enumerate() {
                let want = unit(&of(&sequences, value, index));
                let what = format!("{what}: {} of unit {index}, layer {at}, direction {direction}", value.name);
                let close = |got: f64, want: f64| (got - want).abs() <= 2e-6 * want.abs().max(1.0);
                assert!(close(got.mean, want.mean), "{what}: mean {} for {}", got.mean, want.mean);
                assert!(close(got.spread, want.spread), "{what}: spread {} for {}", got.spread, want.spread);
                let (got_log, want_log) = (got.log_mean, want.log_mean);
                assert!(close(got_log, want_log), "{what}: mean logarithm {got_log} for {want_log}");
                let shares = |unit: &Unit| [unit.near_minus_one, unit.near_zero, unit.near_one];
                for (got, want) in shares(got).into_iter().zip(shares(&want)) {
                    assert!((got - want).abs() < 1e-6, "{what}: a share of {got} for {want}");
                }
            }
        }
    }
}

fn layers(cell: Cell) -> Vec<Layer> {
    let config = RnnConfig::new(cell, 3, 9);
    vec![
        Layer::random(config, 5, 1, 1).scaled("weight", 3.0),
        Layer::random(config.layers(2).bidirectional(true), 11, 4, 3).lengths(&[11, 1, 6, 10]).scaled("weight", 2.0),
        Layer {
            batch_first: true,
            ..Layer::random(config.layers(2).direction(Direction::Reverse).learn_state(true), 6, 3, 5)
                .lengths(&[6, 2, 4])
        },
        Layer::random(config.layers(2).dropout(0.3).input_dropout(0.2).weight_dropout(0.2), 6, 3, 6).carried(6),
    ]
}

#[test]
fn what_is_gathered_is_what_the_values_say() {
    for &cell in Cell::ALL {
        for layer in layers(cell) {
            for device in devices() {
                let (running, activity) = gathered(&device, &layer);
                agrees(&format!("{} on {device:?}", layer.describe()), &layer, &running, &activity);
            }
        }
    }
}

/// Steps in several buffers are gathered one buffer after another.
#[test]
fn parts_are_gathered_together() {
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 3, 5).bidirectional(true);
        let layer = Layer::random(config, 29, 40, 3).lengths(&(0..40).map(|b| 1 + b % 29).collect::<Vec<_>>());
        let device = small_bindings(48 << 10);
        let (running, activity) = gathered(&device, &layer);
        let parts = running.bound.rnn().kept(&running.reserve, 0).expect("values").len();
        assert!(cell.saved() == 1 || parts > 1, "{cell}: one part");
        agrees(&format!("{cell} in {parts} parts"), &layer, &running, &activity);
    }
}

#[test]
fn half_precision_is_gathered_too() {
    for device in half_devices() {
        for &cell in Cell::ALL {
            let layer = Layer::random(RnnConfig::new(cell, 3, 9), 7, 3, 1).half(false);
            let (running, activity) = gathered(&device, &layer);
            agrees(&format!("{cell} in half precision on {device:?}"), &layer, &running, &activity);
        }
    }
}

/// In time order the values of a direction stand at the times of its output.
#[test]
fn values_in_time_order_are_the_output() {
    for &cell in Cell::ALL {
        for direction in Direction::ALL {
            let config = RnnConfig::new(cell, 3, 5).direction(direction);
            let layer = Layer::random(config, 6, 2, 4).lengths(&[6, 4]);
            for device in devices() {
                let (running, _) = gathered(&device, &layer);
                let y = device.read_f64(running.buffer("y")).expect("a read");
                for (way, (sequence, length)) in (0..config.directions()).flat_map(|d| [(d, (0, 6)), (d, (1, 4))]) {
                    let values = Values::read(&running.bound, &running.reserve, 0, way, sequence).expect("values");
                    let values = values.in_time_order();
                    let (_, h) = values.all().iter().find(|(value, _)| value.name == "h").expect("h");
                    let row = |time: usize| &y[((time * 2 + sequence) * config.directions() + way) * 5..][..5];
                    let want: Vec<f64> = (0..length).flat_map(row).copied().collect();
                    assert_eq!(*h, want, "{cell} {direction:?} on {device:?}");
                }
            }
        }
    }
}

/// The values are those of the cell's equations, and h is the output.
#[test]
fn values_are_those_of_the_equations() {
    for &cell in Cell::ALL {
        let (steps, batch, hidden) = (7, 2, 3);
        let layer = Layer::random(RnnConfig::new(cell, 2, hidden), steps, batch, 5);
        let device = Device::oracle().expect("oracle");
        let (running, _) = gathered(&device, &layer);
        let y = device.read_f64(running.buffer("y")).expect("a read");
        for sequence in 0..batch {
            let found = Values::read(&running.bound, &running.reserve, 0, 0, sequence).expect("values");
            let get = |name: &str| &found.all().iter().find(|(value, _)| value.name == name).expect("a value").1;
            let h: Vec<f64> =
                (0..steps).flat_map(|step| y[(step * batch + sequence) * hidden..][..hidden].to_vec()).collect();
            assert_eq!(get("h"), &h, "{cell}");
            for at in hidden..steps * hidden {
                let before = at - hidden;
                let (got, want) = match cell {
                    Cell::Lstm => {
                        let want = get("f")[at] * get("c")[before] + get("i")[at] * get("g")[at];
                        assert!((h[at] - get("o")[at] * want.tanh()).abs() < 1e-14);
                        (get("c")[at], want)
                    }
                    Cell::Gru => (h[at], (1.0 - get("z")[at]) * get("n")[at] + get("z")[at] * h[before]),
                    _ => (get("h")[at], h[at]),
                };
                assert!((got - want).abs() < 1e-14, "{cell}: {got} for {want}");
            }
        }
    }
}

/// A gate that a bias holds open or shut is found, and what the state keeps is told in steps.
#[test]
fn stuck_gates_and_time_constants_are_found() {
    for (cell, row) in [(Cell::Lstm, 1), (Cell::Gru, 1)] {
        let hidden = 4;
        let keeps = values(cell).into_iter().find(|value| value.kind == ValueKind::Keep).expect("a gate that keeps");
        for device in devices() {
            // Open, shut, and as a forget bias of 1 leaves it.
            let mut layer = Layer::random(RnnConfig::new(cell, 2, hidden), 12, 3, 6).scaled("weight", 0.0);
            for name in ["bias_ih_l0", "bias_hh_l0"] {
                let bias = layer.given.get_mut(name).expect("a bias");
                let values = if name == "bias_ih_l0" { [9.0, -9.0, 1.0, 40.0] } else { [0.0; 4] };
                bias[row * hidden..(row + 1) * hidden].copy_from_slice(&values);
            }
            let (_, activity) = gathered(&device, &layer);
            let summary = activity.summary(0, 0, keeps).expect("a summary");
            assert_eq!(
                (summary.always_one, summary.always_zero, summary.units),
                (2, 1, hidden),
                "{cell} on {device:?}"
            );
            assert!((summary.near_one - 0.5).abs() < 1e-6 && (summary.near_zero - 0.25).abs() < 1e-6);
            let found = activity.time_constants(0, 0);
            let want = -1.0 / (1.0 / (1.0 + (-1.0f64).exp())).ln();
            assert!((found[2] - want).abs() < 1e-3 * want, "{cell} on {device:?}: {} for {want}", found[2]);
            assert!(found[0] > 1e3 && found[1] < 0.2 && found[3] == f64::INFINITY, "{cell} on {device:?}: {found:?}");
        }
    }
}

/// A spread that is tiny beside the mean is still found in f32.
#[test]
fn small_spreads_are_not_lost() {
    for device in devices() {
        let mut layer = Layer::random(RnnConfig::new(Cell::Lstm, 2, 4), 60, 8, 2).scaled("weight", 2e-4);
        for name in ["bias_ih_l0", "bias_hh_l0"] {
            layer.given.get_mut(name).expect("a bias").fill(1.0);
        }
        let (running, activity) = gathered(&device, &layer);
        let forget = values(Cell::Lstm)[1];
        let sequences = all(&running, 8, 0, 0);
        for (index, got) in activity.units(0, 0, forget).iter().enumerate() {
            let want = unit(&of(&sequences, forget, index)).spread;
            assert!(want < 1e-3 && (got.spread - want).abs() < 1e-3 * want, "{} for {want} on {device:?}", got.spread);
        }
    }
}

#[test]
fn values_that_are_not_kept_are_refused() {
    let device = Device::cpu().expect("CPU");
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 2, 3), 16, 2, 1);
    for (layer, mode, got) in
        [(layer.clone(), Mode::Infer, "infers"), (layer.clone().recompute(4), Mode::Train, "computes states again")]
    {
        let running = layer.bind(&device, mode).expect("a layer");
        let error = Gates::new(&running.bound, &running.reserve).err().expect("an error").to_string();
        assert!(error.contains(got), "{error}");
    }
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    for (at, what) in [([1, 0, 0], "layer"), ([0, 1, 0], "direction"), ([0, 0, 2], "sequence")] {
        let error = Values::read(&running.bound, &running.reserve, at[0], at[1], at[2]).expect_err("an error");
        assert!(error.to_string().contains(what), "{error}");
    }
    let (_, activity) = gathered(&device, &layer);
    assert!(activity.units(1, 0, values(Cell::Gru)[0]).is_empty());
    assert!(activity.summary(0, 1, values(Cell::Gru)[0]).is_none());
}
