//! The GPU side: an owned or borrowed wgpu device, what it can do, its pipelines, its pool of buffers and timestamps.

mod adapters;
mod border;
mod cache;
mod caps;
mod checks;
mod choice;
mod class;
mod context;
mod cost;
mod counters;
mod mapping;
mod pace;
mod pipelines;
mod pool;
mod software;
mod timestamps;
mod trust;
mod tuning;

pub use adapters::{AdapterReport, adapter, adapters};
pub(crate) use adapters::{hardware, open, software};
pub(crate) use border::{Call, Trouble};
pub use caps::{AdapterKind, Capabilities};
pub use checks::Checks;
pub use class::{Class, Registers};
pub use context::Gpu;
pub(crate) use cost::Costs;
pub use cost::{DISPATCH_MS, SUBMIT_MS, Work};
pub use counters::Counters;
pub use pace::Bounds;
pub(crate) use pipelines::Compiled;
pub use pipelines::{BindingKind, Compilation};
pub(crate) use pool::Lease;
pub use pool::PoolUse;
pub(crate) use timestamps::PassTimes;
pub use timestamps::Timestamps;
#[doc(hidden)]
pub use trust::Plant;
pub use trust::{Doubt, Subject, recall_trust, trust_data};
pub use tuning::Tuning;
