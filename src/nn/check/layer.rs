//! Layers to check: each strategy with each cell, forward and backward, with initial states, lengths and every gradient.

use super::case::{Case, Found, GRADIENT_BOUND, HALF_BOUND, OUTPUT_BOUND, Runs, What, random};
use super::{Clock, Extent};
use crate::config::{BatchShape, Precision, RnnConfig};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::gpu::Subject;
use crate::nn::params::Parameters;
use crate::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use crate::plan::{Mode, STRATEGIES};
use crate::recipe::{Recipe, StepOptions};

/// A layer with random data.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    strategy: &'static str,
    recipe: Recipe,
    precision: Precision,
    size: Size,
    /// What bindings have at most: with few bytes, sequences are in several.
    max_binding: u64,
}

/// The sizes of a layer and its sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Size {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    layers: usize,
    directions: usize,
}

impl Size {
    /// One layer of one direction.
    const fn new(steps: usize, batch: usize, input: usize, hidden: usize) -> Self {
        Self { steps, batch, input, hidden, layers: 1, directions: 1 }
    }

    const fn layers(self, layers: usize) -> Self {
        Self { layers, ..self }
    }

    const fn in_two_directions(self) -> Self {
        Self { directions: 2, ..self }
    }
}

/// One where everything is whole vectors, and one where nothing is, whose sequences have lengths of their own.
const SHORT: [Size; 2] = [Size::new(4, 4, 4, 8), Size::new(6, 3, 5, 13).in_two_directions()];

/// Sizes at which other layouts are chosen: of units, of sequences, of directions and layers.
const FULL: [Size; 8] = [
    Size::new(1, 1, 1, 1),
    Size::new(9, 1, 7, 32),
    Size::new(5, 9, 3, 33).layers(2).in_two_directions(),
    Size::new(4, 70, 8, 64),
    Size::new(3, 2, 6, 100).in_two_directions(),
    Size::new(3, 16, 16, 128),
    Size::new(2, 300, 4, 24),
    Size::new(3, 4, 5, 256),
];

/// A size, and bytes of bindings that hold a part of its sequences.
const SECTIONS: (Size, u64) = (Size::new(40, 8, 6, 16).layers(2).in_two_directions(), 24 << 10);

/// The strategies of a device's executor.
pub(super) fn strategies(device: &Device) -> impl Iterator<Item = &'static str> {
    let on_cpu = device.gpu().is_none();
    STRATEGIES.iter().map(|strategy| strategy.name()).filter(move |&name| (name == NATIVE) == on_cpu)
}

const NATIVE: &str = "native";

/// The group of a strategy with a cell.
pub(super) fn group(strategy: &str, recipe: Recipe, precision: Precision) -> String {
    let stored = if precision == Precision::Half { ", half precision" } else { "" };
    format!("strategy {strategy}, {}{stored}", recipe.text())
}

/// The cases of a group, of what the device can run; none where it has no such precision.
pub(super) fn cases(
    device: &Device,
    strategy: &'static str,
    recipe: Recipe,
    precision: Precision,
    extent: Extent,
) -> Vec<Case> {
    if precision == Precision::Half && !device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
        return Vec::new();
    }
    let more = if extent == Extent::Full { &FULL[..] } else { &[] };
    // Over so many steps a relu's slope in half precision is another one.
    let large = extent == Extent::Full && precision == Precision::Full && device.gpu().is_some();
    let sections = [SECTIONS].into_iter().filter(|_| large);
    let sizes = SHORT.iter().chain(more).map(|&size| (size, u64::MAX)).chain(sections);
    let trial = |(size, max_binding)| Trial { strategy, recipe, precision, size, max_binding };
    let trials = sizes.map(trial).filter(|trial| {
        let found = STRATEGIES.iter().find(|found| found.name() == strategy);
        found.is_some_and(|found| found.fits(device, &trial.config(), trial.shape(), Mode::Train).is_ok())
    });
    trials.map(|trial| Case { group: group(strategy, recipe, precision), what: What::Layer(trial) }).collect()
}

impl Trial {
    fn config(&self) -> RnnConfig {
        let Size { input, hidden, layers, directions, .. } = self.size;
        // A text names no size of a projection.
        let projection = self.recipe.projection().map(|_| hidden.div_ceil(3));
        let options = StepOptions { projection, ..self.recipe.options() };
        let config = RnnConfig::new(self.recipe.cell(), input, hidden).options(options);
        config.layers(layers).bidirectional(directions == 2)
    }

    fn shape(&self) -> BatchShape {
        BatchShape::new(self.size.steps, self.size.batch)
    }

    /// What is not used when it is wrong forward, or backward alone.
    pub(super) fn subject(&self, backward: bool) -> Subject {
        match self.precision {
            // Where functions have corners rounding alone may be too much: of no other recipe does that say anything.
            Precision::Half if self.recipe.is_plain() => Subject::Half,
            _ => Subject::strategy_of(self.strategy, self.recipe, backward),
        }
    }

    /// Bounds of results and of gradients.
    pub(super) fn bounds(&self) -> [f64; 2] {
        if self.precision == Precision::Half { [HALF_BOUND; 2] } else { [OUTPUT_BOUND, GRADIENT_BOUND] }
    }

    /// What the f64 executor makes of it.
    pub(super) async fn reference(&self) -> Result<Vec<Found>> {
        let full = Self { strategy: NATIVE, precision: Precision::Full, ..self.clone() };
        let Runs { runs: [first, _], .. } = full.on(&Device::oracle()?).await?;
        Ok(first)
    }

    /// Whether its cell is not simply PyTorch's.
    pub(super) const fn has_options(&self) -> bool {
        !self.recipe.is_plain()
    }

    /// Whether it is planned for small bindings.
    pub(super) fn in_sections(&self) -> bool {
        self.max_binding < u64::MAX
    }

    pub(super) async fn on(&self, device: &Device) -> Result<Runs> {
        let start = Clock::start();
        let device = &device.beside(true, self.max_binding);
        let (config, shape) = (self.config(), self.shape());
        let params = Parameters::new(device, tensors(&config, ""))?;
        let scale = 1.0 / (config.hidden as f32).sqrt();
        for (seed, (name, shape)) in tensors(&config, "").into_iter().enumerate() {
            let mut values = random(100 + seed as u64, shape.iter().product());
            values.iter_mut().for_each(|value| *value *= scale);
            params.set(&name, &shape, &values)?;
        }
        let has_c = config.recipe().has_c();
        let rows = config.layers * config.directions() * shape.batch;
        let [h, c] = [0, 1].map(|state| rows * config.width(state));
        let upload = |seed: u64, len: usize| device.upload("a checked layer", &random(seed, len));
        let room = |len: usize| device.alloc("a checked layer", len);
        let cell = |buffer: Result<Buffer>| buffer.map(|buffer| has_c.then_some(buffer));
        let (x, y) = (upload(1, shape.rows() * config.input)?, room(shape.rows() * config.outputs())?);
        let io = Io {
            h0: Some(upload(2, h)?),
            c0: cell(upload(3, c))?,
            hn: Some(room(h)?),
            cn: cell(room(c))?,
            ..Io::new(&x, &y)
        };
        let gradients = Gradients {
            dy: Some(upload(4, y.len())?),
            dlast: None,
            dhn: Some(upload(5, h)?),
            dcn: cell(upload(6, c))?,
            dx: Some(room(x.len())?),
            dh0: Some(room(h)?),
            dc0: cell(room(c))?,
        };
        let lengths: Option<Vec<usize>> = (self.size == SHORT[1]).then(|| vec![6, 1, 4]);
        let options = Options {
            strategy: Some(self.strategy),
            lengths: lengths.is_some(),
            precision: self.precision,
            ..Options::default()
        };
        let rnn = Rnn::new(device, config, shape, Mode::Train, options)?;
        let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
        if let Some(lengths) = &lengths {
            bound.set_lengths(lengths)?;
        }
        if config.options.resets {
            // Some steps of each sequence, others in each.
            let resets: Vec<bool> =
                (0..shape.rows()).map(|at| (at / shape.batch + at % shape.batch) % 3 == 1).collect();
            bound.set_resets(&resets)?;
        }
        let prepare_ms = start.ms();

        let start = Clock::start();
        let results = [("y", io.y), ("hn", io.hn), ("cn", io.cn)];
        let of_inputs = [("dx", gradients.dx), ("dh0", gradients.dh0), ("dc0", gradients.dc0)];
        let mut runs = [Vec::new(), Vec::new()];
        for run in &mut runs {
            // The same draw.
            bound.set_seed(0)?;
            device.run(|recorder| {
                bound.forward.record(recorder)?;
                bound.backward.record(recorder)
            })?;
            let named = results.iter().map(|named| (named, false)).chain(of_inputs.iter().map(|named| (named, true)));
            for ((name, buffer), backward) in named {
                if let Some(buffer) = buffer {
                    let values = device.download_f64(buffer).await?;
                    run.push(Found { name: name.to_string(), backward, values });
                }
            }
            for (name, _) in tensors(&config, "") {
                let values = device.download_f64(&params.gradient(&name)?).await?;
                run.push(Found { name: format!("grad.{name}"), backward: true, values });
            }
        }
        Ok(Runs { runs, prepare_ms, run_ms: start.ms() })
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Size { steps, batch, input, hidden, layers, directions } = self.size;
        write!(f, "T{steps} B{batch} I{input} H{hidden} L{layers} D{directions}")?;
        if self.in_sections() { write!(f, ", bindings of {} bytes", self.max_binding) } else { Ok(()) }
    }
}
