//! The CPU twin of all product kernels: mapped operands are gathered or scattered around a product of the GEMM library.

use super::{Accumulate, Gemm, Mapped, Matrix};
use crate::cpu::gemm::{Mat, MatMut, gemm};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads;
use crate::device::Element;
use crate::error::Result;

/// Elements of room that a product takes: for rows brought together, and for a result that is not made where it goes.
pub(super) fn room_len(call: &Gemm) -> usize {
    gathered_len(call) + if is_apart(call) { call.m * call.n } else { 0 }
}

/// Whether the result is made elsewhere and then brought where it goes.
fn is_apart(call: &Gemm) -> bool {
    call.mapped == Mapped::C || call.accumulate == Accumulate::After
}

/// Elements of the operand whose rows are brought together.
const fn gathered_len(call: &Gemm) -> usize {
    match call.mapped {
        Mapped::A => call.m * call.k,
        Mapped::B => call.k * call.n,
        Mapped::No | Mapped::C => 0,
    }
}

/// Makes the product, in the call's room, of [`room_len`]. The library sums in an order of its own, so slices are of no
/// concern.
pub(super) fn on_cpu<S: Scalar + Element>(call: &Gemm, pool: &threads::Pool) -> Result<()> {
    let (a, b) = (call.a.buffer.read::<S>()?, call.b.buffer.read::<S>()?);
    let bias = call.bias.as_ref().map(|bias| bias.buffer.read::<S>()).transpose()?;
    let lengths = call.rows.as_ref().map(|rows| rows.lengths.read::<u32>()).transpose()?;
    let mut c = call.c.buffer.write::<S>()?;
    let mut room = call.room.as_ref().map(|room| room.write::<S>()).transpose()?;
    let room = &mut room.as_deref_mut().unwrap_or_default()[..room_len(call)];
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
        let (gathered, product) = room.split_at_mut(gathered_len(call));
        if let Some((map, lengths)) = map {
            let mut gather = |from: &[S], matrix: &Matrix, columns: usize| {
                for (row, to) in gathered.chunks_exact_mut(columns).enumerate() {
                    for (range, reversed) in groups(call.split, columns, map.is_reversed(direction)) {
                        match map.row_without_padding(lengths, row, reversed) {
                            None => to[range].fill(S::ZERO),
                            Some(source) => {
                                let source = from[source * matrix.row..].iter().step_by(matrix.column.max(1));
                                let source = source.skip(range.start);
                                to[range].iter_mut().zip(source).for_each(|(to, from)| *to = *from);
                            }
                        }
                    }
                }
            };
            match call.mapped {
                Mapped::A => gather(a, &call.a, k),
                Mapped::B => gather(b, &call.b, n),
                Mapped::No | Mapped::C => {}
            }
        }
        let left = match call.mapped {
            Mapped::A => Mat::row_major(gathered, m, k)?,
            _ => Mat::new(a, m, k, call.a.row, call.a.column)?,
        };
        let right = match call.mapped {
            Mapped::B => Mat::row_major(gathered, k, n)?,
            _ => Mat::new(b, k, n, call.b.row, call.b.column)?,
        };
        let threads = pool.threads_for(m.saturating_mul(n).saturating_mul(k));
        if is_apart(call) {
            pool.run_on(threads, || gemm(threads, S::ONE, left, right, S::ZERO, MatMut::row_major(product, m, n)?))?;
            for (row, product) in product.chunks_exact_mut(n).enumerate() {
                let row = match (call.mapped, map) {
                    (Mapped::C, Some((map, lengths))) => map.row_with_padding(lengths, row, map.is_reversed(direction)),
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
        pool.run_on(threads, || gemm(threads, S::ONE, left, right, keep, c))?;
    }
    Ok(())
}

/// Column ranges of a mapped input and whether each is read backwards: those from `split` on are of a reversed direction
/// themselves.
fn groups(split: usize, columns: usize, reversed: bool) -> [(std::ops::Range<usize>, bool); 2] {
    let split = split.min(columns);
    [(0..split, reversed), (split..columns, !reversed)]
}
