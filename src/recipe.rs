//! [`Recipe`]: what a step of a recurrent layer is, its cell and options resolved once.
//!
//! Plans, kernels, the CPU executor, initialisers and probes ask the recipe: how many gates there are, what is saved, which
//! tensors a layer has. An option of a layer is told here and in the place that carries it out, and nowhere else.

use std::ops::Range;
use std::str::FromStr;

use crate::cell::{Cell, ValueKind};
use crate::error::{Error, Result};

/// Which biases a layer has, of the two that PyTorch and cuDNN add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// None: PyTorch's `bias=False`, cuDNN's `CUDNN_RNN_NO_BIAS`.
    None,
    /// `bias_ih` alone: Keras's LSTM, cuDNN's `CUDNN_RNN_SINGLE_INP_BIAS`.
    Input,
    /// `bias_hh` alone: cuDNN's `CUDNN_RNN_SINGLE_REC_BIAS`.
    Recurrent,
    /// Both: PyTorch's `bias=True`, cuDNN's `CUDNN_RNN_DOUBLE_BIAS`.
    #[default]
    Both,
}

impl Bias {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::None, Self::Input, Self::Recurrent, Self::Both];

    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Input => "input",
            Self::Recurrent => "recurrent",
            Self::Both => "both",
        }
    }
}

impl FromStr for Bias {
    type Err = Error;

    /// `none`, `input`, `recurrent` or `both`.
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|bias| bias.name() == text);
        found.ok_or_else(|| Error::invalid("the biases", "none, input, recurrent or both", format!("`{text}`")))
    }
}

impl From<bool> for Bias {
    /// PyTorch's: both or none.
    fn from(yes: bool) -> Self {
        if yes { Self::Both } else { Self::None }
    }
}

/// The tensors of one layer and direction, in PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// `weight_ih [G·H, I]`.
    WeightIh,
    /// `weight_hh [G·H, H]`.
    WeightHh,
    /// `bias_ih [G·H]`.
    BiasIh,
    /// `bias_hh [G·H]`.
    BiasHh,
}

impl Tensor {
    const ALL: [Self; 4] = [Self::WeightIh, Self::WeightHh, Self::BiasIh, Self::BiasHh];

    /// How its name begins.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::WeightIh => "weight_ih",
            Self::WeightHh => "weight_hh",
            Self::BiasIh => "bias_ih",
            Self::BiasHh => "bias_hh",
        }
    }
}

/// A cell and the options of its step. Small, so that whoever needs a part of it may have it all.
///
/// ```
/// use wgpu_rnn::{Bias, Cell, RnnConfig, Tensor};
/// let recipe = RnnConfig::new(Cell::Gru, 8, 16).bias(Bias::Input).recipe();
/// assert_eq!((recipe.gates(), recipe.saved(), recipe.states()), (3, 4, 1));
/// assert!(recipe.has(Tensor::BiasIh) && !recipe.has(Tensor::BiasHh));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    cell: Cell,
    bias: Bias,
}

/// Neighbouring gates whose gradients lie in neighbouring slots, so that one product makes all their weight gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRun {
    /// The gates.
    pub gates: Range<usize>,
    /// The slot of the first one's gradient.
    pub slot: usize,
}

impl From<Cell> for Recipe {
    /// The cell as PyTorch has it.
    fn from(cell: Cell) -> Self {
        Self::new(cell, Bias::Both)
    }
}

impl Recipe {
    pub(crate) const fn new(cell: Cell, bias: Bias) -> Self {
        Self { cell, bias }
    }

    /// Every recipe whose kernels have a text of their own.
    pub fn texts() -> impl Iterator<Item = Self> {
        Cell::ALL.iter().copied().map(Self::from)
    }

    /// The recipe that stands for all those whose kernels have the same text.
    pub(crate) const fn text(self) -> Self {
        Self { bias: Bias::Both, ..self }
    }

    /// The cell.
    pub const fn cell(self) -> Cell {
        self.cell
    }

    /// Name in files, in the names of kernels' variants and in what is kept of an adapter.
    pub const fn name(self) -> &'static str {
        self.cell.name()
    }

    /// Gates G: blocks of H rows in `weight_ih` and `weight_hh`.
    pub const fn gates(self) -> usize {
        self.cell.gates()
    }

    /// Values saved per unit and step besides the states.
    pub const fn saved(self) -> usize {
        self.cell.saved()
    }

    /// Name and kind of the saved value in each slot.
    pub const fn values(self) -> &'static [(&'static str, ValueKind)] {
        self.cell.values()
    }

    /// For each gate the slot that holds, after backward, the gradient of its pre-activation on the recurrent side.
    pub const fn hidden_slots(self) -> &'static [usize] {
        self.cell.row().hidden_slots
    }

    /// State vectors: 1 (h) or 2 (h and c).
    pub const fn states(self) -> usize {
        self.cell.states()
    }

    /// Whether there is a cell state c beside h.
    pub const fn has_c(self) -> bool {
        self.cell.has_c()
    }

    /// Whether its layers have this tensor.
    pub const fn has(self, tensor: Tensor) -> bool {
        match tensor {
            Tensor::WeightIh | Tensor::WeightHh => true,
            Tensor::BiasIh => matches!(self.bias, Bias::Input | Bias::Both),
            Tensor::BiasHh => matches!(self.bias, Bias::Recurrent | Bias::Both),
        }
    }

    /// Whether its layers have a bias at all.
    pub const fn has_bias(self) -> bool {
        !matches!(self.bias, Bias::None)
    }

    /// The tensors of a layer and direction of `inputs` inputs and `hidden` units, and their shapes.
    pub fn tensors(self, inputs: usize, hidden: usize) -> impl Iterator<Item = (Tensor, Vec<usize>)> {
        let gates = self.gates() * hidden;
        Tensor::ALL.into_iter().filter(move |&tensor| self.has(tensor)).map(move |tensor| {
            let columns = match tensor {
                Tensor::WeightIh => Some(inputs),
                Tensor::WeightHh => Some(hidden),
                Tensor::BiasIh | Tensor::BiasHh => None,
            };
            (tensor, [gates].into_iter().chain(columns).collect())
        })
    }

    /// Parameters of a layer and direction: `G·(H·I + H·H)`, and `G·H` for each bias.
    pub fn parameters(self, inputs: usize, hidden: usize) -> usize {
        self.tensors(inputs, hidden).map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Runs of gates on the input side.
    pub fn input_runs(self) -> Vec<GateRun> {
        runs(0..self.gates())
    }

    /// Runs of gates on the recurrent side.
    pub fn hidden_runs(self) -> Vec<GateRun> {
        runs(self.hidden_slots().iter().copied())
    }
}

fn runs(slots: impl Iterator<Item = usize>) -> Vec<GateRun> {
    let mut runs: Vec<GateRun> = Vec::new();
    for (gate, slot) in slots.enumerate() {
        match runs.last_mut() {
            Some(run) if run.slot + run.gates.len() == slot => run.gates.end += 1,
            _ => runs.push(GateRun { gates: gate..gate + 1, slot }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_pytorchs_in_their_order() {
        let of = |bias| {
            let recipe = Recipe::new(Cell::Gru, bias);
            let tensors: Vec<_> = recipe.tensors(2, 4).map(|(tensor, shape)| (tensor.stem(), shape)).collect();
            let sizes = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>());
            assert_eq!(recipe.parameters(2, 4), sizes.sum::<usize>());
            tensors
        };
        let [w_ih, w_hh] = [("weight_ih", vec![12, 2]), ("weight_hh", vec![12, 4])];
        let [b_ih, b_hh] = [("bias_ih", vec![12]), ("bias_hh", vec![12])];
        assert_eq!(of(Bias::None), [w_ih.clone(), w_hh.clone()]);
        assert_eq!(of(Bias::Input), [w_ih.clone(), w_hh.clone(), b_ih.clone()]);
        assert_eq!(of(Bias::Recurrent), [w_ih.clone(), w_hh.clone(), b_hh.clone()]);
        assert_eq!(of(Bias::Both), [w_ih, w_hh, b_ih, b_hh]);
    }

    #[test]
    fn runs_are_as_long_as_slots_are_neighbours() {
        let gru = Recipe::from(Cell::Gru);
        assert_eq!(gru.input_runs(), [GateRun { gates: 0..3, slot: 0 }]);
        assert_eq!(gru.hidden_runs(), [GateRun { gates: 0..2, slot: 0 }, GateRun { gates: 2..3, slot: 3 }]);
    }
}
