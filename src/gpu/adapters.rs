//! Finding adapters: list them, pick a hardware or a software one, or one by number or name, open it.

use std::sync::OnceLock;

use serde::Serialize;

use super::border::{caught, caught_within};
use super::caps::{AdapterKind, Capabilities};
use super::choice;
use super::context::Gpu;
use crate::error::{Error, Result};

/// One adapter of this machine.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterReport {
    /// Its name.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12`, `Gl` or `BrowserWebGpu`.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// Features and limits that matter here, as the adapter could give them.
    pub capabilities: Capabilities,
    /// Why this engine can't use it, if it can't.
    pub unusable: Option<String>,
    #[serde(skip)]
    adapter: wgpu::Adapter,
}

impl AdapterReport {
    fn new(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        Self {
            capabilities: Capabilities::new(&info, adapter.features(), &adapter.limits())
                .with_cooperative(&adapter.cooperative_matrix_properties()),
            name: info.name,
            backend: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            unusable: unusable(adapter),
            adapter: adapter.clone(),
        }
    }

    /// wgpu's adapter.
    pub fn adapter(&self) -> &wgpu::Adapter {
        &self.adapter
    }

    /// Opens it.
    pub(crate) async fn open(&self) -> Result<Gpu> {
        match &self.unusable {
            Some(why) => Err(not_opened(&self.name, why)),
            None => open(self.adapter.clone()).await,
        }
    }
}

/// The one instance of every device that is opened here, with the backends that the environment wants.
fn instance() -> Result<&'static wgpu::Instance> {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    let backends = choice::backends(choice::value(choice::BACKENDS).as_deref())?;
    if let Some(instance) = INSTANCE.get() {
        return Ok(instance);
    }
    let made = caught(|| INSTANCE.get_or_init(|| new_instance(backends)));
    made.map_err(|why| Error::NoDevice { wanted: "adapter".to_string(), why: format!("wgpu panicked: {why}") })
}

fn new_instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // Debug and validation layers are the host's choice (WGPU_DEBUG=1, WGPU_VALIDATION=1), never this crate's default.
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..descriptor.with_env() })
}

/// Adapters in order of preference: hardware before software, native APIs before OpenGL, discrete before integrated before
/// virtual. Only those that the environment wants, if it wants some.
async fn list() -> Result<Vec<wgpu::Adapter>> {
    let instance = instance()?;
    let mut found = enumerate(instance, wgpu::Backends::all().difference(wgpu::Backends::GL)).await;
    found.extend_from_slice(opengl(instance));
    let wanted = choice::value(choice::ADAPTER);
    found.retain(|adapter| choice::takes(wanted.as_deref(), &adapter.get_info().name));
    found.sort_by_key(|adapter| {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        (AdapterKind::of(&info) == AdapterKind::Software, info.backend == wgpu::Backend::Gl, kind)
    });
    Ok(found)
}

/// The adapters of `backends`. A backend whose search panics has none: those of the others are as good.
async fn enumerate(instance: &wgpu::Instance, backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut found = Vec::new();
    for backend in backends.iter() {
        match caught_within(instance.enumerate_adapters(backend)).await {
            Ok(adapters) => found.extend(adapters),
            Err(why) => log::error!("wgpu panicked while it looked for adapters of {backend:?}: {why}"),
        }
    }
    found
}

/// OpenGL's adapters, looked for once. All of an instance share one OpenGL context, and each search makes a lock of its own
/// for it: a second search, on another thread or beside an open device, meets a context that is in use, and wgpu panics.
#[cfg(not(target_arch = "wasm32"))]
fn opengl(instance: &wgpu::Instance) -> &'static [wgpu::Adapter] {
    static FOUND: OnceLock<Vec<wgpu::Adapter>> = OnceLock::new();
    FOUND.get_or_init(|| super::mapping::ready(enumerate(instance, wgpu::Backends::GL)).unwrap_or_default())
}

/// A browser's own API is the only one there.
#[cfg(target_arch = "wasm32")]
fn opengl(_: &wgpu::Instance) -> &'static [wgpu::Adapter] {
    &[]
}

/// Why the engine can't run on `adapter`, if it can't.
fn unusable(adapter: &wgpu::Adapter) -> Option<String> {
    let flags = adapter.get_downlevel_capabilities().flags;
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Some("it has no compute shaders".to_string());
    }
    let mut why = None;
    let (wanted, given) = (Capabilities::useful_limits(&adapter.limits()), adapter.limits());
    wanted.check_limits_with_fail_fn(&given, false, |name, wanted, given| {
        why.get_or_insert_with(|| format!("its {name} is {given} and {wanted} is needed"));
    });
    why
}

/// Every adapter of this machine, best first; its place is its number. wgpu's environment variables `WGPU_BACKEND` and
/// `WGPU_ADAPTER_NAME` leave only those that they name: an error where the first names no backend.
pub async fn adapters() -> Result<Vec<AdapterReport>> {
    Ok(list().await?.iter().map(AdapterReport::new).collect())
}

/// One of [`adapters`]: by its number, or by its name or words of it and of its backend, whatever their case. An error
/// that lists what there is when none or several are meant.
///
/// ```no_run
/// # fn main() -> wgpu_rnn::Result<()> {
/// let adapter = pollster::block_on(wgpu_rnn::gpu::adapter("radeon vulkan"))?;
/// let device = pollster::block_on(wgpu_rnn::Device::open_adapter(&adapter))?;
/// # let _ = device;
/// # Ok(())
/// # }
/// ```
pub async fn adapter(wanted: &str) -> Result<AdapterReport> {
    let all = list().await?;
    let labels: Vec<String> = all.iter().map(label).collect();
    Ok(AdapterReport::new(&all[choice::find(&labels, wanted)?]))
}

fn label(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    format!("{} ({:?})", info.name, info.backend)
}

async fn pick(kind: AdapterKind, wanted: &str) -> Result<wgpu::Adapter> {
    let all = list().await?;
    let names: Vec<String> = all.iter().map(label).collect();
    let of_kind = |adapter: &wgpu::Adapter| AdapterKind::of(&adapter.get_info()) == kind;
    let found = all.into_iter().find(|adapter| of_kind(adapter) && unusable(adapter).is_none());
    found.ok_or_else(|| Error::NoDevice {
        wanted: wanted.to_string(),
        why: match names.is_empty() {
            true => choice::none(),
            false => format!("the adapters of this machine are {}{}", names.join(", "), choice::hidden_by()),
        },
    })
}

fn not_opened(device: &str, why: impl ToString) -> Error {
    Error::Device { device: device.to_string(), doing: "was being opened".to_string(), why: why.to_string() }
}

/// The best hardware adapter.
pub(crate) async fn hardware() -> Result<wgpu::Adapter> {
    pick(AdapterKind::Gpu, "hardware GPU").await
}

/// The best software adapter.
pub(crate) async fn software() -> Result<wgpu::Adapter> {
    pick(AdapterKind::Software, "software GPU adapter").await
}

/// Opens `adapter` with every feature and limit that the engine can use.
pub(crate) async fn open(adapter: wgpu::Adapter) -> Result<Gpu> {
    let info = adapter.get_info();
    let matrices = adapter.cooperative_matrix_properties();
    let capabilities = Capabilities::new(&info, adapter.features(), &adapter.limits()).with_cooperative(&matrices);
    let mut features = Capabilities::useful_features() & adapter.features();
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if capabilities.cooperative_size.is_some() {
        features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: the one experimental feature is that of the one kernel with cooperative matrices, which the adapter
        // lists. It keeps to whole matrices within its operands, and is used only after a test product came out right.
        experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgpu-rnn"),
        required_features: features,
        experimental_features,
        required_limits: Capabilities::useful_limits(&adapter.limits()),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    };
    let opened = caught_within(adapter.request_device(&descriptor)).await;
    let opened = opened.map_err(|why| not_opened(&info.name, format!("wgpu panicked: {why}")))?;
    let (device, queue) = opened.map_err(|error| not_opened(&info.name, error))?;
    // wgpu's default is to panic. What matters is caught in error scopes and returned; the rest is logged.
    device.on_uncaptured_error(std::sync::Arc::new(|error| log::error!("{error}")));
    Ok(Gpu::with_cooperative(device, queue, &matrices))
}
