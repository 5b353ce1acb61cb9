//! A step at a time: what a whole sequence gives, without an allocation.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Counter;

use common::{Layer, devices, forms, possible};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Stream, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Bias, Cell, Device, RnnConfig, StepOptions};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Counter<usize> = const { Counter::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; the counter is a plain thread-local number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from there.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn configs((cell, options): (Cell, StepOptions)) -> impl Iterator<Item = (RnnConfig, usize)> {
    let of = move |(layers, bias, batch)| {
        (possible(RnnConfig::new(cell, 5, 19).options(options).layers(layers).bias(bias)), batch)
    };
    [(1, Bias::Both, 1), (1, Bias::None, 3), (3, Bias::Both, 2), (2, Bias::Input, 17), (2, Bias::Recurrent, 2)]
        .into_iter()
        .map(of)
}

/// Steps through x `[T, B, I]` from the given states; gives y `[T, B, H]`.
fn stepped(stream: &mut Stream, layer: &Layer) -> Vec<f32> {
    let single = |name: &str| -> Option<Vec<f32>> {
        layer.given.get(name).map(|values| values.iter().map(|&value| value as f32).collect())
    };
    stream.set_state(single("h0").as_deref(), single("c0").as_deref()).expect("states");
    let x = single("x").expect("x");
    let outputs = stream.batch() * stream.config().outputs();
    let mut y = vec![0.0; layer.shape.steps * outputs];
    let steps = x.chunks_exact(stream.batch() * stream.config().input).zip(y.chunks_exact_mut(outputs));
    for (x, y) in steps {
        stream.step(x, y).expect("a step");
    }
    y
}

#[test]
fn steps_are_what_the_whole_sequence_is() {
    for form in forms() {
        for (config, batch) in configs(form) {
            steps_are(&Layer::random(config, 40, batch, 3));
        }
        // Of one sequence for long, in the size that real-time use is measured in.
        steps_are(&Layer::random(RnnConfig::new(form.0, 32, 64).options(form.1), 1000, 1, 4));
    }
}

fn steps_are(layer: &Layer) {
    let (config, batch, cell) = (layer.config, layer.shape.batch, layer.config.cell);
    for device in devices() {
        let running = layer.bind(&device, Mode::Infer).expect("a layer");
        running.run().expect("forward");
        let want = running.read().expect("outputs");
        let mut stream = Stream::new(&running.params, "", config, batch).expect("a stream");
        let got = stepped(&mut stream, layer);
        let what = format!("{} on {device:?}", layer.describe());
        for (at, (got, want)) in got.iter().zip(&want["y"]).enumerate() {
            assert!((f64::from(*got) - want).abs() < 1e-6, "{what}: y[{at}] is {got}, not {want}");
        }
        for index in 0..config.layers {
            let finals = [("hn", stream.h(index)), ("cn", stream.c(index))];
            for (of, (name, state)) in finals.into_iter().enumerate() {
                let one = batch * config.width(of);
                assert_eq!(state.is_some(), name == "hn" || cell.has_c());
                let wanted = want.get(name).map_or(&[][..], |all| &all[index * one..]);
                for (got, want) in state.into_iter().flatten().zip(wanted) {
                    assert!((f64::from(*got) - want).abs() < 1e-6, "{what}: {name} of layer {index}");
                }
            }
        }
        if device.name() == Device::cpu().expect("the CPU").name() {
            let same = got.iter().zip(&want["y"]).all(|(got, want)| f64::from(*got) == *want);
            assert!(same, "{what}: not the same bits");
        }
    }
}

/// Several steps a call, more at once than are run at once too, leave what single steps leave.
#[test]
fn several_steps_a_call_are_so_many_steps() {
    for form in forms() {
        for (config, batch) in configs(form) {
            let layer = Layer::random(config, 240, batch, 6);
            let running = layer.bind(&Device::cpu().expect("the CPU"), Mode::Infer).expect("a layer");
            let open = || Stream::new(&running.params, "", config, batch).expect("a stream");
            let (mut one, mut several) = (open(), open());
            let want = stepped(&mut one, &layer);
            let single = |name: &str| -> Option<Vec<f32>> {
                layer.given.get(name).map(|values| values.iter().map(|&value| value as f32).collect())
            };
            several.set_state(single("h0").as_deref(), single("c0").as_deref()).expect("states");
            let (inputs, outputs) = (batch * config.input, batch * config.outputs());
            let (x, mut y) = (single("x").expect("x"), vec![0.0; 240 * outputs]);
            let mut first = 0;
            for steps in [1, 2, 7, 95, 97, 38] {
                let (end, before) = (first + steps, ALLOCATIONS.with(Counter::get));
                let to = &mut y[first * outputs..end * outputs];
                several.step(&x[first * inputs..end * inputs], to).expect("steps");
                assert_eq!(ALLOCATIONS.with(Counter::get), before);
                first = end;
            }
            assert_eq!(first, 240);
            assert_eq!(y, want, "{}", layer.describe());
            for index in 0..config.layers {
                assert_eq!((one.h(index), one.c(index)), (several.h(index), several.c(index)));
            }
            let why = several.step(&x[..2 * inputs], &mut y[..outputs]).expect_err("a y of fewer steps").to_string();
            let shape = [2, batch, config.outputs()];
            assert_eq!(why, format!("`y` must have shape {shape:?}, got [{outputs}]"));
            let why = several.step(&[], &mut []).expect_err("no step").to_string();
            assert_eq!(why, format!("`x` must have shape [1, {batch}, {}], got [0]", config.input));
        }
    }
}

#[test]
fn a_step_allocates_nothing() {
    for form in forms() {
        for (config, batch) in configs(form) {
            let layer = Layer::random(config, 4, batch, 5);
            let running = layer.bind(&Device::cpu().expect("the CPU"), Mode::Infer).expect("a layer");
            let mut stream = Stream::new(&running.params, "", config, batch).expect("a stream");
            let (x, mut y) = (vec![0.5; batch * config.input], vec![0.0; batch * config.outputs()]);
            let before = ALLOCATIONS.with(Counter::get);
            for _ in 0..100 {
                stream.step(&x, &mut y).expect("a step");
            }
            assert_eq!(ALLOCATIONS.with(Counter::get), before, "{}", layer.describe());
        }
    }
}

#[test]
fn other_weights_and_states_can_be_set() {
    let config = RnnConfig::new(Cell::Lstm, 3, 4).layers(2);
    let [one, other] = [1, 2].map(|seed| Layer::random(config, 6, 2, seed));
    let cpu = Device::cpu().expect("the CPU");
    let [mut first, mut second] = [&one, &other].map(|layer| {
        let running = layer.bind(&cpu, Mode::Infer).expect("a layer");
        (Stream::new(&running.params, "", config, 2).expect("a stream"), running)
    });
    let [alone, theirs] = [stepped(&mut first.0, &one), stepped(&mut second.0, &other)];
    assert_ne!(alone, theirs);
    // What a stream did before is gone with its states.
    assert_eq!(stepped(&mut first.0, &one), alone);
    first.0.load(&second.1.params, "").expect("parameters");
    assert_eq!(stepped(&mut first.0, &other), theirs);
    first.0.set_state(None, None).expect("zero states");
    assert!(first.0.h(1).expect("h").iter().chain(first.0.c(0).expect("c")).all(|&value| value == 0.0));
}

#[test]
fn bad_input_is_an_error_and_no_step() {
    let cpu = Device::cpu().expect("the CPU");
    let config = RnnConfig::new(Cell::Gru, 3, 4);
    let params = Parameters::new(&cpu, tensors(&config, "rnn.")).expect("parameters");
    let mut stream = Stream::new(&params, "rnn.", config, 2).expect("a stream");
    let mut y = [7.0; 8];
    let why = stream.step(&[0.0; 5], &mut y).expect_err("too few inputs").to_string();
    assert_eq!((why.as_str(), y), ("`x` must have shape [1, 2, 3], got [5]", [7.0; 8]));
    let why = stream.step(&[0.0; 6], &mut y[1..]).expect_err("too few outputs").to_string();
    assert_eq!(why, "`y` must have shape [1, 2, 4], got [7]");
    let why = stream.set_state(Some(&[0.0; 3]), None).expect_err("a short state").to_string();
    assert_eq!(why, "`h` must have shape [1, 2, 4], got [3]");
    assert!(stream.set_state(None, Some(&[0.0; 8])).is_err(), "a GRU has no c");
    assert_eq!((stream.h(1), stream.c(0)), (None, None));
    assert!(Stream::new(&params, "rnn.", config.bidirectional(true), 1).is_err());
    assert!(Stream::new(&params, "rnn.", config, 0).is_err());
    assert!(Stream::new(&params, "", config, 1).is_err(), "no such names");
    assert!(Stream::new(&params, "rnn.", RnnConfig::new(Cell::Gru, 3, 5), 1).is_err(), "another size");
}
