//! [`Stream`]: a recurrent layer that takes one or a few time steps a call, for real-time use on the CPU.

use super::streamed::{expect_forward, expect_one_state, expect_sequences, expect_states};
use super::tensors;
use crate::config::RnnConfig;
use crate::cpu::recurrent::{LayerWeights, Stack};
use crate::error::{Error, Result};
use crate::nn::params::Parameters;
use crate::recipe::StepOptions;
use crate::recipe::Tensor;

/// A recurrent layer that takes one or a few time steps a call, and keeps its state in between: audio, control, games.
///
/// It runs on the calling thread in native f32 code, with weights packed once, whatever device its parameters are on. A
/// step takes no lock, makes no system call and allocates nothing, so its time is the time of its arithmetic. It gives
/// what the whole sequence gives, on the CPU executor to the bit. Only layers that go forward can be streamed. What
/// streams on a GPU is a [`DeviceStream`](super::DeviceStream).
///
/// ```
/// use wgpu_rnn::nn::rnn::{Stream, tensors};
/// use wgpu_rnn::nn::{Init, Layer, Parameters};
/// use wgpu_rnn::{Cell, Device, RnnConfig};
///
/// # fn main() -> wgpu_rnn::Result<()> {
/// let config = RnnConfig::new(Cell::Gru, 8, 64);
/// let params = Parameters::new(&Device::cpu()?, tensors(&config, ""))?;
/// Init::new(0).apply(&params, "", Layer::Rnn(&config))?;
/// let mut stream = Stream::new(&params, "", config, 1)?;
/// let (x, mut y) = ([0.5; 8], [0.0; 64]);
/// for _ in 0..10 {
///     stream.step(&x, &mut y)?;
/// }
/// assert_eq!(stream.h(0), Some(&y[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    config: RnnConfig,
    batch: usize,
    stack: Stack<f32>,
    /// Learnt initial states of each layer, `[H]` each, of a projected h `[P]`; empty where none are.
    initial: Vec<Vec<Vec<f32>>>,
}

impl Stream {
    /// Packs the parameters named after `prefix` for `batch` sequences that step together; states are zero, or those that the
    /// layer has learnt to begin with. Reads the parameters from their device. [`StepOptions::resets`] changes nothing:
    /// [`reset`](Self::reset) does between two calls what a mask does within a batch. Errors: a layer that does not go forward
    /// alone, a tensor that is missing or misshapen.
    pub fn new(params: &Parameters, prefix: &str, config: RnnConfig, batch: usize) -> Result<Self> {
        config.check()?;
        expect_forward(&config)?;
        // What a mask does in a batch, `reset` does between two calls.
        let without = config.without_dropout();
        let options = StepOptions { resets: false, ..without.options };
        let stack = Stack::new(without.options(options).recipe(), config.layers, config.input, config.hidden, batch)?;
        let mut stream = Self { config, batch, stack, initial: Vec::new() };
        stream.load(params, prefix)?;
        stream.set_state(None, None)?;
        Ok(stream)
    }

    /// Packs other parameters of the same layer; states stay. Nothing changes when there is an error.
    pub fn load(&mut self, params: &Parameters, prefix: &str) -> Result<()> {
        for (name, shape) in tensors(&self.config, prefix) {
            let entry = params.entry(&name)?;
            if entry.shape != shape {
                return Err(Error::shape(name, &shape, &entry.shape));
            }
        }
        let read = |tensor: Tensor, layer: usize| match self.config.recipe().has(tensor) {
            true => params.device().read(&params.value(&super::name(&self.config, prefix, tensor, layer, 0))?),
            false => Ok(Vec::new()),
        };
        let all = (0..self.config.layers).map(|layer| {
            let w_ih = read(Tensor::WeightIh, layer)?;
            // Where steps have no product it is a unit's own h that `weight_hh` is of.
            let recipe = self.config.recipe();
            let w_hh = if recipe.has_product() { read(Tensor::WeightHh, layer)? } else { Vec::new() };
            let w_ch = recipe.peepholes_in().map_or_else(|| Ok(Vec::new()), |tensor| read(tensor, layer))?;
            let [b_ih, b_hh] = [read(Tensor::BiasIh, layer)?, read(Tensor::BiasHh, layer)?];
            Ok([w_ih, w_hh, b_ih, b_hh, read(Tensor::WeightHr, layer)?, w_ch])
        });
        let initial = |layer| Tensor::INITIAL.into_iter().map(|tensor| read(tensor, layer)).collect();
        let initial = (0..self.config.layers).map(initial).collect::<Result<Vec<_>>>()?;
        for (layer, [w_ih, w_hh, b_ih, b_hh, w_hr, w_ch]) in all.collect::<Result<Vec<_>>>()?.iter().enumerate() {
            self.stack.set_weights(layer, LayerWeights { w_ih, w_hh, w_hr, b_ih, b_hh, w_ch })?;
        }
        self.initial = initial;
        Ok(())
    }

    /// One step or more of every sequence: `x [S, B, I]` in, `y [S, B, H]` out (with a projection here and below P where the width of
    /// h is said), for any S. An error, and no step, for other
    /// sizes.
    pub fn step(&mut self, x: &[f32], y: &mut [f32]) -> Result<()> {
        self.stack.steps(x, y)
    }

    /// The hidden state of a layer, `[B, H]`; none where there is no such layer.
    pub fn h(&self, layer: usize) -> Option<&[f32]> {
        self.stack.states(layer)?.next()
    }

    /// The cell state of a layer, `[B, H]`; none where there is no such layer, or its cell has none.
    pub fn c(&self, layer: usize) -> Option<&[f32]> {
        self.stack.states(layer)?.nth(self.config.recipe().state("c")?)
    }

    /// Sets the states, `[L, B, H]`: h and, for cells that have it, c; where none is given the learnt initial one, or zero. An
    /// error, and nothing set, for other sizes or a c that the cell does not have.
    pub fn set_state(&mut self, h: Option<&[f32]>, c: Option<&[f32]>) -> Result<()> {
        expect_states(&self.config, self.batch, [("h", h), ("c", c)])?;
        for layer in 0..self.config.layers {
            let learnt = self.initial.get(layer).into_iter().flatten();
            for ((held, given), learnt) in self.stack.states_mut(layer)?.zip([h, c]).zip(learnt) {
                let one = held.len();
                match given {
                    Some(given) => held.copy_from_slice(&given[layer * one..(layer + 1) * one]),
                    None => begin(held, learnt),
                }
            }
        }
        Ok(())
    }

    /// Begins these sequences anew, at their learnt initial states or at zero; the others go on. An error, and nothing done,
    /// for a sequence that there is not.
    pub fn reset(&mut self, sequences: &[usize]) -> Result<()> {
        expect_sequences("a sequence to begin anew", self.batch, sequences)?;
        for layer in 0..self.config.layers {
            let learnt = self.initial.get(layer).into_iter().flatten();
            for (held, learnt) in self.stack.states_mut(layer)?.zip(learnt) {
                let width = held.len() / self.batch;
                for &sequence in sequences {
                    let own = sequence * width..(sequence + 1) * width;
                    let row = held.get_mut(own).unwrap_or_default();
                    begin(row, learnt);
                }
            }
        }
        Ok(())
    }

    /// Replaces one sequence: its states are `h` and, for cells that have it, `c`, `[L, H]` each; the others go on. An error,
    /// and nothing set, for a sequence that there is not or other sizes.
    pub fn replace(&mut self, sequence: usize, h: &[f32], c: &[f32]) -> Result<()> {
        expect_sequences("the sequence to replace", self.batch, &[sequence])?;
        expect_one_state(&self.config, [("h", h), ("c", c)])?;
        for layer in 0..self.config.layers {
            for (held, given) in self.stack.states_mut(layer)?.zip([h, c]) {
                let width = held.len() / self.batch;
                let row = held.chunks_exact_mut(width).nth(sequence).unwrap_or_default();
                row.iter_mut().zip(given.iter().skip(layer * width)).for_each(|(held, given)| *held = *given);
            }
        }
        Ok(())
    }

    /// The layer.
    pub fn config(&self) -> &RnnConfig {
        &self.config
    }

    /// Sequences that step together.
    pub fn batch(&self) -> usize {
        self.batch
    }
}

/// Puts the one learnt row, or zero, into each row.
fn begin(rows: &mut [f32], learnt: &[f32]) {
    match learnt.len() {
        0 => rows.fill(0.0),
        hidden => rows.chunks_exact_mut(hidden).for_each(|row| row.copy_from_slice(learnt)),
    }
}
