//! Kernel families: each file holds a buffer table, the sizes it is called with, the GPU side and the CPU twin.

pub mod column_sum;
pub mod copy;
pub mod cross_entropy;
pub mod embedding;
pub mod gemm;
pub mod mse;
pub mod norm;
mod op;
pub mod optimizer;
pub mod recurrent;
pub mod rows;
pub mod total;
pub mod transpose;

pub use op::{Op, Program};

use crate::shader::Kernel;

/// Every kernel, for the test that composes and validates them all.
pub const ALL: &[&Kernel] = &[
    &column_sum::KERNEL,
    &copy::KERNEL,
    &gemm::KERNEL,
    &transpose::KERNEL,
    &recurrent::FORWARD,
    &recurrent::BACKWARD,
    &recurrent::OUTPUT,
    &recurrent::UPSTREAM,
    &total::KERNEL,
    &mse::KERNEL,
    &cross_entropy::COUNT,
    &cross_entropy::KERNEL,
    &embedding::GATHER,
    &embedding::SCATTER,
    &norm::KERNEL,
    &optimizer::ADVANCE,
    &optimizer::UPDATE,
];
