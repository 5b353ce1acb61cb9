//! Long sums in slices. A weight gradient has few elements and a sum over all steps for each, too few workgroups for a GPU
//! if one makes a whole sum. So k is cut into slices that are summed side by side, and then added.
//!
//! A slice has a number of rows that depends on nothing but the batch, the first begins at row 0, and slices are added
//! to C from the last to the first. How many are made at a time depends on the scratch there is and changes no bit; nor
//! does it if a product ends where a slice does and the next one goes on.

use super::super::cuts::{element_lanes, index, linear_groups, runs};
use super::super::op::{Launch, Op};
use super::super::program::Program;
use super::tiles::{self, Tile};
use super::{Accumulate, Gemm, Mapped, Matrix, Sum, cooperative};
use crate::device::{Buffer, Device};
use crate::error::{Error, Result, at_least_one};
use crate::gpu::{AdapterKind, Gpu, Work};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Adds the sums of slices.
pub static KERNEL: Kernel = Kernel {
    name: "gemm_slices",
    fragments: fragments!["gemm/slices.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("parts"),
        Binding::read("bias"),
        Binding::read_write("c").or_half(),
    ],
    uniform: Uniform::MEMBERS,
};

/// Rows of a slice, before they are rounded up to whole steps. Shorter ones cost more additions and scratch.
pub const SLICE: usize = 256;

/// The slices of a long sum.
#[derive(Clone)]
pub struct Slices {
    /// Rows of k in each but the last.
    pub rows: usize,
    /// Room for the sums of some slices at a time, `[slices, directions, m, n]`; may be empty.
    pub scratch: Buffer,
}

uniform! {
    struct Uniform {
        first: u32,
        end: u32,
        columns: u32,
        slices: u32,
        part_slice: u32,
        part_direction: u32,
        c_offset: u32,
        c_row: u32,
        c_direction: u32,
        accumulate: u32,
        first_direction: u32,
        has_bias: u32,
        bias_offset: u32,
        bias_direction: u32,
    }
}

/// Rows of a slice of a sum over steps of `batch` rows into `[m, n]`; none where C alone has enough tiles to fill the
/// device. It depends on nothing else, so sums over parts of the steps have the slices of the whole.
pub fn slice_rows(device: &Device, m: usize, n: usize, directions: usize, batch: usize) -> Option<usize> {
    let few = device.gpu().is_some_and(|gpu| at_once(gpu, m, n, directions) > 1);
    few.then(|| SLICE.div_ceil(batch.max(1)) * batch.max(1))
}

/// Elements of scratch with which a device is busy. One slice takes some only where cooperative matrices may sum it,
/// which do so for sums over fewer steps too.
pub fn scratch_len(device: &Device, m: usize, n: usize, directions: usize, k: usize, batch: usize) -> usize {
    let (Some(gpu), Some(rows)) = (device.gpu(), slice_rows(device, m, n, directions, batch)) else { return 0 };
    let one = m.saturating_mul(n).saturating_mul(directions);
    let bound = usize::try_from(gpu.capabilities().binding_bytes() / 4).unwrap_or(usize::MAX) / one.max(1);
    match at_once(gpu, m, n, directions).min(k.div_ceil(rows)).min(bound) {
        0 => 0,
        1 if cooperative::size(device).is_none() => 0,
        slices => slices * one,
    }
}

/// Slices that fill a device side by side. A software adapter has fewer threads than any product has tiles.
fn at_once(gpu: &Gpu, m: usize, n: usize, directions: usize) -> usize {
    match gpu.capabilities().kind {
        AdapterKind::Software => 1,
        AdapterKind::Gpu => tiles::ENOUGH / (m.div_ceil(64) * n.div_ceil(64) * directions).max(1),
    }
}

impl Slices {
    pub(super) fn check(&self, call: &Gemm) -> Result<()> {
        at_least_one("the rows of a slice", self.rows)?;
        if call.bias.is_some() || call.mapped == Mapped::C || call.accumulate == Accumulate::After {
            return Err(Error::invalid("a sum in slices", "one of weight gradients", "a bias or a mapped result"));
        }
        Ok(())
    }
}

impl Gemm {
    pub(super) fn slice_elements(&self) -> usize {
        self.m * self.n * self.directions.end
    }

    /// How many slices are summed side by side: 1 if they are added to C one after another.
    pub(super) fn parallel_slices(&self) -> usize {
        self.slices.as_ref().map_or(1, |slices| {
            let room = slices.scratch.len() / self.slice_elements().max(1);
            room.min(self.k.div_ceil(slices.rows)).max(1)
        })
    }

    /// Appends the sums of all slices, made by cooperative matrices of so many rows if there is such a number.
    pub(super) fn in_slices(&self, gpu: &Gpu, cooperative: Option<u32>, program: &mut Program) -> Result<()> {
        let Some(slices) = &self.slices else { return Ok(()) };
        let tile = Tile::of(gpu, self, &Sum { slice: slices.rows, ..Sum::whole(self) });
        let (count, at_once) = (self.k.div_ceil(slices.rows), self.parallel_slices());
        let mut end = count;
        while end > 0 {
            let first = end - end.min(at_once);
            let goes_on = end < count || self.accumulate == Accumulate::Before;
            if end - first == 1 && cooperative.is_none() {
                let accumulate = if goes_on { Accumulate::After } else { Accumulate::No };
                let sum = Sum { slice: slices.rows, slices: first..end, c: &self.c, c_slice: 0, accumulate };
                self.launch(gpu, tile, &sum, program)?;
            } else {
                let one = self.m * self.n;
                let c = Matrix { direction: one, ..Matrix::dense(&slices.scratch, self.n) };
                let (c_slice, accumulate) = (self.slice_elements(), Accumulate::No);
                let sum = Sum { slice: slices.rows, slices: first..end, c: &c, c_slice, accumulate };
                match cooperative {
                    Some(size) => cooperative::launch(self, gpu, size, &sum, program)?,
                    None => self.launch(gpu, tile, &sum, program)?,
                }
                program.push(self.add_up(gpu, &slices.scratch, end - first, goes_on)?);
            }
            end = first;
        }
        Ok(())
    }

    /// `C = (C +) Σ` of the first `slices` sums in `parts` `(+ bias)`.
    pub(super) fn add_up(&self, gpu: &Gpu, parts: &Buffer, slices: usize, goes_on: bool) -> Result<Op> {
        let bias = self.bias.as_ref();
        let lanes = element_lanes(gpu.capabilities());
        let directions = self.directions.len();
        let bytes = (self.c.buffer.element_bytes() + 4 * (slices + 2) as u64) as f64;
        let work = |elements: usize| Work::moved(directions * elements, bytes, lanes);
        Op::of_dispatches(runs(gpu, self.m * self.n, 1, work).into_iter().map(|elements| {
            let uniform = Uniform {
                first: index(elements.start)?,
                end: index(elements.end)?,
                columns: index(self.n)?,
                slices: index(slices)?,
                part_slice: index(self.slice_elements())?,
                part_direction: index(self.m * self.n)?,
                c_offset: index(self.c.offset)?,
                c_row: index(self.c.row)?,
                c_direction: index(self.c.direction)?,
                accumulate: u32::from(goes_on),
                first_direction: index(self.directions.start)?,
                has_bias: u32::from(bias.is_some()),
                bias_offset: index(bias.map_or(0, |bias| bias.offset))?,
                bias_direction: index(bias.map_or(0, |bias| bias.direction))?,
            };
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: None,
                    consts: vec![("LANES", lanes)],
                    uniform: &uniform.bytes(),
                    buffers: &[parts, bias.map_or(parts, |bias| &bias.buffer), &self.c.buffer],
                    groups: [linear_groups(gpu, elements.len(), lanes), 1, index(directions)?],
                    steps: None,
                    work: work(elements.len()),
                },
            )
        }))
    }
}
