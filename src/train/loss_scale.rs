//! [`LossScale`]: what the gradients of a loss are multiplied by, so that half precision holds them.

use crate::error::{Error, Result};
use crate::kernel::scale::{LEAST, MOST, Scaling};

/// What the loss multiplies its gradient by, and the optimiser divides by again. Gradients stored in half precision
/// lose digits below 6.1e-5, the smallest normal f16, and may be flushed to zero there; a scale lifts them above that. It is
/// on the device, as
/// [`Optimizer::scale`](super::Optimizer::scale); the loss has to be made with it
/// ([`Loss::scaled_mse`](crate::nn::Loss::scaled_mse)). Scales lie between 2⁻¹⁴ and 2²⁴. One that is a power of two
/// changes no bit of an f32 training, as long as nothing leaves the range of f32.
///
/// ```
/// use wgpu_rnn::Device;
/// use wgpu_rnn::nn::{Loss, Parameters};
/// use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig};
/// # fn main() -> wgpu_rnn::Result<()> {
/// let device = Device::cpu()?;
/// let parameters = Parameters::new(&device, [("p".to_string(), vec![2])])?;
/// let config = OptimizerConfig::sgd(0.5).loss_scale(LossScale::dynamic());
/// let optimizer = Optimizer::new(&parameters, config)?;
/// // Here the outputs are the parameters themselves; otherwise a layer's backward comes between.
/// let (y, dy) = (parameters.value("p")?, parameters.gradient("p")?);
/// let target = device.upload("target", &[0.25, -1.0])?;
/// let loss = Loss::scaled_mse(&device, &y, &target, Some(&dy), optimizer.scale())?;
/// device.run(|recorder| {
///     loss.record(recorder)?;
///     optimizer.record(recorder)
/// })?;
/// assert_eq!(device.read(&dy)?, [-0.25 * 65536.0, 65536.0]);
/// assert_eq!(device.read(&y)?, [0.125, -0.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LossScale {
    /// No scale.
    #[default]
    None,
    /// Always this one.
    Fixed(f64),
    /// As large as gradients allow, as `torch.amp.GradScaler`: a step whose gradients are not finite is not made and
    /// multiplies the scale by `backoff`; `interval` steps made in a row multiply it by `growth`. Unlike PyTorch's it
    /// stops at 2⁻¹⁴ and at 2²⁴.
    Dynamic {
        /// The scale of the first step.
        initial: f64,
        /// Above 1, at most 2²⁴.
        growth: f64,
        /// Above 0 and below 1.
        backoff: f64,
        /// At least 1.
        interval: u32,
    },
}

impl LossScale {
    /// `Dynamic` with the defaults of `torch.amp.GradScaler`: from 65536, doubled after 2000 steps, halved on overflow.
    pub const fn dynamic() -> Self {
        Self::Dynamic { initial: 65536.0, growth: 2.0, backoff: 0.5, interval: 2000 }
    }

    /// The scale of the first step; 1 without one.
    pub(super) const fn initial(self) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Fixed(scale) | Self::Dynamic { initial: scale, .. } => scale,
        }
    }

    /// How it moves, if there is one.
    pub(super) const fn scaling(self) -> Option<Scaling> {
        match self {
            Self::None => None,
            Self::Fixed(_) => Some(Scaling::FIXED),
            Self::Dynamic { growth, backoff, interval, .. } => Some(Scaling { growth, backoff, interval }),
        }
    }

    /// An error when a number is out of its range.
    pub fn check(self) -> Result<()> {
        let initial = self.initial();
        if !(LEAST..=MOST).contains(&initial) {
            return Err(Error::invalid("the loss scale", "between 2⁻¹⁴ and 2²⁴", initial));
        }
        match self {
            Self::Dynamic { growth, .. } if !(growth > 1.0 && growth <= MOST) => {
                Err(Error::invalid("the growth of a loss scale", "above 1 and at most 2²⁴", growth))
            }
            Self::Dynamic { backoff, .. } if !(backoff > 0.0 && backoff < 1.0) => {
                Err(Error::invalid("the backoff of a loss scale", "above 0 and below 1", backoff))
            }
            Self::Dynamic { interval: 0, .. } => {
                Err(Error::invalid("the steps before a loss scale grows", "at least 1", 0))
            }
            _ => Ok(()),
        }
    }
}
