//! A whole model, from tokens to classes, and its training steps.

use wgpu_rnn::kernel::Program;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Embedding, Init, Layer, Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{Optimizer, OptimizerConfig};
use wgpu_rnn::{BatchShape, Buffer, Device, Recorder, Result, RnnConfig};

use super::Random;

const TOKENS: usize = 11;

/// Tokens to classes: embedding, recurrent layers, linear, cross-entropy, Adam with clipping.
pub struct Model {
    device: Device,
    tokens: Buffer,
    embed: Program,
    embed_back: Program,
    rnn: Bound,
    head: Program,
    head_back: Program,
    /// What it makes small.
    pub loss: Loss,
    /// What makes it so.
    pub optimizer: Optimizer,
}

impl Model {
    /// Planned and bound for training, with tokens to learn.
    pub fn new(device: &Device, config: RnnConfig, shape: BatchShape) -> Result<Self> {
        let rows = shape.rows();
        let (embedding, linear) = (Embedding::new(TOKENS, config.input), Linear::new(config.outputs(), TOKENS));
        let mut table = embedding.parameters("embedding.");
        table.extend(tensors(&config, "rnn."));
        table.extend(linear.parameters("head."));
        let params = Parameters::new(device, table)?;
        let init = Init::new(3);
        init.apply(&params, "embedding.", Layer::Embedding(&embedding))?;
        init.apply(&params, "rnn.", Layer::Rnn(&config))?;
        init.apply(&params, "head.", Layer::Linear(&linear))?;
        let floats = |name, width| device.alloc(name, rows * width);
        let (x, dx) = (floats("x", config.input)?, floats("dx", config.input)?);
        let (y, dy) = (floats("y", config.outputs())?, floats("dy", config.outputs())?);
        let (logits, dlogits) = (floats("logits", TOKENS)?, floats("dlogits", TOKENS)?);
        let [tokens, targets] = ["tokens", "targets"].map(|name| device.alloc_u32(name, rows));
        let (tokens, targets) = (tokens?, targets?);
        device.write_u32(&targets, &Self::drawn(rows, 2))?;
        let plan = Rnn::new(device, config, shape, Mode::Train, Options::default())?;
        let gradients = Gradients { dy: Some(dy.clone()), dx: Some(dx.clone()), ..Gradients::default() };
        let (reserve, workspace) = (plan.reserve()?, plan.workspace()?);
        let model = Self {
            device: device.clone(),
            embed: embedding.bind(&params, "embedding.", &tokens, &x)?,
            embed_back: embedding.backward(&params, "embedding.", &tokens, &dx)?,
            rnn: plan.bind(&params, "rnn.", &Io::new(&x, &y), &gradients, &reserve, &workspace)?,
            head: linear.bind(&params, "head.", rows, &y, &logits)?,
            head_back: linear.backward(&params, "head.", rows, &y, &dlogits, Some(&dy))?,
            loss: Loss::cross_entropy(device, rows, TOKENS, &logits, &targets, Some(&dlogits))?,
            optimizer: Optimizer::new(&params, OptimizerConfig::adam(1e-2).clip_norm(Some(1.0)))?,
            tokens,
        };
        model.feed(1)?;
        Ok(model)
    }

    fn drawn(count: usize, seed: u64) -> Vec<u32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| ((random.next() + 1.0) * 0.5 * TOKENS as f64) as u32 % TOKENS as u32).collect()
    }

    /// Other tokens.
    pub fn feed(&self, seed: u64) -> Result<()> {
        self.device.write_u32(&self.tokens, &Self::drawn(self.tokens.len(), seed))
    }

    /// One training step.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.embed.record(recorder)?;
        self.rnn.forward.record(recorder)?;
        self.head.record(recorder)?;
        self.loss.record(recorder)?;
        self.head_back.record(recorder)?;
        self.rnn.backward.record(recorder)?;
        self.embed_back.record(recorder)?;
        self.optimizer.record(recorder)
    }

    /// All that a training step launches.
    pub fn programs(&self) -> [&Program; 8] {
        let (loss, optimizer) = (self.loss.program(), self.optimizer.program());
        let recurrent = [&self.rnn.forward, &self.rnn.backward];
        [&self.embed, recurrent[0], &self.head, loss, &self.head_back, recurrent[1], &self.embed_back, optimizer]
    }

    /// Steps in one submit, and waits.
    pub fn steps(&self, count: usize) {
        let recorded = self.device.run(|recorder| (0..count).try_for_each(|_| self.record(recorder)));
        recorded.expect("training steps");
        self.device.wait().expect("done");
    }
}
