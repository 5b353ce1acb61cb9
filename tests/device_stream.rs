//! Steps as they come, on a device: what a whole sequence gives, with nothing allocated or uploaded on the way.

mod common;

use std::sync::LazyLock;

use common::{Layer, Running, Tensors, devices, half_devices, planned, relative_error, small_bindings, tiled};
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{DeviceStream, Gradients, Options, Rnn, Stream, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, Recipe, Recorder, RnnConfig, StepOptions};

/// The oracle first.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(devices);

/// A stream, and the app's buffers for a call.
struct Streaming {
    stream: DeviceStream,
    x: Buffer,
    y: Buffer,
    params: Parameters,
}

/// The layer's weights, and `steps` of its steps a call.
fn streaming(layer: &Layer, device: &Device, steps: usize, options: Options<'_>) -> Streaming {
    let (config, batch) = (layer.config, layer.shape.batch);
    let table = tensors(&config, "");
    let params = Parameters::frozen(device, table.clone()).expect("parameters");
    for (name, shape) in &table {
        params.set_f64(name, shape, &layer.given[name]).expect("a tensor");
    }
    let x = device.alloc("x", steps * batch * config.input).expect("x");
    let y = device.alloc("y", steps * batch * config.outputs()).expect("y");
    let options = Options { precision: layer.precision, ..options };
    let stream = DeviceStream::new(&params, "", config, BatchShape::new(steps, batch), &x, &y, options);
    Streaming {
        stream: stream.unwrap_or_else(|error| panic!("{} on {device:?}: {error}", layer.describe())),
        x,
        y,
        params,
    }
}

impl Streaming {
    /// The next steps.
    fn call(&self, x: &[f64]) -> Vec<f64> {
        let device = self.stream.bound().device();
        device.write_f64(&self.x, x).expect("x");
        device.run(|recorder| self.stream.record(recorder)).expect("a call");
        device.read_f64(&self.y).expect("y")
    }

    /// All of a layer's sequence, call by call, from its initial states.
    fn all(&self, layer: &Layer) -> Tensors {
        let single = |name: &str| layer.given.get(name).map(|all| all.iter().map(|x| *x as f32).collect::<Vec<_>>());
        self.stream.set_state(single("h0").as_deref(), single("c0").as_deref()).expect("states");
        let y = layer.given["x"].chunks_exact(self.x.len()).flat_map(|x| self.call(x)).collect();
        let read = |buffer: &Buffer| self.stream.bound().device().read_f64(buffer).expect("a state");
        let states = [("hn", Some(self.stream.h())), ("cn", self.stream.c())];
        let states = states.into_iter().filter_map(|(name, state)| Some((name.to_string(), read(state?))));
        states.chain([("y".to_string(), y)]).collect()
    }
}

/// What the whole sequence gives at once.
fn whole(layer: &Layer, device: &Device) -> Tensors {
    let running: Running = layer.bind(device, Mode::Infer).expect("a layer");
    running.device.run(|recorder| running.bound.forward.record(recorder)).expect("a run");
    running.read().expect("outputs")
}

#[test]
fn calls_are_the_whole_sequence_to_the_bit() {
    for (index, recipe) in Recipe::texts().enumerate() {
        let config = RnnConfig::new(recipe.cell(), 4, 5).options(recipe.options()).layers(1 + index % 3);
        let mut layer = Layer::random(config.learn_state(index % 4 == 0), 6, 1 + index % 3, index as u64);
        layer.resets.fill(false);
        for (place, device) in DEVICES.iter().enumerate() {
            let steps = 1 + (index + place) % 3;
            let got = streaming(&layer, device, steps, planned(device, &layer.config)).all(&layer);
            let what = format!("{} on {device:?}, {steps} steps a call", layer.describe());
            common::assert_same_bits(&what, &got, &whole(&layer, device));
        }
    }
}

/// Where the strategy is another it is near: this is what an app gets that does not ask for one.
#[test]
fn another_strategy_is_near() {
    let config = RnnConfig::new(Cell::Lstm, 4, 5).layers(2);
    let layer = Layer::random(config, 6, 3, 1);
    for device in DEVICES.iter() {
        let got = streaming(&layer, device, 2, Options::default()).all(&layer);
        for (name, want) in whole(&layer, device) {
            for (got, want) in got[&name].iter().zip(want) {
                assert!((got - want).abs() < 1e-6, "{name} on {device:?}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn half_precision_carries_the_state_in_full() {
    let config = RnnConfig::new(Cell::Gru, 4, 5).layers(2);
    let layer = Layer::random(config, 6, 3, 2).half(false);
    for device in &half_devices() {
        let got = streaming(&layer, device, 1, planned(device, &layer.config)).all(&layer);
        common::assert_same_bits(&format!("{device:?}"), &got, &whole(&layer, device));
    }
}

/// Sequences that take fewer steps of a call than others go on from where they were.
#[test]
fn sequences_take_steps_of_their_own_number() {
    let config = RnnConfig::new(Cell::Lstm, 4, 5);
    let layer = Layer::random(config, 6, 2, 3).without(&["h0", "c0"]);
    let row = |b: usize, t: usize| layer.given["x"][(t * 2 + b) * 4..][..4].to_vec();
    for device in DEVICES.iter() {
        let want = whole(&layer, device);
        let options = Options { lengths: true, ..planned(device, &layer.config) };
        let of = streaming(&layer, device, 3, options);
        // The one takes 3, 3, and the other 1, 2 and 3.
        let mut taken = [0, 0];
        for lengths in [[3, 1], [2, 2], [1, 3]] {
            of.stream.bound().set_lengths(&lengths).expect("lengths");
            let x: Vec<f64> = (0..3)
                .flat_map(|s| {
                    (0..2).flat_map(move |b| if s < lengths[b] { row(b, taken[b] + s) } else { vec![f64::NAN; 4] })
                })
                .collect();
            let y = of.call(&x);
            for b in 0..2 {
                for s in 0..lengths[b] {
                    let (got, want) = (&y[(s * 2 + b) * 5..][..5], &want["y"][((taken[b] + s) * 2 + b) * 5..][..5]);
                    assert_eq!(got, want, "sequence {b}, step {} on {device:?}", taken[b] + s);
                }
                taken[b] += lengths[b];
            }
        }
        assert_eq!(taken, [6, 6]);
    }
}

/// What begins anew or is replaced is what the stream on the calling thread makes of it.
#[test]
fn sequences_begin_anew_or_are_replaced() {
    for (cell, learns) in [(Cell::Lstm, true), (Cell::Lstm, false), (Cell::Gru, true), (Cell::RnnTanh, false)] {
        let (batch, hidden, layers) = (4, 5, 2);
        let config = RnnConfig::new(cell, 3, hidden).layers(layers).learn_state(learns);
        let layer = Layer::random(config, 6, batch, 4).without(&["h0", "c0"]);
        let has_c = usize::from(cell.has_c());
        let (h, c) = (vec![0.25; layers * hidden], vec![-0.5; has_c * layers * hidden]);
        for device in DEVICES.iter() {
            let of = streaming(&layer, device, 1, planned(device, &layer.config));
            let mut on_thread = Stream::new(&of.params, "", config, batch).expect("a stream");
            let mut y = vec![0.0; batch * hidden];
            for (step, x) in layer.given["x"].chunks_exact(batch * 3).enumerate() {
                if step == 2 {
                    of.stream.reset(&[0, 2, 3]).expect("sequences");
                    on_thread.reset(&[0, 2, 3]).expect("sequences");
                }
                if step == 4 {
                    of.stream.replace(1, &h, &c).expect("states");
                    on_thread.replace(1, &h, &c).expect("states");
                }
                let got = of.call(x);
                let single: Vec<f32> = x.iter().map(|x| *x as f32).collect();
                on_thread.step(&single, &mut y).expect("a step");
                for (got, want) in got.iter().zip(&y) {
                    let apart = (got - f64::from(*want)).abs();
                    assert!(apart < 1e-6, "{cell} at {step} on {device:?}: {got}, not {want}");
                }
            }
            let message = |result: wgpu_rnn::Result<()>| result.expect_err("a mistake").to_string();
            assert_eq!(message(of.stream.reset(&[0, 4])), "a sequence to begin anew must be below 4, got 4");
            assert_eq!(message(of.stream.replace(4, &h, &c)), "the sequence to replace must be below 4, got 4");
            assert_eq!(message(of.stream.replace(0, &h[1..], &c)), "`h` must have shape [2, 5], got [9]");
            assert_eq!(message(of.stream.set_state(Some(&h), None)), "`h` must have shape [2, 4, 5], got [10]");
        }
    }
}

/// A mask within a call does what `reset` does between two, for sequences that take other numbers of steps too.
#[test]
fn sequences_begin_anew_within_a_call() {
    for (device, half) in DEVICES
        .iter()
        .cloned()
        .map(|device| (device, false))
        .chain(half_devices().into_iter().map(|device| (device, true)))
    {
        begin_anew_within_a_call(&device, half, true, [3, 3]);
        begin_anew_within_a_call(&device, half, false, [3, 2]);
    }
}

fn begin_anew_within_a_call(device: &Device, half: bool, learns: bool, lengths: [usize; 2]) {
    let config = RnnConfig::new(Cell::Lstm, 4, 5).layers(2).learn_state(learns);
    let layer = Layer::random(config, 6, 2, 8);
    let layer = if half { layer.half(false) } else { layer };
    let resets = config.options(StepOptions { resets: true, ..StepOptions::NONE });
    let masked = Layer { config: resets, ..layer.clone() };
    let options = Options { lengths: true, ..planned(device, &layer.config) };
    let (calls, between) =
        (streaming(&masked, device, 3, options), streaming(&layer, device, 1, planned(device, &layer.config)));
    calls.stream.bound().set_lengths(&lengths).expect("lengths");
    let steps: Vec<&[f64]> = layer.given["x"].chunks_exact(2 * 4).collect();
    // Sequence 1 before step 2, which it may not come to, and 0 where the second call begins; then 1 there.
    for (call, mask) in [[0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0]].into_iter().enumerate() {
        calls.stream.bound().set_resets(&mask.map(|reset| reset == 1)).expect("resets");
        let got = calls.call(&steps[call * 3..][..3].concat());
        for step in 0..3 {
            let running: Vec<usize> = (0..2).filter(|b| step < lengths[*b]).collect();
            let anew: Vec<usize> = running.iter().copied().filter(|b| mask[step * 2 + b] == 1).collect();
            between.stream.reset(&anew).expect("sequences");
            let states = || {
                let of = |state: &Buffer| device.read(state).expect("a read");
                [of(between.stream.h()), of(between.stream.c().expect("c"))]
            };
            let before = states();
            let want = between.call(steps[call * 3 + step]);
            for b in 0..2 {
                let row = |all: &[f64]| all[b * 5..][..5].to_vec();
                if !running.contains(&b) {
                    // It has not taken this step, and gives nothing.
                    assert_eq!(row(&got[step * 10..]), [0.0; 5], "call {call}, step {step} on {device:?}");
                    let of_layers = |all: &Vec<f32>| -> Vec<f32> {
                        all.chunks_exact(2 * 5).flat_map(|layer| layer[b * 5..][..5].to_vec()).collect()
                    };
                    let [h, c] = before.each_ref().map(of_layers);
                    between.stream.replace(b, &h, &c).expect("states");
                    continue;
                }
                let apart = relative_error(&row(&got[step * 10..]), &row(&want));
                let bound = if half { 1e-3 } else { 1e-6 };
                assert!(apart < bound, "call {call}, step {step} on {device:?}: {apart:e}");
            }
        }
    }
}

/// Weights are packed when that is asked for, and by no call.
#[test]
fn other_weights_are_seen_once_they_are_loaded() {
    let config = RnnConfig::new(Cell::Gru, 4, 5).layers(2);
    let [one, other] = [5, 6].map(|seed| Layer::random(config, 6, 2, seed));
    let other = Layer {
        given: other
            .given
            .into_iter()
            .map(|(name, values)| match name.starts_with('x') || name == "h0" {
                true => (name.clone(), one.given[&name].clone()),
                false => (name, values),
            })
            .collect(),
        ..one.clone()
    };
    for device in DEVICES.iter() {
        let of = streaming(&one, device, 1, planned(device, &one.config));
        let first = of.all(&one);
        for (name, shape) in tensors(&config, "") {
            if name.starts_with("weight") {
                of.params.set_f64(&name, &shape, &other.given[&name]).expect("a tensor");
            }
        }
        if device.gpu().is_some() {
            // What was packed are the old ones.
            common::assert_same_bits(&format!("{device:?}"), &of.all(&one), &first);
        }
        for (name, shape) in tensors(&config, "") {
            of.params.set_f64(&name, &shape, &other.given[&name]).expect("a tensor");
        }
        of.stream.load().expect("parameters");
        common::assert_same_bits(&format!("{device:?}"), &of.all(&other), &whole(&other, device));
    }
}

/// Weights that are packed once give the bits of those that each forward packs, whatever the plan is, and no other plan that has
/// the same workspace touches them.
#[test]
fn packed_once_is_packed_each_time() {
    let config = RnnConfig::new(Cell::Lstm, 4, 5).layers(2);
    let peepholes = StepOptions { peephole: true, ..StepOptions::NONE };
    let plain = Layer::random(config.bidirectional(true), 29, 40, 9);
    let varied = Layer::random(config.options(peepholes), 29, 40, 9).lengths(&[29, 7].repeat(20));
    let all = [plain.clone(), varied.clone().recompute(8), Layer { batch_first: true, ..plain.clone() }];
    let small = small_bindings(16 << 10);
    let devices = DEVICES.iter().cloned().map(|device| (device, false)).chain([(small, false)]);
    for (device, half) in devices.chain(half_devices().into_iter().map(|device| (device, true))) {
        for layer in &all {
            let layer = if half { layer.clone().half(true) } else { layer.clone() };
            let running = layer.bind(&device, Mode::Infer).expect("a layer");
            let options = Options { pack_once: true, ..layer.options(&device) };
            let rnn = Rnn::new(&device, layer.config, layer.shape, Mode::Infer, options).expect("a plan");
            let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
            let bind = || {
                let bound = rnn.bind(&running.params, "", &running.io, &Gradients::default(), &reserve, &workspace);
                let bound = bound.expect("a layer");
                layer.lengths.iter().for_each(|lengths| bound.set_lengths(lengths).expect("lengths"));
                bound
            };
            let (bound, other) = (bind(), bind());
            assert_eq!(bound.memory(), rnn.memory());
            assert_eq!(bound.pack.dispatches() > 0, device.gpu().is_some());
            running.device.run(|recorder| running.bound.forward.record(recorder)).expect("a run");
            let want = running.read().expect("a read");
            for run in 0..2 {
                device.run(|recorder| other.forward.record(recorder)).expect("a run");
                device.run(|recorder| bound.forward.record(recorder)).expect("a run");
                let got = running.read().expect("a read");
                common::assert_same_bits(&format!("{} on {device:?}, run {run}", layer.describe()), &got, &want);
            }
        }
    }
}

/// A call in the app's encoder makes, compiles and uploads nothing, and memory is what the plan said.
#[test]
fn a_call_allocates_and_uploads_nothing() {
    for device in [AdapterKind::Software, AdapterKind::Gpu].map(tiled) {
        let layer = Layer::random(RnnConfig::new(Cell::Lstm, 4, 5).layers(2), 6, 2, 7);
        let of = streaming(&layer, &device, 1, Options::default());
        assert_eq!(of.stream.bound().memory(), of.stream.bound().rnn().memory());
        device.write_f64(&of.x, &layer.given["x"][..8]).expect("x");
        let gpu = device.gpu().expect("a GPU");
        let before = (gpu.counters(), gpu.pool_use());
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        for _ in 0..3 {
            let mut recorder = Recorder::new(&mut encoder);
            of.stream.record(&mut recorder).expect("a call");
        }
        gpu.queue().submit([encoder.finish()]);
        assert_eq!((gpu.counters(), gpu.pool_use()), before);
        let on_thread = Stream::new(&of.params, "", layer.config, 2);
        let mut on_thread = on_thread.expect("a stream");
        let x: Vec<f32> = layer.given["x"][..8].iter().map(|x| *x as f32).collect();
        let mut y = vec![0.0; 10];
        (0..3).for_each(|_| on_thread.step(&x, &mut y).expect("a step"));
        let want: Vec<f64> = y.iter().map(|y| f64::from(*y)).collect();
        assert!(relative_error(&device.read_f64(&of.y).expect("y"), &want) < 1e-6);
    }
}

#[test]
fn what_cannot_be_streamed_or_packed_once_is_refused() {
    let device = Device::cpu().expect("the CPU");
    let config = RnnConfig::new(Cell::Gru, 3, 4);
    let of = |config: RnnConfig, x: usize, options: Options<'_>| {
        let params = Parameters::new(&device, tensors(&config, "")).expect("parameters");
        let (x, y) = (device.alloc("x", x).expect("x"), device.alloc("y", 8).expect("y"));
        DeviceStream::new(&params, "", config, BatchShape::new(1, 2), &x, &y, options)
            .err()
            .expect("an error")
            .to_string()
    };
    let none = Options::default();
    assert_eq!(
        of(config.bidirectional(true), 6, none),
        "a step at a time is not available for a layer with a direction that starts at the end"
    );
    assert_eq!(of(config, 5, none), "`x` must have shape [1, 2, 3], got [5]");
    assert_eq!(
        of(config, 6, Options { repack: Some(true), ..none }),
        "how weights are packed must be either packed once or as they are needed, got both"
    );
    let train = Options { pack_once: true, ..none };
    let error = Rnn::new(&device, config, BatchShape::new(1, 2), Mode::Train, train).err();
    assert_eq!(
        error.expect("an error").to_string(),
        "weights that are packed once must be asked for to infer, got asked for to train"
    );
}
