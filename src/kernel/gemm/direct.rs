//! The kernel that stages nothing: for software adapters, and for few rows.

use crate::shader::{Kernel, Uniform as _, fragments};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "gemm",
    fragments: fragments!["lib/rows.wgsl", "gemm/product.wgsl", "gemm/direct.wgsl"],
    bindings: super::BINDINGS,
    uniform: super::Uniform::MEMBERS,
};

pub(super) fn kernel(lanes: u32, rows: u32, columns: u32) -> (&'static Kernel, Vec<(&'static str, u32)>) {
    (&KERNEL, vec![("LANES", lanes), ("RM", rows), ("RN", columns)])
}
