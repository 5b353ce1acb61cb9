//! The pool of a device's buffers. What the last holder of a [`Lease`] gives up is kept, and is what the next one of the
//! same size and usage gets.
//!
//! Work on a queue is done in order, so a buffer may be given out again while earlier submits still use it: it is
//! cleared by a submit of its own, after them. What could still come after that is work which is recorded and not yet
//! submitted:
//!
//! - by [`Device::run`](crate::Device::run): what is given back while it records waits until it has submitted;
//! - by an app: nobody can know when, or whether, it submits. What an op binds that was recorded into an app's encoder,
//!   and what an app took the wgpu buffer of, has *escaped*. It is freed when it is given back, never given out again.
//!
//! An app's own buffers are leased too, and never enter the pool.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::context::Gpu;
use crate::error::Result;

/// Bytes of a device's pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PoolUse {
    /// In buffers that somebody holds.
    pub in_use: u64,
    /// The most that was in use at once, since the start or the last [`trim`](Gpu::trim).
    pub peak: u64,
    /// In buffers that wait to be used again. With `in_use` never more than twice `peak`; the oldest are freed first.
    pub idle: u64,
}

/// A buffer that is held by this crate's buffers and ops.
pub(crate) struct Lease {
    gpu: Gpu,
    buffer: wgpu::Buffer,
    /// Bytes before its content and behind it: a band, or none.
    band: u64,
    /// What the pool counts it with.
    bytes: u64,
    /// Whether it may be given out again.
    again: AtomicBool,
}

impl Lease {
    /// Of a buffer that is not the pool's.
    pub(crate) fn adopted(gpu: &Gpu, buffer: &wgpu::Buffer) -> Arc<Self> {
        Arc::new(Self { gpu: gpu.clone(), buffer: buffer.clone(), band: 0, bytes: 0, again: AtomicBool::new(false) })
    }

    /// The buffer. A clone of it may outlive the lease only in what is submitted before the lease is dropped.
    pub(crate) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Where its content begins, in bytes.
    pub(crate) fn begin(&self) -> u64 {
        self.band
    }

    /// Where its content ends, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.buffer.size() - self.band
    }

    /// Its device.
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Somebody outside this crate may use it at a time of their own: it is not given out again.
    pub(crate) fn escape(&self) {
        self.again.store(false, Ordering::Relaxed);
    }

    /// It may be given out again: nothing is recorded or mapped that nobody waits for.
    pub(super) fn reuse(&self) {
        self.again.store(self.bytes > 0, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let freed = self.gpu.pool().give_back(&self.buffer, self.bytes, *self.again.get_mut());
            drop(freed);
        }
    }
}

/// Buffers are kept by usage and bytes: what is taken has exactly the size that was asked for.
type Kind = (wgpu::BufferUsages, u64);

/// What waits to be used again.
#[derive(Default)]
pub(super) struct Pool {
    /// Each with its number in the order in which all were given back.
    idle: HashMap<Kind, VecDeque<(u64, wgpu::Buffer)>>,
    next: u64,
    use_of: PoolUse,
    /// [`Recording`]s that are open, and the first number given back since the first of them.
    recordings: usize,
    fence: u64,
    /// Those that were made with bands, by label.
    pub(super) banded: Vec<(String, wgpu::Buffer)>,
}

impl Pool {
    fn take(&mut self, kind: Kind) -> Option<wgpu::Buffer> {
        let waiting = self.idle.get_mut(&kind)?;
        let &(number, _) = waiting.front()?;
        if self.recordings > 0 && number >= self.fence {
            return None;
        }
        let (_, buffer) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.idle.remove(&kind);
        }
        self.use_of.idle = self.use_of.idle.saturating_sub(kind.1);
        Some(buffer)
    }

    /// Counts a buffer that is given out. Returns what is to be freed, outside the lock.
    fn lend(&mut self, bytes: u64) -> Vec<wgpu::Buffer> {
        self.use_of.in_use += bytes;
        self.use_of.peak = self.use_of.peak.max(self.use_of.in_use);
        self.shrink()
    }

    /// Takes a buffer back, to be kept or not. Returns what is to be freed, outside the lock.
    fn give_back(&mut self, buffer: &wgpu::Buffer, bytes: u64, again: bool) -> Vec<wgpu::Buffer> {
        self.use_of.in_use = self.use_of.in_use.saturating_sub(bytes);
        if again {
            self.idle.entry((buffer.usage(), bytes)).or_default().push_back((self.next, buffer.clone()));
            self.next += 1;
            self.use_of.idle += bytes;
        }
        self.shrink()
    }

    /// Takes out the oldest until the rest is within bounds: room for a plan, and for one of other sizes in turn with it.
    fn shrink(&mut self) -> Vec<wgpu::Buffer> {
        let mut freed = Vec::new();
        while self.use_of.in_use + self.use_of.idle > 2 * self.use_of.peak
            && let Some(buffer) = self.take_oldest()
        {
            freed.push(buffer);
        }
        freed
    }

    fn take_oldest(&mut self) -> Option<wgpu::Buffer> {
        let first = |waiting: &VecDeque<(u64, wgpu::Buffer)>| waiting.front().map_or(u64::MAX, |(number, _)| *number);
        let kind = *self.idle.iter().min_by_key(|(_, waiting)| first(waiting))?.0;
        let waiting = self.idle.get_mut(&kind)?;
        let (_, buffer) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.idle.remove(&kind);
        }
        self.use_of.idle = self.use_of.idle.saturating_sub(kind.1);
        Some(buffer)
    }
}

/// While it lives, work is being recorded that is not submitted yet: what is given back is not given out.
pub(crate) struct Recording<'a>(&'a Gpu);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.pool().recordings -= 1;
    }
}

impl Gpu {
    /// Bytes of the pool that storage buffers and those for read-backs come from.
    pub fn pool_use(&self) -> PoolUse {
        self.pool().use_of
    }

    /// Frees what waits in the pool. The device has the memory back once what was submitted is done.
    pub fn trim(&self) {
        let idle = {
            let mut pool = self.pool();
            pool.use_of.idle = 0;
            pool.use_of.peak = pool.use_of.in_use;
            std::mem::take(&mut pool.idle)
        };
        drop(idle);
        // Frees what was still in use by work that is done by now; without an answer there is nothing to free.
        let _ = self.work("was freeing buffers", || self.device().poll(wgpu::PollType::Poll));
    }

    /// Opens a [`Recording`].
    pub(crate) fn recording(&self) -> Recording<'_> {
        let mut pool = self.pool();
        if pool.recordings == 0 {
            pool.fence = pool.next;
        }
        pool.recordings += 1;
        Recording(self)
    }

    /// A zeroed storage buffer of `bytes` (4 at least, in fours).
    pub(crate) fn lease(&self, label: &str, bytes: u64) -> Result<Arc<Lease>> {
        let bytes = bytes.max(4).checked_next_multiple_of(4).unwrap_or(bytes);
        if self.plans_only() {
            return Ok(Lease::adopted(self, &self.allocate(label, bytes, wgpu::BufferUsages::empty())?));
        }
        let band = self.checks().band();
        let again = self.pool().take((Self::STORAGE, bytes));
        let buffer = match again {
            None => {
                let buffer = self.allocate(label, bytes.saturating_add(2 * band), wgpu::BufferUsages::empty())?;
                if band > 0 {
                    self.fill_bands(&buffer, bytes)?;
                    self.pool().banded.push((label.to_string(), buffer.clone()));
                }
                buffer
            }
            Some(buffer) => {
                self.work("was clearing a buffer", || {
                    let mut encoder = self.device().create_command_encoder(&Default::default());
                    encoder.clear_buffer(&buffer, band, Some(bytes));
                    self.queue().submit([encoder.finish()]);
                })?;
                buffer
            }
        };
        Ok(self.lent(buffer, bytes, band, true))
    }

    /// A buffer to read `bytes` back through, of unknown content. It is given out again only after
    /// [`reuse`](Lease::reuse).
    pub(super) fn staging(&self, bytes: u64) -> Result<Arc<Lease>> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let size = bytes.max(4).checked_next_multiple_of(4).unwrap_or(bytes);
        let again = self.pool().take((usage, size));
        let buffer = match again {
            Some(buffer) => buffer,
            None => {
                let label = Some("wgpu-rnn download");
                let buffer = self.create(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })?;
                self.counting().staging_buffers.add();
                buffer
            }
        };
        Ok(self.lent(buffer, size, 0, false))
    }

    fn lent(&self, buffer: wgpu::Buffer, bytes: u64, band: u64, again: bool) -> Arc<Lease> {
        let freed = self.pool().lend(bytes);
        drop(freed);
        Arc::new(Lease { gpu: self.clone(), buffer, band, bytes, again: AtomicBool::new(again) })
    }
}
