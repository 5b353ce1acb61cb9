//! The f64 reference against central finite differences of itself: every gradient that backward gives, for every cell.

mod common;

use common::{Layer, Running, SEED, Tensors, relative_error};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Bias, Cell, Clip, Device, Direction, Recipe, RnnConfig, StepOptions};

/// Half the distance between the two points of a difference. Its square and 1e-16 over it are both far below the bound.
const STEP: f64 = 1e-5;
const BOUND: f64 = 1e-7;

/// The loss whose gradient `dy`, `dhn` and `dcn` are.
fn loss(layer: &Layer, out: &Tensors) -> f64 {
    let pairs = [("y", "dy"), ("last", "dlast"), ("hn", "dhn"), ("cn", "dcn")];
    let both = pairs.iter().filter_map(|(out_name, given)| Some((out.get(*out_name)?, layer.given.get(*given)?)));
    both.flat_map(|(values, weights)| values.iter().zip(weights)).map(|(value, weight)| value * weight).sum()
}

fn loss_with(layer: &Layer, running: &Running, name: &str, values: &[f64]) -> f64 {
    running.write(name, values).expect("a write");
    // The first draw each time.
    running.bound.set_seed(SEED).expect("a seed");
    running.device.run(|recorder| running.bound.forward.record(recorder)).expect("forward");
    loss(layer, &running.read().expect("outputs"))
}

/// Finite differences of the loss for every element of an input.
fn differences(layer: &Layer, running: &Running, name: &str) -> Vec<f64> {
    let given = &layer.given[name];
    let mut values = given.clone();
    let mut slope = |at: usize| {
        values[at] = given[at] + STEP;
        let above = loss_with(layer, running, name, &values);
        values[at] = given[at] - STEP;
        let below = loss_with(layer, running, name, &values);
        values[at] = given[at];
        (above - below) / (2.0 * STEP)
    };
    let slopes = (0..given.len()).map(&mut slope).collect();
    running.write(name, given).expect("a write");
    slopes
}

/// Checks every gradient of a layer; returns how many tensors those are.
fn check(layer: &Layer) -> usize {
    let oracle = Device::oracle().expect("oracle");
    let got = layer.run(&oracle);
    // A plan that infers draws nothing.
    let mode = if layer.config.draws() { Mode::Train } else { Mode::Infer };
    let running = layer.bind(&oracle, mode).expect("a plan");
    let upstream = ["dy", "dlast", "dhn", "dcn"];
    let names: Vec<&String> = layer.given.keys().filter(|name| !upstream.contains(&name.as_str())).collect();
    for name in &names {
        let state = ["x", "h0", "c0"].contains(&name.as_str());
        let gradient = if state { format!("d{name}") } else { format!("grad.{name}") };
        let error = relative_error(&got[&gradient], &differences(layer, &running, name));
        assert!(error <= BOUND, "{}: `{gradient}` is off by {error:.3e}", layer.describe());
    }
    names.len()
}

fn each_cell(configure: impl Fn(RnnConfig) -> RnnConfig, lengths: Option<&[usize]>) {
    for &cell in Cell::ALL {
        let config = configure(RnnConfig::new(cell, 2, 3));
        let mut layer = Layer::random(config, 4, 3, 1);
        layer.lengths = lengths.map(<[usize]>::to_vec);
        // x, h0, for LSTM c0, and of each layer and direction two weights and its biases.
        let tensors = layer.config.recipe().tensors(2, 3).count();
        let weights = config.layers * config.directions() * tensors;
        assert_eq!(check(&layer), 2 + usize::from(cell.has_c()) + weights);
    }
}

#[test]
fn one_layer() {
    each_cell(|config| config, None);
}

#[test]
fn one_layer_with_some_biases_or_none() {
    for bias in [Bias::None, Bias::Input, Bias::Recurrent] {
        each_cell(|config| config.bias(bias), None);
    }
}

#[test]
fn dropout() {
    each_cell(|config| config.layers(3).bidirectional(true).dropout(0.5), Some(&[2, 4, 1]));
    each_cell(|config| config.layers(2).bidirectional(true).input_dropout(0.3).weight_dropout(0.4), Some(&[2, 4, 1]));
}

/// From the end alone, of the last output alone, from states that were carried over, the batch first inside.
#[test]
fn sequences_of_every_kind() {
    for (index, &cell) in Cell::ALL.iter().enumerate() {
        let config = RnnConfig::new(cell, 2, 3).layers(2);
        let reverse = config.direction(Direction::Reverse);
        let last = |mut layer: Layer| {
            let outputs = layer.shape.batch * layer.config.outputs();
            layer.given.insert("dlast".to_string(), layer.given["dy"][..outputs].to_vec());
            Layer { last: true, ..layer }.without(&["dy"])
        };
        let resets = StepOptions { resets: true, ..StepOptions::NONE };
        let layers = [
            Layer { batch_first: true, ..Layer::random(reverse, 4, 3, 1).lengths(&[2, 4, 1]) },
            last(Layer::random(config.bidirectional(true), 4, 3, 2).lengths(&[3, 1, 4])),
            last(Layer { batch_first: true, ..Layer::random(reverse.input_dropout(0.3), 4, 3, 3) }),
            Layer::random(config.learn_state(true).options(resets), 4, 3, 4).carried(4),
            Layer {
                batch_first: true,
                ..Layer::random(reverse.learn_state(true), 4, 3, 5).carried(5).lengths(&[4, 2, 3])
            },
        ];
        for layer in layers {
            // Learnt states beside carried ones without resets are begun with nowhere.
            let tensors = layer.config.recipe().tensors(2, 3).count() * 2 * layer.config.directions();
            assert_eq!(check(&layer), 2 + usize::from(cell.has_c()) + tensors, "{index}");
        }
    }
}

#[test]
fn learnt_initial_states() {
    for &cell in Cell::ALL {
        let config = RnnConfig::new(cell, 2, 3).layers(2).bidirectional(true).learn_state(true);
        let layer = Layer::random(config, 4, 3, 1).lengths(&[2, 4, 1]);
        assert_eq!(check(&layer), 1 + config.recipe().tensors(2, 3).count() * 4);
    }
}

/// Every recipe, in layers whose arguments and states reach its limits.
#[test]
fn every_option_of_a_step() {
    for recipe in Recipe::texts().filter(|recipe| !recipe.is_plain()) {
        // A limit of gradients is not the gradient of anything.
        let clip = Clip { gradient: None, ..recipe.options().clip };
        let config = RnnConfig::new(recipe.cell(), 2, 3).options(StepOptions { clip, ..recipe.options() });
        for config in [config, config.layers(2).bidirectional(true)] {
            let layer = Layer::random(config, 4, 3, 5).lengths(&[3, 1, 4]).scaled("weight", 2.0);
            let tensors = config.recipe().tensors(2, 3).count() * config.layers * config.directions();
            assert_eq!(check(&layer), 2 + usize::from(recipe.has_c()) + tensors);
        }
    }
}

#[test]
fn lengths() {
    each_cell(|config| config, Some(&[2, 4, 1]));
}

#[test]
fn two_directions() {
    each_cell(|config| config.bidirectional(true), None);
}

#[test]
fn two_directions_with_lengths() {
    each_cell(|config| config.bidirectional(true), Some(&[3, 1, 4]));
}

#[test]
fn three_layers() {
    each_cell(|config| config.layers(3), None);
}

#[test]
fn two_layers_two_directions_lengths_no_biases() {
    each_cell(|config| config.layers(2).bidirectional(true).bias(false), Some(&[4, 2, 3]));
}

#[test]
fn two_layers_two_directions_lengths() {
    each_cell(|config| config.layers(2).bidirectional(true), Some(&[1, 4, 3]));
}

/// What nobody asked for is zero, not absent: gradients of one upstream gradient at a time.
#[test]
fn each_upstream_gradient_alone() {
    for &cell in Cell::ALL {
        for kept in ["dy", "dhn", "dcn"] {
            if kept == "dcn" && !cell.has_c() {
                continue;
            }
            let dropped: Vec<&str> = ["dy", "dhn", "dcn"].into_iter().filter(|&name| name != kept).collect();
            let config = RnnConfig::new(cell, 2, 3).layers(2).bidirectional(true);
            check(&Layer::random(config, 3, 2, 2).lengths(&[3, 2]).without(&dropped));
        }
    }
}
