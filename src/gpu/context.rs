//! [`Gpu`]: a wgpu device and queue with the pipelines compiled for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::caps::{AdapterKind, Capabilities};
use super::pipelines::Pipelines;
use super::tuning::Tuning;
use crate::error::{Error, Result};

/// A wgpu device, owned or borrowed from an app, with this engine's compiled pipelines. Clones share everything.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    caps: Capabilities,
    pipelines: Mutex<Pipelines>,
    steps: Mutex<Option<(u32, wgpu::Buffer)>>,
    nothing: OnceLock<[wgpu::Buffer; 2]>,
    downloads: AtomicUsize,
    tuning: Mutex<Option<Tuning>>,
    cooperative: OnceLock<bool>,
}

impl Gpu {
    /// Adopts a device and its queue.
    pub fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let info = device.adapter_info();
        let caps = Capabilities::new(&info, device.features(), &device.limits());
        Self::with(device, queue, info, caps)
    }

    /// Adopts a device of an adapter with these cooperative matrices.
    pub(crate) fn with_cooperative(
        device: wgpu::Device,
        queue: wgpu::Queue,
        matrices: &[wgpu::CooperativeMatrixProperties],
    ) -> Self {
        let info = device.adapter_info();
        let caps = Capabilities::new(&info, device.features(), &device.limits()).with_cooperative(matrices);
        Self::with(device, queue, info, caps)
    }

    /// Adopts a device and treats it as one of `kind`, which decides lanes and tiles: tests run the tiles of hardware on
    /// a software adapter this way.
    pub fn new_as(device: wgpu::Device, queue: wgpu::Queue, kind: AdapterKind) -> Self {
        let info = device.adapter_info();
        let caps = Capabilities { kind, ..Capabilities::new(&info, device.features(), &device.limits()) };
        Self::with(device, queue, info, caps)
    }

    fn with(device: wgpu::Device, queue: wgpu::Queue, info: wgpu::AdapterInfo, caps: Capabilities) -> Self {
        Self {
            inner: Arc::new(Inner {
                device,
                queue,
                info,
                caps,
                pipelines: Mutex::default(),
                steps: Mutex::default(),
                nothing: OnceLock::new(),
                downloads: AtomicUsize::new(0),
                tuning: Mutex::default(),
                cooperative: OnceLock::new(),
            }),
        }
    }

    /// The wgpu device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.caps
    }

    /// The adapter behind the device.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    pub(crate) fn pipelines(&self) -> MutexGuard<'_, Pipelines> {
        self.inner.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tuning(&self) -> MutexGuard<'_, Option<Tuning>> {
        self.inner.tuning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether cooperative matrices passed their `test`, which is run once.
    pub(crate) fn trusts_cooperative(&self, test: impl FnOnce() -> bool) -> bool {
        *self.inner.cooperative.get_or_init(test)
    }

    /// Whether both are clones of one. (wgpu's own comparison can't tell devices of two instances apart.)
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// [`Error::Device`] for this device.
    pub(crate) fn failed(&self, doing: &str, why: impl ToString) -> Error {
        Error::Device { device: self.inner.info.name.clone(), doing: doing.to_string(), why: why.to_string() }
    }

    /// [`Error::Limit`] for this device.
    pub(crate) fn limit(&self, what: impl ToString, needed: impl ToString, limit: impl ToString) -> Error {
        Error::Limit {
            what: what.to_string(),
            needed: needed.to_string(),
            limit: limit.to_string(),
            device: self.inner.info.name.clone(),
        }
    }

    /// A zeroed buffer of `bytes`, usable as storage, copy source, copy destination and what `extra` adds.
    pub(crate) fn allocate(&self, label: &str, bytes: u64, extra: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let largest = self.inner.caps.max_buffer;
        if bytes > largest {
            return Err(self.limit(label, format!("{bytes} bytes"), format!("{largest} bytes a buffer")));
        }
        let usual = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.inner.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.max(4),
            usage: usual | extra,
            mapped_at_creation: false,
        });
        match ready(scope.pop()) {
            Some(Some(_)) => Err(self.limit(label, format!("{bytes} bytes"), "no more memory")),
            _ => Ok(buffer),
        }
    }

    /// A uniform buffer that holds `content` from its creation on: nothing is uploaded while recording.
    pub(crate) fn baked(&self, label: &str, content: &[u8]) -> wgpu::Buffer {
        let buffer = self.inner.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: (content.len() as u64).next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        if let Ok(mut view) = buffer.get_mapped_range_mut(..content.len() as u64) {
            view.copy_from_slice(content);
        }
        buffer.unmap();
        buffer
    }

    /// The step indices 0, 1, … `count - 1` at the device's dynamic-offset stride, shared by all plans.
    pub(crate) fn step_table(&self, count: u32) -> Result<wgpu::Buffer> {
        let mut table = self.inner.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, buffer)) = &*table
            && *held >= count
        {
            return Ok(buffer.clone());
        }
        let stride = self.inner.caps.offset_alignment as usize;
        // Offsets are 32 bits wide.
        let largest = self.inner.caps.max_buffer.min(u64::from(u32::MAX));
        let most = (largest / stride as u64) as u32;
        if count > most {
            let limit = format!("{most}, their indices being {stride} bytes apart in one buffer");
            return Err(self.limit("the number of steps", count, limit));
        }
        let held = count.checked_next_power_of_two().unwrap_or(count).min(most);
        let mut content = vec![0u8; held as usize * stride];
        for (step, slot) in content.chunks_exact_mut(stride).enumerate() {
            slot[..4].copy_from_slice(&(step as u32).to_ne_bytes());
        }
        let buffer = self.baked("steps", &content);
        *table = Some((held, buffer.clone()));
        Ok(buffer)
    }

    /// Two small buffers, one to read and one to write, that stand in where a kernel declares a binding that a cell or
    /// call does not have.
    pub(crate) fn nothing(&self) -> &[wgpu::Buffer; 2] {
        self.inner.nothing.get_or_init(|| {
            [0, 1].map(|_| {
                self.inner.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgpu-rnn nothing"),
                    size: 16,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            })
        })
    }

    /// Read-backs so far: what a training loop should do seldom.
    pub fn downloads(&self) -> usize {
        self.inner.downloads.load(Ordering::Relaxed)
    }

    /// Copies `bytes` bytes at `offset` of `buffer` to the host.
    pub async fn download(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.inner.downloads.fetch_add(1, Ordering::Relaxed);
        let staging = self.inner.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-rnn download"),
            size: bytes.max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.inner.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, bytes);
        self.inner.queue.submit([encoder.finish()]);
        let mapped = Mapping::default();
        let told = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |result| told.tell(result.map_err(|e| e.to_string())));
        #[cfg(not(target_arch = "wasm32"))]
        self.wait()?;
        mapped.await.map_err(|why| self.failed("was being read", why))?;
        let view = staging.get_mapped_range(..).map_err(|why| self.failed("was being read", why))?;
        Ok(view.to_vec())
    }

    /// Blocks until everything submitted is done.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self) -> Result<()> {
        self.inner.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|why| self.failed("was working", why))?;
        Ok(())
    }
}

/// The value of a future that is ready at once, as wgpu's error scopes are natively.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

type Mapped = std::result::Result<(), String>;

/// Completion of a `map_async`, as a future.
#[derive(Clone, Default)]
struct Mapping(Arc<Mutex<(Option<Mapped>, Option<Waker>)>>);

impl Mapping {
    fn tell(&self, result: Mapped) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Some(result);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl Future for Mapping {
    type Output = Mapped;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Mapped> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
