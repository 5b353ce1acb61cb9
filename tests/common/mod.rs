//! What the tests share: the devices they run on, layers with random data, and how far two results are apart.

#![allow(dead_code, unused_imports, reason = "each test binary uses what it needs")]

mod functions;
pub mod ir;
mod layer;
mod masks;
mod model;
mod plain;
mod side;

pub use layer::{Layer, Running, SEED, possible};
pub use model::Model;
pub use plain::{plain, plain_to_infer};

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use wgpu_rnn::gpu::{AdapterKind, Class};
pub use wgpu_rnn::nn::relative_error;
use wgpu_rnn::nn::rnn::Options;
use wgpu_rnn::{Cell, Device, DeviceKind, Recipe, RnnConfig, StepOptions};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Vec<f64>>;

/// Largest `‖got − want‖ / ‖want‖` of outputs and states in f32.
pub const OUTPUT_BOUND: f64 = 1e-5;
/// The same of gradients.
pub const GRADIENT_BOUND: f64 = 1e-4;

const NO_ADAPTER: &str =
    "the shader tests need an adapter, and one that WGPU_BACKEND and WGPU_ADAPTER_NAME leave: run `cargo xtask driver`";

/// A GPU: hardware if there is one, else a software adapter; of those that wgpu's environment variables `WGPU_BACKEND` and
/// `WGPU_ADAPTER_NAME` leave. Without either the test fails; it is never skipped.
pub fn gpu() -> Device {
    let open = |kind| pollster::block_on(Device::open(kind));
    open(DeviceKind::Gpu).or_else(|_| open(DeviceKind::Software)).expect(NO_ADAPTER)
}

/// Every executor that has to agree: the oracle, the CPU in f32, and a GPU with the tiles of software and of hardware and
/// each of its strategies.
pub fn devices() -> Vec<Device> {
    let (oracle, cpu) = (Device::oracle().expect("oracle"), Device::cpu().expect("CPU"));
    let kinds = [AdapterKind::Software, AdapterKind::Gpu];
    let gpus = kinds.into_iter().flat_map(|kind| GPU_STRATEGIES.map(|strategy| forced(tiled(kind), strategy, None)));
    [oracle, cpu].into_iter().chain(gpus).collect()
}

/// Every cell, and every option that makes other equations of one: in several phases, or with a projection.
pub fn forms() -> impl Iterator<Item = (Cell, StepOptions)> {
    let alone = |recipe: &Recipe| ["reset_before", "projection=3"].contains(&recipe.options().to_string().as_str());
    Recipe::texts().filter(move |recipe| recipe.is_plain() || alone(recipe)).map(|of| (of.cell(), of.options()))
}

/// The cells whose steps have a product, or those whose steps have none.
pub fn cells(product: bool) -> Vec<Cell> {
    Cell::ALL.iter().copied().filter(|&cell| Recipe::from(cell).has_product() == product).collect()
}

/// Every strategy of GPUs.
pub const GPU_STRATEGIES: [&str; 2] = ["stepwise", "sequence"];

/// What layers are planned with on a device: the strategy, and the steps of a dispatch.
type Choice = (&'static str, Option<usize>);

static CHOICES: Mutex<Vec<(Device, Choice)>> = Mutex::new(Vec::new());

/// The device, and from now on layers are planned on it with this strategy and span.
pub fn forced(device: Device, strategy: &'static str, span: Option<usize>) -> Device {
    CHOICES.lock().expect("choices").push((device.clone(), (strategy, span)));
    device
}

/// What was chosen for a device, if anything was.
pub fn choice(device: &Device) -> Option<Choice> {
    let choices = CHOICES.lock().expect("choices");
    choices.iter().find(|(of, _)| of.gpu().is_some() && of.same(device)).map(|(_, choice)| *choice)
}

/// The same as options of a plan of a layer: where its steps have no product, or a projection, there is one strategy for both.
pub fn planned(device: &Device, config: &RnnConfig) -> Options<'static> {
    let (strategy, span) = choice(device).unzip();
    let strategy = strategy.map(|name| match (config.recipe().has_product(), config.recipe().projection()) {
        (false, _) => "scan",
        (true, Some(_)) => "stepwise",
        (true, None) => name,
    });
    Options { strategy, span: span.flatten(), ..Options::default() }
}

/// A GPU with WebGPU's default limits and the lanes and tiles of a class, whatever it is.
pub fn tiled(class: impl Into<Class>) -> Device {
    believed(unproven(class))
}

/// The same, which is not believed before it has shown that it is right.
pub fn unproven(class: impl Into<Class>) -> Device {
    let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
    Device::from_wgpu_as(device, queue, class)
}

/// The device, taken at its word: whether it is right is what the tests find out.
fn believed(device: Device) -> Device {
    if let Some(gpu) = device.gpu() {
        gpu.believe();
    }
    device
}

/// A wgpu device of the test's own, as an app has one: a hardware adapter if there is one, else a software one, with
/// the limits that `limits` makes of the adapter's.
pub fn wgpu_device(limits: impl FnOnce(wgpu::Limits) -> wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    wgpu_device_with(wgpu::Features::empty(), limits)
}

/// The same, with those of `features` that the adapter has.
pub fn wgpu_device_with(
    features: wgpu::Features,
    limits: impl FnOnce(wgpu::Limits) -> wgpu::Limits,
) -> (wgpu::Device, wgpu::Queue) {
    // One instance, as an app has: wgpu can't tell devices of two instances apart. And one look at the adapters: OpenGL's
    // can't be looked for, nor be dropped, on two threads at once.
    static ADAPTERS: LazyLock<(wgpu::Instance, Vec<wgpu::Adapter>)> = LazyLock::new(|| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle().with_env());
        let wanted = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_default().to_lowercase();
        let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        adapters.retain(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
        adapters.sort_by_key(|adapter| {
            let info = adapter.get_info();
            (AdapterKind::of(&info) == AdapterKind::Software, info.backend == wgpu::Backend::Gl)
        });
        (instance, adapters)
    });
    let adapter = ADAPTERS.1.first().expect(NO_ADAPTER);
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features & adapter.features(),
        required_limits: limits(adapter.limits()),
        ..Default::default()
    };
    pollster::block_on(adapter.request_device(&descriptor)).expect("a device with these limits")
}

/// [`tiled`] devices with f16, one for each strategy. Empty where the adapter has none.
pub fn half_devices() -> Vec<Device> {
    let of = |kind, strategy| {
        let (device, queue) = wgpu_device_with(wgpu::Features::SHADER_F16, |_| wgpu::Limits::defaults());
        forced(believed(Device::from_wgpu_as(device, queue, kind)), strategy, None)
    };
    let kinds = [AdapterKind::Software, AdapterKind::Gpu];
    let all: Vec<Device> =
        kinds.into_iter().flat_map(|kind| GPU_STRATEGIES.map(|strategy| of(kind, strategy))).collect();
    let with: Vec<Device> =
        all.iter().filter(|device| device.gpu().is_some_and(|gpu| gpu.capabilities().f16)).cloned().collect();
    // Where tests need no hardware there are f16 to test with.
    let mesa = |device: &Device| {
        device.gpu().is_some_and(|gpu| gpu.info().driver == "llvmpipe" && device.backend() == "Vulkan")
    };
    assert!(!with.is_empty() || !all.iter().any(mesa), "Mesa's Vulkan driver has f16");
    with
}

/// WebGPU's default limits with bindings of at most `bytes`.
pub fn small_bindings(bytes: u64) -> Device {
    let limits = |_| wgpu::Limits { max_storage_buffer_binding_size: bytes, ..wgpu::Limits::defaults() };
    let (device, queue) = wgpu_device(limits);
    believed(Device::from_wgpu(device, queue))
}

/// How far the oracle may be from the plain equations, which sum in another order.
const PLAIN_BOUND: f64 = 1e-12;

/// Runs a layer on the oracle, the first of the devices, compares that with the plain equations and all others with it;
/// returns the oracle's numbers.
#[track_caller]
pub fn agree(devices: &[Device], layer: &Layer) -> Tensors {
    let (oracle, others) = devices.split_first().expect("the oracle");
    let want = layer.run(oracle);
    assert!(want.values().flatten().all(|value| value.is_finite()), "{}", layer.describe());
    assert_close(&format!("{} on the oracle", layer.describe()), &want, &plain(layer), PLAIN_BOUND, PLAIN_BOUND);
    for device in others {
        let what = format!("{} on {device:?}", layer.describe());
        assert_close(&what, &layer.run(device), &want, OUTPUT_BOUND, GRADIENT_BOUND);
    }
    want
}

/// Fails, naming `what` and every tensor of `got` that is further from `want` than its bound: `output` for y and the
/// states, `gradient` for everything else.
#[track_caller]
pub fn assert_close(what: &str, got: &Tensors, want: &Tensors, output: f64, gradient: f64) {
    assert!(got.keys().eq(want.keys()), "{what}: {:?} against {:?}", got.keys(), want.keys());
    let far = got.iter().filter_map(|(name, got)| {
        let bound = if ["y", "hn", "cn"].contains(&name.as_str()) { output } else { gradient };
        let error = relative_error(got, &want[name]);
        (error > bound).then(|| format!("{name} is off by {error:.3e}, at most {bound:.0e}"))
    });
    let far: Vec<String> = far.collect();
    assert!(far.is_empty(), "{what}: {}", far.join("; "));
}

/// Fails unless every tensor of both has the same bits.
#[track_caller]
pub fn assert_same_bits(what: &str, got: &Tensors, want: &Tensors) {
    assert!(got.keys().eq(want.keys()), "{what}: {:?} against {:?}", got.keys(), want.keys());
    for (name, got) in got {
        let differs = got.iter().zip(&want[name]).position(|(got, want)| got.to_bits() != want.to_bits());
        if let Some(at) = differs {
            panic!("{what}: `{name}`[{at}] is {:e}, expected the bits of {:e}", got[at], want[name][at]);
        }
        assert_eq!(got.len(), want[name].len(), "{what}: `{name}`");
    }
}

/// Numbers in −1..1 from a seed, the same on every platform; each an f32, so that every device sees the same values.
pub struct Random(u64);

impl Random {
    /// Seeded.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        f64::from(((z >> 40) as f32) / (1u64 << 23) as f32 - 1.0)
    }

    /// `count` numbers in ±`bound`.
    pub fn values(&mut self, count: usize, bound: f64) -> Vec<f64> {
        (0..count).map(|_| f64::from((self.next() * bound) as f32)).collect()
    }
}
