//! Measuring which tile is fastest for a product on a device.

#![cfg(not(target_arch = "wasm32"))]

use super::tiles::{Tile, class};
use super::{Gemm, Matrix};
use crate::device::Device;
use crate::error::{Error, Result, at_least_one};
use crate::gpu::{Gpu, Tuning};
use crate::kernel::Program;

/// Sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Columns of A.
    pub k: usize,
    /// Whether A is transposed, its rows contiguous: weight gradients.
    pub transposed: bool,
}

/// Timed rounds, all tiles once in each, so that a machine that slows down slows them all.
const ROUNDS: usize = 5;

/// What takes this many times as long as the fastest on its first run is not timed again.
const HOPELESS: f64 = 3.0;

/// Times every tile for every shape, by GPU timestamps where the device has them, else by the clock, and names the
/// fastest. An error on the CPU executor, and when a product does not fit the device.
pub fn tune(device: &Device, shapes: &[Shape]) -> Result<Tuning> {
    let gpu = device.gpu().ok_or_else(|| Error::Unsupported { option: "tuning".to_string(), place: device.name() })?;
    let mut tuning = Tuning::new(gpu);
    for shape in shapes {
        if let Some(fastest) = fastest(device, gpu, *shape)? {
            let class = class(shape.m, shape.n, shape.k, shape.transposed);
            log::debug!("{class}: {} is fastest", fastest.name());
            tuning.choices.insert(class, fastest.name());
        }
    }
    Ok(tuning)
}

fn fastest(device: &Device, gpu: &Gpu, shape: Shape) -> Result<Option<Tile>> {
    let Shape { m, n, k, transposed } = shape;
    for (what, size) in [("rows", m), ("columns", n), ("sums", k)] {
        at_least_one(&format!("the {what} of a tuned product"), size)?;
    }
    let len = |rows: usize, columns: usize| {
        rows.checked_mul(columns).ok_or_else(|| Error::invalid("a tuned product", "one that can be addressed", rows))
    };
    let matrix = |rows, columns| Ok(Matrix::dense(&device.alloc("a tuned product", len(rows, columns)?)?, columns));
    let a = if transposed { matrix(k, m)?.transposed() } else { matrix(m, k)? };
    let (b, c) = (matrix(k, n)?, matrix(m, n)?);
    let mut timed = Vec::new();
    for tile in Tile::candidates(gpu.capabilities(), m) {
        let mut program = Program::default();
        let call = Gemm { tile: Some(tile), ..Gemm::plain(m, n, k, a.clone(), b.clone(), c.clone()) };
        call.add_to(device, &mut program)?;
        timed.push((tile, program, Vec::new()));
    }
    let time = |program: &Program| -> Result<f64> {
        let timing = device.time(|recorder| program.record(recorder))?;
        Ok(timing.gpu_ms.unwrap_or(timing.wall_ms))
    };
    for round in 0..=ROUNDS {
        for (_, program, times) in &mut timed {
            times.push(time(program)?);
        }
        if round == 0 {
            // The first run is a warm-up.
            let first = |times: &[f64]| times.first().copied().unwrap_or(f64::INFINITY);
            let best = timed.iter().map(|(_, _, times)| first(times)).fold(f64::INFINITY, f64::min);
            timed.retain(|(_, _, times)| first(times) <= HOPELESS * best);
            timed.iter_mut().for_each(|(_, _, times)| times.clear());
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY)
    };
    let medians = timed.iter_mut().map(|(tile, _, times)| (*tile, median(times)));
    Ok(medians.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(tile, _)| tile))
}
