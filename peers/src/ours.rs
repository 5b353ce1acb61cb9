//! This engine on a device.

use anyhow::Result;
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::{BatchShape, Buffer, Device, Precision, plan};

use crate::case::{Case, GRADIENTS, Results};
use crate::peer::{Peer, Run, Sample};
use crate::shapes::Mode;

/// This engine.
pub struct Ours {
    device: Device,
    precision: Precision,
}

struct Layer {
    device: Device,
    bound: Bound,
    parameters: Parameters,
    x: Buffer,
    y: Buffer,
    dy: Option<Buffer>,
    dx: Option<Buffer>,
}

impl Ours {
    /// On `device`, weights, activations and sequences stored with `precision`.
    pub fn new(device: &Device, precision: Precision) -> Self {
        Self { device: device.clone(), precision }
    }

    /// The same engine with another precision.
    pub fn with(&self, precision: Precision) -> Self {
        Self::new(&self.device, precision)
    }
}

impl Peer for Ours {
    fn name(&self) -> String {
        match self.precision {
            Precision::Full => "wgpu-rnn",
            Precision::Half => "wgpu-rnn-f16",
        }
        .to_string()
    }

    fn version(&self) -> String {
        crate::record::locked("wgpu-rnn")
    }

    fn load(&mut self, case: &Case) -> Result<Option<Box<dyn Run + '_>>> {
        let (device, config) = (&self.device, case.config());
        let shape = BatchShape::new(case.shape.steps, case.shape.batch);
        let mode = match case.mode {
            Mode::Forward => plan::Mode::Infer,
            Mode::Training => plan::Mode::Train,
        };
        let parameters = match case.mode {
            Mode::Forward => Parameters::frozen(device, tensors(&config, ""))?,
            Mode::Training => Parameters::new(device, tensors(&config, ""))?,
        };
        for ((name, sizes), (_, values)) in tensors(&config, "").iter().zip(case.parameters()) {
            parameters.set(name, sizes, values)?;
        }
        let precision = self.precision;
        let rnn = Rnn::new(device, config, shape, mode, Options { precision, ..Options::default() })?;
        let outputs = case.shape.rows() * case.shape.hidden;
        let sequence = |label, elements| device.alloc_as(precision, label, elements);
        let (x, y) = (sequence("x", case.x.len())?, sequence("y", outputs)?);
        device.write(&x, &case.x)?;
        let (dy, dx) = match case.mode {
            Mode::Forward => (None, None),
            Mode::Training => {
                let dy = sequence("dy", outputs)?;
                device.write(&dy, &vec![1.0; outputs])?;
                (Some(dy), Some(sequence("dx", case.x.len())?))
            }
        };
        let gradients = Gradients { dy: dy.clone(), dx: dx.clone(), ..Gradients::default() };
        let (reserve, workspace) = (rnn.reserve()?, rnn.workspace()?);
        let bound = rnn.bind(&parameters, "", &Io::new(&x, &y), &gradients, &reserve, &workspace)?;
        Ok(Some(Box::new(Layer { device: device.clone(), bound, parameters, x, y, dy, dx })))
    }
}

impl Run for Layer {
    fn once(&mut self) -> Result<Sample> {
        let timing = self.device.time(|recorder| {
            self.bound.forward.record(recorder)?;
            self.bound.backward.record(recorder)
        })?;
        Ok(Sample { wall_ms: timing.wall_ms, gpu_ms: timing.gpu_ms, dispatches: Some(timing.dispatches) })
    }

    fn results(&mut self) -> Result<Results> {
        self.once()?;
        let y = self.device.read(&self.y)?;
        let mut gradients = Vec::new();
        if let Some(dx) = &self.dx {
            let [x, tensors @ ..] = GRADIENTS;
            gradients.push((x, self.device.read(dx)?));
            for name in tensors {
                gradients.push((name, self.device.read(&self.parameters.gradient(&format!("{name}_l0"))?)?));
            }
        }
        Ok(Results { y, gradients })
    }

    /// Reserve, workspace, parameters, gradients, inputs and outputs, as allocated.
    fn memory(&mut self) -> Result<Option<u64>> {
        let held = self.bound.memory();
        let given = [Some(&self.x), Some(&self.y), self.dy.as_ref(), self.dx.as_ref()];
        let given: u64 = given.into_iter().flatten().map(Buffer::allocated_bytes).sum();
        let parameters = self.parameters.values().allocated_bytes() + self.parameters.gradients().allocated_bytes();
        Ok(Some(held.reserve + held.workspace + given + parameters))
    }
}
