//! `C = A·B (+ bias) (+ C)` for one or two directions: input projections, input gradients, weight gradients, linear
//! layers.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `a` | `[m, k]`, any strides | read |
//! | `b` | `[k, n]`, columns contiguous on a GPU | read |
//! | `bias` | `[n]` | read, optional |
//! | `lengths` | `[B]` | read, when an operand's rows go through the step-to-time map |
//! | `c` | `[m, n]`, columns contiguous | written, or added to; aliases nothing |

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::op::{Launch, Op, Program, Target, Tile, cpu_op, distinct};
use super::rows::{RowMap, RowsUniform};
use crate::cpu::gemm::{Mat, MatMut, gemm};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads;
use crate::device::{Buffer, Device, Element};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::shader::{Binding, Kernel, fragments};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "gemm",
    fragments: fragments!["lib/rows.wgsl", "gemm/gemm.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("a").or_half(),
        Binding::read("b").or_half(),
        Binding::read("bias"),
        Binding::read("lengths"),
        Binding::read_write("c").or_half(),
    ],
    uniform_bytes: size_of::<Uniform>(),
};

/// A strided matrix in a buffer, one for each direction.
#[derive(Clone)]
pub struct Matrix {
    /// Where it lies.
    pub buffer: Buffer,
    /// First element.
    pub offset: usize,
    /// Elements from row to row.
    pub row: usize,
    /// Elements from column to column.
    pub column: usize,
    /// Elements from one direction's matrix to the next one's.
    pub direction: usize,
}

impl Matrix {
    /// Row-major and dense.
    pub fn dense(buffer: &Buffer, columns: usize) -> Self {
        Self { buffer: buffer.clone(), offset: 0, row: columns, column: 1, direction: 0 }
    }

    /// The same memory with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// An error unless `rows × columns` of every direction below `directions` lie in the buffer.
    pub(super) fn check(&self, name: &str, rows: usize, columns: usize, directions: usize) -> Result<()> {
        let steps = [(directions, self.direction), (rows, self.row), (columns, self.column)];
        let last = steps.iter().map(|(count, stride)| count.saturating_sub(1).saturating_mul(*stride));
        let needed = last.fold(self.offset, usize::saturating_add).saturating_add(1);
        if needed > self.buffer.len() {
            return Err(Error::invalid(
                format!("`{name}` of a product"),
                format!("{needed} elements"),
                self.buffer.len(),
            ));
        }
        Ok(())
    }
}

/// Which operand's rows go through the step-to-time map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// None.
    No,
    /// Rows of A: a product that reads a sequence. Padding reads as zero.
    A,
    /// Rows of B, which are k: a product that sums over a sequence. Padding reads as zero.
    B,
    /// Rows of C: a product that writes a sequence in time order.
    C,
}

/// What becomes of what C holds. A sum over k runs from the last to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// It is overwritten.
    No,
    /// The sum starts from it: a sum that is made in several products, last part first, is the same bits as in one. On
    /// the CPU only if the parts are always the same. Not for a mapped C.
    Before,
    /// The finished sum is added to it: of two sums either may come first.
    After,
}

/// What a product is called with.
#[derive(Clone)]
pub struct Gemm {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Directions done in one call, the first of them and their count.
    pub directions: std::ops::Range<usize>,
    /// Left factor.
    pub a: Matrix,
    /// Right factor.
    pub b: Matrix,
    /// Result.
    pub c: Matrix,
    /// Row added to every row of C; `row` and `column` strides are not used.
    pub bias: Option<Matrix>,
    /// What becomes of what C holds.
    pub accumulate: Accumulate,
    /// The mapped operand.
    pub mapped: Mapped,
    /// The map, when there is one.
    pub rows: Option<RowMap>,
    /// Columns of the mapped input from here on come from direction 1 of the layer below.
    pub split: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Uniform {
    size: [u32; 4],
    a: [u32; 4],
    b: [u32; 4],
    c: [u32; 4],
    flags: [u32; 4],
    rows: RowsUniform,
}

impl Gemm {
    /// `c = a·b` of dense or strided matrices, nothing mapped.
    pub fn plain(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, c: Matrix) -> Self {
        let (bias, accumulate, mapped, rows) = (None, Accumulate::No, Mapped::No, None);
        Self { m, n, k, directions: 0..1, a, b, c, bias, accumulate, mapped, rows, split: usize::MAX }
    }

    fn check(&self) -> Result<()> {
        if self.mapped == Mapped::C && self.accumulate == Accumulate::Before {
            return Err(Error::invalid("what a product with a mapped result adds to", "added after the sum", "before"));
        }
        let bound = self.rows.as_ref().map_or(0, |rows| rows.window_rows);
        let of = |operand, rows| if self.mapped == operand { bound } else { rows };
        self.a.check("a", of(Mapped::A, self.m), self.k, self.directions.end)?;
        self.b.check("b", of(Mapped::B, self.k), self.n, self.directions.end)?;
        self.c.check("c", of(Mapped::C, self.m), self.n, self.directions.end)?;
        if let Some(bias) = &self.bias {
            bias.check("bias", 1, self.n, self.directions.end)?;
        }
        let bias = self.bias.as_ref().unwrap_or(&self.a);
        distinct("gemm", &[&self.c.buffer], &[&self.a.buffer, &self.b.buffer, &bias.buffer])
    }

    /// Appends the product to `program`; on a GPU in as many dispatches as its rows need.
    pub fn add_to(self, device: &Device, program: &mut Program) -> Result<()> {
        self.check()?;
        match device.target() {
            Target::Gpu(gpu) => self.gpu(gpu, program),
            Target::Cpu(pool, precision) => {
                let call = Arc::new(self);
                program.push(cpu_op!(precision, "gemm", on_cpu(call, pool)));
                Ok(())
            }
        }
    }

    fn gpu(&self, gpu: &Gpu, program: &mut Program) -> Result<()> {
        if self.b.column != 1 || self.c.column != 1 {
            return Err(Error::invalid("the columns of b and c", "contiguous on a GPU", "strided"));
        }
        let tile = Tile::gemm(gpu.capabilities(), self.m);
        let bias = self.bias.as_ref().unwrap_or(&self.a);
        let lengths = self.rows.as_ref().map_or(&self.a.buffer, |rows| &rows.lengths);
        let mapped = match self.mapped {
            Mapped::No => 0,
            Mapped::A => 1,
            Mapped::B => 2,
            Mapped::C => 3,
        };
        let accumulate = match self.accumulate {
            Accumulate::No => 0,
            Accumulate::Before => 1,
            Accumulate::After => 2,
        };
        let most = gpu.capabilities().max_workgroups as usize;
        let at_once = most * tile.rows as usize;
        for first_row in (0..self.m).step_by(at_once) {
            let rows = (self.m - first_row).min(at_once);
            let uniform = Uniform {
                size: [self.m, self.n, self.k, first_row].map(|v| v as u32),
                a: [self.a.offset, self.a.row, self.a.column, self.a.direction].map(|v| v as u32),
                b: [self.b.offset, self.b.row, self.b.direction, bias.offset].map(|v| v as u32),
                c: [self.c.offset, self.c.row, self.c.direction, bias.direction].map(|v| v as u32),
                flags: [
                    accumulate,
                    u32::from(self.bias.is_some()),
                    self.directions.start as u32,
                    self.split.min(u32::MAX as usize) as u32,
                ],
                rows: self.rows.as_ref().map(RowMap::uniform).unwrap_or_default(),
            };
            program.push(Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    cell: None,
                    consts: vec![("LANES", tile.lanes), ("RM", tile.rows), ("RN", tile.columns), ("MAPPED", mapped)],
                    uniform: bytemuck::bytes_of(&uniform),
                    buffers: &[&self.a.buffer, &self.b.buffer, &bias.buffer, lengths, &self.c.buffer],
                    groups: [
                        self.n.div_ceil((tile.lanes * tile.columns) as usize) as u32,
                        rows.div_ceil(tile.rows as usize) as u32,
                        self.directions.len() as u32,
                    ],
                    steps: None,
                },
            )?);
        }
        Ok(())
    }
}

/// The CPU twin: mapped operands are gathered or scattered around a product of the GEMM library.
fn on_cpu<S: Scalar + Element>(call: &Gemm, pool: &threads::Pool) -> Result<()> {
    let (a, b) = (call.a.buffer.read::<S>()?, call.b.buffer.read::<S>()?);
    let bias = call.bias.as_ref().map(|bias| bias.buffer.read::<S>()).transpose()?;
    let lengths = call.rows.as_ref().map(|rows| rows.lengths.read::<u32>()).transpose()?;
    let mut c = call.c.buffer.write::<S>()?;
    let (m, n, k) = (call.m, call.n, call.k);
    for direction in call.directions.clone() {
        let a = &a[call.a.offset + direction * call.a.direction..];
        let b = &b[call.b.offset + direction * call.b.direction..];
        let c = &mut c[call.c.offset + direction * call.c.direction..];
        let bias = match (&bias, &call.bias) {
            (Some(values), Some(at)) => Some(&values[at.offset + direction * at.direction..][..n]),
            _ => None,
        };
        let map = match (&call.rows, &lengths) {
            (Some(map), Some(lengths)) => Some((map, &lengths[..])),
            _ => None,
        };
        let gather = |from: &[S], matrix: &Matrix, rows: usize, columns: usize| {
            let mut to = vec![S::ZERO; rows * columns];
            if let Some((map, lengths)) = map {
                for (row, to) in to.chunks_exact_mut(columns).enumerate() {
                    for (range, reversed) in groups(call.split, columns, direction) {
                        if let Some(source) = map.row_without_padding(lengths, row, reversed) {
                            let source = &from[source * matrix.row..];
                            for column in range {
                                to[column] = source[column * matrix.column];
                            }
                        }
                    }
                }
            }
            to
        };
        let gathered = match call.mapped {
            Mapped::A => gather(a, &call.a, m, k),
            Mapped::B => gather(b, &call.b, k, n),
            _ => Vec::new(),
        };
        let left = match call.mapped {
            Mapped::A => Mat::row_major(&gathered, m, k)?,
            _ => Mat::new(a, m, k, call.a.row, call.a.column)?,
        };
        let right = match call.mapped {
            Mapped::B => Mat::row_major(&gathered, k, n)?,
            _ => Mat::new(b, k, n, call.b.row, call.b.column)?,
        };
        let threads = pool.threads();
        if call.mapped == Mapped::C || call.accumulate == Accumulate::After {
            let mut product = vec![S::ZERO; m * n];
            pool.run(|| gemm(threads, S::ONE, left, right, S::ZERO, MatMut::row_major(&mut product, m, n)?))?;
            for (row, product) in product.chunks_exact_mut(n).enumerate() {
                let row = match (call.mapped, map) {
                    (Mapped::C, Some((map, lengths))) => map.row_with_padding(lengths, row, direction == 1),
                    _ => Some(row),
                };
                let Some(row) = row else { continue };
                if let Some(bias) = bias {
                    product.iter_mut().zip(bias).for_each(|(sum, &v)| *sum += v);
                }
                let to = &mut c[row * call.c.row..][..n];
                match call.accumulate {
                    Accumulate::No => to.copy_from_slice(product),
                    _ => to.iter_mut().zip(product).for_each(|(to, &mut v)| *to += v),
                }
            }
            continue;
        }
        let mut keep = if call.accumulate == Accumulate::Before { S::ONE } else { S::ZERO };
        if let Some(bias) = bias {
            for row in 0..m {
                let to = &mut c[row * call.c.row..][..n];
                match call.accumulate {
                    Accumulate::No => to.copy_from_slice(bias),
                    _ => to.iter_mut().zip(bias).for_each(|(to, &v)| *to += v),
                }
            }
            keep = S::ONE;
        }
        let c = MatMut::new(c, m, n, call.c.row, call.c.column)?;
        pool.run(|| gemm(threads, S::ONE, left, right, keep, c))?;
    }
    Ok(())
}

/// Column ranges of a mapped input and whether each is read backwards: those of the direction's own kind are not.
fn groups(split: usize, columns: usize, direction: usize) -> [(std::ops::Range<usize>, bool); 2] {
    let split = split.min(columns);
    [(0..split, direction == 1), (split..columns, direction != 1)]
}
