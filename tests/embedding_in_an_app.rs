//! The engine inside an app: the app's device, queue, buffers, encoder and compute passes. The engine records and
//! submits nothing.

mod common;

use common::{GRADIENT_BOUND, Layer, OUTPUT_BOUND, Tensors, relative_error, wgpu_device};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{Optimizer, OptimizerConfig};
use wgpu_rnn::{Buffer, Cell, DType, Device, Error, Recorder, RnnConfig};

const USUAL: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// An app with a device and a compute pass of its own: it multiplies a buffer by a factor.
struct App {
    device: wgpu::Device,
    queue: wgpu::Queue,
    scale: wgpu::ComputePipeline,
}

impl App {
    fn new() -> Self {
        let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
        let text = "
            override factor: f32;
            @group(0) @binding(0) var<storage, read_write> values: array<f32>;
            @compute @workgroup_size(64)
            fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
                if id.x < arrayLength(&values) { values[id.x] = factor * values[id.x]; }
            }";
        let scale = Self::pipeline(&device, text, 2.0);
        Self { device, queue, scale }
    }

    fn pipeline(device: &wgpu::Device, text: &str, factor: f64) -> wgpu::ComputePipeline {
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("scale"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("factor", factor)],
                ..Default::default()
            },
            cache: None,
        })
    }

    fn buffer(&self, values: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("the app's"),
            size: values as u64 * 4,
            usage: USUAL,
            mapped_at_creation: false,
        })
    }

    /// Doubles a buffer.
    fn record_doubling(&self, encoder: &mut wgpu::CommandEncoder, buffer: &wgpu::Buffer) {
        let layout = self.scale.get_bind_group_layout(0);
        let entries = [wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.scale);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups((buffer.size() / 4).div_ceil(64) as u32, 1, 1);
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }
}

/// A layer bound to an app's own buffers.
struct Guest {
    engine: Device,
    params: Parameters,
    bound: Bound,
    /// x, y, dy, dx.
    own: [wgpu::Buffer; 4],
}

impl Guest {
    fn new(app: &App, layer: &Layer) -> Self {
        let engine = Device::from_wgpu(app.device.clone(), app.queue.clone());
        let table = tensors(&layer.config, "");
        let params = Parameters::new(&engine, table.clone()).expect("parameters");
        for (name, shape) in table {
            params.set_f64(&name, &shape, &layer.given[&name]).expect("a weight");
        }
        let [x_len, y_len] = [layer.config.input, layer.config.outputs()].map(|width| layer.shape.rows() * width);
        let lengths = [x_len, y_len, y_len, x_len];
        let own = lengths.map(|len| app.buffer(len));
        let adopt = |at: usize| Buffer::from_wgpu(&engine, &own[at], 0, lengths[at], DType::Float).expect("a buffer");
        let io = Io::new(&adopt(0), &adopt(1));
        let gradients = Gradients { dy: Some(adopt(2)), dx: Some(adopt(3)), ..Gradients::default() };
        let rnn = layer.plan(&engine, Mode::Train).expect("a plan");
        let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        let bound = rnn.bind(&params, "", &io, &gradients, &reserve, &workspace).expect("a bound layer");
        if let Some(lengths) = &layer.lengths {
            bound.set_lengths(lengths).expect("lengths");
        }
        Self { engine, params, bound, own }
    }

    fn read(&self, at: usize) -> Vec<f64> {
        let len = self.own[at].size() as usize / 4;
        let buffer = Buffer::from_wgpu(&self.engine, &self.own[at], 0, len, DType::Float).expect("a buffer");
        self.engine.read_f64(&buffer).expect("values")
    }

    /// Of every parameter.
    fn gradients(&self, layer: &Layer) -> Vec<Vec<f64>> {
        tensors(&layer.config, "").iter().map(|(name, _)| self.gradient(name)).collect()
    }

    fn gradient(&self, name: &str) -> Vec<f64> {
        self.engine.read_f64(&self.params.gradient(name).expect(name)).expect("values")
    }
}

fn layer(cell: Cell) -> Layer {
    let config = RnnConfig::new(cell, 5, 9).layers(2).bidirectional(true);
    Layer::random(config, 6, 4, 3).lengths(&[6, 1, 4, 5]).without(&["h0", "c0", "dhn", "dcn"])
}

/// The oracle's numbers when x and dy are doubled first.
fn expected(layer: &Layer) -> Tensors {
    let doubled = layer.clone().scaled("x", 2.0).scaled("dy", 2.0);
    doubled.run(&Device::oracle().expect("oracle"))
}

fn upload(app: &App, buffer: &wgpu::Buffer, values: &[f64]) {
    let values: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
    app.queue.write_buffer(buffer, 0, &values);
}

/// One encoder: the app doubles x and dy, the engine runs forward and backward, the app doubles y and dx. Until the app
/// submits it, nothing has happened; after that, everything has, each time it is recorded anew.
#[test]
fn everything_goes_into_the_apps_own_encoder() {
    let app = App::new();
    for &cell in Cell::ALL {
        let layer = layer(cell);
        let guest = Guest::new(&app, &layer);
        let want = expected(&layer);
        for round in 0..2 {
            upload(&app, &guest.own[0], &layer.given["x"]);
            upload(&app, &guest.own[2], &layer.given["dy"]);
            for at in [1, 3] {
                upload(&app, &guest.own[at], &vec![7.0; guest.own[at].size() as usize / 4]);
            }
            let before = guest.gradients(&layer);

            let mut encoder = app.encoder();
            app.record_doubling(&mut encoder, &guest.own[0]);
            app.record_doubling(&mut encoder, &guest.own[2]);
            {
                let mut recorder = Recorder::new(&mut encoder);
                guest.bound.forward.record(&mut recorder).expect("forward");
                guest.bound.backward.record(&mut recorder).expect("backward");
                assert_eq!(recorder.dispatches(), guest.bound.forward.dispatches() + guest.bound.backward.dispatches());
            }
            app.record_doubling(&mut encoder, &guest.own[1]);
            app.record_doubling(&mut encoder, &guest.own[3]);
            let work = encoder.finish();

            // Reading submits a copy and waits for the queue: whatever the engine had submitted would be done by then.
            assert_eq!(guest.read(0), layer.given["x"], "{cell}");
            assert!([1, 3].iter().all(|&at| guest.read(at).iter().all(|&value| value == 7.0)), "{cell}");
            let after = guest.gradients(&layer);
            assert_eq!(before, after, "{cell}");
            assert_eq!(round > 0, before.iter().flatten().any(|&value| value != 0.0), "{cell}");

            app.queue.submit([work]);
            for (name, at, bound) in [("y", 1, OUTPUT_BOUND), ("dx", 3, GRADIENT_BOUND)] {
                let twice: Vec<f64> = want[name].iter().map(|value| 2.0 * value).collect();
                let error = relative_error(&guest.read(at), &twice);
                assert!(error <= bound, "{cell}: {name} is off by {error:e}");
            }
            for (name, _) in tensors(&layer.config, "") {
                let error = relative_error(&guest.gradient(&name), &want[&format!("grad.{name}")]);
                assert!(error <= GRADIENT_BOUND, "{cell}: the gradient of {name} is off by {error:e}");
            }
        }
    }
}

/// Work that is recorded and thrown away has not happened.
#[test]
fn a_dropped_encoder_leaves_no_trace() {
    let app = App::new();
    let layer = layer(Cell::Lstm);
    let guest = Guest::new(&app, &layer);
    upload(&app, &guest.own[0], &layer.given["x"]);
    let mut encoder = app.encoder();
    guest.bound.forward.record(&mut Recorder::new(&mut encoder)).expect("forward");
    drop(encoder);
    assert!(guest.read(1).iter().all(|&value| value == 0.0));
}

/// x and y as parts of one larger buffer of the app.
#[test]
fn buffers_may_be_parts_of_a_larger_one() {
    let app = App::new();
    let engine = Device::from_wgpu(app.device.clone(), app.queue.clone());
    let layer = layer(Cell::Gru).without(&["dy"]);
    let params = Parameters::new(&engine, tensors(&layer.config, "")).expect("parameters");
    for (name, shape) in tensors(&layer.config, "") {
        params.set_f64(&name, &shape, &layer.given[&name]).expect("a weight");
    }
    let [x_len, y_len] = [layer.config.input, layer.config.outputs()].map(|width| layer.shape.rows() * width);
    let (x_at, y_at) = (256, 256 * (1 + (x_len * 4).div_ceil(256)));
    let all = app.buffer(y_at / 4 + y_len + 64);
    let part = |at: usize, len| Buffer::from_wgpu(&engine, &all, at as u64, len, DType::Float).expect("a part");
    let (x, y) = (part(x_at, x_len), part(y_at, y_len));
    let rnn = layer.plan(&engine, Mode::Infer).expect("a plan");
    let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
    let bound = rnn.bind(&params, "", &Io::new(&x, &y), &Gradients::default(), &reserve, &workspace).expect("bound");
    bound.set_lengths(layer.lengths.as_deref().expect("lengths")).expect("lengths");
    engine.write_f64(&x, &layer.given["x"]).expect("x");
    let mut encoder = app.encoder();
    bound.forward.record(&mut Recorder::new(&mut encoder)).expect("forward");
    app.queue.submit([encoder.finish()]);
    let want = layer.run(&Device::oracle().expect("oracle"));
    assert!(relative_error(&engine.read_f64(&y).expect("y"), &want["y"]) <= OUTPUT_BOUND);
    // Before, between and behind, nothing was touched.
    let whole = engine.read_f64(&part(0, all.size() as usize / 4)).expect("all");
    assert_eq!(whole[64..64 + x_len], layer.given["x"]);
    let touched = |range: std::ops::Range<usize>| whole[range].iter().any(|&value| value != 0.0);
    assert!(!touched(0..64) && !touched(64 + x_len..y_at / 4) && !touched(y_at / 4 + y_len..whole.len()));
}

fn text<T>(result: wgpu_rnn::Result<T>) -> String {
    result.map(|_| ()).expect_err("wrong use").to_string()
}

#[test]
fn wrong_buffers_are_errors() {
    let app = App::new();
    let engine = Device::from_wgpu(app.device.clone(), app.queue.clone());
    let cpu = Device::cpu().expect("CPU");
    let buffer = app.buffer(64);
    let adopt = |device: &Device, buffer: &wgpu::Buffer, offset, len| {
        text(Buffer::from_wgpu(device, buffer, offset, len, DType::Float))
    };
    let plain = app.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let usage = adopt(&engine, &plain, 0, 64);
    assert!(usage.contains("created with") && usage.contains("STORAGE") && usage.contains("COPY_DST"), "{usage}");
    assert_eq!(adopt(&engine, &buffer, 4, 8), "the offset of the app's buffer must be a multiple of 256, got 4");
    assert_eq!(adopt(&engine, &buffer, 0, 65), "the app's buffer must be at least 260 bytes, got 256 bytes");
    assert!(adopt(&engine, &buffer, 256, 1).contains("at least 260 bytes"));
    assert_eq!(adopt(&cpu, &buffer, 0, 64), "the app's buffer must be on CPU, got a wgpu device");
    Buffer::from_wgpu(&engine, &buffer, 0, 64, DType::Float).expect("a buffer that is right");
}

#[test]
fn sizes_of_adopted_buffers_that_overflow_are_errors() {
    let app = App::new();
    let engine = Device::from_wgpu(app.device.clone(), app.queue.clone());
    let buffer = app.buffer(64);
    for (offset, len) in [(0, usize::MAX), (u64::MAX / 256 * 256, 1 << 20), (1 << 63, 1 << 61)] {
        let why = text(Buffer::from_wgpu(&engine, &buffer, offset, len, DType::Float));
        assert!(why.starts_with("the app's buffer must be at least"), "{why}");
    }
}

#[test]
fn wrong_bindings_are_errors() {
    let app = App::new();
    let engine = Device::from_wgpu(app.device.clone(), app.queue.clone());
    let layer = layer(Cell::Lstm);
    let good = layer.bind(&engine, Mode::Train).expect("a layer");
    let cpu = Device::cpu().expect("CPU");
    let bind = |change: &dyn Fn(&mut Io, &mut Gradients)| {
        let (mut io, mut gradients) = (good.io.clone(), good.gradients.clone());
        change(&mut io, &mut gradients);
        let rnn = good.bound.rnn();
        let memory = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        rnn.bind(&good.params, "", &io, &gradients, &memory.0, &memory.1)
    };
    assert!(bind(&|_, _| ()).is_ok());
    let on_the_cpu = cpu.alloc("x", good.io.x.len()).expect("memory");
    let error = bind(&|io, _| io.x = on_the_cpu.clone()).map(|_| ()).expect_err("a CPU buffer");
    assert!(matches!(&error, Error::WrongDevice { .. }), "{error:?}");
    let why = error.to_string();
    assert!(
        why.starts_with("`x` must be on ") && why.contains(&engine.name()) && why.ends_with("got f32 on the CPU"),
        "{why}"
    );
    let short = engine.alloc("short", 7).expect("memory");
    assert_eq!(text(bind(&|io, _| io.y = Some(short.clone()))), "`y` must have shape [6, 4, 18], got [7]");
    assert_eq!(text(bind(&|_, g| g.dy = Some(short.clone()))), "`dy` must have shape [6, 4, 18], got [7]");
    assert_eq!(text(bind(&|io, _| io.h0 = Some(short.clone()))), "`h0` must have shape [4, 4, 9], got [7]");
    assert_eq!(text(bind(&|_, g| g.dc0 = Some(short.clone()))), "`dc0` must have shape [4, 4, 9], got [7]");
    let whole_numbers = engine.alloc_u32("numbers", good.io.x.len()).expect("memory");
    assert_eq!(text(bind(&|io, _| io.x = whole_numbers.clone())), "`x` must be float, got u32");

    // Parameters of another device, another layer, and none.
    let rnn = good.bound.rnn();
    let with = |params: &Parameters, prefix: &str| {
        let memory = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        text(rnn.bind(params, prefix, &good.io, &good.gradients, &memory.0, &memory.1))
    };
    let elsewhere = Parameters::new(&cpu, tensors(&layer.config, "")).expect("parameters");
    assert_eq!(with(&elsewhere, ""), format!("the parameters must be on {}, got CPU", engine.name()));
    let other = Parameters::new(&engine, tensors(&RnnConfig { hidden: 8, ..layer.config }, "")).expect("parameters");
    assert_eq!(with(&other, ""), "`weight_ih_l0` must have shape [36, 5], got [32, 5]");
    assert!(
        with(&good.params, "rnn.")
            .starts_with("`rnn.weight_ih_l0` is missing from the parameters; it has weight_ih_l0")
    );

    // A cell state where there is none.
    let gru = Layer::random(RnnConfig::new(Cell::Gru, 5, 9), 6, 4, 3).bind(&engine, Mode::Train).expect("a layer");
    let io = Io { c0: Some(good.io.hn.clone().expect("hn")), ..gru.io.clone() };
    let memory = (gru.bound.rnn().reserve().expect("memory"), gru.bound.rnn().workspace().expect("memory"));
    let result = gru.bound.rnn().bind(&gru.params, "", &io, &gru.gradients, &memory.0, &memory.1);
    assert_eq!(text(result), "a cell state (`c0`) is not available for the GRU layer");

    // And GPU work recorded as if it were the CPU's.
    let error = good.bound.forward.record(&mut Recorder::cpu()).expect_err("no pass to record into");
    assert_eq!(error.to_string(), "the recorder must be on a GPU, got the CPU executor");
    good.run().expect("a right recording");
}

/// Two devices of one adapter are two devices.
#[test]
fn buffers_of_another_wgpu_device_are_errors() {
    let [one, other] = [(), ()].map(|()| App::new());
    let engine = Device::from_wgpu(one.device.clone(), one.queue.clone());
    let good = layer(Cell::Gru).bind(&engine, Mode::Train).expect("a layer");
    let stranger = Device::from_wgpu(other.device.clone(), other.queue.clone());
    assert!(!engine.same(&stranger) && engine.same(&engine.clone()));
    let rnn = good.bound.rnn();
    let foreign = stranger.alloc("x", good.io.x.len()).expect("memory");
    let io = Io { x: foreign, ..good.io.clone() };
    let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
    let error = rnn.bind(&good.params, "", &io, &good.gradients, &reserve, &workspace).map(|_| ());
    let error = error.expect_err("a buffer of another device");
    let text = error.to_string();
    assert_eq!(text, format!("`x` must be on {}, got a GPU", engine.name()));
    let values = vec![0.0; good.io.x.len()];
    assert!(stranger.write(&good.io.x, &values).is_err() && stranger.read(&good.io.x).is_err());
    good.run().expect("the right ones still work");
}

#[test]
fn training_steps_read_nothing_back() {
    let engine = common::gpu();
    let gpu = engine.gpu().expect("a GPU");
    let layer = layer(Cell::Lstm).bind(&engine, Mode::Train).expect("a layer");
    let optimizer = Optimizer::new(&layer.params, OptimizerConfig::adam(1e-3).clip_norm(Some(1.0))).expect("Adam");
    let before = engine.read(layer.params.values()).expect("parameters");
    let at_first = gpu.counters();
    for _ in 0..10 {
        let step = engine.run(|recorder| {
            layer.bound.forward.record(recorder)?;
            layer.bound.backward.record(recorder)?;
            optimizer.record(recorder)
        });
        step.expect("a training step");
    }
    assert_eq!(gpu.counters(), at_first);
    assert_eq!(optimizer.read_state().expect("the state").step, 10);
    assert_ne!(engine.read(layer.params.values()).expect("parameters"), before);
    assert!(gpu.counters().downloads > at_first.downloads, "downloads are counted");
}
