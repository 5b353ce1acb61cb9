//! How a product is cut into dispatches that each end soon. Sums run over k from the last to the first, so what is cut there
//! goes on from what C holds, and has the same bits.

use std::ops::Range;

use super::{Accumulate, Gemm, Mapped, Sum};
use crate::device::DType;
use crate::gpu::{Costs, Gpu, Work};
use crate::kernel::cuts::rectangles;

/// Terms of a sum that no cut divides: what every kernel brings at a time, and the matrices of those that have such.
const TERMS: usize = 64;

/// One dispatch of a product.
pub(super) struct Cut {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// How much of k a workgroup sums, and which runs of so much.
    pub(super) slice: usize,
    pub(super) slices: Range<usize>,
    pub(super) accumulate: Accumulate,
    /// Whether its sums end here.
    pub(super) last: bool,
}

/// What a product of one tile costs.
pub(super) struct Cuts<'g> {
    gpu: &'g Gpu,
    /// Rows and columns of C a workgroup.
    extent: [usize; 2],
    directions: usize,
    /// Bytes of an element of A, B and C.
    bytes: [f64; 3],
}

/// What workgroups of these `extent`s do that make `rows × columns` sums of `k` terms in each of so many slices.
fn work([high, wide]: [usize; 2], [a, b, c]: [f64; 3], [rows, columns, k]: [usize; 3], parts: usize) -> Work {
    let (across, down) = (columns.div_ceil(wide), rows.div_ceil(high));
    let [sums, k, parts] = [(across * wide * down * high) as f64, k as f64, parts as f64];
    let operands = k * ((down * columns) as f64 * b + (across * rows) as f64 * a);
    Work {
        multiply_adds: sums * k * parts,
        bytes: (operands + 2.0 * c * (rows * columns) as f64) * parts,
        groups: (across * down) as f64 * parts,
        ..Work::default()
    }
}

/// Whether a workgroup that makes all of its sums of `k` terms ends soon.
pub(super) fn ends_soon(costs: &Costs, [high, wide]: [usize; 2], k: usize) -> bool {
    costs.fits(&work([high, wide], [4.0; 3], [high, wide, k], 1))
}

/// Whether a sum may be left in C before it is whole: where that is f32, nothing else is added, and each place is known.
pub(super) fn goes_on(call: &Gemm, sum: &Sum<'_>) -> bool {
    sum.c.buffer.dtype() != DType::Half
        && sum.accumulate != Accumulate::After
        && call.mapped != Mapped::C
        && sum.slices.len() == 1
        && sum.slice >= call.k
}

impl<'g> Cuts<'g> {
    pub(super) fn new(gpu: &'g Gpu, call: &Gemm, extent: [usize; 2], sum: &Sum<'_>) -> Self {
        let bytes = [&call.a.buffer, &call.b.buffer, &sum.c.buffer].map(|buffer| buffer.element_bytes() as f64);
        Self { gpu, extent, directions: call.directions.len(), bytes }
    }

    /// What one dispatch does.
    pub(super) fn work(&self, rows: usize, columns: usize, k: usize, slices: usize) -> Work {
        work(self.extent, self.bytes, [rows, columns, k], self.directions * slices)
    }

    /// The dispatches that make `sum`, in order: the last of k first.
    pub(super) fn cuts(&self, call: &Gemm, sum: &Sum<'_>) -> Vec<Cut> {
        let (costs, [high, wide]) = (self.gpu.costs(), self.extent);
        let most_groups = self.gpu.capabilities().max_workgroups as usize;
        // Of one workgroup of each direction: as much of k as it may sum, or as many slices.
        let (tall, broad) = (high.min(call.m), wide.min(call.n));
        let slice = match goes_on(call, sum) {
            true => {
                let of = |runs: usize| self.work(tall, broad, (runs * TERMS).min(call.k), 1);
                costs.most(call.k.div_ceil(TERMS), of).saturating_mul(TERMS)
            }
            false => sum.slice,
        };
        let whole = slice >= call.k || !goes_on(call, sum);
        let [slice, first, end] = match whole {
            true => [sum.slice, sum.slices.start, sum.slices.end],
            false => [slice, 0, call.k.div_ceil(slice)],
        };
        let at_once = match whole {
            true => {
                let of = |slices: usize| self.work(tall, broad, slice.min(call.k), slices);
                costs.most(end - first, of).min((most_groups / self.directions.max(1)).max(1))
            }
            false => 1,
        };
        let mut cuts = Vec::new();
        let mut before = end;
        while before > first {
            let slices = before - at_once.min(before - first)..before;
            let work = |rows: usize, columns: usize| self.work(rows, columns, slice.min(call.k), slices.len());
            let accumulate = if whole || before == end { sum.accumulate } else { Accumulate::Before };
            let last = whole || slices.start == first;
            let [most_rows, most_columns] = self.extent.map(|tile| tile.saturating_mul(most_groups));
            for [rows, columns] in rectangles(self.gpu, [call.m, call.n], self.extent, work) {
                for first_row in rows.clone().step_by(most_rows) {
                    for first_column in columns.clone().step_by(most_columns) {
                        let rows = first_row..rows.end.min(first_row.saturating_add(most_rows));
                        let columns = first_column..columns.end.min(first_column.saturating_add(most_columns));
                        let slices = slices.clone();
                        cuts.push(Cut { rows, columns, slice, slices, accumulate, last });
                    }
                }
            }
            before = slices.start;
        }
        cuts
    }
}
