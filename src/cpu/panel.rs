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

/// Where the rows of a product go.
pub trait Rows<S> {
    /// Sets `rows` to the product's columns of as many rows, from `first` on.
    fn rows<'s>(&'s mut self, first: usize, rows: &mut [&'s mut [S]]);
}

/// Slices that make a row of A, at most: the gates of a cell.
pub const MOST_RUNS: usize = 4;

/// Rows that are looked up at a time: so many that looking up takes no time beside what is done with them, so few that
/// the stack has room.
pub const ROWS: usize = 96;

/// `bias + A·B`, or that added to what is there, for `A [rows, depth]` and `B [depth, columns]` packed. A row of A is made
/// of `runs` slices, one after the other, `depth` elements in all, of the same lengths in every row. A missing (empty)
/// bias is zero.
pub struct Product<'a, S, A, C> {
    /// B, from [`pack`] or [`pack_transposed`].
    pub packed: &'a [S],
    /// Inner dimension.
    pub depth: usize,
    /// One value for each column, or none.
    pub bias: &'a [S],
    /// Slices that make a row of A, one at least, [`MOST_RUNS`] at most, and none of them empty.
    pub runs: usize,
    /// Of a row of A the slice of a run.
    pub a: A,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Whether it is added to what `c` holds.
    pub adds: bool,
    /// Whether the last columns come first: a product with the same B right after another finds in the cache what that
    /// one had last. The result is the same.
    pub backwards: bool,
    /// The result.
    pub c: C,
}

impl<'r, S: Scalar, R: Fn(usize, usize) -> &'r [S], C: Rows<S>> Product<'_, S, R, C> {
    /// Computes it.
    pub fn run(self) {
        self.run_with(|known| vectorised(known));
    }

    /// The same, where `run` chooses the vectors.
    #[inline]
    fn run_with(mut self, run: impl Fn(&mut Known<'_, '_, S>)) {
        // Little is looked up where there is little: the room for it is cleared.
        match self.rows {
            0..=1 => self.look_up::<1>(run),
            2..=8 => self.look_up::<8>(run),
            _ => self.look_up::<ROWS>(run),
        }
    }

    /// Looks up N rows at a time and has them computed.
    #[inline]
    fn look_up<const N: usize>(&mut self, run: impl Fn(&mut Known<'_, '_, S>)) {
        debug_assert!((1..=MOST_RUNS).contains(&self.runs), "{} runs", self.runs);
        for first in (0..self.rows).step_by(N) {
            let rows = N.min(self.rows - first);
            let mut a = [[&[][..]; N]; MOST_RUNS];
            for (index, slices) in a.iter_mut().enumerate().take(self.runs) {
                for (row, slice) in slices.iter_mut().enumerate().take(rows) {
                    *slice = (self.a)(first + row, index);
                }
            }
            let mut c: [&mut [S]; N] = std::array::from_fn(|_| Default::default());
            self.c.rows(first, &mut c[..rows]);
            debug_assert!(c[..rows].iter().all(|row| row.len() == self.columns), "rows of {} columns", self.columns);
            run(&mut Known {
                packed: self.packed,
                depth: self.depth,
                bias: self.bias,
                a: a.each_ref().map(|slices| &slices[..rows]),
                runs: self.runs,
                columns: self.columns,
                adds: self.adds,
                backwards: self.backwards,
                c: &mut c[..rows],
            });
        }
    }
}

/// A [`Product`] whose rows are looked up: a type that does not depend on where they come from and go, so that its loops
/// are compiled once for all products.
struct Known<'b, 'c, S> {
    packed: &'b [S],
    depth: usize,
    bias: &'b [S],
    /// Of each run the slices of the rows of A.
    a: [&'b [&'b [S]]; MOST_RUNS],
    runs: usize,
    columns: usize,
    adds: bool,
    backwards: bool,
    /// Where the rows go, each all columns.
    c: &'b mut [&'c mut [S]],
}

impl<S: Scalar> WithSimd for &mut Known<'_, '_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<A: Simd>(self, arch: A) {
        // A constant, so that the compiler makes only what is for this width of vectors.
        match const { WIDTH * size_of::<S>() / size_of::<S::Vector<A>>() } {
            1 => self.all::<A, 1>(arch),
            2 => self.all::<A, 2>(arch),
            4 => self.all::<A, 4>(arch),
            8 => self.all::<A, 8>(arch),
            _ => self.all::<A, 16>(arch),
        }
    }
}

impl<S: Scalar> Known<'_, '_, S> {
    /// All rows and columns. Few rows, or few vectors to a panel, would spend their time waiting for the sum before:
    /// several panels at a time keep busy.
    #[inline(always)]
    fn all<A: Simd, const P: usize>(&mut self, arch: A) {
        let panels = self.columns.div_ceil(WIDTH);
        match (self.c.len(), P) {
            (1, _) | (2..4, 1) => {
                let (fours, twos) = (panels / 4 * 4, panels / 2 * 2);
                self.columns::<A, P, 4>(arch, 0..fours);
                self.columns::<A, P, 2>(arch, fours..twos);
                self.columns::<A, P, 1>(arch, twos..panels);
            }
            (2, _) | (_, 1) => {
                self.columns::<A, P, 2>(arch, 0..panels);
                self.columns::<A, P, 1>(arch, panels / 2 * 2..panels);
            }
            _ => self.columns::<A, P, 1>(arch, 0..panels),
        }
    }

    /// These panels, Q at a time, as long as there are Q.
    #[inline(always)]
    fn columns<A: Simd, const P: usize, const Q: usize>(&mut self, arch: A, panels: Range<usize>) {
        let turns = panels.len() / Q;
        for turn in 0..turns {
            let turn = if self.backwards { turns - 1 - turn } else { turn };
            self.panels::<A, P, Q>(arch, panels.start + turn * Q);
        }
    }

    /// All rows of Q panels, in blocks of rows as even as they come.
    #[inline(always)]
    fn panels<A: Simd, const P: usize, const Q: usize>(&mut self, arch: A, panel: usize) {
        /// Calls `block` with the constant that `$size` equals. The guard is a constant, so that the compiler makes only
        /// the blocks that there are.
        macro_rules! block {
            ($size:expr, $bias:expr, $first:expr, $($m:literal)*) => {
                match $size {
                    $($m if const { $m <= most::<A>(P * Q) } => self.block::<A, $m, P, Q>(arch, $bias, $first, panel),)*
                    _ => {}
                }
            };
        }
        let mut bias = [[S::ZERO; WIDTH]; Q];
        for (to, from) in bias.as_flattened_mut().iter_mut().zip(self.bias.iter().skip(panel * WIDTH)) {
            *to = *from;
        }
        let rows = self.c.len();
        let blocks = rows.div_ceil(most::<A>(P * Q));
        let mut first = 0;
        for block in 0..blocks {
            let size = (rows - first).div_ceil(blocks - block);
            block!(size, &bias, first, 1 2 3 4 5 6 7 8);
            first += size;
        }
    }

    /// Rows `first..first + M` of the columns of Q panels of P vectors each, from `panel` on. Sums stay in registers as
    /// long as whatever names them is a loop over a constant range, and in the same ones as long as loops test at their
    /// end: with one that may have no turn the compiler copies them in every turn. Slices are shortened to one length
    /// beforehand, so that the innermost loop checks nothing.
    #[inline(always)]
    fn block<A: Simd, const M: usize, const P: usize, const Q: usize>(
        &mut self,
        arch: A,
        bias: &[[S; WIDTH]; Q],
        first: usize,
        panel: usize,
    ) {
        let mut sums = [[[S::splat(arch, S::ZERO); P]; Q]; M];
        let (vectors, _) = S::vectors::<A>(self.packed).as_chunks::<P>();
        let (mut done, mut run) = (0, 0);
        loop {
            let slices = &self.a[run][first..first + M];
            let len = slices[0].len();
            let mut rows: [&[S]; M] = [&[]; M];
            for m in 0..M {
                rows[m] = &slices[m][..len];
            }
            debug_assert!(len > 0, "an empty run");
            if len == 0 {
                return;
            }
            let mut weights: [&[[S::Vector<A>; P]]; Q] = [&[]; Q];
            for q in 0..Q {
                weights[q] = &vectors[(panel + q) * self.depth + done..][..len];
            }
            // Several rows take two terms a turn: a loop of one is so short that its speed depends on where the linker puts it.
            let mut k = 0;
            loop {
                for term in 0..const { if M > 1 { 2 } else { 1 } } {
                    for m in 0..M {
                        let factor = S::splat(arch, rows[m][k]);
                        for q in 0..Q {
                            for p in 0..P {
                                sums[m][q][p] = S::multiply_add(arch, factor, weights[q][k][p], sums[m][q][p]);
                            }
                        }
                    }
                    k += 1;
                    if term == 0 && k == len {
                        break;
                    }
                }
                if k == len {
                    break;
                }
            }
            done += len;
            run += 1;
            if run >= self.runs {
                break;
            }
        }
        self.store::<A, M, P, Q>(arch, sums, bias, first, panel * WIDTH);
    }

    /// Puts a block's sums where they go, each row's from column `start` on.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "iterators over arrays of arrays put the sums into memory")]
    fn store<A: Simd, const M: usize, const P: usize, const Q: usize>(
        &mut self,
        arch: A,
        mut sums: [[[S::Vector<A>; P]; Q]; M],
        bias: &[[S; WIDTH]; Q],
        first: usize,
        start: usize,
    ) {
        let bias = S::vectors::<A>(bias.as_flattened());
        for m in 0..M {
            for q in 0..Q {
                for p in 0..P {
                    sums[m][q][p] = S::plus(arch, sums[m][q][p], bias[q * P + p]);
                }
            }
        }
        let width = (Q * WIDTH).min(self.columns - start);
        let to = &mut self.c[first..first + M];
        if width < Q * WIDTH {
            // The last columns, from a copy: sums whose address is taken would be in memory from their first turn on.
            let mut tile = [[[S::ZERO; WIDTH]; Q]; M];
            for m in 0..M {
                let vectors = S::vectors_mut::<A>(tile[m].as_flattened_mut());
                for q in 0..Q {
                    for p in 0..P {
                        vectors[q * P + p] = sums[m][q][p];
                    }
                }
            }
            for (row, sums) in to.iter_mut().zip(&tile) {
                for (to, &sum) in row.iter_mut().skip(start).zip(sums.as_flattened()) {
                    *to = if self.adds { *to + sum } else { sum };
                }
            }
            return;
        }
        for m in 0..M {
            let Some(row) = to[m].get_mut(start..start + Q * WIDTH) else { continue };
            let row = S::vectors_mut::<A>(row);
            for q in 0..Q {
                for p in 0..P {
                    let (at, sum) = (q * P + p, sums[m][q][p]);
                    row[at] = if self.adds { S::plus(arch, row[at], sum) } else { sum };
                }
            }
        }
    }
}

/// Rows whose sums, so many vectors each, fit the registers of A beside as many of a panel and some factors; 3 to 8.
#[inline(always)]
const fn most<A: Simd>(vectors: usize) -> usize {
    match A::REGISTER_COUNT.saturating_sub(4 + vectors) / vectors {
        0..3 => 3,
        fit @ 3..8 => fit,
        _ => 8,
    }
}

#[cfg(test)]
mod tests;
