//! Kernel families: each file holds a buffer table, the sizes it is called with, the GPU side and the CPU twin.

pub mod column_sum;
pub mod copy;
pub mod gemm;
mod op;
pub mod recurrent;
pub mod rows;
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
];
