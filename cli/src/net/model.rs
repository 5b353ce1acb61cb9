//! A network with its optimiser, bound once: fed, trained, asked and looked into.

use std::path::Path;

use wgpu_rnn::io::Checkpoint;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::nn::rnn::{Options, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters, Recurrent};
use wgpu_rnn::plan::{Memory, Mode};
use wgpu_rnn::probe::{Activity, Flow, Gates, Values};
use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig, OptimizerState, Schedule};
use wgpu_rnn::{Buffer, Device, Error, Precision, Recorder, Result, RnnConfig};

use super::form::{Batch, Form, LossAt};
use super::pass::{Net, Pass};

/// Largest norm of all gradients together.
const CLIP: f64 = 1.0;

/// Bytes of a parameter with its gradient and two moments.
const BYTES: usize = 16;

/// How a network begins and is trained.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub precision: Precision,
    /// Whether the layer's sequences are `[B, T, ..]` on the device; batches are `[T, B, ..]` either way.
    pub batch_first: bool,
    /// Whether its gradients are looked at, step by step.
    pub flow: bool,
    pub seed: u64,
    /// The learning rate, which falls over so many training steps.
    pub rate: f64,
    pub updates: usize,
    /// Batches whose gradients an update is made of the mean of.
    pub batches: u32,
    /// Steps that gates are to keep from the beginning, by chrono initialisation; without, the forget gate's bias is 1.
    pub memory: Option<usize>,
}

impl Setup {
    /// In f32, to be trained for one step or none.
    pub fn new(seed: u64, rate: f64) -> Self {
        Self {
            precision: Precision::Full,
            batch_first: false,
            flow: false,
            seed,
            rate,
            updates: 1,
            batches: 1,
            memory: None,
        }
    }
}

/// A network bound to its buffers: one set of programs for training, one for prediction.
pub struct Model {
    net: Net,
    training: Pass,
    prediction: Pass,
    optimizer: Optimizer,
    /// What makes gradients zero before the first of several batches; nothing for one, whose gradients overwrite.
    zero: Program,
    /// Batches of an update, and how many of them have been added up.
    batches: u32,
    added: u32,
    /// The batch that was fed.
    fed: Option<Batch>,
    /// Of masks.
    seed: u64,
}

impl Model {
    /// A model with fresh weights.
    pub fn new(device: &Device, config: RnnConfig, form: Form, setup: Setup) -> Result<Self> {
        // Before anything is made, be it only the names of so many layers.
        config.check()?;
        form.shape.check()?;
        let bytes = form.parameters(&config).saturating_mul(BYTES);
        device.check_memory("the parameters with their gradients and moments", bytes as u64)?;
        let (head, embedding) = form.around(&config);
        let params = Parameters::new(device, form.table(&config))?;
        let (recurrent, chrono) = (Recurrent::Orthogonal, setup.memory);
        let init = Init { recurrent, forget_bias: Some(1.0), chrono, ..Init::new(setup.seed) };
        init.apply(&params, "rnn.", Layer::Rnn(&config))?;
        init.apply(&params, "head.", Layer::Linear(&head))?;
        if let Some(embedding) = &embedding {
            init.apply(&params, "embedding.", Layer::Embedding(embedding))?;
        }
        let steps = u32::try_from(setup.updates).unwrap_or(u32::MAX).max(1);
        let schedule = Schedule::Cosine { steps, floor: 0.05 };
        let scale = match setup.precision {
            Precision::Full => LossScale::None,
            Precision::Half => LossScale::dynamic(),
        };
        let rule = OptimizerConfig::adam(setup.rate).clip_norm(Some(CLIP)).schedule(schedule).batches(setup.batches);
        // Gradients of one batch overwrite, of several they are added to zero.
        let (params, zero) = match setup.batches {
            1 => (params, Program::default()),
            _ => (params.accumulating(), params.zero_gradients()?),
        };
        let optimizer = Optimizer::new(&params, rule.loss_scale(scale))?;
        let options = Options { precision: setup.precision, batch_first: setup.batch_first, ..Options::default() };
        let net = Net::new(device, config, form, options, params, optimizer.scale().cloned())?;
        let training = net.pass(Mode::Train, setup.flow)?;
        let prediction = net.pass(Mode::Infer, false)?;
        training.layer.set_seed(setup.seed)?;
        let (batches, seed) = (setup.batches, setup.seed);
        Ok(Self { net, training, prediction, optimizer, zero, batches, added: 0, fed: None, seed })
    }

    /// A second training pass over the same parameters, to be looked into now and then; training itself stays as fast as it is.
    /// It changes gradients, so that it is for between two updates, and no parameter. It is judged by the last step alone: of a
    /// loss at every step what comes back from one and what is new at the next could not be told apart.
    pub fn inside(&self) -> Result<Inside> {
        let Net { device, config, options, params, .. } = &self.net;
        let form = Form { loss_at: LossAt::Last, carries: false, ..self.net.form.clone() };
        let scale = self.optimizer.scale().cloned();
        let net = Net::new(device, *config, form, *options, params.clone(), scale)?;
        // What comes back from step to step is not the gradient itself where that is clipped on its way; with a projection there are
        // no norms.
        let follows = config.options.clip.gradient.is_none() && config.options.projection.is_none();
        let pass = net.pass(Mode::Train, follows)?;
        let gates = Gates::new(&pass.layer, &pass.reserve)?;
        Ok(Inside { net, pass, gates, follows })
    }

    /// What it reads and answers.
    pub fn form(&self) -> &Form {
        &self.net.form
    }

    pub fn parameters(&self) -> &Parameters {
        &self.net.params
    }

    /// Saves everything that training needs to go on, with a text about it.
    pub fn save(&self, path: &Path, about: (&str, &str)) -> Result<()> {
        Checkpoint::save(path, &self.net.params, [&self.optimizer.moments(), &self.progress()], [about])
    }

    /// Goes on where a checkpoint was saved after so many updates.
    pub fn resume(&self, checkpoint: &Checkpoint, updates: usize) -> Result<()> {
        let drawn = u32::try_from(updates).unwrap_or(u32::MAX).saturating_mul(self.batches);
        self.training.layer.set_seed_after(self.seed, drawn)?;
        checkpoint.restore(&self.net.params, [&self.optimizer.moments(), &self.progress()])
    }

    /// Takes the weights of a checkpoint.
    pub fn load(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.restore(&self.net.params, [&[], &[]])
    }

    /// What goes from update to update beside parameters and moments.
    fn progress(&self) -> Vec<(&'static str, &Buffer)> {
        let [state, counters] = self.optimizer.progress();
        let carried = ["carried_h", "carried_c"].into_iter().zip(&self.training.states);
        [("state", state), ("counters", counters)].into_iter().chain(carried).collect()
    }

    /// Parameters of the recurrent layer, counted from its tensors.
    pub fn layer_parameters(&self) -> usize {
        let names = tensors(&self.net.config, "rnn.");
        let entries = self.net.params.entries().iter();
        entries.filter(|entry| names.iter().any(|(name, _)| *name == entry.name)).map(|entry| entry.len()).sum()
    }

    /// Memory of the recurrent layer in training: allocated, predicted.
    pub fn memory(&self) -> (Memory, Memory) {
        (self.training.layer.memory(), self.training.layer.rnn().memory())
    }

    /// Uploads a batch, for all that is done next.
    pub fn feed(&mut self, batch: Batch) -> Result<()> {
        self.net.upload(&batch)?;
        self.training.begin(&batch)?;
        self.prediction.begin(&batch)?;
        self.fed = Some(batch);
        Ok(())
    }

    /// Trains on the batch that was fed: forward, loss, backward, and, with the last batch of an update, clip and update.
    /// Nothing is read back.
    pub fn step(&mut self) -> Result<()> {
        let (first, last) = (self.added == 0, self.added + 1 >= self.batches);
        self.net.device.run(|recorder| {
            if first {
                self.zero.record(recorder)?;
            }
            self.record_gradients(recorder)?;
            if last { self.optimizer.record(recorder) } else { Ok(()) }
        })?;
        self.added = if last { 0 } else { self.added + 1 };
        Ok(())
    }

    fn record_gradients(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.training.record_forward(recorder)?;
        self.training.record_backward(recorder)
    }

    /// How the gradients of the batch that was fed flow through the layer of a model that was set up for it.
    pub fn flow(&self) -> Result<Flow> {
        self.net.device.run(|recorder| self.record_gradients(recorder))?;
        Flow::read(&self.training.layer)
    }

    /// What gates and states do on the batch that was fed, and of each layer and direction time by time on its first sequence.
    pub fn gates(&self) -> Result<(Activity, Vec<Values>)> {
        let gates = Gates::new(&self.training.layer, &self.training.reserve)?;
        self.net.device.run(|recorder| {
            self.training.record_forward(recorder)?;
            gates.record(recorder)
        })?;
        let RnnConfig { layers, .. } = self.net.config;
        let directions = self.net.config.directions();
        let values = |at: usize| {
            let (layer, direction) = (at / directions, at % directions);
            let values = Values::read(&self.training.layer, &self.training.reserve, layer, direction, 0)?;
            Ok(values.in_time_order())
        };
        Ok((gates.read()?, (0..layers * directions).map(values).collect::<Result<_>>()?))
    }

    /// Where the optimiser is, as after the last step.
    pub fn progress_made(&self) -> Result<OptimizerState> {
        self.optimizer.read_state()
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
        self.net.device.run(|recorder| self.prediction.record_forward(recorder))?;
        self.net.device.read(&self.net.outputs)
    }

    /// The loss of the batch that was fed, without training.
    pub fn validation_loss(&self) -> Result<f64> {
        self.net.device.run(|recorder| {
            self.prediction.record_forward(recorder)?;
            self.prediction.loss.record(recorder)
        })?;
        self.prediction.loss.read_value()
    }

    /// All parameters.
    pub fn snapshot(&self) -> Result<Vec<f32>> {
        self.net.device.read(self.net.params.values())
    }

    /// Parameters from a snapshot.
    pub fn restore(&self, snapshot: &[f32]) -> Result<()> {
        self.net.device.write(self.net.params.values(), snapshot)
    }

    /// Milliseconds of a forward pass: the GPU's own time where it is known.
    pub fn time_forward(&self) -> Result<f64> {
        let timing = self.net.device.time(|recorder| self.prediction.record_forward(recorder))?;
        Ok(timing.gpu_ms.unwrap_or(timing.wall_ms))
    }

    /// Milliseconds of a training step.
    pub fn time_step(&self) -> Result<f64> {
        let timing = self.net.device.time(|recorder| {
            self.record_gradients(recorder)?;
            self.optimizer.record(recorder)
        })?;
        Ok(timing.gpu_ms.unwrap_or(timing.wall_ms))
    }
}

/// What looks into a model.
pub struct Inside {
    net: Net,
    pass: Pass,
    gates: Gates,
    /// Whether gradients are followed from step to step.
    follows: bool,
}

impl Inside {
    /// What `model`, which this is of, does inside on the batch that it was fed; nothing before it was. No flow where gradients are
    /// not followed.
    pub fn look(&self, model: &Model) -> Result<Option<(Option<Flow>, Activity)>> {
        let Some(batch) = &model.fed else { return Ok(None) };
        self.net.upload(&batch.at_last(&self.net.form))?;
        self.pass.begin(batch)?;
        // The same masks at each look.
        self.pass.layer.set_seed(model.seed)?;
        self.net.device.run(|recorder| {
            self.pass.record_forward(recorder)?;
            self.gates.record(recorder)?;
            self.pass.record_backward(recorder)
        })?;
        let flow = self.follows.then(|| Flow::read(&self.pass.layer)).transpose()?;
        Ok(Some((flow, self.gates.read()?)))
    }
}
