//! How near a layer comes to what the processor can do: its products' operations a second over those of one large product.

use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use wgpu_rnn::cpu::gemm::{Mat, MatMut, gemm};
use wgpu_rnn::cpu::threads::{Pool, Threads};

use crate::case::Case;
use crate::record::{Row, rounded};
use crate::shapes::Mode;

/// One layer on so many threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Roofline {
    pub shape: String,
    pub cell: String,
    pub mode: String,
    pub threads: String,
    pub adapter: String,
    pub ours_ms: f64,
    /// Operations of the layer's products a second, in thousands of millions.
    pub gflops: f64,
    /// The same of a large product.
    pub peak_gflops: f64,
    pub share: f64,
}

impl Row for Roofline {
    fn key(&self) -> [&str; 4] {
        [&self.shape, &self.cell, &self.mode, &self.threads]
    }
}

impl Roofline {
    pub fn new(case: &Case, threads: usize, adapter: &str, ours_ms: f64, peak: f64) -> Self {
        let gflops = operations(case) / ours_ms / 1e6;
        Self {
            shape: case.shape.name.clone(),
            cell: case.cell.name().to_string(),
            mode: case.mode.name().to_string(),
            threads: threads.to_string(),
            adapter: adapter.to_string(),
            ours_ms: rounded(ours_ms),
            gflops: rounded(gflops),
            peak_gflops: rounded(peak),
            share: rounded(gflops / peak),
        }
    }

    /// Whether this is a GRU that took longer than `other`, the LSTM of its size.
    pub fn dearer_than(&self, other: &Self) -> bool {
        let like = self.key()[0] == other.key()[0] && self.key()[2..] == other.key()[2..];
        like && [self.cell.as_str(), &other.cell] == ["gru", "lstm"] && self.ours_ms > other.ours_ms
    }

    /// What it is of.
    pub fn name(&self) -> String {
        format!("{} {} {}, {} threads", self.shape, self.cell, self.mode, self.threads)
    }

    /// In a line.
    pub fn text(&self) -> String {
        let (gflops, peak, percent) = (self.gflops, self.peak_gflops, self.share * 100.0);
        format!("{}: {gflops} of {peak} GFLOP/s, {percent:.0} %", self.name())
    }
}

/// Additions and multiplications of a layer's products: with x and with h, and in training twice as many again for the
/// gradients of what they are made from and of the weights.
fn operations(case: &Case) -> f64 {
    let shape = &case.shape;
    let forward = 2 * shape.rows() * case.cell.gates() * shape.hidden * (shape.input + shape.hidden);
    let passes = if case.mode == Mode::Training { 3 } else { 1 };
    (forward * passes) as f64
}

/// GFLOP/s of a product of 1024 × 1024 matrices, the best of some.
pub fn peak(threads: usize) -> Result<f64> {
    const SIZE: usize = 1024;
    let threads = Threads::new(threads)?;
    let pool = Pool::new(threads)?;
    let values = |seed: usize| (0..SIZE * SIZE).map(|i| (i * seed % 13) as f32 - 6.0).collect::<Vec<_>>();
    let (a, b, mut c) = (values(3), values(5), vec![0f32; SIZE * SIZE]);
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        pool.run(|| {
            let (a, b) = (Mat::row_major(&a, SIZE, SIZE)?, Mat::row_major(&b, SIZE, SIZE)?);
            gemm(threads, 1.0, a, b, 0.0, MatMut::row_major(&mut c, SIZE, SIZE)?)
        })?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIZE * SIZE * SIZE) as f64 / best / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gru_that_is_dearer_than_its_lstm_is_found() {
        let of = |cell: &str, threads: &str, ours_ms| Roofline {
            shape: "S5".into(),
            cell: cell.into(),
            mode: "forward".into(),
            threads: threads.into(),
            adapter: String::new(),
            ours_ms,
            gflops: 1.0,
            peak_gflops: 1.0,
            share: 1.0,
        };
        let lstm = of("lstm", "1", 2.0);
        assert!(of("gru", "1", 2.1).dearer_than(&lstm));
        assert!(!of("gru", "1", 2.0).dearer_than(&lstm));
        assert!(!of("gru", "2", 2.1).dearer_than(&lstm));
        assert!(!lstm.dearer_than(&of("gru", "1", 1.0)));
    }
}
