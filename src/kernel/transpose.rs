//! Transposed copies of weights, so that a GPU's lanes read neighbouring columns. The CPU's products take any strides
//! and need none.

use super::copy::Uniform;
use super::gemm::Matrix;
use super::op::{Launch, Op, distinct, element_lanes, linear_groups};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::shader::{Binding, Kernel, Uniform as _, fragments};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "transpose",
    fragments: fragments!["gemm/transpose.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("matrix"), Binding::read_write("transposed").or_half()],
    uniform: Uniform::MEMBERS,
};

/// `to[c, r] = from[r, c]` for `rows × columns` of each direction.
pub fn transpose(gpu: &Gpu, directions: usize, rows: usize, columns: usize, from: &Matrix, to: &Matrix) -> Result<Op> {
    from.check("the matrix", rows, columns, directions)?;
    to.check("the transposed matrix", columns, rows, directions)?;
    distinct("transpose", &[&to.buffer], &[&from.buffer])?;
    let lanes = element_lanes(gpu.capabilities());
    Op::gpu(
        gpu,
        &Launch {
            kernel: &KERNEL,
            cell: None,
            consts: vec![("LANES", lanes)],
            uniform: &Uniform::new(rows, columns, from, to).bytes(),
            buffers: &[&from.buffer, &to.buffer],
            groups: [linear_groups(gpu, rows * columns, lanes), 1, directions as u32],
            steps: None,
        },
    )
}
