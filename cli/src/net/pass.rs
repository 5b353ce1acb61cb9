//! What a network runs: from a batch to outputs, and back to the gradients of all parameters.

use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::copy::copy;
use wgpu_rnn::kernel::gemm::Matrix;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn};
use wgpu_rnn::nn::{Embedding, Linear, Loss, Parameters};
use wgpu_rnn::plan::{Mode, Reserve};
use wgpu_rnn::{BatchShape, Buffer, Device, Precision, Recorder, Result, RnnConfig};

use super::model::LossAt;

/// What a batch is uploaded into.
pub(super) enum Inputs {
    Series { x: Buffer, target: Buffer },
    Tokens { x: Buffer, target: Buffer },
}

/// Programs of one mode.
pub(super) struct Pass {
    before: Program,
    pub(super) layer: Bound,
    pub(super) reserve: Reserve,
    after: Program,
    pub(super) loss: Loss,
    /// Gradients, from the head down.
    head_backward: Program,
    embedding_backward: Program,
}

impl Pass {
    pub(super) fn record_forward(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.before.record(recorder)?;
        self.layer.forward.record(recorder)?;
        self.after.record(recorder)
    }

    /// Loss and all gradients, after forward.
    pub(super) fn record_backward(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.loss.record(recorder)?;
        self.head_backward.record(recorder)?;
        self.layer.backward.record(recorder)?;
        self.embedding_backward.record(recorder)
    }
}

/// What both passes are made of.
pub(super) struct Parts<'a> {
    pub(super) device: &'a Device,
    pub(super) config: RnnConfig,
    pub(super) shape: BatchShape,
    pub(super) precision: Precision,
    /// Whether training leaves the norms of gradients.
    pub(super) flow: bool,
    pub(super) loss_at: LossAt,
    pub(super) params: &'a Parameters,
    pub(super) head: Linear,
    pub(super) embedding: Option<Embedding>,
    pub(super) inputs: &'a Inputs,
    pub(super) outputs: &'a Buffer,
    /// What the gradient of the loss is multiplied by.
    pub(super) scale: Option<&'a Buffer>,
}

impl Parts<'_> {
    pub(super) fn pass(&self, mode: Mode) -> Result<Pass> {
        let Self { device, config, shape, precision, params, head, .. } = self;
        let (rows, train) = (shape.rows(), mode == Mode::Train);
        let options = Options { precision: *precision, flow: self.flow && train, ..Options::default() };
        let rnn = Rnn::new(device, *config, *shape, mode, options)?;
        let as_stored = |name: &str, len| device.alloc_as(*precision, name, len);
        let gradient =
            |name: &str, like: &Buffer| if train { device.alloc(name, like.len()).map(Some) } else { Ok(None) };
        let stored_gradient =
            |name: &str, like: &Buffer| if train { as_stored(name, like.len()).map(Some) } else { Ok(None) };

        let mut before = Program::default();
        let x = match self.inputs {
            Inputs::Series { x, .. } => x.clone(),
            Inputs::Tokens { .. } => as_stored("embedded", rows * config.input)?,
        };
        let y = as_stored("y", rows * config.hidden)?;
        let mut io = Io::new(&x, &y);
        let mut gradients = Gradients::default();
        if let Inputs::Tokens { .. } = self.inputs {
            gradients.dx = stored_gradient("gradient of the embedded", &x)?;
        }
        let (features, feature_rows) = match self.loss_at {
            LossAt::Last => {
                let hn = device.alloc("final states", config.layers * shape.batch * config.hidden)?;
                io.hn = Some(hn.clone());
                gradients.dhn = gradient("gradient of the final states", &hn)?;
                match config.layers {
                    1 => (hn, shape.batch),
                    _ => (device.alloc("final state of the last layer", shape.batch * config.hidden)?, shape.batch),
                }
            }
            LossAt::All => {
                gradients.dy = stored_gradient("gradient of y", &y)?;
                (y, rows)
            }
        };
        // Of several layers the last one's final state, and its gradient, are a part of all layers'.
        let own = |all: &Buffer| Matrix { offset: all.len() - features.len(), ..Matrix::dense(all, config.hidden) };
        let apart = |all: &Option<Buffer>| all.as_ref().filter(|all| all.len() > features.len()).cloned();
        let moved = |from: &Matrix, to: &Matrix| copy(device, 1, shape.batch, config.hidden, Some(from), to);
        let dense = |buffer: &Buffer| Matrix::dense(buffer, config.hidden);
        let mut after = Program::default();
        if let (Some(hn), LossAt::Last) = (apart(&io.hn), self.loss_at) {
            after.push(moved(&own(&hn), &dense(&features))?);
        }
        after.append(head.bind(params, "head.", feature_rows, &features, self.outputs)?);
        let d_outputs = gradient("gradient of the outputs", self.outputs)?;
        let scale = self.scale.filter(|_| train);
        let loss = match self.inputs {
            Inputs::Series { target, .. } => Loss::scaled_mse(device, self.outputs, target, d_outputs.as_ref(), scale)?,
            Inputs::Tokens { target, .. } => Loss::scaled_cross_entropy(
                device,
                feature_rows,
                head.outputs,
                self.outputs,
                target,
                d_outputs.as_ref(),
                scale,
            )?,
        };
        let mut head_backward = Program::default();
        let mut embedding_backward = Program::default();
        if let Some(d_outputs) = &d_outputs {
            let part = match apart(&gradients.dhn) {
                Some(_) => Some(device.alloc("gradient of the last layer's final state", features.len())?),
                None => None,
            };
            let d_features = part.as_ref().or(gradients.dhn.as_ref()).or(gradients.dy.as_ref());
            head_backward = head.backward(params, "head.", feature_rows, &features, d_outputs, d_features)?;
            if let (Some(part), Some(dhn)) = (&part, &gradients.dhn) {
                head_backward.push(moved(&dense(part), &own(dhn))?);
            }
        }
        if let (Some(embedding), Inputs::Tokens { x: tokens, .. }) = (&self.embedding, self.inputs) {
            before = embedding.bind(params, "embedding.", tokens, &x)?;
            if let Some(dx) = &gradients.dx {
                embedding_backward = embedding.backward(params, "embedding.", tokens, dx)?;
            }
        }
        let reserve = rnn.reserve()?;
        let layer = rnn.bind(params, "rnn.", &io, &gradients, &reserve, &rnn.workspace()?)?;
        Ok(Pass { before, layer, reserve, after, loss, head_backward, embedding_backward })
    }
}
