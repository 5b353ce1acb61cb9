//! `C = A·B (+ bias) (+ C)` for one or two directions: input projections, input gradients, weight gradients, linear
//! layers. Operands are f32 or f16, sums always f32 and, but for those of cooperative matrices, in one order: over k from
//! the last to the first, whatever kernel and tile make them. [`tiles`](STAGED) says which.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `a` | `[m, k]`, any strides | read |
//! | `b` | `[k, n]`, columns contiguous on a GPU | read |
//! | `bias` | `[n]` | read, optional |
//! | `lengths` | `[B]` | read, when an operand's rows go through the step-to-time map |
//! | `c` | `[m, n]`, columns contiguous | written, or added to; aliases nothing |

mod cooperative;
mod cpu;
mod cuts;
mod direct;
mod slices;
mod staged;
mod tiles;
mod tune;

use std::sync::Arc;

use self::cpu::on_cpu;
use self::cuts::{Cut, Cuts};
use super::cuts::index;
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::program::Program;
use super::rows::{RowMap, RowsUniform};
use crate::device::{Buffer, Device, Nothing};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::shader::{Binding, Kernel, Uniform as _, uniform};

pub(super) use cooperative::SUBGROUPS;
pub(crate) use cooperative::{CHECK as COOPERATIVE_CHECK, check as check_cooperative, check_once as check_matrices};
pub use cooperative::{KERNEL_8 as COOPERATIVE_8, KERNEL_16 as COOPERATIVE_16, room_len};
pub use direct::KERNEL as DIRECT;
pub use slices::{KERNEL as SLICES, SLICE, Slices, scratch_len, slice_rows};
pub use staged::{SCALAR, VECTOR};
pub use tiles::{STAGED, Staged, Tile};
#[cfg(not(target_arch = "wasm32"))]
pub use tune::{Shape, tune};

/// What every kernel of a product binds; [`slices`] aside.
const BINDINGS: &[Binding] = &[
    Binding::uniform("u"),
    Binding::read("a").or_half(),
    Binding::read("b").or_half(),
    Binding::read("bias"),
    Binding::read("lengths"),
    Binding::read_write("c").or_half(),
];

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
    /// For a long k: the slices that it is summed in.
    pub slices: Option<Slices>,
    /// Scratch. GPU: for a C that is f16, [`room_len`] elements of f32: cooperative matrices leave their sums there; none:
    /// they are not used for such a C. CPU: for a mapped operand, as many elements as it has, and for a C that is mapped or
    /// added to afterwards as many as that has; none, or too little: room of its own.
    pub room: Option<Buffer>,
    /// All products that must give the same bits as this one are alike in what is mapped, and have m, and where they are
    /// sums over rows k, in multiples of this; 1 if they may differ. Cooperative matrices sum in an order of their own, so
    /// they are used only where they fit this.
    pub granule: usize,
    /// The kernel and tile; none: the table's choice, or what was measured.
    pub tile: Option<Tile>,
}

uniform! {
    /// `Gemm` in WGSL.
    struct Uniform {
        m: u32,
        n: u32,
        k: u32,
        first_row: u32,
        a_offset: u32,
        a_row: u32,
        a_column: u32,
        a_direction: u32,
        b_offset: u32,
        b_row: u32,
        b_direction: u32,
        bias_offset: u32,
        c_offset: u32,
        c_row: u32,
        c_direction: u32,
        bias_direction: u32,
        accumulate: u32,
        has_bias: u32,
        first_direction: u32,
        split: u32,
        slice: u32,
        first_slice: u32,
        c_slice: u32,
        directions: u32,
        #[shader(align(16))]
        rows: RowsUniform,
    }
}

impl Gemm {
    /// `c = a·b` of dense or strided matrices, nothing mapped.
    pub fn plain(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, c: Matrix) -> Self {
        let (bias, accumulate, mapped, rows) = (None, Accumulate::No, Mapped::No, None);
        let (split, slices, room, granule, tile) = (usize::MAX, None, None, 1, None);
        Self { m, n, k, directions: 0..1, a, b, c, bias, accumulate, mapped, rows, split, slices, room, granule, tile }
    }

    fn check(&self) -> Result<()> {
        if self.mapped == Mapped::C && self.accumulate == Accumulate::Before {
            return Err(Error::invalid("what a product with a mapped result adds to", "added after the sum", "before"));
        }
        if self.mapped != Mapped::No && self.rows.is_none() {
            return Err(Error::invalid("the map of a product's rows", "there where an operand is mapped", "none"));
        }
        if let Some(slices) = &self.slices {
            slices.check(self)?;
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
        let read = [&self.a.buffer, &self.b.buffer, &bias.buffer];
        let scratch = self.slices.as_ref().map(|slices| &slices.scratch);
        let written: Vec<&Buffer> = std::iter::once(&self.c.buffer).chain(scratch).chain(&self.room).collect();
        distinct("gemm", &written, &read)
    }

    /// Appends the product to `program`; on a GPU in as many dispatches as it takes for each to be short.
    pub fn add_to(self, device: &Device, program: &mut Program) -> Result<()> {
        self.check()?;
        match device.target() {
            Target::Gpu(gpu) => {
                if self.b.column != 1 || self.c.column != 1 {
                    return Err(Error::invalid("the columns of b and c", "contiguous on a GPU", "strided"));
                }
                if let Some(tile) = &self.tile {
                    tile.check(gpu.capabilities())?;
                }
                match &self.slices {
                    Some(_) => self.in_slices(gpu, cooperative::tile(device, &self), program),
                    None => self.whole(device, gpu, program),
                }
            }
            Target::Cpu(pool, precision) => {
                let needed = cpu::room_len(&self);
                let room = match &self.room {
                    Some(room) if room.len() >= needed => Some(room.clone()),
                    _ if needed > 0 => Some(device.alloc("rows of a product", needed)?),
                    _ => None,
                };
                let call = Arc::new(Self { room, ..self });
                program.push(cpu_op!(precision, "gemm", on_cpu(call, pool)));
                Ok(())
            }
        }
    }

    fn whole(&self, device: &Device, gpu: &Gpu, program: &mut Program) -> Result<()> {
        match cooperative::tile(device, self) {
            Some(size) => cooperative::whole(self, gpu, size, program),
            None => self.launch(gpu, Tile::of(gpu, self, &Sum::whole(self)), &Sum::whole(self), program),
        }
    }

    /// Appends what makes `sum`.
    fn launch(&self, gpu: &Gpu, (tile, why): (Tile, &'static str), sum: &Sum<'_>, program: &mut Program) -> Result<()> {
        let forced = self.tile.is_some();
        let mut consts = tile.constants();
        let kernel = match &tile {
            Tile::Direct { .. } => &direct::KERNEL,
            Tile::Staged(_) => staged::kernel(self, sum, &mut consts),
        };
        let mapped = match self.mapped {
            Mapped::No => 0,
            Mapped::A => 1,
            Mapped::B => 2,
            Mapped::C => 3,
        };
        consts.push(("MAPPED", mapped));
        let made = self.dispatch(gpu, (kernel, &consts, why), tile.extent(), sum, program);
        // A tile that the driver refuses is doubted from then on, so that there may be another.
        match made {
            Err(Error::Shader { .. }) if !forced => match Tile::of(gpu, self, sum) {
                (other, why) if other != tile => self.launch(gpu, (other, why), sum, program),
                _ => made,
            },
            made => made,
        }
    }

    fn dispatch(
        &self,
        gpu: &Gpu,
        (kernel, consts, why): (&'static Kernel, &[(&'static str, u32)], &'static str),
        extent: [usize; 2],
        sum: &Sum<'_>,
        program: &mut Program,
    ) -> Result<()> {
        let nothing = Nothing::of(gpu)?.read;
        let bias = self.bias.clone().unwrap_or_else(|| Matrix::dense(&nothing, self.n));
        let lengths = self.rows.as_ref().map_or(&nothing, |rows| &rows.lengths);
        let cuts = Cuts::new(gpu, self, extent, sum);
        let all = cuts.cuts(self, sum);
        if all.is_empty() {
            return Ok(());
        }
        let all = all.into_iter().map(|cut| {
            let Cut { rows, columns, slice, slices, accumulate, last } = cut;
            let accumulate = match accumulate {
                Accumulate::No => 0,
                Accumulate::Before => 1,
                Accumulate::After => 2,
            };
            let split = match self.mapped {
                Mapped::B => self.split.saturating_sub(columns.start),
                _ => self.split,
            };
            let skipped = slices.start.saturating_sub(sum.slices.start) * sum.c_slice;
            let uniform = Uniform {
                m: index(self.m)?,
                n: index(columns.len())?,
                k: index(self.k)?,
                first_row: index(rows.start)?,
                a_offset: index(self.a.offset)?,
                a_row: index(self.a.row)?,
                a_column: index(self.a.column)?,
                a_direction: index(self.a.direction)?,
                b_offset: index(self.b.offset + columns.start)?,
                b_row: index(self.b.row)?,
                b_direction: index(self.b.direction)?,
                bias_offset: index(bias.offset + columns.start)?,
                c_offset: index(sum.c.offset + skipped + columns.start)?,
                c_row: index(sum.c.row)?,
                c_direction: index(sum.c.direction)?,
                bias_direction: index(bias.direction)?,
                accumulate,
                has_bias: u32::from(self.bias.is_some() && last),
                first_direction: index(self.directions.start)?,
                split: u32::try_from(split).unwrap_or(u32::MAX),
                slice: index(slice)?,
                first_slice: index(slices.start)?,
                c_slice: index(sum.c_slice)?,
                directions: index(self.directions.len())?,
                rows: self.rows.as_ref().map(RowMap::uniform).transpose()?.unwrap_or_default(),
            };
            let [high, wide] = [rows.len().div_ceil(extent[0]), columns.len().div_ceil(extent[1])];
            Op::gpu(
                gpu,
                &Launch {
                    kernel,
                    recipe: None,
                    consts: consts.to_vec(),
                    uniform: &uniform.bytes(),
                    buffers: &[&self.a.buffer, &self.b.buffer, &bias.buffer, lengths, &sum.c.buffer],
                    groups: [index(wide)?, index(high)?, index(self.directions.len() * slices.len())?],
                    steps: None,
                    work: cuts.work(rows.len(), columns.len(), slice.min(self.k), slices.len()),
                },
            )
        });
        program.push(Op::of_dispatches(all)?.because(why));
        Ok(())
    }
}

/// Which part of a product's k one launch sums, and where to.
struct Sum<'a> {
    /// How much of k a workgroup sums.
    slice: usize,
    /// Which slices.
    slices: std::ops::Range<usize>,
    c: &'a Matrix,
    /// Elements of C from slice to slice.
    c_slice: usize,
    accumulate: Accumulate,
}

impl<'a> Sum<'a> {
    /// All of it.
    fn whole(call: &'a Gemm) -> Self {
        Self { slice: call.k, slices: 0..1, c: &call.c, c_slice: 0, accumulate: call.accumulate }
    }
}
