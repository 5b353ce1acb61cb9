//! Training: optimisers, learning-rate schedules and loss scales that run on the device.

mod loss_scale;
mod optimizer;
mod schedule;

pub use loss_scale::LossScale;
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerState};
pub use schedule::Schedule;
