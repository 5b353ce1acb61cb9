//! The kernel that stages tiles in workgroup memory: in vectors of four where sizes and strides allow it.

use super::{Gemm, Mapped, Matrix, Sum};
use crate::shader::{Kernel, Uniform as _, fragments};

/// For operands of any strides.
pub static SCALAR: Kernel = Kernel {
    name: "gemm_staged",
    fragments: fragments![
        "lib/direction.wgsl",
        "lib/rows.wgsl",
        "gemm/product.wgsl",
        "gemm/scalar.wgsl",
        "gemm/staged.wgsl"
    ],
    bindings: super::BINDINGS,
    uniform: super::Uniform::MEMBERS,
};

/// For operands that may be read and written four elements at a time.
pub static VECTOR: Kernel = Kernel {
    name: "gemm_staged_vector",
    fragments: fragments![
        "lib/direction.wgsl",
        "lib/rows.wgsl",
        "gemm/product.wgsl",
        "gemm/vector.wgsl",
        "gemm/staged.wgsl"
    ],
    bindings: super::BINDINGS,
    uniform: super::Uniform::MEMBERS,
};

/// The kernel for a sum; how it reads A is added to the constants of its tile.
pub(super) fn kernel(call: &Gemm, sum: &Sum<'_>, consts: &mut Vec<(&'static str, u32)>) -> &'static Kernel {
    let along_rows = call.a.column != 1 && call.a.row == 1;
    consts.push(("A_ALONG", u32::from(along_rows)));
    if in_vectors(call, along_rows, sum) { &VECTOR } else { &SCALAR }
}

/// Whether no four neighbours of an operand lie across an edge, a row or a direction.
fn in_vectors(call: &Gemm, along_rows: bool, sum: &Sum<'_>) -> bool {
    let whole = |sizes: &[usize]| sizes.iter().all(|size| size.is_multiple_of(4));
    let contiguous = |matrix: &Matrix| whole(&[matrix.offset, matrix.row, matrix.direction]);
    // Where the source of a mapped operand changes from one direction to the other.
    let split = |columns: usize| call.split >= columns || call.split.is_multiple_of(4);
    let a = match along_rows {
        true => call.mapped != Mapped::A && whole(&[call.m, call.a.offset, call.a.column, call.a.direction]),
        false => {
            let slices = sum.slice >= call.k || sum.slice.is_multiple_of(4);
            let mapped = call.mapped != Mapped::A || split(call.k);
            call.a.column == 1 && whole(&[call.k]) && contiguous(&call.a) && slices && mapped
        }
    };
    let b = contiguous(&call.b) && (call.mapped != Mapped::B || split(call.n));
    a && b && whole(&[call.n, sum.c_slice]) && contiguous(sum.c)
}
