//! [`Recipe`]: what a step of a recurrent layer is, its cell and options resolved once.
//!
//! Plans, kernels, the CPU executor, initialisers and probes ask the recipe: how many gates there are, what is saved, which
//! tensors a layer has. An option of a layer is told here and in the place that carries it out, and nowhere else.

mod options;
mod tensor;
mod varied;

pub use options::{Bias, Clip, StepOptions, Zoneout};
pub use tensor::Tensor;

use std::fmt;
use std::ops::Range;

use crate::activation::{Activation, Function, Number};
use crate::cell::{Cell, ValueKind};
use crate::error::{Error, Result};

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
    options: StepOptions,
    learns_state: bool,
    /// Whether they are [`StepOptions::NONE`]: asked for each row of a step.
    plain: bool,
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
        Self::of(cell)
    }
}

impl Recipe {
    pub(crate) const fn new(cell: Cell, bias: Bias, options: StepOptions, learns_state: bool) -> Self {
        Self { cell, bias, options, learns_state, plain: options.is_none() }
    }

    /// The cell as PyTorch has it.
    pub(crate) const fn of(cell: Cell) -> Self {
        Self::new(cell, Bias::Both, StepOptions::NONE, false)
    }

    /// An error for what no step can be: an option that the cell has no use for, a limit that is none.
    pub fn check(self) -> Result<()> {
        let StepOptions { peephole, coupled, gate, output, candidate, clip, resets: _, zoneout, recurrent_dropout } =
            self.options;
        let unless = |has: bool, asked: bool, option: &str, why: &str| match asked && !has {
            true => {
                Err(Error::Unsupported { option: option.to_string(), place: format!("{}, {why}", self.cell.title()) })
            }
            false => Ok(()),
        };
        let has_c = self.cell.has_c();
        unless(has_c, peephole, "a peephole", "which has no cell state to look at")?;
        unless(has_c, coupled, "a coupled input gate", "which has no input gate beside a forget gate")?;
        unless(has_c, output.is_some(), "another output function", "whose h no function is applied to")?;
        unless(has_c, clip.cell.is_some(), "`clip_cell`", "which has no cell state")?;
        unless(has_c, clip.cell_as_read.is_some(), "`clip_cell_as_read`", "which has no cell state")?;
        unless(has_c, zoneout.c.is_some(), "`zoneout_cell`", "which has no cell state")?;
        unless(self.gates() > 1, gate.is_some(), "another gate function", "which has no gates")?;
        let relu = self.cell == Cell::RnnRelu;
        unless(!relu, candidate.is_some(), "another function", "whose name says which it has: take the RNN")?;
        for (name, limit) in clip.all() {
            if let Some(limit) = limit.map(Number::get).filter(|limit| !(limit.is_finite() && *limit > 0.0)) {
                return Err(Error::invalid(name, "above 0 and finite", limit));
            }
        }
        let drops = [("recurrent_dropout", recurrent_dropout)];
        for (name, share) in zoneout.all().into_iter().chain(drops) {
            if let Some(share) = share.map(Number::get).filter(|share| !(*share > 0.0 && *share <= 1.0)) {
                return Err(Error::invalid(name, "above 0 and at most 1", share));
            }
        }
        Ok(())
    }

    /// Every recipe that tests and self-tests know: each cell as PyTorch has it, and options in such company that each
    /// occurs with and without each other, and every function somewhere.
    pub fn texts() -> impl Iterator<Item = Self> {
        let plain = Cell::ALL.iter().copied().map(Self::from);
        plain.chain(varied::VARIED.iter().map(|&(cell, options)| Self::new(cell, Bias::Both, options, false)))
    }

    /// The recipe that stands for all those whose kernels have the same text: numbers are not in it.
    pub(crate) const fn text(self) -> Self {
        const fn some(number: Option<Number>, value: f32) -> Option<Number> {
            match number {
                Some(_) => Some(Number::new(value)),
                None => None,
            }
        }
        const fn one(limit: Option<Number>) -> Option<Number> {
            some(limit, 1.0)
        }
        const fn own(activation: Option<Activation>) -> Option<Activation> {
            match activation {
                Some(activation) => Some(Activation::of(activation.function())),
                None => None,
            }
        }
        let StepOptions { peephole, coupled, gate, candidate, output, clip, resets, zoneout, recurrent_dropout } =
            self.options;
        let Clip { inputs, cell, cell_as_read, gradient } = clip;
        let clip =
            Clip { inputs: one(inputs), cell: one(cell), cell_as_read: one(cell_as_read), gradient: one(gradient) };
        let options = StepOptions {
            peephole,
            coupled,
            gate: own(gate),
            candidate: own(candidate),
            output: own(output),
            clip,
            resets,
            zoneout: Zoneout { h: some(zoneout.h, 0.5), c: some(zoneout.c, 0.5) },
            recurrent_dropout: some(recurrent_dropout, 0.5),
        };
        Self { bias: Bias::Both, options, learns_state: false, ..self }
    }

    /// What is changed about the cell's step.
    pub const fn options(self) -> StepOptions {
        self.options
    }

    /// Whether nothing is changed about the cell's step.
    pub const fn is_plain(self) -> bool {
        self.plain
    }

    /// Whether its functions are those of the cell as PyTorch has it.
    pub const fn has_usual_functions(self) -> bool {
        let StepOptions { gate, candidate, output, .. } = self.options;
        !(gate.is_some() || candidate.is_some() || output.is_some())
    }

    /// The functions of the gates, of what is added to the state, and of the cell state on its way to h.
    pub const fn activations(self) -> Activations {
        let gate = match self.options.gate {
            Some(gate) => gate,
            None => Activation::SIGMOID,
        };
        let candidate = match (self.options.candidate, self.cell) {
            (Some(candidate), _) => candidate,
            (None, Cell::RnnRelu) => Activation::RELU,
            (None, _) => Activation::TANH,
        };
        let output = match self.options.output {
            Some(output) => output,
            None => Activation::TANH,
        };
        Activations { gate, candidate, output }
    }

    /// Whether sequences may begin anew within a batch.
    pub const fn resets(self) -> bool {
        self.options.resets
    }

    /// Whether something of the states before a step may stay.
    pub const fn zones(self) -> bool {
        self.options.zoneout.h.is_some() || self.options.zoneout.c.is_some()
    }

    /// The probability with which the state stays that a gate keeps, c of an LSTM and h of a GRU, whatever that gate says.
    pub fn stays(self) -> f64 {
        let Zoneout { h, c } = self.options.zoneout;
        let share = if self.has_c() { c } else { h };
        share.map_or(0.0, |share| f64::from(share.get()))
    }

    /// Peepholes P: blocks of H in `weight_ch`.
    pub const fn peepholes(self) -> usize {
        match (self.options.peephole, self.options.coupled) {
            (false, _) => 0,
            (true, true) => 2,
            (true, false) => 3,
        }
    }

    /// The slots of the gates that see the cell state before the step, in the order of their peepholes; the gate that sees
    /// the state after it comes behind them, in the last gate's slot.
    pub const fn peeps_before(self) -> Range<usize> {
        0..self.peepholes().saturating_sub(1)
    }

    /// The slot whose value says, as a sum of powers of two, which gates' inputs were clipped, by slot, and whether the
    /// cell state was, one power above those; none where nothing of the kind can be.
    pub const fn clipped_slot(self) -> Option<usize> {
        if self.notes_clips() { Some(self.cell_saved() - 1) } else { None }
    }

    const fn notes_clips(self) -> bool {
        let clip = self.options.clip;
        clip.inputs.is_some() || clip.cell.is_some()
    }

    /// With zoneout of c, the slot of the cell state that the cell has made, whether or not it is the one that is left: the
    /// last slot.
    pub const fn made_slot(self) -> Option<usize> {
        if self.options.zoneout.c.is_some() { Some(self.cell_saved()) } else { None }
    }

    /// The cell.
    pub const fn cell(self) -> Cell {
        self.cell
    }

    /// Gates G: blocks of H rows in `weight_ih` and `weight_hh`.
    pub const fn gates(self) -> usize {
        self.cell.gates() - self.options.coupled as usize
    }

    /// Values saved per unit and step besides the states.
    pub const fn saved(self) -> usize {
        self.cell_saved() + self.made_slot().is_some() as usize
    }

    /// Those of them that the cell saves.
    pub(crate) const fn cell_saved(self) -> usize {
        self.cell.saved() - self.options.coupled as usize + self.notes_clips() as usize
    }

    /// Name and kind of the saved value in each slot. A value whose function leaves the range of its kind is
    /// [`Free`](ValueKind::Free).
    pub fn values(self) -> Vec<(&'static str, ValueKind)> {
        let Activations { gate, candidate, .. } = self.activations();
        let kind = |kind: ValueKind| match kind {
            ValueKind::Gate | ValueKind::Keep | ValueKind::Write if !gate.is_gate() => ValueKind::Free,
            ValueKind::Squashed if !candidate.is_squashing() => ValueKind::Free,
            other => other,
        };
        let own = self.cell.values().iter().skip(usize::from(self.options.coupled));
        let clipped = self.clipped_slot().map(|_| ("clipped", ValueKind::Flags));
        let made = self.made_slot().map(|_| ("c_made", ValueKind::Free));
        // What a cell saves as h is not what is left where the state before may stay.
        let name = |name: &'static str| if name == "h" && self.options.zoneout.h.is_some() { "h_made" } else { name };
        own.map(|&(of, value)| (name(of), kind(value))).chain(clipped).chain(made).collect()
    }

    /// What h can be. Where some of the state before may stay it may be an initial one for ever, whatever that is.
    pub const fn kind_of_h(self) -> ValueKind {
        let Activations { gate, candidate, output } = self.activations();
        let added = if self.has_c() { output } else { candidate };
        let stays = self.options.zoneout.h.is_some();
        if (gate.is_gate() || self.gates() == 1) && added.is_squashing() && !stays {
            ValueKind::Squashed
        } else {
            ValueKind::Free
        }
    }

    /// Whether h is what a rectifier gives, as it is: where that is zero, so is its slope.
    pub(crate) const fn rectifies(self) -> bool {
        let function = self.activations().candidate.function();
        let rectifier = matches!(function, Function::Relu | Function::ThresholdedRelu);
        self.gates() == 1 && rectifier && self.options.zoneout.h.is_none()
    }

    /// For each gate the slot that holds, after backward, the gradient of its pre-activation on the recurrent side.
    pub const fn hidden_slots(self) -> &'static [usize] {
        let all = self.cell.row().hidden_slots;
        // The gates of a coupled cell are those that are left, in its first slots.
        all.split_at(self.gates()).0
    }

    /// State vectors: 1 (h) or 2 (h and c), [`MOST_STATES`](crate::MOST_STATES) at most.
    pub const fn states(self) -> usize {
        self.cell.states()
    }

    /// Names of the states, in the order in which every list of states has them. First h, which is what a step gives and
    /// what the product with `weight_hh` reads; then c, where there is one.
    pub const fn state_names(self) -> &'static [&'static str] {
        self.cell.state_names()
    }

    /// Which of the states has this name.
    pub(crate) fn state(self, name: &str) -> Option<usize> {
        self.state_names().iter().position(|of| *of == name)
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
            Tensor::WeightCh => self.options.peephole,
            Tensor::H0 => self.learns_state,
            Tensor::C0 => self.learns_state && self.has_c(),
        }
    }

    /// Whether its layers learn their initial states.
    pub const fn learns_state(self) -> bool {
        self.learns_state
    }

    /// Whether its layers have a bias at all.
    pub const fn has_bias(self) -> bool {
        !matches!(self.bias, Bias::None)
    }

    /// The tensors of a layer and direction of `inputs` inputs and `hidden` units, and their shapes.
    pub fn tensors(self, inputs: usize, hidden: usize) -> impl Iterator<Item = (Tensor, Vec<usize>)> {
        let gates = self.gates() * hidden;
        Tensor::ALL.into_iter().filter(move |&tensor| self.has(tensor)).map(move |tensor| {
            let shape = match tensor {
                Tensor::WeightIh => vec![gates, inputs],
                Tensor::WeightHh => vec![gates, hidden],
                Tensor::BiasIh | Tensor::BiasHh => vec![gates],
                Tensor::WeightCh => vec![self.peepholes() * hidden],
                Tensor::H0 | Tensor::C0 => vec![hidden],
            };
            (tensor, shape)
        })
    }

    /// Parameters of a layer and direction: `G·(H·I + H·H)`, `G·H` for each bias, `P·H` peepholes, and H
    /// for each initial state that is learnt.
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

impl fmt::Display for Recipe {
    /// The cell and what changes its kernels' text, as in the names of kernels' variants and in what is kept of an adapter:
    /// `lstm+peephole+clip_inputs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cell.name())?;
        let options = self.options.to_string();
        // Numbers are not in a text.
        let is_number = |name: &str| self.options.numbers().any(|(number, _)| number == name);
        let named = |word: &str| match word.split_once('=') {
            Some((name, _)) if is_number(name) => format!("+{name}"),
            _ => format!("+{}", word.split(':').next().unwrap_or_default()),
        };
        options.split(',').filter(|word| !word.is_empty()).try_for_each(|word| f.write_str(&named(word)))
    }
}

/// What the values of a step are put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Activations {
    /// The gates.
    pub gate: Activation,
    /// What is added to the state.
    pub candidate: Activation,
    /// The cell state on its way to h.
    pub output: Activation,
}

impl Activations {
    /// Each, and what it is of.
    pub const fn by_role(self) -> [(&'static str, Activation); 3] {
        [("gate", self.gate), ("candidate", self.candidate), ("output", self.output)]
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
            let recipe = Recipe::new(Cell::Gru, bias, StepOptions::NONE, false);
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
