//! The network that is compared: [embedding →] one recurrent layer → linear head, with loss and optimiser, bound once.

use std::path::Path;

use wgpu_rnn::io::Checkpoint;
use wgpu_rnn::nn::rnn::tensors;
use wgpu_rnn::nn::{Embedding, Init, Layer, Linear, Parameters, Recurrent};
use wgpu_rnn::plan::{Memory, Mode};
use wgpu_rnn::probe::{Activity, Flow, Gates, Values};
use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig, Schedule};
use wgpu_rnn::{BatchShape, Buffer, Device, Error, Precision, Recorder, Result, RnnConfig};

use super::pass::{Inputs, Parts, Pass};
use super::task::Task;

/// Largest norm of all gradients together.
const CLIP: f64 = 1.0;

/// The steps whose outputs are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LossAt {
    /// The last one alone.
    Last,
    /// Every one.
    All,
}

/// A network bound to its buffers: one set of programs for training, one for prediction.
pub struct Model {
    device: Device,
    config: RnnConfig,
    shape: BatchShape,
    precision: Precision,
    loss_at: LossAt,
    params: Parameters,
    head: Linear,
    embedding: Option<Embedding>,
    inputs: Inputs,
    outputs: Buffer,
    training: Pass,
    prediction: Pass,
    optimizer: Optimizer,
}

/// What comes after the recurrent layer, and for a text before it.
pub fn around(config: &RnnConfig, symbols: Option<usize>) -> (Linear, Option<Embedding>) {
    let head = Linear { inputs: config.hidden, outputs: symbols.unwrap_or(1), bias: true };
    (head, symbols.map(|entries| Embedding { entries, width: config.input }))
}

/// Names and shapes of all parameters.
pub fn table(config: &RnnConfig, symbols: Option<usize>) -> Vec<(String, Vec<usize>)> {
    let (head, embedding) = around(config, symbols);
    let mut table = tensors(config, "rnn.");
    table.extend(head.parameters("head."));
    table.extend(embedding.iter().flat_map(|embedding| embedding.parameters("embedding.")));
    table
}

impl Model {
    /// A model with fresh weights, whose learning rate falls over `steps` training steps.
    pub fn new(
        device: &Device,
        task: &Task,
        config: RnnConfig,
        precision: Precision,
        seed: u64,
        steps: usize,
    ) -> Result<Self> {
        Self::with_rate(device, task, config, precision, seed, (task.learning_rate(), steps))
    }

    /// One with a learning rate of its own, which falls over so many training steps.
    pub fn with_rate(
        device: &Device,
        task: &Task,
        config: RnnConfig,
        precision: Precision,
        seed: u64,
        schedule: (f64, usize),
    ) -> Result<Self> {
        Self::build(device, task, config, (precision, false), task.loss_at(), seed, schedule)
    }

    /// One whose gradients are looked at, step by step, of a loss at these steps.
    pub fn watched(device: &Device, task: &Task, config: RnnConfig, loss_at: LossAt, seed: u64) -> Result<Self> {
        Self::build(device, task, config, (Precision::Full, true), loss_at, seed, (task.learning_rate(), 1))
    }

    fn build(
        device: &Device,
        task: &Task,
        config: RnnConfig,
        (precision, flow): (Precision, bool),
        loss_at: LossAt,
        seed: u64,
        (rate, steps): (f64, usize),
    ) -> Result<Self> {
        let shape = BatchShape::new(task.steps(), task.batch());
        let symbols = task.symbols();
        let (head, embedding) = around(&config, symbols);
        let params = Parameters::new(device, table(&config, symbols))?;
        let init = Init { recurrent: Recurrent::Orthogonal, forget_bias: Some(1.0), ..Init::new(seed) };
        init.apply(&params, "rnn.", Layer::Rnn(&config))?;
        init.apply(&params, "head.", Layer::Linear(&head))?;
        if let Some(embedding) = &embedding {
            init.apply(&params, "embedding.", Layer::Embedding(embedding))?;
        }

        let rows = shape.rows();
        let judged = match loss_at {
            LossAt::Last => shape.batch,
            LossAt::All => rows,
        };
        let inputs = match symbols {
            None => Inputs::Series {
                x: device.alloc_as(precision, "x", rows * config.input)?,
                target: device.alloc("target", judged)?,
            },
            Some(_) => Inputs::Tokens {
                x: device.alloc_u32("characters", rows)?,
                target: device.alloc_u32("next characters", judged)?,
            },
        };
        let outputs = device.alloc("outputs", head.outputs * judged)?;
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).max(1);
        let schedule = Schedule::Cosine { steps, floor: 0.05 };
        let scale = match precision {
            Precision::Full => LossScale::None,
            Precision::Half => LossScale::dynamic(),
        };
        let rule = OptimizerConfig::adam(rate).clip_norm(Some(CLIP)).schedule(schedule);
        let optimizer = Optimizer::new(&params, rule.loss_scale(scale))?;
        let parts = Parts {
            device,
            config,
            shape,
            precision,
            flow,
            loss_at,
            params: &params,
            head,
            embedding,
            inputs: &inputs,
            outputs: &outputs,
            scale: optimizer.scale(),
        };
        let training = parts.pass(Mode::Train)?;
        let prediction = parts.pass(Mode::Infer)?;
        let device = device.clone();
        Ok(Self {
            device,
            config,
            shape,
            precision,
            loss_at,
            params,
            head,
            embedding,
            inputs,
            outputs,
            training,
            prediction,
            optimizer,
        })
    }

    /// A second training pass over the same parameters and batches, to be looked into now and then; training itself stays
    /// as fast as it is. It overwrites gradients and changes no parameter.
    pub fn inside(&self) -> Result<Inside> {
        let Self { device, config, shape, precision, loss_at, params, head, embedding, inputs, outputs, .. } = self;
        let parts = Parts {
            device,
            config: *config,
            shape: *shape,
            precision: *precision,
            flow: true,
            loss_at: *loss_at,
            params,
            head: *head,
            embedding: *embedding,
            inputs,
            outputs,
            scale: self.optimizer.scale(),
        };
        let pass = parts.pass(Mode::Train)?;
        let gates = Gates::new(&pass.layer, &pass.reserve)?;
        Ok(Inside { device: device.clone(), pass, gates })
    }

    pub fn parameters(&self) -> &Parameters {
        &self.params
    }

    /// Saves everything that training needs to go on, with a text about it.
    pub fn save(&self, path: &Path, about: (&str, &str)) -> Result<()> {
        Checkpoint::save(path, &self.params, [&self.optimizer.moments(), &self.progress()], [about])
    }

    /// Goes on where a checkpoint was saved.
    pub fn resume(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.restore(&self.params, [&self.optimizer.moments(), &self.progress()])
    }

    /// Takes the weights of a checkpoint.
    pub fn load(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.restore(&self.params, [&[], &[]])
    }

    fn progress(&self) -> [(&'static str, &Buffer); 2] {
        let [state, counters] = self.optimizer.progress();
        [("state", state), ("counters", counters)]
    }

    /// Parameters of the recurrent layer, counted from its tensors.
    pub fn layer_parameters(&self) -> usize {
        let names = tensors(&self.config, "rnn.");
        let entries = self.params.entries().iter();
        entries.filter(|entry| names.iter().any(|(name, _)| *name == entry.name)).map(|entry| entry.len()).sum()
    }

    /// Memory of the recurrent layer in training: allocated, predicted.
    pub fn memory(&self) -> (Memory, Memory) {
        (self.training.layer.memory(), self.training.layer.rnn().memory())
    }

    /// The steps that are judged.
    pub fn loss_at(&self) -> LossAt {
        self.loss_at
    }

    pub fn feed_series(&mut self, x: &[f32], y: &[f32]) -> anyhow::Result<()> {
        if let Inputs::Series { x: to, target } = &self.inputs {
            self.device.write(to, x)?;
            self.device.write(target, y)?;
        }
        Ok(())
    }

    pub fn feed_tokens(&mut self, x: &[u32], y: &[u32]) -> anyhow::Result<()> {
        if let Inputs::Tokens { x: to, target } = &self.inputs {
            self.device.write_u32(to, x)?;
            self.device.write_u32(target, y)?;
        }
        Ok(())
    }

    /// One training step on the batch that was fed: forward, loss, backward, clip, update. Nothing is read back.
    pub fn step(&mut self) -> Result<()> {
        self.device.run(|recorder| self.record_step(recorder))
    }

    fn record_step(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.record_gradients(recorder)?;
        self.optimizer.record(recorder)
    }

    fn record_gradients(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.training.record_forward(recorder)?;
        self.training.record_backward(recorder)
    }

    /// How the gradients of the batch that was fed flow through the layer of a [`watched`](Self::watched) model.
    pub fn flow(&self) -> Result<Flow> {
        self.device.run(|recorder| self.record_gradients(recorder))?;
        Flow::read(&self.training.layer)
    }

    /// What gates and states do on the batch that was fed, and of each layer step by step on its first sequence.
    pub fn gates(&self) -> Result<(Activity, Vec<Values>)> {
        let gates = Gates::new(&self.training.layer, &self.training.reserve)?;
        self.device.run(|recorder| {
            self.training.record_forward(recorder)?;
            gates.record(recorder)
        })?;
        let values = |layer| Values::read(&self.training.layer, &self.training.reserve, layer, 0, 0);
        Ok((gates.read()?, (0..self.config.layers).map(values).collect::<Result<_>>()?))
    }

    /// The loss of the last step; an error when it is not finite, or when the optimiser refused a step because the norm
    /// of its gradients was not.
    pub fn checked_loss(&self) -> Result<f64> {
        let loss = self.training.loss.read_value()?;
        let state = self.optimizer.read_state()?;
        let refused = |what: &str, got: f64| {
            Err(Error::NonFinite { what: what.to_string(), step: state.step + u64::from(state.skipped > 0), got })
        };
        match state.gradient_norm {
            _ if !loss.is_finite() => refused("the loss", loss),
            // A dynamic scale finds its size by steps that are not made.
            _ if state.dynamic_scale => state.check().map(|()| loss),
            norm if !norm.is_finite() => refused("the norm of the gradients", norm),
            _ if state.skipped > 0 => refused("the norm of the gradients before", f64::NAN),
            _ => Ok(loss),
        }
    }

    /// The outputs for the batch that was fed.
    pub fn predict(&self) -> Result<Vec<f32>> {
        self.device.run(|recorder| self.prediction.record_forward(recorder))?;
        self.device.read(&self.outputs)
    }

    /// The loss of the batch that was fed, without training.
    pub fn validation_loss(&self) -> Result<f64> {
        self.device.run(|recorder| {
            self.prediction.record_forward(recorder)?;
            self.prediction.loss.record(recorder)
        })?;
        self.prediction.loss.read_value()
    }

    /// All parameters.
    pub fn snapshot(&self) -> Result<Vec<f32>> {
        self.device.read(self.params.values())
    }

    /// Parameters from a snapshot.
    pub fn restore(&self, snapshot: &[f32]) -> Result<()> {
        self.device.write(self.params.values(), snapshot)
    }

    /// Milliseconds of a forward pass: the GPU's own time where it is known.
    pub fn time_forward(&self) -> Result<f64> {
        let timing = self.device.time(|recorder| self.prediction.record_forward(recorder))?;
        Ok(timing.gpu_ms.unwrap_or(timing.wall_ms))
    }

    /// Milliseconds of a training step.
    pub fn time_step(&self) -> Result<f64> {
        let timing = self.device.time(|recorder| self.record_step(recorder))?;
        Ok(timing.gpu_ms.unwrap_or(timing.wall_ms))
    }
}

/// What a model does inside, on the batch that was fed.
pub struct Inside {
    device: Device,
    pass: Pass,
    gates: Gates,
}

impl Inside {
    pub fn look(&self) -> Result<(Flow, Activity)> {
        self.device.run(|recorder| {
            self.pass.record_forward(recorder)?;
            self.gates.record(recorder)?;
            self.pass.record_backward(recorder)
        })?;
        Ok((Flow::read(&self.pass.layer)?, self.gates.read()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use wgpu_rnn::Cell;

    /// Of one layer and of two, judged by the last step and by all: gradients are slopes of the loss.
    #[test]
    fn gradients_are_slopes_of_the_loss() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("waves.csv");
        let rows: String = (0..900).map(|row| format!("{}\n", (f64::from(row) * 0.3).sin())).collect();
        std::fs::write(&csv, format!("level\n{rows}")).unwrap();
        let text = folder.path().join("poem.txt");
        std::fs::write(&text, "the sea, the open sea! ".repeat(2000)).unwrap();
        let device = Device::oracle().unwrap();
        for (series, layers, loss_at) in [
            (true, 1, LossAt::Last),
            (true, 2, LossAt::Last),
            (true, 3, LossAt::All),
            (false, 2, LossAt::Last),
            (false, 1, LossAt::All),
        ] {
            let task = match series {
                true => Task::load(Some((&csv, "level")), None),
                false => Task::load(None, Some(&text)),
            };
            let task = task.unwrap().with_steps(5).unwrap();
            let config = RnnConfig::new(Cell::Gru, task.width(), 3).layers(layers);
            let mut model = Model::watched(&device, &task, config, loss_at, 1).unwrap();
            task.feed(&mut model, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
            model.flow().unwrap();
            let gradients = device.read_f64(model.params.gradients()).unwrap();
            let values = device.read_f64(model.params.values()).unwrap();
            let loss = |at: usize, by: f64| {
                let mut moved = values.clone();
                moved[at] += by;
                device.write_f64(model.params.values(), &moved).unwrap();
                model.validation_loss().unwrap()
            };
            for entry in model.params.entries() {
                let at = entry.offset + entry.len() / 2;
                let slope = (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5;
                let (got, what) = (gradients[at], format!("{} of {layers} layers, {loss_at:?}", entry.name));
                assert!((got - slope).abs() < 1e-8 + 1e-6 * slope.abs(), "{what}: {got} for {slope}");
            }
        }
    }
}
