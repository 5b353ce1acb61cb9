//! Sums over rows: bias gradients and the sums that losses and norms end with. Always in the same order.

use bytemuck::{Pod, Zeroable};

use super::gemm::Matrix;
use super::op::{Launch, Op, Target, Tile, cpu_op, distinct};
use crate::cpu::scalar::Scalar;
use crate::device::{Device, Element};
use crate::error::{Result, at_least_one};
use crate::shader::{Binding, Kernel, fragments};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "column_sum",
    fragments: fragments!["gemm/column_sum.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("matrix").or_half(), Binding::read_write("sums")],
    uniform_bytes: size_of::<Uniform>(),
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Uniform {
    rows: u32,
    columns: u32,
    row: u32,
    offset: u32,
    part_rows: u32,
    to_row: u32,
    to_offset: u32,
    accumulate: u32,
}

/// Rows that one invocation sums before partial sums are summed.
const PART: usize = 64;

/// How many partial sums a sum over `rows` rows goes through; its scratch is this many rows.
pub const fn parts(rows: usize) -> usize {
    rows.div_ceil(PART)
}

/// `to[part, c] = Σ of part_rows rows of from[.., c]`, or added to it.
#[derive(Clone)]
pub struct ColumnSum {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Rows summed into one row of `to`.
    pub part_rows: usize,
    /// What is summed; columns are contiguous.
    pub from: Matrix,
    /// The sums; columns are contiguous.
    pub to: Matrix,
    /// Whether `to` is added to.
    pub accumulate: bool,
}

impl ColumnSum {
    /// Partial sums of `from [rows, columns]` into `scratch [parts(rows), columns]`.
    pub fn partial(rows: usize, columns: usize, from: Matrix, scratch: Matrix) -> Self {
        Self { rows, columns, part_rows: PART, from, to: scratch, accumulate: false }
    }

    /// The sum of all rows into one.
    pub fn total(rows: usize, columns: usize, from: Matrix, to: Matrix, accumulate: bool) -> Self {
        Self { rows, columns, part_rows: rows, from, to, accumulate }
    }

    /// The op; an error when a matrix does not lie in its buffer, or both share one.
    pub fn op(self, device: &Device) -> Result<Op> {
        at_least_one("the rows of one sum", self.part_rows)?;
        self.from.check("the summed matrix", self.rows, self.columns, 1)?;
        self.to.check("the sums", self.rows.div_ceil(self.part_rows), self.columns, 1)?;
        distinct("column_sum", &[&self.to.buffer], &[&self.from.buffer])?;
        match device.target() {
            Target::Gpu(gpu) => {
                let uniform = Uniform {
                    rows: self.rows as u32,
                    columns: self.columns as u32,
                    row: self.from.row as u32,
                    offset: self.from.offset as u32,
                    part_rows: self.part_rows as u32,
                    to_row: self.to.row as u32,
                    to_offset: self.to.offset as u32,
                    accumulate: u32::from(self.accumulate),
                };
                let lanes = Tile::elements(gpu.capabilities());
                let most = gpu.capabilities().max_workgroups as usize;
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: &KERNEL,
                        cell: None,
                        consts: vec![("LANES", lanes)],
                        uniform: bytemuck::bytes_of(&uniform),
                        buffers: &[&self.from.buffer, &self.to.buffer],
                        groups: [
                            self.columns.div_ceil(lanes as usize) as u32,
                            self.rows.div_ceil(self.part_rows).min(most) as u32,
                            1,
                        ],
                        steps: None,
                    },
                )
            }
            Target::Cpu(_, precision) => {
                let call = self;
                Ok(cpu_op!(precision, "column_sum", on_cpu(call)))
            }
        }
    }
}

fn on_cpu<S: Scalar + Element>(call: &ColumnSum) -> Result<()> {
    let from = call.from.buffer.read::<S>()?;
    let mut to = call.to.buffer.write::<S>()?;
    for (part, first) in (0..call.rows).step_by(call.part_rows).enumerate() {
        let at = call.to.offset + part * call.to.row;
        let sums = &mut to[at..at + call.columns];
        if !call.accumulate {
            sums.fill(S::ZERO);
        }
        for row in first..(first + call.part_rows).min(call.rows) {
            let row = &from[call.from.offset + row * call.from.row..][..call.columns];
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
        }
    }
    Ok(())
}
