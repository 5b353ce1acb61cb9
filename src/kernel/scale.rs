//! The loss scale: what gradients are multiplied by, from the loss on, so that small ones survive half precision; and
//! how a dynamic one finds its size, as `torch.amp.GradScaler`. It is one float on the device.

use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, Element};
use crate::error::Result;

/// The least scale, 2⁻¹⁴, where a dynamic one stops. From here to [`MOST`] a scale and its inverse are normal numbers.
pub const LEAST: f64 = 1.0 / 16384.0;
/// The greatest scale, 2²⁴.
pub const MOST: f64 = 16_777_216.0;

/// How a scale moves from step to step. One that does not move has two factors of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// What `interval` good steps in a row multiply it by.
    pub growth: f64,
    /// What a step that is not made multiplies it by.
    pub backoff: f64,
    /// Good steps in a row before it grows, at least 1.
    pub interval: u32,
}

impl Scaling {
    /// A scale that stays.
    pub const FIXED: Self = Self { growth: 1.0, backoff: 1.0, interval: u32::MAX };

    /// The scale and the count of good steps in a row after a step, from those before it.
    pub fn next(&self, scale: f64, good: u32, made: bool) -> (f64, u32) {
        let by = |factor: f64| ((scale * factor).clamp(LEAST, MOST), 0);
        match good.saturating_add(1) {
            _ if !made => by(self.backoff),
            good if good >= self.interval => by(self.growth),
            good => (scale, good),
        }
    }
}

/// The scale in a buffer of one float of the CPU executor.
pub(super) fn read<S: Scalar + Element>(buffer: &Buffer) -> Result<f64> {
    Ok(buffer.read::<S>()?.first().map_or(1.0, |scale| scale.to_f64()))
}
