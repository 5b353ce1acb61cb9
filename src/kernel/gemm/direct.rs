//! The kernel that stages nothing: for software adapters, and for few rows.

use crate::shader::{Kernel, Uniform as _, fragments};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "gemm",
    fragments: fragments!["lib/direction.wgsl", "lib/rows.wgsl", "gemm/product.wgsl", "gemm/direct.wgsl"],
    bindings: super::BINDINGS,
    uniform: super::Uniform::MEMBERS,
};
