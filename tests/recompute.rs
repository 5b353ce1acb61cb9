//! Recomputation: less is kept, as much less as the formula says, and every number has the same bits.

mod common;

use std::sync::LazyLock;

use common::{
    GRADIENT_BOUND, Layer, OUTPUT_BOUND, assert_close, assert_same_bits, choice, devices, half_devices, small_bindings,
};
use proptest::prelude::*;
use wgpu_rnn::nn::rnn::{Options, Rnn};
use wgpu_rnn::plan::{Mode, granule};
use wgpu_rnn::{BatchShape, Bias, Cell, Device, Precision, RnnConfig};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// Runs a layer with and without recomputation every `steps` steps; returns the chunks with it.
#[track_caller]
fn same_bits(device: &Device, layer: &Layer, steps: usize) -> usize {
    let again = layer.clone().recompute(steps);
    let chunks = again.plan(device, Mode::Train).expect("a plan").chunks();
    let what = format!("{} in {chunks} chunks on {device:?}", again.describe());
    assert_same_bits(&what, &again.run(device), &layer.run(device));
    chunks
}

fn ceil_to(value: usize, unit: usize) -> usize {
    value.div_ceil(unit) * unit
}

/// On every device some intervals do not divide T, and some are rounded.
#[test]
fn every_number_has_the_same_bits() {
    const STEPS: usize = 29;
    const BATCH: usize = 40;
    for device in &*DEVICES {
        let granule = granule(device, BatchShape::new(STEPS, BATCH));
        assert!((2..=STEPS / 2).contains(&granule), "{granule} on {device:?}");
        for &cell in Cell::ALL {
            for (layers, two, padded) in [(1, false, false), (1, false, true), (3, true, false), (3, true, true)] {
                let config = RnnConfig::new(cell, 3, 5).layers(layers).bidirectional(two);
                let mut layer = Layer::random(config, STEPS, BATCH, 3);
                layer.lengths = padded.then(|| (0..BATCH).map(|b| 1 + (b * 7 + 28) % STEPS).collect());
                for steps in [1, granule + 1, STEPS, 1000] {
                    let chunks = same_bits(device, &layer, steps);
                    assert_eq!(chunks, STEPS.div_ceil(ceil_to(steps, granule)), "{cell} every {steps} on {device:?}");
                }
            }
        }
    }
}

/// One sequence, whose chunks are as long as a partial sum; a batch that is larger than one; without biases.
#[test]
fn few_sequences_and_many() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            for (steps, batch, two) in [(600, 1, true), (200, 3, false), (11, 70, true), (3, 300, false)] {
                let config = RnnConfig::new(cell, 2, 3).layers(2).bidirectional(two).bias(batch != 70);
                let layer = Layer::random(config, steps, batch, 5);
                assert!(same_bits(device, &layer, 1) > 1, "T{steps} B{batch} is not cut on {device:?}");
            }
        }
    }
}

/// Bindings that cut sequences and sections as well.
#[test]
fn small_bindings_cut_chunks_and_keep_the_bits() {
    let oracle = &DEVICES[0];
    let device = small_bindings(8 << 10);
    for &cell in Cell::ALL {
        for (layers, two, padded) in
            [(1, false, false), (1, true, true), (2, false, true), (3, true, false), (3, true, true)]
        {
            // Sections of seven or eight steps, chunks of four.
            let hidden = 16 / (cell.saved() * if two { 2 } else { 1 });
            let config = RnnConfig::new(cell, 8, hidden).layers(layers).bidirectional(two);
            let mut layer = Layer::random(config, 41, 16, 4);
            layer.lengths = padded.then(|| (0..16).map(|b| 1 + (b * 11 + 40) % 41).collect());
            let sections = layer.plan(&device, Mode::Train).expect("a plan").chunks();
            let chunks = same_bits(&device, &layer, 3);
            assert!(1 < sections && sections < chunks, "{}: {sections} and {chunks}", layer.describe());
            let again = layer.clone().recompute(3);
            assert_close(&again.describe(), &again.run(&device), &layer.run(oracle), OUTPUT_BOUND, GRADIENT_BOUND);
        }
    }
}

/// Floats per sequence and unit. Where no binding is too small: of the last layer the states before every chunk; of the
/// others all of h with its first, and c before every chunk. That is all.
#[test]
fn the_reserve_is_its_formula() {
    const BATCH: usize = 70;
    for device in &*DEVICES {
        let granule = granule(device, BatchShape::new(1, BATCH));
        for (cell, c) in [(Cell::Lstm, 1), (Cell::Gru, 0), (Cell::RnnTanh, 0), (Cell::RnnRelu, 0)] {
            for (layers, two) in [(1, false), (1, true), (3, false), (2, true), (3, true)] {
                let config = RnnConfig::new(cell, 5, 6).layers(layers).bidirectional(two);
                for steps in [1, 2, 30, 101] {
                    let plan = |recompute| {
                        let options = Options { recompute, ..Options::default() };
                        Rnn::new(device, config, BatchShape::new(steps, BATCH), Mode::Train, options).expect("a plan")
                    };
                    let everything = plan(None);
                    assert_eq!(everything.recompute(), None);
                    for every in [1, 3, 10, 101, usize::MAX] {
                        let rnn = plan(Some(every));
                        let interval = if every == usize::MAX { steps } else { ceil_to(every, granule).min(steps) };
                        assert_eq!(rnn.recompute(), Some(interval));
                        let chunks = steps.div_ceil(interval);
                        assert_eq!(rnn.chunks(), chunks);
                        let units = BATCH * config.outputs();
                        let (last, others) = (chunks * (1 + c), (steps + 1) + chunks * c);
                        let floats = units * (last + (layers - 1) * others);
                        let what = format!("{cell} L{layers} T{steps} every {every} on {device:?}");
                        assert_eq!(rnn.memory().reserve, floats as u64 * device.float_bytes(), "{what}");
                        assert!(rnn.memory().reserve < everything.memory().reserve, "{what}");
                        let scratch = |rnn: &Rnn| rnn.memory().workspace;
                        let chunk = units * (interval * (cell.reserve() - 1 - c) + (interval + 1) * (1 + c));
                        let second = if two && layers > 2 && chunks > 1 { units * steps } else { 0 };
                        let more = (chunk + second) as u64 * device.float_bytes();
                        // Fewer partial sums of biases are held at once.
                        assert!(scratch(&rnn) <= scratch(&everything) + more, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_predicted_is_what_is_allocated() {
    let small = small_bindings(8 << 10);
    for device in DEVICES.iter().chain([&small]) {
        for &cell in Cell::ALL {
            for (layers, two, bias) in
                [(1, false, Bias::Both), (2, false, Bias::None), (3, true, Bias::Input), (4, false, Bias::Recurrent)]
            {
                let config = RnnConfig::new(cell, 5, 2).layers(layers).bidirectional(two).bias(bias);
                for steps in [1, 8, 1000] {
                    let layer = Layer::random(config, 41, 16, 1).recompute(steps);
                    let predicted = layer.plan(device, Mode::Train).expect("a plan").memory();
                    let running = layer.bind(device, Mode::Train).expect("a bound layer");
                    assert_eq!(running.bound.memory(), predicted, "{} on {device:?}", layer.describe());
                }
            }
        }
    }
}

/// Less the more often states are kept, with the scratch that it takes: the reason to have it.
#[test]
fn all_memory_falls_on_long_sequences() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let total = |recompute| {
                let options = Options { recompute, ..Options::default() };
                let shape = BatchShape::new(1024, 64);
                let rnn = Rnn::new(device, RnnConfig::new(cell, 4, 32), shape, Mode::Train, options).expect("a plan");
                rnn.memory().reserve + rnn.memory().workspace
            };
            let [all, half, root] = [None, Some(512), Some(32)].map(total);
            assert!(half < all && 8 * root < all, "{cell}: {all}, {half}, {root} on {device:?}");
        }
    }
}

/// Without backward chunks share their buffers: the same outputs and final states, in less memory.
#[test]
fn inference_in_chunks_has_the_same_bits() {
    let small = small_bindings(8 << 10);
    let halves = half_devices();
    let full = DEVICES.iter().chain([&small]).map(|device| (device, Precision::Full));
    for (device, precision) in full.chain(halves.iter().map(|device| (device, Precision::Half))) {
        for &cell in Cell::ALL {
            for (layers, two, padded) in
                [(1, false, false), (1, true, true), (2, true, false), (3, false, true), (4, true, true)]
            {
                let config = RnnConfig::new(cell, 3, 2).layers(layers).bidirectional(two);
                let mut layer = Layer { precision, ..Layer::random(config, 41, 16, 6) };
                layer.lengths = padded.then(|| (0..16).map(|b| 1 + (b * 11 + 40) % 41).collect());
                let run = |layer: &Layer, mode| {
                    let running = layer.bind(device, mode).expect("a layer");
                    // A second time over what the first has left behind.
                    (0..2).try_for_each(|_| running.run()).expect("outputs");
                    let mut all = running.read().expect("outputs");
                    all.retain(|name, _| ["y", "hn", "cn"].contains(&name.as_str()));
                    (all, running.bound.rnn().chunks(), running.bound.memory())
                };
                let (want, whole, _) = run(&layer, Mode::Train);
                let (plain, _, memory) = run(&layer, Mode::Infer);
                let cut = layer.clone().recompute(1);
                let what = format!("{} on {device:?}", cut.describe());
                assert_same_bits(&what, &plain, &want);
                let (got, chunks, less) = run(&cut, Mode::Infer);
                assert_same_bits(&what, &got, &want);
                let granule = granule(device, cut.shape);
                assert!(chunks > whole || granule >= 41, "{what}: {chunks} and {whole}");
                assert!(less.workspace < memory.workspace || granule > 10, "{what}: {less:?} and {memory:?}");
                assert_eq!(less.reserve, 0, "{what}");
            }
        }
    }
}

/// The strategies that dispatch every step take as many rows at once as they have use for.
#[test]
fn inference_is_cut_where_a_part_is_enough() {
    for device in &*DEVICES {
        let plan = |steps, mode, recompute| {
            let (strategy, span) = choice(device).unzip();
            let options = Options { strategy, span: span.flatten(), recompute, ..Options::default() };
            let config = RnnConfig::new(Cell::Lstm, 4, 8);
            Rnn::new(device, config, BatchShape::new(steps, 64), mode, options).expect("a plan")
        };
        let [short, long] = [1000, 2000].map(|steps| plan(steps, Mode::Infer, None));
        let states = |rnn: &Rnn| rnn.memory().reserve + rnn.memory().workspace;
        match short.strategy() {
            "sequence" => assert_eq!((short.chunks(), long.chunks()), (1, 1)),
            _ => {
                assert!(short.chunks() > 1 && long.chunks() > short.chunks(), "{device:?}");
                assert_eq!(states(&short), states(&long), "{device:?}");
            }
        }
        assert!(20 * states(&plan(2000, Mode::Infer, Some(1))) < states(&plan(2000, Mode::Train, None)), "{device:?}");
    }
}

#[test]
fn inference_computes_nothing_again_and_zero_steps_are_an_error() {
    for device in &*DEVICES {
        let plan = |mode, recompute| {
            let options = Options { recompute, ..Options::default() };
            Rnn::new(device, RnnConfig::new(Cell::Lstm, 3, 4), BatchShape::new(9, 64), mode, options)
        };
        assert_eq!(plan(Mode::Infer, Some(4)).expect("a plan").recompute(), None);
        for mode in [Mode::Infer, Mode::Train] {
            let why = plan(mode, Some(0)).map(|_| ()).expect_err("no steps").to_string();
            assert_eq!(why, "the steps between kept states must be at least 1, got 0");
        }
    }
}

/// Nothing is left over from the recording before, from other lengths, from padding or from what gradients held; plans
/// that do not overlap in time share the scratch.
#[test]
fn recordings_repeat_on_a_workspace_of_another() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, 3, 4).layers(3).bidirectional(true);
            let lengths: Vec<usize> = (0..40).map(|b| 1 + (b * 5 + 13) % 14).collect();
            let mut layer = Layer::random(config, 14, 40, 1).lengths(&lengths);
            let want = layer.run(device);
            for name in ["x", "dy"] {
                let values = layer.given.get_mut(name).expect(name);
                let width = values.len() / layer.shape.rows();
                for (row, values) in values.chunks_exact_mut(width).enumerate() {
                    if row / lengths.len() >= lengths[row % lengths.len()] {
                        values.fill(f64::NAN);
                    }
                }
            }
            let large = Layer::random(config, 23, 45, 2).recompute(8);
            let workspace = large.plan(device, Mode::Train).expect("a plan").workspace().expect("memory");
            let mut running = layer.recompute(2).bind(device, Mode::Train).expect("a plan");
            running.rebind(&workspace).expect("a larger workspace");
            for (name, buffer) in &running.outputs {
                running.write(name, &vec![f64::NAN; buffer.len()]).expect("a write");
            }
            let mut other = large.bind(device, Mode::Train).expect("a plan");
            other.rebind(&workspace).expect("its own");
            for lengths in [&vec![14; 40], &lengths, &lengths] {
                running.bound.set_lengths(lengths).expect("lengths");
                running.run().expect("a run");
                let got = running.read().expect("results");
                if lengths[1] != 14 {
                    assert_same_bits(&format!("{cell} on {device:?}"), &got, &want);
                }
                other.run().expect("a run");
            }
            let got = other.read().expect("results");
            assert_same_bits(&format!("the other {cell} on {device:?}"), &got, &large.run(device));
        }
    }
}

/// A workspace without the shared chunk is not enough.
#[test]
fn a_workspace_without_a_chunk_is_refused() {
    for device in &*DEVICES {
        for &cell in Cell::ALL {
            let layer = Layer::random(RnnConfig::new(cell, 3, 4), 14, 64, 1);
            let workspace = layer.plan(device, Mode::Train).expect("a plan").workspace().expect("memory");
            let mut running = layer.recompute(2).bind(device, Mode::Train).expect("a plan");
            let why = running.rebind(&workspace).expect_err("too small").to_string();
            assert!(why.starts_with("the workspace must be"), "{why}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, rng_seed: prop::test_runner::RngSeed::Fixed(2), ..ProptestConfig::default() })]

    #[test]
    fn any_shape_agrees_with_the_oracle_and_keeps_its_bits(
        cell in prop::sample::select(Cell::ALL),
        (steps, batch, input, hidden) in (1usize..24, 40usize..120, 1usize..12, 1usize..12),
        (layers, two, bias, padded) in (1usize..4, any::<bool>(), prop::sample::select(&Bias::ALL), any::<bool>()),
        every in 1usize..12,
        seed in any::<u64>(),
    ) {
        let config = RnnConfig::new(cell, input, hidden).layers(layers).bidirectional(two).bias(bias);
        let mut layer = Layer::random(config, steps, batch, seed);
        layer.lengths = padded.then(|| (0..batch).map(|b| 1 + (seed as usize >> (b % 32)) % steps).collect());
        let want = layer.run(&DEVICES[0]);
        for device in &*DEVICES {
            let got = layer.clone().recompute(every).run(device);
            let what = format!("{} every {every} on {device:?}", layer.describe());
            assert_close(&what, &got, &want, OUTPUT_BOUND, GRADIENT_BOUND);
            assert_same_bits(&what, &got, &layer.run(device));
        }
    }
}
