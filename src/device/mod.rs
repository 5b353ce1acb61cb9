//! One name for both executors: [`Device`], its [`Buffer`]s, and the [`Recorder`] that work is recorded into.

mod buffer;
mod open;
mod record;
mod transfer;

pub(crate) use buffer::Element;
pub use buffer::{Buffer, DType};
pub use open::{Device, DeviceKind};
pub(crate) use open::{Executor, NativeFloat};
pub use record::{Recorder, Timing};
