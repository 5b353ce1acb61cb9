//! Measuring one layer: its time, that of each kernel, and that of single steps.

mod kernels;
mod profile;
mod step;
mod subject;

pub use kernels::{Kernel, distinct};
pub use profile::{Profiling, profile};
pub use step::step;
pub use subject::{Extras, Subject};
