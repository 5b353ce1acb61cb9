//! What a network reads and answers, and the batches that it is fed with.

use wgpu_rnn::BatchShape;
use wgpu_rnn::RnnConfig;
use wgpu_rnn::nn::rnn::tensors;
use wgpu_rnn::nn::{Embedding, Linear};

/// The steps whose outputs are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LossAt {
    /// The last one alone.
    Last,
    /// Every one.
    All,
}

/// What the recurrent layer is given at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// So many numbers.
    Values(usize),
    /// One of so many symbols, embedded in a vector of this width.
    Tokens { symbols: usize, width: usize },
}

/// What the head says, and the loss that it is trained with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// So many numbers; mean squared error.
    Values(usize),
    /// Of so many numbers the quantiles of these levels; quantile loss.
    Quantiles { values: usize, levels: Vec<f64> },
    /// One of so many classes; cross-entropy.
    Classes(usize),
}

/// Everything around the recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    pub shape: BatchShape,
    pub reads: Reads,
    pub answers: Answers,
    pub loss_at: LossAt,
    /// Whether sequences have lengths of their own.
    pub lengths: bool,
    /// Whether each batch goes on where the one before it ended, with the states that it left.
    pub carries: bool,
}

impl Reads {
    /// Input size I of the recurrent layer.
    pub fn width(self) -> usize {
        match self {
            Self::Values(width) | Self::Tokens { width, .. } => width,
        }
    }
}

impl Answers {
    /// Outputs of the head.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Values(count) | Self::Classes(count) => *count,
            Self::Quantiles { values, levels } => values * levels.len(),
        }
    }

    /// Numbers of a target.
    pub fn targets(&self) -> usize {
        match self {
            Self::Values(values) | Self::Quantiles { values, .. } => *values,
            Self::Classes(_) => 1,
        }
    }
}

impl Form {
    /// Of sequences that all have T steps, each batch for itself.
    pub fn new(shape: BatchShape, reads: Reads, answers: Answers, loss_at: LossAt) -> Self {
        Self { shape, reads, answers, loss_at, lengths: false, carries: false }
    }

    /// Rows of the outputs.
    pub fn judged(&self) -> usize {
        match self.loss_at {
            LossAt::Last => self.shape.batch,
            LossAt::All => self.shape.rows(),
        }
    }

    /// What comes after the recurrent layer, and before it where symbols are read.
    pub fn around(&self, config: &RnnConfig) -> (Linear, Option<Embedding>) {
        let head = Linear { inputs: config.outputs(), outputs: self.answers.outputs(), bias: true };
        let embedding = match self.reads {
            Reads::Values(_) => None,
            Reads::Tokens { symbols, width } => Some(Embedding { entries: symbols, width }),
        };
        (head, embedding)
    }

    /// How many parameters there are, by the sizes alone.
    pub fn parameters(&self, config: &RnnConfig) -> usize {
        let embedded = match self.reads {
            Reads::Values(_) => 0,
            Reads::Tokens { symbols, width } => symbols.saturating_mul(width),
        };
        let head = config.outputs().saturating_add(1).saturating_mul(self.answers.outputs());
        config.parameters().saturating_add(head).saturating_add(embedded)
    }

    /// Names and shapes of all parameters.
    pub fn table(&self, config: &RnnConfig) -> Vec<(String, Vec<usize>)> {
        let (head, embedding) = self.around(config);
        let mut table = tensors(config, "rnn.");
        table.extend(head.parameters("head."));
        table.extend(embedding.iter().flat_map(|embedding| embedding.parameters("embedding.")));
        table
    }
}

/// Numbers, or the numbers of symbols or classes.
#[derive(Clone, Debug, PartialEq)]
pub enum Fed {
    Values(Vec<f32>),
    Tokens(Vec<u32>),
}

impl Fed {
    /// From `[T, B, ..]` to `[B, T, ..]`.
    pub fn batch_first(&self, shape: BatchShape) -> Self {
        match self {
            Self::Values(values) => Self::Values(batch_first(values, shape)),
            Self::Tokens(tokens) => Self::Tokens(batch_first(tokens, shape)),
        }
    }
}

/// The rows of `[T, B, ..]` as `[B, T, ..]`.
fn batch_first<T: Copy>(all: &[T], BatchShape { steps, batch }: BatchShape) -> Vec<T> {
    let width = all.len() / (steps * batch).max(1);
    let row = |at: usize| all[at * width..][..width].iter().copied();
    (0..batch).flat_map(|sequence| (0..steps).flat_map(move |step| row(step * batch + sequence))).collect()
}

/// What one pass reads, `[T, B, ..]`, and what is wanted of it, a row for every output that is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub x: Fed,
    pub y: Fed,
    /// Steps of each sequence, where these have lengths of their own.
    pub lengths: Option<Vec<usize>>,
    /// Whether a sequence begins anew before a step, `[T, B]`, where layers have resets; none: nowhere.
    pub resets: Option<Vec<bool>>,
}

impl Batch {
    /// Sequences of T steps that begin once.
    pub fn new(x: Fed, y: Fed) -> Self {
        Self { x, y, lengths: None, resets: None }
    }

    /// The same, of which only the last step's targets are wanted: those of a batch whose every step is judged end with them.
    pub fn at_last(&self, form: &Form) -> Self {
        let rows = form.shape.batch * form.answers.targets();
        let y = match &self.y {
            Fed::Values(values) => Fed::Values(values[values.len().saturating_sub(rows)..].to_vec()),
            Fed::Tokens(tokens) => Fed::Tokens(tokens[tokens.len().saturating_sub(rows)..].to_vec()),
        };
        Self { y, ..self.clone() }
    }
}
