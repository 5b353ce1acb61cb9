//! LSTM, GRU and the plain RNN, forward and backward, as fused WGSL compute kernels on any GPU that wgpu reaches, with a
//! native CPU executor where there is none.

mod cell;
mod config;
pub mod cpu;
mod device;
mod error;
pub mod gpu;
pub mod io;
pub mod kernel;
pub mod nn;
pub mod plan;
pub mod shader;
pub mod train;

pub use cell::{Cell, CellRow};
pub use config::{BatchShape, RnnConfig};
pub use device::{Buffer, DType, Device, DeviceKind, Recorder, Timing};
pub use error::{Error, Result};
