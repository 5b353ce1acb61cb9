//! Kernel families: each file holds a buffer table, the sizes it is called with, the GPU side and the CPU twin.

pub mod column_sum;
pub mod copy;
pub mod cross_entropy;
pub mod embedding;
pub mod gemm;
pub mod moments;
pub mod norm;
mod op;
pub mod optimizer;
pub mod recurrent;
pub mod regression;
pub mod rows;
pub mod scale;
pub mod total;
pub mod transpose;

pub use op::{Op, Program};

use crate::shader::Kernel;
use optimizer::slot;

/// Every kernel, for the test that composes and validates them all.
pub const ALL: &[&Kernel] = &[
    &column_sum::KERNEL,
    &copy::KERNEL,
    &gemm::DIRECT,
    &gemm::SCALAR,
    &gemm::VECTOR,
    &gemm::SLICES,
    &gemm::COOPERATIVE_8,
    &gemm::COOPERATIVE_16,
    &transpose::KERNEL,
    &recurrent::FORWARD,
    &recurrent::FORWARD_SHARED,
    &recurrent::FORWARD_REPACKED,
    &recurrent::BACKWARD,
    &recurrent::BACKWARD_SHARED,
    &recurrent::FLOW,
    &recurrent::OUTPUT,
    &recurrent::PREPARE,
    &recurrent::STATES,
    &recurrent::SEQUENCE_FORWARD,
    &recurrent::SEQUENCE_BACKWARD,
    &recurrent::UPSTREAM,
    &total::KERNEL,
    &regression::KERNEL,
    &cross_entropy::COUNT,
    &cross_entropy::KERNEL,
    &embedding::GATHER,
    &embedding::SCATTER,
    &moments::KERNEL,
    &norm::KERNEL,
    &optimizer::ADVANCE,
    &optimizer::UPDATE,
];

/// Every constant that a kernel's WGSL may name, and the values that it is ever composed with: lanes and register tiles
/// of all device classes, switches, and places in the optimisers' state. For the test that composes them all.
pub const CONSTANTS: &[(&str, &[u32])] = &[
    ("LANES", &[8, 16, 32, 64, 128, 256]),
    ("UNITS", &[8, 16, 32]),
    ("RB", &[1, 2, 4, 8, 16]),
    ("RM", &[1, 2, 4, 8, 16]),
    ("RN", &[2, 8]),
    ("MAPPED", &[0, 1, 2, 3]),
    ("FROM_SOURCE", &[0, 1, 2]),
    ("CARRIED", &[0, 1]),
    ("FLOW", &[0, 1]),
    ("GRADIENT", &[0, 1]),
    ("SCALED", &[0, 1]),
    ("QUANTILE", &[0, 1]),
    ("MODE", &[0, 1, 2]),
    ("DECAY", &[0, 1, 2, 3]),
    ("CLIPS", &[0, 1]),
    ("RULE", &[0, 1, 2]),
    ("MOMENTUM", &[0, 1]),
    ("NESTEROV", &[0, 1]),
    ("SCALE", &[slot::SCALE as u32]),
    ("RATE", &[slot::RATE as u32]),
    ("CLIP", &[slot::CLIP as u32]),
    ("NORM", &[slot::NORM as u32]),
    ("CORRECTION_1", &[slot::CORRECTION_1 as u32]),
    ("CORRECTION_2", &[slot::CORRECTION_2 as u32]),
    ("APPLY", &[slot::APPLY as u32]),
    ("STEP", &[slot::STEP as u32]),
    ("SKIPPED", &[slot::SKIPPED as u32]),
    ("GOOD", &[slot::GOOD as u32]),
    ("A_ALONG", &[0, 1]),
];

/// Constants that only come together, one set a tile: of kernels that name all of them. The first set needs more
/// workgroup memory than every device has.
pub const TILES: &[[(&str, u32); 6]] = &{
    let staged = &gemm::STAGED;
    [
        staged[0].constants(),
        staged[1].constants(),
        staged[2].constants(),
        staged[3].constants(),
        staged[4].constants(),
        staged[5].constants(),
    ]
};
