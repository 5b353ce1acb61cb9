//! [`Gpu`]: a wgpu device and queue with the pipelines compiled for it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::border::{Call, Lost, Trouble};
use super::caps::Capabilities;
use super::checks::Checks;
use super::class::Class;
use super::counters::{Counters, Counting};
use super::pace::Pace;
use super::pipelines::Pipelines;
use super::pool::Pool;
use super::trust::Trust;
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
    pipelines: Arc<Mutex<Pipelines>>,
    steps: Mutex<Option<(u32, wgpu::Buffer)>>,
    nothing: OnceLock<[wgpu::Buffer; 2]>,
    pool: Mutex<Pool>,
    counting: Counting,
    tuning: Mutex<Option<Tuning>>,
    trust: Arc<Trust>,
    /// Whether it is there to check the device, and uses what is not trusted.
    is_checking: bool,
    lost: Lost,
    /// Whether wgpu calls back here when the device is lost.
    listens: bool,
    pace: Arc<parking_lot::Mutex<Pace>>,
    /// Nothing is allocated, compiled or run.
    plans_only: bool,
}

/// What this crate has to do with a wgpu device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It opened it.
    Own,
    /// An app did.
    Adopted,
    /// It plans for another.
    Plans,
}

impl Gpu {
    /// What a storage buffer made here may be used for.
    pub(super) const STORAGE: wgpu::BufferUsages =
        wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

    /// Adopts a device and its queue.
    pub fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let info = device.adapter_info();
        let caps = Capabilities::new(&info, device.features(), &device.limits());
        Self::with(device, queue, info, caps, Role::Adopted)
    }

    /// Takes a device that was opened here, of an adapter with these cooperative matrices.
    pub(crate) fn with_cooperative(
        device: wgpu::Device,
        queue: wgpu::Queue,
        matrices: &[wgpu::CooperativeMatrixProperties],
    ) -> Self {
        let info = device.adapter_info();
        let caps = Capabilities::new(&info, device.features(), &device.limits()).with_cooperative(matrices);
        Self::with(device, queue, info, caps, Role::Own)
    }

    /// Adopts a device and treats it as one of `class`, or as unknown hardware or software, which decides lanes and tiles:
    /// tests run the tiles of hardware on a software adapter this way.
    pub fn new_as(device: wgpu::Device, queue: wgpu::Queue, class: impl Into<Class>) -> Self {
        let (info, class) = (device.adapter_info(), class.into());
        let caps = Capabilities::new(&info, device.features(), &device.limits());
        let caps = Capabilities { kind: class.kind(), class, ..caps };
        Self::with(device, queue, info, caps, Role::Adopted)
    }

    /// Plans as for a device with `caps`, whatever this one can do: nothing is allocated, compiled or uploaded, and
    /// what is planned can't be recorded. It tells what layers of any size would take there: their ops, dispatches and
    /// estimated times.
    pub fn for_plans(device: wgpu::Device, queue: wgpu::Queue, caps: Capabilities) -> Self {
        let info = device.adapter_info();
        let gpu = Self::with(device, queue, info, caps, Role::Plans);
        gpu.believe();
        gpu
    }

    /// An app may have a callback for the loss of its `device`, and natively wgpu keeps one a device: only where it is our
    /// own is it listened to. A browser tells every listener.
    fn with(device: wgpu::Device, queue: wgpu::Queue, info: wgpu::AdapterInfo, caps: Capabilities, role: Role) -> Self {
        let (lost, listens) = (Lost::default(), role == Role::Own || cfg!(target_arch = "wasm32"));
        if listens {
            lost.listen(&device);
        }
        let trust = Arc::new(Trust::of(key(&info, &caps)));
        Self {
            inner: Arc::new(Inner {
                device,
                queue,
                info,
                caps,
                checks: OnceLock::new(),
                pipelines: Arc::default(),
                steps: Mutex::default(),
                nothing: OnceLock::new(),
                pool: Mutex::default(),
                counting: Counting::default(),
                tuning: Mutex::default(),
                trust,
                is_checking: false,
                lost,
                listens,
                pace: Arc::default(),
                plans_only: role == Role::Plans,
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

    pub(super) fn loss(&self) -> &Lost {
        &self.inner.lost
    }

    pub(super) fn listens(&self) -> bool {
        self.inner.listens
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

    pub(super) fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    /// Whether it is [`beside`](Self::beside) another.
    pub(crate) fn is_checking(&self) -> bool {
        self.inner.is_checking
    }

    /// The same wgpu device with a pool and counters of its own, to check it with: it uses strategies and precisions
    /// whether they are trusted or not, and plans as if bindings had at most `max_binding` bytes. It compiles into this
    /// device's pipelines, or apart from them and from their cache, which an app may still want to give.
    pub(crate) fn beside(&self, with_pipelines: bool, max_binding: u64) -> Self {
        let Inner { device, queue, info, caps, checks, trust, lost, listens, pipelines, pace, plans_only, .. } =
            &*self.inner;
        let pipelines = match with_pipelines {
            true => pipelines.clone(),
            false => Arc::new(Mutex::new(Pipelines { cache: Some(None), ..Pipelines::default() })),
        };
        Self {
            inner: Arc::new(Inner {
                device: device.clone(),
                queue: queue.clone(),
                info: info.clone(),
                caps: Capabilities { max_binding: caps.max_binding.min(max_binding), ..caps.clone() },
                checks: checks.clone(),
                pipelines,
                steps: Mutex::default(),
                nothing: OnceLock::new(),
                pool: Mutex::default(),
                counting: Counting::default(),
                tuning: Mutex::default(),
                trust: trust.clone(),
                is_checking: true,
                lost: lost.clone(),
                listens: *listens,
                pace: pace.clone(),
                plans_only: *plans_only,
            }),
        }
    }

    pub(super) fn pace(&self) -> &Arc<parking_lot::Mutex<Pace>> {
        &self.inner.pace
    }

    /// Whether nothing is allocated, compiled or run here.
    pub(crate) fn plans_only(&self) -> bool {
        self.inner.plans_only
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
        let bytes = if self.inner.plans_only { 0 } else { bytes };
        let (size, usage) = (bytes.max(4), Self::STORAGE | extra);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.create(&descriptor)?;
        self.inner.counting.storage_buffers.add();
        Ok(buffer)
    }

    /// A buffer; where there is no memory left, once more without what waits in the pool.
    pub(super) fn create(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        let try_it = || self.call(Call::Make, || self.inner.device.create_buffer(descriptor));
        let is_full = |trouble: &Trouble| matches!(trouble, Trouble::Refused(wgpu::Error::OutOfMemory { .. }));
        let made = match try_it() {
            Err(trouble) if is_full(&trouble) && self.reclaim() => try_it(),
            made => made,
        };
        made.map_err(|trouble| {
            let what = descriptor.label.unwrap_or("a buffer");
            match is_full(&trouble) {
                true => self.limit(what, format!("{} bytes", descriptor.size), "no more memory"),
                false => self.failed(&format!("was making {what}"), trouble),
            }
        })
    }

    /// A uniform buffer that holds `content` from its creation on: nothing is uploaded while recording.
    pub(crate) fn baked(&self, label: &str, content: &[u8]) -> Result<wgpu::Buffer> {
        if self.inner.plans_only {
            return Ok(self.nothing()?[0].clone());
        }
        let buffer = self.create(&wgpu::BufferDescriptor {
            label: Some(label),
            size: (content.len() as u64).next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        })?;
        self.inner.counting.uniform_buffers.add();
        let filled = self.work("was filling a uniform buffer", || {
            let mut view = buffer.get_mapped_range_mut(..content.len() as u64).map_err(|why| why.to_string())?;
            view.copy_from_slice(content);
            drop(view);
            buffer.unmap();
            std::result::Result::<(), String>::Ok(())
        });
        filled?.map_err(|why| self.failed("was filling a uniform buffer", why))?;
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
        let held = if self.inner.plans_only { 1 } else { count.checked_next_power_of_two().unwrap_or(count).min(most) };
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
    pub(crate) fn nothing(&self) -> Result<&[wgpu::Buffer; 2]> {
        if let Some(made) = self.inner.nothing.get() {
            return Ok(made);
        }
        let make = |size: u32| {
            self.create(&wgpu::BufferDescriptor {
                label: Some("wgpu-rnn nothing"),
                size: u64::from(size),
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let made = [make(16)?, make(Self::NOTHINGS * Self::NOTHING_STRIDE)?];
        Ok(self.inner.nothing.get_or_init(|| {
            made.each_ref().iter().for_each(|_| self.inner.counting.storage_buffers.add());
            made
        }))
    }

    /// Writes `bytes` at `offset` of `buffer`, before the next submit.
    pub(crate) fn upload(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.counting.uploads.add();
        if self.inner.plans_only {
            return Ok(());
        }
        self.work("was being written to", || self.inner.queue.write_buffer(buffer, offset, bytes))
    }

    /// A bind group, or why there is none, such as a buffer of another wgpu device.
    pub(crate) fn bind_group(
        &self,
        descriptor: &wgpu::BindGroupDescriptor<'_>,
    ) -> std::result::Result<wgpu::BindGroup, Trouble> {
        self.inner.counting.bind_groups.add();
        self.call(Call::Make, || self.inner.device.create_bind_group(descriptor))
    }

    /// An error on a device that is [for plans](Self::for_plans) alone.
    pub(crate) fn expect_more_than_plans(&self) -> Result<()> {
        match self.inner.plans_only {
            false => Ok(()),
            true => {
                let (option, place) = ("running what is planned".to_string(), "a device for plans alone".to_string());
                Err(Error::Unsupported { option, place })
            }
        }
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
        let _waiting = self.waiting();
        let waited = self.work("was working", || self.inner.device.poll(wgpu::PollType::wait_indefinitely()))?;
        waited.map(drop).map_err(|why| self.failed("was working", why))
    }
}

/// Names the adapter, its driver, how it is treated, and the version of this crate: what was found of one key holds for all
/// devices of it.
fn key(info: &wgpu::AdapterInfo, caps: &Capabilities) -> String {
    let wgpu::AdapterInfo { name, vendor, device, backend, driver, driver_info, .. } = info;
    let Capabilities { class, workgroup_memory: memory, workgroup_invocations: invocations, f16, .. } = caps;
    let [least, most] = caps.subgroup_size;
    format!(
        "wgpu-rnn {}; {name} ({vendor:#x}, {device:#x}); {backend:?}, {driver} {driver_info}; {class:?}, {memory} bytes, \
         {invocations} invocations, bindings of {}, subgroups {least} to {most}, f16 {f16}, matrices {:?}",
        env!("CARGO_PKG_VERSION"),
        caps.max_binding,
        caps.cooperative_size,
    )
}
