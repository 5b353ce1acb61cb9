//! The GPU side: an owned or borrowed wgpu device, what it can do, its pipelines, its pool of buffers and timestamps.

mod adapters;
mod cache;
mod caps;
mod checks;
mod context;
mod counters;
mod pipelines;
mod pool;
mod timestamps;
mod tuning;

pub use adapters::{AdapterReport, adapters};
pub(crate) use adapters::{hardware, open, software};
pub use caps::{AdapterKind, Capabilities};
pub use checks::Checks;
pub use context::Gpu;
pub(crate) use context::ready;
pub use counters::Counters;
pub use pipelines::BindingKind;
pub(crate) use pipelines::Compiled;
pub(crate) use pool::Lease;
pub use pool::PoolUse;
pub(crate) use timestamps::PassTimes;
pub use timestamps::Timestamps;
pub use tuning::Tuning;
