//! [`Counters`]: what this crate has made on a device and moved to or from it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What this crate has made on a device and moved to or from it so far. Recording a plan changes nothing of it, so two
/// snapshots around any number of training steps are equal, but for what the loop itself uploads, reads or plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counters {
    /// Storage buffers made. One that the pool gives a second time is not counted again.
    pub storage_buffers: usize,
    /// Buffers made to read back through, likewise.
    pub staging_buffers: usize,
    /// Uniform buffers made: the sizes of an op, and the table of step indices.
    pub uniform_buffers: usize,
    /// Bind groups made, one an op.
    pub bind_groups: usize,
    /// Pipelines compiled.
    pub pipelines: usize,
    /// Writes from the host.
    pub uploads: usize,
    /// Read-backs: what a training loop should do seldom.
    pub downloads: usize,
}

/// One of the [`Counters`] while it counts.
#[derive(Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The [`Counters`] while they count.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) storage_buffers: Count,
    pub(super) staging_buffers: Count,
    pub(super) uniform_buffers: Count,
    pub(super) bind_groups: Count,
    pub(super) pipelines: Count,
    pub(super) uploads: Count,
    pub(super) downloads: Count,
}

impl Counting {
    pub(super) fn now(&self) -> Counters {
        Counters {
            storage_buffers: self.storage_buffers.get(),
            staging_buffers: self.staging_buffers.get(),
            uniform_buffers: self.uniform_buffers.get(),
            bind_groups: self.bind_groups.get(),
            pipelines: self.pipelines.get(),
            uploads: self.uploads.get(),
            downloads: self.downloads.get(),
        }
    }
}
