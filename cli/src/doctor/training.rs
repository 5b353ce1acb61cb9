//! What a model is trained with: linear and embedding layers, losses, optimisers, probes and streams, against the CPU
//! executor in f64.

use std::time::Instant;

use wgpu_rnn::kernel::Program;
use wgpu_rnn::kernel::cross_entropy::IGNORE;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, Stream, tensors};
use wgpu_rnn::nn::{Embedding, GRADIENT_BOUND, Linear, Loss, OUTPUT_BOUND, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::probe::Gates;
use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig, Schedule};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, Recorder, Result, RnnConfig};

use super::cases::{compare, differs, plant};
use super::findings::{Check, Verdict};
use super::layer::{Tensor, values};

/// A part of training: runs on a device and gives its results.
type Part = fn(&Device) -> Result<Vec<Tensor>>;

const PARTS: &[(&str, Part)] = &[
    ("linear layer", linear),
    ("embedding", embedding),
    ("mean squared error", |device| regression(device, None)),
    ("quantile loss", |device| regression(device, Some(&[0.1, 0.5, 0.9]))),
    ("cross-entropy", cross_entropy),
    ("SGD with Nesterov momentum and weight decay", |device| {
        trained(device, OptimizerConfig::sgd(0.1).momentum(0.9).nesterov(true).weight_decay(0.01))
    }),
    ("Adam, clipped", |device| trained(device, OptimizerConfig::adam(1e-2).clip_norm(Some(0.1)))),
    ("AdamW, warm-up and cosine schedule", |device| {
        let schedule = Schedule::Cosine { steps: 5, floor: 0.1 };
        trained(device, OptimizerConfig::adamw(1e-2).schedule(schedule).warmup(2))
    }),
    ("dynamic loss scale", |device| trained(device, OptimizerConfig::sgd(0.1).loss_scale(LossScale::dynamic()))),
    ("what gates do", gates),
    ("a step at a time", stream),
];

/// Checks every part on `device`, twice, against `oracle`.
pub fn checks(device: &Device, oracle: &Device) -> impl Iterator<Item = Check> {
    PARTS.iter().map(move |(name, part)| {
        let start = Instant::now();
        let run = || -> Result<_> {
            let (mut first, second, want) = (part(device)?, part(device)?, part(oracle)?);
            plant("training", name, &mut first);
            let (off, verdict) = compare(&first, &want, [OUTPUT_BOUND, GRADIENT_BOUND]);
            match differs(&first, &second) {
                Some(why) if verdict == Verdict::Pass => Ok((off, Verdict::Fail(why))),
                _ => Ok((off, verdict)),
            }
        };
        let (off, verdict) = match run() {
            Ok((off, verdict)) => (Some(off), verdict),
            Err(error) => (None, Verdict::Fail(error.to_string())),
        };
        let ms = start.elapsed().as_secs_f64() * 1e3;
        Check { group: "training".to_string(), name: (*name).to_string(), verdict, off, ms }
    })
}

fn given(device: &Device, seed: u64, count: usize) -> Result<Buffer> {
    let buffer = device.alloc("given", count)?;
    device.write_f64(&buffer, &values(seed, count, 1.0))?;
    Ok(buffer)
}

fn result(device: &Device, name: &str, buffer: &Buffer, gradient: bool) -> Result<Tensor> {
    Ok(Tensor { name: name.to_string(), values: device.read_f64(buffer)?, gradient })
}

fn with_values(device: &Device, table: Vec<(String, Vec<usize>)>) -> Result<Parameters> {
    let params = Parameters::new(device, table.clone())?;
    for (seed, (name, shape)) in table.iter().enumerate() {
        params.set_f64(name, shape, &values(seed as u64 + 50, shape.iter().product(), 0.3))?;
    }
    Ok(params)
}

/// Numbers below `below` from a seed.
fn tokens(seed: u64, count: usize, below: usize) -> Vec<u32> {
    values(seed, count, 1.0)
        .into_iter()
        .map(|value| ((value + 1.0) * 0.5 * below as f64) as u32 % below as u32)
        .collect()
}

fn linear(device: &Device) -> Result<Vec<Tensor>> {
    let (layer, rows) = (Linear::new(13, 9), 37);
    let params = with_values(device, layer.parameters(""))?;
    let (x, dy) = (given(device, 1, rows * 13)?, given(device, 2, rows * 9)?);
    let (y, dx) = (device.alloc("y", rows * 9)?, device.alloc("dx", rows * 13)?);
    let forward = layer.bind(&params, "", rows, &x, &y)?;
    let backward = layer.backward(&params, "", rows, &x, &dy, Some(&dx))?;
    run(device, &[&forward, &backward])?;
    Ok(vec![
        result(device, "y", &y, false)?,
        result(device, "dx", &dx, true)?,
        result(device, "grad.weight", &params.gradient("weight")?, true)?,
        result(device, "grad.bias", &params.gradient("bias")?, true)?,
    ])
}

fn embedding(device: &Device) -> Result<Vec<Tensor>> {
    let (layer, rows) = (Embedding::new(11, 7), 50);
    let params = with_values(device, layer.parameters(""))?;
    let dy = given(device, 2, rows * 7)?;
    let (y, ids) = (device.alloc("y", rows * 7)?, device.upload_u32("tokens", &tokens(3, rows, 11))?);
    run(device, &[&layer.bind(&params, "", &ids, &y)?, &layer.backward(&params, "", &ids, &dy)?])?;
    Ok(vec![result(device, "y", &y, false)?, result(device, "grad.weight", &params.gradient("weight")?, true)?])
}

/// Mean squared error, or the quantile loss of some levels.
fn regression(device: &Device, levels: Option<&[f64]>) -> Result<Vec<Tensor>> {
    let (rows, width) = (700, levels.map_or(3, <[f64]>::len));
    let (y, dy) = (given(device, 1, rows * width)?, device.alloc("dy", rows * width)?);
    let loss = match levels {
        None => Loss::mse(device, &y, &given(device, 2, rows * width)?, Some(&dy))?,
        Some(levels) => Loss::quantile(device, levels, &y, &given(device, 2, rows)?, Some(&dy), None)?,
    };
    of_loss(device, &loss, &dy)
}

fn cross_entropy(device: &Device) -> Result<Vec<Tensor>> {
    let (rows, classes) = (130, 37);
    let (y, dy) = (given(device, 1, rows * classes)?, device.alloc("dy", rows * classes)?);
    let mut targets = tokens(2, rows, classes);
    targets.iter_mut().step_by(5).for_each(|target| *target = IGNORE);
    let targets = device.upload_u32("targets", &targets)?;
    of_loss(device, &Loss::cross_entropy(device, rows, classes, &y, &targets, Some(&dy))?, &dy)
}

fn of_loss(device: &Device, loss: &Loss, dy: &Buffer) -> Result<Vec<Tensor>> {
    run(device, &[loss.program()])?;
    Ok(vec![result(device, "loss", loss.buffer(), false)?, result(device, "dy", dy, true)?])
}

/// A model after a few steps, with the loss and the norm of its gradients in the last one.
fn trained(device: &Device, config: OptimizerConfig) -> Result<Vec<Tensor>> {
    let model = Model::new(device, config)?;
    for _ in 0..5 {
        device.run(|recorder| model.record(recorder))?;
    }
    let state = model.optimizer.read_state()?;
    let figure = |name: &str, value| Tensor { name: name.to_string(), values: vec![value], gradient: true };
    Ok(vec![
        result(device, "loss", model.loss.buffer(), true)?,
        result(device, "parameters", model.params.values(), true)?,
        figure("gradient norm", state.gradient_norm),
        figure("learning rate", state.learning_rate),
        figure("loss scale", state.loss_scale),
        figure("steps", state.step as f64),
    ])
}

/// Mean and spread of every value of an LSTM with lengths.
fn gates(device: &Device) -> Result<Vec<Tensor>> {
    let (config, shape) = (RnnConfig::new(Cell::Lstm, 5, 19), BatchShape::new(7, 3));
    let params = with_values(device, tensors(&config, ""))?;
    let (x, y) = (given(device, 1, shape.rows() * 5)?, device.alloc("y", shape.rows() * 19)?);
    let options = Options { lengths: true, ..Options::default() };
    let rnn = Rnn::new(device, config, shape, Mode::Train, options)?;
    let reserve = rnn.reserve()?;
    let bound = rnn.bind(&params, "", &Io::new(&x, &y), &Gradients::default(), &reserve, &rnn.workspace()?)?;
    bound.set_lengths(&[7, 2, 5])?;
    let gates = Gates::new(&bound, &reserve)?;
    device.run(|recorder| {
        bound.forward.record(recorder)?;
        gates.record(recorder)
    })?;
    let activity = gates.read()?;
    let of = |value| {
        let units = activity.units(0, 0, value).into_iter();
        let values =
            units.flat_map(|unit| [unit.mean, unit.spread, unit.near_minus_one, unit.near_zero, unit.near_one]);
        Tensor { name: value.name.to_string(), values: values.collect(), gradient: true }
    };
    Ok(activity.values().into_iter().map(of).collect())
}

/// A stream, which runs on the calling thread whatever device has its parameters; on the reference the whole sequence.
fn stream(device: &Device) -> Result<Vec<Tensor>> {
    let (config, shape) = (RnnConfig::new(Cell::Gru, 5, 19).layers(2), BatchShape::new(7, 1));
    let params = with_values(device, tensors(&config, ""))?;
    let x = given(device, 1, shape.rows() * 5)?;
    if device.float_bytes() == 8 {
        let y = device.alloc("y", shape.rows() * 19)?;
        let rnn = Rnn::new(device, config, shape, Mode::Infer, Options::default())?;
        let (io, none) = (Io::new(&x, &y), Gradients::default());
        run(device, &[&rnn.bind(&params, "", &io, &none, &rnn.reserve()?, &rnn.workspace()?)?.forward])?;
        return Ok(vec![result(device, "y", &y, false)?]);
    }
    let mut stream = Stream::new(&params, "", config, 1)?;
    let (mut y, mut all) = ([0.0; 19], Vec::new());
    for x in device.read(&x)?.chunks_exact(5) {
        stream.step(x, &mut y)?;
        all.extend(y.map(f64::from));
    }
    Ok(vec![Tensor { name: "y".to_string(), values: all, gradient: false }])
}

fn run(device: &Device, programs: &[&Program]) -> Result<()> {
    device.run(|recorder| programs.iter().try_for_each(|program| program.record(recorder)))
}

/// Tokens to classes: embedding, GRU, linear layer, cross-entropy and an optimiser.
pub struct Model {
    params: Parameters,
    forward: Program,
    backward: Program,
    rnn: Bound,
    head: Program,
    head_back: Program,
    loss: Loss,
    optimizer: Optimizer,
}

impl Model {
    pub fn new(device: &Device, optimizer: OptimizerConfig) -> Result<Self> {
        let (classes, config, shape) = (11, RnnConfig::new(Cell::Gru, 6, 8), BatchShape::new(5, 4));
        let (embedding, linear, rows) = (Embedding::new(classes, 6), Linear::new(8, classes), shape.rows());
        let mut table = embedding.parameters("embedding.");
        table.extend(tensors(&config, "rnn."));
        table.extend(linear.parameters("head."));
        let params = with_values(device, table)?;
        let floats = |width| device.alloc("a layer's output", rows * width);
        let (x, dx, y, dy) = (floats(6)?, floats(6)?, floats(8)?, floats(8)?);
        let (logits, dlogits) = (floats(classes)?, floats(classes)?);
        let ids = device.upload_u32("tokens", &tokens(1, rows, classes))?;
        let targets = device.upload_u32("targets", &tokens(2, rows, classes))?;
        let gradients = Gradients { dy: Some(dy.clone()), dx: Some(dx.clone()), ..Gradients::default() };
        let plan = Rnn::new(device, config, shape, Mode::Train, Options::default())?;
        let (reserve, workspace) = (plan.reserve()?, plan.workspace()?);
        let optimizer = Optimizer::new(&params, optimizer)?;
        let scale = optimizer.scale();
        Ok(Self {
            forward: embedding.bind(&params, "embedding.", &ids, &x)?,
            backward: embedding.backward(&params, "embedding.", &ids, &dx)?,
            rnn: plan.bind(&params, "rnn.", &Io::new(&x, &y), &gradients, &reserve, &workspace)?,
            head: linear.bind(&params, "head.", rows, &y, &logits)?,
            head_back: linear.backward(&params, "head.", rows, &y, &dlogits, Some(&dy))?,
            loss: Loss::scaled_cross_entropy(device, rows, classes, &logits, &targets, Some(&dlogits), scale)?,
            optimizer,
            params,
        })
    }

    /// One training step.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        let Self { forward, backward, rnn, head, head_back, loss, .. } = self;
        let programs = [forward, &rnn.forward, head, loss.program(), head_back, &rnn.backward, backward];
        programs.into_iter().try_for_each(|program| program.record(recorder))?;
        self.optimizer.record(recorder)
    }
}
