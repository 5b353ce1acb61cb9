//! Warnings: each trouble is found where it is, said once, and not where all is well.

mod common;

use common::{Layer, devices};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::probe::{Activity, Flow, LOOKS, Remark, Trouble, Warning, Watch};
use wgpu_rnn::{Cell, Device, RnnConfig, StepOptions, Zoneout};

/// What a layer does inside.
fn inside(device: &Device, mut layer: Layer) -> (Flow, Activity) {
    layer.flow = true;
    let running = layer.bind(device, Mode::Train).expect("a layer");
    let activity = running.activity();
    device.run(|recorder| running.bound.backward.record(recorder)).expect("a run");
    let flow = Flow::read(&running.bound).expect("norms");
    (flow, activity)
}

/// What is wrong at step 7, and what is said of it at step 8, after as many looks as it takes.
fn warned(device: &Device, layer: Layer) -> [Vec<Warning>; 2] {
    let (flow, activity) = inside(device, layer);
    let mut watch = Watch::new();
    let warning = |remark| match remark {
        Remark::Warning(warning) => warning,
        over => panic!("{over}"),
    };
    let mut look = |step| watch.look(step, Some(&flow), &activity, true).into_iter().map(warning).collect::<Vec<_>>();
    let before: Vec<Warning> = (7 - u64::from(LOOKS) + 1..7).flat_map(&mut look).collect();
    let said = [look(7), look(8)];
    [[before, said[0].clone()].concat(), said[1].clone()]
}

fn layer(cell: Cell, steps: usize) -> Layer {
    Layer::random(RnnConfig::new(cell, 2, 6), steps, 3, 5).without(&["dy", "h0", "c0"])
}

/// With one of its tensors as it is given.
fn with(mut layer: Layer, name: &str, value: impl Fn(usize) -> f64) -> Layer {
    let values = layer.given.get_mut(name).expect("a tensor");
    values.iter_mut().enumerate().for_each(|(index, to)| *to = value(index));
    layer
}

#[track_caller]
fn only(device: &Device, layer: Layer, expected: impl Fn(Trouble) -> bool, words: &[&str]) {
    let what = format!("{} on {device:?}", layer.describe());
    let [first, second] = warned(device, layer);
    assert_eq!(first.len(), 1, "{what}: {first:?}");
    assert!(expected(first[0].trouble), "{what}: {first:?}");
    // Values that are not finite are said at the first look.
    let step = if first[0].step == 7 { 7 } else { 8 - u64::from(LOOKS) };
    assert_eq!((first[0].step, first[0].layer, first[0].direction), (step, 0, 0));
    let said = format!("{}; {}", first[0], first[0].trouble.advice());
    assert!(
        said.starts_with(&format!("step {step}, layer 0: ")) && words.iter().all(|word| said.contains(word)),
        "{said}"
    );
    assert!(second.is_empty(), "{what} said again: {second:?}");
}

#[test]
fn all_is_well_is_no_warning() {
    for device in devices() {
        // What a rectifier makes may be zero for every input of so few.
        for &cell in Cell::ALL.iter().filter(|cell| ![Cell::RnnRelu, Cell::IndRnn].contains(cell)) {
            let [first, second] = warned(&device, layer(cell, 4));
            assert!(first.is_empty() && second.is_empty(), "{cell}: {first:?}");
        }
    }
}

#[test]
fn gradients_that_vanish_are_found() {
    for device in devices() {
        let small = layer(Cell::RnnTanh, 30).scaled("weight_hh", 0.3);
        let vanishing =
            |trouble| matches!(trouble, Trouble::Vanishing { left, steps: 29, gated: false } if left < 1e-3);
        only(&device, small, vanishing, &["gradients vanish", "29 steps back", "try an LSTM"]);
    }
}

#[test]
fn gradients_that_explode_are_found() {
    for device in devices() {
        // The identity, and more: states stay small because the input does.
        let large = with(layer(Cell::RnnRelu, 20), "weight_hh_l0", |index| if index % 7 == 0 { 2.0 } else { 0.0 });
        let large = with(with(large, "bias_ih_l0", |_| 1.0), "x", |_| 0.0);
        let exploding = |trouble| matches!(trouble, Trouble::Exploding { grown, .. } if grown > 1e2);
        only(&device, large, exploding, &["gradients explode", "smaller learning rate"]);
    }
}

#[test]
fn gates_at_their_ends_are_found() {
    for device in devices() {
        // The forget gates, second of four blocks of six.
        let open = with(layer(Cell::Lstm, 4), "bias_ih_l0", |index| if index / 6 == 1 { 20.0 } else { 0.0 });
        let saturated = |trouble| matches!(trouble, Trouble::Saturated { value: "f", share } if share > 0.99);
        only(&device, open, saturated, &["f is saturated", "100 %", "try a smaller learning rate"]);
    }
}

#[test]
fn dead_units_are_found() {
    for device in devices() {
        let dead = with(layer(Cell::RnnRelu, 3), "bias_ih_l0", |index| if index < 2 { -90.0 } else { 3.0 });
        let dead = dead.scaled("weight_hh", 0.5);
        let two = |trouble| trouble == Trouble::Dead { units: 2, of: 6 };
        only(&device, dead, two, &["2 of 6 units are dead", "other initial weights"]);
    }
}

/// A state that stays at zero for another reason than a rectifier has a gradient.
#[test]
fn units_that_stay_where_they_began_are_not_dead() {
    for device in devices() {
        let zoneout = Zoneout { h: Some(1.0.into()), c: None };
        let mut stays = layer(Cell::Gru, 3);
        stays.config = stays.config.options(StepOptions { zoneout, ..StepOptions::NONE });
        let all = |trouble| trouble == Trouble::Idle { units: 6, of: 6 };
        only(&device, stays, all, &["6 of 6 units", "try fewer units"]);
    }
}

#[test]
fn what_is_not_finite_is_found() {
    for device in devices() {
        let broken = with(layer(Cell::Gru, 4), "weight_ih_l0", |_| f64::NAN);
        let [first, second] = warned(&device, broken);
        let said: Vec<String> = first.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains("is not finite")), "{said:?} on {device:?}");
        assert!(said.iter().any(|said| said.contains("gradients explode: they are not finite")), "{said:?}");
        assert!(second.is_empty());
    }
}

/// Each layer and direction is told apart.
#[test]
fn the_layer_and_direction_are_said() {
    let device = Device::cpu().expect("CPU");
    let config = RnnConfig::new(Cell::Gru, 2, 6).layers(2).bidirectional(true);
    let layer = Layer::random(config, 4, 3, 5).without(&["dy", "h0"]);
    // Reset gates, the first of three blocks, of the second layer backwards.
    let layer = with(layer, "bias_hh_l1_reverse", |index| if index < 6 { -20.0 } else { 0.0 });
    let [first, _] = warned(&device, layer);
    let [warning] = first[..] else { panic!("{first:?}") };
    assert_eq!((warning.layer, warning.direction), (1, 1));
    assert!(warning.to_string().starts_with("step 7, layer 1 backwards: r is saturated"), "{warning}");
}

/// A loss at the last time alone reaches a direction that goes backwards at its first step: nothing flows from there on.
#[test]
fn a_gradient_that_begins_at_the_first_step_is_no_explosion() {
    for device in devices() {
        let config = RnnConfig::new(Cell::Gru, 2, 6).bidirectional(true);
        let layer = Layer::random(config, 5, 3, 5).without(&["h0", "dhn"]);
        // Of the last time alone.
        let rest = 4 * 3 * 12;
        let dy = layer.given["dy"].clone();
        let layer = with(layer, "dy", |index| if index < rest { 0.0 } else { dy[index] });
        let [first, _] = warned(&device, layer);
        assert!(first.is_empty(), "{first:?} on {device:?}");
    }
}

/// A net whose gradients vanish, and one whose do not.
fn ill_and_well() -> [(Flow, Activity); 2] {
    let device = Device::cpu().expect("CPU");
    [inside(&device, layer(Cell::RnnTanh, 30).scaled("weight_hh", 0.3)), inside(&device, layer(Cell::RnnTanh, 4))]
}

#[test]
fn what_was_said_is_not_said_after_a_restart() {
    let [(flow, activity), _] = ill_and_well();
    let mut watch = Watch::new();
    // A restart between looks changes nothing either.
    let said: Vec<usize> = (0..6)
        .map(|step| {
            watch = Watch::resume(watch.said().collect::<Vec<_>>());
            watch.look(step, Some(&flow), &activity, true).len()
        })
        .collect();
    assert_eq!(said, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn it_takes_several_looks_and_learning_that_suffers() {
    let [(flow, activity), (good_flow, good_activity)] = ill_and_well();
    let mut watch = Watch::new();
    for step in 0..10 {
        assert!(watch.look(step, Some(&flow), &activity, false).is_empty(), "it learns");
    }
    assert_eq!(watch.look(10, Some(&flow), &activity, true).len(), 1);
    let mut watch = Watch::new();
    for step in 0..10 {
        assert!(watch.look(2 * step, Some(&flow), &activity, true).is_empty(), "not in a row");
        assert!(watch.look(2 * step + 1, Some(&good_flow), &good_activity, true).is_empty());
    }
}

#[test]
fn what_is_over_is_withdrawn() {
    let [(flow, activity), (good_flow, good_activity)] = ill_and_well();
    let mut watch = Watch::new();
    let said: usize = (0..3).map(|step| watch.look(step, Some(&flow), &activity, true).len()).sum();
    assert_eq!(said, 1);
    let remarks = watch.look(3, Some(&good_flow), &good_activity, false);
    let texts: Vec<String> = remarks.iter().map(Remark::to_string).collect();
    assert_eq!(texts, ["step 3, layer 0: gradients no longer vanish"]);
    assert!(watch.look(4, Some(&good_flow), &good_activity, false).is_empty() && watch.said().next().is_none());
}
