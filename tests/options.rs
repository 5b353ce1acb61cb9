//! The options of a step: every one of [`Recipe::texts`], which has each with and without each other, on every executor and
//! with every strategy, and in each setting that a layer may be in.

mod common;

use std::sync::LazyLock;

use common::{
    GRADIENT_BOUND, Layer, OUTPUT_BOUND, Tensors, agree, assert_close, assert_same_bits, devices, half_devices,
    plain_to_infer, relative_error, small_bindings,
};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Stream, tensors};
use wgpu_rnn::plan::{Mode, granule};
use wgpu_rnn::probe::{Flow, values};
use wgpu_rnn::{
    Activation, BatchShape, Bias, Cell, Clip, Device, Direction, Function, Recipe, RnnConfig, StepOptions, ValueKind,
    Zoneout,
};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// How far half precision may be from the oracle.
const HALF_BOUND: f64 = 1e-2;

/// The recipes that are not simply a cell.
fn varied() -> Vec<Recipe> {
    let all: Vec<Recipe> = Recipe::texts().filter(|recipe| !recipe.is_plain()).collect();
    assert!(all.len() >= 12);
    all
}

fn config(recipe: Recipe, input: usize, hidden: usize) -> RnnConfig {
    RnnConfig::new(recipe.cell(), input, hidden).options(recipe.options())
}

/// A layer whose arguments and states reach the recipes' limits.
fn layer(config: RnnConfig, steps: usize, batch: usize, seed: u64) -> Layer {
    Layer::random(config, steps, batch, seed).scaled("weight", 2.0).scaled("bias", 2.0)
}

/// Pairs that are refused, by their places in the list of the test below: a projection, or its limit, with zoneout of h; that limit
/// without a projection.
const REFUSED: [([usize; 2], [bool; 2]); 3] =
    [([3, 14], [true, true]), ([13, 14], [true, true]), ([3, 13], [false, true])];

#[test]
fn every_option_occurs_with_and_without_every_other() {
    let limit = Clip { projection: Some(1.0.into()), ..Clip::default() };
    let alone = StepOptions { clip: limit, ..StepOptions::NONE };
    assert!(RnnConfig::new(Cell::Lstm, 1, 1).options(alone).check().is_err());
    let both =
        StepOptions { projection: Some(1), zoneout: Zoneout { h: Some(0.5.into()), c: None }, ..StepOptions::NONE };
    assert!(RnnConfig::new(Cell::Lstm, 1, 1).options(both).check().is_err());
    for cell in [Cell::Lstm, Cell::Gru, Cell::RnnTanh] {
        let all: Vec<Vec<bool>> = Recipe::texts()
            .filter(|recipe| recipe.cell() == cell)
            .map(|recipe| {
                let StepOptions {
                    peephole,
                    coupled,
                    reset_before,
                    projection,
                    gate,
                    candidate,
                    output,
                    clip,
                    resets,
                    zoneout,
                    recurrent_dropout,
                } = recipe.options();
                let functions = [gate, candidate, output].map(|function| function.is_some());
                let numbers = clip.all().into_iter().chain(zoneout.all()).map(|(_, number)| number.is_some());
                [peephole, coupled, reset_before, projection.is_some(), resets, recurrent_dropout.is_some()]
                    .into_iter()
                    .chain(functions)
                    .chain(numbers)
                    .collect()
            })
            .collect();
        let width = all[0].len();
        let has: Vec<usize> = (0..width).filter(|&option| all.iter().any(|recipe| recipe[option])).collect();
        assert!(has.len() >= 3, "{cell}");
        for (one, other) in
            has.iter().flat_map(|&one| has.iter().map(move |&other| (one, other))).filter(|(a, b)| a < b)
        {
            for pair in [[false, false], [false, true], [true, false], [true, true]] {
                if REFUSED.contains(&([one, other], pair)) {
                    continue;
                }
                let found = all.iter().any(|recipe| [recipe[one], recipe[other]] == pair);
                assert!(found, "{cell}: options {one} and {other} are never {pair:?}");
            }
        }
    }
    for &function in Function::ALL {
        let used = Recipe::texts().any(|recipe| {
            let activations = recipe.activations();
            [activations.gate, activations.candidate, activations.output].iter().any(|a| a.function() == function)
        });
        assert!(used, "{function:?} is in no recipe");
    }
}

/// Sizes at the edges of tiles, with and without lengths, stacked, in each direction, with each kind of biases, learnt initial
/// states and every dropout.
#[test]
fn every_executor_agrees_with_the_oracle_and_that_with_plain_loops() {
    for (index, recipe) in varied().into_iter().enumerate() {
        for (round, (layers, two, padded, [batch, hidden])) in
            [(1, false, false, [3, 5]), (2, true, true, [9, 17]), (1, false, true, [1, 33]), (3, false, false, [2, 8])]
                .into_iter()
                .enumerate()
        {
            let bias = Bias::ALL[(index + round) % 4];
            let config = config(recipe, 4, hidden).layers(layers).bidirectional(two).bias(bias);
            let config = match round {
                0 => config.learn_state(index % 2 == 0),
                1 => config.input_dropout(0.2),
                2 => config.direction(Direction::Reverse),
                _ => config.dropout(0.3).weight_dropout(0.2),
            };
            let mut layer = layer(config, 6, batch, (index * 4 + round) as u64);
            layer.lengths = padded.then(|| (0..batch).map(|b| 1 + (b * 5 + 3) % 6).collect());
            agree(&DEVICES, &layer);
        }
    }
}

/// What is clipped in these layers is not nothing, and not everything.
#[test]
fn limits_are_reached() {
    for recipe in varied() {
        let layer = layer(config(recipe, 4, 9), 6, 3, 1);
        let got = layer.run(&DEVICES[0]);
        let mut without = layer.clone();
        without.config.options.clip = Clip::default();
        let free = without.run(&DEVICES[0]);
        if recipe.options().clip != Clip::default() {
            let moved = relative_error(&got["dx"], &free["dx"]);
            assert!(moved > 1e-2, "{recipe}: limits move the gradient of x by {moved:e}");
        }
        assert!(got["dx"].iter().filter(|dx| **dx != 0.0).count() > got["dx"].len() / 2, "{recipe}");
    }
}

/// Learnt initial states and dropouts in turn, beside what else a layer is.
fn beside(config: RnnConfig, index: usize) -> RnnConfig {
    match index % 4 {
        0 => config.learn_state(true),
        1 => config.dropout(0.3).input_dropout(0.2),
        2 => config.weight_dropout(0.2),
        _ => config,
    }
}

#[test]
fn recomputation_and_small_bindings_keep_the_bits() {
    for (index, recipe) in varied().into_iter().enumerate() {
        let config = config(recipe, 3, 5).layers(1 + index % 2).bidirectional(index % 3 == 0);
        let config = beside(config, index);
        let mut layer = layer(config, 29, 40, index as u64);
        layer.lengths = (index % 2 == 1).then(|| (0..40).map(|b| 1 + (b * 7 + 28) % 29).collect());
        for device in DEVICES.iter().skip(index % 2).step_by(2) {
            let again = layer.clone().recompute(granule(device, BatchShape::new(29, 40)));
            assert!(again.plan(device, Mode::Train).expect("a plan").chunks() > 1);
            assert_same_bits(&again.describe(), &again.run(device), &layer.run(device));
        }
        let small = small_bindings(16 << 10);
        let want = layer.run(&DEVICES[0]);
        assert_close(
            &format!("{} in small bindings", layer.describe()),
            &layer.run(&small),
            &want,
            OUTPUT_BOUND,
            GRADIENT_BOUND,
        );
    }
}

/// Whether no argument of a layer is so near a corner of its function, or a limit, that the rounding of f16 would put it on the
/// other side: then the oracle itself makes much of little.
fn is_smooth(layer: &Layer) -> bool {
    let want = layer.run(&DEVICES[0]);
    (0..6).all(|seed| {
        let mut random = common::Random::new(seed);
        let mut moved = layer.clone();
        let rounded = |value: &mut f64| *value *= 1.0 + 0.001 * random.next();
        moved.given.values_mut().flatten().for_each(rounded);
        moved.run(&DEVICES[0]).iter().all(|(name, got)| relative_error(got, &want[name]) < HALF_BOUND / 2.0)
    })
}

#[test]
fn half_precision_stays_near_the_oracle() {
    for (index, recipe) in varied().into_iter().enumerate() {
        let config = config(recipe, 3, 5).layers(1 + index % 2).bidirectional(index % 3 == 0);
        let config = beside(config, index);
        let of = |seed| Layer { lengths: (index % 2 == 1).then(|| vec![4, 2]), ..layer(config, 4, 2, seed) };
        let mut layers = (0..400).map(of).filter(is_smooth);
        let layer = layers.next().unwrap_or_else(|| panic!("{recipe}: every layer is near a corner"));
        let want = layer.run(&DEVICES[0]);
        for (place, device) in half_devices().iter().enumerate() {
            let half = layer.clone().half((index + place) % 2 == 0);
            assert_close(
                &format!("{} on {device:?}", half.describe()),
                &half.run(device),
                &want,
                HALF_BOUND,
                HALF_BOUND,
            );
        }
    }
}

/// Weights packed as they are needed give the bits of those that are packed ahead.
#[test]
fn repacked_weights_give_the_same_bits() {
    let device = common::forced(common::tiled(wgpu_rnn::gpu::AdapterKind::Software), "stepwise", None);
    for recipe in varied().into_iter().filter(|recipe| recipe.has_product() && recipe.projection().is_none()) {
        let layer = layer(config(recipe, 4, 20).layers(2), 5, 3, 2);
        let y = |repack| infers(&Layer { repack: Some(repack), ..layer.clone() }, &device);
        assert_same_bits(&layer.describe(), &y(true), &y(false));
    }
}

/// What a layer gives to infer.
fn infers(layer: &Layer, device: &Device) -> Tensors {
    let running = layer.bind(device, Mode::Infer).expect("a layer");
    running.device.run(|recorder| running.bound.forward.record(recorder)).expect("a run");
    running.read().expect("a read")
}

/// To infer nothing is drawn: what may stay of a state is a share of it.
#[test]
fn to_infer_states_are_means() {
    for recipe in varied().into_iter().filter(|recipe| recipe.zones()) {
        let mut layer = layer(config(recipe, 4, 9).layers(2), 6, 3, 5);
        layer.lengths = Some(vec![6, 2, 5]);
        let want = plain_to_infer(&layer);
        for device in DEVICES.iter() {
            assert_close(
                &format!("{} on {device:?}", layer.describe()),
                &infers(&layer, device),
                &want,
                OUTPUT_BOUND,
                0.0,
            );
        }
    }
}

/// A step at a time gives the bits of the whole sequence.
#[test]
fn streams_give_the_same_bits() {
    let cpu = Device::cpu().expect("the CPU");
    for recipe in varied() {
        // A stream begins anew when it is told to, here never.
        let mut layer = layer(config(recipe, 4, 19).layers(2), 7, 3, 4);
        layer.resets.fill(false);
        let want = infers(&layer, &cpu);
        let params = Parameters::new(&cpu, tensors(&layer.config, "")).expect("parameters");
        for (name, shape) in tensors(&layer.config, "") {
            params.set_f64(&name, &shape, &layer.given[&name]).expect("a tensor");
        }
        let mut stream = Stream::new(&params, "", layer.config, 3).expect("a stream");
        let single = |name: &str| layer.given.get(name).map(|all| all.iter().map(|x| *x as f32).collect::<Vec<_>>());
        stream.set_state(single("h0").as_deref(), single("c0").as_deref()).expect("states");
        let mut y = vec![0.0; 3 * layer.config.outputs()];
        for (step, x) in single("x").expect("x").chunks_exact(3 * 4).enumerate() {
            stream.step(x, &mut y).expect("a step");
            let want = &want["y"][step * y.len()..][..y.len()];
            assert!(
                y.iter().zip(want).all(|(got, want)| f64::from(*got).to_bits() == want.to_bits()),
                "{recipe} at {step}"
            );
        }
    }
}

/// Norms of gradients are the same everywhere, and change no other number; with a limit of gradients, and with a projection, they
/// are refused.
#[test]
fn flow_is_the_same_everywhere_or_refused() {
    for (index, recipe) in varied().into_iter().enumerate() {
        let mut layer = layer(config(recipe, 3, 7).layers(2).bidirectional(index % 2 == 0), 6, 3, 3);
        layer.lengths = (index % 3 > 0).then(|| vec![6, 2, 5]);
        let seen = Layer { flow: true, ..layer.clone() };
        if recipe.projection().is_some() {
            let error = seen.try_run(&DEVICES[0]).expect_err("a projection").to_string();
            assert!(error.starts_with("norms of gradients is not available for a projection"), "{error}");
            continue;
        }
        if recipe.options().clip.gradient.is_some() {
            let error = seen.try_run(&DEVICES[0]).expect_err("a limit of gradients").to_string();
            assert!(error.starts_with("norms of gradients is not available for `clip_gradient`"), "{error}");
            continue;
        }
        let of = |device: &Device| {
            let running = seen.bind(device, Mode::Train).expect("a layer");
            running.run().expect("a step");
            assert_same_bits(&layer.describe(), &running.read().expect("a read"), &layer.run(device));
            assert!(Flow::read(&running.bound).is_ok());
            device.read_f64(running.bound.norms().expect("norms")).expect("a read")
        };
        let want = of(&DEVICES[0]);
        for device in &DEVICES[1..] {
            assert!(relative_error(&of(device), &want) <= GRADIENT_BOUND, "{recipe} on {device:?}");
        }
    }
}

/// What probes gather of each value is the same everywhere, whatever slots there are.
#[test]
fn gates_are_the_same_everywhere() {
    for (index, recipe) in varied().into_iter().enumerate() {
        let mut layer = layer(config(recipe, 3, 7).layers(2).bidirectional(index % 2 == 0), 6, 3, 6);
        layer.lengths = Some(vec![6, 2, 5]);
        let of = |device: &Device| {
            let running = layer.bind(device, Mode::Train).expect("a layer");
            let activity = running.activity();
            let mut all = Vec::new();
            for value in values(recipe) {
                for (of, direction) in (0..2).flat_map(|of| (0..layer.config.directions()).map(move |d| (of, d))) {
                    let units = activity.units(of, direction, value);
                    let width = if value.name == "h" { layer.config.width(0) } else { 7 };
                    assert_eq!(units.len(), width, "{recipe}: {}", value.name);
                    all.extend(units.iter().flat_map(|unit| [unit.mean, unit.spread]));
                }
            }
            all
        };
        let want = of(&DEVICES[0]);
        for device in &DEVICES[1..] {
            let apart = relative_error(&of(device), &want);
            assert!(apart <= GRADIENT_BOUND, "{} on {device:?}: {apart:e}", layer.describe());
        }
    }
}

/// What a gate is said to be is what its function makes of it.
#[test]
fn a_gate_is_called_one_only_where_it_is() {
    let kinds = |options: StepOptions, cell: Cell| {
        let config = RnnConfig::new(cell, 2, 3).options(options);
        values(config.recipe()).into_iter().map(|value| (value.name, value.kind)).collect::<Vec<_>>()
    };
    use ValueKind::{Free, Keep, Squashed, Write};
    let coupled =
        StepOptions { coupled: true, clip: Clip { inputs: Some(3.0.into()), ..Clip::default() }, ..StepOptions::NONE };
    let names: Vec<_> = kinds(coupled, Cell::Lstm).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["f", "g", "o", "h", "c"]);
    let both = Zoneout { h: Some(0.1.into()), c: Some(0.1.into()) };
    let zoneout = StepOptions { zoneout: both, ..StepOptions::NONE };
    let names: Vec<_> = kinds(zoneout, Cell::Lstm).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["i", "f", "g", "o", "c_made", "h", "c"]);
    let zoneout = StepOptions { zoneout: Zoneout { c: None, ..both }, ..StepOptions::NONE };
    assert_eq!(kinds(zoneout, Cell::RnnTanh), [("h_made", Squashed), ("h", Free)]);
    let hard = StepOptions { gate: Some(Function::HardSigmoid.into()), ..StepOptions::NONE };
    assert!(kinds(hard, Cell::Lstm).starts_with(&[("i", Write), ("f", Keep), ("g", Squashed)]));
    let rectified =
        StepOptions { gate: Some(Function::Relu.into()), candidate: Some(Function::Elu.into()), ..StepOptions::NONE };
    assert_eq!(kinds(rectified, Cell::Gru), ["r", "z", "n", "hn", "h"].map(|name| (name, Free)));
    let scaled = |alpha| Activation::with(Function::ScaledTanh, &[alpha]).expect("a function");
    for (alpha, kind) in [(1.0, Squashed), (1.7, Free)] {
        let options = StepOptions { candidate: Some(scaled(alpha)), ..StepOptions::NONE };
        assert_eq!(kinds(options, Cell::RnnTanh), [("h", kind)]);
    }
}

#[test]
fn what_no_step_can_be_is_refused() {
    let message = |cell: Cell, options: StepOptions| {
        RnnConfig::new(cell, 2, 3).options(options).check().expect_err("no such step").to_string()
    };
    let of = |function: Function| Some(Activation::from(function));
    let none = StepOptions::NONE;
    assert_eq!(
        message(Cell::Gru, StepOptions { peephole: true, ..none }),
        "a peephole is not available for GRU, which has no cell state to look at"
    );
    assert_eq!(
        message(Cell::RnnTanh, StepOptions { coupled: true, ..none }),
        "a coupled input gate is not available for RNN, which has no input gate beside a forget gate"
    );
    assert_eq!(
        message(Cell::RnnTanh, StepOptions { gate: of(Function::Relu), ..none }),
        "another gate function is not available for RNN, which has no gates"
    );
    assert_eq!(
        message(Cell::Gru, StepOptions { output: of(Function::Relu), ..none }),
        "another output function is not available for GRU, whose h no function is applied to"
    );
    assert_eq!(
        message(Cell::RnnRelu, StepOptions { candidate: of(Function::Tanh), ..none }),
        "another function is not available for RNN (relu), whose name says which it has: take the RNN"
    );
    let cell = Clip { cell: Some(1.0.into()), ..Clip::default() };
    assert_eq!(
        message(Cell::Gru, StepOptions { clip: cell, ..none }),
        "`clip_cell` is not available for GRU, which has no cell state"
    );
    assert_eq!(
        message(Cell::Gru, StepOptions { zoneout: Zoneout { c: Some(0.1.into()), ..Zoneout::NONE }, ..none }),
        "`zoneout_cell` is not available for GRU, which has no cell state"
    );
    for share in [0.0, 1.5, f32::NAN] {
        let zoneout = Zoneout { h: Some(share.into()), ..Zoneout::NONE };
        let (one, other) =
            (StepOptions { zoneout, ..none }, StepOptions { recurrent_dropout: Some(share.into()), ..none });
        for (name, options) in [("zoneout", one), ("recurrent_dropout", other)] {
            let want = format!("{name} must be above 0 and at most 1, got {share}");
            assert_eq!(message(Cell::Lstm, options), want);
        }
    }
    for limit in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let clip = Clip { inputs: Some(limit.into()), ..Clip::default() };
        let want = format!("clip_inputs must be above 0 and finite, got {limit}");
        assert_eq!(message(Cell::Lstm, StepOptions { clip, ..none }), want);
    }
}
