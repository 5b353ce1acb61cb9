//! What a library implements to be compared: [`Peer`] makes a [`Run`] of a [`Case`], and a run can be repeated, read and
//! asked for its memory. A peer is one file; [`ours`](crate::ours) is measured through the same trait.

use std::time::Instant;

use anyhow::Result;
use wgpu_rnn::Precision;

use crate::case::{Case, Results, Tolerance};

/// A library on a device.
pub trait Peer {
    /// As the record spells it, such as `burn-wgpu`.
    fn name(&self) -> String;

    /// The library's version.
    fn version(&self) -> String;

    /// How this engine stores weights and activations when it is compared with it.
    fn precision(&self) -> Precision {
        Precision::Full
    }

    /// How far its numbers may be from ours; `None` where it computes in a lower precision.
    fn tolerance(&self) -> Option<Tolerance> {
        Some(Tolerance { output: 1e-4, gradient: 1e-3 })
    }

    /// Loads a case; `None` when the library has no such layer or mode.
    fn load(&mut self, case: &Case) -> Result<Option<Box<dyn Run + '_>>>;
}

/// A loaded case.
pub trait Run {
    /// Runs it once until all of it is done. Reads nothing back.
    fn once(&mut self) -> Result<Sample>;

    /// Runs it once and reads what it gave.
    fn results(&mut self) -> Result<Results>;

    /// Bytes of device memory that it takes to run, inputs and outputs included, if the library tells.
    fn memory(&mut self) -> Result<Option<u64>>;
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// From the call until all is done, milliseconds.
    pub wall_ms: f64,
    /// The GPU's own time, milliseconds, where it has a clock.
    pub gpu_ms: Option<f64>,
    /// Dispatches, where they are counted.
    pub dispatches: Option<usize>,
}

impl Sample {
    /// The wall-clock time of `work`, without that of dropping what it gives.
    pub fn of<T>(work: impl FnOnce() -> Result<T>) -> Result<Self> {
        let start = Instant::now();
        let left = work()?;
        let wall_ms = start.elapsed().as_secs_f64() * 1e3;
        drop(left);
        Ok(Self { wall_ms, ..Self::default() })
    }
}
