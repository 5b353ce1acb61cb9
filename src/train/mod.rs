//! Training: optimisers and learning-rate schedules that run on the device.

mod optimizer;
mod schedule;

pub use optimizer::{Optimizer, OptimizerConfig, OptimizerState};
pub use schedule::Schedule;
