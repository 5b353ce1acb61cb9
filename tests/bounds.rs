//! Work is bounded in time: dispatches and submits of large layers by the table of costs, whatever the limits of the device,
//! and where work is cut changes no bit.

mod common;

use common::{Layer, Model, Random, assert_same_bits, cells, forced, tiled, wgpu_device};
use wgpu_rnn::gpu::{AdapterKind, Bounds, Capabilities, Class, DISPATCH_MS, SUBMIT_MS};
use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::gemm::{Accumulate, Gemm, Mapped, Matrix, Tile};
use wgpu_rnn::kernel::rows::RowMap;
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Embedding, Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{Optimizer, OptimizerConfig};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, Error, Precision, Recorder, Result, RnnConfig, StepOptions};

const KINDS: [AdapterKind; 2] = [AdapterKind::Software, AdapterKind::Gpu];
/// Software, what is not known, and hardware with the most and with the fewest registers.
const CLASSES: [Class; 4] = [Class::Software, Class::Unknown, Class::Rdna, Class::Adreno];

/// A device for plans with WebGPU's default limits, but for what `change` makes of them.
fn planned(class: impl Into<Class>, change: impl FnOnce(&mut Capabilities)) -> Device {
    let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
    let mut caps = Capabilities::new(&device.adapter_info(), wgpu::Features::SHADER_F16, &wgpu::Limits::defaults());
    caps.class = class.into();
    caps.kind = caps.class.kind();
    change(&mut caps);
    Device::for_plans(device, queue, caps)
}

/// Buffers and bindings as large as any device has them.
fn large(caps: &mut Capabilities) {
    (caps.max_binding, caps.max_buffer) = (1 << 40, 1 << 40);
}

/// The programs of a layer, forward and backward.
fn programs(
    device: &Device,
    config: RnnConfig,
    shape: BatchShape,
    mode: Mode,
    options: Options<'_>,
) -> Result<[Program; 2]> {
    let rnn = Rnn::new(device, config, shape, mode, options)?;
    let params = Parameters::new(device, tensors(&config, ""))?;
    let room = |width: usize| device.alloc_as(options.precision, "a sequence", shape.rows() * width);
    let io = Io::new(&room(config.input)?, &room(config.outputs())?);
    let gradients = match mode {
        Mode::Infer => Gradients::default(),
        Mode::Train => {
            Gradients { dy: Some(room(config.outputs())?), dx: Some(room(config.input)?), ..Gradients::default() }
        }
    };
    let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
    Ok([bound.forward, bound.backward])
}

/// Every dispatch ends within its bound, and every part of the program within that of a submit.
#[track_caller]
fn assert_bounded(what: &str, program: &Program) {
    for op in program.ops() {
        let worst = (0..op.dispatches()).map(|dispatch| op.milliseconds_of(dispatch)).fold(0.0, f64::max);
        assert!(worst > 0.0 && worst <= DISPATCH_MS, "{what}: {} ({}) takes {worst} ms", op.name(), op.variant());
        let work = op.work(0).expect("work on a GPU");
        assert!(work.groups >= 1.0 && work.bytes + work.steps + work.multiply_adds > 0.0, "{what}: {work:?}");
    }
    let parts = program.parts(SUBMIT_MS);
    let dispatches: usize = parts.iter().map(|part| part.dispatches()).sum();
    assert_eq!(dispatches, program.dispatches(), "{what}");
    let all: f64 = parts.iter().map(|part| part.milliseconds()).sum();
    let estimate = program.milliseconds();
    assert!((all - estimate).abs() <= 1e-6 * estimate, "{what}: {all} ms of {estimate}");
    for part in &parts {
        assert!(part.milliseconds() <= SUBMIT_MS && part.dispatches() <= 50_000, "{what}: {} ms", part.milliseconds());
    }
}

/// Layers with much to do in one of their sizes, of every cell.
#[test]
fn dispatches_and_submits_of_large_layers_are_short() {
    // T, B, I, H.
    let sizes = [
        [1024, 64, 1024, 1024],
        [4096, 1, 64, 512],
        [2, 1024, 8192, 8192],
        [64, 1024, 32, 128],
        [4096, 64, 8192, 16],
        [1, 1, 8192, 8192],
    ];
    for kind in CLASSES {
        for device in [planned(kind, |_| ()), planned(kind, large)] {
            // Every size with a cell whose steps have a product and with one whose steps have none, and narrow and wide projections.
            let of = |product| sizes.into_iter().zip(cells(product).into_iter().cycle());
            let cells = of(true).chain(of(false)).map(|(size, cell)| (size, cell, None));
            let projected = [(sizes[0], 64), (sizes[3], 4096), (sizes[5], 512)].into_iter();
            let projected = projected.map(|(size, width)| (size, Cell::Lstm, Some(width)));
            for ([steps, batch, inputs, hidden], cell, projection) in cells.chain(projected) {
                let config = RnnConfig::new(cell, inputs, hidden);
                let config = config.options(StepOptions { projection, ..StepOptions::NONE });
                let shape = BatchShape::new(steps, batch);
                let half = Precision::Half;
                let options = StepOptions { recurrent_dropout: Some(0.1.into()), ..config.options };
                let drawn = config.options(options).layers(2).dropout(0.1).input_dropout(0.1).weight_dropout(0.1);
                let drawn = common::possible(drawn);
                let of_any_size = if config.recipe().has_product() { "stepwise" } else { "scan" };
                let plans = [
                    (drawn, Mode::Train, Options { batch_first: true, ..Options::default() }),
                    (config, Mode::Infer, Options::default()),
                    (config, Mode::Train, Options::default()),
                    (config.bidirectional(true), Mode::Train, Options { precision: half, ..Options::default() }),
                    (
                        config,
                        Mode::Train,
                        Options { flow: projection.is_none(), recompute: Some(64), ..Options::default() },
                    ),
                    (config, Mode::Infer, Options { strategy: Some(of_any_size), ..Options::default() }),
                ];
                for (config, mode, options) in plans {
                    let what = format!("{kind:?} {config:?} {shape:?} {mode:?} {options:?}");
                    match programs(&device, config, shape, mode, options) {
                        Ok(both) => both.iter().for_each(|program| assert_bounded(&what, program)),
                        // One step's gates, or a weight, beyond a small binding.
                        Err(Error::Limit { .. })
                            if device.gpu().is_some_and(|gpu| gpu.capabilities().max_binding < 1 << 40) => {}
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
            }
        }
    }
}

/// A table of many entries and few tokens.
#[test]
fn dispatches_of_a_large_table_are_short() {
    let (entries, width, rows) = (8 << 20, 8, 8 << 10);
    for device in CLASSES.map(|class| planned(class, large)) {
        let embedding = Embedding::new(entries, width);
        let params = Parameters::new(&device, embedding.parameters("")).expect("parameters");
        let dy = device.alloc("dy", rows * width).expect("floats");
        let tokens = device.alloc_u32("tokens", rows).expect("tokens");
        assert_bounded("scatter", &embedding.backward(&params, "", &tokens, &dy).expect("a program"));
    }
}

/// Heads, losses, embeddings and optimisers of large models.
#[test]
fn dispatches_around_layers_are_short() {
    let (entries, width, rows) = (32 << 10, 1024, 8 << 10);
    for device in CLASSES.map(|class| planned(class, large)) {
        let (linear, embedding) = (Linear::new(width, entries), Embedding::new(entries, width));
        let table = [linear.parameters("head."), embedding.parameters("embedding.")].concat();
        let params = Parameters::new(&device, table).expect("parameters");
        let floats = |len| device.alloc("floats", len).expect("floats");
        let (x, logits) = (floats(rows * width), floats(rows * entries));
        let (dx, dlogits) = (floats(rows * width), floats(rows * entries));
        let tokens = device.alloc_u32("tokens", rows).expect("tokens");
        let programs = [
            ("gather", embedding.bind(&params, "embedding.", &tokens, &x).expect("a program")),
            ("scatter", embedding.backward(&params, "embedding.", &tokens, &dx).expect("a program")),
            ("head", linear.bind(&params, "head.", rows, &x, &logits).expect("a program")),
            ("its gradient", linear.backward(&params, "head.", rows, &x, &dlogits, Some(&dx)).expect("a program")),
        ];
        for (what, program) in &programs {
            assert_bounded(what, program);
        }
        // The table before was entries × rows × width.
        let scatter = programs[1].1.milliseconds();
        assert!(scatter < 2000.0, "{scatter} ms");
        let loss = Loss::cross_entropy(&device, rows, entries, &logits, &tokens, Some(&dlogits)).expect("a loss");
        assert_bounded("cross-entropy", loss.program());
        let mse = Loss::mse(&device, &logits, &logits, Some(&dlogits)).expect("a loss");
        assert_bounded("squares", mse.program());
        let optimizer =
            Optimizer::new(&params, OptimizerConfig::adam(1e-2).clip_norm(Some(1.0))).expect("an optimiser");
        assert_bounded("optimiser", optimizer.program());
    }
}

/// A recording that can't be.
#[test]
fn a_device_for_plans_runs_nothing() {
    let device = planned(AdapterKind::Gpu, |_| ());
    let config = RnnConfig::new(Cell::Gru, 3, 4);
    let [forward, _] =
        programs(&device, config, BatchShape::new(5, 2), Mode::Infer, Options::default()).expect("programs");
    let error = device.run(|recorder| forward.record(recorder)).expect_err("nothing to run");
    assert!(error.to_string().contains("a device for plans alone"), "{error}");
    assert!(device.read(&device.alloc("a buffer", 4).expect("a buffer")).is_err());
}

/// Counts beyond 32 bits are errors or are split, however large bindings are.
#[test]
fn indices_stay_within_32_bits() {
    let device = planned(AdapterKind::Gpu, large);
    // A binding holds 2³⁰ - 64 f32: gates of 2³² values are split into sections.
    let (config, shape) = (RnnConfig::new(Cell::Lstm, 16, 1024), BatchShape::new(1 << 14, 64));
    let plan = Rnn::new(&device, config, shape, Mode::Train, Options::default()).expect("a plan");
    assert!(plan.chunks() >= 5, "{} chunks", plan.chunks());
    let both = programs(&device, config, shape, Mode::Train, Options::default()).expect("programs");
    both.iter().for_each(|program| assert_bounded("many sections", program));
    let limit = |error: Option<Error>| match error {
        Some(Error::Limit { what, limit, .. }) => (what, limit),
        other => panic!("expected a limit, got {other:?}"),
    };
    // A weight of 2³³ elements is no binding.
    let (inputs, outputs) = (1 << 17, 1 << 16);
    let linear = Linear::new(inputs, outputs);
    let params = Parameters::new(&device, linear.parameters("")).expect("parameters");
    let floats = |len| device.alloc("floats", len).expect("floats");
    let (what, most) = limit(linear.bind(&params, "", 1, &floats(inputs), &floats(outputs)).err());
    assert!(what.contains("transpose") && most == format!("{} bytes a binding", (4u64 << 30) - 256), "{what}: {most}");
    // Strides may be anything: they are checked one by one.
    let c = Matrix { row: 1 << 33, ..Matrix::dense(&floats(4), 4) };
    let plain = Gemm::plain(1, 4, 4, Matrix::dense(&floats(4), 4), Matrix::dense(&floats(16), 4), c);
    let (what, most) = limit(plain.add_to(&device, &mut Program::default()).err());
    assert!(what.contains("place of a kernel's elements") && most == u32::MAX.to_string(), "{what}: {most}");
}

/// Bounds under which all that is dispatched has a fraction of the work.
fn tight(device: &Device) {
    let gpu = device.gpu().expect("a GPU");
    // What a dispatch costs that does nothing, and a little more.
    let dispatch_ms = match gpu.capabilities().kind {
        AdapterKind::Software => 0.032,
        AdapterKind::Gpu => 0.0105,
    };
    gpu.set_bounds(Bounds { dispatch_ms, submit_ms: 2.0 });
    assert_eq!(gpu.bounds(), Bounds { dispatch_ms, submit_ms: 2.0 });
}

/// A layer on a device as it is, and on one with tight bounds: the same bits, in more dispatches and submits.
#[track_caller]
fn assert_cuts_change_nothing(kind: AdapterKind, strategy: &'static str, layer: &Layer, mode: Mode) {
    let what = format!("{kind:?} {strategy} {} {mode:?}", layer.describe());
    let run = |bounded: bool| {
        let device = forced(tiled(kind), strategy, None);
        if bounded {
            tight(&device);
        }
        let running = layer.bind(&device, mode).expect("a layer");
        let timing = device
            .time(|recorder| {
                running.bound.forward.record(recorder)?;
                running.bound.backward.record(recorder)
            })
            .expect("a run");
        (running.read().expect("results"), timing)
    };
    let ((want, whole), (got, cut)) = (run(false), run(true));
    assert_same_bits(&what, &got, &want);
    assert_eq!(whole.submits, 1, "{what}");
    assert!(cut.dispatches > whole.dispatches && cut.submits > 1, "{what}: {whole:?}, {cut:?}");
}

#[test]
fn layers_keep_their_bits_wherever_they_are_cut() {
    for kind in KINDS {
        for (cell, strategy) in Cell::ALL.iter().zip(["stepwise", "sequence"].into_iter().cycle()) {
            let config = RnnConfig::new(*cell, 19, 36).layers(2).bidirectional(true);
            let layer = Layer::random(config, 7, 9, 5).lengths(&[7, 1, 4, 5, 7, 2, 3, 7, 6]);
            assert_cuts_change_nothing(kind, strategy, &layer, Mode::Train);
        }
        let config = RnnConfig::new(Cell::Lstm, 33, 40);
        let flow = Layer { flow: true, ..Layer::random(config, 70, 9, 6).recompute(8) };
        assert_cuts_change_nothing(kind, "stepwise", &flow, Mode::Train);
        assert_cuts_change_nothing(kind, "sequence", &Layer::random(config, 20, 17, 7), Mode::Infer);
    }
    let repacked = Layer { repack: Some(true), ..Layer::random(RnnConfig::new(Cell::Gru, 30, 300), 3, 20, 8) };
    assert_cuts_change_nothing(AdapterKind::Software, "stepwise", &repacked, Mode::Infer);
}

/// A product on a device: C, and the dispatches that it took.
fn product(device: &Device, mapped: Mapped, accumulate: Accumulate, bias: bool, transposed: bool) -> (Vec<f32>, usize) {
    let (m, n, k, batch) = (76, 132, 516, 4);
    // A software adapter takes seconds to compile a staged kernel: one is enough.
    let hardware = device.gpu().is_some_and(|gpu| gpu.capabilities().kind == AdapterKind::Gpu);
    let staged = mapped == Mapped::No && accumulate == Accumulate::Before && !transposed;
    let direct = Tile::Direct { lanes: 64, rows: 8, columns: 2 };
    let mut random = Random::new(3);
    let mut upload = |len: usize| -> Buffer {
        let values: Vec<f32> = random.values(len, 1.0).into_iter().map(|value| value as f32).collect();
        device.upload("an operand", &values).expect("an operand")
    };
    let (a, b, c) = (upload(m * k), upload(k * n), upload(m * n));
    let a = if transposed { Matrix::dense(&a, m).transposed() } else { Matrix::dense(&a, k) };
    let plain = Gemm::plain(m, n, k, a, Matrix::dense(&b, n), Matrix::dense(&c, n));
    let window_rows = if mapped == Mapped::B { k } else { m };
    let lengths = device.upload_u32("lengths", &[(window_rows / batch) as u32; 4]).expect("lengths");
    let rows = RowMap { lengths, batch, first_step: 0, window_first: 0, window_rows, first_reversed: 1 };
    let call = Gemm {
        accumulate,
        mapped,
        rows: (mapped != Mapped::No).then_some(rows),
        bias: bias.then(|| Matrix::dense(&upload(n), n)),
        split: if mapped == Mapped::B { 80 } else { 300 },
        tile: (hardware && !staged).then_some(direct),
        ..plain
    };
    let mut program = Program::default();
    call.add_to(device, &mut program).expect("a product");
    device.run(|recorder| program.record(recorder)).expect("a run");
    (device.read(&c).expect("values"), program.dispatches())
}

#[test]
fn products_keep_their_bits_wherever_they_are_cut() {
    for kind in KINDS {
        let (whole, cut) = (tiled(kind), tiled(kind));
        tight(&cut);
        // However slow the device turns out to be, one dispatch does all of it.
        whole.gpu().expect("a GPU").set_bounds(Bounds { dispatch_ms: 1e6, submit_ms: 1e6 });
        for mapped in [Mapped::No, Mapped::A, Mapped::B, Mapped::C] {
            for accumulate in [Accumulate::No, Accumulate::Before, Accumulate::After] {
                if mapped == Mapped::C && accumulate == Accumulate::Before {
                    continue;
                }
                let bias = accumulate != Accumulate::After;
                for transposed in [false, true] {
                    let of = |device: &Device| product(device, mapped, accumulate, bias, transposed);
                    let ((want, one), (got, many)) = (of(&whole), of(&cut));
                    let what = format!("{kind:?} {mapped:?} {accumulate:?} transposed {transposed}");
                    assert!(one == 1 && many > 8, "{what}: {one} and {many} dispatches");
                    let differs = want.iter().zip(&got).position(|(want, got)| want.to_bits() != got.to_bits());
                    assert_eq!(differs, None, "{what}");
                }
            }
        }
    }
}

/// Training steps of a whole model.
#[test]
fn models_keep_their_bits_wherever_they_are_cut() {
    for kind in KINDS {
        let run = |bounded: bool| {
            let device = tiled(kind);
            if bounded {
                tight(&device);
            }
            let model = Model::new(&device, RnnConfig::new(Cell::Gru, 24, 32), BatchShape::new(9, 8)).expect("a model");
            model.steps(3);
            model.loss.read_value().expect("a loss").to_bits()
        };
        assert_eq!(run(false), run(true), "{kind:?}");
    }
}

/// An app submits a program part by part, with encoders of its own.
#[test]
fn parts_in_an_apps_encoders_are_the_program() {
    let layer = Layer::random(RnnConfig::new(Cell::Lstm, 5, 12), 40, 4, 9);
    let device = forced(tiled(AdapterKind::Software), "stepwise", None);
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    running.run().expect("a run");
    let want = running.read().expect("results");
    running.device.write_f64(running.buffer("y"), &vec![0.0; running.buffer("y").len()]).expect("zeros");
    let gpu = device.gpu().expect("a GPU");
    for program in [&running.bound.forward, &running.bound.backward] {
        let parts = program.parts(0.5);
        assert!(parts.len() > 3, "{} parts", parts.len());
        for part in parts {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let mut recorder = Recorder::new(&mut encoder);
            part.record(&mut recorder).expect("a part");
            assert_eq!(recorder.dispatches(), part.dispatches());
            let (recorded, planned) = (recorder.milliseconds(), part.milliseconds());
            assert!((recorded - planned).abs() < 1e-9, "{recorded} ms of {planned}");
            assert!(planned <= 0.5 || part.dispatches() == 1, "{} dispatches in {planned} ms", part.dispatches());
            drop(recorder);
            gpu.queue().submit([encoder.finish()]);
        }
    }
    assert_same_bits("in parts", &running.read().expect("results"), &want);
    let cpu = layer.bind(&Device::cpu().expect("CPU"), Mode::Train).expect("a layer");
    assert_eq!((cpu.bound.forward.parts(0.5).len(), cpu.bound.forward.milliseconds()), (1, 0.0));
}

/// What a device turns out to be moves its submits, and plans made afterwards.
#[test]
fn a_measured_step_refines_the_estimate() {
    let device = tiled(AdapterKind::Software);
    let gpu = device.gpu().expect("a GPU");
    assert_eq!((gpu.measured_pace(), gpu.submit_ms()), (1.0, SUBMIT_MS));
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 64, 128), 60, 8, 2);
    let running = layer.bind(&device, Mode::Train).expect("a layer");
    let estimated = running.bound.forward.milliseconds() + running.bound.backward.milliseconds();
    assert!(estimated > 5.0, "{estimated} ms");
    running.run().expect("a run");
    device.wait().expect("done");
    let pace = gpu.measured_pace();
    assert!(pace != 1.0 && (0.1..=8.0).contains(&pace), "{pace}");
    assert!((gpu.submit_ms() * pace / SUBMIT_MS - 1.0).abs() < 1e-9);
}
