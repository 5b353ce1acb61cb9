//! One name for both executors: [`Device`], its [`Buffer`]s, and the [`Recorder`] that work is recorded into.

mod buffer;
mod cache;
mod open;
mod profile;
mod record;
mod submits;
mod transfer;

pub use buffer::{Buffer, DType};
pub(crate) use buffer::{Element, Nothing};
pub use open::{Device, DeviceKind};
pub(crate) use open::{Executor, NativeFloat};
pub(crate) use profile::Facts;
pub use profile::{Clock, KernelTime, Profile, Profiler, Span};
pub use record::{Recorder, Timing};
