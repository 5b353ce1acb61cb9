//! Sums over rows: gradients of biases and, with a factor for each element, of peepholes, and the sums that losses and norms
//! end with. Always in the same order, from the last row to the first, so that a sum may go on from what was summed before.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::cuts::{element_lanes, index, rectangles, runs};
use super::gemm::Matrix;
use super::op::{Launch, Op, Target, cpu_op, distinct};
use crate::activation::Number;
use crate::cpu::cell::Limit;
use crate::cpu::scalar::Scalar;
use crate::cpu::simd::vectorised;
use crate::cpu::threads::{Pool, Threads};
use crate::device::{Device, Element, Nothing};
use crate::error::{Result, at_least_one};
use crate::gpu::Work;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "column_sum",
    fragments: fragments!["lib/float.wgsl", "gemm/column_sum.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("matrix").or_half(),
        Binding::read("factors").or_half(),
        Binding::read_write("sums"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        rows: u32,
        columns: u32,
        row: u32,
        offset: u32,
        part_rows: u32,
        to_row: u32,
        to_offset: u32,
        accumulate: u32,
        run_rows: u32,
        parts: u32,
        factors_row: u32,
        factors_offset: u32,
        most_factor: f32,
    }
}

/// Rows that one invocation sums at most before partial sums are summed.
pub const PART: usize = 64;

/// How many partial sums a sum over `rows` rows goes through when none reaches over a multiple of `run` rows; its
/// scratch is this many rows.
pub const fn parts(rows: usize, run: usize) -> usize {
    count(rows, run, part_rows(run))
}

/// Rows of a part: as equal as may be within a run.
const fn part_rows(run: usize) -> usize {
    match run {
        0 => PART,
        _ => run.div_ceil(run.div_ceil(PART)),
    }
}

const fn count(rows: usize, run: usize, part: usize) -> usize {
    match run {
        0 => 0,
        _ => rows / run * run.div_ceil(part) + (rows % run).div_ceil(part),
    }
}

/// `to[part, c] = Σ of part_rows rows of from[.., c]`, each times its factor if there are any, or what it holds and then these.
#[derive(Clone)]
pub struct ColumnSum {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Rows summed into one row of `to`.
    pub part_rows: usize,
    /// No part reaches over a multiple of this many rows.
    pub run_rows: usize,
    /// What is summed; columns are contiguous.
    pub from: Matrix,
    /// What its elements are multiplied by; columns are contiguous.
    pub factors: Option<Matrix>,
    /// What the factors are brought within; none: no limit.
    pub most_factor: Option<Number>,
    /// The sums; columns are contiguous.
    pub to: Matrix,
    /// Whether sums start from what `to` holds.
    pub accumulate: bool,
}

impl ColumnSum {
    /// Partial sums of `from [rows, columns]` into `scratch [parts(rows, run), columns]`. Cut at multiples of `run` rows,
    /// a sum goes through the same parts in pieces as in one.
    pub fn partial(rows: usize, columns: usize, run: usize, from: Matrix, scratch: Matrix) -> Self {
        Self {
            rows,
            columns,
            part_rows: part_rows(run),
            run_rows: run,
            from,
            factors: None,
            most_factor: None,
            to: scratch,
            accumulate: false,
        }
    }

    /// The sum of all rows into one.
    pub fn total(rows: usize, columns: usize, from: Matrix, to: Matrix, accumulate: bool) -> Self {
        Self { rows, columns, part_rows: rows, run_rows: rows, from, factors: None, most_factor: None, to, accumulate }
    }

    /// With a factor for each element, brought within a limit if there is one.
    pub fn times(self, factors: Matrix, most_factor: Option<Number>) -> Self {
        Self { factors: Some(factors), most_factor, ..self }
    }

    fn work(&self, rows: usize, columns: usize, groups: usize) -> Work {
        let bytes = self.from.buffer.element_bytes() as f64;
        Work { bytes: (rows * columns) as f64 * bytes, groups: groups as f64, ..Work::default() }
    }

    /// The op; an error when a matrix does not lie in its buffer, or both share one.
    pub fn op(self, device: &Device) -> Result<Op> {
        at_least_one("the rows of one sum", self.part_rows)?;
        at_least_one("the rows of a run of sums", self.run_rows)?;
        let parts = count(self.rows, self.run_rows, self.part_rows);
        self.from.check("the summed matrix", self.rows, self.columns, 1)?;
        self.to.check("the sums", parts, self.columns, 1)?;
        let factors = self.factors.as_ref();
        factors.map_or(Ok(()), |factors| factors.check("the factors", self.rows, self.columns, 1))?;
        let read: Vec<_> = [&self.from.buffer].into_iter().chain(factors.map(|factors| &factors.buffer)).collect();
        distinct("column_sum", &[&self.to.buffer], &read)?;
        match device.target() {
            Target::Gpu(gpu) => {
                let lanes = element_lanes(gpu.capabilities());
                let most = gpu.capabilities().max_workgroups as usize;
                let nothing = Nothing::of(gpu)?;
                let (factors_buffer, [factors_row, factors_offset]) =
                    factors.map_or((&nothing.read, [0; 2]), |of| (&of.buffer, [of.row, of.offset]));
                let across = |columns: usize| columns.div_ceil(lanes as usize);
                let sum = |rows: Range<usize>, columns: Range<usize>, to: usize, parts: usize, accumulate: bool| {
                    let uniform = Uniform {
                        rows: index(rows.len())?,
                        columns: index(columns.len())?,
                        row: index(self.from.row)?,
                        offset: index(self.from.offset + rows.start * self.from.row + columns.start)?,
                        part_rows: index(self.part_rows)?,
                        to_row: index(self.to.row)?,
                        to_offset: index(self.to.offset + to * self.to.row + columns.start)?,
                        accumulate: u32::from(accumulate),
                        run_rows: index(self.run_rows)?,
                        parts: index(parts)?,
                        factors_row: index(factors_row)?,
                        factors_offset: index(factors_offset + rows.start * factors_row + columns.start)?,
                        most_factor: self.most_factor.map_or(f32::INFINITY, Number::get),
                    };
                    Op::gpu(
                        gpu,
                        &Launch {
                            kernel: &KERNEL,
                            recipe: None,
                            consts: vec![("LANES", lanes), ("FACTORS", u32::from(factors.is_some()))],
                            uniform: &uniform.bytes(),
                            buffers: &[&self.from.buffer, factors_buffer, &self.to.buffer],
                            groups: [index(across(columns.len()))?, index(parts.min(most))?, 1],
                            steps: None,
                            work: self.work(rows.len(), columns.len(), across(columns.len()) * parts),
                        },
                    )
                };
                if self.run_rows >= self.rows && parts == 1 {
                    // One sum, from its last rows to its first, going on from what there is.
                    let rows = runs(gpu, self.rows, 1, |rows| self.work(rows, self.columns, across(self.columns)));
                    let last = rows.len() - 1;
                    let pieces = rows.into_iter().enumerate().rev();
                    let all = || 0..self.columns;
                    let pieces = pieces.map(|(index, rows)| sum(rows, all(), 0, 1, self.accumulate || index < last));
                    return Op::of_dispatches(pieces);
                }
                let each = self.run_rows.div_ceil(self.part_rows);
                // Runs of rows, of all columns or, where one run takes long, of some.
                let work = |rows: usize, columns: usize| {
                    self.work(rows, columns, across(columns) * count(rows, self.run_rows, self.part_rows))
                };
                let granules = [self.run_rows, lanes as usize];
                let pieces = rectangles(gpu, [self.rows, self.columns], granules, work);
                Op::of_dispatches(pieces.into_iter().map(|[rows, columns]| {
                    let parts = count(rows.len(), self.run_rows, self.part_rows);
                    let to = rows.start / self.run_rows * each;
                    sum(rows, columns, to, parts, self.accumulate)
                }))
            }
            Target::Cpu(pool, precision) => {
                let call = self;
                Ok(cpu_op!(precision, "column_sum", on_cpu(call, pool)))
            }
        }
    }
}

fn on_cpu<S: Scalar + Element>(call: &ColumnSum, pool: &Pool) -> Result<()> {
    let from = call.from.buffer.read::<S>()?;
    let factors = call.factors.as_ref().map(|factors| factors.buffer.read::<S>()).transpose()?;
    let mut to = call.to.buffer.write::<S>()?;
    let parts = count(call.rows, call.run_rows, call.part_rows);
    let each = call.run_rows.div_ceil(call.part_rows);
    let threads = pool.threads_over(call.rows.saturating_mul(call.columns));
    let apart = call.to.row.max(call.columns).max(1);
    let at_once = parts.div_ceil(threads.count()).max(1);
    let add = |(turn, sums): (usize, &mut [S])| {
        for (part, sums) in (turn * at_once..parts).zip(sums.chunks_mut(apart)) {
            let run = part / each * call.run_rows;
            let first = run + part % each * call.part_rows;
            let rows = first..(first + call.part_rows).min(run + call.run_rows).min(call.rows);
            let (from, sums) = (&from[call.from.offset..], &mut sums[..call.columns]);
            if let (Some(values), Some(factors)) = (&factors, &call.factors) {
                if !call.accumulate {
                    sums.fill(S::ZERO);
                }
                let limit = Limit::new(call.most_factor);
                for row in rows.rev() {
                    let factors = &values[factors.offset + row * factors.row..];
                    let products = from[row * call.from.row..].iter().zip(factors);
                    sums.iter_mut().zip(products).for_each(|(sum, (value, factor))| *sum += *value * limit.of(*factor));
                }
                continue;
            }
            vectorised(Rows { from, apart: call.from.row, rows, sums, clear: !call.accumulate });
        }
    };
    let (to, size, turns) = (&mut to[call.to.offset..], at_once * apart, parts.div_ceil(at_once));
    match threads {
        Threads::ONE => to.chunks_mut(size).take(turns).enumerate().for_each(add),
        _ => pool.run(|| to.par_chunks_mut(size).take(turns).enumerate().with_max_len(1).for_each(add)),
    }
    Ok(())
}

/// Rows, and their sums, last row first.
struct Rows<'a, S> {
    from: &'a [S],
    apart: usize,
    rows: Range<usize>,
    sums: &'a mut [S],
    clear: bool,
}

impl<S: Scalar> WithSimd for Rows<'_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<A: Simd>(self, _: A) {
        /// Rows that are added at a time, so that sums are loaded and stored less often.
        const AT_ONCE: usize = 8;
        let Self { from, apart, rows, sums, clear } = self;
        if clear {
            sums.fill(S::ZERO);
        }
        let columns = sums.len();
        let of = |index: usize| &from[index * apart..][..columns];
        let mut end = rows.end;
        while end >= rows.start + AT_ONCE {
            let eight: [&[S]; AT_ONCE] = std::array::from_fn(|i| of(end - 1 - i));
            for (column, sum) in sums.iter_mut().enumerate() {
                eight.iter().for_each(|row| *sum += row[column]);
            }
            end -= AT_ONCE;
        }
        for index in (rows.start..end).rev() {
            sums.iter_mut().zip(of(index)).for_each(|(sum, value)| *sum += *value);
        }
    }
}
