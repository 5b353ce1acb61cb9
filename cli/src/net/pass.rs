//! What a network runs: from a batch to outputs, and back to the gradients of all parameters.

use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::cross_entropy::check_labels;
use wgpu_rnn::kernel::embedding::check_tokens;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn};
use wgpu_rnn::nn::{Loss, Parameters};
use wgpu_rnn::plan::{Mode, Reserve};
use wgpu_rnn::{Buffer, Device, Recorder, Result, RnnConfig};

use super::form::{Answers, Batch, Fed, Form, LossAt, Reads};

/// What all passes of a network share.
pub(super) struct Net {
    pub(super) device: Device,
    pub(super) config: RnnConfig,
    pub(super) form: Form,
    /// How its layer is planned, but for what a pass asks for.
    pub(super) options: Options<'static>,
    pub(super) params: Parameters,
    x: Buffer,
    target: Buffer,
    pub(super) outputs: Buffer,
    /// What the gradient of the loss is multiplied by.
    scale: Option<Buffer>,
}

/// Programs of one mode.
pub(super) struct Pass {
    before: Program,
    pub(super) layer: Bound,
    pub(super) reserve: Reserve,
    /// What goes from run to run, where anything does.
    pub(super) states: Vec<Buffer>,
    after: Program,
    pub(super) loss: Loss,
    /// Gradients, from the head down.
    head_backward: Program,
    embedding_backward: Program,
}

impl Pass {
    /// Sets what a batch has of lengths and resets.
    pub(super) fn begin(&self, batch: &Batch) -> Result<()> {
        batch.lengths.as_ref().map_or(Ok(()), |lengths| self.layer.set_lengths(lengths))?;
        let rnn = self.layer.rnn();
        match (rnn.config().options.resets, &batch.resets) {
            (false, _) => Ok(()),
            (true, Some(resets)) => self.layer.set_resets(resets),
            (true, None) => self.layer.set_resets(&vec![false; rnn.shape().rows()]),
        }
    }

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

impl Net {
    pub(super) fn new(
        device: &Device,
        config: RnnConfig,
        form: Form,
        options: Options<'static>,
        params: Parameters,
        scale: Option<Buffer>,
    ) -> Result<Self> {
        let (rows, judged) = (form.shape.rows(), form.judged());
        let x = match form.reads {
            Reads::Values(width) => device.alloc_as(options.precision, "x", rows * width)?,
            Reads::Tokens { .. } => device.alloc_u32("tokens", rows)?,
        };
        let target = match form.answers {
            Answers::Classes(_) => device.alloc_u32("wanted classes", judged)?,
            _ => device.alloc("wanted values", judged * form.answers.targets())?,
        };
        let outputs = device.alloc("outputs", judged * form.answers.outputs())?;
        Ok(Self { device: device.clone(), config, form, options, params, x, target, outputs, scale })
    }

    /// Uploads a batch; lengths and resets to those who [`begin`](Pass::begin) with it.
    pub(super) fn upload(&self, batch: &Batch) -> Result<()> {
        if let (Fed::Tokens(tokens), Reads::Tokens { symbols, .. }) = (&batch.x, self.form.reads) {
            check_tokens(symbols, tokens)?;
        }
        if let (Fed::Tokens(labels), Answers::Classes(classes)) = (&batch.y, &self.form.answers) {
            check_labels(*classes, labels)?;
        }
        // Of the last steps alone there is one wanted row a sequence, in either order.
        let batch_first = self.options.batch_first;
        let turned = [batch_first, batch_first && self.form.loss_at == LossAt::All];
        for ((to, fed), turned) in [(&self.x, &batch.x), (&self.target, &batch.y)].into_iter().zip(turned) {
            let turned = turned.then(|| fed.batch_first(self.form.shape));
            match turned.as_ref().unwrap_or(fed) {
                Fed::Values(values) => self.device.write(to, values)?,
                Fed::Tokens(tokens) => self.device.write_u32(to, tokens)?,
            }
        }
        Ok(())
    }

    /// The programs of a mode. With `flow` training leaves the norms of gradients.
    pub(super) fn pass(&self, mode: Mode, flow: bool) -> Result<Pass> {
        let Self { device, config, form, params, .. } = self;
        let (shape, train) = (form.shape, mode == Mode::Train);
        let (rows, (head, embedding)) = (shape.rows(), form.around(config));
        let options = Options { flow, lengths: form.lengths, ..self.options };
        let rnn = Rnn::new(device, *config, shape, mode, options)?;
        let as_stored = |name: &str, len| device.alloc_as(options.precision, name, len);
        let gradient =
            |name: &str, like: &Buffer| if train { device.alloc(name, like.len()).map(Some) } else { Ok(None) };
        let stored_gradient =
            |name: &str, like: &Buffer| if train { as_stored(name, like.len()).map(Some) } else { Ok(None) };

        let mut before = Program::default();
        let x = match form.reads {
            Reads::Values(_) => self.x.clone(),
            Reads::Tokens { .. } => as_stored("embedded", rows * config.input)?,
        };
        let mut gradients = Gradients::default();
        if embedding.is_some() {
            gradients.dx = stored_gradient("gradient of the embedded", &x)?;
        }
        // Of the last step alone no other output is kept.
        let (mut io, features, feature_rows) = match form.loss_at {
            LossAt::Last => {
                let last = device.alloc("last outputs", shape.batch * config.outputs())?;
                gradients.dlast = gradient("gradient of the last outputs", &last)?;
                (Io::of_last(&x, &last), last, shape.batch)
            }
            LossAt::All => {
                let y = as_stored("y", rows * config.outputs())?;
                gradients.dy = stored_gradient("gradient of y", &y)?;
                (Io::new(&x, &y), y, rows)
            }
        };
        let mut states = Vec::new();
        if form.carries {
            states = rnn.states()?;
            io = io.carrying(&states);
        }
        let mut after = Program::default();
        after.append(head.bind(params, "head.", feature_rows, &features, &self.outputs)?);
        let d_outputs = gradient("gradient of the outputs", &self.outputs)?;
        let loss = self.loss(feature_rows, d_outputs.as_ref())?;
        let mut head_backward = Program::default();
        let mut embedding_backward = Program::default();
        if let Some(d_outputs) = &d_outputs {
            let d_features = gradients.dlast.as_ref().or(gradients.dy.as_ref());
            head_backward = head.backward(params, "head.", feature_rows, &features, d_outputs, d_features)?;
        }
        if let Some(embedding) = embedding {
            before = embedding.bind(params, "embedding.", &self.x, &x)?;
            if let Some(dx) = &gradients.dx {
                embedding_backward = embedding.backward(params, "embedding.", &self.x, dx)?;
            }
        }
        let reserve = rnn.reserve()?;
        let layer = rnn.bind(params, "rnn.", &io, &gradients, &reserve, &rnn.workspace()?)?;
        Ok(Pass { before, layer, reserve, states, after, loss, head_backward, embedding_backward })
    }

    /// The loss of so many rows of outputs.
    fn loss(&self, rows: usize, dy: Option<&Buffer>) -> Result<Loss> {
        let Self { device, outputs: y, target, .. } = self;
        let scale = self.scale.as_ref().filter(|_| dy.is_some());
        match &self.form.answers {
            Answers::Values(_) => Loss::scaled_mse(device, y, target, dy, scale),
            Answers::Quantiles { levels, .. } => Loss::quantile(device, levels, y, target, dy, scale),
            Answers::Classes(classes) => Loss::scaled_cross_entropy(device, rows, *classes, y, target, dy, scale),
        }
    }
}
