//! What a recurrent layer is: cell, sizes, layers, directions, biases; and the shape of one batch.

use std::str::FromStr;

use crate::activation::Number;
use crate::cell::Cell;
use crate::error::{Error, Result, at_least_one};
use crate::recipe::{Bias, Recipe, StepOptions};

/// Which way the steps of a layer go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a sequence's beginning.
    #[default]
    Forward,
    /// From a sequence's own end: ONNX's `reverse`.
    Reverse,
    /// One of each, whose outputs are concatenated.
    Both,
}

impl Direction {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Reverse, Self::Both];

    /// Name in files and on the command line, ONNX's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Both => "bidirectional",
        }
    }
}

impl FromStr for Direction {
    type Err = Error;

    /// `forward`, `reverse` or `bidirectional`.
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|direction| direction.name() == text);
        found.ok_or_else(|| Error::invalid("the direction", "forward, reverse or bidirectional", format!("`{text}`")))
    }
}

/// The most layers of a stack. Each has names, buffers and programs of its own, so that their number alone must not use up
/// the machine.
const MOST_LAYERS: usize = 1024;

/// A recurrent layer as `torch.nn.LSTM`, `GRU` and `RNN` know it: a stack of `layers`, each in one or two directions.
///
/// ```
/// use wgpu_rnn::{Cell, RnnConfig};
/// let config = RnnConfig::new(Cell::Gru, 64, 128).layers(2).bidirectional(true);
/// assert_eq!(config.outputs(), 256);
/// assert_eq!(config.parameters(), 2 * 3 * (128 * 64 + 128 * 128 + 256) + 2 * 3 * (128 * 256 + 128 * 128 + 256));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RnnConfig {
    /// The cell.
    pub cell: Cell,
    /// Input size I.
    pub input: usize,
    /// Hidden size H.
    pub hidden: usize,
    /// Layers L.
    pub layers: usize,
    /// Which way its steps go.
    pub direction: Direction,
    /// Which biases there are.
    pub bias: Bias,
    /// What is changed about the cell's step.
    pub options: StepOptions,
    /// Whether initial states are parameters.
    pub learns_state: bool,
    /// The probability that a value of one layer's output is dropped on its way to the next, in training.
    pub dropout: Number,
    /// The probability that an input of a layer is dropped at all steps of a sequence, in training.
    pub input_dropout: Number,
    /// The probability that a weight of `weight_hh` is dropped, in training.
    pub weight_dropout: Number,
}

impl RnnConfig {
    /// One layer, one direction, with biases.
    pub const fn new(cell: Cell, input: usize, hidden: usize) -> Self {
        Self {
            cell,
            input,
            hidden,
            layers: 1,
            direction: Direction::Forward,
            bias: Bias::Both,
            options: StepOptions::NONE,
            learns_state: false,
            dropout: Number::new(0.0),
            input_dropout: Number::new(0.0),
            weight_dropout: Number::new(0.0),
        }
    }

    /// Layers L; the output of one is the input of the next. Default 1.
    pub const fn layers(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// Whether a second direction reads each sequence from its end; outputs of both are concatenated. Default `false`.
    pub const fn bidirectional(mut self, yes: bool) -> Self {
        self.direction = if yes { Direction::Both } else { Direction::Forward };
        self
    }

    /// Which way its steps go, in every layer. The tensors of a layer that goes from the end alone are named as those of a
    /// bidirectional one's reverse direction. Default: from the beginning.
    pub const fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Which biases there are; `true` is both and `false` none, as PyTorch has it. Default both.
    pub fn bias(mut self, bias: impl Into<Bias>) -> Self {
        self.bias = bias.into();
        self
    }

    /// What is changed about the cell's step: peepholes, coupled gates, other functions, limits. Default: nothing.
    ///
    /// ```
    /// use wgpu_rnn::{Cell, Function, RnnConfig, StepOptions};
    /// let options = StepOptions { peephole: true, candidate: Some(Function::Softsign.into()), ..Default::default() };
    /// let config = RnnConfig::new(Cell::Lstm, 8, 16).options(options);
    /// config.check()?;
    /// assert_eq!(config.parameters(), 4 * (16 * 8 + 16 * 16 + 2 * 16) + 3 * 16);
    /// # Ok::<_, wgpu_rnn::Error>(())
    /// ```
    pub const fn options(mut self, options: StepOptions) -> Self {
        self.options = options;
        self
    }

    /// Whether the initial states are parameters of the layer: `h0_l{k} [H]`, and c0 where there is a c, one row for all
    /// sequences, with its gradient; none are given then. Default `false`.
    pub const fn learn_state(mut self, yes: bool) -> Self {
        self.learns_state = yes;
        self
    }

    /// Dropout between layers as PyTorch has it: in training each value of a layer's output is, on its way to the next layer,
    /// zero with this probability, and else divided by what is left of 1. A plan that infers drops nothing, and of one layer
    /// there is nothing to drop. Masks come from [`set_seed`](crate::nn::rnn::Bound::set_seed), and are the same on every
    /// device; each forward run draws others. Default 0.
    pub const fn dropout(mut self, probability: f32) -> Self {
        self.dropout = Number::new(probability);
        self
    }

    /// Variational dropout of inputs (Gal and Ghahramani 2016; `dropout` of Keras's layers, of which some have a mask for
    /// each gate where here all gates have one): in training each input of each layer is, at all steps of a sequence alike,
    /// zero with this probability, and else divided by what is left of 1. Masks as for [`dropout`](Self::dropout), beside
    /// which it may stand. Default 0.
    pub const fn input_dropout(mut self, probability: f32) -> Self {
        self.input_dropout = Number::new(probability);
        self
    }

    /// Dropout of the weights between steps (Merity et al. 2018, AWD-LSTM; `dropout` of haste): in training each element of
    /// `weight_hh` is, at all steps of all sequences of a run, zero with this probability, and else divided by what is left
    /// of 1. Masks as for [`dropout`](Self::dropout). Default 0.
    pub const fn weight_dropout(mut self, probability: f32) -> Self {
        self.weight_dropout = Number::new(probability);
        self
    }

    /// Whether something is drawn at random in training.
    pub fn draws(&self) -> bool {
        let drops = self.drops_outputs() || self.drops_inputs() || self.drops_weights();
        drops || self.options.recurrent_dropout.is_some() || self.recipe().zones()
    }

    /// The layer without what is dropped in training: as a plan that infers runs it. What may stay of states is as it was.
    pub const fn without_dropout(self) -> Self {
        let options = StepOptions { recurrent_dropout: None, ..self.options };
        self.options(options).dropout(0.0).input_dropout(0.0).weight_dropout(0.0)
    }

    /// Whether something is dropped of what a layer gives to the next.
    pub(crate) fn drops_outputs(&self) -> bool {
        self.layers > 1 && self.dropout.get() > 0.0
    }

    /// Whether something is dropped of inputs.
    pub(crate) fn drops_inputs(&self) -> bool {
        self.input_dropout.get() > 0.0
    }

    /// Whether something is dropped of the weights between steps.
    pub(crate) fn drops_weights(&self) -> bool {
        self.weight_dropout.get() > 0.0
    }

    /// What its steps are.
    pub const fn recipe(&self) -> Recipe {
        Recipe::new(self.cell, self.bias, self.options, self.learns_state)
    }

    /// Directions D.
    pub const fn directions(&self) -> usize {
        if matches!(self.direction, Direction::Both) { 2 } else { 1 }
    }

    /// The first of its directions that goes from the end; D and more where none does.
    pub const fn first_reversed(&self) -> usize {
        match self.direction {
            Direction::Reverse => 0,
            Direction::Forward | Direction::Both => 1,
        }
    }

    /// Whether one of its directions goes from the end.
    pub const fn is_reversed(&self) -> bool {
        self.first_reversed() < self.directions()
    }

    /// Width of the output, D·H; with a [projection](StepOptions::projection) D·P.
    pub const fn outputs(&self) -> usize {
        self.directions().saturating_mul(self.width(0))
    }

    /// Elements of a state of one sequence, layer and direction, 0 h and 1 c: H, of a projected h P.
    pub const fn width(&self, state: usize) -> usize {
        self.recipe().width(state, self.hidden)
    }

    /// Input size of a layer: I for the first, the width of the output for the others.
    pub const fn layer_input(&self, layer: usize) -> usize {
        if layer == 0 { self.input } else { self.outputs() }
    }

    /// Parameters of all layers and directions.
    pub fn parameters(&self) -> usize {
        let one = |layer| self.recipe().parameters(self.layer_input(layer), self.hidden);
        (0..self.layers).map(|layer| self.directions() * one(layer)).sum()
    }

    /// An error when a size is zero, there are more than 1024 layers, or a product of sizes leaves the range of 32-bit
    /// indices.
    pub fn check(&self) -> Result<()> {
        at_least_one("the input size", self.input)?;
        at_least_one("the hidden size", self.hidden)?;
        at_least_one("the number of layers", self.layers)?;
        if self.layers > MOST_LAYERS {
            return Err(Error::invalid("the number of layers", format!("at most {MOST_LAYERS}"), self.layers));
        }
        self.recipe().check()?;
        for (of, probability) in [("", self.dropout), ("input ", self.input_dropout), ("weight ", self.weight_dropout)]
        {
            if !(0.0..=1.0).contains(&probability.get()) {
                return Err(Error::invalid(
                    format!("the probability of {of}dropout"),
                    "within 0..1",
                    probability.get(),
                ));
            }
        }
        if self.drops_weights() && !self.recipe().has_product() {
            let place = format!("{}, which has no `weight_hh`", self.cell.title());
            return Err(Error::Unsupported { option: "dropout of weights".to_string(), place });
        }
        let widest = self.input.max(self.outputs());
        let slots = self.recipe().saved().max(self.recipe().gates()).saturating_mul(self.hidden);
        let rows = slots.saturating_add(self.width(0)).saturating_mul(2);
        fits_u32("one weight matrix", rows.saturating_mul(widest.saturating_add(1)))
    }
}

/// How a layer stores its packed weights and its activations. States and sums are always carried in full precision, and
/// parameters and their gradients are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As f32.
    #[default]
    Full,
    /// As f16, on GPUs that have it: about half the memory, and an error of about 1e-3 in place of 1e-6. Gradients below
    /// 6.1e-5, the smallest normal f16, lose digits and may become zero (GPUs may flush subnormals), so training wants a
    /// loss scale.
    Half,
}

impl FromStr for Precision {
    type Err = Error;

    /// `full` or `half`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "full" => Ok(Self::Full),
            "half" => Ok(Self::Half),
            _ => Err(Error::invalid("the precision", "full or half", format!("`{text}`"))),
        }
    }
}

/// Shape of one (padded) batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchShape {
    /// Steps T.
    pub steps: usize,
    /// Batch B.
    pub batch: usize,
}

impl BatchShape {
    /// T steps of B sequences.
    pub const fn new(steps: usize, batch: usize) -> Self {
        Self { steps, batch }
    }

    /// Rows T·B.
    pub const fn rows(&self) -> usize {
        self.steps * self.batch
    }

    /// An error when a size is zero or T·B leaves the range of 32-bit indices.
    pub fn check(&self) -> Result<()> {
        at_least_one("the number of steps", self.steps)?;
        at_least_one("the batch size", self.batch)?;
        fits_u32("steps × batch", self.steps.saturating_mul(self.batch))
    }

    /// An error naming the first sequence whose length is 0 or above T, or the count when it is not B.
    pub fn check_lengths(&self, lengths: &[usize]) -> Result<()> {
        if lengths.len() != self.batch {
            return Err(Error::shape("lengths", &[self.batch], &[lengths.len()]));
        }
        match lengths.iter().position(|&n| n == 0 || n > self.steps) {
            Some(sequence) => Err(Error::Length { sequence, steps: self.steps, got: lengths[sequence] }),
            None => Ok(()),
        }
    }
}

/// An error when `elements` can't be indexed by 32 bits.
fn fits_u32(what: &str, elements: usize) -> Result<()> {
    if elements > u32::MAX as usize {
        return Err(Error::Limit {
            what: what.to_string(),
            needed: format!("{elements} elements"),
            limit: format!("{} (32-bit indices)", u32::MAX),
            device: "the engine".to_string(),
        });
    }
    Ok(())
}
