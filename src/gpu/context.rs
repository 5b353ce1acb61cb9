//! [`Gpu`]: a wgpu device and queue with the pipelines compiled for it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::caps::{AdapterKind, Capabilities};
use super::checks::Checks;
use super::counters::{Counters, Counting};
use super::pipelines::Pipelines;
use super::pool::Pool;
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
    checks: OnceLock<Checks>,
    pipelines: Mutex<Pipelines>,
    steps: Mutex<Option<(u32, wgpu::Buffer)>>,
    nothing: OnceLock<[wgpu::Buffer; 2]>,
    pool: Mutex<Pool>,
    counting: Counting,
    tuning: Mutex<Option<Tuning>>,
    cooperative: OnceLock<bool>,
}

impl Gpu {
    /// What a storage buffer made here may be used for.
    pub(super) const STORAGE: wgpu::BufferUsages =
        wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

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
                checks: OnceLock::new(),
                pipelines: Mutex::default(),
                steps: Mutex::default(),
                nothing: OnceLock::new(),
                pool: Mutex::default(),
                counting: Counting::default(),
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

    pub(super) fn watching(&self) -> &OnceLock<Checks> {
        &self.inner.checks
    }

    /// The adapter behind the device.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    pub(crate) fn pipelines(&self) -> MutexGuard<'_, Pipelines> {
        self.inner.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.inner.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was made on this device and moved to or from it so far.
    pub fn counters(&self) -> Counters {
        self.inner.counting.now()
    }

    pub(super) fn counting(&self) -> &Counting {
        &self.inner.counting
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
        let (size, usage) = (bytes.max(4), Self::STORAGE | extra);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.create(&descriptor)?;
        self.inner.counting.storage_buffers.add();
        Ok(buffer)
    }

    /// A buffer; where there is no memory left, once more without what waits in the pool.
    pub(super) fn create(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        let try_it = || {
            let scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let buffer = self.inner.device.create_buffer(descriptor);
            match ready(scope.pop()) {
                Some(Some(_)) => None,
                _ => Some(buffer),
            }
        };
        let again = || self.reclaim().then(try_it).flatten();
        try_it().or_else(again).ok_or_else(|| {
            let what = descriptor.label.unwrap_or("a buffer");
            self.limit(what, format!("{} bytes", descriptor.size), "no more memory")
        })
    }

    /// A uniform buffer that holds `content` from its creation on: nothing is uploaded while recording.
    pub(crate) fn baked(&self, label: &str, content: &[u8]) -> Result<wgpu::Buffer> {
        let buffer = self.create(&wgpu::BufferDescriptor {
            label: Some(label),
            size: (content.len() as u64).next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        })?;
        self.inner.counting.uniform_buffers.add();
        if let Ok(mut view) = buffer.get_mapped_range_mut(..content.len() as u64) {
            view.copy_from_slice(content);
        }
        buffer.unmap();
        Ok(buffer)
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
        let buffer = self.baked("steps", &content)?;
        *table = Some((held, buffer.clone()));
        Ok(buffer)
    }

    /// Writable bindings of one kernel that may stand for nothing.
    pub(crate) const NOTHINGS: u32 = 3;
    /// Bytes from one of them to the next: the largest alignment of an offset that there is.
    pub(crate) const NOTHING_STRIDE: u32 = 256;

    /// Two small buffers that stand in where a kernel declares a binding that a cell or call does not have: one to read,
    /// and one to write, of which each binding has a range of its own.
    pub(crate) fn nothing(&self) -> &[wgpu::Buffer; 2] {
        self.inner.nothing.get_or_init(|| {
            [16, Self::NOTHINGS * Self::NOTHING_STRIDE].map(|size| {
                self.inner.counting.storage_buffers.add();
                self.inner.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgpu-rnn nothing"),
                    size: u64::from(size),
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            })
        })
    }

    /// Writes `bytes` at `offset` of `buffer`, before the next submit.
    pub(crate) fn upload(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.inner.counting.uploads.add();
        self.inner.queue.write_buffer(buffer, offset, bytes);
    }

    /// A bind group, or why there is none, such as a buffer of another wgpu device.
    pub(crate) fn bind_group(
        &self,
        descriptor: &wgpu::BindGroupDescriptor<'_>,
    ) -> std::result::Result<wgpu::BindGroup, wgpu::Error> {
        self.inner.counting.bind_groups.add();
        let scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let bind_group = self.inner.device.create_bind_group(descriptor);
        match ready(scope.pop()) {
            Some(Some(error)) => Err(error),
            _ => Ok(bind_group),
        }
    }

    /// Copies `bytes` bytes at `offset` of `buffer` to the host.
    pub async fn download(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.inner.counting.downloads.add();
        let lease = self.staging(bytes)?;
        let staging = lease.buffer();
        let mut encoder = self.inner.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, staging, 0, bytes);
        self.inner.queue.submit([encoder.finish()]);
        let mapped = Mapping::default();
        let told = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |result| told.tell(result.map_err(|e| e.to_string())));
        #[cfg(not(target_arch = "wasm32"))]
        self.wait()?;
        mapped.await.map_err(|why| self.failed("was being read", why))?;
        let view = staging.get_mapped_range(..bytes).map_err(|why| self.failed("was being read", why))?;
        let content = view.to_vec();
        drop(view);
        staging.unmap();
        // Only now: a read-back that failed, or that nobody waited for, may leave it mapped.
        lease.reuse();
        Ok(content)
    }

    /// Frees what waits in the pool, now. Whether there was anything.
    pub(crate) fn reclaim(&self) -> bool {
        let idle = self.pool_use().idle > 0;
        if idle {
            self.trim();
            // A device that can't be waited for says so at its next use.
            #[cfg(not(target_arch = "wasm32"))]
            let _ = self.wait();
        }
        idle
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
