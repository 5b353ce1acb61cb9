//! The GPU side: an owned or borrowed wgpu device, what it can do, its pipelines and timestamps.

mod adapters;
mod caps;
mod context;
mod pipelines;
mod timestamps;
mod tuning;

pub use adapters::{AdapterReport, adapters};
pub(crate) use adapters::{hardware, open, software};
pub use caps::{AdapterKind, Capabilities};
pub use context::Gpu;
pub(crate) use context::ready;
pub use pipelines::BindingKind;
pub(crate) use pipelines::Compiled;
pub use timestamps::Timestamps;
pub use tuning::Tuning;
