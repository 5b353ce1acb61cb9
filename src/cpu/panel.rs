//! Products of few rows with a matrix that stays the same for many steps.
//!
//! A general product packs its operands anew at every call, which at 16 or 64 rows costs as much as the product. Here
//! the matrix is packed once for all steps, into panels of [`WIDTH`] columns: panel p holds, row after row, columns
//! `p·WIDTH..(p+1)·WIDTH`, filled with zeros past the last. Each element of the result is one sum in the order of the
//! inner dimension, so its bits depend neither on the number of rows nor on how they are dealt out to threads. Private
//! to this floor, which checks the sizes once for all steps.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::scalar::Scalar;
use crate::cpu::simd::vectorised;
use crate::cpu::threads::Threads;
use crate::error::{Error, Result};

/// Columns of a panel: two 256-bit or one 512-bit vector of `f32`.
pub const WIDTH: usize = 16;

/// Elements that a matrix `[depth, columns]` takes when packed.
pub const fn packed_len(depth: usize, columns: usize) -> usize {
    columns.div_ceil(WIDTH).saturating_mul(WIDTH).saturating_mul(depth)
}

/// Packs `matrix [depth, columns]`, row-major.
pub fn pack<S: Scalar>(threads: Threads, matrix: &[S], depth: usize, columns: usize, packed: &mut [S]) {
    each_panel(threads, packed, depth, |start, panel| {
        let width = WIDTH.min(columns - start);
        for (to, from) in panel.chunks_exact_mut(WIDTH).zip(matrix.chunks_exact(columns)) {
            let (head, tail) = to.split_at_mut(width);
            head.copy_from_slice(&from[start..start + width]);
            tail.fill(S::ZERO);
        }
    });
}

/// Packs the transpose of `matrix [columns, depth]`, row-major.
pub fn pack_transposed<S: Scalar>(threads: Threads, matrix: &[S], depth: usize, packed: &mut [S]) {
    each_panel(threads, packed, depth, |start, panel| {
        panel.fill(S::ZERO);
        let rows = matrix.chunks_exact(depth.max(1)).skip(start).take(WIDTH);
        for (column, row) in rows.enumerate() {
            for (to, from) in panel.chunks_exact_mut(WIDTH).zip(row) {
                to[column] = *from;
            }
        }
    });
}

/// Calls `work` with every panel and its first column; on threads of the current pool where the panels are large.
fn each_panel<S: Scalar>(threads: Threads, packed: &mut [S], depth: usize, work: impl Fn(usize, &mut [S]) + Sync) {
    /// Elements that are packed sooner than another thread is awake.
    const SMALL: usize = 32 << 10;
    let (size, one) = ((depth * WIDTH).max(1), |(index, panel): (usize, &mut [S])| work(index * WIDTH, panel));
    match threads == Threads::ONE || packed.len() <= SMALL {
        true => packed.chunks_exact_mut(size).enumerate().for_each(one),
        false => packed.par_chunks_exact_mut(size).enumerate().for_each(one),
    }
}

/// Zeros, or an error when there is no memory for so many.
pub fn zeros<S: Scalar>(what: &str, len: usize) -> Result<Vec<S>> {
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|_| Error::Limit {
        what: what.to_string(),
        needed: format!("{} bytes", len.saturating_mul(size_of::<S>())),
        limit: "no more memory".to_string(),
        device: "the CPU".to_string(),
    })?;
    data.resize(len, S::ZERO);
    Ok(data)
}

/// A packed matrix in memory of its own, which begins on a cache line.
#[derive(Clone, Debug)]
pub struct Packed<S> {
    data: Vec<S>,
    start: usize,
    depth: usize,
    columns: usize,
}

impl<S: Scalar> Packed<S> {
    /// Zero, `[depth, columns]`. An error when there is no memory for it.
    pub fn new(depth: usize, columns: usize) -> Result<Self> {
        /// Bytes of a cache line.
        const LINE: usize = 64;
        let (len, spare) = (packed_len(depth, columns), LINE / size_of::<S>());
        let data: Vec<S> = zeros("the packed weights", len.saturating_add(spare))?;
        let start = data.as_ptr().align_offset(LINE).min(spare);
        Ok(Self { data, start, depth, columns })
    }

    /// Packs the transpose of `matrix [columns, depth]`, row-major.
    pub fn set_transposed(&mut self, matrix: &[S]) {
        let range = self.range();
        pack_transposed(Threads::ONE, matrix, self.depth, &mut self.data[range]);
    }

    /// The panels.
    pub fn panels(&self) -> &[S] {
        &self.data[self.range()]
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + packed_len(self.depth, self.columns)
    }
}

/// `bias + A·B` for `A [rows, depth]` and `B [depth, columns]` packed. A row of A is made of `runs` slices, one after the
/// other, `depth` elements in all, of the same lengths in every row. A missing (empty) bias is zero.
pub struct Product<'a, S, A, C> {
    /// B, from [`pack`] or [`pack_transposed`].
    pub packed: &'a [S],
    /// Inner dimension.
    pub depth: usize,
    /// One value for each column, or none.
    pub bias: &'a [S],
    /// Slices that make a row of A.
    pub runs: usize,
    /// Of a row of A the slice of a run.
    pub a: A,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Takes, for a row and from a column on, some of the result.
    pub c: C,
}

impl<'r, S: Scalar, R: Fn(usize, usize) -> &'r [S], C: FnMut(usize, usize, &[S])> Product<'_, S, R, C> {
    /// Computes it.
    pub fn run(self) {
        vectorised(self);
    }

    /// Rows `first..first + M` of the columns of Q panels of P vectors each, from `panel` on.
    #[inline(always)]
    fn block<A: Simd, const M: usize, const P: usize, const Q: usize>(&mut self, arch: A, first: usize, panel: usize) {
        let start = panel * WIDTH;
        let mut initial = [[S::ZERO; WIDTH]; Q];
        let biases = self.bias.iter().skip(start);
        initial.as_flattened_mut().iter_mut().zip(biases).for_each(|(sum, bias)| *sum = *bias);
        let initial = initial.map(|panel| std::array::from_fn::<_, P, _>(|p| S::vectors::<A>(&panel)[p]));
        let mut sums = [initial; M];

        let (weights, _) = S::vectors::<A>(self.packed).as_chunks::<P>();
        let mut weights: [_; Q] = std::array::from_fn(|q| &weights[(panel + q) * self.depth..][..self.depth]);
        for run in 0..self.runs {
            let rows: [&[S]; M] = std::array::from_fn(|m| (self.a)(first + m, run));
            let len = rows.first().map_or(0, |row| row.len());
            let rows = rows.map(|row| &row[..len]);
            let now = weights.map(|weights| &weights[..len]);
            weights = weights.map(|weights| &weights[len..]);
            for k in 0..len {
                for m in 0..M {
                    let factor = S::splat(arch, rows[m][k]);
                    for q in 0..Q {
                        for p in 0..P {
                            sums[m][q][p] = S::multiply_add(arch, factor, now[q][k][p], sums[m][q][p]);
                        }
                    }
                }
            }
        }

        let end = (start + Q * WIDTH).min(self.columns);
        for (m, sums) in sums.iter().enumerate() {
            let sums: &[S] = bytemuck::cast_slice(sums.as_flattened());
            // Of a known length nearly always, which is copied without a call.
            match end == start + Q * WIDTH {
                true => (self.c)(first + m, start, &sums[..Q * WIDTH]),
                false => (self.c)(first + m, start, &sums[..end - start]),
            }
        }
    }

    /// All rows and columns: panel by panel, and for each panel blocks of rows as even as they come.
    #[inline(always)]
    fn all<A: Simd, const P: usize>(&mut self, arch: A) {
        /// Calls `block` with the constant that `$size` equals.
        macro_rules! block {
            ($size:expr, $first:expr, $panel:expr, $panels:literal, $($m:literal)*) => {
                match $size {
                    $($m if $m <= most::<A>(P) => self.block::<A, $m, P, $panels>(arch, $first, $panel),)*
                    _ => {}
                }
            };
        }
        let rows = self.rows;
        let panels = self.columns.div_ceil(WIDTH);
        let mut panel = 0;
        // So few rows would spend their time waiting for the sum before: several panels at a time keep busy.
        if rows == 1 {
            while panel + 4 <= panels {
                self.block::<A, 1, P, 4>(arch, 0, panel);
                panel += 4;
            }
        }
        if rows == 2 || rows == 3 {
            while panel + 2 <= panels {
                block!(rows, 0, panel, 2, 2 3);
                panel += 2;
            }
        }
        let blocks = rows.div_ceil(most::<A>(P));
        for panel in panel..panels {
            let mut first = 0;
            for block in 0..blocks {
                let size = (rows - first).div_ceil(blocks - block);
                block!(size, first, panel, 1, 1 2 3 4 5 6 7 8 9 10 11 12);
                first += size;
            }
        }
    }
}

/// Rows whose sums, P vectors each, fit the registers of A beside one row of the panel and one factor; at least 3.
#[inline(always)]
const fn most<A: Simd>(vectors: usize) -> usize {
    match A::REGISTER_COUNT.saturating_sub(4 + vectors) / vectors {
        0..3 => 3,
        fit @ 3..12 => fit,
        _ => 12,
    }
}

impl<'r, S: Scalar, R: Fn(usize, usize) -> &'r [S], C: FnMut(usize, usize, &[S])> WithSimd for Product<'_, S, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<A: Simd>(mut self, arch: A) {
        match WIDTH * size_of::<S>() / size_of::<S::Vector<A>>() {
            1 => self.all::<A, 1>(arch),
            2 => self.all::<A, 2>(arch),
            4 => self.all::<A, 4>(arch),
            8 => self.all::<A, 8>(arch),
            _ => self.all::<A, 16>(arch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees<S: Scalar>(tolerance: f64) {
        let value = |i: usize, seed: f64| S::from_f64((i as f64 * 0.9 + seed).sin());
        for rows in (0..20).chain([31]) {
            for (depth, columns) in [(1, 1), (7, 16), (6, 17), (12, 100), (10, 64)] {
                let weights: Vec<S> = (0..depth * columns).map(|i| value(i, 0.1)).collect();
                let mut transposed = weights.clone();
                for (i, x) in transposed.iter_mut().enumerate() {
                    *x = weights[i % depth * columns + i / depth];
                }
                let (mut packed, mut other) = (vec![value(0, 1.0); packed_len(depth, columns)], Vec::new());
                other.resize(packed.len(), value(1, 1.0));
                pack(Threads::ONE, &weights, depth, columns, &mut packed);
                pack_transposed(Threads::ONE, &transposed, depth, &mut other);
                assert_eq!(packed, other);

                // Rows of A with a gap of two elements after the first.
                let apart = depth + 2;
                let a: Vec<S> = (0..rows * apart).map(|i| value(i, 0.2)).collect();
                let bias: Vec<S> = (0..columns).map(|i| value(i, 0.3)).collect();
                let mut out = vec![S::ZERO; rows * columns];
                let runs = [0..1, 3..apart];
                let part = |r: usize, run: usize| &a[r * apart..][runs[run].clone()];
                let c = |r: usize, from: usize, sums: &[S]| {
                    out[r * columns + from..][..sums.len()].copy_from_slice(sums);
                };
                Product { packed: &packed, depth, bias: &bias, runs: runs.len(), a: part, rows, columns, c }.run();
                for (i, got) in out.iter().enumerate() {
                    let (r, j) = (i / columns, i % columns);
                    let factors = runs.iter().cloned().flatten().map(|k| a[r * apart + k].to_f64());
                    let dot: f64 = factors.enumerate().map(|(k, x)| x * weights[k * columns + j].to_f64()).sum();
                    assert!((got.to_f64() - dot - bias[j].to_f64()).abs() < tolerance);
                }
            }
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        agrees::<f32>(1e-5);
        agrees::<f64>(1e-13);
    }
}
