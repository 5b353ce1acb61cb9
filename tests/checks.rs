//! Nothing is read or written beyond a buffer: kernels compiled with all checks give the same bits, bands of NaN around every
//! buffer change none, and nothing is left in them.

mod common;

use common::{GPU_STRATEGIES, Layer, assert_same_bits, forced, half_devices, tiled, wgpu_device_with};
use wgpu_rnn::gpu::{AdapterKind, Checks};
use wgpu_rnn::nn::{Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{Optimizer, OptimizerConfig};
use wgpu_rnn::{Cell, Device, Recipe, RnnConfig};

/// Layers of odd sizes: fewer units and sequences than a tile has and more, lengths, recomputation, norms of gradients.
fn layers(cell: Cell) -> Vec<Layer> {
    let config = RnnConfig::new(cell, 5, 9);
    let mut followed = Layer::random(RnnConfig::new(cell, 3, 33), 5, 2, 4).lengths(&[5, 3]);
    followed.flow = true;
    vec![
        Layer::random(config, 1, 1, 1),
        Layer::random(config.layers(2).bidirectional(true), 7, 3, 2).lengths(&[7, 1, 4]),
        Layer::random(RnnConfig::new(cell, 17, 70).bias(false), 4, 19, 3).recompute(2),
        followed,
    ]
}

/// Two of the [`layers`] of every cell, others in each turn: all of a cell's come within four turns, twice.
fn some_layers(turn: usize) -> impl Iterator<Item = Layer> {
    let of_cell = move |(index, &cell): (usize, &Cell)| {
        let layers = layers(cell);
        [0, 1].map(|next| layers[(turn + index + next) % layers.len()].clone())
    };
    // And some with options of a step, in more layers than one.
    let varied = Recipe::texts().filter(|recipe| !recipe.is_plain()).skip(turn).step_by(4).map(|recipe| {
        let config = RnnConfig::new(recipe.cell(), 3, 6)
            .options(recipe.options())
            .layers(2)
            .dropout(0.5)
            .input_dropout(0.2)
            .weight_dropout(0.2);
        Layer::random(config.bidirectional(recipe.gates() == 3), 5, 4, 2).lengths(&[5, 1, 3, 4])
    });
    Cell::ALL.iter().enumerate().flat_map(of_cell).chain(varied)
}

/// A device of a class and strategy, watched in this way.
fn watched(kind: AdapterKind, strategy: &'static str, checks: Checks) -> Device {
    let device = forced(tiled(kind), strategy, None);
    device.gpu().expect("a GPU").watch(checks).expect("nothing is settled yet");
    device
}

const NONE: Checks = Checks { bounds: false, bands: false };
const BOUNDS: Checks = Checks { bounds: true, bands: false };
const BANDS: Checks = Checks { bounds: false, bands: true };

/// Every class of adapters with every strategy.
fn ways() -> impl Iterator<Item = (AdapterKind, &'static str)> {
    let kinds = [AdapterKind::Software, AdapterKind::Gpu];
    kinds.into_iter().flat_map(|kind| GPU_STRATEGIES.map(|strategy| (kind, strategy)))
}

/// Fails where something was written around a buffer.
#[track_caller]
fn assert_bands_hold(what: &str, device: &Device) {
    let broken = pollster::block_on(device.gpu().expect("a GPU").broken_bands()).expect("a read");
    assert!(broken.is_empty(), "{what} on {device:?}: written beyond {broken:?}");
}

/// Every strategy and cell, with layers in turn, on a device as it is and on one that is watched.
fn same_bits(checks: Checks) {
    for (turn, (kind, strategy)) in ways().enumerate() {
        let plain = watched(kind, strategy, NONE);
        let watching = watched(kind, strategy, checks);
        for layer in some_layers(turn) {
            let what = format!("{} with {checks:?} on {kind:?}, {strategy}", layer.describe());
            assert_same_bits(&what, &layer.run(&watching), &layer.run(&plain));
            // Inference shares buffers and leaves out what backward would need.
            let infer = |device: &Device, repack| {
                let layer = Layer { recompute: None, flow: false, repack, ..layer.clone() };
                let running = layer.bind(device, Mode::Infer).expect("a plan");
                running.run().expect("a run");
                running.read().expect("a read")
            };
            let recipe = layer.config.recipe();
            let steps = strategy == "stepwise" && recipe.has_product() && recipe.projection().is_none();
            let repacks = if kind == AdapterKind::Software && steps { &[None, Some(true)][..] } else { &[None] };
            for &repack in repacks {
                assert_same_bits(&format!("{what}, inference"), &infer(&watching, repack), &infer(&plain, repack));
            }
            if checks.bands {
                assert_bands_hold(&what, &watching);
            }
        }
    }
}

#[test]
fn checked_kernels_give_the_same_bits() {
    same_bits(BOUNDS);
}

#[test]
fn nothing_is_read_or_written_around_buffers() {
    same_bits(BANDS);
}

#[test]
fn nor_where_layers_are_stored_in_half() {
    if half_devices().is_empty() {
        return;
    }
    for (turn, (kind, strategy)) in ways().enumerate() {
        let open = |checks: Checks| {
            let (device, queue) = wgpu_device_with(wgpu::Features::SHADER_F16, |_| wgpu::Limits::defaults());
            let device = forced(Device::from_wgpu_as(device, queue, kind), strategy, None);
            device.gpu().expect("a GPU").watch(checks).expect("nothing is settled yet");
            device
        };
        let (plain, banded) = (open(NONE), open(BANDS));
        for layer in some_layers(turn) {
            let layer = layer.half(true);
            let what = format!("{} on {kind:?}, {strategy}", layer.describe());
            assert_same_bits(&what, &layer.run(&banded), &layer.run(&plain));
            assert_bands_hold(&what, &banded);
        }
    }
}

/// What is not a layer: projection, losses, norm, optimisers, what probes gather.
#[test]
fn nor_by_what_stands_around_a_layer() {
    for kind in [AdapterKind::Software, AdapterKind::Gpu] {
        let results = [NONE, BANDS, BOUNDS].map(|checks| {
            let device = watched(kind, "sequence", checks);
            let mut all = Vec::new();
            for rows in [1, 5, 33, 257] {
                all.extend(around(&device, rows));
            }
            if checks.bands {
                assert_bands_hold("what stands around a layer", &device);
            }
            all
        });
        let bits = results.map(|all| all.into_iter().map(f64::to_bits).collect::<Vec<_>>());
        assert!(bits[0] == bits[1] && bits[0] == bits[2], "{kind:?}");
    }
}

/// Two steps of a classifier and of a regression of `rows` rows, and everything that came of it.
fn around(device: &Device, rows: usize) -> Vec<f64> {
    let (inputs, outputs) = (7, 13);
    let mut random = common::Random::new(rows as u64);
    let layer = Linear::new(inputs, outputs);
    let params = Parameters::new(device, layer.parameters("head.")).expect("parameters");
    for (name, shape) in layer.parameters("head.") {
        let values = random.values(shape.iter().product(), 0.5);
        params.set_f64(&name, &shape, &values).expect("a parameter");
    }
    let upload = |name: &str, values: &[f64]| {
        let buffer = device.alloc(name, values.len()).expect("room");
        device.write_f64(&buffer, values).expect("a write");
        buffer
    };
    let x = upload("x", &random.values(rows * inputs, 1.0));
    let target = upload("target", &random.values(rows * outputs, 1.0));
    let labels: Vec<u32> = (0..rows as u32).map(|row| row % 13).collect();
    let labels = device.upload_u32("labels", &labels).expect("labels");
    let [y, dy, dx] = [("y", outputs), ("dy", outputs), ("dx", inputs)]
        .map(|(name, width)| device.alloc(name, rows * width).expect("room"));
    let forward = layer.bind(&params, "head.", rows, &x, &y).expect("a layer");
    let backward = layer.backward(&params, "head.", rows, &x, &dy, Some(&dx)).expect("a layer");
    let losses = [
        Loss::cross_entropy(device, rows, outputs, &y, &labels, Some(&dy)),
        Loss::mse(device, &y, &target, Some(&dy)),
        Loss::quantile(device, &[0.5], &y, &target, Some(&dy), None),
    ]
    .map(|loss| loss.expect("a loss"));
    let optimizers = [OptimizerConfig::sgd(0.1), OptimizerConfig::adam(0.01)]
        .map(|config| Optimizer::new(&params, config).expect("an optimiser"));
    let mut all = Vec::new();
    for loss in &losses {
        for optimizer in &optimizers {
            device
                .run(|recorder| {
                    forward.record(recorder)?;
                    loss.record(recorder)?;
                    backward.record(recorder)?;
                    optimizer.record(recorder)
                })
                .expect("a step");
            all.push(loss.read_value().expect("a value"));
            for buffer in [&y, &dy, &dx, params.values(), params.gradients()] {
                all.extend(device.read_f64(buffer).expect("a read"));
            }
        }
    }
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 11), 4, rows.min(40), 3);
    let running = layer.bind(device, Mode::Train).expect("a layer");
    let activity = running.activity();
    for value in wgpu_rnn::probe::values(Cell::Gru) {
        all.extend(activity.units(0, 0, value).iter().flat_map(|unit| [unit.mean, unit.spread, unit.near_zero]));
    }
    all
}

/// A kernel that looks behind its buffer finds NaN there, and one that writes there is found out.
#[test]
fn bands_show_what_goes_beyond() {
    let device = tiled(AdapterKind::Software);
    let gpu = device.gpu().expect("a GPU");
    gpu.watch(BANDS).expect("nothing is settled yet");
    assert!(gpu.watch(NONE).is_err(), "settled twice");
    let [from, to] = ["from", "to"].map(|name| device.alloc(name, 10).expect("room"));
    assert_bands_hold("nothing", &device);
    let source = "
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> destination: array<f32>;

@compute @workgroup_size(1)
fn main() {
    destination[0] = source[9];
    destination[1] = source[10];
    destination[12] = 1.0;
}
";
    let wgpu = gpu.device();
    let source = wgpu::ShaderSource::Wgsl(source.into());
    let module = wgpu.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = wgpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let entries: Vec<_> = [&from, &to]
        .into_iter()
        .enumerate()
        .map(|(binding, buffer)| {
            let (buffer, offset) = buffer.wgpu().expect("on the GPU");
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: None });
            wgpu::BindGroupEntry { binding: binding as u32, resource }
        })
        .collect();
    let layout = pipeline.get_bind_group_layout(0);
    let group = wgpu.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    let mut encoder = wgpu.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(1, 1, 1);
    drop(pass);
    gpu.queue().submit([encoder.finish()]);
    let read = device.read(&to).expect("a read");
    assert!(read[0] == 0.0 && read[1].is_nan(), "{read:?}");
    let broken = pollster::block_on(gpu.broken_bands()).expect("a read");
    assert_eq!(broken, [("to".to_string(), 48)]);
}
