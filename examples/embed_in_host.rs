//! A network inside an app that owns the GPU: an audio visualiser with its own wgpu device, buffers and shader.
//!
//! In one encoder, with one submit: the app's shader makes the signals of eight voices, an LSTM and a GRU of this crate
//! read them, and the app's shader turns what they say into one level for each voice and moment. No number passes through
//! the host. Afterwards the CPU executor does the same and the results are compared.
//!
//! `cargo run --release --example embed_in_host`

use anyhow::{Result, ensure};
use wgpu_rnn::gpu::Capabilities;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Cell, DType, Device, Recorder, RnnConfig};

/// Moments T, voices B, and signals of a voice at each moment.
const SHAPE: BatchShape = BatchShape::new(120, 8);
const SIGNALS: usize = 6;

/// Two layers of different kinds, each with a plan of its own. (Layers of one kind can share one: see
/// [`RnnConfig::layers`].)
const LSTM: RnnConfig = RnnConfig::new(Cell::Lstm, SIGNALS, 32);
const GRU: RnnConfig = RnnConfig::new(Cell::Gru, LSTM.outputs(), 16);

fn main() -> Result<()> {
    let app = match pollster::block_on(App::open()) {
        Ok(app) => app,
        Err(why) => {
            println!("There is no device to embed into ({why}), so the two layers run on the CPU executor.");
            let levels = on_the_cpu(&signals())?;
            println!("{} levels, the last of each voice: {:.3?}", levels.len(), last(&levels));
            return Ok(());
        }
    };
    println!("The app opened {} ({}).", app.device.adapter_info().name, app.device.adapter_info().backend);

    // The engine works on the app's device. Cloning these handles copies nothing.
    let engine = Device::from_wgpu(app.device.clone(), app.queue.clone());
    // Two of the app's buffers, as the engine sees them.
    let signals = Buffer::from_wgpu(&engine, &app.signals, 0, SHAPE.rows() * SIGNALS, DType::Float)?;
    let voices = Buffer::from_wgpu(&engine, &app.voices, 0, SHAPE.rows() * GRU.outputs(), DType::Float)?;
    let network = Network::new(&engine, &signals, &voices)?;

    // From here on nothing is allocated, compiled or uploaded: an app would do this for every frame.
    let mut encoder = app.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("frame") });
    app.record(&mut encoder, &app.make_signals);
    let dispatches = {
        // A recorder is one compute pass of the encoder. It ends here, and the encoder is the app's again.
        let mut recorder = Recorder::new(&mut encoder);
        network.record(&mut recorder)?;
        recorder.dispatches()
    };
    app.record(&mut encoder, &app.make_levels);
    app.queue.submit([encoder.finish()]);
    println!("One submit: its shader, {dispatches} dispatches of the two layers, its shader again.");

    // Reading back is for the comparison only.
    let levels = Buffer::from_wgpu(&engine, &app.levels, 0, SHAPE.rows(), DType::Float)?;
    let (signals, levels) = (engine.read(&signals)?, engine.read(&levels)?);
    let expected = on_the_cpu(&signals)?;
    let differences = levels.iter().zip(&expected).map(|(got, want)| (got - want).abs());
    // In the order of `total_cmp` NaN is the largest, so it would not go unseen.
    let difference = differences.max_by(f32::total_cmp).unwrap_or(0.0);
    println!("{} levels, the last of each voice: {:.3?}", levels.len(), last(&levels));
    println!("Largest difference from the CPU executor: {difference:.1e}");
    ensure!(difference < 1e-5, "the levels differ");
    Ok(())
}

/// LSTM → GRU, bound to the buffers that they read and write.
struct Network {
    lstm: Bound,
    gru: Bound,
}

impl Network {
    fn new(device: &Device, x: &Buffer, y: &Buffer) -> Result<Self> {
        let mut table = tensors(&LSTM, "lstm.");
        table.extend(tensors(&GRU, "gru."));
        let parameters = Parameters::new(device, table)?;
        // An app would set trained weights here. The same seed gives the same ones on every device.
        let init = Init::new(1);
        init.apply(&parameters, "lstm.", Layer::Rnn(&LSTM))?;
        init.apply(&parameters, "gru.", Layer::Rnn(&GRU))?;

        // A bound layer holds on to what it is bound to, so neither this buffer nor the parameters need another owner.
        let between = device.alloc("LSTM to GRU", SHAPE.rows() * LSTM.outputs())?;
        let bind = |config: RnnConfig, prefix: &str, x: &Buffer, y: &Buffer| {
            let plan = Rnn::new(device, config, SHAPE, Mode::Infer, Options::default())?;
            let (reserve, workspace) = (plan.reserve()?, plan.workspace()?);
            plan.bind(&parameters, prefix, &Io::new(x, y), &Gradients::default(), &reserve, &workspace)
        };
        Ok(Self { lstm: bind(LSTM, "lstm.", x, &between)?, gru: bind(GRU, "gru.", &between, y)? })
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> wgpu_rnn::Result<()> {
        self.lstm.forward.record(recorder)?;
        self.gru.forward.record(recorder)
    }
}

/// What the app owns: device and queue, three buffers, and a shader with two entry points.
struct App {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// `[T, B, SIGNALS]`, made by the shader.
    signals: wgpu::Buffer,
    /// `[T, B, H]`, made by the network.
    voices: wgpu::Buffer,
    /// `[T, B]`, made by the shader from the network's output.
    levels: wgpu::Buffer,
    make_signals: Pass,
    make_levels: Pass,
}

/// A pipeline with what it is bound to.
struct Pass {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: u32,
}

impl App {
    async fn open() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        // The best adapter; a software one where there is no other, which is good enough to show how it is done.
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&options).await?;
        // What the app itself needs would be added here. The engine runs with less, too: nothing of this is required.
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("visualiser"),
            required_features: Capabilities::useful_features() & adapter.features(),
            required_limits: Capabilities::useful_limits(&adapter.limits()),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await?;

        let buffer = |label, elements: usize| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: elements as u64 * 4,
                // The engine binds its buffers as storage; COPY_SRC is for reading back.
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        let signals = buffer("signals", SHAPE.rows() * SIGNALS);
        let voices = buffer("voices", SHAPE.rows() * GRU.outputs());
        let levels = buffer("levels", SHAPE.rows());

        let source = wgpu::ShaderSource::Wgsl(SHADER.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("visualiser"), source });
        let pass = |entry_point, buffers: &[(u32, &wgpu::Buffer)], invocations: usize| {
            let constants = [("BATCH", SHAPE.batch as f64), ("SIGNALS", SIGNALS as f64), ("HIDDEN", GRU.hidden as f64)];
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: None,
                module: &module,
                entry_point: Some(entry_point),
                compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
                cache: None,
            });
            let entries: Vec<_> = buffers
                .iter()
                .map(|&(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
                .collect();
            let layout = pipeline.get_bind_group_layout(0);
            let descriptor = wgpu::BindGroupDescriptor { label: Some(entry_point), layout: &layout, entries: &entries };
            Pass { bindings: device.create_bind_group(&descriptor), pipeline, groups: invocations.div_ceil(64) as u32 }
        };
        let make_signals = pass("make_signals", &[(0, &signals)], SHAPE.rows() * SIGNALS);
        let make_levels = pass("make_levels", &[(1, &voices), (2, &levels)], SHAPE.rows());
        Ok(Self { device, queue, signals, voices, levels, make_signals, make_levels })
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder, pass: &Pass) {
        let mut compute = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        compute.set_pipeline(&pass.pipeline);
        compute.set_bind_group(0, &pass.bindings, &[]);
        compute.dispatch_workgroups(pass.groups, 1, 1);
    }
}

/// The app's own shader, which knows nothing of networks.
const SHADER: &str = "
override BATCH: u32;
override SIGNALS: u32;
override HIDDEN: u32;

@group(0) @binding(0) var<storage, read_write> signals: array<f32>;
@group(0) @binding(1) var<storage, read> voices: array<f32>;
@group(0) @binding(2) var<storage, read_write> levels: array<f32>;

// Each signal of each voice is a wave.
@compute @workgroup_size(64)
fn make_signals(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= arrayLength(&signals) { return; }
    let signal = id.x % SIGNALS;
    let voice = id.x / SIGNALS % BATCH;
    let moment = id.x / SIGNALS / BATCH;
    signals[id.x] = sin(0.02 * f32(moment * (voice + 1u)) + f32(signal));
}

// The level of a voice is the root mean square of what the network says of it.
@compute @workgroup_size(64)
fn make_levels(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= arrayLength(&levels) { return; }
    var sum = 0.0;
    for (var i = 0u; i < HIDDEN; i++) {
        let value = voices[id.x * HIDDEN + i];
        sum += value * value;
    }
    levels[id.x] = sqrt(sum / f32(HIDDEN));
}
";

/// What `make_signals` makes, for a machine without any adapter.
fn signals() -> Vec<f32> {
    let wave = |index: usize| {
        let (signal, voice, moment) = (index % SIGNALS, index / SIGNALS % SHAPE.batch, index / SIGNALS / SHAPE.batch);
        (0.02 * (moment * (voice + 1)) as f32 + signal as f32).sin()
    };
    (0..SHAPE.rows() * SIGNALS).map(wave).collect()
}

/// The same network on the CPU executor, then what `make_levels` does.
fn on_the_cpu(signals: &[f32]) -> Result<Vec<f32>> {
    let device = Device::cpu()?;
    let x = device.upload("signals", signals)?;
    let y = device.alloc("voices", SHAPE.rows() * GRU.outputs())?;
    let network = Network::new(&device, &x, &y)?;
    device.run(|recorder| network.record(recorder))?;
    let level = |voice: &[f32]| (voice.iter().map(|value| value * value).sum::<f32>() / voice.len() as f32).sqrt();
    Ok(device.read(&y)?.chunks(GRU.outputs()).map(level).collect())
}

/// Each voice's level at the last moment.
fn last(levels: &[f32]) -> &[f32] {
    &levels[levels.len() - SHAPE.batch..]
}
