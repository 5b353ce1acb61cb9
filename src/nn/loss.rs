//! [`Loss`]: what a model is trained to make small, with the gradient it starts backward with.

use crate::device::{Buffer, DType, Device, Recorder};
use crate::error::{Error, Result};
use crate::kernel::Program;
use crate::kernel::cross_entropy::cross_entropy;
use crate::kernel::regression::{mse, quantile};

/// A loss bound to its buffers.
pub struct Loss {
    device: Device,
    program: Program,
    value: Buffer,
}

impl Loss {
    /// Mean squared error of `y` against `target`, of any one shape, as `torch.nn.MSELoss`. The gradient goes to `dy`;
    /// without it only the loss is computed, as validation wants.
    pub fn mse(device: &Device, y: &Buffer, target: &Buffer, dy: Option<&Buffer>) -> Result<Self> {
        Self::scaled_mse(device, y, target, dy, None)
    }

    /// [`mse`](Self::mse) with its gradient, not the loss, multiplied by the one float of `scale`, which is read on the
    /// device each time: [`Optimizer::scale`](crate::train::Optimizer::scale). All gradients behind it come multiplied
    /// too. Without a scale it is `mse`.
    pub fn scaled_mse(
        device: &Device,
        y: &Buffer,
        target: &Buffer,
        dy: Option<&Buffer>,
        scale: Option<&Buffer>,
    ) -> Result<Self> {
        Self::new(device, |value, program| mse(device, [y, target, value], dy, scale, program))
    }

    /// Quantile ("pinball") loss of `y [rows, Q]`, or `[.., Q]`, against `target [rows]`: for each of Q `levels`, all within
    /// 0..1, y learns the value that the target stays below with that probability. The mean over all of y. The gradient
    /// goes to `dy`, multiplied by `scale` as [`scaled_mse`](Self::scaled_mse) does; without it only the loss is computed.
    pub fn quantile(
        device: &Device,
        levels: &[f64],
        y: &Buffer,
        target: &Buffer,
        dy: Option<&Buffer>,
        scale: Option<&Buffer>,
    ) -> Result<Self> {
        if let Some(level) = levels.iter().find(|level| !(**level > 0.0 && **level < 1.0)) {
            return Err(Error::invalid("a level of the quantile loss", "above 0 and below 1", level));
        }
        let of_levels = device.alloc("quantile levels", levels.len())?;
        device.write_f64(&of_levels, levels)?;
        Self::new(device, |value, program| quantile(device, [y, target, value], &of_levels, dy, scale, program))
    }

    /// Softmax cross-entropy in nats of `logits [rows, classes]` against the classes `targets [rows]`, as
    /// `torch.nn.CrossEntropyLoss`: the mean over rows whose target is not
    /// [`IGNORE`](crate::kernel::cross_entropy::IGNORE). The gradient goes to `dlogits`; without it only the loss is
    /// computed. Targets are to be checked with [`check_labels`](crate::kernel::cross_entropy::check_labels) before they
    /// are uploaded.
    pub fn cross_entropy(
        device: &Device,
        rows: usize,
        classes: usize,
        logits: &Buffer,
        targets: &Buffer,
        dlogits: Option<&Buffer>,
    ) -> Result<Self> {
        Self::scaled_cross_entropy(device, rows, classes, logits, targets, dlogits, None)
    }

    /// [`cross_entropy`](Self::cross_entropy) with its gradient multiplied, as [`scaled_mse`](Self::scaled_mse) does.
    pub fn scaled_cross_entropy(
        device: &Device,
        rows: usize,
        classes: usize,
        logits: &Buffer,
        targets: &Buffer,
        dlogits: Option<&Buffer>,
        scale: Option<&Buffer>,
    ) -> Result<Self> {
        targets.check("the targets", device, &[rows], DType::U32)?;
        Self::new(device, |value, program| {
            cross_entropy(device, classes, [logits, targets, value], dlogits, scale, program)
        })
    }

    fn new(device: &Device, build: impl FnOnce(&Buffer, &mut Program) -> Result<()>) -> Result<Self> {
        let value = device.alloc("loss", 1)?;
        let mut program = Program::default();
        build(&value, &mut program)?;
        Ok(Self { device: device.clone(), program, value })
    }

    /// Loss and gradient.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.program.record(recorder)
    }

    /// Where the loss is, one element.
    pub fn buffer(&self) -> &Buffer {
        &self.value
    }

    /// Reads the loss, after everything submitted so far.
    pub async fn value(&self) -> Result<f64> {
        Ok(self.device.download_f64(&self.value).await?.first().copied().unwrap_or(f64::NAN))
    }

    /// [`value`](Self::value), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_value(&self) -> Result<f64> {
        pollster::block_on(self.value())
    }
}
