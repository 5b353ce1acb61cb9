//! [`Device`]: a GPU or the native CPU executor, opened or adopted.

use std::sync::Arc;

use crate::config::Precision;
use crate::cpu::threads::{Pool, Threads};
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu};

/// Which executor to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A hardware GPU if there is one, else the CPU executor.
    Auto,
    /// A hardware GPU, or an error.
    Gpu,
    /// A software adapter such as llvmpipe, or an error. For tests and comparisons, not for speed.
    Software,
    /// The native CPU executor in f32.
    Cpu,
}

impl std::str::FromStr for DeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "software" => Ok(Self::Software),
            "cpu" => Ok(Self::Cpu),
            _ => Err(Error::invalid("the device", "auto, gpu, software or cpu", format!("`{text}`"))),
        }
    }
}

/// Element type of the CPU executor's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NativeFloat {
    F32,
    F64,
}

/// What does the work.
#[derive(Clone)]
pub(crate) enum Executor {
    Gpu(Gpu),
    Cpu { pool: Arc<Pool>, precision: NativeFloat },
}

/// A GPU or the CPU executor. Cheap to clone; clones are the same device.
///
/// ```
/// # fn main() -> wgpu_rnn::Result<()> {
/// let device = wgpu_rnn::Device::auto()?;
/// println!("{}: {}", device.name(), device.why());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Device {
    executor: Executor,
    why: String,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("name", &self.name()).field("kind", &self.kind_name()).finish()
    }
}

impl Device {
    /// Opens a device, unchecked.
    pub(crate) async fn open_as(kind: DeviceKind) -> Result<Self> {
        let of = |executor, why: &str| Self { executor, why: why.to_string() };
        match kind {
            DeviceKind::Gpu => {
                Ok(of(Executor::Gpu(gpu::open(gpu::hardware().await?).await?), "a hardware GPU was asked for"))
            }
            DeviceKind::Software => {
                Ok(of(Executor::Gpu(gpu::open(gpu::software().await?).await?), "a software adapter was asked for"))
            }
            DeviceKind::Cpu => Ok(of(cpu(Threads::default(), NativeFloat::F32)?, "the CPU executor was asked for")),
            DeviceKind::Auto => match gpu::hardware().await {
                Ok(adapter) => match gpu::open(adapter).await {
                    Ok(gpu) => Ok(of(Executor::Gpu(gpu), "it is the best hardware GPU here")),
                    Err(error) => Self::cpu_because(format!("{error}, so the native CPU executor runs")),
                },
                Err(error @ Error::NoDevice { .. }) => {
                    Self::cpu_because(format!("{error}, so the native CPU executor runs"))
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Opens one of the adapters that [`gpu::adapters`] lists, or the one that [`gpu::adapter`] finds by number or name.
    pub async fn open_adapter(adapter: &gpu::AdapterReport) -> Result<Self> {
        let why = "it was picked from the list of adapters".to_string();
        Ok(Self { executor: Executor::Gpu(adapter.open().await?), why })
    }

    /// The native CPU executor in f32, on as many threads as the machine has.
    pub fn cpu() -> Result<Self> {
        Self::cpu_because("the CPU executor was asked for".to_string())
    }

    pub(crate) fn cpu_because(why: String) -> Result<Self> {
        Ok(Self { executor: cpu(Threads::default(), NativeFloat::F32)?, why })
    }

    /// The native CPU executor in f32 on `threads` threads (at least 1), which are its own: the app's threads may call it,
    /// several at once, and wait for it. Small work is done on the calling thread, and so is all with one thread.
    pub fn cpu_with_threads(threads: usize) -> Result<Self> {
        let why = format!("the CPU executor on {threads} threads was asked for");
        Ok(Self { executor: cpu(Threads::new(threads)?, NativeFloat::F32)?, why })
    }

    /// The native CPU executor in f64, on as many threads as the machine has: buffers hold f64, which `read_f64` and
    /// `write_f64` move unrounded, and gradients can be checked against differences of losses. Everything that runs on the
    /// CPU in f32 runs here, in twice the memory and without its vector activations.
    ///
    /// ```
    /// use wgpu_rnn::Device;
    /// # fn main() -> wgpu_rnn::Result<()> {
    /// let device = Device::cpu_f64()?;
    /// let third = device.alloc("a third", 1)?;
    /// device.write_f64(&third, &[1.0 / 3.0])?;
    /// assert_eq!(device.read_f64(&third)?, [1.0 / 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cpu_f64() -> Result<Self> {
        let why = "the CPU executor in f64 was asked for".to_string();
        Ok(Self { executor: cpu(Threads::default(), NativeFloat::F64)?, why })
    }

    /// [`cpu_f64`](Self::cpu_f64) as the reference that everything else is measured against.
    pub fn oracle() -> Result<Self> {
        Self::cpu_f64()
    }

    /// Adopts an app's device and queue. Nothing is required of it beyond WebGPU's default limits; see
    /// [`Capabilities::useful_features`](gpu::Capabilities::useful_features) and
    /// [`useful_limits`](gpu::Capabilities::useful_limits) for what gives it more room.
    ///
    /// The app's [`wgpu::Device::set_device_lost_callback`] and [`wgpu::Device::on_uncaptured_error`] stay the app's: wgpu
    /// keeps one of each, and this crate sets neither. That the device is lost is noticed without ([`lost`](Self::lost));
    /// an app that has a reason to hand on calls [`lose`](Self::lose).
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self { executor: Executor::Gpu(Gpu::new(device, queue)), why: "the app gave it".to_string() }
    }

    /// [`from_wgpu`](Self::from_wgpu), treated as an adapter of a [`Class`](gpu::Class), or as unknown hardware or software,
    /// which decides lanes and tiles. Tests run the tiles of hardware on a software adapter this way.
    pub fn from_wgpu_as(device: wgpu::Device, queue: wgpu::Queue, class: impl Into<gpu::Class>) -> Self {
        Self { executor: Executor::Gpu(Gpu::new_as(device, queue, class)), why: "the app gave it".to_string() }
    }

    /// A device to plan on as on one with `caps`; see [`Gpu::for_plans`].
    pub fn for_plans(device: wgpu::Device, queue: wgpu::Queue, caps: gpu::Capabilities) -> Self {
        Self { executor: Executor::Gpu(Gpu::for_plans(device, queue, caps)), why: "plans were asked for".to_string() }
    }

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.executor {
            Executor::Gpu(gpu) => Some(gpu),
            Executor::Cpu { .. } => None,
        }
    }

    /// Why the device is lost, if it is: then everything that is asked of it is an [`Error::Device`] that says so. The CPU
    /// executor never is. See [`Gpu::lost`].
    pub fn lost(&self) -> Option<String> {
        self.gpu()?.lost()
    }

    /// Takes a GPU for lost from now on; see [`Gpu::lose`]. Nothing on the CPU executor.
    pub fn lose(&self, reason: impl Into<String>) {
        if let Some(gpu) = self.gpu() {
            gpu.lose(reason);
        }
    }

    /// An error where values can't be stored so, or are not trusted to be.
    pub(crate) fn expect(&self, precision: Precision) -> Result<()> {
        let unsupported = |place| Err(Error::Unsupported { option: "half precision".to_string(), place });
        match (precision, self.gpu()) {
            (Precision::Full, _) => Ok(()),
            (Precision::Half, Some(gpu)) if gpu.capabilities().f16 => match gpu.doubt(&gpu::Subject::Half) {
                None => Ok(()),
                Some(why) => unsupported(format!("{}, because {why}", self.name())),
            },
            _ => unsupported(self.name()),
        }
    }

    /// The same device to check it with; see [`Gpu::beside`].
    pub(crate) fn beside(&self, with_pipelines: bool, max_binding: u64) -> Self {
        match &self.executor {
            Executor::Gpu(gpu) => Self {
                executor: Executor::Gpu(gpu.beside(with_pipelines, max_binding)),
                why: "to check it".to_string(),
            },
            Executor::Cpu { .. } => self.clone(),
        }
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Why this device was chosen, as a clause.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Name of the adapter, or of the executor.
    pub fn name(&self) -> String {
        match &self.executor {
            Executor::Gpu(gpu) => gpu.info().name.clone(),
            Executor::Cpu { precision: NativeFloat::F32, .. } => "CPU".to_string(),
            Executor::Cpu { precision: NativeFloat::F64, .. } => "CPU (f64)".to_string(),
        }
    }

    /// `gpu`, `software` or `cpu`.
    pub fn kind_name(&self) -> &'static str {
        match &self.executor {
            Executor::Gpu(gpu) => match gpu.capabilities().kind {
                gpu::AdapterKind::Gpu => "gpu",
                gpu::AdapterKind::Software => "software",
            },
            Executor::Cpu { .. } => "cpu",
        }
    }

    /// wgpu's backend, or the executor's threads.
    pub fn backend(&self) -> String {
        match &self.executor {
            Executor::Gpu(gpu) => format!("{:?}", gpu.info().backend),
            Executor::Cpu { pool, .. } => format!("native, {} threads", pool.threads().count()),
        }
    }

    /// Bytes of a float: 8 on the oracle, else 4.
    pub fn float_bytes(&self) -> u64 {
        match &self.executor {
            Executor::Cpu { precision: NativeFloat::F64, .. } => 8,
            _ => 4,
        }
    }

    /// Whether both are the same device (two CPU executors of one precision are).
    pub fn same(&self, other: &Self) -> bool {
        match (&self.executor, &other.executor) {
            (Executor::Gpu(a), Executor::Gpu(b)) => a.same(b),
            (Executor::Cpu { precision: a, .. }, Executor::Cpu { precision: b, .. }) => a == b,
            _ => false,
        }
    }

    /// An error when `bytes` more can't be had: beyond the memory that is free on this machine, for executors that
    /// live in it (the CPU, software adapters); asked from 64 MiB on. Catches a size that would otherwise be granted lazily and end the process.
    pub fn check_memory(&self, what: &str, bytes: u64) -> Result<()> {
        let in_host_memory = self.kind_name() != "gpu" && !self.gpu().is_some_and(Gpu::plans_only);
        #[cfg(not(target_arch = "wasm32"))]
        if in_host_memory
            && bytes > 64 << 20
            && let Ok(mut system) = sysinfo::System::new()
        {
            let mut free = || {
                system.refresh_memory();
                // A container may have less than its machine.
                let granted = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
                system.available_memory().min(granted.unwrap_or(u64::MAX))
            };
            let mut left = free();
            if bytes > left && self.gpu().is_some_and(Gpu::reclaim) {
                left = free();
            }
            if bytes > left {
                return Err(Error::Limit {
                    what: what.to_string(),
                    needed: format!("{bytes} bytes"),
                    limit: format!("{left} bytes, the free memory of this machine"),
                    device: self.name(),
                });
            }
        }
        let _ = (what, bytes, in_host_memory);
        Ok(())
    }

    /// Frees the memory that this crate holds on a GPU to use again; nothing on the CPU. See [`Gpu::trim`].
    pub fn trim(&self) {
        if let Some(gpu) = self.gpu() {
            gpu.trim();
        }
    }
}

fn cpu(threads: Threads, precision: NativeFloat) -> Result<Executor> {
    Ok(Executor::Cpu { pool: Arc::new(Pool::new(threads)?), precision })
}
