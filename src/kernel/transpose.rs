//! Transposed copies of weights, so that a GPU's lanes read neighbouring columns. The CPU's products take any strides
//! and need none.

use super::copy::Uniform;
use super::cuts::{element_lanes, index, linear_groups, rectangles};
use super::gemm::Matrix;
use super::op::{Launch, Op, distinct};
use crate::error::Result;
use crate::gpu::{Gpu, Work};
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
    let bytes = (to.buffer.element_bytes() + from.buffer.element_bytes()) as f64;
    let work = |rows: usize, columns: usize| Work::moved(directions * rows * columns, bytes, lanes);
    Op::of_dispatches(rectangles(gpu, [rows, columns], [1, 1], work).into_iter().map(|[rows, columns]| {
        let skipped = rows.start * from.row + columns.start;
        let left = columns.start * to.row + rows.start;
        let uniform = Uniform::new([rows.len(), columns.len()], (from, skipped), (to, left))?;
        Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                recipe: None,
                consts: vec![("LANES", lanes)],
                uniform: &uniform.bytes(),
                buffers: &[&from.buffer, &to.buffer],
                groups: [linear_groups(gpu, rows.len() * columns.len(), lanes), 1, index(directions)?],
                steps: None,
                work: work(rows.len(), columns.len()),
            },
        )
    }))
}
