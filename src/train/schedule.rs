//! [`Schedule`]: how the learning rate falls from step to step.

use crate::error::{Error, Result};
use crate::kernel::optimizer::{Decay, ScheduleParams};

/// The share of the learning rate that a step has, in closed form: a function of the step alone, the same on every
/// device. `s` counts from 0, the first step after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// `factor^⌊s / every⌋`, as `torch.optim.lr_scheduler.StepLR`.
    Step {
        /// Steps between falls.
        every: u32,
        /// What each fall multiplies by.
        factor: f64,
    },
    /// `factorˢ`, as `torch.optim.lr_scheduler.ExponentialLR`.
    Exponential {
        /// What each step multiplies by.
        factor: f64,
    },
    /// `floor + (1 − floor) · (1 + cos(π·min(s, steps) / steps)) / 2` (Loshchilov and Hutter, arXiv:1608.03983, without
    /// restarts), as `torch.optim.lr_scheduler.CosineAnnealingLR`.
    Cosine {
        /// Steps from 1 to the floor, where it stays.
        steps: u32,
        /// The share that is left in the end.
        floor: f64,
    },
}

impl Schedule {
    /// As plain numbers, for a learning rate `rate` that is first warmed up in `warmup` steps.
    pub fn params(self, rate: f64, warmup: u32) -> ScheduleParams {
        let (decay, steps, factor) = match self {
            Self::Constant => (Decay::Constant, 1, 1.0),
            Self::Step { every, factor } => (Decay::Step, every, factor),
            Self::Exponential { factor } => (Decay::Exponential, 1, factor),
            Self::Cosine { steps, floor } => (Decay::Cosine, steps, floor),
        };
        ScheduleParams { rate, warmup, decay, steps, factor }
    }

    /// An error when a number is out of its range.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Step { every: 0, .. } => {
                Err(Error::invalid("the steps between falls of a schedule", "at least 1", 0))
            }
            Self::Cosine { steps: 0, .. } => Err(Error::invalid("the steps of a schedule", "at least 1", 0)),
            Self::Step { factor, .. } | Self::Exponential { factor } if !(factor > 0.0 && factor <= 1.0) => {
                Err(Error::invalid("the factor of a schedule", "above 0 and at most 1", factor))
            }
            Self::Cosine { floor, .. } if !(0.0..=1.0).contains(&floor) => {
                Err(Error::invalid("the floor of a schedule", "between 0 and 1", floor))
            }
            _ => Ok(()),
        }
    }
}
